"""A law as a C99 header that needs math.h alone."""

from __future__ import annotations

from textwrap import indent

from edgeprof.fit.emit import printers
from edgeprof.fit.emit.decisions import AFTER, BEFORE, INPUT, OUTPUT
from edgeprof.fit.emit.names import clean, slugs
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
/*
 * $about
 *
 * ${p}net net = ${P}NET;
 * net.conv = 2; net.fc = 1; net.batch = 64;
 * double ms = ${p}ms(&net);
 */
#ifndef ${P}H
#define ${P}H

#include <math.h>

#define ${P}SAME (-1) /* padding that keeps ceil(size/stride) pixels; 0 is valid */

/* A network: image, (conv, relu, pool) x conv, (FC, relu) x fc, FC, softmax.
 * Per layer: depth (output channels), kernel, stride, padding (pixels), neurons; a null pointer stands for the
 * defaults 20, 5, 1, 0, 1024. Sizes are in pixels, batch in tiles. */
typedef struct {
    int tile, channels, classes;
    int conv;
    const int *depth, *kernel, *stride, *padding;
    int pool, pool_before;
    int fc;
    const int *neurons;
    int batch;
    $clocks
} ${p}net;

#define ${P}NET {28, 1, 10, 1, 0, 0, 0, 0, 2, 1, 1, 0, 1$given}

struct ${p}run { int before; double kernels, ms, bytes; };

static inline double ${p}layer(const int *values, int i, int otherwise)
{
    return values ? values[i] : otherwise;
}

static inline double ${p}mean(const int *values, int count, int otherwise)
{
    double sum = 0.0;
    int i;
    for (i = 0; i < count; i++) sum += ${p}layer(values, i, otherwise);
    return count > 0 ? sum/count : 0.0;
}

static inline double ${p}modulo(double x, double n)
{
    const double rest = fmod(x, n);
    return rest != 0.0 && (rest < 0.0) != (n < 0.0) ? rest + n : rest;
}

static inline double ${p}checked(double term) /* a time cannot be negative */
{
    return term >= 0.0 ? term : NAN;
}

$kernels

$functions

/* Walks over the layers; run_bytes is what an earlier walk found that the run touches. */
static inline struct ${p}run ${p}walk(const ${p}net *net, double run_bytes)
{
    struct ${p}run run = {$input, 0.0, 0.0, 0.0};
    const struct ${p}run impossible = {0, 0.0, NAN, 0.0};
    const double batch = net->batch;
    double size = net->tile, inputs = net->channels;
    $own
    int i;

    (void)run_bytes;
    (void)inputs;
    if (net->tile < 1 || net->channels < 1 || net->classes < 1 || batch < 1) return impossible;
    $slow
    if (net->conv < 0 || net->fc < 0 || net->pool < 1 || net->pool_before < 1) return impossible;
    for (i = 0; i < net->fc; i++) {
        if (${p}layer(net->neurons, i, 1024) < 1) return impossible;
    }
    for (i = 0; i < net->conv; i++) {
        const double depth = ${p}layer(net->depth, i, 20), kernel = ${p}layer(net->kernel, i, 5);
        const double stride = ${p}layer(net->stride, i, 1), padding = ${p}layer(net->padding, i, 0);
        const double pool = i + 1 < net->conv ? net->pool_before : net->pool;
        double pads, out, left;
        if (depth < 1 || kernel < 1 || stride < 1 || padding < ${P}SAME) return impossible;
        pads = $PADS;
        out = $OUT;
        left = $LEFT;
        if (!($POSSIBLE1 && $POSSIBLE2 && $POSSIBLE3)) return impossible;
        $conv
        $relu
        $pooled
        inputs = depth;
        size = left;
    }
    $rest
    return run;
}

/* Milliseconds of one run, that is of one batch; NAN for a network that cannot be. */
static inline double ${p}ms(const ${p}net *net)
{
    struct ${p}run run = ${p}walk(net, 0.0);
    double ms;
    $again
    ms = run.ms + $fixed;
    return ms > 0.0 && ms < INFINITY ? ms : NAN;
}

static inline double ${p}ms_per_tile(const ${p}net *net)
{
    return ${p}ms(net)/net->batch;
}

static inline double ${p}tiles_per_ms(const ${p}net *net)
{
    return net->batch/${p}ms(net);
}

