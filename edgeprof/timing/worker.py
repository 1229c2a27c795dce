"""The worker: the process that owns the device. JSON lines in on standard input, JSON lines out on standard output.

Python 3.6 syntax, standard library, NumPy and the runtime alone: its source is sent to whatever Python the board
has, together with ``loop.py`` and the runtime's driver. One request a line:

- ``{"do": "describe"}`` → versions of Python, NumPy and the runtime.
- ``{"do": "measure", "model": PATH, "weights": FOLDER or null, "inputs": {NAME: {"shape": […], "dtype": "int64",
  "high": 10 or null}} or null, "input": PATH or null, "seed": 0, "threads": 1, "providers": […], "options": {…},
  "stop": {…}, "profile_s": 0.2, "graph": true}`` → load time, first run, single runs, kernels, memory, counters.
- ``{"do": "sustain", "seconds": 1.0, "rate_hz": 0, …}``, the rest as for ``measure`` → runs in that time. An empty line
  says that they begin now. Where it is ``watched``, a line ``{"seen": […]}`` follows each second (runs, time spent,
  longest run, in nanoseconds), and ``{"do": "enough"}`` ends it.
- ``{"do": "trace", "trace_s": 0.2, …}``, the rest as for ``measure`` → what a device tells of its kernels itself, for
  drivers that can.
- ``{"do": "overlap", "depths": [1, 2], "turns": 8, "turn_s": 0.4, …}``, the rest as for ``measure`` → for each depth,
  with so many runs at the same time: runs a second, durations.
- ``{"do": "try", "model": PATH, …, "bounded": true}``: one run, to see whether it fits in memory; bounded by what this
  machine has available, so that nobody else has to make room.
- ``{"do": "quit"}``.

Every answer is ``{"ok": …}`` or ``{"error": TEXT, "kind": memory|refused|missing, …}``.
"""

import base64
import ctypes
import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time

PROFILE_RUNS = (8, 100)
HOST_S = 0.05
WARM_NS = 5e8
NO_MEMORY = (
    "bad_alloc",
    "Failed to allocate",
    "out of memory",
    "smaller than requested bytes",
    "STATUS_ALLOC_FAILED",  # of cuBLAS, and of cuDNN before 9
    "_ALLOCATION_FAILED",  # of cuDNN 9 (cudnn_graph.h): CUDNN_STATUS_INTERNAL_ERROR_DEVICE_…, …_HOST_…
)
ASKED = re.compile("(?:requested buffer of size|smaller than requested bytes of) ([0-9]{1,18})")
TAKEN = 0.9  # of the memory that is available, by a network that is tried …
SEEN_KIB = 1024  # an earlier peak that is no further above hides nothing
KEPT_BYTES = (
    2**25
)  # … and what is kept of it beforehand: a measurement takes somewhat more, for profiles and lists


def main(loop, *drivers):
    """Serve requests until standard input ends. The last of ``drivers`` executes networks; it imports the others."""
    driver = drivers[-1]
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the runtime prints must not end up between the answers
    for number in (signal.SIGINT, signal.SIGTERM):  # for the parent, which ends this process in order
        signal.signal(number, signal.SIG_IGN)
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        if request["do"] == "quit":
            return
        if request["do"] == "enough":  # said too late
            continue
        answers.write(json.dumps(answer(request, loop, driver, answers)) + "\n")
        answers.flush()


def answer(request, loop, driver, answers):
    """Carry out one request; trouble becomes an answer too."""
    try:
        if request["do"] == "describe":
            return {"ok": describe(driver)}
        if request["do"] == "sustain":
            return {"ok": sustain(request, loop, driver, answers)}
        if request["do"] == "overlap":
            return {"ok": {"depths": overlap(request, loop, driver)}}
        if request["do"] == "try":
            return {"ok": try_out(request, driver)}
        if request["do"] == "trace":
            return {
                "ok": driver.trace(
                    request, lambda wanted: make_inputs(request, request["inputs"] or wanted, driver)
                )
            }
        return {"ok": measure(request, loop, driver)}
    except MemoryError as error:
        return out_of_memory(str(error), getattr(error, "_total_size", None))
    except ImportError as error:
        return {"error": str(error), "kind": "missing", "hint": getattr(error, "hint", "")}
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if any(sign in text for sign in NO_MEMORY):
            return out_of_memory(text, bytes_asked(text))
        return {"error": text[:2000], "kind": "refused", "hint": getattr(error, "hint", "")}


def out_of_memory(text, size):
    """The answer where memory was short; ``size`` is what was asked for in one piece (bytes), None if nobody says."""
    return {"error": text[:400], "kind": "memory", "bytes": size}


def bytes_asked(text):
    """What the runtime asked for when its allocator refused, by its message; None where that does not say."""
    found = ASKED.search(text)
    return int(found.group(1)) if found else None


