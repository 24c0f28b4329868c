"""One meaning of a range: what `cache export` writes makes, by `quantize --ranges`, the model that `--cache` makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibrators import (
    CalibrationTable,
    Chosen,
    Entry,
    Grouping,
    Histogram,
    Method,
    Range,
    range_of,
    ranges_of,
    read_cache,
    write_cache,
)
from qdq_cli import DataConfig, QuantizeConfig, quantize_model
from qdq_cli.cache.carried import notes_on
from qdq_cli.cache.drift import compare_files
from qdq_cli.cache.exchange import export_file, ranges_in, written
from qdq_cli.cache.summary import read_summary
from qdq_cli.calibrating.calibrate import calibrate_model
from qdq_cli.calibrating.merging import merge_files
from qdq_cli.config.cache import RANGE_FORMATS, ExportConfig
from qdq_cli.config.calibrate import CalibrateConfig, Shard
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.config.ranges import METHODS, RangeConfig
from qdq_cli.data.ranges import read_given
from sample_models.catalog import CATALOG, SampleModel
from tests.commands.test_two_machines import wide_space
from tests.networks import Network
from tests.workspace import SIDE, Workspace, make_workspace, qdq

CARRYING_WIDE = ("json", "torch-json")


def calibrate(model: Path, cache: Path, data: DataConfig, shard: Shard | None = None) -> Path:
    calibrate_model(CalibrateConfig(model, cache, data, shard=shard or Shard()))
    return cache


@pytest.fixture(scope="module", params=CATALOG, ids=lambda sample: sample.name)
def sample_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleModel, Path]:
    sample: SampleModel = request.param
    data = DataConfig(calib=(sample.calibration_path,), preprocess=sample.preset, samples=4)
    return sample, calibrate(sample.model_path, tmp_path_factory.mktemp(sample.name) / "model.qcal", data)


def quantized(model: Path, folder: Path, ranges: RangeConfig, exclude: tuple[str, ...] = ()) -> bytes:
    return quantized_without(model, folder, ranges, exclude)[0]


def quantized_without(
    model: Path, folder: Path, ranges: RangeConfig, exclude: tuple[str, ...] = ()
) -> tuple[bytes, tuple[str, ...]]:
    """The file, and the names of the operators that stay float because INT8 ruins them."""
    output = folder / "model.onnx"
    plan = PlanConfig(exclude=exclude, shift=False)  # ranges alone say nothing of biases
    report = quantize_model(QuantizeConfig(model, output, plan=plan, ranges=ranges, verify=VerifyConfig(samples=0)))
    return output.read_bytes(), tuple(skip.node for skip in report.skips if skip.code == "RUINED")


def exported(cache: Path, folder: Path, form: str, method: str) -> tuple[RangeConfig, tuple[str, ...]]:
    file = folder / f"model{RANGE_FORMATS[form]}"
    notes = export_file(ExportConfig(cache, form, file, method)).notes
    imported, wide = read_given(file)
    return RangeConfig(imported=imported, wide=wide), notes


@pytest.mark.parametrize("method", METHODS)
def test_exported_ranges_make_the_model_that_the_cache_makes(
    sample_cache: tuple[SampleModel, Path], method: str, tmp_path: Path
):
    sample, cache = sample_cache
    wanted, ruined = quantized_without(sample.model_path, tmp_path, RangeConfig(method, cache=cache))
    for form in RANGE_FORMATS:
        ranges, notes = exported(cache, tmp_path, form, method)
        assert ranges.wide == frozenset()
        assert ["INT8 ruins" in note for note in notes] == [True] * bool(ruined)
        assert quantized(sample.model_path, tmp_path, ranges, ruined) == wanted, form


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A network of which a depthwise convolution stays float, because no range serves it, and its cache."""
    space = wide_space(tmp_path_factory.mktemp("wide"))
    calibrate(space.model, space.folder / "model.qcal", DataConfig(calib=(space.arrays,)))
    return space


@pytest.mark.parametrize("form", RANGE_FORMATS)
def test_what_stays_float_stays_float_or_the_format_says_that_it_cannot_say_so(
    wide: Workspace, form: str, tmp_path: Path
):
    cache = wide.folder / "model.qcal"
    wanted = quantized(wide.model, tmp_path, RangeConfig(cache=cache))
    ranges, notes = exported(cache, tmp_path, form, "mse")
    assert (quantized(wide.model, tmp_path, ranges) == wanted) == (form in CARRYING_WIDE)
    if form in CARRYING_WIDE:
        assert (ranges.wide, notes) == ({"middle_relu"}, ())
    else:
        assert "that read middle_relu" in notes[0] and "--exclude" in notes[0]
        file = tmp_path / f"model{RANGE_FORMATS[form]}"
        done = qdq(
            "quantize", wide.model, "--ranges", file, "--exclude", "deep", "--no-shift", "-o", tmp_path / "model.onnx"
        )
        assert done.code == 0, done.err
        assert (tmp_path / "model.onnx").read_bytes() == wanted


