"""A law as people read it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.fit.emit.text import law_text, notes, valid_for, with_error
from edgeprof.fit.forms import read_form
from edgeprof.fit.law import Law
from edgeprof.fit.law_file import law_json, read_law
from edgeprof.fit.validate import Row, score

STUDY = read_law("gtx960-theano")
TEXT = """\
gtx960 NVIDIA GeForce GTX 960 · Theano with cuDNN, CUDA_LAUNCH_BLOCKING=1 fp32

  ms per tile =
    Dot22          6.8e-06·F + 6.6e-11·N²·F
    Elemwise       4.9e-05·F + 1.9e-07·N·F + 2.4e-07·D·Σₙ₌₂..C (t − 4n)²
    Alloc          3.5e-08·D·Σₙ₌₂..C (t − 4(n − 1))²
    Pool           8.2e-08·D·Σₙ₌₂..C (t − 4(n − 1))²
    Conv           3.03e-08·D²·Σₙ₌₂..C (t − 4n)²
    overhead       0.0098
    with t tile (pixels); D depth; C conv layers; N neurons; F hidden FC layers

  valid for  tile 28, channels 1, classes 10, conv 1–5, depth 5–80, kernel 5,
             stride 1, padding valid, pool 2, pool_before 1, fc 1–5, neurons
             128–2048, batch 1024
  source     CNN classification speed on a GTX 960 and a Tegra X1, master
             thesis, Uppsala University, 2016: equations 13 to 18"""


def kernels_law(error: float | None = 0.07, share: float = 0.2) -> Law:
    """A law of the shipped form of kernels in which every term counts."""
    form = read_form("kernels")
    groups = [
        {
            "name": g.name,
            "kinds": g.kinds,
            "share": share / (i + 1),
            "terms": [
                {
                    "text": t,
                    "coefficient": 10.0 ** (-3 - j),
                    "standard_error": error and error * 10.0 ** (-3 - j),
                }
                for j, t in enumerate(g.terms)
            ],
        }
        for i, g in enumerate(form.group)
    ]
    return Law(
        name="law",
        board="cpu",
        machine={"model": "AMD EPYC 9B45 96-Core Processor of a long name indeed"},
        backend="ort-cpu",
        runtime="onnxruntime 1.31.1",
        threads=1,
        form="kernels",
        scope="kernel",
        unit="run",
        define=form.define,
        groups=groups,
        overhead=[{"text": t, "coefficient": 0.01} for t in form.overhead],
        rules={
            "operators": {
                "Conv": {
                    "if": ["M", "%", 8],
                    "then": {
                        "if": ["C", "<", 16],
                        "then": {"kind": "Conv.nchw"},
                        "else": {"kind": "Conv.nchwc"},
                    },
                    "else": {"kind": "Conv.im2col"},
                }
            }
        },
        constants={"V": 16, "T": 1, "L1": 32768, "L2": 1048576, "L3": 33554432},
        domain={"depth": [5, 80], "padding": ["same", "valid"], "batch": [16, 128]},
        networks=60,
        noise_pct=1.234,
        simulated=True,
    )


def test_the_study_s_law() -> None:
    assert law_text(STUDY) == TEXT


def test_what_a_law_of_kernels_says() -> None:
    text = law_text(kernels_law())
    assert "1 thread" in text
    assert "60 networks, noise 1.2 % · simulated" in " ".join(text.split())
    assert "valid for  depth 5–80, padding same, valid, batch 16–128" in text
    assert "Conv → (Conv.nchw if C < 16, else Conv.nchwc) if M a multiple of 8, else Conv.im2col" in " ".join(
        text.split()
    )
    assert "20 %" in text
    assert "V = 16; L2 = 1048576" in " ".join(text.split())
    assert "k kernels" in " ".join(text.split())


@pytest.mark.parametrize("error", [None, 0.07, 0.0001, 3.0])
@pytest.mark.parametrize("share", [0.9, 0.02])
def test_no_line_is_over_80_columns(error: float | None, share: float) -> None:
    law = kernels_law(error, share)
    rows = [Row("n", 16, 10, 9.7 + i / 50, 9, 11, 1.5, 9.9) for i in range(20)]
    text = law_text(law, score(rows, 0.9))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "held out   MAPE" in text
    assert "the interval covers 100 % at 90 %" in text
    far = [Row("n", 16, 10, 20 + i, 9, 11, 1.5, 9.9) for i in range(20)]
    assert [line for line in law_text(law, score(far, 0.9)).splitlines() if len(line) > 80] == []


def test_notes_are_told() -> None:
    data = json.loads(law_json(STUDY))
    data["groups"][3]["terms"][0]["note"] = "the data cannot tell it from D·Σₙ₌₂..C (t − 4(n − 1))²"
    for index in (0, 1):
        data["groups"][index]["note"] = "no such kernel was measured"
    law = Law(**data)
    both = f"Dot22; {law.groups[1].name}: no such kernel was measured"
    assert notes(law) == [
        "Pool, D·Σₙ₌₂..C (t − 4(n − 1))²: the data cannot tell it from D·Σₙ₌₂..C (t − 4(n − 1))²",
        both,
    ]
    text = law_text(law)
    assert f"  note       {both}" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_domain_in_words() -> None:
    law = Law(
        **{**json.loads(law_json(STUDY)), "domain": {"depth": [5, 80], "fc": [1, 1], "padding": [2, "same"]}}
    )
    assert valid_for(law) == "depth 5–80, fc 1, padding 2, same"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.93e-8, 1.2e-9, "2.9(1)e-08"),
        (0.012, 0.0006, "1.20(6)e-02"),
        (1.0, 0.02, "1.00(2)"),
        (12.34, 0.5, "1.23(5)e+01"),
        (9.96e-6, 2e-7, "1.00(2)e-05"),
        (3e-8, 5e-8, "3(5)e-08"),
        (9.7e-6, 9.7e-6, "1(1)e-05"),
        (6.8e-6, None, "6.8e-06"),
        (3.03e-8, None, "3.03e-08"),
        (0.0098, None, "0.0098"),
        (1e-6, math.nan, "1e-06"),
        (1e-6, 0.0, "1e-06"),
        (0.0, 1.0, "0"),
    ],
)
def test_with_error(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error) == text


@given(st.floats(0, 1e300), st.none() | st.floats(0))
def test_with_error_is_a_number_near_the_value(value: float, error: float | None) -> None:
    text = with_error(value, error)
    mantissa, _, rest = text.partition("(")
    shown = float(mantissa + rest.partition(")")[2])
    if value < 1e-300:
        assert shown <= 1e-299
    elif error is None or error == 0 or not math.isfinite(error):
        assert shown == pytest.approx(value, rel=0.1)
    else:  # an error beyond the value hides all but its size
        assert shown == pytest.approx(value, rel=1e-6, abs=0.51 * min(error, value))
