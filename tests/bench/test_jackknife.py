"""The bench that tells chance from loss by leaving out groups of files: its arithmetic, and what an evaluation sees."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import bench.remembered
from bench.cutting import Files, FirstSamples, groups_of
from bench.figures import Effort, MeasureError, mean_interval
from bench.jackknife import _main, estimate, hold
from bench.remembered import Remembered

KIT = "from pathlib import Path\nROOT = Path(__file__).absolute().parent\n"
PROGRAM = """
import json, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import kit
labels = json.loads((kit.ROOT / "data" / "labels.json").read_text())
files = sorted((kit.ROOT / "data" / "test").glob("*.txt"))
assert [file.stem for file in files] == sorted(labels), "labels of other files"
factor = float(open(sys.argv[1]).read())
values = [factor * float(file.read_text()) + labels[file.stem] for file in files]
print(json.dumps({"metric": "mean", "value": sum(values) / len(values), "n": len(values)}))
"""
LABELS = (3.0, 1.0, 4.0, 1.0, 5.0, 9.0)
EFFORT = Effort(None, 1, 60.0)


@pytest.fixture
def test_set(tmp_path: Path) -> Files:
    folder = tmp_path / "models"
    (folder / "data" / "test").mkdir(parents=True)
    (folder / "m").mkdir()
    (folder / "kit.py").write_text(KIT)
    (folder / "m" / "eval.py").write_text(PROGRAM)
    (folder / "m" / "model.onnx").write_text("1")
    for number in range(6):
        (folder / "data" / "test" / f"{number}.txt").write_text(str(number))
    (folder / "data" / "labels.json").write_text(json.dumps({str(place): label for place, label in enumerate(LABELS)}))
    files = tuple(Path("data", "test", f"{number}.txt") for number in range(6))
    return Files(folder, files, Path("data", "labels.json"))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_of_a_mean_over_groups_of_one_it_is_students_interval(values: list[float]):
    array = np.array(values)
    found = estimate(float(array.mean()), [float(np.delete(array, place).mean()) for place in range(array.size)])
    assert found.interval == pytest.approx(mean_interval(array), abs=1e-6)


@given(st.integers(2, 60), st.integers(2, 30))
def test_groups_are_neighbours_as_equal_as_can_be(files: int, count: int):
    groups = groups_of(files, count)
    assert [number for group in groups for number in group] == list(range(files))
    assert len(groups) == min(files, count)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_a_cut_lacks_some_files_and_their_labels_and_leaves_the_folder_alone(test_set: Files, tmp_path: Path):
    before = sorted(test_set.folder.rglob("*"))
    test_set.copy(tmp_path / "cut", test_set.files[2:4])
    kept = sorted(path.name for path in (tmp_path / "cut" / "data" / "test").iterdir())
    assert kept == ["0.txt", "1.txt", "4.txt", "5.txt"]
    assert list(json.loads((tmp_path / "cut" / "data" / "labels.json").read_text())) == ["0", "1", "4", "5"]
    assert sorted(test_set.folder.rglob("*")) == before
    assert len(json.loads((test_set.folder / "data" / "labels.json").read_text())) == 6


def test_the_difference_counts_the_same_files_in_both(test_set: Files, tmp_path: Path):
    result = tmp_path / "result.onnx"
    result.write_text("1.5")
    held = hold("m", result, test_set, EFFORT, groups=3)
    numbers = np.arange(6.0)
    assert (held.count, held.groups, held.metric) == (6, 3, "mean")
    assert held.fp32.value == pytest.approx(float(np.mean(numbers + LABELS)))
    by_group = (numbers + LABELS).reshape(3, 2).mean(axis=1)
    assert held.fp32.interval == pytest.approx(mean_interval(by_group))
    assert held.difference.value == pytest.approx(0.5 * numbers.mean())
    assert held.difference.interval == pytest.approx(mean_interval(0.5 * numbers.reshape(3, 2).mean(axis=1)))
    assert held.as_json()["difference"] == {"value": 1.25, "interval_95": [-1.234, 3.734]}
    assert str(held).startswith("| m | mean | 6 | 3 | 6.33 (")


def test_the_command_adds_to_its_file(
    test_set: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    target, folder = tmp_path / "found.json", test_set.folder
    target.write_text('{"other": {}}')
    command = ["jackknife", str(folder), str(folder / "m" / "model.onnx"), "--only", "m", "--groups", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--files", "data/test/*.txt", "--json", str(target)])
    with pytest.raises(MeasureError, match="labels of other files"):
        _main()
    monkeypatch.setattr("sys.argv", [*command, "--files", "data/test/*", "--labels", "data/labels.json"])
    _main()
    assert capsys.readouterr().out.splitlines()[-1].endswith("| 0.00 (0.00 to 0.00) |")
    monkeypatch.setattr("sys.argv", [*sys.argv, "--json", str(target)])
    _main()
    document = json.loads(target.read_text())
    assert (list(document), document["m"]["groups"]) == (["other", "m"], 2)
    monkeypatch.setattr("sys.argv", [*command, "--files", "data/none/*"])
    with pytest.raises(SystemExit):
        _main()
    assert "data/none/* names 0 files" in capsys.readouterr().err


def test_an_evaluation_that_fails_without_a_group_says_why(test_set: Files, tmp_path: Path):
    alone = Files(test_set.folder, test_set.files)  # whose labels stay as they are
    with pytest.raises(MeasureError, match="labels of other files"):
        hold("m", test_set.folder / "m" / "model.onnx", alone, EFFORT)


MEAN = """
import json, sys
answers, labels = open(sys.argv[1]).read(), open(sys.argv[0].replace("eval.py", "labels")).read()
count = int(sys.argv[2]) if len(sys.argv) > 2 else len(labels)
right = sum(one == other for one, other in zip(answers[:count], labels))
print(json.dumps({"metric": "top1", "value": round(100 * right / count, 2), "n": count}))
"""


def test_a_share_of_right_answers_is_cut_by_its_first_samples(tmp_path: Path):
    labels, fp32, own = (np.random.default_rng(seed).integers(0, 2, 300) for seed in range(3))
    own[:200] = fp32[:200]
    (tmp_path / "m").mkdir()
    for name, text in (("eval.py", MEAN), ("labels", as_text(labels)), ("model.onnx", as_text(fp32))):
        (tmp_path / "m" / name).write_text(text)
    (result := tmp_path / "result.onnx").write_text(as_text(own))
    held = hold("m", result, FirstSamples(tmp_path), EFFORT, groups=6)
    right = [100.0 * (answers == labels).reshape(6, 50).mean(axis=1) for answers in (fp32, own)]
    assert (held.count, held.groups) == (300, 6)
    assert held.fp32.interval == pytest.approx(mean_interval(right[0]), abs=0.02)
    assert held.result.interval == pytest.approx(mean_interval(right[1]), abs=0.02)
    assert held.difference.interval == pytest.approx(mean_interval(right[1] - right[0]), abs=0.02)


def as_text(answers: NDArray[np.int64]) -> str:
    return "".join(map(str, answers))


MODEL = """<ir_version: 8, opset_import: ["" : 17]>
m (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Neg(x)  z = Exp(x) }"""


def no_session(*arguments: object, **options: object) -> None:
    raise NotImplementedError


def test_outputs_are_computed_once_for_each_model_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Remembered, "folder", tmp_path, raising=False)
    for name, text in (("a", MODEL), ("b", MODEL.replace("Neg", "Abs"))):
        onnx.save(onnx.parser.parse_model(text), tmp_path / f"{name}.onnx")
    feed = {"x": np.array([[1, -2, 3]], np.float32)}
    for name in ("a", "b", "a"):
        plain = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"))
        remembered = Remembered(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        assert [each.name for each in remembered.get_inputs()] == ["x"]
        for names in (None, ["z"], ["z", "y"]):
            expected, found = plain.run(names, feed), remembered.run(names, feed)
            assert [array.tolist() for array in found] == [array.tolist() for array in expected]
    monkeypatch.setattr(bench.remembered, "_SESSION", no_session)
    again = Remembered(str(tmp_path / "b.onnx"))
    assert again.run(["z", "y"], feed)[1].tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(NotImplementedError):
        again.run(None, {"x": np.zeros((1, 3), np.float32)})
