"""Every warning that edgeprof can give about a measurement or a law, each with its remedy.

A measurement carries codes; people see each text once, with the number of cases it touches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """What was noticed, and what to do about it."""

    text: str
    remedy: str


ADVICE: Mapping[str, Advice] = {
    "few-rounds": Advice(
        "fewer than three rounds: how well the latency repeats is not known",
        "measure with --rounds 3 or more",
    ),
    "target-missed": Advice(
        "the time was up before the interval of the median was as narrow as asked",
        "stop other programs, or ask for less with --target-ci 3%",
    ),
    "drift": Advice(
        "measured while a sentinel network was more than 3 % slower than its best, and not mended by measuring again",
        "stop other programs, check clocks and temperature, then measure again with --fresh",
    ),
    "drift-mended": Advice(
        "the machine was slower for a while, and what was measured then was measured again",
        "nothing is lost but time; to spare it, stop other programs and fix the clock",
    ),
    "busy": Advice(
        "other programs kept the processor busy before the sweep began",
        "stop other programs, or pin edgeprof: taskset -c 0,1 edgeprof …",
    ),
    "desktop": Advice(
        "a desktop runs on the board: it takes memory, and the GPU whenever it draws",
        "sudo systemctl isolate multi-user.target (back: graphical.target)",
    ),
    "governor": Advice(
        "the processor's clock governor is not 'performance'", "sudo cpupower frequency-set -g performance"
    ),
    "stolen": Advice(
        "the hypervisor took processor time away while a network was measured",
        "measure on a machine of your own, or when its neighbours are quiet",
    ),
    "contended": Advice(
        "some task had to wait for a processor while a network was measured",
        "stop other programs, or leave them a core: --threads less than the cores",
    ),
    "switched": Advice(
        "other programs took the processor away from a network again and again while it was sampled",
        "stop other programs, or keep them off its processor: taskset -c 1 edgeprof …",
    ),
    "faulted": Advice(
        "a network waited for memory pages (page faults) while it was sampled, after its warm-up",
        "free some memory and turn swap off (sudo swapoff -a), or use a smaller batch",
    ),
    "growing": Advice(
        "the runtime's memory grew while a network was sampled: it leaks, and will get slower",
        "use another version of the runtime, or measure fewer networks in one sweep",
    ),
    "clock-moved": Advice(
        "the processor's clock moved by more than 5 % while a network was measured",
        "fix it: sudo cpupower frequency-set -g performance (on a Jetson: sudo jetson_clocks)",
    ),
    "throttled": Advice(
        "clocks were cut while a network was measured, when it was measured again too",
        "cool it, give it its own power supply, or lower the clock and keep it there",
    ),
    "unobserved": Advice(
        "a network that had been timed did not run again while the board's sensors were read: no power, no energy",
        "telemetry.unobserved in the export says why",
    ),
    "coverage": Advice(
        "kernel times and latency differ by more than a tenth on networks of 1 ms and more",
        "the breakdown was disturbed: measure again when the machine is quiet",
    ),
    "tf32-ran": Advice(
        "kernels multiplied in TF32 although fp32 was asked for, by their names",
        "measure with --precision tf32, or keep it out: NVIDIA_TF32_OVERRIDE=0 must reach the process",
    ),
    "fp32-ran": Advice(
        "TF32 was allowed and no kernel took it, by their names",
        "this GPU has no TF32, or layers are too small for it: --precision fp32 is the same",
    ),
    "host-kernels": Advice(
        "the GPU's own record of its kernels was not to be had: with blocking launches kernels are timed by the host, "
        "with others not at all",
        "pip install 'edgeprof[gpu]' brings cupti-python; environment.cupti in the export says what is amiss",
    ),
    "kernels-disagree": Advice(
        "rounds ran different kernels for the same network", "keep one runtime version in one environment"
    ),
    "unpriced": Advice(
        "kernels that the law's form has no terms for were priced into the overhead",
        "name them in the form's file",
    ),
    "clocks-together": Advice(
        "some clocks moved together from setting to setting: the law gives their part to one of them",
        "sweep settings that change one clock alone to tell them apart",
    ),
    "unlike": Advice(
        "settings differ by more than their clocks: the law is too fast on one and too slow on another",
        "fit that one alone: --where power_mode=NAME",
    ),
    "untested": Advice(
        "too few networks to hold any out: how far off the law is is not known, and it tells no intervals",
        "measure more networks, such as edgeprof sweep quick, and fit again",
    ),
    "unstated": Advice(
        "the power mode, clocks and runtime behind this law are not known: it compares networks, not boards",
        "for the speed of a board of yours, measure it, and fit --from this law",
    ),
    "datasheet": Advice(
        "nothing was measured on this board: the law is from its datasheet alone, and its interval is wide",
        "measure ten networks there, and fit --from this law --nets 10",
    ),
}


def summary(codes: Iterable[str]) -> list[str]:
    """One line for each kind of warning, the most frequent first."""
    counted = Counter(codes)
    lines = []
    for code, count in counted.most_common():
        advice = ADVICE.get(code, Advice(f"warning '{code}'", "a newer edgeprof may know what it means"))
        cases = f" ({count} cases)" if count > 1 else ""
        lines.append(f"{advice.text}{cases} · {advice.remedy}")
    return lines
