"""`qdq build` from end to end, with a stand-in for the compiler in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest

from tests.building.fake import use_fake_compiler
from tests.networks import Network
from tests.targets.tensorrt.faulty import MODELS, recurrent_branch
from tests.workspace import Outcome, Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model, and its quantized form."""
    space = make_workspace(tmp_path_factory.mktemp("build"))
    assert space.quantize().code == 0
    return space


@pytest.fixture
def space(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    use_fake_compiler(monkeypatch)
    return made


def build(model: Path, *options: object) -> Outcome:
    return qdq("build", model, *options)


def test_prediction_stands_beside_fact(space: Workspace):
    document = build(space.output, "--json").document
    (found,) = document["builds"]
    assert (found["gpu"], found["outcome"], document["compiler"]) == ("sm89", "built", "TensorRT for RTX 0.0.fake")
    types = {operator["name"]: (operator["predicted"], operator["built"]) for operator in found["operators"]}
    assert types == {
        "first": ("INT8", "INT8"),
        "middle": ("INT8", "INT8"),
        "second": ("INT8", "INT8"),
        "scores": ("INT8", "INT8"),
    }
    assert found["agreement"] == {"agree": 4, "differ": 0, "untold": 0}
    assert found["built_types"] == {"INT8": 4}
    assert found["traffic"]["activation_bytes"] > 0
    assert found["quantized_macs_percent"] == 100.0


def test_a_disagreement_names_the_rule_and_fails_where_that_is_asked(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch, "float")
    done = build(space.output, "--fail-on", "disagreement")
    assert done.code == 5
    assert "3x Conv: INT8 predicted, FP32 built" in done.out
    assert "at first, middle, second" in done.out
    assert "Its operands come from DQ, so it runs in INT8 (A31)." in done.out
    assert "4 weighted operators of 4 run in another type than predicted for sm89" in done.err
    story = build(space.output, "--node", "middle").out
    assert "sm89: Conv 'middle': INT8 predicted, FP32 built." in story
    assert "- predicted because: Its operands come from DQ" in story


def test_a_float_model_is_built_as_planned_too(space: Workspace):
    done = build(space.model)
    assert done.code == 0, done.err
    assert "4 of 4 run in the type that qdq inspect predicts" in " ".join(done.out.split())
    assert "INT8 as planned" in done.out
    assert "Kernels move" in done.out
    assert "Bytes are no times" in done.out


def test_the_plan_can_be_chosen(space: Workspace):
    document = build(space.model, "--exclude-op", "Gemm", "--json").document
    (planned,) = (form for form in document["builds"][0]["beside"] if form["name"] == "INT8 as planned")
    assert planned["operators"] == {"INT8": 3, "FP32": 1}


def test_a_quantized_model_is_held_against_the_float_one(space: Workspace):
    document = build(space.output, "--against", space.model, "--json").document
    (found,) = document["builds"]
    assert "FP32" in {form["name"] for form in found["beside"]}
    assert found["verdict"]
    assert build(space.output, "--json").document["builds"][0]["verdict"] == []
    done = build(space.model, "--against", space.model)
    assert (done.code, "this one is float" in done.err) == (2, True)


def refused_model(folder: Path) -> Path:
    """A network with an operator that the stand-in does not read, and neither does TensorRT."""
    net = Network()
    x = net.input("x", (1, 4, 4))
    net.op("Det", x, name="the_det")
    path = folder / "refused.onnx"
    onnx.save(net.proto("the_det"), path)
    return path


def test_a_refusal_stands_beside_our_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch)
    model = refused_model(tmp_path)
    done = build(model)
    assert done.code == 0
    assert "refused: the importer does not read 1 node" in done.out
    assert "the importer: no such operator here: Det" in done.out
    assert "E_UNSUPPORTED_OP" in done.out
    failed = build(model, "--fail-on", "refused")
    assert failed.code == 5
    assert "refused for sm89 at Det 'the_det'" in failed.err


