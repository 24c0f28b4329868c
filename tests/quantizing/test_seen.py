"""What the model saw, on the page of a run: pictures again, and arrays stretched to be seen."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from qdq_cli.calibrating.calibration_data import Samples, open_data
from qdq_cli.config.data import DataConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.model import files
from qdq_cli.preparing.prepare import prepare
from qdq_cli.quantizing.seen import MOST_PICTURES, seen_section
from qdq_cli.screen.pictures import Picture, Pictures
from tests.networks import Network
from tests.workspace import Workspace

SIDE = 24


def network(channels: int, *, last: bool = False, second: str = "") -> onnx.ModelProto:
    net = Network()
    shape = (SIDE, SIDE, channels) if last else (channels, SIDE, SIDE)
    x = net.input("images", ("N", *shape))
    x = net.op("Transpose", x, perm=[0, 3, 1, 2]) if last else x
    x = net.op("Mul", x, net.input(second, ("N", 1))) if second else x
    return net.proto(net.conv(x, 16, scale=None, name="out"), "out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures, red on the left and blue on the right."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, 0], pixels[:, SIDE // 2 :, 2] = 250, 200
    (tmp_path / "data").mkdir()
    for k in range(12):
        pixels[0, 0] = k
        Image.fromarray(pixels).save(tmp_path / "data" / f"{k}.png")
    return tmp_path


def opened(
    folder: Path, model: onnx.ModelProto, *calib: str, preprocess: str | None = None, **changes: object
) -> Samples:
    onnx.save(model, folder / "model.onnx")
    source = files.load(folder / "model.onnx")
    prepared = prepare(source.model, source.proto, copy=False)
    paths = tuple(folder / each for each in calib or ("data",))
    found = open_data(prepared.model, DataConfig(paths, preprocess, Overrides(**changes)), 0)
    assert found is not None
    return found


def pictures(samples: Samples | None) -> tuple[Picture, ...]:
    section = seen_section(samples)
    assert section is not None
    (block,) = section.blocks
    assert isinstance(block, Pictures)
    return block.pictures


def pixels_of(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.content)))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("preprocess", "changes"),
    [("imagenet", {}), ("signed", {}), ("raw", {"color": "bgr", "mean": "3,2,1"}), ("unit", {"std": "0.5,1,2"})],
)
def test_pictures_are_what_they_were_whatever_was_done_to_them(folder: Path, last: bool, preprocess: str, changes):
    found = pictures(opened(folder, network(3, last=last), preprocess=preprocess, **changes))
    assert len(found) == MOST_PICTURES
    assert pixels_of(found[0])[5, 2].tolist() == [250, 0, 0]
    assert pixels_of(found[0])[5, -3].tolist() == [0, 0, 200]
    assert found[0].caption == "0.png"


def test_gray_pictures_and_padding(folder: Path):
    Image.new("L", (SIDE, SIDE // 2), 90).save(folder / "data" / "a.png")
    (one,) = pictures(opened(folder, network(1), "data/a.png", preprocess="unit", resize="pad", fill="7"))
    assert pixels_of(one).shape == (SIDE, SIDE)
    assert pixels_of(one)[[0, SIDE // 2], 3].tolist() == [7, 90]


@pytest.mark.parametrize(
    ("low", "high", "shown", "said"),
    [(0, 1, 255, "0 to 1"), (0, 200, 200, "0 to 200"), (-4, 4, 255, "-4 to 4, stretched"), (3, 3, 3, "3 to 3")],
)
def test_arrays_are_stretched_to_what_can_be_shown(folder: Path, low: float, high: float, shown: int, said: str):
    values = np.full((4, 3, SIDE, SIDE), low, np.float32)
    values[:, :, 4, 4] = high
    np.save(folder / "calib.npy", values)
    one, *_ = pictures(opened(folder, network(3), "calib.npy"))
    assert pixels_of(one)[4, 4].tolist() == [shown] * 3
    assert (one.caption, one.details) == ("calib.npy[0]", said)


def test_of_many_channels_three_are_shown(folder: Path):
    np.save(folder / "calib.npy", np.random.default_rng(0).random((3, 7, SIDE, SIDE), np.float32))
    one, *_ = pictures(opened(folder, network(7), "calib.npy"))
    assert pixels_of(one).shape == (SIDE, SIDE, 3)
    assert one.details.endswith("channels 1 to 3 of 7")


def test_large_pictures_are_made_small(folder: Path):
    net = Network()
    model = net.proto(net.conv(net.input("images", ("N", 3, 640, 320)), 16, scale=None, name="out"), "out")
    found = pictures(opened(folder, model, preprocess="unit"))
    assert {picture.size for picture in found} == {(96, 192)}
    assert sum(len(picture.content) for picture in found) < 100_000


def test_what_is_no_picture_is_not_shown(folder: Path):
    net = Network()
    model = net.proto(net.op("Relu", net.input("x", ("N", 300)), name="out"), "out")
    np.save(folder / "calib.npy", np.random.default_rng(0).random((8, 300), np.float32))
    assert seen_section(opened(folder, model, "calib.npy")) is None
    assert seen_section(None) is None


def test_the_page_holds_them_and_escapes_names(folder: Path):
    space = Workspace(folder)
    (folder / "data" / "0.png").rename(folder / "data" / "0 <b onload='x'>&.png")
    onnx.save(network(3), space.model)
    page = folder / "page.html"
    given = ("--calib", folder / "data", "--preprocess", "unit", "--report", page, "-q")
    assert space.quantize(*given).code == 0
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<img class="small" src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == MOST_PICTURES
    assert Image.open(io.BytesIO(base64.b64decode(found[0]))).size == (SIDE, SIDE)
    assert "img-src data:" in text
    assert "<b onload" not in text and "&lt;b onload" in text
    assert space.quantize(*given).code == 0
    assert page.read_text(encoding="utf-8") == text