def test_what_stays_float_because_of_all_shares_together_is_asked_of_the_model(wide: Workspace, tmp_path: Path):
    """One value drowns the others where there are enough of them: in no share alone, so none knows the plan without."""
    data = DataConfig(calib=(wide.arrays,))
    shares = [calibrate(wide.model, tmp_path / f"{k}.qcal", data, Shard(k, 3)) for k in (1, 2, 3)]
    merged, whole = merge_files(shares), read_cache(wide.folder / "model.qcal")
    assert merged == merge_files(reversed(shares)) == replace(whole, groupings=whole.groupings[:1])
    write_cache(merged, tmp_path / "merged.qcal")
    assert "that read middle_relu" in exported(tmp_path / "merged.qcal", tmp_path, "json", "mse")[1][0]
    found = export_file(ExportConfig(tmp_path / "merged.qcal", "json", tmp_path / "r.json", model=wide.model))
    assert (found.notes, found.wide) == ((), ("middle_relu",))
    assert found.ranges == export_file(ExportConfig(wide.folder / "model.qcal", "json", tmp_path / "s.json")).ranges


def test_shares_merged_for_their_model_are_the_file_of_a_single_run(wide: Workspace, tmp_path: Path):
    data = DataConfig(calib=(wide.arrays,))
    shares = [calibrate(wide.model, tmp_path / f"{k}.qcal", data, Shard(k, 3)) for k in (1, 2, 3)]
    done = qdq("cache", "merge", *reversed(shares), "-o", tmp_path / "merged.qcal", "--model", wide.model)
    assert done.code == 0, done.err
    assert (tmp_path / "merged.qcal").read_bytes() == (wide.folder / "model.qcal").read_bytes()
    done = qdq("cache", "merge", *shares, "-o", tmp_path / "all.qcal", "--exclude", "deep")
    assert done.code == 2 and "Name it with --model" in done.err and not (tmp_path / "all.qcal").exists()


def test_shares_of_another_model_are_not_merged_for_this_one(wide: Workspace, depthwise: Workspace, tmp_path: Path):
    done = qdq("cache", "merge", wide.folder / "model.qcal", "-o", tmp_path / "m.qcal", "--model", depthwise.model)
    assert done.code == 4 and "lacks" in done.err and not (tmp_path / "m.qcal").exists()


def test_what_stays_float_has_the_range_it_would_have_else(wide: Workspace):
    """For whoever quantizes it all the same: a format that cannot say what stays float is not to be much worse."""
    table = read_cache(wide.folder / "model.qcal")
    chosen = ranges_of(table, Method())
    assert chosen.ranges["middle_relu"] == range_of(
        {name: entry.histogram for name, entry in table.entries.items()},
        next(group for group in table.groupings[0].groups if "middle_relu" in group.tensors),
        Method(),
    )
    assert chosen.judged == chosen.wide == {"middle_relu"}


def test_a_file_that_says_what_stays_float_fits(wide: Workspace, tmp_path: Path):
    exported(wide.folder / "model.qcal", tmp_path, "json", "mse")
    assert qdq("cache", "check", wide.model, tmp_path / f"model{RANGE_FORMATS['json']}").code == 0


