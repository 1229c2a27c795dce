"""Many networks of the family at once, all layers of each alike: their sizes and operators as columns, without ONNX.

A network is a body (conv layers, up to the flattened pixels) and a head (FC layers, classifier, softmax). Columns are
whole numbers, one element a network. :func:`edgeprof.nets.operators.dims` says what the dimensions mean; a test holds
both to the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]

SAME = -1  # of the column ``padding``; else pixels
BODY = ("tile", "channels", "conv", "depth", "kernel", "stride", "padding", "pool", "pool_before", "batch")


@dataclass(frozen=True)
class Layer:
    """Conv layer number i of those networks (``rows``) that have one: sizes in pixels of a side."""

    rows: Rows
    channels: Ints
    size: Ints
    padded: Ints
    left: Ints
    pool: Ints


@dataclass(frozen=True)
class Operators:
    """The same operator in many networks (``rows``): its type, its dimensions, and the shape that enters it."""

    op_type: str
    rows: Rows
    dims: Mapping[str, Any]
    entering: tuple[Any, ...]


@dataclass(frozen=True)
class Held:
    """Values of one tile: the most that go in and out of one Conv or pooling, the most that one operator puts out, all
    that are put out."""

    live: NDArray[np.float64]
    largest: NDArray[np.float64]
    results: NDArray[np.float64]


@dataclass(frozen=True)
class Bodies:
    """Bodies of networks: one column a knob of :data:`BODY`. Every one must have pixels left (:func:`pixels_left`)."""

    knobs: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.knobs["batch"])

    def __getitem__(self, rows: slice | Rows) -> Bodies:
        return Bodies({knob: column[rows] for knob, column in self.knobs.items()})

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Its conv layers from the first."""
        return tuple(layer for layer, _ in _layers(self.knobs))

    @cached_property
    def last(self) -> tuple[Ints, Ints]:
        """Channels and pixels of a side that reach the head."""
        channels, size = self.knobs["channels"].copy(), self.knobs["tile"].copy()
        for layer in self.layers:
            channels[layer.rows] = self.knobs["depth"][layer.rows]
            size[layer.rows] = layer.left // layer.pool
        return channels, size

    @cached_property
    def flat(self) -> Ints:
        """Values of one tile that enter the head."""
        channels, size = self.last
        return channels * size**2

    @cached_property
    def macs(self) -> NDArray[np.float64]:
        """Multiply-accumulates of one tile."""
        found = np.zeros(len(self))
        for a in self.layers:
            k, depth = (self.knobs[knob][a.rows].astype(float) for knob in ("kernel", "depth"))
            found[a.rows] += a.left**2 * k**2 * a.channels * depth
        return found

    @cached_property
    def parameters(self) -> NDArray[np.float64]:
        """Weights and biases."""
        found = np.zeros(len(self))
        for a in self.layers:
            k, depth = (self.knobs[knob][a.rows].astype(float) for knob in ("kernel", "depth"))
            found[a.rows] += (k**2 * a.channels + 1) * depth
        return found

    @cached_property
    def results(self) -> NDArray[np.float64]:
        """The values of one tile that all its operators put out."""
        found = self.flat.astype(float)
        for a in self.layers:
            depth = self.knobs["depth"][a.rows].astype(float)
            pooled = np.where(a.pool > 1, (a.left // a.pool) ** 2, 0)
            found[a.rows] += depth * (2 * a.left**2 + pooled)
        return found

    def held(self, block: int = 1) -> Held:
        """What :func:`edgeprof.nets.footprint.footprint` counts, channels in blocks of ``block``."""
        if block not in self._held:
            self._held[block] = self._holding(block)
        return self._held[block]

    @cached_property
    def _held(self) -> dict[int, Held]:
        return {}

    def _holding(self, block: int) -> Held:
        live, largest = np.zeros(len(self)), self.flat.astype(float)
        results = self.flat.astype(float)
        for number, a in enumerate(self.layers):
            depth = -(-self.knobs["depth"][a.rows] // block) * block * 1.0
            left, pooled = a.left**2, np.where(a.pool > 1, (a.left // a.pool) ** 2, 0)
            conv = (depth if number else a.channels) * a.size**2 + depth * left
            pool = np.where(a.pool > 1, depth * (left + pooled), 0)
            live[a.rows] = np.maximum(live[a.rows], np.maximum(conv, pool))
            largest[a.rows] = np.maximum(largest[a.rows], depth * left)
            results[a.rows] += depth * (2 * left + pooled)
        return Held(live, largest, results)

    def operators(self) -> Iterator[Operators]:
        """In the order of execution, up to the flattening."""
        k = self.knobs
        for layer in self.layers:
            rows = layer.rows
            batch, depth, kernel = k["batch"][rows], k["depth"][rows], k["kernel"][rows]
            entering = (batch, layer.channels, layer.size, layer.size)
            out = (batch, depth, layer.left, layer.left)
            window = {"Kh": kernel, "Kw": kernel, "S": k["stride"][rows], "P": layer.padded}
            yield Operators("Conv", rows, _image(entering, out, window), entering)
            yield Operators("Relu", rows, _image(out, out, {"Kh": 1, "Kw": 1, "S": 1, "P": 0}), out)
            at = np.flatnonzero(layer.pool > 1)
            if at.size:
                some, pool = self[rows[at]].knobs, layer.pool[at]
                entering = (some["batch"], some["depth"], layer.left[at], layer.left[at])
                out = (*entering[:2], entering[2] // pool, entering[3] // pool)
                still = {"Kh": pool, "Kw": pool, "S": pool, "P": 0}
                yield Operators("MaxPool", rows[at], _image(entering, out, still), entering)
        channels, size = self.last
        elements = k["batch"] * self.flat
        dims = {"B": k["batch"], "X": elements, "Y": elements, "M": self.flat}
        yield Operators("Flatten", np.arange(len(self)), dims, (k["batch"], channels, size, size))


def pixels_left(knobs: Mapping[str, Ints]) -> NDArray[np.bool_]:
    """Which bodies are networks: every conv and pooling has pixels left, and no padding is as large as its kernel."""
    found = np.ones(len(knobs["batch"]), bool)
    for layer, good in _layers(knobs):
        found[layer.rows] &= good
    return found


def product(batch: Ints, inner: Ints, columns: Ints, rows: Rows) -> Operators:
    """A fully connected layer of these sizes."""
    dims = {"B": batch, "X": batch * inner, "Y": batch * columns, "R": batch, "N": inner, "M": columns}
    return Operators("Gemm", rows, dims, (batch, inner))


def elementwise(op_type: str, batch: Ints, columns: Ints, rows: Rows) -> Operators:
    """A Relu or Softmax on a fully connected layer's output."""
    dims = {"B": batch, "X": batch * columns, "Y": batch * columns, "M": columns}
    return Operators(op_type, rows, dims, (batch, columns))


def head_macs(flat: Any, fc: Any, neurons: Any, classes: Any) -> Any:
    """Multiply-accumulates of heads for one tile; columns that broadcast together, ``neurons`` 0 where ``fc`` is."""
    return np.where(fc > 0, flat * neurons + (fc - 1) * neurons**2 + neurons * classes, flat * classes)


def head_parameters(flat: Any, fc: Any, neurons: Any, classes: Any) -> Any:
    """Weights and biases of heads."""
    return head_macs(flat, fc, neurons, classes) + fc * neurons + classes


def head_live(flat: Any, fc: Any, neurons: Any, classes: Any) -> Any:
    """The most values of one tile that go in and out of one layer."""
    width = np.where(fc > 0, neurons, flat)
    return np.maximum(np.maximum(flat + neurons, np.where(fc > 1, 2 * neurons, 0)), width + classes)


def head_largest(flat: Any, fc: Any, neurons: Any, classes: Any) -> Any:
    """The most values of one tile that one operator puts out."""
    return np.maximum(np.where(fc > 0, neurons, flat), classes)


def head_results(fc: Any, neurons: Any, classes: Any) -> Any:
    """The values of one tile that all operators put out."""
    return 2 * (fc * neurons + classes)


def _layers(knobs: Mapping[str, Ints]) -> Iterator[tuple[Layer, NDArray[np.bool_]]]:
    """Each conv layer, and which of its rows are as NetSpec allows; those that are not go on with one pixel."""
    size, channels = knobs["tile"].copy(), knobs["channels"].copy()
    for i in range(int(knobs["conv"].max(initial=0))):
        rows = np.flatnonzero(knobs["conv"] > i)
        kernel, stride, padding = (knobs[knob][rows] for knob in ("kernel", "stride", "padding"))
        own = size[rows]
        total = np.maximum((-(-own // stride) - 1) * stride + kernel - own, 0)
        padded = np.where(padding == SAME, total, 2 * padding)
        left = (own + padded - kernel) // stride + 1
        pool = np.where(knobs["conv"][rows] == i + 1, knobs["pool"][rows], knobs["pool_before"][rows])
        good = (padded // 2 < kernel) & (own + padded >= kernel) & (left >= pool)
        yield Layer(rows, channels[rows], own, padded, left, pool), good
        size[rows] = np.maximum(left // pool, 1)
        channels[rows] = knobs["depth"][rows]


def _image(entering: tuple[Any, ...], out: tuple[Any, ...], window: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions of an operator from an image to an image."""
    (batch, c, hi, wi), (_, m, h, w) = entering, out
    sizes = {"B": batch, "C": c, "Hi": hi, "Wi": wi, "M": m, "H": h, "W": w, "G": 1, "A": 0, "E": 0}
    return {**sizes, **window, "X": batch * c * hi * wi, "Y": batch * m * h * w}
