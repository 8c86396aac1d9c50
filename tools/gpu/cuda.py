"""A device by NVIDIA's driver and its run-time compiler, through ctypes: nothing has to be built or installed."""
import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

FLAGS = ["--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"]  # compiler/emit/cuda/compile.c's
PLACES = ["", "/usr/local/cuda/lib64/", "/usr/local/nvidia/lib64/"]


class NoDevice(Exception):
    """Why there is none."""


def load(names, folders):
    for folder in [f.rstrip("/") + "/" for f in folders] + PLACES:
        for name in names:
            try:
                return ctypes.CDLL(folder + name)
            except OSError:
                continue
    raise NoDevice(f"{names[0]} is not where the loader looks; name its folder with --libraries")


def torch_folders():
    """Where pip puts CUDA's libraries, beside PyTorch; PyTorch itself is not loaded."""
    import importlib.util
    import pathlib
    spec = importlib.util.find_spec("nvidia")
    return [str(p) for root in (spec.submodule_search_locations if spec else []) for p in sorted(pathlib.Path(root).glob("*/lib"))]


class Device:
    def __init__(self, folders=()):
        self.cuda = load(["libcuda.so.1", "libcuda.so"], folders)
        self.call("cuInit", 0)
        count, device, value, name = c_int(), c_int(), c_int(), ctypes.create_string_buffer(128)
        self.call("cuDriverGetVersion", byref(value))
        newest = ["libnvrtc.so.13"]  # a driver of CUDA 12 takes nothing that it has made
        names = ["libnvrtc.so.12", "libnvrtc.so", *newest] if value.value < 13000 else [*newest, "libnvrtc.so.12", "libnvrtc.so"]
        self.nvrtc = load(names, [*folders, *torch_folders()])
        self.call("cuDeviceGetCount", byref(count))
        if count.value < 1:
            raise NoDevice("the driver sees no GPU")
        self.call("cuDeviceGet", byref(device), 0)
        self.call("cuDeviceGetName", name, 128, device)
        self.name, self.capability = name.value.decode(), 0
        for attribute in (75, 76):
            self.call("cuDeviceGetAttribute", byref(value), attribute, device)
            self.capability = self.capability * 10 + value.value
        self.context, self.stream = c_void_p(), c_void_p()
        self.call("cuDevicePrimaryCtxRetain", byref(self.context), device)
        self.call("cuCtxSetCurrent", self.context)
        self.call("cuStreamCreate", byref(self.stream), 1)

    def call(self, name, *arguments):
        error = getattr(self.cuda, name)(*arguments)
        if error:
            text = c_char_p()
            self.cuda.cuGetErrorString(error, byref(text))
            raise NoDevice(f"{name}: {(text.value or b'error').decode()} ({error})")

    def compile(self, source):
        """A module of the source."""
        flags = [f"--gpu-architecture=sm_{self.capability}", *FLAGS]
        program, size = c_void_p(), c_size_t()
        self.nvrtc.nvrtcCreateProgram(byref(program), source.encode(), b"conform.cu", 0, None, None)
        failed = self.nvrtc.nvrtcCompileProgram(program, len(flags), (c_char_p * len(flags))(*[f.encode() for f in flags]))
        if failed:
            self.nvrtc.nvrtcGetProgramLogSize(program, byref(size))
            log = ctypes.create_string_buffer(size.value)
            self.nvrtc.nvrtcGetProgramLog(program, log)
            raise NoDevice("CUDA's compiler refuses the source: " + log.value.decode(errors="replace")[:2000])
        self.nvrtc.nvrtcGetCUBINSize(program, byref(size))
        image = ctypes.create_string_buffer(size.value)
        self.nvrtc.nvrtcGetCUBIN(program, image)
        self.nvrtc.nvrtcDestroyProgram(byref(program))
        module = c_void_p()
        self.call("cuModuleLoadData", byref(module), image)
        return module

    def launch(self, module, kernel, grid, threads, shared, inputs, out_words):
        """Runs a kernel that takes conform_call (conform.cu); returns its output's words."""
        function, places = c_void_p(), []
        self.call("cuModuleGetFunction", byref(function), module, kernel.encode())
        for data in [*inputs, (c_uint * out_words)()]:
            at = c_uint64()
            self.call("cuMemAlloc_v2", byref(at), c_size_t(ctypes.sizeof(data)))
            self.call("cuMemcpyHtoDAsync_v2", at, data, c_size_t(ctypes.sizeof(data)), self.stream)
            places.append(at)
        call = Call(*[p.value for p in places], len(inputs[0]))
        arguments = (c_void_p * 1)(ctypes.cast(byref(call), c_void_p))
        self.call("cuLaunchKernel", function, *grid, threads, 1, 1, shared, self.stream, arguments, None)
        out = (c_uint * out_words)()
        self.call("cuMemcpyDtoHAsync_v2", out, places[-1], c_size_t(ctypes.sizeof(out)), self.stream)
        self.call("cuStreamSynchronize", self.stream)
        for p in places:
            self.call("cuMemFree_v2", p)
        return out


class Call(ctypes.Structure):  # conform_call
    _fields_ = [("a", c_uint64), ("b", c_uint64), ("out", c_uint64), ("n", c_int)]
