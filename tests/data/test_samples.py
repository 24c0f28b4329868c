from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdq_cli.config.preprocess import IMAGENET, RAW, UNIT, Overrides
from qdq_cli.data.sample import content_digest
from qdq_cli.data.samples import open_samples
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError, UsageError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def image_spec(spec):
    return spec("x", ("N", 3, 6, 10))


def test_a_folder_of_images(write_image, image_spec, pixels, tmp_path):
    write_image("b/1.png")
    write_image("b/2.png", 255 - pixels)
    samples = open_samples([tmp_path], [image_spec], UNIT)
    assert len(samples) == 2
    assert samples.describe() == "2 samples from images"
    assert samples.shapes(1) == ((1, 3, 6, 10),)
    sample = samples.load(1)
    assert sample.source == str(tmp_path / "b" / "2.png")
    assert np.array_equal(sample.arrays["x"][0], (255 - pixels).transpose(2, 0, 1) * np.float32(1 / 255))
    assert samples.preprocessing == replace(UNIT, color="rgb", layout="nchw")


def test_opening_images_decodes_none(tmp_path, image_spec):
    (tmp_path / "a.png").write_bytes(b"broken")
    samples = open_samples([tmp_path], [image_spec], UNIT)
    with pytest.raises(UnreadableSampleError):
        samples.load(0)


@pytest.mark.parametrize(("channels", "name"), [(3, "imagenet"), (1, "unit")])
def test_an_assumed_preprocessing_is_a_doubt(channels, name, write_image, spec):
    samples = open_samples([write_image("a.png")], [spec("x", (1, channels, 6, 10))])
    assert samples.preprocessing is not None
    assert (samples.preprocessing.name, samples.preprocessing.assumed) == (name, True)
    (doubt,) = samples.doubts
    assert doubt.text.startswith(f"No preprocessing was chosen; assumed {name}: ")
    assert "--preprocess" in doubt.hint


def test_a_chosen_preprocessing_needs_no_note(write_image, image_spec):
    samples = open_samples([write_image("a.png")], [image_spec], IMAGENET)
    assert (samples.notes, samples.doubts) == ((), ())
    assert not samples.preprocessing.assumed


def test_constants_in_other_units_are_a_doubt(write_image, image_spec):
    odd = RAW.override(Overrides(mean=(0.485,), std=(0.229,)))
    (doubt,) = open_samples([write_image("a.png")], [image_spec], odd).doubts
    assert "--preprocess unit" in doubt.hint


def test_several_paths_follow_one_another(write_image, image_spec, tmp_path):
    image = write_image("images/a.png")
    np.save(tmp_path / "more.npy", np.zeros((3, 3, 6, 10), np.float32))
    samples = open_samples([tmp_path / "more.npy", image], [image_spec], UNIT)
    assert [Path(samples.load(k).source).name for k in range(4)] == [
        "more.npy[0]",
        "more.npy[1]",
        "more.npy[2]",
        "a.png",
    ]
    assert samples.describe() == "4 samples from arrays and images"
    for index in (-1, 4):
        with pytest.raises(IndexError):
            samples.load(index)


def test_a_folder_of_arrays_of_varying_shape(spec, tmp_path):
    for k, width in enumerate((4, 5, 6)):
        np.save(tmp_path / f"{k}.npy", np.zeros((3, 2, width), np.float32))
    np.savez(tmp_path / "3.npz", any=np.zeros((2, 3, 2, 7), np.float32))
    samples = open_samples([tmp_path], [spec("x", ("N", 3, "H", "W"))])
    assert [samples.shapes(k)[0][-1] for k in range(len(samples))] == [4, 5, 6, 7, 7]
    assert all(samples.load(k).arrays["x"].shape == samples.shapes(k)[0] for k in range(len(samples)))
    assert samples.notes == ("3.npz: 'any' is taken for input 'x'.",)


def test_one_npz_named_like_the_inputs(spec, tmp_path):
    np.savez_compressed(tmp_path / "c.npz", ids=np.arange(8).reshape(4, 2), mask=np.ones((4, 2)), y=np.zeros(4))
    specs = [spec("ids", ("N", 2), np.int64), spec("mask", ("N", 2))]
    samples = open_samples([tmp_path / "c.npz"], specs)
    sample = samples.load(3)
    assert sample.arrays["ids"].tolist() == [[6, 7]]
    assert sample.arrays["mask"].dtype == np.float32
    assert samples.preprocessing is None
    assert "'y' is no input" in samples.notes[0]


def test_notes_of_many_files_are_counted(spec, tmp_path):
    for k in range(4):
        np.savez(tmp_path / f"{k}.npz", x=np.zeros((1, 3)), y=np.zeros(1))
    samples = open_samples([tmp_path], [spec("x", (None, 3))])
    assert samples.notes == ("0.npz: 'y' is no input of the model and is not used.", f"{tmp_path}: 3 more files alike.")


def test_one_npy_does_not_serve_several_inputs(spec, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match="holds one array, but the model has 2 inputs: 'a', 'b'"):
        open_samples([tmp_path / "a.npy"], [spec("a", (3,)), spec("b", (3,))])


def test_a_model_without_inputs_is_refused(tmp_path):
    with pytest.raises(DataError, match="no inputs"):
        open_samples([tmp_path], [])


