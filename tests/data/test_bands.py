"""Pictures of other than one or three channels: with alpha, of CMYK, of many bands."""

from __future__ import annotations

import builtins
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from qdq_cli.config.preprocess import IMAGENET, RAW, UNIT, Overrides, Preprocessing
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import QdqError
from tests.networks import Network
from tests.workspace import qdq

tifffile = pytest.importorskip("tifffile")

SIDE = 8


def spec(channels: int, *, last: bool = False, dtype: str = "float32") -> tuple[InputSpec, ...]:
    shape = ("N", SIDE, SIDE, channels) if last else ("N", channels, SIDE, SIDE)
    return (InputSpec("images", np.dtype(dtype), shape),)


def pixels(channels: int, seed: int = 0, kind: type = np.uint8) -> np.ndarray:
    top = np.iinfo(kind).max
    return np.random.default_rng(seed).integers(0, top, (SIDE, SIDE, channels), kind, endpoint=True)


def opened(path: Path, channels: int, preprocessing: Preprocessing = RAW, **named: bool) -> SampleSet:
    return open_samples([path], spec(channels, **named), preprocessing)


def fed(path: Path, channels: int, preprocessing: Preprocessing = RAW) -> np.ndarray:
    """What a picture becomes, [H, W, C]."""
    return np.moveaxis(opened(path, channels, preprocessing).load(0).arrays["images"][0], 0, -1)


@pytest.mark.parametrize("ending", ["png", "webp", "tiff"])
def test_alpha_is_a_channel(tmp_path: Path, ending: str):
    values = pixels(4)
    values[..., 3] = np.maximum(values[..., 3], 1)  # webp drops the color of what cannot be seen
    Image.fromarray(values, "RGBA").save(tmp_path / f"a.{ending}", lossless=True)
    assert np.array_equal(fed(tmp_path / f"a.{ending}", 4), values)
    assert fed(tmp_path / f"a.{ending}", 4, UNIT).max() <= 1


def test_colors_turn_and_alpha_stays(tmp_path: Path):
    values = pixels(4)
    Image.fromarray(values).save(tmp_path / "a.png")
    constants = Preprocessing(mean=(1, 2, 3, 4), std=(1, 2, 4, 8))
    turned = constants.override(Overrides(color="bgr"))
    assert turned.mean == (3, 2, 1, 4)
    assert np.array_equal(fed(tmp_path / "a.png", 4, constants), (values - np.float32((1, 2, 3, 4))) / (1, 2, 4, 8))
    expected = (values[..., [2, 1, 0, 3]] - np.float32((3, 2, 1, 4))) / (4, 2, 1, 8)
    assert np.array_equal(fed(tmp_path / "a.png", 4, turned), expected)


@pytest.mark.parametrize("last", [False, True])
def test_other_modes_and_layouts(tmp_path: Path, last: bool):
    Image.fromarray(pixels(2), "LA").save(tmp_path / "la.png")
    Image.fromarray(pixels(4), "CMYK").save(tmp_path / "cmyk.tif")
    palette = Image.fromarray(pixels(4)[..., :3]).quantize(16)
    palette.save(tmp_path / "p.png", transparency=3)
    for name, channels in (("la.png", 2), ("cmyk.tif", 4), ("p.png", 4)):
        array = opened(tmp_path / name, channels, last=last).load(0).arrays["images"]
        assert array.shape == ((1, SIDE, SIDE, channels) if last else (1, channels, SIDE, SIDE))
    assert set(np.unique(fed(tmp_path / "p.png", 4)[..., 3])) <= {0, 255}


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [5, 13])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_bands_of_tiff(tmp_path: Path, planar: str, channels: int, kind: type):
    values = pixels(channels, kind=kind)
    written = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", written, planarconfig=planar, photometric="minisblack")
    expected = values.astype(np.float32) * (1 if kind is np.uint8 else np.float32(255 / 65535))
    assert fed(tmp_path / "a.tif", channels) == pytest.approx(expected, rel=1e-6)


def test_pages_are_bands_too(tmp_path: Path):
    values = pixels(6)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(values, -1, 0), photometric="minisblack", compression="zlib")
    assert np.array_equal(fed(tmp_path / "a.tif", 6), values)


