"""The laws of others' tables that are shipped: ``python -m benchmarks.shipped --data FOLDER --out fit/laws``.

``--data`` is the folder of the tables (``docs/decisions/0011``). The law of datasheets is written by
``benchmarks.datasheet``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import write_law
from edgeprof.fit.network_law import fit_networks
from edgeprof.fit.records import read_records

TABLE = "nb201_jetson.csv.gz"
ORIGIN = (
    "1,238 networks of NAS-Bench-201, CIFAR-10, batch 1: github.com/Ren-Research/OneProxy (MIT licence, © 2021 "
    "Ren-Research), which redistributes {}. Power mode, clocks and runtime are not stated"
)
LATBENCH = ORIGIN.format("LatBench")
HW_NAS_BENCH = ORIGIN.format("HW-NAS-Bench (MIT licence, © 2022 GaTech-EIC)")


@dataclass(frozen=True)
class Shipped:
    """A law of one column of the table."""

    name: str
    column: str
    board: str
    about: str
    source: str
    precision: str = "fp32"


LAWS = (
    Shipped("jetson-nano-cells", "jetson_nano_fp32_ms", "jetson-nano", "Jetson Nano", LATBENCH),
    Shipped(
        "jetson-nano-cells-fp16", "jetson_nano_fp16_ms", "jetson-nano", "Jetson Nano fp16", LATBENCH, "fp16"
    ),
    Shipped("jetson-tx2-cells", "jetson_tx2_ms", "jetson-tx2", "Jetson TX2", HW_NAS_BENCH),
)


def fitted(shipped: Shipped, folder: Path) -> Law:
    """The law of all rows, with its provenance."""
    records = read_records(folder / TABLE, shipped.column, batch=1)
    law = fit_networks(records, read_form("networks"), name=shipped.name, date="2026-11").law
    provenance = {
        "about": f"NAS-Bench-201 cells, {shipped.about} (--table)",
        "board": shipped.board,
        "precision": shipped.precision,
        "source": shipped.source,
        "warnings": ("unstated",),
    }
    return law.model_validate({**law.model_dump(), **provenance})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the laws")
    arguments = parser.parse_args()
    for shipped in LAWS:
        law = fitted(shipped, arguments.data)
        write_law(law, arguments.out / f"{law.name}.json")
        print(f"{law.name}: MAPE {law.scores['mape_pct']:.1f} % held out, {law.execution}", flush=True)


if __name__ == "__main__":
    main()
