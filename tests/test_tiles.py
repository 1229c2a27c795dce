"""Tiles from folders and pictures: the right ones, or an error that says how to mend it."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeprof.errors import TilesError
from edgeprof.tiles import batch_of, noise, read_tiles

MNIST = Path(__file__).parent / "data" / "mnist"
steady = settings(derandomize=True, deadline=None, max_examples=150, database=None)


def raw(name: str) -> bytes:
    return gzip.decompress((MNIST / f"{name}-images-idx3-ubyte.gz").read_bytes())


def idx(count: int, height: int, width: int, values: bytes, magic: int = 0x803) -> bytes:
    return struct.pack(">4I", magic, count, height, width) + values


def test_real_digits_training_set_first() -> None:
    tiles = read_tiles(MNIST, 28, 1)
    assert tiles.shape == (250, 1, 28, 28)
    assert tiles.dtype == np.float32
    assert tiles.flags.c_contiguous
    assert tiles.min() == 0
    assert tiles.max() == 1
    assert np.array_equal(np.rint(tiles[:200] * 255).astype(np.uint8).tobytes(), raw("train")[16:])
    assert np.array_equal(np.rint(tiles[200:] * 255).astype(np.uint8).tobytes(), raw("t10k")[16:])


def test_plain_files_and_channels(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(raw("train"))
    shutil.copy(MNIST / "train-images-idx3-ubyte.gz", tmp_path)  # the same once more: read once
    tiles = read_tiles(tmp_path, 28, 3)
    assert tiles.shape == (200, 3, 28, 28)
    assert np.array_equal(tiles[:, :1], read_tiles(MNIST, 28, 1)[:200])
    assert np.array_equal(tiles[:, 0], tiles[:, 2])


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_picture_is_cut_row_by_row(tmp_path: Path, suffix: str) -> None:
    digits = np.frombuffer(raw("train")[16:], np.uint8).reshape(200, 28, 28)
    picture = np.zeros((784 + 5, 784 + 27), np.uint8)  # the edge is no whole tile
    for place in range(784):
        row, column = divmod(place, 28)
        picture[row * 28 : row * 28 + 28, column * 28 : column * 28 + 28] = digits[place % 200]
    path = tmp_path / f"picture{suffix}"
    if suffix == ".png":
        Image.fromarray(picture).save(path)
    else:
        np.save(path, picture)
    tiles = read_tiles(path, 28, 1)
    assert tiles.shape == (784, 1, 28, 28)
    assert np.array_equal(np.rint(tiles[:, 0] * 255), digits[np.arange(784) % 200])


def test_colours(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    colour = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([colour, colour[..., :1]])).save(tmp_path / "rgba.png")
    Image.fromarray(colour).quantize(256).save(tmp_path / "palette.png")
    Image.fromarray(colour[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(colour[..., 0] > 99).save(tmp_path / "bits.png")
    np.save(tmp_path / "rgb.npy", colour)
    np.save(tmp_path / "float.npy", colour / 255)
    wanted = np.moveaxis(colour, -1, 0)[np.newaxis] / np.float32(255)
    for name in ("rgb.png", "rgba.png", "rgb.npy", "float.npy"):
        assert np.allclose(read_tiles(tmp_path / name, 8, 3), wanted, atol=1e-6), name
    grey = read_tiles(tmp_path / "rgb.png", 8, 1)
    assert grey.shape == (1, 1, 8, 8)
    assert np.allclose(grey * 255, np.asarray(Image.fromarray(colour).convert("L")), atol=1)
    assert read_tiles(tmp_path / "palette.png", 4, 3).shape == (4, 3, 4, 4)
    assert np.allclose(read_tiles(tmp_path / "deep.png", 8, 1), wanted[:, :1], atol=1e-6)
    assert set(np.unique(read_tiles(tmp_path / "bits.png", 8, 1))) == {0, 1}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def npy(shape: str, kind: str = "|u1", values: bytes = b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


IDX = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("name", "content", "piece"),
    [
        (IDX, b"", "ends within its header"),
        (IDX, raw("train")[:1000], "more than it can hold"),
        (IDX, raw("train") + b"\0", "holds more"),
        (IDX, idx(1, 28, 28, bytes(784), magic=0x801), "no IDX file of images"),
        (IDX, idx(1, 32, 32, bytes(1024)), "tiles of 32×32"),
        (IDX, idx(1, 28, 29, bytes(812)), "tiles of 28×29"),
        (IDX, idx(0, 28, 28, b""), "holds no tiles"),
        (IDX, idx(2**32 - 1, 28, 28, bytes(784)), "more than it can hold"),
        (f"{IDX}.gz", raw("train"), "damaged"),
        (f"{IDX}.gz", gzip.compress(raw("train"))[:900], "more than it can hold|damaged"),
        (f"{IDX}.gz", gzip.compress(raw("train"))[:-20], "damaged"),
        (f"{IDX}.gz", gzip.compress(raw("train")[:-784]), "holds less"),
        (f"{IDX}.gz", gzip.compress(idx(2**31, 28, 28, bytes(10**6))), "more than it can hold"),
        ("notes.txt", b"tiles", "no tiles in"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, name: str, content: bytes, piece: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TilesError, match=piece) as caught:
        read_tiles(tmp_path, 28, 1)
    assert caught.value.hint


def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("L", size).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "piece"),
    [
        ("a.png", b"", "no readable PNG"),
        ("a.png", png((64, 64))[:-40], "no readable PNG"),
        ("a.png", png((27, 64)), "smaller than one tile"),
        ("a.png", bomb_png(), "too large a picture"),
        ("a.npy", b"", "no readable .npy"),
        ("a.npy", npy("(99999999, 99999999)"), "no readable .npy"),
        ("a.npy", npy("(2**9,)"), "no readable .npy"),
        ("a.npy", npy("(28, 28)", "|O", bytes(6272)), "no readable .npy"),
        ("a.npy", npy("(784,)", values=bytes(784)), "no picture"),
        ("a.npy", npy("(28, 28, 2)", values=bytes(1568)), "2 channels"),
        ("a.npy", npy("(28, 28, 0)"), "no readable .npy|no picture"),
        ("a.npy", npy("(28, 28)", "|i1", bytes(784)), "no picture: int8"),
        ("a.npy", npy("(28, 28)", "<f4", np.full(784, 1.5, np.float32).tobytes()), "floats out of 0 to 1"),
        ("a.npy", npy("(28, 28)", "<f4", np.full(784, np.nan, np.float32).tobytes()), "floats out of 0 to 1"),
        ("a.jpg", b"\xff\xd8", "neither a folder nor a picture"),
    ],
)
def test_pictures_that_are_refused(tmp_path: Path, name: str, content: bytes, piece: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TilesError, match=piece) as caught:
        read_tiles(tmp_path / name, 28, 1)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["nowhere", "nowhere.png", "nowhere.npy", "nowhere/deep.png"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(TilesError, match="no such file"):
        read_tiles(tmp_path / name, 28, 1)


def test_a_picture_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(TilesError) as caught:
        read_tiles(tmp_path / "a.png", 28, 1)
    assert caught.value.hint == "pip install 'edgeprof[tiles]'"


good_png = png((40, 40))
good_npy = npy("(40, 40)", values=bytes(1600))
good_gzip = gzip.compress(idx(2, 28, 28, bytes(1568)), mtime=0)


@pytest.mark.parametrize(
    ("name", "good"),
    [("a.png", good_png), ("a.npy", good_npy), ("a/train-images-idx3-ubyte.gz", good_gzip)],
    ids=["png", "npy", "idx"],
)
def test_damage_never_ends_in_anything_but_tiles_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, good: bytes
) -> None:
    path = tmp_path_factory.mktemp("damage") / name
    path.parent.mkdir(exist_ok=True)
    ask = path.parent if path.suffix == ".gz" else path

    @steady
    @given(
        st.integers(0, len(good)), st.integers(0, min(len(good), 160) - 1), st.binary(min_size=1, max_size=4)
    )
    def damaged(length: int, place: int, patch: bytes) -> None:
        whole = good[:place] + patch + good[place + len(patch) :]
        for content in (whole, good[:length]):
            path.write_bytes(content)
            try:
                tiles = read_tiles(ask, 28, 1)
            except TilesError:
                continue
            assert tiles.shape[1:] == (1, 28, 28)

    damaged()


def test_batches() -> None:
    tiles = noise(1, (3, 1, 2, 2))
    for batch in (1, 3, 8):
        chosen = batch_of(tiles, batch)
        assert chosen.shape == (batch, 1, 2, 2)
        assert chosen.dtype == np.float32
        assert chosen.flags.c_contiguous
        assert np.array_equal(chosen[-1], tiles[(batch - 1) % 3])
    assert batch_of(tiles[:, :, ::-1], 2).flags.c_contiguous
    for bad in (lambda: batch_of(tiles, 0), lambda: batch_of(tiles[:0], 2)):
        refused: Callable[[], object] = bad
        with pytest.raises(TilesError, match="cannot make a batch"):
            refused()


def test_noise_is_seeded() -> None:
    values = noise(7, (100, 100))
    assert values.dtype == np.float32
    assert np.array_equal(values, noise(7, (100, 100)))
    assert not np.array_equal(values, noise(8, (100, 100)))
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