#endif
"""


ROWS = """\
width = $WIDTH;
$flatten
for (i = 0; i <= net->fc; i++) {
    const double neurons = i < net->fc ? ${p}layer(net->neurons, i, 1024) : net->classes;
    $gemm
    if (i < net->fc) {
        $relu_fc
    } else {
        $softmax
        $output
    }
    width = neurons;
}
"""
KERNELS = """\
enum {
    $kinds
};

struct ${p}kernel { int kind; double kernels, ms; }; /* kind 0: nothing, or a part of the kernel before it */

static inline struct ${p}kernel ${p}made(int kind, double kernels, double ms)
{
    struct ${p}kernel own;
    own.kind = kind;
    own.kernels = kernels;
    own.ms = ms;
    return own;
}

static inline void ${p}take(struct ${p}run *run, struct ${p}kernel own, struct ${p}kernel between)
{
    run->ms += own.ms + (own.kind ? between.ms : 0.0);
    run->kernels += own.kernels + (own.kind ? between.kernels : 0.0);
    if (own.kind) run->before = own.kind;
}
"""


def c_header(law: Law) -> str:
    """A header of static functions: ``NAME_ms(&net)`` and its kin, NAME being the law's.

    :raises SpecError: a law that is no sum, or a term that C cannot express.
    """
    own = recipe(law)
    (slug,) = slugs([law.name]).values()
    p = f"{'law_' if slug[0].isdigit() else ''}{slug}_"
    words = {kind: f"{p}kind_{s}".upper() for kind, s in slugs((INPUT, *own.kinds, OUTPUT)).items()}
    language = Dialect(
        printer=printers.C(own.names, words, p),
        prefix=p,
        let="const double {name} = {value};",
        opened="if ({condition}) {{",
        closed="}",
        end=";",
        nan="NAN",
        kernel=f"{p}made({{kind}}, {{kernels}}, {{ms}})",
        no_kind="0",
        visit=f"own = {{own}};\n{p}take(&run, own, {{between}});",
        account="run.bytes += {bytes};",
        before="run.before",
        after="own.kind",
        clock="net->{name}",
    )
    means = {n: f"{p}mean(net->{k}, net->{c}, {d})" for n, (k, c, d) in MEANS.items()}
    values = {"t": "net->tile", "C": "net->conv", "F": "net->fc", "B": "net->batch", **means}
    values["k"] = "run.kernels" if own.steps else f"{len(law.groups)}.0"
    kinds = [
        f"{word}{' = 1' if i == 0 else ''}, /* {clean(kind)} */"
        for i, (kind, word) in enumerate(words.items())
    ]
    names = {"p": p, "P": p.upper()}
    steps = visits(own, language)
    pooled = f"if (pool > 1) {{\n{indent(steps['pool'], TAB)}\n}}" if steps["pool"] else ""
    return filled(
        TEMPLATE,
        {
            **names,
            **geometry(language),
            **steps,
            "pooled": pooled,
            "rest": filled(ROWS, {**names, **geometry(language), **steps}).rstrip() if own.steps else "",
            "about": "\n * ".join(about(law)),
            "kernels": filled(KERNELS, {**names, "kinds": "\n".join(kinds)}) if own.steps else "",
            "functions": "\n".join(_function(f, p) for f in functions(own, language)),
            "clocks": f"double {', '.join(law.clocks)}; /* MHz */" if law.clocks else "",
            "given": "".join(f", {mhz!r}" for mhz in law.clocks.values()),
            "slow": "\n".join(f"if (!(net->{name} > 0.0)) return impossible;" for name in law.clocks),
            "input": words[INPUT] if own.steps else "0",
            "own": f"struct {p}kernel own;\ndouble width;" if own.steps else "",
            "again": f"run = {p}walk(net, run.bytes);" if own.whole else "",
            "fixed": prices(own, values, language),
        },
    )


def _function(function: Function, p: str) -> str:
    kind = "double" if function.is_price else f"struct {p}kernel"
    types = [f"{'int' if n in (BEFORE, AFTER) else 'double'} {n}" for n in function.arguments]
    head = f"static inline {kind} {p}{function.name}({', '.join(types) or 'void'})"
    return f"/* {function.about} */\n{head}\n{{\n{indent(function.body, TAB)}\n}}\n"
