"""Kernels on the host: a source compiled by the host's compiler with tests/cuda's stand-ins, run a fiber for each thread."""
import ctypes
import os
import shutil
import subprocess
import tempfile
from ctypes import c_char, c_int, c_size_t, c_uint, c_void_p

from cases import ROOT
from cuda import Call, NoDevice

ORDERS, LANDINGS = 3, 2  # tests/cuda/launch.h


class HostLaunch(ctypes.Structure):  # host_launch_of
    _fields_ = [("kernel", c_void_p), ("call", c_void_p), ("grid", c_int * 3), ("threads", c_int), ("bound", c_int),
                ("shared", c_size_t), ("most_shared", c_size_t), ("order", c_int), ("landing", c_int)]


class Host:
    name = "the host"

    def __init__(self, stand_ins="tests/cuda/tensor.h", order=0, landing=0):
        self.stand_ins, self.order, self.landing = stand_ins, order, landing
        self.cc = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not self.cc:
            raise NoDevice("there is no C compiler (cc, gcc or clang) to run the stand-ins with")

    def compile(self, source):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "source.c")
            with open(path, "w") as f:
                f.write(source)
            done = subprocess.run([self.cc, "-std=gnu17", "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno",
                                   "-fno-strict-aliasing", f"-I{ROOT}", f"-I{ROOT}/include", "-include", self.stand_ins, path,
                                   "-o", path + ".so", "-lm"], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise NoDevice("the host's compiler refuses the source: " + done.stderr[:2000])
            return ctypes.CDLL(path + ".so")

    def launch(self, module, kernel, grid, threads, shared, inputs, out_words):
        out, fault = aligned(out_words), ctypes.create_string_buffer(256)
        own = []
        for data in inputs:
            own.append(aligned(len(data)))
            ctypes.memmove(own[-1], data, ctypes.sizeof(data))
        call = Call(*[ctypes.addressof(x) for x in own], ctypes.addressof(out), len(inputs[0]))
        launch = HostLaunch(ctypes.cast(getattr(module, kernel), c_void_p), ctypes.addressof(call), (c_int * 3)(*grid), threads,
                            c_int.in_dll(module, kernel + "_bound").value, shared, 99 * 1024, self.order, self.landing)
        if not module.host_launch(ctypes.byref(launch), fault):
            raise NoDevice(f"{kernel}: {fault.value.decode(errors='replace')}")
        return out


def aligned(words):
    """Zeroed, at a multiple of 16 bytes, as a device's memory is."""
    raw = (c_char * (4 * words + 16))()
    at = -ctypes.addressof(raw) % 16
    out = (c_uint * words).from_buffer(raw, at)
    return out
