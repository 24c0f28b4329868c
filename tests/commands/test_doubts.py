"""Calibration data that looks unfit: a warning that -q does not hide, and with --strict an error, in every command."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.commands.test_bad_input import checked
from tests.networks import Network
from tests.workspace import Workspace, qdq, write_arrays

COMMANDS = ("quantize", "calibrate", "tune", "sensitivity")
"""Those that calibrate; compare runs samples too, and no result depends on them."""


def options(command: str) -> list[str]:
    return ["--min-sqnr", "-100"] if command == "tune" else []


@pytest.mark.parametrize("command", COMMANDS)
def test_few_samples(command: str, space: Workspace):
    given = [command, space.model, "--calib", space.arrays, "--samples", "4", *options(command)]
    done = qdq(*given, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "warning: Only 4 samples calibrate the model: the ranges of so few may not fit other data. "
        "Give 8 or more; some hundred are usual.\n"
    )
    assert any("Only 4 samples calibrate" in note for note in qdq(*given, "--json").document["notes"])
    for path in space.folder.glob("model.*[!x]"):
        path.unlink()
    text = checked(qdq(*given, "--strict"), 4, space, space.listing())
    assert "Only 4 samples calibrate" in text
    assert "--strict refuses such data" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_preprocessing_that_nobody_chose(command: str, space: Workspace):
    given = [command, space.model, "--calib", space.images, *options(command)]
    done = qdq(*given, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("warning: No preprocessing was chosen; assumed imagenet")
    text = checked(qdq(*given, "--strict"), 4, space, space.listing())
    assert "No preprocessing was chosen" in text
    assert qdq(*given, "--preprocess", "imagenet", "--strict", "-q").err == ""


def test_samples_that_add_to_a_cache_count_once_and_with_those_in_it(space: Workspace):
    given = ["calibrate", space.model, "--calib", space.arrays, "-o", space.folder / "a.qcal", "-q"]
    assert "Only 3 samples" in qdq(*given, "--samples", "3").err
    assert "Only 6 samples" in qdq(*given, "--samples", "5", "--append").err
    assert qdq(*given, "--append").err == ""


def test_samples_that_only_verify_are_not_counted(space: Workspace):
    cache = space.folder / "a.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache).code == 0
    assert space.quantize("--cache", cache, "--samples", "4", "--strict").err == ""


def test_shares_count_together(space: Workspace):
    given = ["calibrate", space.model, "--calib", space.arrays, "--shard", "1/3", "--strict"]
    assert qdq(*given).err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_constant_input_is_an_error_with_and_without_strict(command: str, space: Workspace):
    np.savez(space.arrays, images=np.zeros((10, 3, 16, 16), np.float32))
    for strict in ([], ["--strict"]):
        before = space.listing()
        text = checked(qdq(command, space.model, "--calib", space.arrays, *options(command), *strict), 4, space, before)
        assert "Input 'images' holds nothing but 0 in all" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_dark_pictures(command: str, space: Workspace):
    for path in space.images.iterdir():
        with Image.open(path) as image:
            image.point(lambda level: level // 10).save(path)
    given = [command, space.model, "--calib", space.images, "--preprocess", "unit", *options(command)]
    done = qdq(*given, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("warning: Nearly all pixels of the pictures lie between 0 and 25 of 0 to 255")
    for path in space.folder.glob("model.*[!x]"):
        path.unlink()
    assert "Nearly all pixels" in checked(qdq(*given, "--strict"), 4, space, space.listing())


def test_label_maps_are_left_out_by_a_glob(space: Workspace):
    for path in list(space.images.iterdir()):
        classes = np.random.default_rng(3).integers(0, 9, (4, 4)).astype(np.uint8)
        (space.images / "labels").mkdir(exist_ok=True)
        Image.fromarray(np.kron(classes, np.ones((5, 5), np.uint8))).save(space.images / "labels" / path.name)
    given = ["--calib", space.images, "--preprocess", "unit", "--verify", "0"]
    mixed = space.quantize(*given)
    assert "20 files in 2 folders: . (10), labels (10)" in mixed.err
    assert "warning: 10 of the 20 pictures look like label maps" in mixed.err
    chosen = space.quantize(*given, "--exclude-data", "labels", "--strict", "--json")
    assert (chosen.code, chosen.err) == (0, "")
    assert chosen.document["calibration"]["samples"] == 10


def test_a_model_that_scales_pixels_itself(space: Workspace):
    net = Network()
    scaled = net.op("Div", net.input("images", ("N", 3, 16, 16)), net.constant(np.float32(255)), name="scaled")
    net.op("Conv", scaled, net.constant(net.weight(16, 3, 3, 3), "w"), name="out")
    onnx.save(net.proto("out"), space.model)
    np.savez(space.arrays, images=np.random.default_rng(0).random((10, 3, 16, 16)).astype(np.float32))
    done = space.quantize("-q")
    assert "alone, but the model's first operators scale pixels of 0 to 255" in done.err
    np.savez(space.arrays, images=255 * np.random.default_rng(0).random((10, 3, 16, 16)).astype(np.float32))
    assert space.quantize("--strict").err == ""


def test_a_small_share_is_not_judged_alone(space: Workspace):
    images = np.random.default_rng(0).normal(size=(10, 3, 16, 16)).astype(np.float32)
    images[0] = 0
    np.savez(space.arrays, images=images)
    assert qdq("calibrate", space.model, "--calib", space.arrays, "--shard", "1/10", "--strict").code == 0


def few_of(command: str, space: Workspace, *more: object) -> str | None:
    """How few samples a report says there are, of a strict run that succeeds."""
    done = qdq(command, space.model, "--calib", space.arrays, "--strict", "--json", *more, *options(command))
    assert done.code == 0
    found = done.document
    for name in {"quantize": ("calibration",), "tune": ("quantize", "calibration")}.get(command, ()):
        found = found[name]
    return None if found["few"] is None else str(found["few"]["level"])


@pytest.mark.parametrize(("count", "level"), [(15, "very_few"), (16, "few"), (63, "few"), (64, None)])
def test_few_samples_are_noted_and_change_nothing(count: int, level: str | None, space: Workspace):
    write_arrays(space.arrays, count)
    assert few_of("quantize", space, "--verify", "0") == level
    assert few_of("calibrate", space) == level


@pytest.mark.parametrize(("count", "level"), [(12, "very_few"), (90, None)])
@pytest.mark.parametrize("command", ["tune", "sensitivity"])
def test_few_samples_are_noted_where_variants_are_measured(
    command: str, count: int, level: str | None, space: Workspace
):
    write_arrays(space.arrays, count)
    assert few_of(command, space) == level


def test_few_samples_are_noted_in_texts_and_pages(space: Workspace):
    write_arrays(space.arrays, 15)
    page = space.folder / "page.html"
    for command in COMMANDS:
        given = [command, space.model, "--calib", space.arrays, *options(command)]
        shown = " ".join(qdq(*given).out.split())
        assert "Fewer than 16 samples: expect ranges that do not fit other data. Give 64 or more" in shown, command
    for command in ("quantize", "tune"):
        assert qdq(command, space.model, "--calib", space.arrays, *options(command), "--report", page).code == 0
        assert "Fewer than 16 samples" in page.read_text(encoding="utf-8")


def test_few_samples_of_a_cache_are_noted_too(space: Workspace):
    cache = space.folder / "a.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache).code == 0
    assert (
        qdq("quantize", space.model, "--cache", cache, "--json").document["calibration"]["few"]["level"] == "very_few"
    )
