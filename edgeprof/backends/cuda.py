"""An NVIDIA GPU through its driver's own C interface: a stream, events on it, memory, captured launches, its facts.

Python 3.6 syntax, standard library alone: this file is sent to the worker. libcuda comes with the driver, so nothing
needs to be installed. Source: CUDA Driver API reference (cuStream*, cuEvent*, cuMem*, cuGraph*, cuDevice*), NVIDIA.
"""

import copy
import ctypes

LIBRARY = "libcuda.so.1"
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: the stream does not wait for the default one
COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
INTEGRATED = 18  # CU_DEVICE_ATTRIBUTE_INTEGRATED: its memory is the processor's
L2_BYTES = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do is not of the capture
NO_DEVICE = "nvidia-smi must list the GPU; in a container, pass it in"


class Missing(ImportError):
    """What runs networks on a GPU, or a part of it, is not there. ``hint`` tells what to install."""

    def __init__(self, text, hint):
        super().__init__(text)
        self.hint = hint


class CudaError(Missing):
    """There is no driver, or no GPU that it can use. ``hint`` tells what to do."""

    def __init__(self, text, hint=NO_DEVICE):
        super().__init__(text, hint)


class Refused(RuntimeError):
    """A network would not be built, or run on the GPU. ``hint`` tells what to do."""

    def __init__(self, text, hint=""):
        super().__init__(text)
        self.hint = hint


class Device:
    """A GPU of this machine, by its number, with a stream, or several. It keeps the context that the runtime uses too.

    :raises CudaError: there is no driver, or no such GPU.
    """

    def __init__(self, number=0, library=LIBRARY):
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError("no NVIDIA driver is installed here: %s" % error) from None
        count = ctypes.c_int()
        try:
            self._call("cuInit", ctypes.c_uint(0))
            self._call("cuDeviceGetCount", ctypes.byref(count))
        except RuntimeError as error:
            raise CudaError("the NVIDIA driver finds no GPU: %s" % error) from None
        if number >= count.value:
            raise CudaError(
                "the NVIDIA driver lists %d GPUs, and number %d is asked for" % (count.value, number)
            )
        self._device = ctypes.c_int()
        self._context = ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(number))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.enter()
        self._streams = []
        self.number = number
        self.stream = self.streams(1)[0]

    def enter(self):
        """Let the calling thread work with it; the thread that opened it does."""
        self._call("cuCtxSetCurrent", self._context)

    def on(self, stream):
        """The same GPU, with its work on another of its streams."""
        other = copy.copy(self)
        other.stream = stream
        return other

    def streams(self, count):
        """So many of its streams; they live as long as it does."""
        while len(self._streams) < count:
            stream = ctypes.c_void_p()
            self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(NON_BLOCKING))
            self._streams.append(stream.value)
        return self._streams[:count]

    def describe(self):
        """Name, compute capability, multiprocessors, cache, memory, address, and the newest CUDA of its driver."""
        name = ctypes.create_string_buffer(100)
        address = ctypes.create_string_buffer(20)
        memory, version = ctypes.c_size_t(), ctypes.c_int()
        self._call("cuDeviceGetName", name, ctypes.c_int(len(name)), self._device)
        self._call("cuDeviceGetPCIBusId", address, ctypes.c_int(len(address)), self._device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), self._device)
        self._call("cuDriverGetVersion", ctypes.byref(version))
        major, minor = (self._attribute(number) for number in COMPUTE_CAPABILITY)
        return {
            "gpu": name.value.decode(),
            "gpu_address": address.value.decode(),
            "gpu_compute_capability": "%d.%d" % (major, minor),
            "gpu_sms": self._attribute(MULTIPROCESSORS),
            "gpu_l2_kib": self._attribute(L2_BYTES) // 1024,
            "gpu_memory_mib": memory.value // 2**20,
            "cuda_driver": "%d.%d" % (version.value // 1000, version.value % 1000 // 10),
        }

    def integrated(self):
        """Whether processor and GPU share the memory, as on a Jetson."""
        return self._attribute(INTEGRATED) == 1

    def free_bytes(self):
        """Memory of the GPU that nobody has."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def synchronize(self):
        """Wait for everything on the GPU."""
        self._call("cuCtxSynchronize")

    def finish(self):
        """Wait for everything on the stream."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def allocate(self, size):
        """The address of ``size`` bytes of the GPU's memory; RuntimeError that says ``out of memory``, and how much was
        asked for, where they are not to be had."""
        address = ctypes.c_uint64()
        try:
            self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        except RuntimeError as error:
            raise RuntimeError("%s: requested buffer of size %d" % (error, size)) from None
        return address.value

    def free(self, address):
        """Give memory back that :meth:`allocate` gave."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address, array):
        """Copy a contiguous NumPy array to the GPU, and wait for it."""
        host, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), host, size)

    def download(self, array, address):
        """Copy from the GPU into a contiguous NumPy array, and wait for it."""
        host, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoH_v2", host, ctypes.c_uint64(address), size)

    def capture(self, run):
        """What ``run`` puts on the stream as one executable graph (its handle); none of it is carried out."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        stream = ctypes.c_void_p(self.stream)
        self._call("cuStreamBeginCapture_v2", stream, ctypes.c_int(THREAD_LOCAL))
        try:
            run()
        finally:  # or the stream stays in capture for good
            self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        self._call("cuGraphDestroy", graph)
        return executable.value

    def replay(self, executable):
        """Put a captured graph on the stream."""
        self._call("cuGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(self.stream))

    def forget(self, executable):
        """Give a captured graph back."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(executable))

    def time_ns(self, run):
        """Nanoseconds between an event before and one behind what ``run`` puts on the stream; the device's clock is
        good to half a microsecond."""
        begin, end, ms = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float()
        for event in (begin, end):
            self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
        try:
            self._call("cuEventRecord", begin, ctypes.c_void_p(self.stream))
            run()
            self._call("cuEventRecord", end, ctypes.c_void_p(self.stream))
            self._call("cuEventSynchronize", end)
            self._call("cuEventElapsedTime", ctypes.byref(ms), begin, end)
        finally:
            for event in (begin, end):
                self._call("cuEventDestroy_v2", event)
        return round(ms.value * 1e6)

    def _attribute(self, number):
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), self._device)
        return value.value

    def _call(self, name, *arguments):
        """A function of the driver; RuntimeError with the driver's own words where it fails."""
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text))
            raise RuntimeError("%s: %s (%d)" % (name, (text.value or b"unknown error").decode(), status))