def test_a_preprocessing_for_arrays_is_noted_as_without_effect(spec, tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 3, 6, 10), 7.0))
    samples = open_samples([tmp_path / "a.npy"], [spec("x", (None, 3, 6, 10))], UNIT)
    assert "preprocessing unit has no effect" in samples.notes[0]
    assert samples.preprocessing is None
    assert set(samples.load(0).arrays["x"].ravel()) == {7}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_8_bit_arrays_are_pixels_once_a_preprocessing_is_chosen(layout, write_image, image_spec, pixels, tmp_path):
    stack = np.stack([pixels, 255 - pixels])
    np.save(tmp_path / "a.npy", stack if layout == "NHWC" else stack.transpose(0, 3, 1, 2))
    samples = open_samples([tmp_path / "a.npy"], [image_spec], IMAGENET)
    expected = open_samples([write_image("b.png", 255 - pixels)], [image_spec], IMAGENET)
    assert samples.load(1).arrays["x"].tobytes() == expected.load(0).arrays["x"].tobytes()
    assert (len(samples), samples.notes, samples.load(1).source) == (2, (), f"{tmp_path / 'a.npy'}[1]")
    with pytest.raises(DataError, match="uint8, but input 'x' takes float32") as caught:
        open_samples([tmp_path / "a.npy"], [image_spec])
    assert "--preprocess" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "count"), [((6, 10, 3), 1), ((3, 6, 10), 1), ((4, 6, 10), 4), ((2, 6, 10, 1), 2), ((2, 1, 6, 10), 2)]
)
def test_shapes_of_pixel_arrays(shape, count, image_spec, tmp_path):
    np.save(tmp_path / "a.npy", np.full(shape, 9, np.uint8))
    samples = open_samples([tmp_path / "a.npy"], [image_spec], RAW)
    assert len(samples) == count
    assert samples.load(count - 1).arrays["x"].shape == samples.shapes(0)[0] == (1, 3, 6, 10)
    assert set(samples.load(0).arrays["x"].ravel()) == {9}


@pytest.mark.parametrize("shape", [(6, 10), (2, 6, 10, 4), (0, 6, 10, 3), (1, 2, 6, 10, 3)])
def test_what_is_no_stack_of_pictures_is_refused(shape, image_spec, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="no stack of pictures"):
        open_samples([tmp_path / "a.npy"], [image_spec], RAW)


def test_8_bit_arrays_for_an_8_bit_input_are_arrays(spec, tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 6, 10, 3), 9, np.uint8))
    samples = open_samples([tmp_path / "a.npy"], [spec("x", (None, 6, 10, 3), np.uint8)], RAW)
    assert samples.load(0).arrays["x"].dtype == np.uint8
    assert samples.preprocessing is None


def test_images_of_dynamic_size_need_a_shape(write_image, spec):
    with pytest.raises(UsageError, match="dynamic") as caught:
        open_samples([write_image("a.png")], [spec("x", ("N", 3, "H", "W"))])
    assert "--input-shape x:1x3x224x224" in caught.value.hint


def test_the_layout_of_the_preprocessing_decides_for_images(write_image, spec):
    chosen = RAW.override(Overrides(layout="nhwc"))
    samples = open_samples([write_image("a.png")], [spec("x", (None, 3, 6, 3))], chosen)
    assert samples.load(0).arrays["x"].shape == (1, 3, 6, 3)


def test_nan_is_named_with_file_and_input(spec, tmp_path):
    data = np.zeros((3, 4), np.float32)
    data[1, 2] = np.nan
    np.save(tmp_path / "a.npy", data)
    samples = open_samples([tmp_path / "a.npy"], [spec("x", (None, 4))])
    samples.load(0)
    with pytest.raises(DataError, match=r"a\.npy\[1\]: input 'x' holds NaN"):
        samples.load(1)


def test_identity_says_what_is_stored_and_nothing_else(spec, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4), np.float32))
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 4), ">f4"))
    first, second = (open_samples([tmp_path / name], [spec("x", (None, 4))]) for name in ("a.npy", "b.npz"))
    known = hashlib.sha256(b'["x", "float32", [1, 4]]' + bytes(16)).hexdigest()
    assert first.identity(0) == first.identity(1) == second.identity(0) == known
    assert first.size_bytes(0) == 16
    assert [first.name(index) for index in range(2)] == [first.load(index).source for index in range(2)]


def test_digests_tell_names_types_shapes_and_values_apart():
    array = np.zeros((2, 2), np.float32)
    different = [
        {"x": array},
        {"y": array},
        {"x": array.astype(np.int32)},
        {"x": array.reshape(4)},
        {"x": array + 1},
        {"x": array, "y": array},
        {"x": np.array(["a", "b"], object)},
        {"x": np.array(["a", "c"], object)},
        {"x": np.float32(0)},
    ]
    digests = [content_digest({name: np.asarray(value) for name, value in arrays.items()}) for arrays in different]
    assert len(set(digests)) == len(digests)
    assert content_digest({"b": array, "a": array + 1}) == content_digest({"a": array + 1, "b": array})
    assert content_digest({"x": array.astype(">f4")}) == digests[0]


def test_arrays_need_neither_pillow_nor_onnx(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4), np.float32))
    program = f"""
import sys
from pathlib import Path
import numpy as np
from qdq_cli.data.batches import load_readable_batch, plan_batches
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import open_samples
from qdq_cli.data.unreadable import UnreadableSamples
samples = open_samples([Path({str(tmp_path / "a.npz")!r})], [InputSpec("x", np.dtype("float32"), (None, 4))])
groups = plan_batches(samples, range(2), 2).groups
assert sum(load_readable_batch(samples, group, UnreadableSamples(2)).samples for group in groups) == 2
assert not {{"PIL", "onnx", "onnxruntime", "onnx_ir", "click"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
