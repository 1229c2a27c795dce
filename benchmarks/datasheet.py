"""Laws from a board's datasheet alone, on boards that they never saw: ``python -m benchmarks.datasheet --data FOLDER``.

The folder holds tables of others (``docs/decisions/0026``). Prints Markdown: forms compared, error and coverage for
each board by a law of the other boards, and boards that no law was fitted on. ``--out fit/laws/datasheet.json`` writes
the law that is shipped.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprof.boards.spec import read_board
from edgeprof.fit.composition import Kernels, schedule
from edgeprof.fit.datasheet import peaks_of
from edgeprof.fit.forms import Form, Group, read_form
from edgeprof.fit.intervals import quantile
from edgeprof.fit.law import LEVEL, Law, LawGroup, Term
from edgeprof.fit.law_file import read_law, write_law
from edgeprof.fit.network_law import (
    first_networks,
    fit_networks,
    kernels_of,
    price_networks,
    sample,
    transfer_networks,
)
from edgeprof.fit.prediction import predict
from edgeprof.fit.records import batch_of, read_records
from edgeprof.fit.regress import fit_log, resample
from edgeprof.fit.totals import overhead_columns
from edgeprof.nets.network import net_operators
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo import zoo_model

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

LAYERS, CELLS = 200, 100  # of a table and board
SCORES = 20  # errors of a board in the law's file
OVERHEAD = 1 / 3  # of a network's time, above which the reference study's own law is not believed
LEVELS = (0.5, 0.8, 0.9)
BATCHES = (1, 32, 256)
FREE = ("Flatten", "Reshape", "Identity", "Dropout", "Squeeze", "Unsqueeze")  # operators that run nothing

# float32 GFLOPS and GB/s of boards that are not in boards/: TechPowerUp GPU database, 2025-12 (GFLOPS: 2·cores·MHz)
PEAKS: Mapping[str, tuple[float, float]] = {
    "Tesla P100": (9526.3, 732.2),
    "Tesla P4": (5703.7, 192.3),
    "Tesla V100": (14131.2, 897.0),
    "GTX 1080 Ti": (11339.8, 484.4),
    "Titan RTX": (16312.3, 672.0),
    "Tesla K20": (3524.4, 208.0),
    "Tesla K40": (5045.8, 288.4),
    "GTX 1070": (6462.7, 256.3),
}
TESLAS = {"Tesla P100": "Tesla P100-PCIE-16GB", "Tesla P4": "Tesla P4", "Tesla V100": "Tesla V100-PCIE-32GB"}
CARDS = {"GTX 1080 Ti": "1080ti", "rtx-2080-ti": "2080ti", "Titan RTX": "titan_rtx"}
STUDY = {(5, 1): 33.6, (1, 5): 148.6, (3, 3): 42.0}  # conv and FC layers: tiles/ms, the study's Table 2
ALEXNET_S = {"Tesla K20": 0.077, "Tesla K40": 0.062, "GTX 1070": 0.039}  # forward, batch 128


@dataclass(frozen=True)
class Run:
    """What ran once: its kernels, batch and latency, and what it is."""

    kernels: Kernels
    batch: int
    ms: float
    what: str


@dataclass(frozen=True)
class Device:
    """A board with its peaks and runs, and who measured them."""

    name: str
    origin: str
    peaks: Mapping[str, float]
    runs: tuple[Run, ...]

    @property
    def ms(self) -> Vector:
        return np.array([run.ms for run in self.runs])


@dataclass(frozen=True)
class Candidate:
    """A form; ``tied`` gives all its kernels one coefficient."""

    about: str
    form: Form
    tied: bool = False

    def columns(self, device: Device) -> Matrix:
        """Terms of every run: [n, m]."""
        kernels = [run.kernels for run in device.runs]
        sums = schedule(self.form, kernels, device.peaks).sums
        batches, counts = [run.batch for run in device.runs], [len(own) for own in kernels]
        fixed = overhead_columns(self.form.overhead, batches, counts, device.peaks)
        return np.hstack([sums.sum(axis=1, keepdims=True) if self.tied else sums, fixed])


DEFINE = {"mac": "2e-6/GFLOPS", "element": "4e-6/GBPS"}  # ms at the peaks
CONV = ("B*H*W*C*M*Kh*Kw/G*mac", "(X + Y + C*M*Kh*Kw/G)*element")
GEMM = ("R*N*M*mac", "(R*N + N*M + R*M)*element")
OTHER = "(X + Y)*element"


def form(greater: bool, overhead: tuple[str, ...] = ("1", "k")) -> Form:
    """Multiply-accumulates and bytes: the greater of the two times, or both."""
    conv, gemm = ((f"max({', '.join(own)})",) if greater else own for own in (CONV, GEMM))
    groups = (
        Group(name="Conv", kinds=("Conv", "Conv.*"), terms=conv),
        Group(name="Gemm", kinds=("Gemm", "MatMul"), terms=gemm),
        Group(name="other", kinds=("*",), terms=(OTHER,)),
    )
    return Form(name="roofline", scope="kernel", define=DEFINE, group=groups, overhead=overhead)


CHOSEN = Candidate("the greater, one price", form(True), tied=True)
CANDIDATES = (
    CHOSEN,
    Candidate("the greater, a price for each kind", form(True)),
    Candidate("both, a price each for each kind", form(False)),
    Candidate(
        "the greater, one price; launches slower on slower boards", form(True, ("1", "k", "k/GFLOPS")), True
    ),
    Candidate("the greater, one price; no launches", form(True, ("1",)), True),
)


# --- data


def devices(folder: Path) -> tuple[Device, ...]:
    """The boards that laws are fitted on."""
    gpu, jetson = folder / "nb201_gpu.csv.gz", folder / "nb201_jetson.csv.gz"
    return (
        *(_device(name, "NeuSight", _layers(folder, full)) for name, full in TESLAS.items()),
        *(
            _device(name, "HELP", _cells(gpu, f"{column}_{{batch}}", "eager"))
            for name, column in CARDS.items()
        ),
        _device("jetson-nano", "LatBench", _cells(jetson, "jetson_nano_fp32_ms", "compiled")),
        _device("jetson-tx2", "HW-NAS-Bench", _cells(jetson, "jetson_tx2_ms", "compiled")),
        _device("gtx-960", "the study", _study()),
    )


def strangers() -> tuple[Device, ...]:
    """Boards that no law is fitted on: one network each."""
    alexnet = _kernels(operators(zoo_model("alexnet", 128, weights=False)))
    runs = {name: [Run(alexnet, 128, 1000 * s, "AlexNet")] for name, s in ALEXNET_S.items()}
    return tuple(_device(name, "AlexNet", own) for name, own in runs.items())


def _device(name: str, origin: str, runs: Iterable[Run]) -> Device:
    known = name in PEAKS
    peaks = dict(zip(("GFLOPS", "GBPS"), PEAKS[name], strict=True)) if known else peaks_of(read_board(name))
    return Device(name, origin, peaks, tuple(runs))


def _layers(folder: Path, device: str) -> Iterator[Run]:
    """Single layers, of both tables."""
    for kind in ("conv", "linear"):
        rows = read_records(folder / f"gpu_{kind}.csv.gz", "latency_ms", [f"device={device}"]).rows
        for i in np.random.default_rng(0).permutation(len(rows))[:LAYERS]:
            row = rows[i]
            yield Run(_kernels(row.operators), batch_of(row), row.latency_ms or 0.0, kind)


def _cells(path: Path, column: str, execution: str) -> Iterator[Run]:
    """Networks of NAS-Bench-201, as the board was found to run them (``docs/decisions/0011``)."""
    records = read_records(path, column, batch=None if "{batch}" in column else 1)
    for row in sample(records.rows, CELLS):
        batch = batch_of(row)
        yield Run(kernels_of(records, row, execution), batch, row.latency_ms or 0.0, f"cells, batch {batch}")


def _study() -> Iterator[Run]:
    """The reference study: networks that it measured, and those of its fourth group by its own law."""
    for (conv, fc), speed in STUDY.items():
        yield Run(_kernels(net_operators(net_spec(conv=conv, fc=fc), 1024)), 1024, 1024 / speed, "measured")
    law = read_law("gtx960-theano")
    for conv in range(1, 6):
        for depth in (5, 10, 20, 40, 80):
            net = net_spec(conv=conv, depth=depth, fc=1)
            told = predict(law, net, 1024)
            if told.overhead_ms < OVERHEAD * told.latency_ms:
                yield Run(_kernels(net_operators(net, 1024)), 1024, told.latency_ms, "by its law")


def _kernels(run: Sequence[Operator]) -> Kernels:
    return [(op.op_type, op.dims) for op in run if op.op_type not in FREE]


# --- fits


def fitted(candidate: Candidate, boards: Sequence[Device]) -> Vector:
    """Coefficients from all runs of the boards, every board weighing alike."""
    weights = np.concatenate([np.full(len(own.runs), 1 / len(own.runs)) for own in boards])
    columns = np.vstack([candidate.columns(own) for own in boards])
    return fit_log(columns, np.concatenate([own.ms for own in boards]), weights)


def errors(candidate: Candidate, device: Device, boards: Sequence[Device]) -> Vector:
    """Log errors on a board by a law of those among ``boards`` that are others."""
    found = fitted(candidate, [own for own in boards if own.name != device.name])
    return np.asarray(np.log(device.ms / (candidate.columns(device) @ found)))


def scores(candidate: Candidate, boards: Sequence[Device]) -> list[tuple[float, float]]:
    """Predicted ms and log error for a law's intervals: of every board, by a law of the others, as many as of any other
    board; and as many more for the board that is asked about and may be worse than all of them, from the largest error
    to twice that, which is an extrapolation.

    Conformal prediction where boards, not runs, are exchangeable: Dunn, Wasserman and Ramdas, Journal of the American
    Statistical Association 118, 2023.
    """
    found: list[tuple[float, float]] = []
    for device in boards:
        error = errors(candidate, device, boards)
        order = np.argsort(error)[((np.arange(SCORES) + 0.5) / SCORES * len(error)).astype(int)]
        found += [(float(device.ms[i] / np.exp(error[i])), float(error[i])) for i in order]
    ms, worst = max(found, key=lambda one: abs(one[1]))
    return [*found, *((ms, worst * (1 + i / SCORES)) for i in range(SCORES))]


def half_width(held_out: Sequence[tuple[float, float]], level: float) -> float:
    """Of the interval of a log latency."""
    return quantile(sorted(abs(error) for _, error in held_out), level)


def off_pct(error: Vector) -> Vector:
    """Absolute errors in percent of the measured latency."""
    return np.asarray(100 * np.abs(np.exp(-error) - 1))


# --- what is printed and written


def compared(boards: Sequence[Device]) -> Iterator[str]:
    """A line for each form: errors on boards held out."""
    yield "| form | MAPE, mean of boards | worst board | mean of absolute log errors |\n|---|---|---|---|"
    for candidate in CANDIDATES:
        off = {own.name: errors(candidate, own, boards) for own in boards}
        mape = {name: float(off_pct(error).mean()) for name, error in off.items()}
        worst = max(mape, key=lambda name: mape[name])
        size, mean = np.mean([np.abs(error).mean() for error in off.values()]), np.mean(list(mape.values()))
        yield f"| {candidate.about} | {mean:.0f} % | {mape[worst]:.0f} %, {worst} | {size:.2f} |"


def held_out(boards: Sequence[Device], others: Sequence[Device], by_origin: bool = False) -> Iterator[str]:
    """A line for each board and kind of run: error by a law of the other boards, and how many of its latencies are in
    that law's intervals; ``by_origin`` by a law of boards that others measured."""
    heads = " | ".join(f"in {100 * level:.0f} %" for level in LEVELS)
    yield f"| board | runs | number | MAPE | median | measured / predicted | {heads} |\n|{'---|' * (6 + len(LEVELS))}"
    mean: list[Vector] = []
    for device in (*boards, *others):
        rest = [
            own
            for own in boards
            if own.name != device.name and not (by_origin and own.origin == device.origin)
        ]
        error, known = errors(CHOSEN, device, rest), scores(CHOSEN, rest)
        if device in boards:
            mean.append(np.array([np.mean(np.abs(error) <= half_width(known, v)) for v in LEVELS]))
        kinds = list(dict.fromkeys(run.what for run in device.runs))
        for kind in kinds:
            own = error[[run.what == kind for run in device.runs]]
            inside = " | ".join(f"{100 * np.mean(np.abs(own) <= half_width(known, v)):.0f} %" for v in LEVELS)
            off, ratio = off_pct(own), np.exp(np.median(own))
            told = f"{off.mean():.0f} % | {np.median(off):.0f} % | {ratio:.2f} | {inside}"
            yield f"| {device.name} | {kind} | {len(own)} | {told} |"
    inside = " | ".join(f"{100 * v:.0f} %" for v in np.mean(mean, axis=0))
    yield f"| mean of the boards that laws are fitted on | | | | | | {inside} |"