def describe(driver):
    """What executes networks here."""
    import numpy

    found = {"python": sys.version.split()[0], "numpy": numpy.__version__, "pid": os.getpid()}
    found.update(driver.describe())
    return found


def measure(request, loop, driver):
    """One case: a plain session for the latency, a profiled one for its kernels."""
    clock = nanosecond_clock()
    setting = (request["threads"], request["providers"], request["options"], request.get("weights"))
    give_back()
    before = memory_now()
    session = driver.load(request["model"], *(setting + (False,)))
    try:
        built = memory_now()
        inputs = make_inputs(request, request.get("inputs") or session.inputs(), driver)
        session.bind(inputs)
        warm = []  # before and after the samples, whose lists are no part of the network

        def counters():
            warm.append(memory_now())
            return usage()

        found = loop.sample(session.run, clock, request["stop"], counters)
        found["load_ms"] = session.load_ms
        found["memory"] = memory_taken(before, built, warm[0], getattr(session, "shared", False))
        found["host_ns"] = host_to_host(session, clock)
        found["running_s"] += sum(found["host_ns"]) / 1e9
        found["observed"] = session.observe(clock)
    finally:
        session.close()
    if request.get("profile_s"):
        found.update(profile(request, setting, inputs, found["runs_ns"], driver))
        found["running_s"] += found["profiling_s"]
    del inputs
    give_back()
    found["memory"]["left_mib"] = (memory_kib("VmRSS") - before["resident"]) / 1024.0
    return found


def sustain(request, loop, driver, answers):
    """One case run on and on: nothing is timed but how often it ran, so that others may look at the board."""
    clock = nanosecond_clock()
    setting = (request["threads"], request["providers"], request["options"], request.get("weights"))
    session = driver.load(request["model"], *(setting + (False,)))
    try:
        session.bind(make_inputs(request, request.get("inputs") or session.inputs(), driver))
        loop.warm_up(session.run, clock, WARM_NS)
        answers.write("\n")
        answers.flush()
        more = {"enough": lambda seen: told_enough(seen, answers)} if request.get("watched") else {}
        return loop.sustain(session.run, clock, request["seconds"], request["rate_hz"], **more)
    finally:
        session.close()


def told_enough(seen, answers):
    """Tell the parent what was seen in a second, and whether it has said meanwhile that it is enough."""
    answers.write(json.dumps({"seen": seen}) + "\n")
    answers.flush()
    return bool(select.select([sys.stdin], [], [], 0)[0] and [sys.stdin.readline()])


def overlap(request, loop, driver):
    """One case several times at once, each with inputs and outputs of its own; RuntimeError where ``driver`` has no
    way to do that."""
    if not hasattr(driver, "lanes"):
        raise RuntimeError("this runtime is not run several times at once")
    setting = (request["threads"], request["providers"], request["options"], request.get("weights"))
    lanes = driver.lanes(max(request["depths"]), request["model"], *setting)
    try:
        for lane in lanes:
            lane.bind(make_inputs(request, request.get("inputs") or lane.inputs(), driver))
        runs, clock = [lane.run for lane in lanes], nanosecond_clock()
        return loop.overlap(
            runs, clock, request["depths"], request["turns"], request["turn_s"], WARM_NS / len(lanes)
        )
    finally:
        for lane in lanes:
            lane.close()