def test_several_gpus_and_one_the_compiler_does_not_know(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    done = build(space.output, "--gpu", "sm89", "--gpu", "sm86", "--json")
    assert [found["gpu"] for found in done.document["builds"]] == ["sm86", "sm89"]
    use_fake_compiler(monkeypatch, "old")
    other = build(space.output, "--gpu", "sm120")
    assert other.code == 2
    assert "knows no such GPU" in other.err


def test_the_engine_is_kept_where_that_is_asked(space: Workspace, tmp_path: Path):
    target = tmp_path / "model.engine"
    done = build(space.output, "-o", target)
    assert done.code == 0
    assert target.read_bytes() == b"engine"
    assert "for RTX GPUs of sm89" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["model.engine"]
    assert build(space.output, "-o", target, "--gpu", "all").code == 2
    assert build(space.output, "-o", space.output).code == 2


def test_dynamic_inputs_get_three_shapes(space: Workspace):
    wide = "1x3x16x16/2x3x16x16/8x3x16x16"
    document = build(space.output, "--input-shape", wide, "--json").document
    assert document["shapes"] == {"images": wide}
    (found,) = document["builds"]
    assert any(-1 in tensor["dims"] for kernel in found["kernels"] for tensor in kernel["reads"])
    assert found["traffic"]["unknown"] == 0  # those of a build for the usual sizes


def test_limits_on_work_and_bytes(space: Workspace):
    assert build(space.output, "--min-int8-macs", 99).code == 0
    missed = build(space.model, "--min-int8-macs", 99)
    assert (missed.code, "--min-int8-macs is 99 %" in missed.err) == (5, True)
    unknown = build(space.output, "--max-bytes", 1)
    assert (unknown.code, "--against" in unknown.err) == (5, True)


def test_every_kernel_is_listed(space: Workspace):
    lines = build(space.output, "--layers").out.splitlines()
    assert any(line.startswith("INT8 -> FP32") and "correlation middle" in line for line in lines)
    assert build(space.output, "--node", "nobody").code == 2


def test_views_of_pipelines_and_a_page(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    page = tmp_path / "page.html"
    done = build(space.output, "--format", "github", "--report", page)
    assert "| weighted operators | 4 operators: 4 in INT8 |" in done.out
    assert "made_middle" not in page.read_text(encoding="utf-8")  # nodes are named, not the engine's own names
    assert "middle" in page.read_text(encoding="utf-8")
    model, report = refused_model(tmp_path), tmp_path / "junit.xml"
    assert build(model, report, "--format", "junit").code == 0
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert "::error file=" in build(model, "--format", "github").out


@pytest.mark.parametrize(
    ("mode", "options", "code", "said"),
    [
        ("crash", (), 3, "was ended by signal 11 while building the engine"),
        ("hang", ("--time-limit", "2"), 5, "was still building the engine after 2 s"),
        ("memory", (), 5, "asked for more memory than the 8 GB it may have"),
        ("unloadable", (), 2, "is installed, and cannot be loaded"),
    ],
)
def test_whatever_happens_is_a_sentence(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, mode: str, options: tuple[str, ...], code: int, said: str
):
    use_fake_compiler(monkeypatch, mode)
    done = build(space.output, *options)
    assert done.code == code, done.err
    assert said in done.err
    assert done.out == ""


def test_a_model_that_is_read_and_not_built(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch, "fail")
    done = build(space.output)
    assert done.code == 0
    assert "not built: the importer reads the model" in done.out
    assert "the compiler: nothing can be made of this" in done.out


def test_what_is_not_built_and_known_of_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch, "fail")
    onnx.save(recurrent_branch(), tmp_path / "branch.onnx")
    done = build(tmp_path / "branch.onnx")
    assert "W_RECURRENT_BRANCH  1x  rule 1.9" in done.out
    assert "finds no error" not in done.out
    (found,) = build(tmp_path / "branch.onnx", "--json").document["builds"]
    assert [entry["code"] for entry in found["errors"]] == ["W_RECURRENT_BRANCH"]


def test_errors_of_a_model_that_is_built_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As of an export whose scales are computed: it is built, in float, and the finding says why."""
    use_fake_compiler(monkeypatch, "float")
    onnx.save(MODELS["E_SCALE_NOT_CONST"](), tmp_path / "computed.onnx")
    done = build(tmp_path / "computed.onnx")
    assert done.code == 0, done.err
    assert "built all the same, qdq inspect finds" in done.out
    assert "E_SCALE_NOT_CONST" in done.out


def test_without_the_compiler_the_way_to_it_is_told(made: Workspace, monkeypatch: pytest.MonkeyPatch):
    blocked = made.folder / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "tensorrt_rtx_libs.py").write_text(
        "raise ModuleNotFoundError('no', name='tensorrt_rtx_libs')\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    done = build(made.output, "--json")
    assert done.code == 2
    assert "is not installed beside qdq" in done.err
    assert "pip install 'tensorrt-rtx-cu12-bindings>" in done.err
    assert json.loads(done.out)["error"]["kind"] == "usage"


def test_the_same_model_with_fp16_around(space: Workspace):
    document = build(space.output, "--against", space.model, "--json").document
    forms = {form["name"]: form["operators"] for form in document["builds"][0]["beside"]}
    assert forms == {"FP32": {"FP32": 4}, "as it is, FP16 rest": {"INT8": 4}, "FP16": {"FP16": 4}}
    held = build(space.output, "--against", space.model, "--max-bytes", 0.01)
    assert (held.code, "times the" in held.err) == (5, True)
    assert build(space.output, "--against", space.model, "--max-bytes", 100).code == 0


def test_a_result_is_built_behind_its_report(space: Workspace, tmp_path: Path):
    written = ("quantize", space.model, "--calib", space.arrays, "--build", "sm86", "-o", tmp_path / "out.onnx")
    done = qdq(*written)
    assert done.code == 0, done.err
    assert "4 operators: 4 in INT8" in done.out
    assert "INT8 saves" in done.out or "INT8 moves" in done.out
    built = qdq(*written, "--json").document["built"]
    assert (built["gpu"], built["outcome"], built["operators"], built["agree"]) == ("sm86", "built", {"INT8": 4}, 4)
    again = qdq("quantize", space.output, "--calib", space.arrays, "--build", "sm89", "--json").document
    assert (again["output"], again["built"]["outcome"]) == (None, "built")
    assert qdq("quantize", space.model, "--dry-run", "--build", "sm89").code == 2


def test_the_page_of_a_result_shows_the_build(space: Workspace, tmp_path: Path):
    page, plain = tmp_path / "page.html", tmp_path / "plain.html"
    written = ("quantize", space.model, "--calib", space.arrays, "-o", tmp_path / "out.onnx", "--report")
    built = qdq(*written, page, "--build", "sm86", "--json").document["built"]
    forms = {form["name"]: form["operators"] for form in built["forms"]}
    assert forms == {"FP32": {"FP32": 4}, "as it is, FP16 rest": {"INT8": 4}, "FP16": {"FP16": 4}}
    assert qdq(*written, plain).code == 0
    text, before = page.read_text(encoding="utf-8"), plain.read_text(encoding="utf-8")
    for words in ("Build for sm86", "Forms, sm86", "Weighted operators, sm86", built["verdict"][0].split("'")[0]):
        assert words in text and words not in before
    assert "Kernels, sm86" not in text
    assert "Activations" in text


@pytest.mark.parametrize("form", ["--json", "-q"])
def test_a_build_that_fails_takes_no_report_away(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    use_fake_compiler(monkeypatch, "crash")
    target, page = tmp_path / "out.onnx", tmp_path / "page.html"
    written = ("quantize", space.model, "--calib", space.arrays, "--build", "sm89", "-o", target, "--report", page)
    done = qdq(*written, *([form] if form == "--json" else []))
    assert (done.code, target.exists(), page.exists()) == (3, True, True)
    assert "was ended by signal 11" in done.err
    if form == "--json":
        assert json.loads(done.out)["error"]["message"].startswith("TensorRT for RTX was ended")
        assert json.loads(done.out)["report"]["output"] == str(target)
    else:
        assert str(target) in "".join(done.out.split())


def test_a_missing_compiler_is_told_before_the_work(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch, "unloadable")
    target = tmp_path / "out.onnx"
    assert qdq("quantize", space.model, "--calib", space.arrays, "--build", "sm89", "-o", target).code == 2
    assert not target.exists()


def test_what_our_checker_refuses_is_built_without_a_prediction(space: Workspace, tmp_path: Path):
    """An attribute that the opset does not have, as other quantizers write it; a compiler may read it all the same."""
    model = onnx.load(space.output)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.attribute.append(onnx.helper.make_attribute("axis", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    document = build(tmp_path / "odd.onnx", "--json").document
    (found,) = document["builds"]
    assert "not well-formed" in document["unpredicted"]
    assert (found["built_types"], found["agreement"]) == ({"INT8": 4}, {"agree": 0, "differ": 0, "untold": 4})
    assert "prediction    none: The model is not well-formed ONNX" in build(tmp_path / "odd.onnx").out
