"""Networks of parallel branches: GoogLeNet, Inception-v3, SqueezeNet."""

from __future__ import annotations

from edgeprof.nets.zoo.builder import Builder, Value

# Szegedy et al. 2015, table 1: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool proj.
GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(b: Builder) -> Value:
    """Szegedy et al. 2015, "Going deeper with convolutions", without the auxiliary classifiers.

    As torchvision has it: batch normalisation, no response normalisation, and 3×3 where table 1 says 5×5.
    """

    def conv(name: str, x: Value, depth: int, kernel: int, stride: int = 1) -> Value:
        return b.conv(name, x, depth, kernel, stride=stride, pad=kernel // 2, norm=True, act="relu")

    x = conv("conv1", b.image(3, 224), 64, 7, 2)
    x = b.max_pool("pool1", x, 3, 2, ceil=True)
    x = conv("conv2_reduce", x, 64, 1)
    x = conv("conv2", x, 192, 3)
    x = b.max_pool("pool2", x, 3, 2, ceil=True)
    for module, (one, reduce3, three, reduce5, five, projected) in GOOGLENET.items():
        name = f"inception{module}"
        branches = (
            conv(f"{name}_1x1", x, one, 1),
            conv(f"{name}_3x3", conv(f"{name}_3x3_reduce", x, reduce3, 1), three, 3),
            conv(f"{name}_5x5", conv(f"{name}_5x5_reduce", x, reduce5, 1), five, 3),
            conv(f"{name}_pool_proj", b.max_pool(f"{name}_pool", x, 3, 1, pad=1, ceil=True), projected, 1),
        )
        x = b.concat(f"{name}_concat", branches)
        if module == "3b":
            x = b.max_pool("pool3", x, 3, 2, ceil=True)
        if module == "4e":
            x = b.max_pool("pool4", x, 2, 2, ceil=True)
    return b.classifier(b.flatten("flatten", b.global_pool("pool5", x)), 1000)


def inception_v3(b: Builder) -> Value:
    """Szegedy et al. 2016, "Rethinking the Inception architecture", without the auxiliary classifier: 299×299.

    As its authors' code and torchvision have it.
    """
    x = _conv(b, "conv1a", b.image(3, 299), 32, 3, stride=2)
    x = _conv(b, "conv2a", x, 32, 3)
    x = _conv(b, "conv2b", x, 64, 3, pad=1)
    x = b.max_pool("pool1", x, 3, 2)
    x = _conv(b, "conv3b", x, 80, 1)
    x = _conv(b, "conv4a", x, 192, 3)
    x = b.max_pool("pool2", x, 3, 2)
    for name, projected in (("mixed5b", 32), ("mixed5c", 64), ("mixed5d", 64)):
        five = _conv(b, f"{name}_5x5", _conv(b, f"{name}_5x5_reduce", x, 48, 1), 64, 5, pad=2)
        branches = (
            _conv(b, f"{name}_1x1", x, 64, 1),
            five,
            _double(b, name, x, 96),
            _pooled(b, name, x, projected),
        )
        x = b.concat(f"{name}_concat", branches)
    name = "mixed6a"
    three = _conv(b, f"{name}_3x3", x, 384, 3, stride=2)
    x = b.concat(f"{name}_concat", (three, _double(b, name, x, 96, 2), b.max_pool(f"{name}_pool", x, 3, 2)))
    for name, narrow in (("mixed6b", 128), ("mixed6c", 160), ("mixed6d", 160), ("mixed6e", 192)):
        once = _conv(b, f"{name}_7x7_reduce", x, narrow, 1)
        once = _rows_then_columns(b, f"{name}_7x7", once, narrow, 192)
        twice = _conv(b, f"{name}_7x7dbl_reduce", x, narrow, 1)
        twice = _columns_then_rows(b, f"{name}_7x7dbl_1", twice, narrow, narrow)
        twice = _columns_then_rows(b, f"{name}_7x7dbl_2", twice, narrow, 192)
        branches = (_conv(b, f"{name}_1x1", x, 192, 1), once, twice, _pooled(b, name, x, 192))
        x = b.concat(f"{name}_concat", branches)
    name = "mixed7a"
    three = _conv(b, f"{name}_3x3", _conv(b, f"{name}_3x3_reduce", x, 192, 1), 320, 3, stride=2)
    seven = _rows_then_columns(b, f"{name}_7x7x3", _conv(b, f"{name}_7x7x3_reduce", x, 192, 1), 192, 192)
    seven = _conv(b, f"{name}_7x7x3", seven, 192, 3, stride=2)
    x = b.concat(f"{name}_concat", (three, seven, b.max_pool(f"{name}_pool", x, 3, 2)))
    for name in ("mixed7b", "mixed7c"):
        three = _fork(b, f"{name}_3x3", _conv(b, f"{name}_3x3_reduce", x, 384, 1))
        double = _conv(b, f"{name}_3x3dbl_1", _conv(b, f"{name}_3x3dbl_reduce", x, 448, 1), 384, 3, pad=1)
        double = _fork(b, f"{name}_3x3dbl_2", double)
        branches = (_conv(b, f"{name}_1x1", x, 320, 1), three, double, _pooled(b, name, x, 192))
        x = b.concat(f"{name}_concat", branches)
    return b.classifier(b.flatten("flatten", b.global_pool("pool3", x)), 1000)


def _conv(
    b: Builder,
    name: str,
    x: Value,
    depth: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    pad: int | tuple[int, int] = 0,
) -> Value:
    return b.conv(name, x, depth, kernel, stride=stride, pad=pad, norm=True, act="relu")


def _pooled(b: Builder, name: str, x: Value, depth: int) -> Value:
    return _conv(b, f"{name}_pool_proj", b.average_pool(f"{name}_pool", x, 3, 1, pad=1), depth, 1)


def _double(b: Builder, name: str, x: Value, depth: int, stride: int = 1) -> Value:
    """Two convolutions of 3×3 in place of one of 5×5 (figure 5); the second may stride."""
    x = _conv(b, f"{name}_3x3dbl_1", _conv(b, f"{name}_3x3dbl_reduce", x, 64, 1), depth, 3, pad=1)
    return _conv(b, f"{name}_3x3dbl_2", x, depth, 3, stride=stride, pad=1 if stride == 1 else 0)


def _rows_then_columns(b: Builder, name: str, x: Value, narrow: int, depth: int) -> Value:
    """1×7, then 7×1 (figure 6)."""
    return _conv(
        b, f"{name}_7x1", _conv(b, f"{name}_1x7", x, narrow, (1, 7), pad=(0, 3)), depth, (7, 1), pad=(3, 0)
    )


def _columns_then_rows(b: Builder, name: str, x: Value, narrow: int, depth: int) -> Value:
    return _conv(
        b, f"{name}_1x7", _conv(b, f"{name}_7x1", x, narrow, (7, 1), pad=(3, 0)), depth, (1, 7), pad=(0, 3)
    )


def _fork(b: Builder, name: str, x: Value) -> Value:
    """1×3 and 3×1 side by side (figure 7)."""
    wide = _conv(b, f"{name}_1x3", x, 384, (1, 3), pad=(0, 1))
    return b.concat(f"{name}_concat", (wide, _conv(b, f"{name}_3x1", x, 384, (3, 1), pad=(1, 0))))


def squeezenet(b: Builder) -> Value:
    """Iandola et al. 2016, "SqueezeNet", table 1 (version 1.0)."""
    x = b.conv("conv1", b.image(3, 224), 96, 7, stride=2, act="relu")
    x = b.max_pool("pool1", x, 3, 2, ceil=True)
    for number, squeezed, expanded in (
        (2, 16, 64),
        (3, 16, 64),
        (4, 32, 128),
        (5, 32, 128),
        (6, 48, 192),
        (7, 48, 192),
        (8, 64, 256),
        (9, 64, 256),
    ):
        name = f"fire{number}"
        x = b.conv(f"{name}_squeeze", x, squeezed, 1, act="relu")
        one = b.conv(f"{name}_expand_1x1", x, expanded, 1, act="relu")
        three = b.conv(f"{name}_expand_3x3", x, expanded, 3, pad=1, act="relu")
        x = b.concat(f"{name}_concat", (one, three))
        if number in (4, 8):
            x = b.max_pool(f"pool{number}", x, 3, 2, ceil=True)
    x = b.global_pool("pool10", b.conv("conv10", x, 1000, 1, act="relu"))
    return b.softmax(b.flatten("flatten", x))
