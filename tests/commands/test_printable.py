"""Names of strangers are shown, and never obeyed: neither by a terminal nor by a build service nor by a browser."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from qdq_cli.process.documents import json_text
from qdq_cli.process.printable import printable, printable_json, printable_line
from tests.commands.test_terminal import COLOR, in_terminal
from tests.networks import Network
from tests.workspace import Workspace, make_workspace, process, qdq, small_convnet

HOSTILE = (
    "n\n::error file=x::A\r::add-mask::b\x1b]0;t\x07\x1b[2J\x1b[31m\u202e\u200b\x85\x9b2J\x7f ##[error]c ::debug::d\t"
)
"""What a name can do: forge lines, set a title, clear the screen, colour, turn round, hide, and give orders."""

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
ORDER = re.compile(r"^\s*::|##\[|##vso\[|##teamcity\[", re.MULTILINE)


def rename(graph: onnx.GraphProto) -> None:
    """Rename everything in a graph."""
    graph.name = graph.doc_string = HOSTILE
    for node in graph.node:
        node.name, node.doc_string = HOSTILE + node.name, HOSTILE
        node.input[:] = [HOSTILE + name if name else "" for name in node.input]
        node.output[:] = [HOSTILE + name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name, value.doc_string = HOSTILE + value.name, HOSTILE
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = HOSTILE


def hostile_model(*, quantized: bool = False) -> onnx.ModelProto:
    """A model whose every name is hostile: nodes, tensors, dimensions, functions, domains, metadata, texts."""
    if quantized:
        net = Network()
        x = net.relu(net.conv(net.input("images", ("N", 3, 16, 16)), 16, "first"), "relu")
        x = net.conv(net.op("Sigmoid", x), 3, "second")
        model = net.proto(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), 3, 10, "scores"))
    else:
        model = small_convnet().proto("scores")
    rename(model.graph)
    model.producer_name = model.producer_version = model.domain = model.doc_string = HOSTILE
    model.metadata_props.add(key=HOSTILE, value=HOSTILE)
    inner = helper.make_node("Identity", ["a"], ["b"], name=HOSTILE, doc_string=HOSTILE)
    function = helper.make_function(HOSTILE, HOSTILE, ["a"], ["b"], [inner], list(model.opset_import)[:1])
    model.functions.append(function)
    model.opset_import.add(domain=HOSTILE, version=1)
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node(HOSTILE, [last], ["end" + HOSTILE], name=HOSTILE + "f", domain=HOSTILE))
    shape = helper.make_tensor_value_info("end" + HOSTILE, TensorProto.FLOAT, None)
    shape.doc_string = HOSTILE
    model.graph.output.append(shape)
    return model


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Hostile models, data under a hostile name, and what the commands made of them."""
    space = make_workspace(tmp_path_factory.mktemp("hostile"), hostile_model())
    onnx.save(hostile_model(quantized=True), space.folder / "q.onnx")
    values = np.random.default_rng(7).normal(size=(10, 3, 16, 16)).astype(np.float32)
    np.savez(space.arrays, **{HOSTILE + "images": values})
    (space.folder / "eval.py").write_text(f"print({HOSTILE!r}); import sys; sys.exit({HOSTILE!r})", encoding="utf-8")
    (space.folder / "works.py").write_text("print(1)", encoding="utf-8")
    external = onnx.load(space.model)
    onnx.save(external, space.folder / "lost.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    for tensor in external.graph.initializer:
        tensor.external_data[0].value = HOSTILE
    onnx.save(external, space.folder / "lost.onnx")
    (space.folder / "amax.json").write_text(json.dumps({HOSTILE + "first_relu": 1.0, HOSTILE: 2.0}))
    for command in ("quantize", "calibrate"):
        done = process(command, "model.onnx", "--calib", "arrays.npz", cwd=space.folder)
        assert done.code == 0, done.err
    return space


LINES = [
    "quantize model.onnx --calib arrays.npz -v --report page.html",
    "quantize model.onnx --calib arrays.npz --recover --json -o again.onnx",
    "quantize model.onnx --dry-run -v",
    "quantize model.onnx --ranges amax.json -v -o ranges.onnx",
    "quantize model.onnx --calib arrays.npz --exclude nothing",
    "quantize model.onnx --calib images",
    "quantize q.onnx --calib arrays.npz -o twice.onnx",
    "calibrate model.onnx --calib arrays.npz -v -o c.qcal",
    "calibrate model.onnx --calib arrays.npz --json -o c.qcal",
    "cache show model.qcal -v --plot p.svg",
    "cache show model.qcal --plot p.png",
    "cache show model.qcal --json",
    "cache diff model.qcal model.qcal -v",
    "cache merge model.qcal model.qcal -o m.qcal",
    "cache export model.qcal --format json -v",
    "cache export model.qcal --format ort-json",
    "cache export model.qcal --format tensorrt",
    "cache import amax.json -v -o imported.json",
    "cache check model.onnx model.qcal -v",
    "cache check q.onnx amax.json",
    "inspect model.onnx -v",
    "inspect q.onnx -v --dot g.dot",
    "inspect q.onnx --svg g.svg",
    "inspect q.onnx --layers",
    "inspect q.onnx --json",
    "inspect q.onnx --format github",
    "inspect q.onnx --format junit report.xml",
    "inspect q.onnx --node nothing",
    "inspect model.qdq.onnx --format github",
    "inspect model.qdq.onnx --fail-on W",
    "compare model.onnx model.qdq.onnx --data arrays.npz --layers -v --report page.html",
    "compare model.onnx model.qdq.onnx --data arrays.npz --layers --json",
    "compare model.onnx q.onnx --data arrays.npz --layers",
    "sensitivity model.onnx --calib arrays.npz -v --report page.html",
    "tune model.onnx --calib arrays.npz --min-sqnr 60 -v --report page.html -o t.onnx",
    "tune model.onnx --calib arrays.npz --max-drop 1 --eval 'python eval.py {model}' -o t.onnx",
    "fix q.onnx -v",
    "fix q.onnx --json",
    "fix model.qdq.onnx -o f.onnx",
    "inspect nothing.onnx",
    "inspect lost.onnx",
]  # fmt: skip

TEXTS = (".html", ".svg", ".dot", ".xml", ".md")


@pytest.mark.parametrize("line", LINES)
def test_no_command_shows_a_name_as_it_is(space: Workspace, line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    for path in space.folder.iterdir():
        if path.suffix in TEXTS:
            path.unlink()
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    done = qdq(*words)
    assert done.code in (0, 2, 3, 4, 5), done.err
    written = [path.read_text("utf-8") for path in space.folder.iterdir() if path.suffix in TEXTS]
    for text in (done.out, done.err, *written):
        assert not {letter for letter in text if letter != "\n" and unicodedata.category(letter) in HIDDEN}
    assert orders_in(done.out + done.err) == []
    if "--json" in words:
        assert json.loads(done.out)
    for path in space.folder.glob("*.xml"):
        ElementTree.parse(path)


@pytest.mark.parametrize("line", ["inspect q.onnx", "cache show model.qcal", "quantize model.onnx --dry-run"])
def test_json_says_a_name_exactly(space: Workspace, line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    assert any(HOSTILE in text for text in strings(qdq(*line.split(), "--json").document))


def strings(value: object) -> Iterator[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


def orders_in(text: str) -> list[str]:
    """Lines that a build service would obey, without the annotations that are asked for."""
    return [line for line in text.splitlines() if ORDER.search(line) and not OURS.match(line)]


OURS = re.compile(r"::(error|warning) file=[^:]*,title=[^:]*::(?!.*##\[)")
"""An annotation of `qdq inspect --format github`."""


@given(st.text())
def test_what_is_printable_stays_and_nothing_else(text: str):
    shown = printable(text)
    assert not {unicodedata.category(letter) for letter in shown} & HIDDEN
    assert printable(shown) == shown
    assert not ORDER.search(printable_line(text))


@given(st.text(st.sampled_from(" :#[vso\n\t\u2003\x1b")))
def test_no_line_gives_an_order(text: str):
    assert not ORDER.search(printable_line(text))
    assert printable_line(printable_line(text)) == printable_line(text)


@given(st.dictionaries(st.text(), st.text()))
def test_a_document_says_the_same_in_printable_letters(record: dict[str, str]):
    for ascii_only in (False, True):
        shown = printable_json(json_text(record, ascii_only=ascii_only))
        assert json.loads(shown) == record
        assert not {unicodedata.category(letter) for letter in shown if letter != "\n"} & HIDDEN
        assert "##" not in shown


def test_sentences_keep_ordinary_letters():
    for text in ("conv1", "/model/layer.0/Conv::out", "\u30e2\u30c7\u30eb \u00e9", "a\u00a0b", "C:\\x1b"):
        assert printable_line(text) == text
    assert printable("a\nb\x1b[2J\u202e\ud800\U000e0001") == "a\\nb\\x1b[2J\\u202e\ufffd\\U000e0001"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals of POSIX")
@pytest.mark.parametrize("line", ["inspect q.onnx", "inspect q.onnx --layers", "quantize model.onnx --calib images -v"])
def test_a_terminal_gets_no_letters_but_ours(space: Workspace, line: str):
    done = in_terminal(*line.split(), cwd=space.folder)
    for text in (done.out, done.err):
        drawn = COLOR.sub("", text).replace("\r", "").replace("\x1b[A", "")  # of tqdm
        assert not {letter for letter in drawn if letter != "\n" and unicodedata.category(letter) in HIDDEN}
    assert re.search(r"n\\n|\\x1b\[2J", done.out + done.err)


def test_what_a_program_said_is_printable_too(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    done = qdq("tune", "model.onnx", "--calib", "arrays.npz", "--max-drop", "1", "--eval", "python eval.py {model}")
    assert done.code == 4
    assert "Its stderr:\nn\n\\x3a:error file=x::A\n\\x3a:add-mask::b\\x1b]0;t" in done.err
    assert orders_in(done.err) == []
