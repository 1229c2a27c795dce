"""Stands in for NVIDIA's nvidia-smi where there is no GPU, as far as edgeprof calls it. Its state is in the files of
the folder ``card`` at the root of the tree in whose usr/bin it lies, as that of nvml.c is. Options and statuses are
those of nvidia-smi(1); sentences, and the status 0 where a card cannot, are as users report them. It shows that calls
are right, and nothing of any GPU."""

import sys
from pathlib import Path

CARD = Path(__file__).resolve().parents[2] / "card"
ADDRESS, UUID, BUS = "0000:05:00.0", "GPU-0a2", "00000000:05:00.0"
HIGHEST = {"gpu": 1770, "memory": 6251}
TDP = 0xFFFFFF01  # as nvml.c has it


def end(text, status):
    print(text)
    sys.exit(status)


def lock(kind, limits):
    """Lock clocks of a kind between two limits, each a number or the word tdp; None gives them back."""
    if (CARD / "denied").exists():
        end(
            f"The current user does not have permission to change clocks for GPU {BUS}.\n"
            "Terminating early due to previous errors.",
            4,
        )
    called = {"gpu": "GPU", "memory": "Memory"}[kind]
    if (CARD / "old").exists() or (kind == "memory" and (CARD / "volta").exists()):
        end(
            f"Setting locked {called} clocks is not supported for GPU {BUS}.\n"
            "Treating as warning and moving on.\nAll done.",
            0,
        )
    path = CARD / f"{kind}_lock"
    if limits is None:
        path.unlink(missing_ok=True)
        end("All done.", 0)
    low, high = limits.split(",")
    if not (low.isdigit() and high.isdigit()) and (kind == "memory" or (low, high) != ("tdp", "tdp")):
        end(f"Invalid clocks: {limits}", 2)
    path.write_text(" ".join(str(TDP) if limit == "tdp" else limit for limit in (low, high)) + "\n")
    start = {"gpu": "gpu", "memory": "mem"}[kind]
    print(f'{called} clocks set to "({start}ClkMin {low}, {start}ClkMax {high})" for GPU {BUS}')
    if not (CARD / "persistent").exists():
        print(f"\nWarning: persistence mode is disabled on device {BUS}. See the Known Issues section.")
    end("All done.", 0)


def main(arguments):
    assert arguments[0] == "-i", arguments
    if arguments[1] not in (ADDRESS, UUID):
        end("No devices were found", 6)
    if (CARD / "lost").exists():
        end(f"Unable to determine the device handle for GPU {ADDRESS}: GPU is lost.  Reboot the system", 15)
    match arguments[2:]:
        case ["--query-gpu=name,uuid,clocks.max.sm,clocks.max.memory", "--format=csv,noheader,nounits"]:
            end(f"NVIDIA A2, {UUID}, {HIGHEST['gpu']}, {HIGHEST['memory']}", 0)
        case ["-lgc", limits]:
            lock("gpu", limits)
        case ["-lmc", limits]:
            lock("memory", limits)
        case ["-rgc"]:
            lock("gpu", None)
        case ["-rmc"]:
            lock("memory", None)
    end("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", 2)


main(sys.argv[1:])