def try_out(request, driver):
    """One run as :func:`measure` does them, and one from the host: MemoryError or the runtime's own where it does not
    fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if request["bounded"]:
        used = memory_kib("VmData") * 1024
        room = [
            available_bytes(),
            *(bound - used for bound in (soft, hard) if bound != resource.RLIM_INFINITY),
        ]
        resource.setrlimit(resource.RLIMIT_DATA, (used + max(int(TAKEN * (min(room) - KEPT_BYTES)), 0), hard))
    try:
        session = driver.load(
            request["model"],
            request["threads"],
            request["providers"],
            request["options"],
            request["weights"],
            False,
        )
        try:
            session.bind(make_inputs(request, request.get("inputs") or session.inputs(), driver))
            session.run()
            session.run_from_host()
        finally:
            session.close()
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        gc.collect()
    return {}


def available_bytes():
    """Memory that can be had without anybody else's: of the machine, and of the control group where it has a limit.
    The group counts files that the kernel keeps as its own use, and gives them back before it refuses anything."""
    found = [memory_kib("MemAvailable", "/proc/meminfo") * 1024]
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as current:
            left = int(limit.read()) - int(current.read())
        with open("/sys/fs/cgroup/memory.stat") as stat:
            fields = dict(line.split() for line in stat)
        found.append(left + int(fields["inactive_file"]) + int(fields["active_file"]))
    except (IOError, OSError, ValueError, KeyError):  # no such group, or "max"
        pass
    return max(min(found), 0)


def profile(request, setting, inputs, runs_ns, driver):
    """Kernel times from a second session; it never gives the latency, since profiling slows the network."""
    typical = sorted(runs_ns)[len(runs_ns) // 2] / 1e9
    count = int(min(max(request["profile_s"] / max(typical, 1e-9), PROFILE_RUNS[0]), PROFILE_RUNS[1]))
    skip = max(2, count // 10)
    session = driver.load(request["model"], *(setting + ("graph" if request.get("graph") else "times",)))
    try:
        session.bind(inputs)
        for _ in range(skip + count):
            session.run()
        kernels, spans = session.profile(skip)
        found = {"kernels": kernels, "profiled_us": spans[skip:], "profiling_s": sum(spans) / 1e6}
        if request.get("graph"):
            found["graph"] = base64.b64encode(session.graph()).decode("ascii")
        return found
    finally:
        session.close()


def make_inputs(request, wanted, driver):
    """Real tiles for the first input when the request names them, seeded noise else. ``wanted`` is input → ``shape``,
    ``dtype`` and ``high``."""
    import numpy

    inputs = {}
    for order, (name, one) in enumerate(sorted(wanted.items())):
        if order == 0 and request.get("input"):
            inputs[name] = numpy.load(request["input"], allow_pickle=False).reshape(one["shape"])
        else:
            inputs[name] = driver.noise(one, request.get("seed", 0) + order)
    return inputs


def host_to_host(session, clock):
    """Single runs with copies, in nanoseconds: at least three, at most some 50 ms of them."""
    times, begin = [], clock()
    while len(times) < 3 or (clock() - begin < HOST_S * 1e9 and len(times) < 100):
        start = clock()
        session.run_from_host()
        times.append(max(clock() - start, 0))
    return times


def nanosecond_clock():
    """The clock that times runs; Python 3.6 has none of nanoseconds."""
    return getattr(time, "perf_counter_ns", None) or (lambda: int(time.perf_counter() * 1e9))


def usage():
    """Counters of this process that tell of disturbance, and its resident memory."""
    now = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "involuntary_switches": now.ru_nivcsw,
        "minor_faults": now.ru_minflt,
        "major_faults": now.ru_majflt,
        "cpu_s": now.ru_utime + now.ru_stime,
        "resident_kib": memory_kib("VmRSS"),
    }


def memory_kib(field, path="/proc/self/status"):
    """A line of a file of /proc in KiB; the peak of the whole life where there is no /proc."""
    try:
        with open(path) as stream:
            for line in stream:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except (IOError, OSError):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_now():
    """This process's resident memory, its peak since the last call, and what the machine has available (KiB). The peak
    counts from now; where that cannot be, ``floor`` is what hides a smaller one."""
    found = {
        "resident": memory_kib("VmRSS"),
        "peak": memory_kib("VmHWM"),
        "available": memory_kib("MemAvailable", "/proc/meminfo"),
        "room": available_bytes() // 1024,
    }
    reset_peak()
    found["floor"] = memory_kib("VmHWM")
    return found


def memory_taken(before, built, after, shared):
    """MiB that a network takes, from :func:`memory_now` before it is built, after, and after it ran: of this process at
    its peak while it is built (``build_mib``) and in all (``memory_mib``); what the process had before
    (``process_mib``) and could have had (``room_mib``).

    Where processor and GPU share the memory, also of both together (``shared_build_mib``, ``shared_memory_mib``): by
    how much less the machine has available, which counts what either holds once; and what the process had at its peak
    beyond what it holds now. Nothing of it where a peak is not known.
    """
    found = {"process_mib": before["resident"] / 1024.0, "room_mib": before["room"] / 1024.0}
    peaks, both = [], []
    for start, end in ((before, built), (built, after)):
        if end["peak"] <= start["floor"] and start["floor"] > start["resident"] + SEEN_KIB:
            return found
        peaks.append(end["peak"] - before["resident"])
        both.append(before["available"] - end["available"] + max(end["peak"] - end["resident"], 0))
    for name, mib in (("", peaks), *((("shared_", both),) if shared else ())):
        found[name + "build_mib"] = max(mib[0], 0) / 1024.0
        found[name + "memory_mib"] = max(mib + [0]) / 1024.0
    return found


def reset_peak():
    """Let the peak of resident memory count from now."""
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")
    except (IOError, OSError):
        pass


def give_back():
    """Let the allocator give the system what nobody uses any more (glibc's malloc_trim; others keep it): else a network
    would live in what the one before it has left, and seem to need nothing."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
    except (OSError, AttributeError):
        pass


def die_with_parent():
    """Ask Linux to end this process with its parent (prctl PR_SET_PDEATHSIG), even inside a long run."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        pass
