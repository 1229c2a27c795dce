"""Networks whose layers stand in a row: LeNet-5, AlexNet, VGG."""

from __future__ import annotations

from collections.abc import Sequence

from edgeprof.nets.zoo.builder import Builder, Value

VGG11 = (1, 1, 2, 2, 2)
VGG16 = (2, 2, 3, 3, 3)


def lenet5(b: Builder) -> Value:
    """LeCun et al. 1998, "Gradient-based learning applied to document recognition", §II.B: 32×32×1, 10 classes.

    As it is used today: pooling has no parameters, C3 sees every map of S2, and softmax stands for the radial units.
    """
    x = b.conv("c1", b.image(1, 32), 6, 5, act="tanh")
    x = b.average_pool("s2", x, 2, 2)
    x = b.conv("c3", x, 16, 5, act="tanh")
    x = b.average_pool("s4", x, 2, 2)
    x = b.linear("c5", b.flatten("flatten", x), 120, "tanh")
    return b.classifier(b.linear("f6", x, 84, "tanh"), 10)


def alexnet(b: Builder) -> Value:
    """Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks": the one of a single column,
    without response normalisation, as torchvision has it."""
    x = b.conv("conv1", b.image(3, 224), 64, 11, stride=4, pad=2, act="relu")
    x = b.max_pool("pool1", x, 3, 2)
    x = b.conv("conv2", x, 192, 5, pad=2, act="relu")
    x = b.max_pool("pool2", x, 3, 2)
    x = b.conv("conv3", x, 384, 3, pad=1, act="relu")
    x = b.conv("conv4", x, 256, 3, pad=1, act="relu")
    x = b.conv("conv5", x, 256, 3, pad=1, act="relu")
    return _two_hidden(b, b.max_pool("pool5", x, 3, 2))


def vgg(b: Builder, stages: Sequence[int]) -> Value:
    """Simonyan and Zisserman 2015, table 1: convolutions of 3×3 in five stages, halved after each."""
    x = b.image(3, 224)
    for stage, (layers, depth) in enumerate(zip(stages, (64, 128, 256, 512, 512), strict=True), start=1):
        for layer in range(1, layers + 1):
            x = b.conv(f"conv{stage}_{layer}", x, depth, 3, pad=1, act="relu")
        x = b.max_pool(f"pool{stage}", x, 2, 2)
    return _two_hidden(b, x)


def _two_hidden(b: Builder, x: Value) -> Value:
    x = b.flatten("flatten", x)
    for name in ("fc1", "fc2"):
        x = b.linear(name, x, 4096, "relu")
    return b.classifier(x, 1000)
