"""Whatever is wrong with a model, `qdq inspect` and `qdq fix` answer with a sentence and exit 3, or take it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.main import run
from tests.networks import Network
from tests.targets.tensorrt.mutations import mutated

MUTANTS = 336
PARTS = 6


def quantized() -> onnx.ModelProto:
    """A Q/DQ model with something of everything the simulator and the lint look at."""
    net = Network()
    y = net.relu(net.conv(net.input("x", (1, 4, 8, 8)), 4, "conv1"))
    a, b = net.split(y, 2, name="split")
    y = net.concat(a, net.conv(b, 2, "conv2", kernel=1), name="cat")
    y = net.op("Pad", net.pair(y), net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name="pad")
    y = net.maxpool(y, "pool")
    net._channels[y] = 4
    y = net.add(net.conv(y, 4, "conv3"), net.pair(y), "add")
    y = net.op("Resize", y, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest", name="resize")
    y = net.op("GlobalAveragePool", net.pair(y), name="gap")
    shape = net.op("Concat", net.op("Shape", y, end=2), net.constant(np.array([1])), name="shape", axis=0)
    y = net.op("Flatten", net.op("Reshape", y, shape, name="reshape"), name="flat")
    return net.proto(net.op("Softmax", net.gemm(y, 4, 8, "fc"), name="soft"))


def unquantized() -> onnx.ModelProto:
    net = Network()
    y = net.relu(net.conv(net.input("x", ("batch", 16, 8, 8)), 16, "conv1", scale=None))
    y = net.add(net.conv(y, 16, "conv2", scale=None), y)
    return net.proto(net.op("Flatten", net.op("GlobalAveragePool", y)))


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_models_get_a_sentence(part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bases = (quantized(), unquantized())
    path = tmp_path / "mutant.onnx"
    codes: Counter[int] = Counter()
    for seed in range(part, MUTANTS, PARTS):
        what, data = mutated(bases[seed // PARTS % 2], seed)
        path.write_bytes(data)
        code = run(["inspect", str(path), *(["--json"] if seed % 2 else [])])
        shown = capsys.readouterr()
        assert code in (0, 3), f"{seed} {what}: {shown.err}"
        if code == 3:
            told = json.loads(shown.out)["error"]["message"] if seed % 2 else shown.out
            assert bool(told) == bool(seed % 2), f"{seed} {what}"
            assert shown.err.startswith("error: ") and "Traceback" not in shown.err, f"{seed} {what}: {shown.err}"
        codes[code] += 1
    assert codes[0] and codes[3] > codes[0]


def test_mutated_models_are_repaired_or_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, target = tmp_path / "mutant.onnx", tmp_path / "fixed.onnx"
    base = quantized()
    codes: Counter[int] = Counter()
    for seed in range(MUTANTS, MUTANTS + 80):
        what, data = mutated(base, seed)
        path.write_bytes(data)
        target.unlink(missing_ok=True)
        code = run(["fix", str(path), "-o", str(target), "--samples", "1"])
        shown = capsys.readouterr()
        assert code in (0, 3), f"{seed} {what}: {shown.err}"
        assert target.exists() == (code == 0), f"{seed} {what}"
        assert {entry.name for entry in tmp_path.iterdir()} <= {path.name, target.name}
        codes[code] += 1
    assert codes[0] and codes[3]


def test_the_bases_themselves_are_fine(tmp_path: Path):
    for number, base in enumerate((quantized(), unquantized())):
        onnx.checker.check_model(base, full_check=True)
        onnx.save(base, tmp_path / f"{number}.onnx")
        assert run(["inspect", str(tmp_path / f"{number}.onnx"), "-q"]) == 0


def test_an_attribute_that_refers_to_no_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = quantized()
    node = next(node for node in model.graph.node if node.name == "conv1")
    node.attribute[0].ref_attr_name = "outer"
    onnx.save(model, tmp_path / "reference.onnx")
    assert run(["inspect", str(tmp_path / "reference.onnx")]) == 3
    assert "'conv1'" in capsys.readouterr().err


def test_plugins_in_the_default_domain_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    net = Network()
    y = net.conv(net.input("x", (1, 32, 8, 8)), 32, "conv")
    onnx.save(net.proto(net.op("EfficientNMS_TRT", y, name="nms")), tmp_path / "plugin.onnx")
    assert run(["inspect", str(tmp_path / "plugin.onnx"), "--layers"]) == 0
    assert "EfficientNMS_TRT nms" in capsys.readouterr().out
