"""Float models with weighted operators in the bodies of If, Loop and Scan, for tests of planning, writing and running.

All read `x` of 2 x 16 numbers; `c` chooses a branch, `n` is a number of rounds.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'

BRANCHES = """
agraph (float[N,16] x, bool c) => (float[N,16] y)
{
  z = MatMul (x, w0)
  y = If (c) <
    then_branch = yes () => (float[N,16] a) { h = MatMul (z, w1)  r = Relu (h)  a = MatMul (r, shared) },
    else_branch = no () => (float[N,16] b) { h = MatMul (z, shared)  b = Tanh (h) }
  >
}
"""
"""Both branches read a tensor and a weight of the main graph, and call a tensor by one name."""

ROUNDS = """
agraph (float[N,16] x, int64 n) => (float[N,16] y)
<bool yes = {1}>
{
  y = Loop (n, yes, x) <
    body = b (int64 i, bool go, float[N,16] s) => (bool on, float[N,16] t)
    { on = Identity (go)  p = MatMul (s, w0)  t = Tanh (p) }
  >
}
"""

NESTED = """
agraph (float[N,16] x, int64 n, bool c) => (float[N,16] y)
<bool yes = {1}>
{
  y = Loop (n, yes, x) <
    body = b (int64 i, bool go, float[N,16] s) => (bool on, float[N,16] t) {
      on = Identity (go)
      p = MatMul (s, w0)
      q = Tanh (p)
      t = If (c) <
        then_branch = yes () => (float[N,16] a) { a = MatMul (q, w1) },
        else_branch = no () => (float[N,16] b) { b = MatMul (s, w0) }
      >
    }
  >
}
"""
"""A branch in a loop that reads a tensor of it, and weights of the main graph; one weight has two readers."""

SCANNED = """
agraph (float[N,16] x, float[T,2,16] rows) => (float[N,16] y)
{
  y, all = Scan <num_scan_inputs = 1,
    body = b (float[N,16] s, float[N,16] row) => (float[N,16] t, float[N,16] out)
    { d = Add (s, row)  t = MatMul (d, w0)  out = Identity (t) }
  > (x, rows)
}
"""


def bodies(text: str) -> onnx.ModelProto:
    """The model, with weights of 16 x 16 under the names that it reads and nothing defines."""
    model = onnx.parser.parse_model(f"{HEAD}\n{text}")
    rng = np.random.default_rng(0)
    for name in ("w0", "w1", "shared"):
        if f", {name})" in text:
            array = (rng.normal(size=(16, 16)) / 4).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def samples(count: int, seed: int = 0) -> np.ndarray:
    """Values of `x`, with a leading axis for the samples."""
    return np.random.default_rng(seed).normal(size=(count, 2, 16)).astype(np.float32)


def in_a_branch(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model whose network is a branch of an If; the other branch gives one zero. `taken` chooses it."""
    graph, result = proto.graph, proto.graph.output[0]
    zero = onnx.helper.make_node("Constant", [], ["none"], value=numpy_helper.from_array(np.zeros((1, 1, 1, 1), "f4")))
    other = onnx.helper.make_graph(
        [zero], "other", [], [onnx.helper.make_tensor_value_info("none", onnx.TensorProto.FLOAT, None)]
    )
    body = onnx.helper.make_graph(graph.node, "network", [], [result], graph.initializer)
    chosen = onnx.helper.make_node("If", ["taken"], ["chosen"], name="if", then_branch=body, else_branch=other)
    taken = onnx.helper.make_tensor_value_info("taken", onnx.TensorProto.BOOL, ())
    out = onnx.helper.make_tensor_value_info("chosen", onnx.TensorProto.FLOAT, None)
    whole = onnx.helper.make_graph([chosen], "whole", [*graph.input, taken], [out])
    return onnx.helper.make_model(whole, opset_imports=proto.opset_import, ir_version=proto.ir_version)
