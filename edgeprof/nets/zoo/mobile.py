"""Networks of depthwise convolutions: MobileNet-v1, -v2, -v3, EfficientNet-B0."""

from __future__ import annotations

from edgeprof.nets.zoo.builder import Builder, Value

# Howard et al. 2019, table 1: kernel, expanded, out, squeeze-and-excite, hard swish, stride.
MOBILENET_V3 = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


def mobilenet_v1(b: Builder) -> Value:
    """Howard et al. 2017, "MobileNets", table 1, width 1; ReLU6, as in its authors' code."""
    x = b.conv("conv1", b.image(3, 224), 32, 3, stride=2, pad=1, norm=True, act="relu6")
    rows = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for number, (depth, stride) in enumerate(rows, start=2):
        x = _depthwise(b, f"conv{number}_dw", x, 3, stride, "relu6")
        x = b.conv(f"conv{number}_pw", x, depth, 1, norm=True, act="relu6")
    return b.classifier(b.flatten("flatten", b.global_pool("pool", x)), 1000)


def mobilenet_v2(b: Builder) -> Value:
    """Sandler et al. 2018, "MobileNetV2", table 2, width 1."""
    x = b.conv("conv1", b.image(3, 224), 32, 3, stride=2, pad=1, norm=True, act="relu6")
    for stage, (expansion, depth, blocks, stride) in enumerate(
        (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ),
        start=1,
    ):
        for block in range(blocks):
            name, step = f"block{stage}_{block + 1}", 1 if block else stride
            x = _inverted(b, name, x, 3, expansion * x.channels, depth, step, "relu6")
    x = b.conv("conv2", x, 1280, 1, norm=True, act="relu6")
    return b.classifier(b.flatten("flatten", b.global_pool("pool", x)), 1000)


def mobilenet_v3(b: Builder) -> Value:
    """Howard et al. 2019, "Searching for MobileNetV3", table 1 (large), width 1."""
    x = b.conv("conv1", b.image(3, 224), 16, 3, stride=2, pad=1, norm=True, act="hardswish")
    for number, (kernel, expanded, depth, excited, swish, stride) in enumerate(MOBILENET_V3, start=1):
        act = "hardswish" if swish else "relu"
        squeezed = _eighths(expanded / 4) if excited else 0
        gates = ("relu", "hardsigmoid")
        x = _inverted(b, f"block{number}", x, kernel, expanded, depth, stride, act, squeezed, gates)
    x = b.conv("conv2", x, 960, 1, norm=True, act="hardswish")
    x = b.linear("fc1", b.flatten("flatten", b.global_pool("pool", x)), 1280, "hardswish")
    return b.classifier(x, 1000)


def efficientnet_b0(b: Builder) -> Value:
    """Tan and Le 2019, "EfficientNet", table 1; squeeze-and-excite keeps a quarter of the block's input channels."""
    x = b.conv("conv1", b.image(3, 224), 32, 3, stride=2, pad=1, norm=True, act="silu")
    for stage, (expansion, kernel, depth, blocks, stride) in enumerate(
        (
            (1, 3, 16, 1, 1),
            (6, 3, 24, 2, 2),
            (6, 5, 40, 2, 2),
            (6, 3, 80, 3, 2),
            (6, 5, 112, 3, 1),
            (6, 5, 192, 4, 2),
            (6, 3, 320, 1, 1),
        ),
        start=1,
    ):
        for block in range(blocks):
            name, step, squeezed = f"block{stage}_{block + 1}", 1 if block else stride, x.channels // 4
            gates = ("silu", "sigmoid")
            x = _inverted(b, name, x, kernel, expansion * x.channels, depth, step, "silu", squeezed, gates)
    x = b.conv("conv2", x, 1280, 1, norm=True, act="silu")
    return b.classifier(b.flatten("flatten", b.global_pool("pool", x)), 1000)


def _inverted(
    b: Builder,
    name: str,
    x: Value,
    kernel: int,
    expanded: int,
    depth: int,
    stride: int,
    act: str,
    squeezed: int = 0,
    gates: tuple[str, str] = ("relu", "sigmoid"),
) -> Value:
    """An inverted residual (Sandler et al. 2018, figure 4), with squeeze-and-excite (Hu et al. 2018) where ``squeezed``
    channels are given; ``gates`` are the activations of its two convolutions."""
    y = x
    if expanded != x.channels:
        y = b.conv(f"{name}_expand", y, expanded, 1, norm=True, act=act)
    y = _depthwise(b, f"{name}_dw", y, kernel, stride, act)
    if squeezed:
        gate = b.conv(f"{name}_squeeze", b.global_pool(f"{name}_pool", y), squeezed, 1, act=gates[0])
        gate = b.conv(f"{name}_excite", gate, expanded, 1, act=gates[1])
        y = b.multiply(f"{name}_gate", y, gate)
    y = b.conv(f"{name}_project", y, depth, 1, norm=True)
    return b.add(f"{name}_add", y, x) if stride == 1 and x.channels == depth else y


def _depthwise(b: Builder, name: str, x: Value, kernel: int, stride: int, act: str) -> Value:
    return b.conv(
        name, x, x.channels, kernel, stride=stride, pad=kernel // 2, groups=x.channels, norm=True, act=act
    )


def _eighths(channels: float) -> int:
    """The nearest multiple of 8, but none below nine tenths, as the authors' code rounds."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