@pytest.fixture(scope="module")
def depthwise(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Only a depthwise convolution reads `r`, one of whose channels is far wider than the others; with its cache."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None), "r")
    net.conv(net.relu(net.conv(x, 16, "deep", group=16, scale=None), "d"), 16, "last", scale=None)
    proto = net.proto("last")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "first_w")
    wide = onnx.numpy_helper.to_array(weight) * np.where(np.arange(16) == 0, 4, 1).reshape(-1, 1, 1, 1)
    weight.CopyFrom(onnx.numpy_helper.from_array(wide.astype(np.float32), "first_w"))
    space = make_workspace(tmp_path_factory.mktemp("depthwise"), proto)
    values = np.random.default_rng(3).standard_t(2, size=(10, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=values)
    calibrate(space.model, space.folder / "model.qcal", DataConfig(calib=(space.arrays,)))
    return space


def test_every_command_chooses_the_range_that_quantize_does(depthwise: Workspace, tmp_path: Path):
    cache = depthwise.folder / "model.qcal"
    config = QuantizeConfig(depthwise.model, tmp_path / "q.onnx", ranges=RangeConfig(cache=cache))
    report = quantize_model(config)
    place = next(number for number, group in enumerate(report.groups) if "r" in group.tensors)
    chosen = report.amax[place]
    assert report.chosen[place] == "entropy"
    plain = replace(read_cache(cache), groupings=())
    assert chosen != ranges_of(plain, Method("mse")).ranges["r"].amax
    assert export_file(ExportConfig(cache, "json", tmp_path / "r.json")).ranges["r"] == chosen
    assert ranges_in(cache)["r"].amax == chosen
    tensors = {tensor.name: tensor for tensor in read_summary(cache, 99.99)[0].tensors}
    assert tensors["r"].amax["auto"] == chosen
    (drift,) = (tensor for tensor in compare_files(cache, cache, "auto", 99.99).tensors if tensor.name == "r")
    assert (drift.amax, drift.ratio) == (chosen, 1.0)


def test_reports_name_the_method_of_each_group_and_the_reason(depthwise: Workspace, tmp_path: Path):
    given = ("--cache", depthwise.folder / "model.qcal", "-o", tmp_path / "q.onnx")
    shown = qdq("quantize", depthwise.model, *given, "--report", tmp_path / "page.html", "-v").out
    assert "auto; 1 tensor by the outputs of what reads it" in shown
    assert "r -> deep:0 (entropy)" in shown
    page = (tmp_path / "page.html").read_text()
    assert "1 tensor by the outputs of what reads it" in page and "Range by entropy." in page
    document = qdq("quantize", depthwise.model, *given, "--json").document
    assert dict(zip((group["tensors"][0] for group in document["groups"]), document["chosen"], strict=True)) == {
        "images": "mse", "r": "entropy", "d": "mse",
    }  # fmt: skip
    assert document["calibration"]["judged"] == 1
    ranged = qdq("quantize", depthwise.model, *given, "--range", "r=2", "--method", "minmax", "--json").document
    assert ranged["chosen"] == ["minmax", "given", "minmax"] and ranged["calibration"]["judged"] == 0


def test_a_cache_of_an_earlier_release_says_what_it_does_not_know_and_a_model_makes_up_for_it(
    depthwise: Workspace, tmp_path: Path
):
    old = tmp_path / "old.qcal"
    write_cache(replace(read_cache(depthwise.folder / "model.qcal"), groupings=()), old)
    whole = exported(depthwise.folder / "model.qcal", tmp_path, "json", "auto")[0].imported
    ranges, notes = exported(old, tmp_path, "json", "auto")
    assert "give --model" in notes[0] and ranges.imported["r"] != whole["r"]
    done = qdq("cache", "export", old, "--format", "json", "-o", tmp_path / "r.json", "--model", depthwise.model)
    assert (done.code, done.err) == (0, "")
    assert read_given(tmp_path / "r.json")[0] == whole


def test_a_model_and_its_options_choose_what_is_exported(depthwise: Workspace, tmp_path: Path):
    cache, form = depthwise.folder / "model.qcal", ("--format", "json", "-o", tmp_path / "r.json")
    done = qdq("cache", "export", cache, *form, "--model", depthwise.model, "--exclude", "deep", "--json")
    assert (done.document["judged"], set(done.document["ranges"])) == ([], {"images", "d"})
    assert "by the outputs of what reads it" in qdq("cache", "export", cache, *form).out
    done = qdq("cache", "export", cache, *form, "--exclude", "deep")
    assert done.code == 2 and "--model" in done.err


def test_a_model_that_the_cache_does_not_fit_is_refused(depthwise: Workspace, wide: Workspace, tmp_path: Path):
    done = qdq(
        "cache", "export", depthwise.folder / "model.qcal", "--format", "json", "-o", tmp_path / "r.json",
        "--model", wide.model,
    )  # fmt: skip
    assert done.code == 4 and "lacks" in done.err and "qdq cache check" in done.err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("form", RANGE_FORMATS)
def test_an_fp16_scale_that_a_format_would_round_twice_is_named(form: str):
    """TensorRT's cache holds FP32 scales. Just above the middle of two FP16 numbers, FP32 rounds to the middle."""
    table = CalibrationTable(
        entries={"x": Entry(Histogram(), ("N", 4), "float16")}, groupings=(Grouping(frozenset(), ()),)
    )
    chosen = Chosen({"x": Range.symmetric(127 * (1 + 2.0**-11 + 2.0**-30))}, frozenset(), frozenset(), grouped=True)
    config = ExportConfig(Path("model.qcal"), form)
    notes = notes_on(table, chosen, written(chosen, config), config)
    assert [("The format tensorrt does not hold 1 range exactly: x" in note) for note in notes] == [True] * (
        form == "tensorrt"
    )


def test_the_json_file_says_what_stays_float(wide: Workspace, tmp_path: Path):
    exported(wide.folder / "model.qcal", tmp_path, "json", "minmax")
    document = json.loads((tmp_path / f"model{RANGE_FORMATS['json']}").read_text())
    assert set(document["middle_relu"]) == {"amax", "wide"}
    assert isinstance(document["images"], float)
