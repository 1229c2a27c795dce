"""The zoo against published parameters and multiply-accumulates, and that a real runtime runs it."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import edgeprof
from edgeprof.errors import CatalogueError
from edgeprof.nets.operators import Operator, operators
from edgeprof.nets.zoo import published_parameters, zoo_about, zoo_model, zoo_names

# Parameters and GMACs. torchvision's table of classification weights, whose GFLOPS are multiply-accumulates, with the
# third decimal of each model's metadata (torchvision 0.19, torchvision/models/*.py, num_params and _ops):
# https://docs.pytorch.org/vision/stable/models.html#table-of-all-available-classification-weights
TORCHVISION = {
    "alexnet": (61_100_840, 0.714),
    "vgg11": (132_863_336, 7.609),
    "vgg16": (138_357_544, 15.47),
    "googlenet": (6_624_904, 1.498),
    "resnet18": (11_689_512, 1.814),
    "resnet50": (25_557_032, 4.089),
    "densenet121": (7_978_856, 2.834),
    "squeezenet": (1_248_424, 0.819),
    "mobilenet-v2": (3_504_872, 0.301),
    "mobilenet-v3": (5_483_032, 0.217),
    "efficientnet-b0": (5_288_548, 0.386),
}
ONE_BY_ONE = ("lenet5", "inception-v3", "densenet40", "mobilenet-v1", "vit-tiny")  # tests of their own below


@lru_cache
def layers(name: str, fold: bool = True) -> tuple[Operator, ...]:
    return operators(zoo_model(name, weights=False, fold=fold))


def macs(name: str, *starts: str) -> int:
    return sum(op.macs for op in layers(name) if op.name.startswith(starts or ("",)))


def test_every_network_is_held_against_a_publication() -> None:
    assert sorted(zoo_names()) == sorted((*TORCHVISION, *ONE_BY_ONE))
    assert len({zoo_about(name) for name in zoo_names()}) == len(zoo_names())


@pytest.mark.parametrize("name", TORCHVISION)
def test_totals_are_torchvision_s(name: str) -> None:
    parameters, gmacs = TORCHVISION[name]
    assert published_parameters(name) == parameters
    assert round(macs(name) / 1e9, 3) == gmacs


def test_lenet5() -> None:
    # LeCun et al. 1998, §II.B: C1 has 156 parameters and 122,304 connections (26 to each of 4,704 units, one of them
    # the bias), C3 1,516 parameters in 60 of the 96 kernels that it has here, C5 48,120 and F6 10,164.
    found = {op.name: op for op in layers("lenet5")}
    assert [found[name].parameters for name in ("c1", "c5", "f6")] == [156, 48_120, 10_164]
    assert found["c1"].macs + 28 * 28 * 6 == 122_304
    assert found["c3"].parameters == 1_516 + 25 * (96 - 60)
    assert (macs("lenet5"), published_parameters("lenet5")) == (416_520, 61_706)


def test_inception_v3() -> None:
    # torchvision counts the auxiliary classifier too: 27,161,264. It is 1×1 to 128, 5×5 to 768, both normalised, and a
    # layer of 768 × 1000. timm's tables (results/) have the network without it: 23.83 million.
    auxiliary = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 768 * 1000 + 1000
    assert published_parameters("inception-v3") + auxiliary == 27_161_264
    assert round(published_parameters("inception-v3") / 1e6, 2) == 23.83
    assert round(macs("inception-v3") / 1e9, 3) == 5.713  # torchvision's table


def test_inception_v3_has_the_published_sizes() -> None:
    # Szegedy et al. 2016, table 1: 35×35×288, 17×17×768, 8×8×1280, 8×8×2048
    shapes = {op.name: op.outputs[0][1:] for op in layers("inception-v3")}
    assert shapes["mixed5d_concat"] == (288, 35, 35)
    assert shapes["mixed6e_concat"] == (768, 17, 17)
    assert shapes["mixed7a_concat"] == (1280, 8, 8)
    assert shapes["mixed7c_concat"] == (2048, 8, 8)


def test_densenet40() -> None:
    # Huang et al. 2017, table 2: 1.0 million parameters (implementations print 1,019,722). The paper has no MACs.
    # Both follow from §3: three blocks of 12 layers on 32, 16 and 8 pixels a side, each 3×3 from 16 + 12·i channels
    # to 12, and transitions that keep all channels; normalisation comes before each convolution but the first.
    products, weights = 32**2 * 9 * 3 * 16, 9 * 3 * 16
    for block, side in enumerate((32, 16, 8)):
        widths = [16 + 12 * (12 * block + layer) for layer in range(13)]
        products += side**2 * (9 * 12 * sum(widths[:12]) + (widths[12] ** 2 if block < 2 else 0))
        weights += (9 * 12 + 2) * sum(widths[:12]) + 2 * widths[12] + (widths[12] ** 2 if block < 2 else 0)
    assert macs("densenet40") == products + 448 * 10 == 264_812_928
    assert published_parameters("densenet40") == weights + 449 * 10 == 1_019_722


def test_mobilenet_v1() -> None:
    # Howard et al. 2017, table 4: 569 million mult-adds and 4.2 million parameters; table 2: 94.86 % of the mult-adds
    # in 1×1 convolutions, 3.06 % depthwise, 0.18 % in the fully connected layer.
    total = macs("mobilenet-v1")
    assert round(total / 1e6) == 569
    assert published_parameters("mobilenet-v1") == 4_231_976  # Keras prints it as trainable
    found = layers("mobilenet-v1")
    pointwise = sum(op.macs for op in found if op.name.endswith("_pw"))
    depthwise = sum(op.macs for op in found if op.name.endswith("_dw"))
    assert 100 * pointwise / total == pytest.approx(94.86, abs=0.01)
    assert 100 * depthwise / total == pytest.approx(3.06, abs=0.01)
    assert 100 * macs("mobilenet-v1", "classifier") / total == pytest.approx(0.18, abs=0.01)


def test_vit_tiny() -> None:
    # Touvron et al. 2021, table 1: DeiT-Ti, 5 million parameters; timm's tables: 5.72 million. timm's model card says
    # 1.1 GMACs, without the two products of attention: https://huggingface.co/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k
    assert published_parameters("vit-tiny") == 5_717_416
    attention = sum(op.macs for op in layers("vit-tiny") if op.name.endswith(("_scores", "_mixed")))
    assert attention == 12 * 2 * 197 * 197 * 192
    assert round((macs("vit-tiny") - attention) / 1e9, 1) == 1.1
    by_hand = 196 * 768 * 192 + 12 * (12 * 197 * 192**2 + 2 * 197**2 * 192) + 192 * 1000
    assert macs("vit-tiny") == by_hand


def test_resnets_have_the_published_sizes() -> None:
    # He et al. 2016, table 1
    for name, widths in (("resnet18", (64, 128, 256, 512)), ("resnet50", (256, 512, 1024, 2048))):
        shapes = {op.name: op.outputs[0][1:] for op in layers(name)}
        blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[int(name[-2:])]
        for stage, (width, last) in enumerate(zip(widths, blocks, strict=True)):
            side = 56 // 2**stage
            assert shapes[f"conv{stage + 2}_{last}_add_relu"] == (width, side, side)
            assert f"conv{stage + 2}_{last + 1}_add" not in shapes


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize("fold", [True, False])
def test_graphs_are_valid(name: str, fold: bool) -> None:
    model = zoo_model(name, 3, weights=False, fold=fold)
    assert model.ir_version == 7
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    names = [node.name for node in model.graph.node]
    tensors = [tensor.name for tensor in model.graph.initializer]
    assert len(set(names)) == len(names)
    assert len(set(tensors)) == len(tensors)
    found = operators(model)
    assert found[0].inputs[0][0] == 3
    assert (found[-1].name, found[-1].op_type) == ("softmax", "Softmax")
    assert found[-1].outputs == ((3, 10 if name in ("lenet5", "densenet40") else 1000),)
    used = {v for node in model.graph.node for v in node.input}
    assert set(tensors) <= used
    assert {v for node in model.graph.node for v in node.output} - used == {"output"}


def test_macs_do_not_depend_on_folding_and_grow_with_the_batch() -> None:
    for name in zoo_names():
        assert sum(op.macs for op in layers(name, fold=False)) == macs(name)
        assert sum(op.macs for op in operators(zoo_model(name, 5, weights=False))) == 5 * macs(name)


def test_folding_leaves_no_normalisation_after_a_convolution() -> None:
    kinds = {name: [op.op_type for op in layers(name)] for name in zoo_names()}
    assert {name for name, found in kinds.items() if "BatchNormalization" in found} == {
        "densenet40",
        "densenet121",
    }
    convs = [op for op in layers("resnet18") if op.op_type == "Conv"]
    norms = [op for op in layers("resnet18", fold=False) if op.op_type == "BatchNormalization"]
    assert len(norms) == len(convs) == 20
    assert sum(op.parameters for op in norms) == 4 * sum(op.outputs[0][1] for op in convs)


def run(model: onnx.ModelProto, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    data = model.SerializeToString()
    onnx.checker.check_model(data, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(seed).standard_normal(shape, np.float32)
    out: np.ndarray[Any, np.dtype[np.float32]] = session.run(["output"], {"input": image})[0]
    return out


@pytest.mark.parametrize("name", ["lenet5", "squeezenet", "densenet40", "mobilenet-v3", "vit-tiny"])
def test_a_real_runtime_runs_it(name: str) -> None:
    model = zoo_model(name, 1)
    out = run(model)
    assert out.shape == (1, 10 if name in ("lenet5", "densenet40") else 1000)
    assert (out >= 0).all()
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("name", ["densenet40", "mobilenet-v1"])
def test_a_folded_graph_computes_the_same(name: str) -> None:
    folded, plain = (run(zoo_model(name, 2, fold=fold)) for fold in (True, False))
    assert not np.allclose(folded[0], folded[1], rtol=0.05)  # the output depends on the image
    np.testing.assert_allclose(folded, plain, rtol=0.01)


def test_the_same_name_gives_the_same_bytes_in_any_process() -> None:
    script = (
        "import hashlib; from edgeprof.nets.zoo import zoo_model;"
        "print(hashlib.sha256(zoo_model('lenet5', 2).SerializeToString(deterministic=True)).hexdigest())"
    )
    root = Path(edgeprof.__file__).parents[1]
    hashes = [
        subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60)
        for _ in range(2)
    ]
    assert hashes[0].stdout == hashes[1].stdout
    assert len(hashes[0].stdout.strip()) == 64


def test_without_weights_a_graph_is_small() -> None:
    assert len(zoo_model("vgg16", weights=False).SerializeToString()) < 10_000


def test_the_table_of_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "zoo.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(zoo_names())
    for row, name in zip(rows, zoo_names(), strict=True):
        channels, height, width = layers(name)[0].inputs[0][1:]
        assert row[1] == f"{height}×{width}×{channels}"
        assert row[2] == f"{published_parameters(name):,}"
        assert row[3] == f"{macs(name) / 1e6:,.2f}"


def test_a_name_that_is_not_there() -> None:
    for ask in (zoo_model, zoo_about, published_parameters):
        with pytest.raises(CatalogueError, match="no network called 'resnet19'") as caught:
            ask("resnet19")
        assert "resnet18" in caught.value.hint
    with pytest.raises(CatalogueError) as caught:
        zoo_model("???")
    assert "edgeprof list zoo" in caught.value.hint
