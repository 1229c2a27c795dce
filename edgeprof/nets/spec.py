"""NetSpec: a network of the family in a dozen numbers.

The family is that of the reference study (a thesis of Uppsala University, 2016): image → (Conv → ReLU →
Pool) × ``conv`` → (FC → ReLU) × ``fc`` → FC → softmax. Its defaults are the study's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeprof.document import first_problem, shown
from edgeprof.errors import SpecError

Count = Annotated[int, Field(ge=1, le=65_536)]
Padding = Literal["valid", "same"] | Annotated[int, Field(ge=0, le=1_024)]

PER_CONV = ("depth", "kernel", "stride", "padding")
PER_FC = ("neurons",)
DEFAULTS: Mapping[str, Any] = {"depth": 20, "kernel": 5, "stride": 1, "padding": "valid", "neurons": 1024}


class NetSpec(BaseModel):
    """A network of the family; frozen, hashable, comparable.

    ``depth`` (output channels), ``kernel``, ``stride`` and ``padding`` have one value per conv layer,
    ``neurons`` one per hidden FC layer. When built, a single value stands for every layer, and a list
    without ``conv`` or ``fc`` sets the number of layers. Sizes are in pixels, ``pool`` is window and stride of
    the pooling after the last conv, ``pool_before`` of the one after each conv before it (1: none).
    The classifier (FC to ``classes``, softmax) comes on top, so ``fc = 0`` is legal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tile: Count = 28
    channels: Count = 1
    classes: Count = 10
    conv: Annotated[int, Field(ge=0, le=64)] = 1
    depth: tuple[Count, ...] = ()
    kernel: tuple[Count, ...] = ()
    stride: tuple[Count, ...] = ()
    padding: tuple[Padding, ...] = ()
    pool: Count = 2
    pool_before: Count = 1
    fc: Annotated[int, Field(ge=0, le=64)] = 1
    neurons: tuple[Count, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_value_per_layer(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        out = dict(given)
        for count, knobs in (("conv", PER_CONV), ("fc", PER_FC)):
            lists = {k: v for k in knobs if isinstance(v := out.get(k), list | tuple)}
            if count not in out and lists:
                out[count] = len(next(iter(lists.values())))
            layers = out.get(count, 1)
            if isinstance(layers, bool) or not isinstance(layers, int) or not 0 <= layers <= 64:
                raise ValueError(f"{count} must be a whole number from 0 to 64, not {shown(layers)}")
            for knob in knobs:
                value = out.get(knob, DEFAULTS[knob])
                values = tuple(value) if knob in lists else (value,) * layers
                if len(values) == 1:
                    values *= layers
                if len(values) != layers:
                    raise ValueError(f"{knob} has {len(values)} values for {layers} {count} layers")
                out[knob] = values
        return out

    @model_validator(mode="after")
    def _pixels_left(self) -> NetSpec:
        size = self.tile
        for i in range(self.conv):
            begin, end = self.pads(i, size)
            if begin >= self.kernel[i]:
                raise ValueError(
                    f"conv{i + 1}: padding {begin} is not smaller than its kernel {self.kernel[i]}"
                )
            left = (size + begin + end - self.kernel[i]) // self.stride[i] + 1
            if size + begin + end < self.kernel[i]:
                raise ValueError(f"conv{i + 1} has no pixels left: kernel {self.kernel[i]} on {size}×{size}")
            pool = self.pool_after(i)
            if left < pool:
                raise ValueError(f"pool{i + 1} has no pixels left: window {pool} on {left}×{left}")
            size = left // pool
        return self

    def pads(self, layer: int, size: int) -> tuple[int, int]:
        """Padding (before, after) in pixels of conv ``layer`` (from 0) on an input of ``size`` pixels.

        ``same`` keeps ⌈size/stride⌉ pixels, the odd one added at the end (ONNX's SAME_UPPER).
        """
        padding, kernel, stride = self.padding[layer], self.kernel[layer], self.stride[layer]
        if padding == "valid":
            return 0, 0
        if padding == "same":
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            return total // 2, total - total // 2
        return padding, padding

    def pool_after(self, layer: int) -> int:
        """Window and stride of the pooling after conv ``layer`` (from 0); 1 means none."""
        return self.pool if layer == self.conv - 1 else self.pool_before

    def label(self) -> str:
        """A short name for people, such as ``conv 2×8,16 k5 · fc 1×1024``."""

        def values(items: tuple[Any, ...]) -> str:
            return ",".join(str(v) for v in (items[:1] if len(set(items)) == 1 else items))

        conv = f"conv {self.conv}×{values(self.depth)} k{values(self.kernel)}" if self.conv else "no conv"
        if any(s != 1 for s in self.stride):
            conv += f" s{values(self.stride)}"
        if any(p != "valid" for p in self.padding):
            pixels = "pad " if any(isinstance(p, int) for p in self.padding) else ""
            conv += f" {pixels}{values(self.padding)}"
        if self.conv and (self.pool, self.pool_before) != (2, 1):
            conv += f" pool {self.pool_before},{self.pool}"
        fc = f"fc {self.fc}×{values(self.neurons)}" if self.fc else "no hidden fc"
        tile = "" if (self.tile, self.channels) == (28, 1) else f"{self.tile}×{self.tile}×{self.channels} · "
        return f"{tile}{conv} · {fc}"


def net_spec(**knobs: Any) -> NetSpec:
    """A NetSpec from its knobs.

    :raises SpecError: naming the knob or layer that is wrong.
    """
    try:
        return NetSpec(**knobs)
    except ValidationError as error:
        raise SpecError(f"network: {first_problem(error)}", net_hint(error)) from None


def net_hint(error: ValidationError) -> str:
    """What to do about a network that was refused."""
    text = first_problem(error)
    if "no pixels left" in text:
        return "use fewer or smaller kernels, a smaller pool, padding = 'same', or a larger tile"
    if "unknown key" in text:
        return "a network has the knobs " + ", ".join(NetSpec.model_fields)
    return "one value, or one per layer; sizes and counts are whole numbers from 1"
