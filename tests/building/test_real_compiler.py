"""With NVIDIA's compiler itself, where it is installed beside qdq; nothing that it prints is compared or kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.networks import Network
from tests.workspace import SAMPLES, make_workspace, qdq

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None,
    reason="NVIDIA's compiler is not installed (the extra `compiler`)",
)


def test_a_quantized_model_runs_in_the_types_that_are_predicted(tmp_path: Path):
    space = make_workspace(tmp_path)
    assert space.quantize().code == 0
    done = qdq("build", space.output, "--against", space.model, "--json")
    assert done.code == 0, done.err
    (found,) = done.document["builds"]
    assert found["outcome"] == "built"
    assert found["agreement"] == {"agree": 4, "differ": 0, "untold": 0}
    assert found["built_types"]["INT8"] >= 3
    assert found["engine_bytes"] > 0
    assert found["verdict"]


def test_attention_moves_less_with_its_products_in_int8():
    (found,) = qdq("build", SAMPLES / "digits_vit.onnx", "--json").document["builds"]
    traffic = {form["name"]: form["traffic"]["activation_bytes"] for form in found["beside"]}
    assert traffic["INT8 as planned, --mha"] < traffic["INT8 as planned"]


def test_a_refusal_names_the_node(tmp_path: Path):
    net = Network()
    net.op("Det", net.input("x", (2, 4, 4)), name="the_det")
    (tmp_path / "det.onnx").write_bytes(net.proto("the_det").SerializeToString())
    done = qdq("build", tmp_path / "det.onnx", "--fail-on", "refused", "--json")
    assert done.code == 5
    (found,) = done.document["report"]["builds"]
    assert [(each["op_type"], each["findings"][0]["code"]) for each in found["refusals"]] == [
        ("Det", "E_UNSUPPORTED_OP")
    ]


def test_an_engine_for_every_gpu(tmp_path: Path):
    space = make_workspace(tmp_path)
    done = qdq("build", space.model, "--gpu", "all", "--json")
    outcomes = {found["gpu"]: found["outcome"] for found in done.document["builds"]}
    assert {gpu: outcomes[gpu] for gpu in ("sm80", "sm86", "sm89", "sm120")} == dict.fromkeys(
        ("sm80", "sm86", "sm89", "sm120"), "built"
    )
    assert qdq("build", space.model, "-o", tmp_path / "model.engine").code == 0
    assert (tmp_path / "model.engine").stat().st_size > 1000
