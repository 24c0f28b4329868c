"""Work grows in proportion to the network: counted in calls of functions, which no clock and no busy machine bends."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from tests.networks import Network
from tests.workspace import REPOSITORY, qdq

BLOCKS, FOLD = 26, 2
"""Blocks of the smaller network, and how many times as many the larger one has. In either an operator has less than 2 %
of the work, from where calibration looks closer at it."""

MOST = 1.5 * FOLD
"""Times as often as for the smaller network that a function may be called for the larger one. A function that looks
through everything for each node is called 4 times as often; what differs by chance is far below the half on top."""

FEW = 2 * BLOCKS
"""Calls that do not matter: work of that size is no more than proportional."""

COMMANDS = {
    "quantize": ("float", "--calib", "samples.npy", "--verify", "1", "--threads", "1", "-o", "out.onnx"),
    "inspect": ("float",),
    "inspect-pairs": ("pairs",),
    "fix": ("pairs", "--samples", "0", "-o", "out.onnx"),
}
"""What is counted -> the network it is given, and its options. On one thread: which of several takes a sample is
chance, and the calls of one are counted."""


def residual(blocks: int, scale: float | None) -> onnx.ModelProto:
    """A chain of residual blocks, with Q/DQ where there is a scale."""
    net = Network()
    x = net.relu(net.conv(net.input("x", (1, 32, 4, 4)), 32, scale=scale))
    for _ in range(blocks):
        inner = net.relu(net.conv(x, 32, kernel=1, scale=scale))
        x = net.relu(net.add(net.conv(inner, 32, kernel=1, scale=scale), x))
    return tamed(net.proto(x))


def tamed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same with float weights that keep a chain of many blocks finite."""
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(0.01), tensor.name)
            )
    return proto


def calls_of(command: str, model: Path) -> Counter[tuple[str, str, int]]:
    """Run a command, and count the calls of each function of ours by its file, name and line."""
    name, options = command.partition("-")[0], COMMANDS[command][1:]
    counts: Counter[tuple[str, str, int]] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and (code.co_filename.startswith(str(REPOSITORY)) or code.co_name == "__eq__"):
            counts[code.co_filename.removeprefix(str(REPOSITORY)), code.co_name, code.co_firstlineno] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        done = qdq(name, model, "-q", *options)
    finally:
        sys.setprofile(before)
    assert done.code == 0, done.err
    return counts


@pytest.mark.parametrize("command", COMMANDS)
def test_no_function_is_called_more_than_in_proportion(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("samples.npy", np.random.default_rng(0).standard_normal((2, 32, 4, 4)).astype(np.float32))
    found = []
    for blocks in (1, BLOCKS, FOLD * BLOCKS):  # the first pays for what is made once
        model = tmp_path / f"{blocks}.onnx"
        onnx.save(residual(blocks, None if COMMANDS[command][0] == "float" else 0.05), model)
        found.append(calls_of(command, model))
    _, small, large = found
    assert large.total() > FOLD * BLOCKS * 100, "hardly anything was counted"
    grown = {where: (small[where], large[where]) for where in large if large[where] > MOST * max(small[where], FEW)}
    assert grown == {}
