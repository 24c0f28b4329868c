"""Models whose floats become FP16 or BF16, and what tests ask of the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto

from qdq_cli.casting.twin import twin
from qdq_cli.data.batches import Batch
from qdq_cli.preparing.literal import readable
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source
from tests.networks import Network
from tests.workspace import SIDE

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def overflowing(seed: int = 0) -> onnx.ModelProto:
    """A convnet in which squares of activations leave FP16, and come back (output: scores)."""
    net = Network(seed=seed)
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None), "first_relu")
    squares = net.op("Mul", x, net.op("Mul", x, net.constant(np.float32(2000)), name="loud"), name="squares")
    total = net.op("GlobalAveragePool", squares, name="mean")
    flat = net.op("Flatten", net.op("Sqrt", total, name="root"), name="flat")
    net.gemm(flat, 16, 10, "scores", scale=None)
    return net.proto("scores")


def types_of(path: Path) -> dict[str, int]:
    """Operator -> element type of its first output; by name of the node."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    known = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    return {node.name: known.get(node.output[0], 0) for node in graph.node}


def outputs_of(path: Path, arrays: Path) -> list[np.ndarray]:
    """What a model gives for every sample of an .npz, each value rounded to its own type.

    ONNX Runtime's CPU computes most of FP16 in FP32, where nothing overflows.
    """
    runner = Runner(Source(ir.to_proto(twin(readable(path))).SerializeToString()))
    (name,), (output,) = runner.inputs, runner.outputs
    return [runner.run(Batch({name: row[None]}, ("",), 1))[output] for row in np.load(arrays)["images"]]
