"""Short views of a simulation, so that a test reads like a row of docs/rule-cases.md."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.forms import Form
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import Plan
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import ElementType, Layer, Simulation

_SHORT = {ElementType.INT8: "i8", ElementType.FLOAT: "f"}


def predict_plan(model: ir.Model, plan: Plan, *, form: Form = Form.PAIRS) -> Simulation:
    """What TensorRT would build from a model that is quantized by a plan."""
    return simulate(draft(model, plan, form=form))


def layer(simulation: Simulation, node: str) -> Layer:
    """The layer a node is in."""
    return next(layer for layer in simulation.layers if node in layer.nodes)


def types(simulation: Simulation, node: str) -> str:
    """ "i8/f->f": operand types and result type of the layer a node is in."""
    found = layer(simulation, node)
    inputs = "/".join(_SHORT[operand.type] for operand in found.inputs)
    return f"{inputs}->{_SHORT[found.output_type]}"


def left(simulation: Simulation) -> list[tuple[str, str, str]]:
    """(Q or DQ, tensor, reason) of each stand-alone kernel, sorted."""
    return sorted(
        ("Q" if found.op_type == "QuantizeLinear" else "DQ", found.tensor, found.reason.value)
        for found in simulation.standalone
    )
