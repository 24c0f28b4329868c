"""Engines of a device: what trtexec writes in its releases, read and laid beside the prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qdq_cli.building.engine_file import read_layers, read_times
from qdq_cli.process.errors import DataError
from tests.building.fake import write_engine
from tests.workspace import Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("engine"))
    assert made.quantize().code == 0
    write_engine(made.folder)
    return made


def layers(tmp_path: Path, *entries: object, **others: object) -> Path:
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"Layers": list(entries), **others}), encoding="utf-8")
    return path


def layer(name: str = "conv", **others: Any) -> dict[str, Any]:
    tensor = {"Name": "x", "Dimensions": [1, 8, 4, 4], "Format/Datatype": "Row major linear FP32"}
    return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor], **others}


@pytest.mark.parametrize(
    ("words", "kind", "size"),
    [
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}, "INT8", 128),
        ({"Format/Datatype": "Channel major INT8 format where channel % 16 == 0"}, "INT8", 128),
        ({"Format/Datatype": "Row major linear FP16 format"}, "FP16", 256),
        ({"Format/Datatype": "Row major linear BFloat16 format"}, "BF16", 256),
        ({"Format/Datatype": "Row major linear FP8 format"}, "FP8", 128),
        ({"Format/Datatype": "Half"}, "FP16", 256),
        ({"Format": "Row major linear format", "Datatype": "Float"}, "FP32", 512),
        ({"Format": "LINEAR", "DataType": "FP16"}, "FP16", 256),
        ({"Format/Datatype": "Row major linear BOOL"}, "BOOL", 128),
        ({"Format/Datatype": "Unknown format"}, "", None),
    ],
)
def test_types_of_every_release(tmp_path: Path, words: dict[str, str], kind: str, size: int | None):
    tensor = {"Name": "x", "Dimensions": [1, 8, 4, 4], **words}
    (kernel,) = read_layers(layers(tmp_path, {**layer(), "Inputs": [tensor]}))
    assert [(each.type, each.size_bytes) for each in kernel.reads] == [(kind, size)]


@pytest.mark.parametrize(
    ("name", "others", "nodes"),
    [
        ("w + Q_1 + Conv_2 + Relu_3", {}, ("w", "Q_1", "Conv_2", "Relu_3")),
        ("Conv_1 || Conv_2", {}, ("Conv_1", "Conv_2")),
        ("PWN(Sigmoid_3, Mul_4)", {}, ("Sigmoid_3", "Mul_4")),
        ("w + Conv_1 + PWN(PWN(/relu/LeakyRelu), Mul_2)", {}, ("w", "Conv_1", "/relu/LeakyRelu", "Mul_2")),
        ("Q_1_clone_2", {}, ("Q_1",)),
        ("fused", {"Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b[0]]"}, ("a", "b[0]")),
        ("fused", {"Metadata": "[ONNX Layer: a][ONNX Layer: b]"}, ("a", "b")),
    ],
)
def test_nodes_of_every_release(tmp_path: Path, name: str, others: dict[str, str], nodes: tuple[str, ...]):
    (kernel,) = read_layers(layers(tmp_path, layer(name, **others)))
    assert kernel.nodes == nodes


def test_further_profiles_are_the_same_network_again(tmp_path: Path):
    names = [kernel.name for kernel in read_layers(layers(tmp_path, layer("a"), layer("a [profile 1]")))]
    assert names == ["a"]


def test_weights_are_constants(tmp_path: Path):
    held = {"Weights": {"Type": "Int8", "Count": 576}, "Bias": {"Type": "Float", "Count": 8}}
    (kernel,) = read_layers(layers(tmp_path, layer(**held)))
    assert [(each.type, each.size_bytes) for each in kernel.weights] == [("INT8", 576), ("FP32", 32)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[]", "holds no list of layers"),
        ('{"Layers": ["conv", "relu"]}', "names the layers of an engine and does not describe them"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, text: str, said: str):
    path = tmp_path / "layers.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_layers(path)


def test_times_need_layers_of_their_own(tmp_path: Path):
    path = tmp_path / "times.json"
    path.write_text(
        '[{"count": 3}, {"name": "a", "averageMs": 0.5}, {"name": "a", "averageMs": 0.25}]', encoding="utf-8"
    )
    assert read_times(path) == {"a": 0.75}
    path.write_text('[{"count": 3}]', encoding="utf-8")
    with pytest.raises(DataError, match="holds no times"):
        read_times(path)


def test_an_engine_beside_the_prediction(space: Workspace):
    files = ("--layer-info", space.folder / "layers.json", "--profile", space.folder / "times.json")
    document = qdq("inspect", space.output, *files, "--json").document
    types = {each["name"]: (each["predicted"], each["built"], each["agrees"]) for each in document["operators"]}
    assert types == {
        "first": ("INT8", "INT8", True),
        "middle": ("INT8", "INT8", True),
        "second": ("INT8", "FP32", False),
        "scores": ("INT8", "", None),
    }
    assert document["conversions"] == ["images_QuantizeLinear"]
    assert document["conversions_ms"] == pytest.approx(0.01)
    assert [loss["subject"] for loss in document["losses"]] == ["second", "images_QuantizeLinear"]
    done = qdq("inspect", space.output, *files)
    assert "2 of 3 run in the type that qdq inspect predicts; nothing is told of 1 more" in " ".join(done.out.split())
    assert "1 layer of their own, 10.0 us, 10.0 % of the time" in " ".join(done.out.split())
    assert "what to mend, most time first:" in done.out
    assert "40.0" in qdq("inspect", space.output, *files, "--layers").out


def test_without_times_bytes_rank(space: Workspace):
    done = qdq("inspect", space.output, "--layer-info", space.folder / "layers.json")
    assert done.code == 0
    assert "what to mend, most bytes first:" in done.out


def test_what_does_not_go_together(space: Workspace, tmp_path: Path):
    assert qdq("inspect", space.output, "--profile", space.folder / "times.json").code == 2
    other = qdq("inspect", space.output, "--layer-info", layers(tmp_path, layer("elsewhere")))
    assert (other.code, "names no node of" in other.err) == (4, True)
