"""The accuracy bench, without measuring anything: what it reads, what it keeps, what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy import AS_GIVEN, Bench
from bench.accuracy_table import markdown
from bench.figures import (
    Effort,
    Evaluation,
    Figure,
    MeasureError,
    fingerprint,
    mean_interval,
    read_figure,
    wilson_interval,
)
from bench.kit import KitError, Subject, folder_subjects, only, sample_subjects, translated
from bench.ledger import Entry, Ledger
from bench.readme_table import Row, inside, model_rows, tables
from qdq_cli import DataConfig, QuantizeConfig, quantize_model
from qdq_cli.data.preprocess_text import load_preprocessing
from tests.networks import Network
from tests.tuning.networks_to_tune import with_a_bad_layer
from tests.workspace import SIDE, make_workspace

README = """# Models

| folder | task, metric | opset | calibration data for `--calib` |
| --- | :---: | ---: | --- |
| cats | cats or dogs \\| birds, top-1 | 17 | `data/cats/calib`, 100 images |
| `plates` | plates | 11 | [arrays](<plates/calib.npz>) |
| **sounds** | sounds | 17 | a folder: data/sounds |
| unknown | none | 17 | data/cats |

What others do:

| model | FP32 |
| --- | --- |
| cats | 99.1 |
"""


def test_tables_of_a_readme_are_found():
    (header, rows), (second, others) = tables(README)
    assert header == ["folder", "task, metric", "opset", "calibration data for `--calib`"]
    assert len(rows) == 4
    assert (second, others) == (["model", "FP32"], [["cats", "99.1"]])
    assert list(tables("no | table\nhere | at all")) == []


def test_rows_are_found_by_the_titles_of_their_columns():
    rows = model_rows(README, ["cats", "plates", "sounds", "absent"])
    assert set(rows) == {"cats", "plates", "sounds"}
    assert rows["cats"].task == "cats or dogs | birds, top-1"
    assert [row.calibration[0] for row in rows.values()] == [
        "data/cats/calib",
        "plates/calib.npz",
        "a folder: data/sounds",
    ]
    assert "data/sounds" in rows["sounds"].calibration


def test_order_of_tables_and_columns_does_not_matter():
    turned = "| x | calibration | name |\n|---|---|---|\n| 1 | c.npz | m |\n"
    assert model_rows(turned, ["1"]) == {"1": Row("", ("c.npz",))}
    assert model_rows("| m |\n| --- |\n| m |\n\n" + turned.replace("| 1 |", "| m |"), ["m"])["m"].calibration == (
        "c.npz",
    )


def test_only_what_is_there_and_inside_counts(tmp_path):
    folder = tmp_path / "models"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    assert inside(folder, ["absent", "data"]) == (folder / "data").resolve()
    assert inside(folder, ["data\\"]) == (folder / "data").resolve()
    assert inside(folder, ["../secret", str(tmp_path / "secret"), "", "."[:0]]) is None


def kit(folder: Path) -> Path:
    for name in ("cats", "plates", "sounds"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.onnx").touch()
        (folder / name / "eval.py").touch()
    (folder / "data" / "cats" / "calib").mkdir(parents=True)
    (folder / "data" / "sounds").mkdir()
    (folder / "plates" / "calib.npz").touch()
    (folder / "README.md").write_text(README, encoding="utf-8")
    for name in ("cats", "plates"):
        (folder / name / "preproc.json").write_text('{"input": "x", "size": [2, 2], "color": "BGR", "scale": 0.5}')
    return folder


def test_a_folder_of_models_becomes_subjects(tmp_path):
    cats, plates, sounds = folder_subjects(kit(tmp_path / "models"), tmp_path / "work")
    assert [subject.data.calib[0].name for subject in (cats, plates, sounds)] == ["calib", "calib.npz", "sounds"]
    assert (plates.data.preprocess, sounds.data.preprocess) == (None, None)
    chosen = load_preprocessing(Path(cats.data.preprocess))
    assert (chosen.color, chosen.scale, chosen.resize) == ("bgr", (0.5,), "stretch")
    assert cats.evaluation.arguments == (str(tmp_path / "models" / "cats" / "eval.py"),)


def test_a_model_without_calibration_data_is_named(tmp_path):
    folder = kit(tmp_path)
    (folder / "plates" / "calib.npz").unlink()
    with pytest.raises(KitError, match="plates has no calibration data"):
        folder_subjects(folder, tmp_path / "work")
    with pytest.raises(KitError, match="holds no NAME"):
        folder_subjects(tmp_path / "absent", tmp_path / "work")


def test_subjects_are_chosen_by_name():
    subjects = sample_subjects()
    assert only(subjects, []) == subjects
    assert [subject.name for subject in only(subjects, ["digits_gru"])] == ["digits_gru"]
    with pytest.raises(KitError, match="no model 'digit_gru'"):
        only(subjects, ["digit_gru"])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"resize": "letterbox_tl", "fill": 114, "layout": "NCHW"}, ("pad", "topleft", (114.0,))),
        ({"resize": "shorter_center", "shorter": 256, "fill": 114}, ("crop", "center", (114.0,))),
        ({"size": [8, 8], "input": "x"}, ("stretch", "center", (114.0,))),
    ],
)
def test_preprocessing_of_a_kit_is_translated(document, expected, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(translated(document)))
    chosen = load_preprocessing(path)
    assert (chosen.resize, chosen.position, chosen.fill) == expected


@pytest.mark.parametrize(
    ("percent", "count", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    [
        (100 * 81 / 263, 263, 25.53, 36.62),
        (100 * 15 / 148, 148, 6.24, 16.05),
        (0.0, 20, 0.0, 16.11),
        (100 / 29, 29, 0.61, 17.18),
    ],
)
def test_wilson_interval_is_the_published_one(percent, count, low, high):
    assert wilson_interval(percent, count) == pytest.approx((low, high), abs=0.005)


@given(count=st.integers(1, 100_000), data=st.data())
def test_wilson_interval_holds_the_share_and_mirrors(count, data):
    percent = 100 * data.draw(st.integers(0, count)) / count
    low, high = wilson_interval(percent, count)
    assert 0 <= low <= percent + 1e-9
    assert percent - 1e-9 <= high <= 100
    assert wilson_interval(100 - percent, count) == pytest.approx((100 - high, 100 - low), abs=1e-9)


def test_the_last_json_line_is_the_figure():
    figure = read_figure('{"value": 1}\n{"metric": "top1", "value": 90.0, "n": 100}\nbye\n')
    assert (figure.metric, figure.value, figure.count) == ("top1", 90.0, 100)
    assert figure.interval == wilson_interval(90.0, 100)
    assert read_figure('{"metric": "psnr_db", "value": 31.5, "n": 5}').interval is None
    for printed in ("", "[1]", '{"value": NaN}', '{"value": "1"}'):
        with pytest.raises(MeasureError):
            read_figure(printed)


@pytest.mark.parametrize(
    ("stated", "interval"),
    [("[31.0, 32.5]", (31.0, 32.5)), ("[32.5, 31.0]", None), ("[NaN, 1]", None), ('["a", 1]', None), ("3", None)],
)
def test_a_program_may_state_the_interval(stated: str, interval: tuple[float, float] | None):
    figure = read_figure(f'{{"metric": "psnr_db", "value": 31.5, "n": 5, "interval_95": {stated}}}')
    assert figure.interval == interval


def test_the_interval_of_a_mean_is_students():
    # 4 values, mean 2.5, deviation 1.29099; t of 3 degrees of freedom at 97.5 % is 3.18245
    assert mean_interval([1, 2, 3, 4]) == pytest.approx((2.5 - 2.05426, 2.5 + 2.05426), abs=1e-4)


def test_a_fingerprint_depends_on_model_script_and_facts(tmp_path):
    model, script = tmp_path / "m.onnx", tmp_path / "eval.py"
    model.write_bytes(b"1")
    script.write_bytes(b"1")
    evaluation = Evaluation(("x",), (script,))
    found = [fingerprint(model, evaluation, 1), fingerprint(model, evaluation, 2)]
    (tmp_path / "m.onnx.data").write_bytes(b"weights")
    found.append(fingerprint(model, evaluation, 1))
    script.write_bytes(b"2")
    found.append(fingerprint(model, evaluation, 1))
    model.write_bytes(b"2")
    found.append(fingerprint(model, evaluation, 1))
    assert len(set(found)) == len(found)
    assert found[-1] == fingerprint(model, evaluation, 1)


ENTRY = Entry("ab", Figure("top1", 90.0, 100, (82.5, 94.5)), details={"int8_operators": "3 of 4"})


def test_an_interrupted_run_goes_on(tmp_path):
    path = tmp_path / "results" / "r.json"
    first = Ledger(path, None)
    first.record("m", "task", "fp32", ENTRY)
    first.record("m", "task", "mse", Entry("cd", failure="it broke"))
    again = Ledger(path, None)
    assert again.entries == first.entries
    assert again.find("m", "ab") == ENTRY
    assert again.find("m", "cd") is None  # what failed is tried again
    assert again.find("other", "ab") is None
    assert Ledger(path, 20).entries == {}  # another number of test samples
    assert [item.name for item in path.parent.iterdir()] == ["r.json"]


def test_only_what_was_asked_for_is_published(tmp_path):
    ledger = Ledger(tmp_path / "r.json", None)
    for name in ("b", "a"):
        ledger.record(name, "task", "mse", ENTRY)
        ledger.record(name, "task", "fp32", ENTRY)
    found = ledger.select(["a", "absent"], ["fp32", "mse", "entropy"])
    assert {name: list(cells) for name, cells in found.items()} == {"a": ["fp32", "mse"]}
    document = json.loads(ledger.text(found))
    assert [model["name"] for model in document["models"]] == ["a"]
    assert document["models"][0]["figures"]["mse"]["interval_95"] == [82.5, 94.5]


def test_the_table_shows_intervals_gaps_and_reasons():
    psnr = Entry("x", Figure("psnr_db", 31.5, 5, None))
    failed = Entry("y", failure="it broke")
    lines = markdown({"m": {"fp32": ENTRY, "auto": ENTRY, "ort-minmax": failed}, "n": {"fp32": psnr}}).splitlines()
    assert lines[0] == "### Beside onnxruntime.quantization (ORT)"
    assert lines[2] == "| model | metric | test samples | operators in INT8 | FP32 | auto (default) | ORT MinMax |"
    assert lines[4] == "| m | top1 | 100 | 3 of 4 | 90.00 (82.5-94.5) | 90.00 (82.5-94.5) | - |"
    assert lines[5] == "| n | psnr_db | 5 |  | 31.500 |  |  |"
    assert lines[-1] == "* m, ORT MinMax: it broke"


def test_every_column_of_a_command_is_what_that_command_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = make_workspace(tmp_path, with_a_bad_layer(2))
    program = tmp_path / "eval.py"
    program.write_text(
        "import json, sys; print(json.dumps({'value': open(sys.argv[1], 'rb').read().count(b'QuantizeLinear')}))\n"
    )
    subject = Subject("m", "", space.model, DataConfig(calib=(space.arrays,)), Evaluation((str(program),), (program,)))
    bench = Bench(tmp_path / "work", Effort(None, 1, 60.0), Ledger(tmp_path / "work" / "results.json", None))
    bench.work.mkdir()
    bench.fill(subject, ["fp32", *AS_GIVEN])
    entries = bench.ledger.entries["m"]
    assert [entry.failure for entry in entries.values()] == [""] * 4
    assert entries["fp32"].figure.value == 0
    assert all(entries[column].figure.value > 0 for column in AS_GIVEN)
    before, after = entries["recover"].details["judged_db"]
    assert after > before
    quantized = quantize_model(QuantizeConfig(space.model, space.output, DataConfig(calib=(space.arrays,))))
    assert space.output.read_bytes() == (bench.work / "m.default.qdq.onnx").read_bytes()
    assert entries["default"].details["int8_operators"] == f"{quantized.weighted_ops.quantized} of 5"


def test_tuning_asks_for_no_share_that_is_out_of_reach(tmp_path, monkeypatch):
    """A convolution of two channels stays float, so that not all of the work can be in INT8."""
    monkeypatch.setattr("bench.accuracy._INT8_MACS", 100.0)
    net = Network()
    first = net.relu(net.conv(net.input("images", (1, 3, SIDE, SIDE)), 32, "first", scale=None), "r")
    wide = net.relu(net.conv(first, 32, "second", scale=None), "s")
    thin = net.conv(net.relu(net.conv(wide, 2, "thin", scale=None), "t"), 2, "last", scale=None)
    space = make_workspace(tmp_path, net.proto(thin))
    program = tmp_path / "eval.py"
    program.write_text("print('{\"value\": 1}')\n")
    subject = Subject("m", "", space.model, DataConfig(calib=(space.arrays,)), Evaluation((str(program),), (program,)))
    bench = Bench(tmp_path / "work", Effort(None, 1, 60.0), Ledger(tmp_path / "work" / "results.json", None))
    bench.work.mkdir()
    bench.fill(subject, ["tune"])
    entry = bench.ledger.entries["m"]["tune"]
    assert entry.failure == ""
    assert entry.details["target"] == {"min_sqnr": 20.0}
    assert 0 < entry.details["int8_macs_percent"] < 100
