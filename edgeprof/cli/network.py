"""How ``edgeprof show`` prints a network: a line a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof.cli.output import WIDTH, print_json, say


def show_network(name: str, batch: int, out: Path | None, json_: bool) -> None:
    """Print the layers of a network of the zoo, or write it to a file."""
    from edgeprof.nets.graph import write_model
    from edgeprof.nets.operators import operators
    from edgeprof.nets.zoo import published_parameters, zoo_about, zoo_model

    layers = operators(zoo_model(name, batch, weights=False))
    image, published = layers[0].inputs[0], published_parameters(name)
    macs, parameters = sum(op.macs for op in layers), sum(op.parameters for op in layers)
    if out is not None:
        size = write_model(zoo_model(name, batch), out)
        say(f"{name} at batch {batch}, random weights: {size / 1e6:.1f} MB in {out}")
    if json_:
        print_json(
            {
                "name": name,
                "kind": "zoo",
                "about": zoo_about(name),
                "batch": batch,
                "input": image,
                "macs": macs,
                "parameters": parameters,
                "published_parameters": published,
                "layers": [
                    {
                        "name": op.name,
                        "operator": op.op_type,
                        "output": op.outputs[0],
                        "macs": op.macs,
                        "parameters": op.parameters,
                    }
                    for op in layers
                ],
                "out": str(out) if out else None,
            }
        )
    elif out is None:
        print(f"{zoo_about(name)} · input {_times(image)}")
        for line in _table(
            [("layer", "operator", "output", "MACs (M)", "parameters")]
            + [
                (
                    op.name,
                    op.op_type,
                    _times(op.outputs[0]),
                    f"{op.macs / 1e6:,.2f}" if op.macs else "",
                    f"{op.parameters:,}" if op.parameters else "",
                )
                for op in layers
            ]
        ):
            print(line)
        print(f"total: {macs / 1e6:,.2f} M MACs in a run of batch {batch}, {parameters:,} parameters")
        if published != parameters:
            print(f"published: {published:,} parameters, with batch normalisation's scale and shift")


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines of 80 columns at most: the last two to the right, the first, a node's name, cut in front."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    widths[0] = max(min(widths[0], WIDTH - sum(widths[1:]) - len(widths) + 1), 8)
    for row in rows:
        first = row[0] if len(row[0]) <= widths[0] else f"…{row[0][1 - widths[0] :]}"
        texts = [f"{text:<{width}}" for text, width in zip((first, *row[1:3]), widths[:3], strict=True)]
        numbers = [f"{text:>{width}}" for text, width in zip(row[3:], widths[3:], strict=True)]
        yield " ".join(texts + numbers).rstrip()


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
