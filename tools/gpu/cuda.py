"""A device by NVIDIA's driver and its run-time compiler, through ctypes: nothing has to be built or installed."""
import ctypes
import os
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p

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
        return self.load(self.image(source))

    def image(self, source):
        """Machine code; threads may make several at once."""
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
        return image

    def load(self, image):
        module = c_void_p()
        self.call("cuModuleLoadData", byref(module), image)
        return module

    # ---- memory: addresses are numbers ----
    def allocate(self, size):
        at = c_uint64()
        self.call("cuMemAlloc_v2", byref(at), c_size_t(size))
        return at.value

    def free(self, at):
        self.call("cuMemFree_v2", c_uint64(at))

    def put(self, at, data):
        """Bytes, or an array of ctypes."""
        size = len(data) if isinstance(data, bytes) else ctypes.sizeof(data)
        self.call("cuMemcpyHtoDAsync_v2", c_uint64(at), data, c_size_t(size), self.stream)
        self.call("cuStreamSynchronize", self.stream)  # the data may be gone after this

    def get(self, at, size):
        data = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoHAsync_v2", data, c_uint64(at), c_size_t(size), self.stream)
        self.call("cuStreamSynchronize", self.stream)
        return data.raw

    # ---- kernels: each takes one structure by value ----
    def function(self, module, kernel, shared=0):
        function = c_void_p()
        self.call("cuModuleGetFunction", byref(function), module, kernel.encode())
        if shared > 48 * 1024:
            self.call("cuFuncSetAttribute", function, 8, shared)  # MAX_DYNAMIC_SHARED_SIZE_BYTES
        return function

    def costs(self, function):
        """What its compiler gave it."""
        out = {}
        for name, attribute in (("registers", 4), ("spilled", 3)):  # NUM_REGS, LOCAL_SIZE_BYTES
            value = c_int()
            if hasattr(self.cuda, "cuFuncGetAttribute"):
                self.call("cuFuncGetAttribute", byref(value), attribute, function)
                out[name] = value.value
        return out

    def start(self, function, grid, threads, shared, call):
        arguments = (c_void_p * 1)(ctypes.cast(byref(call), c_void_p))
        self.call("cuLaunchKernel", function, *grid, threads, 1, 1, shared, self.stream, arguments, None)

    def seconds(self, function, grid, threads, shared, call, times):
        """Of a launch: the least mean of three series of so many, behind one that does not count."""
        first, last, spent, best = c_void_p(), c_void_p(), c_float(), float("inf")
        self.call("cuEventCreate", byref(first), 0)
        self.call("cuEventCreate", byref(last), 0)
        self.start(function, grid, threads, shared, call)
        for _ in range(3):
            self.call("cuEventRecord", first, self.stream)
            for _ in range(times):
                self.start(function, grid, threads, shared, call)
            self.call("cuEventRecord", last, self.stream)
            self.call("cuStreamSynchronize", self.stream)
            self.call("cuEventElapsedTime", byref(spent), first, last)
            best = min(best, spent.value / 1e3 / times)
        self.call("cuEventDestroy_v2", first)
        self.call("cuEventDestroy_v2", last)
        return best

    def launch(self, module, kernel, grid, threads, shared, inputs, out_words):
        """Runs a kernel that takes conform_call (conform.cu); returns its output's words."""
        out = (c_uint * out_words)()
        places = [self.allocate(ctypes.sizeof(data)) for data in [*inputs, out]]
        for at, data in zip(places, [*inputs, out]):
            self.put(at, data)
        self.start(self.function(module, kernel), grid, threads, shared, Call(*places, len(inputs[0])))
        ctypes.memmove(out, self.get(places[-1], ctypes.sizeof(out)), ctypes.sizeof(out))
        for at in places:
            self.free(at)
        return out


class Call(ctypes.Structure):  # conform_call
    _fields_ = [("a", c_uint64), ("b", c_uint64), ("out", c_uint64), ("n", c_int)]
