"""Names of kernels as public logs have them, read as people read them."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.timing.kernel_names import IMPLEMENTATIONS, PRODUCTS, UNKNOWN, plain_name, read_name

with (Path(__file__).parent.parent / "data" / "kernels" / "names.csv").open(newline="") as stream:
    NAMES = list(csv.DictReader(stream))


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row["name"][:60])
def test_a_real_name_tells_how_the_kernel_works(row):
    found = read_name(row["name"])
    read = (found.implementation, found.tile, found.precision, found.architecture)
    assert read == (row["implementation"], row["tile"], row["precision"], row["architecture"])
    assert read_name(found.plain) == found


def test_the_names_are_many_and_of_every_kind():
    assert len({row["name"] for row in NAMES}) > 100
    assert {row["implementation"] for row in NAMES} >= PRODUCTS
    assert len({row["architecture"] for row in NAMES}) > 10
    assert {"fp32", "tf32", "fp16", "bf16", "int8"} <= {row["precision"] for row in NAMES}


def test_the_parameters_are_no_part_of_a_name():
    assert plain_name("void f<int (*)(int), (bool)0>(float const*, g<h(int)>)") == "f<int (*)(int), (bool)0>"
    assert plain_name("(anonymous namespace)::f(int)") == "(anonymous namespace)::f"
    assert plain_name("void a::(anonymous namespace)::f<int>(int)") == "a::(anonymous namespace)::f<int>"
    assert plain_name("maxwell_sgemm_64x64_tn") == "maxwell_sgemm_64x64_tn"


def test_a_format_that_is_written_out_is_read_where_no_other_is():
    """TensorRT's depthwise convolutions are called so."""
    assert read_name("sm50_xmma_convolution_trt_depthwiseFP32NHWC4").words == "depthwise.fp32"
    assert read_name("fmha_v2_flash_attention_fp16_fp32_64_sm86_kernel").precision == "fp16"


def test_no_tensor_core_had_tf32_before_ampere():
    """Names made up: those of real ones before Ampere say their type."""
    assert read_name("turing_s1688gemm_128x128_nn").precision == "fp16"
    assert read_name("ampere_s1688gemm_128x128_nn").precision == "tf32"


def test_words_leave_out_what_is_not_known():
    assert read_name("volta_sgemm_64x64_nn").words == "gemm.fp32.64x64"
    assert read_name("[CUDA memset]").words == "memset"
    assert read_name("my_own_kernel").words == UNKNOWN


@given(st.text(max_size=200))
def test_any_text_is_read_and_kept(text):
    found = read_name(text)
    assert found.implementation in {UNKNOWN, *(word for _, word in IMPLEMENTATIONS)}
    assert found.plain in text
