"""`qdq tune --gpu`: a type for every operator, at the least predicted time that meets the target."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import Gpu, QuantType, TensorRT
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.targets.known import types_on
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.rates import RATES
from qdq_cli.tuning.record import TuneReport, TypeSearch
from qdq_cli.tuning.tune import tune_model
from tests.building.fake import use_fake_compiler
from tests.tuning.networks_to_tune import BAD, with_a_bad_layer
from tests.workspace import Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("types"), with_a_bad_layer(5, grouped=2))


def tuned(space: Workspace, least: float, **changes: object) -> TuneReport:
    data, verify = DataConfig(calib=(space.arrays,)), VerifyConfig(min_sqnr=least)
    own = {name: changes.pop(name) for name in ("plan", "recover") if name in changes}
    config = QuantizeConfig(space.model, data=data, verify=verify, **own)
    return tune_model(TuneConfig(config, **{"gpu": "sm89", **changes}))


def search_of(report: TuneReport) -> TypeSearch:
    assert report.search is not None
    return report.search


def tune(space: Workspace, *options: object):
    return qdq("tune", space.model, "--calib", space.arrays, "-o", space.output, *options)


@pytest.fixture(scope="module")
def searched(space: Workspace) -> TuneReport:
    """INT8 ruins one layer, whose weight E4M3 keeps; nothing else needs a slower type."""
    return tuned(space, 26.0, types=("int8", "fp8"), plan=PlanConfig(all_int8=True))


def test_the_search_finds_the_type_that_the_layer_needs(searched: TuneReport):
    bad = next(operator for operator in search_of(searched).operators if operator.name == BAD)
    noises = {choice.type: choice.noise for choice in bad.choices}
    assert bad.fastest == "int8" and bad.type == "fp8"
    assert noises["fp8"] < noises["int8"] / 2 and noises["float"] == 0
    assert {"INT8": 4, "FP8": 1, "float": 0} in [point.types for point in searched.frontier if point.met]


def test_the_frontier_tells_what_each_type_alone_is_worth(searched: TuneReport):
    types = [point.types for point in searched.frontier]
    assert {"INT8": 5, "float": 0} in types and {"FP8": 4, "float": 1} in types
    chosen = searched.frontier[searched.chosen]
    assert searched.met and chosen.met
    assert not any(point.met for point in searched.frontier if point.time_percent < chosen.time_percent)


def test_what_calibration_shows_int8_to_ruin_is_not_called_int8(tmp_path: Path):
    report = tuned(make_workspace(tmp_path, with_a_bad_layer(5)), 20.0, types=("int8", "fp8"))
    assert report.met and len(report.frontier) == 1
    bad = next(operator for operator in search_of(report).operators if operator.name == BAD)
    assert bad.fastest != "int8" and "int8" not in {choice.type for choice in bad.choices}
    assert all(choice.noise is None for choice in bad.choices)
    assert (
        sum(report.quantize.types.values())
        == sum(report.frontier[0].types.values()) - report.frontier[0].types["float"]
    )


def test_what_is_written_has_the_types_of_the_report(searched: TuneReport):
    assert searched.quantize.types == {"INT8": 4, "FP8": 1}
    shown = qdq("inspect", searched.output, "--json").document
    rows = shown["summary"]["by_type"]
    assert {row["type"]: row["weighted_ops"] for row in rows if row["weighted_ops"]} == {"INT8": 4, "FP8": 1}


def test_text_page_and_command_tell_the_types_and_the_command_writes_the_same_bytes(space: Workspace):
    page = space.folder / "types.html"
    done = tune(space, "--types", "int8,fp8", "--all-int8", "--min-sqnr", 40, "--no-recover", "--report", page)
    assert done.code == 0, done.err
    assert "<- chosen" in done.out and "INT8 " in done.out and "-> float" in done.out and BAD in done.out
    html = page.read_text(encoding="utf-8")
    assert "predicted time saved" in html and "Types" in html and "FP8" in html
    assert space.output.read_bytes() == written_again(done.out, space.folder / "again.onnx")


def test_the_command_of_a_mix_writes_the_same_bytes(space: Workspace):
    done = tune(space, "--gpu", "sm89", "--types", "int8,fp8", "--all-int8", "--min-sqnr", 26, "--no-recover")
    assert done.code == 0, done.err
    assert f"{BAD}=fp8" in done.out and "4 INT8, 1 FP8" in done.out
    assert space.output.read_bytes() == written_again(done.out, space.folder / "again.onnx")


def written_again(shown: str, output: Path) -> bytes:
    words = shlex.split(shown.partition("the same model without tuning:\n")[2].replace("\\\n", ""))
    again = qdq(*words[1:], "-o", output)
    assert again.code == 0, again.err
    return output.read_bytes()


def test_recovery_of_the_fastest_mix_is_tried_before_other_types(space: Workspace, searched: TuneReport):
    plan, least = PlanConfig(all_int8=True), searched.frontier[0].sqnr_db + 0.05
    report = tuned(space, least, types=("int8", "fp8"), plan=plan, recover=("bias",))
    assert report.met and len(report.frontier) == 1
    assert report.quantize.recovery is not None


def test_where_no_mix_meets_the_target_the_best_is_kept(space: Workspace):
    report = tuned(space, 150.0, types=("int8", "fp8"))
    assert not report.met and report.output.endswith(".best.onnx")
    assert tune(space, "--types", "int8,fp8", "--min-sqnr", 150, "--no-recover").code == 5


def test_built_bytes_are_the_cost_where_they_are_asked_for(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch)
    report = tuned(space, 5.0, cost="built", types=("int8", "fp8"), plan=PlanConfig(all_int8=True))
    assert report.built is not None and report.built.builds >= 1
    assert all(point.built_bytes is not None for point in report.frontier)


@pytest.mark.parametrize(
    ("gpu", "release", "kinds"),
    [
        ("sm75", None, {"int8"}),
        ("sm80", None, {"int8", "int8-weights", "int4-weights"}),
        ("sm89", None, {"int8", "fp8", "int8-weights", "int4-weights"}),
        ("sm120", None, {"int8", "fp8", "int8-weights", "int4-weights"}),
        ("sm89", TensorRT.V8_6, {"int8"}),
    ],
)
def test_the_types_of_a_gpu(gpu: str, release: TensorRT | None, kinds: set[str]):
    assert {kind.value for kind in types_on("tensorrt", Gpu(gpu), release)} == kinds


def test_a_gpu_with_one_type_leaves_operators_float_as_before(space: Workspace):
    report = tuned(space, -100.0, gpu="sm75")
    assert report.search is None and report.activation_type == "int8"


def test_one_named_type_is_tuned_alone(space: Workspace):
    report = tuned(space, -100.0, types=("fp8",))
    assert report.search is None and report.activation_type == "float8e4m3fn"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--types", "int8,int3"), "'int3' is no type"),
        (("--types", "fp8,int8", "--gpu", "sm80"), "sm80 has no units for FP8"),
        (("--types", "fp8,int8", "--type", "int8-weights"), "--type"),
        (("--types", "fp8,int8", "--type-of", "*=fp8"), "--type-of"),
        (("--types", "fp8,int8", "--trt", "8.6"), "TensorRT 8.6 has no FP8"),
        (("--types", "int4-weights,int8", "--target", "onnxruntime"), "runs on the CPU"),
        (("--gpu", "sm89", "--min-int8-macs", "50"), "--min-int8-macs is about one type"),
        (("--gpu", "sm90", "--cost", "built"), "builds nothing for sm90"),
        (("--gpu", "sm70"), "sm70"),
    ],
)
def test_what_contradicts_itself_is_refused(space: Workspace, options: tuple[str, ...], words: str):
    done = tune(space, "--min-sqnr", 20, *options)
    assert done.code == 2, done.out
    assert words in done.err


@pytest.mark.parametrize("gpu", list(RATES))
def test_a_kernel_takes_as_long_as_its_products_or_its_memory(gpu: Gpu):
    rates = RATES[gpu]
    much = 10**12
    assert rates.seconds(Precision.INT8, much, 0) == 2 * much / (rates.tera[Precision.INT8] * 1e12)
    assert rates.seconds(Precision.INT8, 1, 1e9) == pytest.approx(1 / rates.gigabytes)
    assert rates.seconds(Precision.INT8, much, 0) < rates.seconds(Precision.FP16, much, 0)
    assert rates.seconds(Precision.INT4, much, 0) == rates.seconds(Precision.FP16, much, 0)


def test_every_gpu_has_rates_and_those_with_fp8_one_for_it():
    assert list(RATES) == list(Gpu)
    for gpu, rates in RATES.items():
        assert (Precision.FP8 in rates.tera) == (QuantType.FP8 in types_on("tensorrt", gpu, None))


def test_a_type_named_twice_counts_once(space: Workspace):
    config = TuneConfig(QuantizeConfig(space.model), types=("fp8,int8", "int8"))
    assert config.types == ("fp8", "int8") and config.kinds == (QuantType.INT8, QuantType.FP8)
    assert replace(config, types=()).kinds == ()


def test_names_with_signs_of_globs_are_taken_as_they_are(tmp_path: Path):
    proto = with_a_bad_layer(5, grouped=2)
    for node in proto.graph.node:
        node.name = f"{node.name}[0]*" if node.op_type in ("Conv", "MatMul") else node.name
    space = make_workspace(tmp_path, proto)
    report = tuned(space, 26.0, types=("int8", "fp8"), plan=PlanConfig(all_int8=True))
    assert {one.name for one in search_of(report).operators if one.type == "fp8"} == {f"{BAD}[0]*"}
