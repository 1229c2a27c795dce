"""A law as a C header, compiled by the system's compiler."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeprof.fit.emit.c import c_header
from edgeprof.fit.law import Law
from edgeprof.fit.prediction import predict
from edgeprof.nets.spec import NetSpec, net_spec

from ..over_clocks import defined, drawn, of_networks, truth
from .conftest import Case, cases_of, law_of, refused_law

CC = shutil.which("cc")
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler (cc)")
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
CLOCKED = """
#include <stdio.h>
#include "law.h"
int main(void)
{
    int depth[64], kernel[64], stride[64], padding[64], neurons[64], i;
    NAME_net net = DEFAULT;
    printf("%g %g %g\\n", net.core_mhz, net.memory_mhz, NAME_ms(&net));
    net.core_mhz = 0.0;
    printf("%g %g %g\\n", NAME_ms(&net), NAME_ms(&net), NAME_ms(&net));
    while (scanf("%lf %lf", &net.core_mhz, &net.memory_mhz) == 2) {
        if (scanf("%d %d %d %d %d %d %d %d", &net.tile, &net.channels, &net.classes, &net.conv, &net.pool,
                  &net.pool_before, &net.fc, &net.batch) != 8) return 1;
        for (i = 0; i < net.conv; i++)
            if (scanf("%d %d %d %d", depth + i, kernel + i, stride + i, padding + i) != 4) return 1;
        for (i = 0; i < net.fc; i++)
            if (scanf("%d", neurons + i) != 1) return 1;
        net.depth = depth; net.kernel = kernel; net.stride = stride; net.padding = padding; net.neurons = neurons;
        printf("%.17g %.17g %.17g\\n", NAME_ms(&net), NAME_ms_per_tile(&net), NAME_tiles_per_ms(&net));
    }
    return 0;
}
"""
MAIN = """
#include <stdio.h>
#include "law.h"
#define MOST 64
int main(void)
{
    int depth[MOST], kernel[MOST], stride[MOST], padding[MOST], neurons[MOST], i;
    NAME_net net;
    while (scanf("%d %d %d %d %d %d %d %d", &net.tile, &net.channels, &net.classes, &net.conv, &net.pool,
                 &net.pool_before, &net.fc, &net.batch) == 8) {
        for (i = 0; i < net.conv; i++)
            if (scanf("%d %d %d %d", depth + i, kernel + i, stride + i, padding + i) != 4) return 1;
        for (i = 0; i < net.fc; i++)
            if (scanf("%d", neurons + i) != 1) return 1;
        net.depth = depth; net.kernel = kernel; net.stride = stride; net.padding = padding; net.neurons = neurons;
        printf("%.17g %.17g %.17g\\n", NAME_ms(&net), NAME_ms_per_tile(&net), NAME_tiles_per_ms(&net));
    }
    return 0;
}
"""


def compiled(law: Law, folder: Path, main: str = MAIN) -> Path:
    text = c_header(law)
    (name,) = re.findall(r"^} (\w+)_net;", text, re.MULTILINE)
    (folder / "law.h").write_text(text, "utf-8")
    (folder / "main.c").write_text(
        main.replace("NAME", name).replace("DEFAULT", f"{name.upper()}_NET"), "utf-8"
    )
    command = [str(CC), *STRICT, "main.c", "-o", "main", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return folder / "main"


def line(net: NetSpec, batch: int) -> str:
    head = [net.tile, net.channels, net.classes, net.conv, net.pool, net.pool_before, net.fc, batch]
    pixels = [{"valid": 0, "same": -1}.get(p, p) for p in net.padding]
    layers = zip(net.depth, net.kernel, net.stride, pixels, strict=True)
    return " ".join(str(v) for v in (*head, *(v for layer in layers for v in layer), *net.neurons))


def run(program: Path, lines: list[str]) -> list[list[float]]:
    done = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True
    )
    return [[float(v) for v in out.split()] for out in done.stdout.splitlines()]


@needs_cc
def test_it_gives_what_predict_gives(named: str, tmp_path: Path) -> None:
    cases: tuple[Case, ...] = cases_of(named)
    found = run(compiled(law_of(named), tmp_path), [line(net, batch) for net, batch, _ in cases])
    assert len(found) == len(cases) == 1000
    for (ms, per_tile, tiles), (_, batch, wanted) in zip(found, cases, strict=True):
        assert ms == pytest.approx(wanted, rel=1e-9)
        assert per_tile == pytest.approx(wanted / batch, rel=1e-9)
        assert tiles == pytest.approx(batch / wanted, rel=1e-9)


@needs_cc
def test_a_network_that_cannot_be_is_no_number(tmp_path: Path) -> None:
    head = "28 1 10 1 2 1 1 64"
    bad = [
        f"{head} 20 29 1 0 128",  # a kernel larger than the tile
        f"{head} 20 5 1 5 128",  # padding as wide as the kernel
        f"{head} 20 5 1 -2 128",
        f"{head} 0 5 1 0 128",
        f"{head} 20 5 1 0 0",
        "28 1 10 1 25 1 1 64 20 5 1 0 128",  # a pool larger than what is left
        "28 1 10 3 2 2 1 64 20 7 1 0 20 7 1 0 20 7 1 0 128",
        "28 1 10 0 2 1 -1 64",
    ]
    found = run(compiled(law_of("kernel"), tmp_path), [*bad, f"{head} 20 5 1 4 128"])
    assert [math.isnan(ms) for ms, *_ in found] == [True] * len(bad) + [False]


@needs_cc
def test_what_predict_refuses_is_no_number(tmp_path: Path) -> None:
    head = "28 1 10 1 2 1 1 64"
    deep, flat = run(compiled(refused_law(), tmp_path), [f"{head} {depth} 5 1 0 128" for depth in (50, 5)])
    assert deep[0] > 0
    assert math.isnan(flat[0])


@needs_cc
def test_null_pointers_are_defaults(tmp_path: Path) -> None:
    main = """
