"""Inputs of a network: tiles from a folder of digits or a picture, or seeded noise."""

from __future__ import annotations

import gzip
import struct
import tokenize
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeprof.errors import TilesError

MAX_VALUES = 2**30  # in one file; more is a mistake or an attack
_INFLATION = 1032  # deflate never makes more of a byte
_IDX_IMAGES = 0x00000803  # unsigned bytes in three dimensions


def read_tiles(path: Path, tile: int, channels: int) -> NDArray[np.float32]:
    """The tiles in a folder or a picture.

    A folder holds a data set in MNIST's format: files ``*images-idx3-ubyte``, gzipped (``.gz``) or not, of
    tiles of exactly the network's size; those of the training set come first. A picture, ``.png`` or
    ``.npy`` (H×W or H×W×C, bytes or floats from 0 to 1), is cut into tiles row by row; what is left over at
    the right and bottom edges is dropped. Grey becomes any number of channels, RGB one or three.

    :param path: the folder or the file.
    :param tile: height and width of a tile, pixels.
    :param channels: the network's input channels.
    :returns: float32 of shape [n, channels, tile, tile], n ≥ 1, values from 0 to 1.
    :raises TilesError: when there is nothing to read, it is damaged, or it does not fit the network.
    """
    try:
        if path.is_dir():
            return _to_channels(_read_folder(path, tile)[..., np.newaxis], channels, path)
        if path.suffix == ".png":
            picture = _read_png(path)
        elif path.suffix == ".npy":
            picture = _read_npy(path)
        elif path.exists():
            raise TilesError(f"{path} is neither a folder nor a picture", "give a folder, a .png or a .npy")
        else:
            raise FileNotFoundError(path)
    except FileNotFoundError as error:
        raise TilesError(f"no such file or folder: {path}", "give a folder, a .png or a .npy") from error
    except OSError as error:
        raise TilesError(f"cannot read {path}: {error.strerror or error}", "check the file") from error
    return _to_channels(_cut(picture, tile, path), channels, path)


