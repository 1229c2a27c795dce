"""Networks that add or append what came before: ResNet, DenseNet."""

from __future__ import annotations

from collections.abc import Sequence

from edgeprof.nets.zoo.builder import Builder, Value

RESNET18 = (2, 2, 2, 2)
RESNET50 = (3, 4, 6, 3)


def resnet(b: Builder, stages: Sequence[int], *, bottleneck: bool) -> Value:
    """He et al. 2016, "Deep residual learning for image recognition", table 1.

    As torchvision has it: in a bottleneck the 3×3 convolution strides (4.09 GMACs with 50 layers). In the paper the
    first 1×1 does (3.8).
    """
    x = b.conv("conv1", b.image(3, 224), 64, 7, stride=2, pad=3, norm=True, act="relu")
    x = b.max_pool("pool1", x, 3, 2, pad=1)
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            x = _residual(b, f"conv{stage + 2}_{block + 1}", x, 64 * 2**stage, stride, bottleneck)
    return b.classifier(b.flatten("flatten", b.global_pool("pool5", x)), 1000)


def _residual(b: Builder, name: str, x: Value, width: int, stride: int, bottleneck: bool) -> Value:
    if bottleneck:
        depth = 4 * width
        y = b.conv(f"{name}_conv1", x, width, 1, norm=True, act="relu")
        y = b.conv(f"{name}_conv2", y, width, 3, stride=stride, pad=1, norm=True, act="relu")
        y = b.conv(f"{name}_conv3", y, depth, 1, norm=True)
    else:
        depth = width
        y = b.conv(f"{name}_conv1", x, width, 3, stride=stride, pad=1, norm=True, act="relu")
        y = b.conv(f"{name}_conv2", y, width, 3, pad=1, norm=True)
    if stride > 1 or x.channels != depth:
        x = b.conv(f"{name}_shortcut", x, depth, 1, stride=stride, norm=True)
    return b.add(f"{name}_add", y, x, "relu")


def densenet121(b: Builder) -> Value:
    """Huang et al. 2017, "Densely connected convolutional networks", table 1: growth 32, bottlenecks, compression ½."""
    x = b.conv("conv1", b.image(3, 224), 64, 7, stride=2, pad=3, norm=True, act="relu")
    x = b.max_pool("pool1", x, 3, 2, pad=1)
    return b.classifier(_dense(b, x, (6, 12, 24, 16), growth=32, bottleneck=True), 1000)


def densenet40(b: Builder) -> Value:
    """Huang et al. 2017, §3 and table 2: 40 layers for CIFAR, growth 12, no bottleneck, no compression; 32×32×3."""
    x = b.conv("conv1", b.image(3, 32), 16, 3, pad=1, bias=False)
    return b.classifier(_dense(b, x, (12, 12, 12), growth=12, bottleneck=False), 10)


def _dense(b: Builder, x: Value, stages: Sequence[int], *, growth: int, bottleneck: bool) -> Value:
    """Dense blocks with transitions between them. Normalisation comes before a convolution, so that only the one
    between a bottleneck's two convolutions can be folded."""
    for stage, layers in enumerate(stages, start=1):
        for layer in range(1, layers + 1):
            name = f"dense{stage}_{layer}"
            y = b.norm(f"{name}_bn", x, "relu")
            if bottleneck:
                y = b.conv(f"{name}_conv1", y, 4 * growth, 1, norm=True, act="relu")
            y = b.conv(f"{name}_conv2" if bottleneck else f"{name}_conv", y, growth, 3, pad=1, bias=False)
            x = b.concat(f"{name}_concat", (x, y))
        if stage < len(stages):
            name = f"transition{stage}"
            x = b.norm(f"{name}_bn", x, "relu")
            x = b.conv(f"{name}_conv", x, x.channels // 2 if bottleneck else x.channels, 1, bias=False)
            x = b.average_pool(f"{name}_pool", x, 2, 2)
    return b.flatten("flatten", b.global_pool("pool", b.norm("last_bn", x, "relu")))
