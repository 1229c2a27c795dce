"""Kernels as an NVIDIA GPU ran them, by CUPTI: names, times on the device, grid, block, registers, shared memory.

Python 3.6 syntax, standard library and cupti-python alone: this file is sent to the worker. It knows no runtime: any
function that launches kernels can be traced. Source: CUPTI documentation, Activity API; cupti-python 13 (NVIDIA).
"""

import ctypes
import time

INSTALL = "pip install 'edgeprof[gpu]' brings cupti-python (CUDA 13, Python 3.10 and newer)"
DRIVER = "its driver must be as new as this CUPTI: nvidia-smi tells; kernels are of the runtime's profile till then"
OTHERS = "another tool has it: Nsight Systems, Nsight Compute or cuda-gdb, which starts edgeprof or is attached to it"
BUFFER_BYTES = 8 * 2**20  # some 40,000 records, so that none is handed over while a network runs
RUNS = (8, 50)
READINGS = 9
FORCED = 1  # CUPTI_ACTIVITY_FLAG_FLUSH_FORCED: buffers that are not full too
COPIES = {1: "HtoD", 2: "DtoH", 8: "DtoD", 9: "HtoH", 10: "PtoP"}  # CUpti_ActivityMemcpyKind
MEMSET = "[CUDA memset]"

switched_on = []  # in this process, for each library: one


class Unavailable(ImportError):
    """CUPTI cannot be used here. ``hint`` tells what to do."""

    def __init__(self, text, hint):
        super().__init__(text)
        self.hint = hint


def library():
    """The module of cupti-python, once it has told the time; Unavailable where it is missing or finds no driver."""
    try:
        from cupti import cupti
    except ImportError as error:
        raise Unavailable("cupti-python is not installed: %s" % error, INSTALL) from None
    try:
        cupti.get_timestamp()
    except Exception as error:  # of the library's own classes
        raise Unavailable("CUPTI cannot be used: %s" % one_line(error), DRIVER) from None
    return cupti


def collect(run, skip, seconds, cupti=None):
    """Run ``run`` ``skip`` times, then so often that it takes about ``seconds``, and trace that; ``run`` returns when
    the GPU is done. Plain values, times in ns by CUPTI's clock unless told otherwise:

    - ``windows``: begin and end of each traced run.
    - ``clocks``: pairs of CUPTI's time and the host's (``time.time_ns``), before and after.
    - ``kinds``: name, grid, block, registers a thread, shared bytes a block of each kind of kernel.
    - ``kernels``: number of the kind, begin, end, correlation.
    - ``launches``: correlation, begin, end of the host's call.
    - ``dropped``: records without a time.

    Unavailable where CUPTI is missing or refuses to record.
    """
    cupti = cupti or library()
    on = tracing(cupti)
    for _ in range(skip):
        run()
    begin = time.perf_counter()
    run()
    typical = time.perf_counter() - begin
    count = int(min(max(seconds / max(typical, 1e-9), RUNS[0]), RUNS[1]))
    records, windows = Records(cupti.ActivityKind), []
    try:
        cupti.activity_flush_all(FORCED)  # what is of the runs before
        on.records = records
        clocks = [reading(cupti)]
        for _ in range(count):
            start = cupti.get_timestamp()
            run()
            windows.append([start, cupti.get_timestamp()])
        clocks.append(reading(cupti))
        cupti.activity_flush_all(FORCED)
    except cupti.cuptiError as error:
        raise refusal(error) from None
    finally:
        on.records = None
    found = records.plain()
    if not found["kernels"]:
        raise Unavailable("CUPTI recorded no kernel", DRIVER)
    found.update({"windows": windows, "clocks": clocks})
    return found


def tracing(cupti):
    """CUPTI switched on, once for the life of the process. It must be before a graph is captured whose kernels are to
    be told; and profilers that switched it off and on again have found it silent."""
    for one in switched_on:
        if one.cupti is cupti:
            return one
    switched_on.append(Tracing(cupti))
    return switched_on[-1]