#include <stdio.h>
#include "law.h"
int main(void)
{
    NAME_net net = DEFAULT;
    int depth[] = {20, 20}, kernel[] = {5, 5}, neurons[] = {1024};
    double ms;
    net.conv = 2; net.fc = 1; net.batch = 32;
    ms = NAME_ms(&net);
    net.depth = depth; net.kernel = kernel; net.neurons = neurons;
    printf("%d\\n", ms > 0 && ms == NAME_ms(&net));
    return 0;
}
"""
    assert run(compiled(law_of("kernel"), tmp_path, main), []) == [[1]]


@needs_cc
def test_two_laws_in_one_program(tmp_path: Path) -> None:
    for i, name in enumerate(("net", "kernel", "awkward")):
        (tmp_path / f"{i}.h").write_text(c_header(law_of(name)), "utf-8")
    lines = "".join(f'#include "{i}.h"\n' for i in (0, 1, 2, 1))
    (tmp_path / "main.c").write_text(f"{lines}int main(void) {{ return 0; }}\n", "utf-8")
    command = [str(CC), *STRICT, "main.c", "-o", "main", "-lm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_it_needs_math_alone(named: str) -> None:
    assert re.findall(r"^ *# *include.*", c_header(law_of(named)), re.MULTILINE) == ["#include <math.h>"]


@needs_cc
@pytest.mark.parametrize("law", [truth(), of_networks(), defined()], ids=["kernels", "networks", "defined"])
def test_clocks_are_inputs(law: Law, tmp_path: Path) -> None:
    cases = drawn(law, 100)
    main = CLOCKED.replace('scanf("%lf %lf", &net.core_mhz, &net.memory_mhz) == 2', "SCAN")
    scanned = ", ".join(f"&net.{name}" for name in law.clocks)
    main = main.replace("SCAN", f'scanf("{"%lf " * len(law.clocks)}", {scanned}) == {len(law.clocks)}')
    lines = [" ".join(map(repr, mhz.values())) + " " + line(net, batch) for net, batch, mhz, _ in cases]
    default, none, *found = run(compiled(law, tmp_path, main), lines)
    usual = predict(law, net_spec(), 1).latency_ms
    assert default == [law.clocks["core_mhz"], law.clocks["memory_mhz"], pytest.approx(usual, rel=1e-5)]
    assert all(math.isnan(ms) for ms in none)
    assert [ms for ms, *_ in found] == [pytest.approx(ms, rel=1e-9) for *_, ms in cases]
