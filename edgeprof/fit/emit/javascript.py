"""A law as a JavaScript file without dependencies, for browsers and Node."""

from __future__ import annotations

import json
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

TEMPLATE = """\
// $about
//
// latency_ms({conv: 2, depth: [16, 32], fc: 1, neurons: 256, batch: 64})

/**
 * Milliseconds of one run, that is of `batch` tiles; NaN for a network that cannot be.
 *
 * The network is image, (conv, relu, pool) x conv, (FC, relu) x fc, FC, softmax. depth (output channels), kernel,
 * stride, padding ("valid", "same" or pixels) and neurons are one value or an array of one per layer, and an array
 * sets the number of layers.
 */
function latency_ms({
    batch, tile = 28, channels = 1, classes = 10, conv, depth = 20, kernel = 5, stride = 1, padding = "valid",
    pool = 2, pool_before = 1, fc, neurons = 1024,
    $clocks
}) {
    const layers = (count, knobs) => {
        const given = knobs.filter(Array.isArray);
        const n = count === undefined ? (given.length ? given[0].length : 1) : count;
        return knobs.map((knob) => {
            const values = Array.isArray(knob) ? knob : [knob];
            if (values.length === 1 && n >= 0) return Array(n).fill(values[0]);
            return values.length === n ? values : [NaN];
        });
    };
    const mean = (values) => values.length ? values.reduce((a, b) => a + b, 0)/values.length : 0;
    const modulo = (x, n) => ((x % n) + n) % n;
    const checked = (term) => term >= 0 ? term : NaN; // a time cannot be negative
    const [depths, kernels, strides, paddings] = layers(conv, [depth, kernel, stride, padding]);
    const [hidden] = layers(fc, [neurons]);
    const counts = [batch, tile, channels, classes, pool, pool_before, ...depths, ...kernels, ...strides, ...hidden];
    if (!counts.every((count) => count >= 1)) return NaN;
    $slow

    $functions

    // Walks over the layers; run_bytes is what an earlier walk found that the run touches.
    const walk = (run_bytes) => {
        const run = {before: $input, kernels: 0, ms: 0, bytes: 0};
        let size = tile, inputs = channels$own;
        for (let i = 0; i < depths.length; i++) {
            const depth = depths[i], kernel = kernels[i], stride = strides[i];
            const padding = {valid: 0, same: -1}[paddings[i]] ?? paddings[i];
            const pool_here = i + 1 < depths.length ? pool_before : pool;
            const pads = $PADS;
            const out = $OUT;
            const left = $LEFT;
            if (!(padding >= -1 && $POSSIBLE1 && $POSSIBLE2 && $POSSIBLE3)) return {kernels: 0, ms: NaN, bytes: 0};
            $conv
            $relu
            $pooled
            inputs = depth;
            size = left;
        }
        $rest
        return run;
    };
    let run = walk(0);
    $again
    const ms = run.ms + $fixed;
    return ms > 0 && ms < Infinity ? ms : NaN;
}

/** Milliseconds of one tile, of a network as in latency_ms. */
function ms_per_tile(net) {
    return latency_ms(net)/net.batch;
}

/** Tiles in a millisecond, of a network as in latency_ms. */
function tiles_per_ms(net) {
    return net.batch/latency_ms(net);
}

if (typeof module !== "undefined") module.exports = {latency_ms, ms_per_tile, tiles_per_ms};
"""
ROWS = """\
let width = $WIDTH;
$flatten
[...hidden, classes].forEach((neurons, i) => {
    $gemm
    if (i < hidden.length) {
        $relu_fc
    } else {
        $softmax
        $output
    }
    width = neurons;
});
"""
TAKE = """\
// The run, one kernel on, and what runs before that; kind null: nothing, or a part of the kernel before.
const take = (run, own, between) => {
    run.ms += own.ms + (own.kind === null ? 0 : between.ms);
    run.kernels += own.kernels + (own.kind === null ? 0 : between.kernels);
    if (own.kind !== null) run.before = own.kind;
};
"""


def javascript_code(law: Law) -> str:
    """A script whose ``latency_ms({batch, conv, depth, …})`` is the law.

    :raises SpecError: a law that is no sum, or a term that JavaScript cannot express.
    """
    own = recipe(law)
    language = Dialect(
        printer=printers.Javascript({**own.names, "pool": "pool_here"}),
        prefix="",
        let="const {name} = {value};",
        opened="if ({condition}) {{",
        closed="}",
        end=";",
        nan="NaN",
        kernel="{{kind: {kind}, kernels: {kernels}, ms: {ms}}}",
        no_kind="null",
        visit="own = {own};\ntake(run, own, {between});",
        account="run.bytes += {bytes};",
        before="run.before",
        after="own.kind",
    )
    values = {"t": "tile", "C": "depths.length", "F": "hidden.length", "B": "batch"}
    lists = {"depth": "depths", "kernel": "kernels", "neurons": "hidden"}
    values |= {n: f"mean({lists[knob]})" for n, (knob, *_) in MEANS.items()}
    values["k"] = "run.kernels" if own.steps else str(len(law.groups))
    code = "\n".join(_function(f) for f in functions(own, language))
    steps = visits(own, language)
    pooled = f"if (pool_here > 1) {{\n{indent(steps['pool'], TAB)}\n}}" if steps["pool"] else ""
    return filled(
        TEMPLATE,
        {
            **geometry(language),
            **steps,
            "pooled": pooled,
            "rest": filled(ROWS, {**geometry(language), **steps}).rstrip() if own.steps else "",
            "about": "\n// ".join(about(law)),
            "functions": (f"{TAKE}\n{code}" if own.steps else code).rstrip(),
            "input": json.dumps(INPUT),
            "clocks": "".join(f"{name} = {mhz!r}, " for name, mhz in law.clocks.items()).rstrip(),
            "slow": f"if (![{', '.join(law.clocks)}].every((mhz) => mhz > 0)) return NaN;"
            if law.clocks
            else "",
            "own": ", own" if own.steps else "",
            "again": "run = walk(run.bytes);" if own.whole else "",
            "fixed": prices(own, values, language),
        },
    )


def _function(function: Function) -> str:
    head = f"const {function.name} = ({', '.join(function.arguments)}) => {{"
    return f"// {function.about}\n{head}\n{indent(function.body, TAB)}\n}};\n"