def beyond(folder: Path, law: Law) -> Iterator[str]:
    """A line for each card: laws of its cells at batch 1, and of its datasheet, on the same cells at other batches."""
    yield f"| board | law | {' | '.join(f'batch {b}' for b in BATCHES)} |\n|{'---|' * (2 + len(BATCHES))}"
    form = read_form("networks")
    for name, column in CARDS.items():
        records = read_records(folder / "nb201_gpu.csv.gz", f"{column}_{{batch}}")
        records = replace(records, signature=replace(records.signature, executions=("eager",)))
        ones = replace(records, rows=tuple(row for row in records.rows if batch_of(row) == 1))
        sheet = law.model_validate({**law.model_dump(), "constants": _device(name, "", ()).peaks})
        own = fit_networks(first_networks(ones, 60), form, cross_validate=False, errors=False).law
        moved = transfer_networks(first_networks(ones, 10), sheet).law
        known = {"60 cells, batch 1": own, "datasheet": sheet, "datasheet and 10 cells, batch 1": moved}
        for what, one in known.items():
            off = []
            for batch in BATCHES:
                rows = [row for row in sample(records.rows, CELLS, 1) if batch_of(row) == batch]
                priced = price_networks(
                    one, [kernels_of(records, row, "eager") for row in rows], [batch] * len(rows)
                )
                ms = np.array([math.fsum([p.overhead_ms, *(k.ms for k in p.kernels)]) for p in priced])
                measured = np.array([row.latency_ms for row in rows], np.float64)
                off.append(f"{100 * np.abs(ms / measured - 1).mean():.0f} %")
            yield f"| {name} | {what} | {' | '.join(off)} |"