class Tracing(object):
    """CUPTI switched on. What it hands over is for ``records``, where somebody wants it. Unavailable where it
    refuses."""

    def __init__(self, cupti):
        self.cupti = cupti
        self.records = None
        kinds, enabled = cupti.ActivityKind, []
        try:
            cupti.activity_register_callbacks(buffer, self.take)
            for kind in (kinds.CONCURRENT_KERNEL, kinds.MEMSET, kinds.MEMCPY, kinds.RUNTIME, kinds.DRIVER):
                cupti.activity_enable(kind)
                enabled.append(kind)
        except cupti.cuptiError as error:
            for kind in enabled:
                cupti.activity_disable(kind)
            raise refusal(error) from None

    def take(self, activities):
        """The records of a full buffer, from a thread of CUPTI's."""
        if self.records is not None:
            self.records.take(activities)


def refusal(error):
    """What CUPTI refuses, and what to do about it (cupti_result.h)."""
    text = one_line(error)
    return Unavailable(
        "CUPTI does not record: %s" % text, OTHERS if "MULTIPLE_SUBSCRIBERS" in text else DRIVER
    )


def buffer():
    """What CUPTI asks for when it wants memory: bytes, and the most records in it (0: as many as fit)."""
    return BUFFER_BYTES, 0


def reading(cupti):
    """CUPTI's time and the host's at the same moment: the closest of a few tries."""
    found = []
    for _ in range(READINGS):
        before = cupti.get_timestamp()
        host = time.time_ns()
        after = cupti.get_timestamp()
        found.append((after - before, [(before + after) // 2, host]))
    return min(found)[1]


class Records(object):
    """What CUPTI hands over, as plain values: its buffers are gone after each call."""

    def __init__(self, kinds):
        self._kinds = kinds
        self._seen = {}
        self._kernels = []
        self._calls = {}
        self._dropped = 0

    def take(self, activities):
        """The records of a full buffer."""
        kinds = self._kinds
        for one in activities:
            if one.kind in (kinds.RUNTIME, kinds.DRIVER):
                self._calls[one.correlation_id] = (one.start, one.end)
            elif not one.start or not one.end:
                self._dropped += 1
            elif one.kind in (kinds.CONCURRENT_KERNEL, kinds.KERNEL):
                shape = (
                    one.name,
                    (one.grid_x, one.grid_y, one.grid_z),
                    (one.block_x, one.block_y, one.block_z),
                    one.registers_per_thread,
                    one.static_shared_memory + one.dynamic_shared_memory,
                )
                self._add(shape, one)
            elif one.kind == kinds.MEMSET:
                self._add((MEMSET, (), (), 0, 0), one)
            elif one.kind == kinds.MEMCPY:
                way = COPIES.get(int(one.copy_kind), "")
                self._add((("[CUDA memcpy %s]" % way).replace(" ]", "]"), (), (), 0, 0), one)

    def _add(self, shape, one):
        number = self._seen.setdefault(shape, len(self._seen))
        self._kernels.append([number, one.start, one.end, one.correlation_id])

    def plain(self):
        """Kinds, kernels, and the calls that launched one of them."""
        launched = {kernel[3] for kernel in self._kernels}
        return {
            "kinds": [
                [readable(shape[0])] + [list(s) for s in shape[1:3]] + list(shape[3:]) for shape in self._seen
            ],
            "kernels": self._kernels,
            "launches": [[c] + list(ends) for c, ends in sorted(self._calls.items()) if c in launched],
            "dropped": self._dropped,
        }


def readable(name):
    """The name of a C++ function as it was written; the name itself where nothing here can tell (Itanium C++ ABI,
    ``__cxa_demangle``)."""
    if not name.startswith("_Z"):
        return name
    try:
        demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    except (OSError, AttributeError):
        return name
    demangle.restype = ctypes.c_void_p
    status = ctypes.c_int()
    found = demangle(name.encode(), None, None, ctypes.byref(status))
    if not found:
        return name
    try:
        return ctypes.string_at(found).decode("utf-8", "replace")
    finally:
        free = ctypes.CDLL(None).free
        free.argtypes = [ctypes.c_void_p]
        free(found)


def one_line(error):
    """What an error says, in one line; its class where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
