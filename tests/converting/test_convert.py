"""`qdq convert`: float models and Q/DQ models in FP16 or BF16, observed on samples, by a cache, or by their rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli import ConvertConfig, DataConfig, convert_model
from qdq_cli.process.documents import json_text
from tests.halves import FLOAT, HALF, outputs_of, overflowing, types_of
from tests.networks import Network
from tests.workspace import Outcome, Workspace, make_workspace, qdq


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


@pytest.fixture
def loud(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, overflowing())


def convert(space: Workspace, *options: object) -> Outcome:
    return qdq("convert", space.model, *options)


def test_a_float_model_becomes_fp16(space: Workspace):
    done = convert(space, "--calib", space.arrays, "--json")
    assert done.code == 0, done.err
    report = done.document
    output = space.folder / "model.fp16.onnx"
    assert report["output"] == str(output)
    assert report["float_rest"]["reasons"] == {"INNER_OVERFLOW": 1}
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 50
    assert report["size_bytes"]["after"] < 0.7 * report["size_bytes"]["before"]
    assert types_of(output)["second"] == HALF
    onnx.checker.check_model(str(output), full_check=True)
    here = convert_model(ConvertConfig(space.model, data=DataConfig(calib=(space.arrays,))))
    assert {**report, "seconds": 0} == {**json.loads(json_text(here)), "seconds": 0}


def test_what_would_overflow_stays_fp32(loud: Workspace):
    done = convert(loud, "--calib", loud.arrays, "-v")
    assert done.code == 0, done.err
    assert " x OVERFLOW: " in done.out
    assert "observed      " in done.out
    output = loud.folder / "model.fp16.onnx"
    assert types_of(output)["squares"] == FLOAT
    expected, found = (outputs_of(path, loud.arrays) for path in (loud.model, output))
    worst = max(np.abs(one - two).max() for one, two in zip(expected, found, strict=True))
    assert worst < 5e-3 * max(np.abs(one).max() for one in expected)


def test_without_data_one_line_says_that_activations_were_not_checked(loud: Workspace):
    done = convert(loud)
    assert done.code == 0, done.err
    assert done.out.count("not checked") == 1
    assert "verification" not in done.out
    assert not all(np.isfinite(array).all() for array in outputs_of(loud.folder / "model.fp16.onnx", loud.arrays))


def test_a_calibration_cache_serves(loud: Workspace):
    assert qdq("calibrate", loud.model, "--calib", loud.arrays).code == 0
    loud.arrays.unlink()
    done = convert(loud, "--cache", loud.folder / "model.qcal", "--json")
    assert done.code == 0, done.err
    assert "squares" in {kept["node"] for kept in done.document["float_rest"]["kept"]}
    assert (done.document["samples"], done.document["float_rest"]["unobserved"]) == (10, [])


def test_a_model_with_pairs_is_converted_too(space: Workspace):
    assert space.quantize().code == 0
    done = qdq("convert", space.output, "--calib", space.arrays, "--json", "--min-sqnr", "40")
    assert done.code == 0, done.err
    assert done.document["output"] == str(space.folder / "model.qdq.fp16.onnx")
    assert types_of(space.folder / "model.qdq.fp16.onnx")["second"] == HALF
    direct = space.quantize("--float-type", "fp16", "-o", space.folder / "direct.onnx")
    assert direct.code == 0, direct.err
    made = (outputs_of(space.folder / name, space.arrays) for name in ("direct.onnx", "model.qdq.fp16.onnx"))
    assert all(np.array_equal(one, two) for one, two in zip(*made, strict=True))


def test_bf16_and_its_twin(space: Workspace):
    done = convert(space, "--float-type", "bf16", "--calib", space.arrays, "--json")
    assert done.code == 0, done.err
    assert done.document["output"] == str(space.folder / "model.bf16.onnx")
    assert done.document["verification"]["twin"] is True
    assert done.document["verification"]["outputs"]["scores"]["sqnr_db"] > 25


def test_a_limit_that_is_missed_writes_no_model_and_a_page(space: Workspace):
    page = space.folder / "page.html"
    done = convert(space, "--calib", space.arrays, "--min-sqnr", "150", "--report", page, "--json")
    assert done.code == 5
    assert done.document["report"]["output"] is None
    assert "reaches an SQNR of" in done.document["report"]["unmet_limit"]
    assert "not written" in page.read_text()
    assert not (space.folder / "model.fp16.onnx").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--float-type", "fp32"), 2, "qdq convert makes FP32 models FP16 or BF16."),
        (("--cache", "none.qcal"), 4, "There is no calibration cache none.qcal."),
        (("--min-sqnr", "20"), 2, "--min-sqnr and --min-agreement need samples to run"),
        (("--calib", "nowhere"), 4, "nowhere"),
        (("-o", "model.onnx"), 2, "model.onnx"),
    ],
)
def test_what_cannot_be_done_is_refused(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: int, sentence: str
):
    monkeypatch.chdir(space.folder)
    before = space.listing()
    done = qdq("convert", "model.onnx", *options)
    assert (done.code, sentence in done.err) == (code, True), done.err
    assert space.listing() == before


def test_what_is_fp16_already_is_refused(space: Workspace):
    half = space.folder / "half.onnx"
    assert convert(space, "--no-keep-io-types", "-o", half).code == 0
    for kind, sentence in (("fp16", "is FP16 already."), ("bf16", "is FP16 already, and cannot become BF16.")):
        done = qdq("convert", half, "--float-type", kind)
        assert (done.code, sentence in done.err) == (3, True), done.err


@pytest.mark.parametrize("float_type", ["fp16", "bf16"])
def test_a_model_of_which_nothing_can_have_the_type_is_refused(tmp_path: Path, float_type: str):
    net = Network()
    onnx.save(net.proto(net.op("Det", net.input("x", (2, 3, 3)))), tmp_path / "det.onnx")
    done = qdq("convert", tmp_path / "det.onnx", "--float-type", float_type)
    assert done.code == 3
    assert f"stays FP32, so nothing becomes {float_type.upper()}: Det 'det" in done.err
    assert done.err.count("error: ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["det.onnx"]


def test_a_cache_of_another_network_is_refused(space: Workspace, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = make_workspace(tmp_path / "other", overflowing(seed=5))
    assert qdq("calibrate", other.model, "--calib", other.arrays).code == 0
    done = convert(space, "--cache", other.folder / "model.qcal")
    assert done.code == 4
    assert "it knows no tensor that the model computes" in done.err


def test_a_cache_of_the_float_model_does_not_fit_its_quantized_form(loud: Workspace):
    cache = loud.folder / "model.qcal"
    assert loud.quantize("--cache", cache).code == 0
    done = qdq("convert", loud.output, "--cache", cache)
    assert done.code == 4
    assert "whose scales bound most tensors anyway: leave --cache out" in done.err
    assert qdq("convert", loud.output, "--verify", "0").code == 0