def datasheet_law(boards: Sequence[Device]) -> Law:
    """The law that is put on any board with peaks."""
    found = fitted(CHOSEN, boards)
    columns = np.vstack([CHOSEN.columns(own) for own in boards])
    weights = np.concatenate([np.full(len(own.runs), 1 / len(own.runs)) for own in boards])
    owner = np.repeat(np.arange(len(boards)), [len(own.runs) for own in boards])
    ms = np.concatenate([own.ms for own in boards])
    low, high = np.quantile(resample(columns, ms, weights, owner, 100, 0), [0.16, 0.84], axis=0)
    prices: list[dict[str, Any]] = [
        {"coefficient": float(c), "standard_error": float(e)}
        for c, e in zip(found, (high - low) / 2, strict=True)
    ]
    price, *fixed = prices
    off = {own.name: float(off_pct(errors(CHOSEN, own, boards)).mean()) for own in boards}
    known = scores(CHOSEN, boards)
    factor = np.exp(half_width(known, LEVEL))
    return Law(
        name="datasheet",
        about="any board by its datasheet alone: datasheet:BOARD",
        board="",
        backend="datasheet",
        runtime="datasheet alone",
        launch="blocking",
        form=CHOSEN.form.name,
        scope="kernel",
        unit="run",
        define=dict(CHOSEN.form.define),
        groups=tuple(
            LawGroup(name=g.name, kinds=g.kinds, terms=tuple(Term(text=t, **price) for t in g.terms))
            for g in CHOSEN.form.group
        ),
        overhead=tuple(Term(text=t, **own) for t, own in zip(CHOSEN.form.overhead, fixed, strict=True)),
        rules={"operators": {kind: {"kind": "merged", "seen": 0} for kind in FREE}},
        domain={
            "tile": (5, 252),
            "channels": (1, 2041),
            "conv": (0, 16),
            "depth": (3, 2048),
            "kernel": (1, 5),
            "stride": (1, 2),
            "padding": ("valid", "same"),
            "pool": (1, 3),
            "pool_before": (1, 3),
            "fc": (0, 5),
            "neurons": (1, 65371),
            "batch": (1, 1024),
        },
        family={
            "knobs": {
                "conv": "1..5",
                "fc": "0..5",
                "depth": "5..80 log",
                "kernel": [3, 5],
                "neurons": "64..2048 log",
                "batch": "16..1024 log",
            }
        },
        conformal=tuple(known),
        scores={
            "mape_pct": float(np.mean(list(off.values()))),
            "by_board_mape_pct": off,
            "level": LEVEL,
            "how": f"each board by a law of the other boards; intervals are a factor of {factor:.1f} at 90 %",
        },
        date="2026-11",
        source="roofline fitted on tables of the NeuSight (P100, P4, V100), HELP (GTX 1080 Ti, RTX 2080 Ti, Titan RTX) "
        "and OneProxy (Jetson Nano, TX2) repositories, all MIT licence, and the Uppsala study of 2016 (GTX 960)",
        warnings=("datasheet",),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--out", type=Path, help="write the law to this file")
    arguments = parser.parse_args()
    boards = devices(arguments.data)
    law = datasheet_law(boards)
    for lines in (
        compared(boards),
        held_out(boards, strangers()),
        held_out(boards, (), by_origin=True),
        beyond(arguments.data, law),
    ):
        print(*lines, "", sep="\n", flush=True)
    terms = [(g.terms[0].text, g.terms[0]) for g in law.groups[:1]] + [(t.text, t) for t in law.overhead]
    for text, term in terms:
        print(f"- {text}: {term.coefficient:.4g} ± {term.standard_error:.2g}")
    for level in (*LEVELS, 0.95):
        print(
            f"- interval at {100 * level:.0f} %: a factor of {np.exp(half_width(law.conformal, level)):.2f}"
        )
    if arguments.out:
        write_law(law, arguments.out)


if __name__ == "__main__":
    main()
