"""Networks of attention: ViT-Tiny."""

from __future__ import annotations

from edgeprof.nets.zoo.builder import Builder, Value

WIDTH, HEADS, BLOCKS, PATCH = 192, 3, 12, 16


def vit_tiny(b: Builder) -> Value:
    """Dosovitskiy et al. 2021, "An image is worth 16×16 words", in the size of Touvron et al. 2021, table 1 (DeiT-Ti):
    12 blocks, width 192, 3 heads, patches of 16×16."""
    x = b.conv("patches", b.image(3, 224), WIDTH, PATCH, stride=PATCH)
    x = b.reshape("patches_rows", x, (b.batch, WIDTH, x.shape[2] * x.shape[3]))
    x = b.transpose("patches_transpose", x, (0, 2, 1))
    x = b.concat("tokens", (b.token("class_token", WIDTH), x))
    x = b.position("position", x)
    for number in range(1, BLOCKS + 1):
        name = f"block{number}"
        x = b.add(
            f"{name}_add1", x, b.attention(f"{name}_attention", b.layer_norm(f"{name}_norm1", x), HEADS)
        )
        y = b.linear(f"{name}_mlp1", b.layer_norm(f"{name}_norm2", x), 4 * WIDTH, "gelu")
        x = b.add(f"{name}_add2", x, b.linear(f"{name}_mlp2", y, WIDTH))
    return b.classifier(b.gather("class_row", b.layer_norm("norm", x), 1, 0), 1000)
