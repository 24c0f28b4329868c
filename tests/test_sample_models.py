"""The sample models are valid, small, good at their task, and have the data that the catalog promises."""

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from sample_models.catalog import CATALOG, FOLDER, PSNR, SampleModel, find
from sample_models.evaluate import evaluate, psnr_db, right_percent, to_unit

EVERY_MODEL = pytest.mark.parametrize("record", CATALOG, ids=lambda record: record.name)

# Another processor or version of ONNX Runtime may turn a class or two of 600, and the last digits of a PSNR.
TOLERANCE = {"top1_percent": 0.4, "psnr_db": 0.02}


def load(record: SampleModel) -> onnx.ModelProto:
    return onnx.load(record.model_path)


@EVERY_MODEL
def test_model_is_valid_opset_17_with_a_free_batch_size(record):
    model = load(record)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    batch_axes = [value.type.tensor_type.shape.dim[0] for value in (*model.graph.input, *model.graph.output)]
    assert len(batch_axes) == 2
    assert all(axis.dim_param for axis in batch_axes)


@EVERY_MODEL
def test_model_has_the_operators_it_is_here_for(record):
    found = {node.op_type for node in load(record).graph.node}
    assert set(record.operators) <= found


@EVERY_MODEL
def test_model_reaches_the_metric_of_the_catalog(record):
    measured = evaluate(record.model_path, record.name)
    assert list(measured) == [record.metric]
    assert measured[record.metric] == pytest.approx(record.fp32, abs=TOLERANCE[record.metric])


@EVERY_MODEL
def test_floor_of_the_metric(record):
    """Digits: better than 96 %. Photographs: at least 1.5 dB better than no network at all."""
    if record.metric != PSNR:
        assert record.fp32 > 96
        return
    with np.load(record.test_path) as test_set:
        inputs, targets = test_set["inputs"], test_set["targets"]
    factor = targets.shape[1] // inputs.shape[1]
    untouched = to_unit(inputs.repeat(factor, axis=1).repeat(factor, axis=2))
    assert record.fp32 > psnr_db(untouched, targets).mean() + 1.5


@EVERY_MODEL
def test_calibration_images_fit_the_input(record):
    files = sorted(record.calibration_path.iterdir())
    assert {file.suffix for file in files} == {".png"}
    session = onnxruntime.InferenceSession(record.model_path, providers=["CPUExecutionProvider"])
    _, channels, height, width = session.get_inputs()[0].shape
    for file in files:
        with Image.open(file) as image:
            assert image.mode == {1: "L", 3: "RGB"}[channels]
            assert image.size == (width, height)


@EVERY_MODEL
def test_no_calibration_image_is_in_the_test_set(record):
    with np.load(record.test_path) as test_set:
        seen = {picture.tobytes() for picture in test_set["inputs"]}
    calibration = {np.asarray(Image.open(file)).tobytes() for file in record.calibration_path.iterdir()}
    assert len(calibration) > 30
    assert not seen & calibration


@EVERY_MODEL
def test_model_answers_one_picture_as_it_does_within_a_batch(record):
    session = onnxruntime.InferenceSession(record.model_path, providers=["CPUExecutionProvider"])
    with np.load(record.test_path) as test_set:
        pictures = to_unit(test_set["inputs"][:3])
    (together,) = session.run(None, {"image": pictures})
    (alone,) = session.run(None, {"image": pictures[1:2]})
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-3, atol=1e-4)


@EVERY_MODEL
def test_readme_states_size_and_metric(record):
    rows = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    (row,) = [row for row in rows if row.startswith(f"| `{record.name}` |")]
    assert f"| {record.model_path.stat().st_size:,} |" in row
    assert f"| {record.fp32:.2f} {'dB' if record.metric == PSNR else '%'} |" in row


def test_folder_stays_small():
    sizes_bytes = [file.stat().st_size for file in FOLDER.glob("*.onnx")]
    assert len(sizes_bytes) == len(CATALOG)
    assert sum(sizes_bytes) < 5_000_000
    assert 100 <= sum(1 for _ in (FOLDER / "images").rglob("*.png")) <= 200


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="digits_resnet"):
        find("digits_vgg")


def test_to_unit_puts_channels_first():
    grey, colour = np.full((2, 4, 5), 255, np.uint8), np.zeros((2, 4, 5, 3), np.uint8)
    colour[..., 2] = 51
    assert to_unit(grey).shape == (2, 1, 4, 5)
    assert to_unit(grey).dtype == np.float32
    assert to_unit(colour).shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(to_unit(colour)[0, :, 0, 0], np.float32([0, 0, 0.2]))


def test_metrics_on_numbers_known_by_hand():
    assert right_percent(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])).tolist() == [100, 0]
    targets = np.zeros((1, 2, 2, 3), np.uint8)
    assert psnr_db(np.full((1, 3, 2, 2), 0.1), targets) == pytest.approx(20)
