"""A law as a Python module that needs the standard library alone."""

from __future__ import annotations

from textwrap import indent

from edgeprof.fit.emit import printers
from edgeprof.fit.emit.decisions import INPUT
from edgeprof.fit.emit.recipe import recipe
from edgeprof.fit.emit.source import (
    MEANS,
    TAB,
    Dialect,
    Function,
    about,
    filled,
    functions,
    geometry,
    prices,
    visits,
)
from edgeprof.fit.law import Law

TEMPLATE = '''\
# $about

import math


def latency_ms(
    batch,
    *,
    tile=28,
    channels=1,
    classes=10,
    conv=None,
    depth=20,
    kernel=5,
    stride=1,
    padding="valid",
    pool=2,
    pool_before=1,
    fc=None,
    neurons=1024,
    $clocks
):
    """Milliseconds of one run, that is of ``batch`` tiles.

    The network is image, (conv, relu, pool) x ``conv``, (FC, relu) x ``fc``, FC, softmax. ``depth`` (output channels),
    ``kernel``, ``stride``, ``padding`` ("valid", "same" or pixels) and ``neurons`` are one value or one per layer, and
    a list sets the number of layers. Raises ValueError for a network that cannot be.
    """
    conv, depth, kernel, stride, padding = _layers(conv, depth, kernel, stride, padding)
    fc, neurons = _layers(fc, neurons)
    if min(tile, channels, classes, batch, pool, pool_before, *depth, *kernel, *stride, *neurons) < 1:
        raise ValueError("sizes and counts are at least 1")
    $slow
    padding = [{"valid": 0, "same": -1}.get(pixels, pixels) for pixels in padding]
    net = (batch, tile, channels, classes, depth, kernel, stride, padding, pool, pool_before, neurons$given)
    kernels, ms, run_bytes = _walk(net, 0)
    $again
    ms += $fixed
    if not 0 < ms < math.inf:
        raise ValueError("the law gives no finite time for this network")
    return ms


def ms_per_tile(batch, **net):
    """Milliseconds of one tile, of a network as in latency_ms."""
    return latency_ms(batch, **net) / batch


def tiles_per_ms(batch, **net):
    """Tiles in a millisecond, of a network as in latency_ms."""
    return batch / latency_ms(batch, **net)


def _layers(count, *knobs):
    """The number of layers, and a list of as many values for each knob."""
    lists = [list(knob) if isinstance(knob, (list, tuple)) else [knob] for knob in knobs]
    given = [len(values) for values, knob in zip(lists, knobs) if isinstance(knob, (list, tuple))]
    if count is None:
        count = given[0] if given else 1
    lists = [values * count if len(values) == 1 else values for values in lists]
    if count < 0 or any(len(values) != count for values in lists):
        raise ValueError("give one value, or one per layer")
    return (count, *lists)


def _mean(values):
    return sum(values) / len(values) if values else 0.0


def _checked(term):
    """A time cannot be negative."""
    return term if term >= 0 else math.nan


$functions
def _walk(net, run_bytes):
    """Kernels, their ms, and the bytes that the run touches; ``run_bytes`` is what an earlier walk found of those."""
    batch, size, inputs, classes, depths, kernels, strides, paddings, last_pool, pool_before, hidden$given = net
    run = ($input, 0, 0.0)
    touched = 0
    for i, (depth, kernel, stride, padding) in enumerate(zip(depths, kernels, strides, paddings)):
        pool = pool_before if i + 1 < len(depths) else last_pool
        pads = $PADS
        out = $OUT
        left = $LEFT
        if padding < -1 or not ($POSSIBLE1 and $POSSIBLE2 and $POSSIBLE3):
            raise ValueError("conv%d has no pixels left, or its padding reaches its kernel" % (i + 1))
        $conv
        $relu
        $pooled
        inputs, size = depth, left
    $rest
    return run[1], run[2], touched
'''
ROWS = """\
width = $WIDTH
$flatten
for i, neurons in enumerate([*hidden, classes]):
    $gemm
    if i < len(hidden):
        $relu_fc
    else:
        $last
    width = neurons
"""
TAKE = '''\
def _take(run, own, between):
    """The run so far (kind of the last kernel, kernels, ms), one kernel on, and what runs before that."""
    before, kernels, ms = run
    kind, more, own_ms = own
    if kind is None:  # nothing, or a part of the kernel before
        return before, kernels + more, ms + own_ms
    return kind, kernels + more + between[1], ms + own_ms + between[2]
'''


def python_module(law: Law) -> str:
    """A module whose ``latency_ms(batch, conv=…, depth=…)`` is the law.

    :raises SpecError: a law that is no sum.
    """
    own = recipe(law)
    language = Dialect(
        printer=printers.Python(own.names, prefix="_"),
        prefix="_",
        let="{name} = {value}",
        opened="if {condition}:",
        closed="",
        end="",
        nan="math.nan",
        kernel="({kind}, {kernels}, {ms})",
        no_kind="None",
        visit="own = {own}\nrun = _take(run, own, {between})",
        account="touched += {bytes}",
        before="run[0]",
        after="own[0]",
    )
    values = {"t": "tile", "C": "conv", "F": "fc", "B": "batch"}
    values |= {n: f"_mean({knob})" for n, (knob, *_) in MEANS.items()}
    values["k"] = "kernels" if own.steps else str(len(law.groups))
    code = "\n\n".join(_function(f) for f in functions(own, language))
    steps = visits(own, language)
    branches = {
        "relu_fc": steps["relu_fc"] or "pass",
        "last": "\n".join(filter(None, (steps["softmax"], steps["output"]))) or "pass",
    }
    return filled(
        TEMPLATE,
        {
            **geometry(language),
            **steps,
            "pooled": f"if pool > 1:\n{indent(steps['pool'], TAB)}" if steps["pool"] else "",
            "rest": filled(ROWS, {**geometry(language), **steps, **branches}).rstrip() if own.steps else "",
            "about": "\n# ".join(about(law)),
            "functions": f"{TAKE}\n\n{code}\n" if own.steps else f"{code}\n",
            "clocks": "\n".join(f"{name}={mhz!r}," for name, mhz in law.clocks.items()),
            "given": "".join(f", {name}" for name in law.clocks),
            "slow": f'if not min({", ".join(law.clocks)}, 1) > 0:\n{TAB}raise ValueError("clocks are above 0 MHz")'
            if law.clocks
            else "",
            "input": ascii(INPUT),
            "again": "kernels, ms, _ = _walk(net, run_bytes)" if own.whole else "",
            "fixed": prices(own, values, language),
        },
    )


def _function(function: Function) -> str:
    head = f"def _{function.name}({', '.join(function.arguments)}):"
    return f"# {function.about}\n{head}\n{indent(function.body, TAB)}\n"
