"""Which weights alone a kernel of its own makes float: what NVIDIA's compiler said of each form (decision 18)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from qdq_cli.config.forms import Gpu
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.seconds import Roofline
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.targets.tensorrt.forms import FP16, INT4, INT8, Form
from tests.workspace import qdq

COLUMNS = 64


def model_of(codes: int, inputs: int, rows: int, scales: tuple[int, ...], op_type: str, **along: object) -> ir.Model:
    """A product of float data and a stored weight of some inputs."""
    net = Form(21, FP16)
    weight = net.stored(codes, (inputs, COLUMNS), scales, **along)
    return ir.from_proto(net.finished(net.op(op_type, net.data(rows, inputs), weight, name="product")))


def in_blocks(codes: int, inputs: int, rows: int, size: int, op_type: str = "MatMul") -> ir.Model:
    scales = (inputs // size, COLUMNS)
    return model_of(codes, inputs, rows, scales, op_type, axis=0, block_size=size)


def by_channel(codes: int, rows: int) -> ir.Model:
    return model_of(codes, 256, rows, (COLUMNS,), "MatMul", axis=1)


FORMS = {
    "INT4, one block": (in_blocks(INT4, 64, 65, 64), True),
    "INT4, one block, Gemm": (in_blocks(INT4, 64, 65, 64, "Gemm"), True),
    "INT4, two blocks": (in_blocks(INT4, 128, 65, 64), False),
    "INT4, two blocks, Gemm": (in_blocks(INT4, 128, 65, 64, "Gemm"), False),
    "INT4, one block of a row": (in_blocks(INT4, 64, 1, 64), False),
    "INT4, channels": (by_channel(INT4, 65), True),
    "INT4, channels of a row": (by_channel(INT4, 1), False),
    "INT8, blocks": (in_blocks(INT8, 256, 65, 64), True),
    "INT8, blocks of a row": (in_blocks(INT8, 256, 1, 64), False),
    "INT8, channels": (by_channel(INT8, 65), False),
    "INT8, one scale": (model_of(INT8, 256, 65, (), "MatMul"), False),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_prediction_is_what_the_compiler_builds(form: str):
    model, expected = FORMS[form]
    (layer,) = simulate(model).weighted
    assert layer.weight is not None
    assert layer.weight.alone
    assert layer.weight.made_float is expected
    assert bool(layer.uncertain) is expected


def test_a_weight_that_is_made_float_takes_the_time_of_writing_and_reading_it():
    seconds = Roofline(OPERATORS)
    one, two = (seconds(in_blocks(INT4, 128, 65, size), Gpu.SM89, half=True) for size in (128, 64))
    expected = 2 * 2 * 128 * COLUMNS / 300e9  # 16 bits there and back, at the 300 GB/s of an L4
    assert one - two == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(two)


@pytest.mark.parametrize("form", ["INT4, one block", "INT4, two blocks"])
def test_an_inspection_says_how_many(form: str, tmp_path: Path):
    model, expected = FORMS[form]
    ir.save(model, tmp_path / "model.onnx")
    said = qdq("inspect", tmp_path / "model.onnx").out
    assert "INT4 weights  1 of 1 weighted operator, which compute in float" in said
    assert ("makes 1 of them float first" in " ".join(said.split())) is expected
