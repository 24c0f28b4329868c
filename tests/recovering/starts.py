"""Where recovery starts in tests: a model, samples in a folder, and what calibration chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from qdq_cli.calibrating import calibration
from qdq_cli.calibrating.calibration_data import open_data
from qdq_cli.config.data import DataConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.data.selection import DEFAULT_HOLD_BACK
from qdq_cli.judging.aside import split
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.progress import SILENT
from qdq_cli.recovering.start import Start
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.workspace import SAMPLES

EVERY = PlanConfig(channel_rules=False, group_rules=False, gemv_rules=False)
"""Small networks are quantized too."""

IMAGES = {"digits_resnet": "digits", "digits_vit": "digits", "superres_fsrcnn": "small_patches"}


def start_of(
    model: ir.Model, data: DataConfig, *, plan: PlanConfig | None = None, ranges: RangeConfig | None = None
) -> Start:
    model = prepare(model).model
    plan_config, config = plan or EVERY, ranges or RangeConfig(method="minmax")
    samples = open_data(model, data, DEFAULT_HOLD_BACK)  # as the command does, which verifies afterwards
    assert samples is not None
    made = make_plan(model, TENSORRT, plan_config)
    observed = calibration.observe(model, made, samples, config, SILENT)
    ranges = calibration.choose(made, observed, config).groups
    return Start(model, made, ranges, observed, samples, split(samples), config, SILENT)


def start_of_network(
    folder: Path,
    proto: onnx.ModelProto,
    *,
    samples: int = 48,
    batch_size: int | None = None,
    plan: PlanConfig | None = None,
    ranges: RangeConfig | None = None,
) -> Start:
    """Samples are random, one array for every input of the network."""
    rng = np.random.default_rng(7)
    arrays = {}
    for value in proto.graph.input:
        tensor = value.type.tensor_type
        dims = [dim.dim_value for dim in tensor.shape.dim][1:]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        arrays[value.name] = rng.standard_normal((samples, *dims)).astype(dtype)
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return start_of(ir.from_proto(proto), DataConfig(calib=(path,), batch_size=batch_size), plan=plan, ranges=ranges)


def start_of_sample_model(
    name: str, *, samples: int = 8, method: str = "minmax", change: Callable[[ir.Model], None] | None = None
) -> Start:
    data = DataConfig(calib=(SAMPLES / "images" / IMAGES[name],), preprocess="unit", samples=samples)
    model = ir.load(SAMPLES / f"{name}.onnx")
    if change is not None:
        change(model)
    return start_of(model, data, ranges=RangeConfig(method=method))


def widen_channels(model: ir.Model) -> None:
    """Make a channel in eight of each LayerNormalization eight times as wide, and narrow the weights that read it."""
    for node in [node for node in model.graph if node.op_type == "LayerNormalization"]:
        readers = [reader for reader, _ in node.outputs[0].uses()]
        if all(reader.op_type == "MatMul" and reader.inputs[1].const_value is not None for reader in readers):
            factor = np.where(np.arange(node.inputs[1].shape[0]) % 8, 1, 8).astype(np.float32)
            for value in node.inputs[1:]:
                value.const_value = ir.Tensor(value.const_value.numpy() * factor, name=value.name)
            for value in {reader.inputs[1] for reader in readers}:
                value.const_value = ir.Tensor(value.const_value.numpy() / factor[:, None], name=value.name)
