"""A law from a board's datasheet alone: on boards that it was not fitted on, and like any other law."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.datasheet import CHOSEN, PEAKS, Device, Run, errors, fitted, scores
from edgeprof import catalogue
from edgeprof.boards.spec import Board, read_board
from edgeprof.errors import EdgeprofError, SpecError
from edgeprof.fit.datasheet import on_board, peaks_of
from edgeprof.fit.emit import LANGUAGES, emit
from edgeprof.fit.law_file import parse_law, read_law
from edgeprof.fit.prediction import operator_prices, predict
from edgeprof.fit.record_law import predict_records, transfer_records
from edgeprof.fit.records import read_records
from edgeprof.nets.operators import operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo import zoo_model
from edgeprof.query import query_nets

DATA = Path(__file__).resolve().parents[1] / "data" / "latency"
BARE = parse_law(catalogue.find("laws", "datasheet").read_text("utf-8"), "datasheet")


def made_up(name: str, gflops: float, gbps: float) -> Board:
    peaks: Any = {"fp32_gflops": gflops, "dram_gbps": gbps, "source": "TechPowerUp GPU database, 2025-12"}
    return Board(name=name, kind="discrete", backend="ort-cuda", estimator="median", peaks=peaks)


# Forward passes of AlexNet, batch 128, published with a study of image networks; the law has seen none of these boards.
@pytest.mark.parametrize(
    ("name", "gflops", "gbps", "measured_ms"),
    [("k20", 3524.4, 208.0, 77.0), ("k40", 5045.8, 288.4, 62.0), ("gtx-1070", 6462.7, 256.3, 39.0)],
)
def test_boards_that_no_part_of_the_law_has_seen(
    name: str, gflops: float, gbps: float, measured_ms: float
) -> None:
    law = on_board(BARE, made_up(name, gflops, gbps))
    (kernels,) = operator_prices(law, [operators(zoo_model("alexnet", 128, weights=False))])
    ms = math.fsum(k.ms for k in kernels)
    low, high = law.interval(ms, 0.8) or (0.0, 0.0)
    assert low < measured_ms < high
    assert abs(ms / measured_ms - 1) < 0.35


@pytest.mark.parametrize(
    ("board", "table", "target", "where", "within"),
    [
        ("rtx-2080-ti", "cells_gpu.csv", "2080ti_{batch}", [], 0.99),
        ("v100", "linear.csv", "latency_ms", ["device=Tesla V100-PCIE-32GB"], 0.99),
        ("v100", "conv.csv", "latency_ms", ["device=Tesla V100-PCIE-32GB"], 0.99),
        ("jetson-tx2", "cells.csv", "jetson_tx2_ms", [], 0.95),
        ("jetson-nano", "cells.csv", "jetson_nano_fp32_ms", [], 0.9),
    ],
)
def test_tables_of_others_are_in_its_interval(
    board: str, table: str, target: str, where: list[str], within: float
) -> None:
    law = read_law(f"datasheet:{board}") if board != "v100" else on_board(BARE, made_up("v100", 14131.2, 897))
    batch = 1 if table == "cells.csv" else None
    rows = read_records(DATA / table, target, where, batch).rows[:60]
    told = predict_records(law, rows, 0.9)
    inside = [
        p.interval_ms[0] < (r.latency_ms or 0) < p.interval_ms[1]
        for p, r in zip(told, rows, strict=True)
        if p.interval_ms
    ]
    assert len(inside) == len(rows)
    assert np.mean(inside) >= within


def test_prices_are_the_roofline_of_the_peaks() -> None:
    law = read_law("datasheet:jetson-nano")
    price = law.groups[0].terms[0].coefficient
    found = predict(law, net_spec(conv=1, depth=64, kernel=5, padding="same", fc=1, neurons=2048), 256)
    ms = {k.name: k.ms for k in found.kernels}
    rate, bandwidth = 235.9e6, 25.6e6  # FLOP and bytes in a ms
    assert ms["fc1"] == pytest.approx(price * 2 * 256 * 12544 * 2048 / rate)
    assert ms["conv1_relu"] == pytest.approx(price * 4 * 2 * 256 * 64 * 28**2 / bandwidth)
    assert "flatten" not in ms
    assert len(ms) == 7
    assert found.overhead_ms == pytest.approx(
        sum(t.coefficient * n for t, n in zip(law.overhead, (1, 7), strict=True))
    )


def test_a_board_of_half_the_peaks_takes_twice_as_long_but_for_its_launches() -> None:
    net = net_spec(conv=3, fc=2)
    one, two = (on_board(BARE, made_up("some", 1000 * n, 100 * n)) for n in (1, 2))
    slow, fast = (predict(law, net, 64) for law in (one, two))
    assert slow.latency_ms - slow.overhead_ms == pytest.approx(2 * (fast.latency_ms - fast.overhead_ms))
    assert slow.overhead_ms == fast.overhead_ms


def test_intervals_are_wide_and_wider_at_a_higher_level() -> None:
    law = read_law("datasheet:jetson-orin-nano-8gb")
    widths = [high for _, high in (law.interval(1.0, level) or (0, 0) for level in (0.5, 0.8, 0.9, 0.95))]
    assert widths == sorted(widths)
    assert 2 < widths[1] < 4 < widths[2] < 8 < widths[3]
    assert predict(law, net_spec(conv=1, kernel=11), 16).outside[0]["what"] == "kernel"


@pytest.mark.parametrize("entry", catalogue.entries("boards"), ids=lambda entry: entry.name)
def test_every_board_with_peaks_has_a_law(entry: catalogue.Entry) -> None:
    board = read_board(entry.name)
    if not (board.peaks and board.peaks.fp32_gflops and board.peaks.dram_gbps):
        with pytest.raises(SpecError, match="has no peaks for a law"):
            read_law(f"datasheet:{entry.name}")
        return
    law = read_law(f"datasheet:{entry.name}")
    assert (law.name, law.board) == (f"datasheet:{entry.name}", entry.name)
    assert board.peaks.source in law.source
    assert law.warnings == ("datasheet",)
    assert law.constants == peaks_of(board)


def test_faster_boards_are_faster() -> None:
    boards = [
        "jetson-nano",
        "jetson-tx2",
        "jetson-orin-nano-8gb",
        "jetson-agx-orin-64gb",
        "rtx-3090",
        "rtx-4090",
    ]
    times = [predict(read_law(f"datasheet:{b}"), net_spec(conv=3, depth=64), 1024).latency_ms for b in boards]
    assert times == sorted(times, reverse=True)


def test_a_board_of_one_s_own(tmp_path: Path) -> None:
    text = catalogue.find("boards", "gtx-960").read_text("utf-8").replace("2412.5", "1000")
    (tmp_path / "mine.toml").write_text(text)
    assert read_law(f"datasheet:{tmp_path}/mine.toml").constants["GFLOPS"] == 1000


def test_what_needs_or_takes_no_board() -> None:
    with pytest.raises(SpecError, match="is in the peaks of a board") as caught:
        read_law("datasheet")
    assert "datasheet:jetson-nano" in caught.value.hint
    with pytest.raises(SpecError, match="gtx960-theano' is of gtx960 alone"):
        read_law("gtx960-theano:jetson-nano")
    with pytest.raises(SpecError, match="'datasheet:jetson-tx2' is of jetson-tx2 alone"):
        on_board(read_law("datasheet:jetson-tx2"), read_board("jetson-nano"))


def test_queries_say_what_predict_says() -> None:
    law = read_law("datasheet:jetson-tx2")
    for found in query_nets(
        law, {"conv": "0..3", "fc": "0..2", "depth": "8,32", "batch": "1,64"}, top=30
    ).nets:
        told = predict(law, found.net, found.batch)
        assert found.latency_ms == pytest.approx(told.latency_ms, rel=1e-9)
        assert found.interval_ms == pytest.approx(told.interval_ms)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_written_in_every_language(language: str) -> None:
    text = emit(read_law("datasheet:jetson-nano"), language)
    assert "235.9" in text
    assert "datasheet" in text


def test_its_python_gives_the_same(tmp_path: Path) -> None:
    law = read_law("datasheet:jetson-nano")
    names: dict[str, Any] = {}
    exec(emit(law, "python"), names)
    latency: Callable[..., float] = names["latency_ms"]
    for conv, fc, batch in ((0, 0, 1), (1, 2, 64), (4, 1, 100)):
        told = predict(law, net_spec(conv=conv, fc=fc, depth=17, kernel=3), batch).latency_ms
        assert latency(batch, conv=conv, fc=fc, depth=17, kernel=3) == pytest.approx(told, rel=1e-9)


def test_its_text_says_what_it_is() -> None:
    text = emit(read_law("datasheet:jetson-nano"), "text")
    assert "datasheet alone" in text
    assert "each board by a law of the other boards" in " ".join(text.split())
    assert "  rules" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_ten_networks_bring_it_to_the_board() -> None:
    records = read_records(DATA / "cells.csv", "jetson_nano_fp32_ms", batch=1)
    prior, rest = read_law("datasheet:jetson-nano"), records.rows[10:50]
    compiled = replace(records.signature, executions=("compiled",))
    fitted = transfer_records(
        replace(records, rows=records.rows[:10], signature=compiled), prior, name="nano"
    ).law
    off = [
        np.mean([abs(p.latency_ms / (r.latency_ms or 0) - 1) for p, r in zip(told, rest, strict=True)])
        for told in (predict_records(prior, rest), predict_records(fitted, rest, signature=compiled))
    ]
    assert off[0] > 0.4
    assert off[1] < 0.15
    assert fitted.prior["law"] == prior.name
    assert fitted.constants == prior.constants
    assert all(t.standard_error is not None for g in fitted.groups for t in g.terms)


@pytest.mark.parametrize("name", ["jetson-nano-cells", "jetson-nano-cells-fp16", "jetson-tx2-cells"])
def test_shipped_laws_of_cells_price_cells_and_refuse_the_family(name: str) -> None:
    law = read_law(name)
    column = f"{law.board.replace('-', '_')}{'' if 'tx2' in name else '_' + law.precision}_ms"
    records = read_records(DATA / "cells.csv", column, batch=1)
    told = predict_records(law, records.rows[:40], signature=records.signature)
    off = [abs(p.latency_ms / (r.latency_ms or 0) - 1) for p, r in zip(told, records.rows[:40], strict=True)]
    assert np.mean(off) < 0.04
    assert "MIT licence" in law.source
    assert "not stated" in law.source
    for ask in (lambda: predict(law, net_spec(conv=1), 1), lambda: query_nets(law, {"conv": "1..2"})):
        with pytest.raises(EdgeprofError, match=f"'{name}' is of") as caught:
            ask()
        assert f"--law datasheet:{law.board} prices" in caught.value.hint


def test_the_benchmark_finds_the_prices_of_boards_made_up_by_them() -> None:
    rows = read_records(DATA / "linear.csv", "latency_ms", ["device=Tesla P4"]).rows
    true = np.array([2.0, 0.05, 0.03])
    boards = []
    for name in ("Tesla P4", "GTX 1070"):
        peaks = dict(zip(("GFLOPS", "GBPS"), PEAKS[name], strict=True))
        runs = tuple(
            Run([(op.op_type, op.dims) for op in r.operators] * n, 1, 1.0, "") for n in (1, 3) for r in rows
        )
        ms = CHOSEN.columns(Device(name, "", peaks, runs)) @ true
        timed = (Run(run.kernels, 1, t, "") for run, t in zip(runs, ms.tolist(), strict=True))
        boards.append(Device(name, "", peaks, tuple(timed)))
    assert fitted(CHOSEN, boards) == pytest.approx(true, rel=1e-3)
    assert np.abs(errors(CHOSEN, boards[0], boards)).max() < 1e-3
    assert len(scores(CHOSEN, boards)) == 60
