"""The design page of a law: sliders for a network's knobs, what the law says of it in the browser, a wanted speed, and
the Pareto front. HTML (design.html) with its script (design.js) and style (design.css) inside: nothing is fetched.

The law is its emitted JavaScript (:mod:`edgeprof.fit.emit.javascript`); domain, intervals and probabilities are
those of :mod:`edgeprof.fit.prediction` and :mod:`edgeprof.fit.intervals`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeprof import __version__, advice
from edgeprof.fit.clocks import told
from edgeprof.fit.emit.javascript import javascript_code
from edgeprof.fit.emit.recipe import recipe
from edgeprof.fit.emit.source import about
from edgeprof.fit.emit.text import law_text
from edgeprof.fit.intervals import excess
from edgeprof.fit.law import LEVEL, Law
from edgeprof.nets.spec import DEFAULTS, NetSpec
from edgeprof.query.search import assumed_batch

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
FIRST = ("conv", "depth", "fc", "neurons", "batch", "tile")
MORE = ("kernel", "stride", "padding", "pool", "pool_before", "channels", "classes")
GRID = ("conv", "depth", "fc", "neurons")
FINE = 16  # numbers in an octave of a slider
COARSE = (4, 2, 1)  # of the grid: the most of these that make at most ...
FEW = 10  # ... so many values of a knob
RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")  # how a law writes its family
SOLE = {"tile": "t", "kernel": "K"}  # knobs that a law of whole networks may leave out, and their variables
TITLES: Mapping[str, tuple[str, str]] = {
    "conv": ("conv layers", ""),
    "depth": ("depth", "output channels"),
    "fc": ("hidden FC layers", ""),
    "neurons": ("neurons", "of each FC layer"),
    "batch": ("batch", "tiles in a run"),
    "tile": ("tile", "pixels of a side"),
    "kernel": ("kernel", "pixels of a side"),
    "stride": ("stride", ""),
    "padding": ("padding", ""),
    "pool": ("pooling", "after the last conv"),
    "pool_before": ("pooling before", "after the other convs"),
    "channels": ("input channels", ""),
    "classes": ("classes", ""),
}


@dataclass(frozen=True)
class Knob:
    """A knob of the page: the values of its slider, least first (of padding: its choices), the limits of a number that
    is typed, and the value to start with."""

    name: str
    values: tuple[int | str, ...]
    least: int
    most: int
    start: int | str


def design_section(law: Law, key: str = "design") -> str:
    """A section of a page, with all that it needs; ``key`` is its id, and leads the ids in it.

    :raises SpecError: a law that JavaScript cannot express (launches that overlap, boosted trees, of a table).
    """
    code = _inside_script(javascript_code(law))
    known = knobs(law)
    shown = [knob for knob in known if knob.name in _shown(law)]
    first = "".join(_control(law, knob, key) for knob in shown if knob.name in FIRST)
    more = "".join(_control(law, knob, key) for knob in shown if knob.name in MORE)
    parts = {
        "key": escape(key),
        "name": escape(law.name),
        "about": escape(law.about),
        "warnings": "".join(f'<p class="epd-notice">{escape(line)}</p>' for line in _warnings(law)),
        "first": first,
        "more": f'<details><summary>More knobs</summary><div class="epd-set">{more}</div></details>'
        if more
        else "",
        "levels": "".join(f'<option value="{v}">{100 * v:.0f} %</option>' for v in LEVELS),
        "along": "".join(
            f'<option value="{k.name}">{TITLES[k.name][0]}</option>' for k in shown if k.name != "padding"
        ),
        "grid": escape("; ".join(f"{k} {_listed(v)}" for k, v in grid(law).items())),
        "style": _file("design.css"),
        "script": _file("design.js"),
        "data": _inside_script(json.dumps(_data(law, known, shown), ensure_ascii=False, allow_nan=False)),
        "law": code,
    }
    return re.sub(r"\$(\w+)", lambda found: parts[found[1]], _file("design.html"))


def design_page(law: Law) -> str:
    """A whole page of one law, that needs no other file and no network.

    :raises SpecError: as :func:`design_section`.
    """
    section = design_section(law)
    lines = "".join(f"<li>{escape(line)}</li>" for line in about(law))
    parts = {
        "name": escape(law.name),
        "version": __version__,
        "section": section,
        "about": lines,
        "text": escape(law_text(law)),
    }
    return re.sub(r"\$(\w+)", lambda found: parts[found[1]], PAGE)


def knobs(law: Law) -> tuple[Knob, ...]:
    """Every knob of a network: with a slider's values up to twice beyond what the law has seen, for counts of layers
    three more, and a network to start with that is one."""
    own = {
        knob: NetSpec.model_fields[knob].default for knob in (*FIRST, *MORE) if knob in NetSpec.model_fields
    }
    start = {**own, **DEFAULTS, "batch": assumed_batch([law])} | {"conv": 2}
    for knob, (low, high) in _ranges(law).items():
        start[knob] = min(max(start[knob], low), high)
    if "padding" in law.domain and start["padding"] not in law.domain["padding"]:
        start["padding"] = law.domain["padding"][0]
    while start["conv"] > 0 and not _possible(start):
        start["conv"] -= 1
    return tuple(_knob(law, name, start[name]) for name in (*FIRST, *MORE))


def grid(law: Law) -> dict[str, tuple[int, ...]]:
    """The values of :data:`GRID` that the Pareto front combines: round numbers of the law's family, else of its
    domain."""
    found = {}
    for knob in GRID:
        low, high = _family(law, knob) or _ranges(law).get(knob, (1, 4))
        tried = [round_numbers(low, high, per_octave) for per_octave in COARSE]
        values = next((v for v in tried if len(v) <= FEW), tried[-1])
        found[knob] = values[:: -(-len(values) // FEW)]
    return found


def round_numbers(low: int, high: int, per_octave: int) -> tuple[int, ...]:
    """The whole numbers from ``low`` to ``high`` that have at most so many values between one power of two and the next
    (a power of two itself); the lowest one alone where there is none."""
    found = [0] if low <= 0 <= high else []
    octave = 1
    while octave <= high:
        step = max(octave // per_octave, 1)
        found += [value for value in range(octave, 2 * octave, step) if low <= value <= high]
        octave *= 2
    return tuple(found) or (low,)


def _ranges(law: Law) -> dict[str, tuple[int, int]]:
    """Of the knobs that are numbers, the least and the greatest value seen."""
    return {
        knob: (int(seen[0]), int(seen[-1]))
        for knob, seen in law.domain.items()
        if knob in TITLES and knob != "padding"
    }


def _family(law: Law, knob: str) -> tuple[int, int] | None:
    """The range of a knob in the networks that a law is meant for, where it tells one inside its domain."""
    told = law.family.get("knobs")
    own = told.get(knob) if isinstance(told, Mapping) else None
    range_ = RANGE.match(own) if isinstance(own, str) else None
    if range_ is None:
        return None
    least, most = _ranges(law).get(knob, (0, 2**30))
    low, high = max(int(range_[1]), least), min(int(range_[2]), most)
    return (low, high) if low <= high else None


def _knob(law: Law, name: str, start: Any) -> Knob:
    if name == "padding":
        seen = law.domain.get("padding", ())
        return Knob(name, tuple(dict.fromkeys(("valid", "same", *seen, start))), 0, 1024, start)
    low, high = _ranges(law).get(name, (start, start))
    layers = name in ("conv", "fc")
    least, most = (0, 64) if layers else (1, 2**20 if name == "batch" else 65_536)
    wide = (low - 3, high + 3) if layers else (-(-low // 2), 2 * high)
    values = round_numbers(max(wide[0], least), min(wide[1], most), FINE)
    return Knob(name, tuple(sorted({*values, low, high, start})), least, most, start)


def _possible(values: Mapping[str, Any]) -> bool:
    try:
        NetSpec(**{knob: value for knob, value in values.items() if knob != "batch"})
    except ValidationError:
        return False
    return True


def _shown(law: Law) -> tuple[str, ...]:
    """The knobs that change what the law says."""
    if law.scope == "kernel":
        return (*FIRST, *MORE)
    own = recipe(law)
    used = {name for price in (*own.groups, own.overhead) for name in price.arguments}
    return tuple(k for k in (*FIRST, "kernel") if k not in SOLE or SOLE[k] in used)


def _data(law: Law, known: Iterable[Knob], shown: Iterable[Knob]) -> dict[str, Any]:
    """What design.js needs to know of the law beside its prices."""
    return {
        "level": LEVEL,
        "levels": LEVELS,
        "along": "depth",
        "net": {knob.name: knob.start for knob in known},
        "knobs": {
            knob.name: {
                "values": knob.values,
                "least": knob.least,
                "most": knob.most,
                "words": [v for v in knob.values if isinstance(v, str)],
                "log": knob.name in ("depth", "neurons", "batch"),
            }
            for knob in shown
        },
        "titles": {name: title for name, (title, _) in TITLES.items()},
        "domain": {knob: list(seen) for knob, seen in law.domain.items() if knob in TITLES},
        "grid": grid(law),
        "strata": [
            {"least": least, "scores": scores, "excess": excess(scores)} for least, scores in law.strata
        ],
    }


def _control(law: Law, knob: Knob, key: str) -> str:
    """A labelled slider with a number beside it; a list of choices for the padding."""
    (title, more), name = TITLES[knob.name], f"{escape(key)}-{knob.name}"
    seen = law.domain.get(knob.name)
    told = [more] if more else []
    if seen is not None:
        told.append(f"seen {_listed(seen if knob.name == 'padding' else (seen[0], seen[-1]))}")
    label = f"{title} <small>{escape(' · '.join(told))}</small>"
    if knob.name == "padding":
        options = "".join(f'<option value="{escape(str(v))}">{escape(str(v))}</option>' for v in knob.values)
        body = f'<label for="{name}">{label}</label><select id="{name}">{options}</select>'
    else:
        last = len(knob.values) - 1
        low, high = _ranges(law).get(knob.name, (knob.start, knob.start))
        marks = [100 * knob.values.index(end) / max(last, 1) for end in (low, high)]
        body = (
            f'<label for="{name}-slider">{label}</label>'
            f'<input type="range" id="{name}-slider" min="0" max="{last}" step="1" '
            f'value="{knob.values.index(knob.start)}" aria-valuetext="{knob.start}" '
            f'style="--from:{marks[0]:.1f}%;--to:{max(marks[1], marks[0] + 2):.1f}%">'
            f'<input type="number" id="{name}" min="{knob.least}" max="{knob.most}" step="1" value="{knob.start}" '
            f'inputmode="numeric" aria-label="{title}, as a number">'
        )
    return f'<div class="epd-knob">{body}</div>'


def _warnings(law: Law) -> list[str]:
    """What to know of a law before it is trusted."""
    clocks = [f"Clocks are fixed: {told(law.clocks)}."] if law.clocks else []
    return [*advice.summary(advice.ADVICE.keys() & law.warnings), *clocks]


def _listed(values: Iterable[Any]) -> str:
    values = list(values)
    if len(values) == 2 and all(isinstance(v, int | float) for v in values):
        return str(values[0]) if values[0] == values[1] else f"{values[0]}–{values[1]}"
    return ", ".join(str(v) for v in values)


def _inside_script(text: str) -> str:
    """Code that cannot end the script that it stands in, whatever a law calls its parts: in JavaScript's strings and
    comments, where alone these occur, a backslash before them changes nothing."""
    return re.sub(r"<(?=/|!--|script)", r"<\\", text, flags=re.IGNORECASE)


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="edgeprof $version">
<link rel="icon" href="data:,">
<title>$name: design a network</title>
<style>
:root { color-scheme: light dark; }
body { background: light-dark(#fff, #16181c); margin: 0 auto; max-width: 90rem; padding: 1rem; }
</style>
</head>
<body>
<main>
$section
<div class="epd">
<details><summary>Where the law comes from</summary><ul>$about</ul></details>
<details><summary>The law</summary><pre tabindex="0">$text</pre></details>
</div>
</main>
</body>
</html>
"""