def batch_of(tiles: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """The first ``batch`` tiles, from the start again when there are too few.

    :param tiles: [n, channels, tile, tile].
    :param batch: tiles in one run.
    :returns: a C-contiguous copy of shape [batch, channels, tile, tile].
    :raises TilesError: without tiles or for a batch under 1.
    """
    if batch < 1 or len(tiles) < 1:
        raise TilesError(
            f"cannot make a batch of {batch} from {len(tiles)} tiles", "use a batch of 1 or more"
        )
    return np.ascontiguousarray(tiles[np.arange(batch) % len(tiles)])


def noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values drawn evenly from 0 to 1, the same for the same seed and shape: float32 of ``shape``."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _read_folder(folder: Path, tile: int) -> NDArray[np.float32]:
    files: dict[str, Path] = {}
    for suffix in (".gz", ""):  # of two copies the plain one wins
        for file in folder.glob(f"*images-idx3-ubyte{suffix}"):
            files[file.name.removesuffix(".gz")] = file
    if not files:
        raise TilesError(
            f"no tiles in {folder}",
            "a folder must hold *images-idx3-ubyte or *images-idx3-ubyte.gz, as MNIST does",
        )
    ordered = sorted(files, key=lambda name: (not name.startswith("train"), name))
    return np.concatenate([_read_idx(files[name], tile) for name in ordered])


def _read_idx(path: Path, tile: int) -> NDArray[np.float32]:
    zipped = path.suffix == ".gz"
    most = path.stat().st_size * (_INFLATION if zipped else 1)
    again = "fetch it again, or use another data set"
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = file.read(16)
            if len(header) < 16:
                raise TilesError(f"{path} ends within its header", again)
            magic, count, height, width = struct.unpack(">4I", header)
            if magic != _IDX_IMAGES:
                raise TilesError(
                    f"{path} is no IDX file of images (it starts with {header[:4].hex()})", again
                )
            if (height, width) != (tile, tile):
                raise TilesError(
                    f"{path} has tiles of {height}×{width}, the network takes {tile}×{tile}",
                    f"use --tile {height}, or other tiles" if height == width else "use square tiles",
                )
            size = count * height * width
            if size == 0:
                raise TilesError(f"{path} holds no tiles", again)
            if size > min(most, MAX_VALUES):
                raise TilesError(f"{path} claims {count} tiles, more than it can hold", again)
            values = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TilesError(f"{path} is damaged: {error}", again) from error
    if len(values) != size:
        raise TilesError(
            f"{path} holds {'less' if len(values) < size else 'more'} than the tiles it claims", again
        )
    return np.frombuffer(values, np.uint8).reshape(count, height, width).astype(np.float32) / np.float32(255)


def _read_png(path: Path) -> NDArray[np.float32]:
    """[H, W, C], C being 1 or 3; transparency is dropped."""
    try:
        from PIL import Image
    except ImportError as error:
        raise TilesError("reading a .png needs Pillow", "pip install 'edgeprof[tiles]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode.startswith("I"):  # 16 bits
                    return (np.asarray(image, np.float32) / np.float32(65535))[..., np.newaxis]
                grey = image.mode in ("1", "L", "LA")
                values = np.asarray(image.convert("L" if grey else "RGB"), np.float32) / np.float32(255)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TilesError(f"{path} is too large a picture", "cut it into smaller ones") from error
    except FileNotFoundError:
        raise
    # what Pillow raises for damaged files
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise TilesError(f"{path} is no readable PNG: {error}", "save the picture again") from error
    return values[..., np.newaxis] if grey else values


def _read_npy(path: Path) -> NDArray[np.float32]:
    """[H, W, C]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # mapped, so that a header that claims more than the file has costs nothing
            values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    # what NumPy raises for damaged headers
    except (
        ArithmeticError,
        EOFError,
        OSError,
        SyntaxError,
        TypeError,
        ValueError,
        tokenize.TokenError,
    ) as error:
        raise TilesError(f"{path} is no readable .npy: {error}", "save it again with numpy.save") from error
    hint = "save bytes, or floats from 0 to 1, of shape H×W or H×W×C"
    if not isinstance(values, np.ndarray) or values.ndim not in (2, 3) or not 0 < values.size <= MAX_VALUES:
        raise TilesError(f"{path} is no picture: its shape is {getattr(values, 'shape', 'none')}", hint)
    if values.dtype.kind == "f" and bool(np.all((values >= 0) & (values <= 1))):
        scale = 1
    elif values.dtype.kind == "u":
        scale = int(np.iinfo(values.dtype).max)
    else:
        raise TilesError(f"{path} is no picture: {values.dtype} values, or floats out of 0 to 1", hint)
    picture = np.asarray(values / scale, dtype=np.float32)
    return picture if picture.ndim == 3 else picture[..., np.newaxis]


def _cut(picture: NDArray[np.float32], tile: int, path: Path) -> NDArray[np.float32]:
    """[H, W, C] to [n, tile, tile, C], row by row."""
    height, width, channels = picture.shape
    rows, columns = height // tile, width // tile
    if rows * columns == 0:
        raise TilesError(
            f"{path} is {height}×{width} pixels, smaller than one tile of {tile}×{tile}",
            "use a larger picture, or a smaller --tile",
        )
    cut = picture[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile, channels)
    return cut.swapaxes(1, 2).reshape(rows * columns, tile, tile, channels)


def _to_channels(tiles: NDArray[np.float32], channels: int, path: Path) -> NDArray[np.float32]:
    """[n, tile, tile, C] to [n, channels, tile, tile]."""
    found = tiles.shape[-1]
    if tiles.size // found * channels > MAX_VALUES:
        raise TilesError(f"{path} has too many pixels for {channels} channels", "use fewer tiles")
    if found == 1:
        tiles = np.repeat(tiles, channels, axis=-1)
    elif found == 3 and channels == 1:
        tiles = tiles @ np.array([[0.299], [0.587], [0.114]], np.float32)  # ITU-R BT.601, as Pillow does
    elif found != channels:
        raise TilesError(
            f"{path} has {found} channels, the network takes {channels}",
            f"use --channels {found}, or other tiles",
        )
    return np.ascontiguousarray(np.moveaxis(tiles, -1, 1), dtype=np.float32)
