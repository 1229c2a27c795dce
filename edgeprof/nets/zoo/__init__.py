"""Well-known networks, built from their published descriptions with random weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import onnx

from edgeprof.errors import CatalogueError
from edgeprof.nets.operators import operators
from edgeprof.nets.zoo import attention, inception, mobile, plain, residual
from edgeprof.nets.zoo.builder import Builder, Value

ZOO: Mapping[str, tuple[str, Callable[[Builder], Value]]] = {
    "lenet5": ("LeNet-5, 1998, digits of 32×32", plain.lenet5),
    "alexnet": ("AlexNet of a single column, 2014", plain.alexnet),
    "vgg11": ("VGG configuration A, 2015", partial(plain.vgg, stages=plain.VGG11)),
    "vgg16": ("VGG configuration D, 2015", partial(plain.vgg, stages=plain.VGG16)),
    "googlenet": ("GoogLeNet (Inception-v1), 2015", inception.googlenet),
    "inception-v3": ("Inception-v3, 2016, images of 299×299", inception.inception_v3),
    "resnet18": (
        "ResNet, 18 layers, 2016",
        partial(residual.resnet, stages=residual.RESNET18, bottleneck=False),
    ),
    "resnet50": (
        "ResNet, 50 layers, 2016",
        partial(residual.resnet, stages=residual.RESNET50, bottleneck=True),
    ),
    "densenet40": ("DenseNet, 40 layers, growth 12, 2017, for 32×32", residual.densenet40),
    "densenet121": ("DenseNet, 121 layers, growth 32, 2017", residual.densenet121),
    "squeezenet": ("SqueezeNet 1.0, 2016", inception.squeezenet),
    "mobilenet-v1": ("MobileNet, width 1, 2017", mobile.mobilenet_v1),
    "mobilenet-v2": ("MobileNetV2, width 1, 2018", mobile.mobilenet_v2),
    "mobilenet-v3": ("MobileNetV3 large, width 1, 2019", mobile.mobilenet_v3),
    "efficientnet-b0": ("EfficientNet-B0, 2019", mobile.efficientnet_b0),
    "vit-tiny": ("ViT, width 192, 3 heads, patches of 16×16, 2021", attention.vit_tiny),
}


def zoo_names() -> tuple[str, ...]:
    """The networks there are."""
    return tuple(ZOO)


def zoo_about(name: str) -> str:
    """A line about a network."""
    return _entry(name)[0]


def zoo_model(name: str, batch: int = 1, *, weights: bool = True, fold: bool = True) -> onnx.ModelProto:
    """A network of the zoo with a static batch: ``input`` ``[batch, channels, size, size]`` float32 to ``output``
    ``[batch, classes]``, behind a softmax.

    Batch normalisation that follows a convolution is folded into it, as exporters do; with ``fold=False`` it is a node
    of its own. Weights are random, drawn from the network's name; the same arguments give the same bytes. With
    ``weights=False`` they are shapes alone, as in :func:`edgeprof.nets.build.build_model`.

    :raises CatalogueError: no such network.
    """
    write = _entry(name)[1]
    builder = Builder(name, batch, weights=weights, fold=fold)
    return builder.model(write(builder))


@lru_cache
def published_parameters(name: str) -> int:
    """Parameters as papers and model tables count them: weights, biases, and two numbers per channel for each batch
    normalisation (scale and shift), not its running mean and variance.

    :raises CatalogueError: no such network.
    """
    found = operators(zoo_model(name, weights=False, fold=False))
    return sum(op.parameters // (2 if op.op_type == "BatchNormalization" else 1) for op in found)


def _entry(name: str) -> tuple[str, Callable[[Builder], Value]]:
    if name not in ZOO:
        near = difflib.get_close_matches(name, ZOO, n=3, cutoff=0.5)
        guess = f"did you mean {', '.join(near)}?" if near else "edgeprof list zoo tells names"
        raise CatalogueError(f"there is no network called '{name}' in the zoo", guess)
    return ZOO[name]
