"""What is refused and what is a plugin, from the command line: `--plugin`, warnings, and names that nothing goes by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.networks import Network
from tests.workspace import Outcome, qdq


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`custom.onnx` has an operator of a domain of its own behind a Conv, `quantized.onnx` the same with Q/DQ."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, scale in (("custom", None), ("quantized", 0.5)):
        net = Network()
        y = net.conv(net.input("x", (1, 8, 8, 8)), 8, "conv", scale=scale)
        onnx.save(net.proto(net.op("RoiHead", y, name="head", domain="acme.vision")), folder / f"{name}.onnx")
    net = Network()
    norm = net.op(
        "LayerNormalization", net.conv(net.input("x", (1, 8, 8, 8)), 8, scale=None), net.constant(net.weight(8))
    )
    onnx.save(net.proto(norm), folder / "norm.onnx")
    np.savez(folder / "calib.npz", x=np.random.default_rng(0).normal(size=(4, 8, 8, 8)).astype(np.float32))
    return folder


def codes(done: Outcome) -> set[str]:
    return {entry["code"] for entry in done.document["findings"]}


@pytest.mark.parametrize("model", ["custom", "quantized"])
@pytest.mark.parametrize("name", ["RoiHead", "acme.vision::RoiHead"])
def test_inspect_takes_plugins_by_name_and_with_their_domain(folder: Path, model: str, name: str):
    assert "E_UNSUPPORTED_OP" in codes(qdq("inspect", folder / f"{model}.onnx", "--json"))
    assert "E_UNSUPPORTED_OP" not in codes(qdq("inspect", folder / f"{model}.onnx", "--json", "--plugin", name))


def test_fix_counts_no_error_for_a_plugin(folder: Path, tmp_path: Path):
    model, to = folder / "quantized.onnx", ("-o", tmp_path / "fixed.onnx", "--json", "--samples", "0")
    without = qdq("fix", model, *to).document["after"]["errors"]
    (tmp_path / "fixed.onnx").unlink()
    assert qdq("fix", model, *to, "--plugin", "RoiHead").document["after"]["errors"] == without - 1


def test_quantize_writes_a_model_that_is_refused_and_says_so(folder: Path, tmp_path: Path):
    given = ("quantize", folder / "custom.onnx", "--calib", folder / "calib.npz", "--verify", "0", "-q")
    done = qdq(*given, "-o", tmp_path / "out.onnx")
    assert done.code == 0 and (tmp_path / "out.onnx").exists()
    assert "TensorRT refuses the model as it is: acme.vision.RoiHead" in done.err and "at 'head'" in done.err
    again = qdq(*given, "-o", tmp_path / "other.onnx", "--plugin", "RoiHead")
    assert "refuses" not in again.err


@pytest.mark.parametrize("command", ["inspect", "fix", "quantize", "tune"])
@pytest.mark.parametrize(
    ("name", "hint"), [("RoiHed", "Did you mean 'RoiHead'?"), ("acme.vision::Other", "acme.vision::RoiHead")]
)
def test_names_of_plugins_that_nothing_goes_by(folder: Path, tmp_path: Path, command: str, name: str, hint: str):
    more = {"inspect": (), "fix": ("-o", tmp_path / "out.onnx")}.get(
        command, ("--calib", folder / "calib.npz", "-o", tmp_path / "out.onnx")
    )
    goal = ("--min-sqnr", "1") if command == "tune" else ()
    done = qdq(command, folder / "custom.onnx", "--plugin", name, *more, *goal)
    assert done.code == 2 and f"No operator of the model is called '{name}'" in done.err
    assert hint in done.err.replace("\n", " ") and not (tmp_path / "out.onnx").exists()


def test_the_oldest_release_is_one_that_reads_the_operators(folder: Path):
    given = ("quantize", folder / "norm.onnx", "--dry-run", "--json")
    found = qdq(*given)
    assert (found.document["plan"]["trt"], found.err) == ("8.6", "")
    assert found.document["newer_form"] == ["LayerNormalization"] and found.document["findings"] == []
    old = qdq(*given, "--trt", "8.4")
    assert old.document["plan"]["trt"] == "8.4"
    assert "TensorRT 8.4 refuses the model as it is: LayerNormalization" in old.err