def test_each_band_gets_the_size_and_its_own_fill(tmp_path: Path):
    values = np.broadcast_to(np.uint8([10, 20, 30, 40, 50]), (SIDE, 2 * SIDE, 5))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    padded = Preprocessing(resize="pad", fill=(1, 2, 3, 4, 5))
    array = fed(tmp_path / "a.tif", 5, padded)
    assert array[0, 0].tolist() == [1, 2, 3, 4, 5]
    assert array[SIDE // 2, 0].tolist() == [10, 20, 30, 40, 50]
    assert fed(tmp_path / "a.tif", 5, Preprocessing(resize="crop"))[3, 3].tolist() == [10, 20, 30, 40, 50]


def test_arrays_of_pixels(tmp_path: Path):
    values = np.stack([pixels(4, seed) for seed in range(3)])
    np.save(tmp_path / "a.npy", values)
    samples = opened(tmp_path / "a.npy", 4, UNIT)
    assert len(samples) == 3
    assert np.moveaxis(samples.load(2).arrays["images"][0], 0, -1) == pytest.approx(values[2] / 255)


def picture_bytes(mode: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "channels", "reason"),
    [
        ("a.png", picture_bytes("RGB"), 4, "it has 3 channels, and the input takes 4"),
        ("a.png", picture_bytes("L"), 4, "it has 1 channel, and"),
        ("a.png", picture_bytes("RGBA"), 5, "it has 4 channels, and the input takes 5"),
        ("a.png", b"nothing", 4, "no known picture format"),
        ("a.tif", b"II*\0" + b"\xff" * 90, 5, "cannot be decoded"),
        ("a.tif", b"II*\0", 5, "cannot be decoded"),
    ],
)
def test_other_pictures_are_unreadable_samples(tmp_path: Path, name: str, content: bytes, channels: int, reason: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableSampleError, match=reason):
        opened(tmp_path / name, channels).load(0)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_a_range_are_unreadable(tmp_path: Path, kind: type):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((SIDE, SIDE, 5), kind), photometric="minisblack")
    with pytest.raises(UnreadableSampleError, match="no known range"):
        opened(tmp_path / "a.tif", 5).load(0)


def test_without_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tifffile.imwrite(tmp_path / "a.tif", pixels(6), photometric="minisblack")
    Image.fromarray(pixels(4)).save(tmp_path / "b.tif")
    load = builtins.__import__

    def refuse(name: str, *arguments: object, **named: object) -> object:
        if name == "tifffile":
            raise ImportError(name)
        return load(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert np.array_equal(fed(tmp_path / "b.tif", 4), pixels(4))
    with pytest.raises(UnreadableSampleError):
        opened(tmp_path / "a.tif", 6).load(0)


@pytest.mark.parametrize(
    ("preprocessing", "channels", "message"),
    [
        (IMAGENET, 4, "has 3 values for mean, but input 'images' .* has 4 channels"),
        (Preprocessing(color="bgr"), 5, "color is bgr, but input 'images' .* has 5 channels"),
        (Preprocessing(color="gray"), 4, "color is gray, but"),
        (Preprocessing(mean=(1, 2)), 3, "has 2 values for mean, but input 'images' .* has 3 channels"),
        (RAW, 65, "Images have up to 64 channels, but input 'images'"),
    ],
)
def test_a_preprocessing_for_other_channels(tmp_path: Path, preprocessing: Preprocessing, channels: int, message: str):
    (tmp_path / "a.png").write_bytes(picture_bytes("RGBA"))
    with pytest.raises(QdqError, match=message):
        opened(tmp_path / "a.png", channels, preprocessing)


def test_the_command_takes_them(tmp_path: Path):
    net = Network()
    x = net.input("images", ("N", 4, SIDE, SIDE))
    onnx.save(net.proto(net.conv(x, 16, scale=None, name="out"), "out"), tmp_path / "model.onnx")
    (tmp_path / "data").mkdir()
    for seed in range(10):
        Image.fromarray(pixels(4, seed)).save(tmp_path / "data" / f"{seed}.png")
    given = ["--calib", tmp_path / "data", "--mean", "0.1,0.2,0.3,0.4", "--report", tmp_path / "a.html"]
    done = qdq("quantize", tmp_path / "model.onnx", *given)
    assert done.code == 0, done.err
    assert "unit+mean: rgb, stretch bilinear, x * 1/255 - [0.1 0.2 0.3 0.4]" in " ".join(done.out.split())
    assert "channels 1 to 3 of 4" in (tmp_path / "a.html").read_text(encoding="utf-8")
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "only.png")
    wrong = qdq("quantize", tmp_path / "model.onnx", "--calib", tmp_path / "only.png", "--preprocess", "unit")
    assert wrong.code == 4
    assert "it has 3 channels, and the input takes 4" in wrong.err
