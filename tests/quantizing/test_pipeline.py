"""The pipeline as a function: what it returns, tells, leaves and refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

import qdq_cli
from qdq_cli import DataConfig, PlanConfig, QuantizeConfig, RangeConfig, VerifyConfig, quantize_model
from qdq_cli.calibrating import observing
from qdq_cli.data.values import SampleValues
from qdq_cli.placement.rewrite import Rewritten
from qdq_cli.process.documents import json_text
from qdq_cli.process.errors import LimitError, ModelError, QdqError, UsageError
from qdq_cli.quantizing import pipeline, planning, writing
from qdq_cli.quantizing.report import Report, UnmetLimitError
from tests.listeners import Ear
from tests.networks import Network
from tests.workspace import SIDE, Workspace, make_workspace


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def config_of(space: Workspace, **changes: object) -> QuantizeConfig:
    return QuantizeConfig(space.model, **{"data": DataConfig(calib=(space.arrays,)), **changes})


def test_the_function_is_all_of_the_command(space: Workspace):
    report = quantize_model(config_of(space))
    assert isinstance(report, Report)
    assert report.output == str(space.output)
    assert space.output.is_file()
    ours = json.loads(json_text(report))
    assert ours["weighted_ops"] == {"total": 4, "quantized": 4}
    command = space.quantize("--json", "-o", space.folder / "b.onnx").document
    for key in ("seconds", "output"):
        del ours[key], command[key]
    assert ours == command
    assert (space.folder / "b.onnx").read_bytes() == space.output.read_bytes()


def test_everything_public_is_there():
    assert all(hasattr(qdq_cli, name) for name in qdq_cli.__all__)
    assert qdq_cli.quantize_model is pipeline.quantize_model
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = qdq_cli.nonsense


def test_the_report_is_frozen_and_consistent(space: Workspace):
    report = quantize_model(config_of(space, plan=PlanConfig(exclude=("middle",))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.opset = 3
    assert len(report.amax) == len(report.groups) == report.activations.groups
    assert {target.group for target in report.targets} == set(range(len(report.groups)))
    assert report.weighted_ops.quantized == len(report.weights)
    assert report.size_bytes.after == space.output.stat().st_size
    assert report.predicted is not None
    assert report.predicted.weighted_layers == report.weighted_ops.total
    assert [skip.code for skip in report.skips] == ["EXCLUDED"]
    assert sum(dataclasses.astuple(report.seconds)) > 0


def test_a_listener_hears_progress_and_notes(space: Workspace):
    ear = Ear()
    report = quantize_model(config_of(space, data=DataConfig(calib=(space.images,))), ear)
    runs = [("calibrating", 9), ("choosing ranges", len(report.groups)), ("verifying", 1)]
    graphs = {("writing Q and DQ", len(report.targets)), ("writing Q and DQ", len(report.weights))}
    assert list(dict.fromkeys(stage for stage in ear.stages if stage in runs)) == runs
    assert graphs < set(ear.stages)
    assert ear.progress_told[-1] == (1, 1)
    assert tuple(ear.notes) == report.notes
    assert "assumed imagenet" in ear.notes[0]


def test_nothing_is_said_without_a_listener(space: Workspace, capsys: pytest.CaptureFixture[str]):
    quantize_model(config_of(space, data=DataConfig(calib=(space.images,))))
    assert capsys.readouterr() == ("", "")


def test_a_dry_run_stops_after_the_plan(space: Workspace):
    before = space.listing()
    report = quantize_model(config_of(space, dry_run=True))
    assert (report.output, report.calibration, report.verification, report.predicted) == (None, None, None, None)
    assert (report.seconds.observe, report.seconds.save) == (0, 0)
    assert space.listing() == before
    assert report.targets == quantize_model(config_of(space)).targets


@pytest.mark.parametrize("limits", [VerifyConfig(min_sqnr=150), VerifyConfig(samples=4, min_sqnr=150, min_agreement=1)])
def test_a_limit_that_is_missed_leaves_nothing(space: Workspace, limits: VerifyConfig):
    space.output.write_text("an older result")
    before = space.listing()
    with pytest.raises(UnmetLimitError, match=r"min-sqnr is 150 dB") as raised:
        quantize_model(config_of(space, verify=limits))
    assert (raised.value.exit_code, raised.value.report.unmet_limit) == (5, raised.value.message)
    assert raised.value.report.verification is not None and raised.value.report.output is None
    assert "not written" in raised.value.hint
    assert space.listing() == before
    assert space.output.read_text() == "an older result"


def test_a_failure_at_any_stage_leaves_nothing(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    space.output.write_text("an older result")
    before = space.listing()

    def fail(*arguments: object, **named: object) -> None:
        raise ModelError("Made to fail.")

    for place, name in (
        (planning, "prepare"), (planning, "make_plan"), (pipeline, "quantized_model"),
        (writing, "check_written"), (pipeline.verification, "verify"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(ModelError, match="Made to fail"):
                quantize_model(config_of(space))
        assert space.listing() == before, name
        assert space.output.read_text() == "an older result"


def test_a_written_model_that_the_checker_refuses_never_gets_its_name(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
):
    """A defect of the rewrite is simulated: the first node reads a tensor that nobody makes."""
    right = pipeline.quantized_model

    def wrong(*arguments: Any, **named: Any) -> Rewritten:
        done = right(*arguments, **named)
        next(iter(done.model.graph)).replace_input_with(0, ir.Value(name="nobody"))
        return done

    monkeypatch.setattr(pipeline, "quantized_model", wrong)
    before = space.listing()
    with pytest.raises(QdqError):
        quantize_model(config_of(space))
    assert space.listing() == before


def test_what_samples_held_is_looked_at_by_one_thread_at_a_time(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    """Threads add to it while others ask which inputs vary."""
    loaders, locked = [], []
    made, varied = observing._Loader.__init__, SampleValues.varied.fget

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        loaders.append(self)

    def asked(self: SampleValues) -> frozenset[str]:
        locked.extend(loader._lock.locked() for loader in loaders if loader.values is self)
        return varied(self)

    monkeypatch.setattr(observing._Loader, "__init__", init)
    monkeypatch.setattr(SampleValues, "varied", property(asked))
    quantize_model(config_of(space, verify=VerifyConfig(samples=0)))
    assert locked and all(locked)


def test_ranges_by_hand_for_a_tensor_that_is_not_quantized(space: Workspace):
    with pytest.raises(UsageError, match="'residual', which is not quantized"):
        quantize_model(config_of(space, ranges=RangeConfig(manual={"residual": 1.0})))


def test_outputs_whose_size_depends_on_values_are_compared_by_rows(space: Workspace):
    """What is behind NonZero has another shape in the two models."""
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    y = net.conv(x, 16, "first", scale=None)
    net.op("NonZero", net.op("Greater", y, net.constant(np.float32(0)), name="mask"), name="places")
    onnx.save(net.proto("first", "places", output_types={"places": TensorProto.INT64}), space.model)
    report = quantize_model(config_of(space))
    assert report.verification is not None
    assert set(report.verification.outputs) == {"first"}
    rows = report.verification.rows["places"]
    assert rows.agreement is not None and 50 < rows.agreement < 100
    assert report.verification.not_compared == ()
    assert f"places: {rows.fp32} rows in FP32, {rows.quantized} quantized, {rows.matched} of them in both" in (
        space.quantize().out
    )
    with pytest.raises(LimitError, match=r"'places' agrees with FP32 in .* % of the rows"):
        quantize_model(config_of(space, verify=VerifyConfig(min_agreement=100)))
    assert quantize_model(config_of(space, verify=VerifyConfig(min_sqnr=3))).output is not None


def test_verification_counts_what_it_ran(space: Workspace):
    report = quantize_model(config_of(space, data=DataConfig(calib=(space.arrays,), samples=4)))
    assert report.verification is not None
    assert (report.verification.samples, report.verification.held_back) == (6, True)
    report = quantize_model(config_of(space, verify=VerifyConfig(samples=0)))
    assert report.verification is None


def test_verification_finds_what_breaks_the_model(space: Workspace):
    """The measure is live: ranges far too small show as a low SQNR."""
    good = quantize_model(config_of(space))
    bad = quantize_model(config_of(space, ranges=RangeConfig(manual={"images": 0.01})))
    assert good.verification is not None
    assert bad.verification is not None
    assert bad.verification.outputs["scores"].sqnr_db < 10
    assert good.verification.outputs["scores"].sqnr_db > 25


def test_provenance_is_in_the_models_metadata(space: Workspace):
    quantize_model(config_of(space, data=DataConfig(calib=(space.images,), preprocess="unit")))
    metadata = {entry.key: entry.value for entry in onnx.load(space.output).metadata_props}
    assert set(metadata) == {"qdq.version"}
    assert not any(str(space.folder) in value for value in metadata.values())
