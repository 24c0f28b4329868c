"""The calls: models from memory, results, and keywords that are the fields of the records."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import pydoc

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq_cli
from qdq_cli.config.build import BuildConfig, BuildGates
from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.convert import ConvertConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fix import FixConfig
from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
from qdq_cli.config.tune import TuneConfig
from tests.building.fake import use_fake_compiler
from tests.calls.tensors import SAMPLES, convnet
from tests.workspace import make_workspace, qdq

MODEL = convnet()

DATA = (DataConfig, Overrides, ExecutionConfig)
RUN = (QuantizeConfig, *DATA, PlanConfig, RangeConfig, VerifyConfig)
RECORDS = {
    "quantize": RUN,
    "tune": (*RUN, TuneConfig, Evaluation),
    "compare": (CompareConfig, *DATA),
    "calibrate": (CalibrateConfig, *DATA, PlanConfig),
    "inspect": (InspectConfig, PlanConfig, Gates),
    "fix": (FixConfig, ExecutionConfig),
    "convert": (ConvertConfig, VerifyConfig, *DATA),
    "migrate": (MigrateConfig, PlanConfig, *DATA),
    "sensitivities": (SensitivityConfig, *DATA, PlanConfig, RangeConfig),
    "build": (BuildConfig, BuildGates, PlanConfig),
}
OTHERWISE = {
    "model", "output", "data", "plan", "given", "calib", "overrides", "wide", "ruined", "single_rest", "imported",
    "unseen", "others", "writes", "execution",
    "manual", "evaluation", "quantize", "command",
}  # fmt: skip
"""Fields that are positional, made by the call, found by calibration, or have a keyword of another name."""
WITHOUT = {
    "quantize": {"verify"},
    "tune": {"dry_run", "exclude_after_recovery", "time", "min_speedup"},
    "compare": {"strict", "provider", "device"},
    "fix": {"provider", "device"},
    "calibrate": {"append", "dask"},
}
"""Fields that have no keyword: they make no sense in memory, or contradict the command."""


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_has_a_keyword_with_its_default(name: str):
    keywords = inspect.signature(getattr(qdq_cli, name)).parameters
    for record in RECORDS[name]:
        for field in dataclasses.fields(record):
            if field.name in OTHERWISE | WITHOUT.get(name, set()):
                continue
            if record is VerifyConfig and field.name == "samples":
                assert keywords["verify"].default == field.default
                continue
            assert field.name in keywords, f"{name} has no {field.name}"
            default, given = getattr(field.default, "value", field.default), keywords[field.name].default
            if default is not dataclasses.MISSING and (name, field.name) != ("tune", "recover"):
                assert given == default or (not given and not default), field.name


@pytest.mark.parametrize("name", RECORDS)
def test_every_keyword_is_a_field(name: str):
    fields = {field.name for record in RECORDS[name] for field in dataclasses.fields(record)}
    parameters = inspect.signature(getattr(qdq_cli, name)).parameters.values()
    keywords = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    others = {"verify", "ranges", "recover", "target", "evaluate", "lower_is_better", "on_progress", "on_note"}
    assert keywords - fields <= others
    shown = pydoc.plain(pydoc.render_doc(getattr(qdq_cli, name)))
    assert all(f"{keyword}: " in shown for keyword in keywords)


@pytest.mark.parametrize("name", RECORDS)
def test_keywords_have_types(name: str):
    signature = inspect.signature(getattr(qdq_cli, name))
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
    assert signature.return_annotation
    assert name in dir(qdq_cli)


def test_models_in_every_form(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(MODEL, path)
    content = MODEL.SerializeToString()
    graph = ir.serde.deserialize_model(MODEL)
    before = ir.serde.serialize_model(graph)
    results = [qdq_cli.quantize(given, SAMPLES) for given in (path, str(path), content, bytearray(content), MODEL)]
    assert len({result.model.SerializeToString() for result in results}) == 1
    assert MODEL.SerializeToString() == content
    of_graph = qdq_cli.quantize(graph, SAMPLES)
    assert ir.serde.serialize_model(graph) == before
    found = qdq_cli.compare(results[0], of_graph, SAMPLES)
    assert found.outputs["scores"].equal
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_weights_in_another_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(convnet(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    plain = qdq_cli.quantize(MODEL, SAMPLES)
    outside = qdq_cli.quantize(path, SAMPLES)
    saved = outside.save(tmp_path / "result.onnx")
    assert list(tmp_path.glob("result.onnx.*"))
    assert qdq_cli.compare(plain, saved, SAMPLES).outputs["scores"].equal
    assert qdq_cli.compare(plain, outside.model, SAMPLES).outputs["scores"].equal
    with pytest.raises(qdq_cli.ModelError, match=r"keeps the weight '.*' in the file 'weights.bin'"):
        qdq_cli.inspect(onnx.load(path, load_external_data=False))
    assert qdq_cli.inspect(ir.load(path)).summary == qdq_cli.inspect(MODEL).summary


def test_a_result(tmp_path):
    result = qdq_cli.quantize(MODEL, SAMPLES)
    saved = result.save(tmp_path / "result.onnx")
    assert onnx.load(saved) == result.model
    assert (result.report.model, result.report.output) == ("model.onnx", None)
    assert [each.tensor for each in result.plan.targets] == [each.tensor for each in result.report.targets]
    assert repr(result) == "<Result with a Report>"
    folder = result.path.parent
    del result
    gc.collect()
    assert not folder.exists()


def test_a_dry_run_has_a_plan_and_no_model():
    result = qdq_cli.quantize(MODEL, dry_run=True)
    assert result.plan.targets
    assert result.table is None
    with pytest.raises(qdq_cli.UsageError, match="A dry run makes no model"):
        result.save("never.onnx")


def test_progress_and_notes():
    told, notes = [], []
    keywords = {"on_progress": lambda *stage: told.append(stage), "on_note": notes.append}
    report = qdq_cli.quantize(MODEL, list(SAMPLES[:6]), **keywords).report
    assert [stage for stage in told if stage[0] == "calibrating"][-1] == ("calibrating", 6, 6)
    assert tuple(notes) == report.notes != ()


def test_the_same_as_the_command(tmp_path):
    space = make_workspace(tmp_path)
    space.quantize("--recover-step", "bias", "--exclude", "first", "--scale", "0.5", "--mean", "0.1")
    result = qdq_cli.quantize(space.model, space.arrays, recover="bias", exclude="first", scale=0.5, mean=0.1)
    assert result.model == onnx.load(space.output)


def test_input_shapes():
    from tests.networks import Network

    net = Network()
    model = net.proto(net.conv(net.input("x", ("N", 3, "H", "W")), 16, scale=None))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3), np.uint8)
    forms = ((1, 3, 32, 32), {"x": (1, 3, 32, 32)}, "x:1x3x32x32", ["1x3x32x32"])
    models = [qdq_cli.quantize(model, pixels, preprocess="unit", input_shape=form).model for form in forms]
    assert all(each == models[0] for each in models)


def test_tune_and_fix_and_calibrate(tmp_path):
    tuned = qdq_cli.tune(MODEL, SAMPLES, min_sqnr=20)
    assert tuned.report.met
    assert (tuned.report.output, tuned.report.quantize.output) == ("", None)
    assert qdq_cli.inspect(tuned).quantized
    assert tuned.table is not None
    best = qdq_cli.tune(MODEL, SAMPLES, min_sqnr=300, recover=False)
    assert not best.report.met
    assert best.model.graph.node
    fixed = qdq_cli.fix(tuned)
    assert fixed.report.repairs == ()
    assert fixed.plan is None
    seen = qdq_cli.calibrate(MODEL, SAMPLES, shard="1/2")
    assert seen.report.samples.new == 12
    assert qdq_cli.quantize(MODEL, cache=seen.save(tmp_path / "a.qcal")).model.graph.node


def test_convert(tmp_path):
    result = qdq_cli.convert(MODEL, SAMPLES, min_sqnr=40)
    assert result.report.float_rest.float_type == "fp16"
    assert (result.report.output, result.plan, result.table) == (None, None, None)
    assert {each.data_type for each in result.model.graph.initializer if each.dims} == {onnx.TensorProto.FLOAT16}
    table = qdq_cli.calibrate(MODEL, SAMPLES).table
    from_table = qdq_cli.convert(MODEL, table, verify=0)
    assert from_table.model == result.model
    assert from_table.report.cache == "calib.qcal"
    quantized = qdq_cli.quantize(MODEL, SAMPLES)
    half = qdq_cli.convert(quantized, float_type="bf16")
    assert half.save(tmp_path / "half.onnx").exists()
    with pytest.raises(qdq_cli.UnmetConversionError, match="min_sqnr") as caught:
        qdq_cli.convert(MODEL, SAMPLES, min_sqnr=300)
    assert caught.value.report is caught.value.found
    with pytest.raises(qdq_cli.UsageError, match="calib is a calibration table, and cache"):
        qdq_cli.convert(MODEL, table, cache="a.qcal")


def test_migrate(tmp_path):
    ranges = tmp_path / "ranges.json"
    space = make_workspace(tmp_path)
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", tmp_path / "a.qcal").code == 0
    assert qdq("cache", "export", tmp_path / "a.qcal", "--format", "torch-json", "-o", ranges).code == 0
    result = qdq_cli.migrate(space.model, SAMPLES, cache=ranges)
    assert (result.report.output, result.plan) == ("", None)
    assert result.report.table.lacking == ()
    assert result.report.compared.against == "float model"
    assert qdq("migrate", space.model, "--cache", ranges, "-o", tmp_path / "b.onnx", "--calib", space.arrays).code == 0
    assert onnx.load(tmp_path / "b.onnx").graph.node == result.model.graph.node
    again = qdq_cli.migrate(qdq_cli.quantize(MODEL, SAMPLES))
    assert again.report.rest.float_type == "fp16"
    with pytest.raises(qdq_cli.UsageError, match="float model, and there is no calibration table"):
        qdq_cli.migrate(MODEL)


def test_sensitivities():
    told: list[object] = []
    keywords = {"on_progress": lambda *each: told.append(each)}
    found = qdq_cli.sensitivities(MODEL, SAMPLES, exact=True, exclude="first", **keywords)
    assert {each.name for each in found.operators} == {"second", "middle", "residual", "pool", "scores"}
    assert all(each.exact_noise is not None for each in found.operators)
    assert told


def test_build(monkeypatch):
    use_fake_compiler(monkeypatch)
    report = qdq_cli.build(qdq_cli.quantize(MODEL, SAMPLES), MODEL, gpu="sm89")
    assert [build.outcome.value for build in report.builds] == ["built"]
    with pytest.raises(qdq_cli.UsageError, match=r"^gpu holds 'sm1'"):
        qdq_cli.build(MODEL, gpu="sm1")


def test_a_keyword_that_is_not_there():
    with pytest.raises(qdq_cli.UsageError, match=r"^There is no keyword exlude") as caught:
        qdq_cli.quantize(MODEL, SAMPLES, exlude="first")
    assert caught.value.hint == "Did you mean 'exclude'?"


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_inspection_for_a_cpu_is_what_the_command_prints(target: str, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(MODEL, path)
    planned = qdq_cli.inspect(path, target=target)
    printed = qdq("inspect", path, "--target", target, "--json").document
    assert isinstance(planned, qdq_cli.CpuInspection)
    assert planned.weighted_on_codes == printed["weighted_on_codes"] > 0
    assert [entry.node for entry in planned.fused] == [entry["node"] for entry in printed["fused"]]
    written = qdq_cli.quantize(MODEL, SAMPLES, target=target, verify=0)
    assert qdq_cli.inspect(written, target=target).fused == planned.fused
    assert qdq_cli.inspect(written, target=target).model == "result.qdq.onnx"


def test_inspection_for_a_cpu_holds_limits_and_refuses_views_of_tensorrt():
    written = qdq_cli.quantize(MODEL, SAMPLES, target="onnxruntime", exclude=MODEL.graph.node[0].name, verify=0)
    with pytest.raises(qdq_cli.LimitError, match=r"min_int8_macs is 100 %"):
        qdq_cli.inspect(written, target="onnxruntime", min_int8_macs=100)
    for keyword, value in {"gpu": "sm86", "against": written, "fail_on": "E"}.items():
        with pytest.raises(qdq_cli.UsageError, match=f"^{keyword} "):
            qdq_cli.inspect(written, target="onnxruntime", **{keyword: value})
