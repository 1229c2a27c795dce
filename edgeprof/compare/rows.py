"""Rows: a comparison as plain values, every number named by side and unit."""

from __future__ import annotations

from typing import Any

from edgeprof.compare.comparison import Comparison, KindRatio, Pair, Part
from edgeprof.export import joined, knobs

WHOLE = "latency"
COLUMNS = ("kind", "a_ms", "b_ms", "a_ms_per_tile", "b_ms_per_tile", "a_share", "b_share", "speedup")


def pair_row(found: Comparison, pair: Pair) -> dict[str, Any]:
    """A pair with every number named by side and unit, kernels as a list; unknown is None."""
    a_ms, b_ms = pair.latency_ms
    batch = pair.a.case.batch
    return {
        **_identity(found, pair),
        "a_latency_ms": a_ms,
        "b_latency_ms": b_ms,
        "a_ms_per_tile": a_ms / batch,
        "b_ms_per_tile": b_ms / batch,
        "a_tiles_per_ms": batch / a_ms,
        "b_tiles_per_ms": batch / b_ms,
        "speedup": pair.ratio.speedup,
        "interval": pair.ratio.interval(found.level),
        "verdict": found.verdict(pair.ratio),
        "a_status": pair.a.status,
        "b_status": pair.b.status,
        "same": pair.same,
        "outside": [*pair.a.outside, *pair.b.outside],
        "interval_unknown": pair.a.interval_unknown or pair.b.interval_unknown,
        "kernels": [_part_row(found, pair, part) for part in pair.parts],
    }


def _identity(found: Comparison, pair: Pair) -> dict[str, Any]:
    ours, theirs = pair.a.case.identity(), pair.b.case.identity()
    own = {name: value for name, value in ours.items() if name in found.matched}
    for name in found.differ:
        own |= {f"a_{name}": ours[name], f"b_{name}": theirs[name]}
    return own


def _part_row(found: Comparison, pair: Pair, part: Part) -> dict[str, Any]:
    times = [part.a_ms, part.b_ms]
    a_tile, b_tile = (None if ms is None else ms / pair.a.case.batch for ms in times)
    a_share, b_share = (
        None if ms is None else ms / whole for ms, whole in zip(times, pair.latency_ms, strict=True)
    )
    return {
        "kind": part.kind,
        "a_ms": part.a_ms,
        "b_ms": part.b_ms,
        "a_ms_per_tile": a_tile,
        "b_ms_per_tile": b_tile,
        "a_share": a_share,
        "b_share": b_share,
        "speedup": part.ratio.speedup if part.ratio else None,
        "interval": part.ratio.interval(found.level) if part.ratio else None,
    }


def kind_row(found: Comparison, kind: KindRatio) -> dict[str, Any]:
    """A kind of kernel over all pairs, as plain values."""
    return {
        "kind": kind.kind,
        "a_share": kind.a_share,
        "b_share": kind.b_share,
        "speedup": kind.ratio.speedup if kind.ratio else None,
        "interval": kind.ratio.interval(found.level) if kind.ratio else None,
        "verdict": found.verdict(kind.ratio) if kind.ratio else None,
        "cases": kind.cases,
        "networks": kind.networks,
    }


def flat_rows(found: Comparison) -> list[dict[str, Any]]:
    """One row for each case's latency and one for each kind of its kernels, all with the same columns: what figures of
    tiles/ms, of a kernel's ms/tile and of speed-ups are drawn from."""
    rows = []
    for pair in found.pairs:
        row = pair_row(found, pair)
        case = {name: value for name, value in _identity(found, pair).items() if name != "net"}
        identity = {**knobs(pair.a.case.net), **joined("", case)}
        whole = {"a_ms": row["a_latency_ms"], "b_ms": row["b_latency_ms"], "a_share": 1.0, "b_share": 1.0}
        for part in ({**row, **whole, "kind": WHOLE}, *row["kernels"]):
            low, high = part["interval"] or (None, None)
            numbers = {name: part[name] for name in COLUMNS}
            numbers |= {"speedup_low": low, "speedup_high": high, "verdict": part.get("verdict")}
            rows.append({**identity, **numbers})
    of_network = dict.fromkeys(name for row in rows for name in row if name.startswith("net."))
    names = dict.fromkeys([*of_network, *rows[0]])
    return [{name: row.get(name) for name in names} for row in rows]
