"""What an inspection found, as frozen records. They are the `--json` document, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.config.forms import TensorRT
from qdq_cli.quantizing.report import Report
from qdq_cli.targets.tensorrt.cost_record import LayerCost, TypeCost
from qdq_cli.targets.tensorrt.findings import Finding
from qdq_cli.targets.tensorrt.gpus import TypeNeed
from qdq_cli.targets.tensorrt.simulation import Layer, Standalone


@dataclass(frozen=True)
class Summary:
    """The numbers of one inspection.

    Args:
        weighted_ops: Weighted operators of the model.
        weighted_quantized: Those that run on codes: INT8, FP8, MXFP8 or NVFP4.
        quantized_to_quantized: Those that also write codes.
        conversions: Those that write float: the borders of codes and floats inside kernels.
        standalone: Stand-alone Q/DQ kernels inside the network; the target is 0.
        boundary: Stand-alone Q/DQ kernels at graph inputs and outputs.
        reasons: Reason code -> number of stand-alone kernels.
        errors: Findings with an E_ code.
        warnings: Findings with a W_ code.
        macs: Multiply-accumulates, of one sample where the batch is symbolic.
        quantized_macs: Those on codes.
        quantized_macs_percent: The share; None where operators of unknown cost would change it.
        traffic_elements: Activation elements that kernels read and write.
        quantized_traffic_elements: Those that are codes.
        quantized_traffic_percent: The share.
        batch_is_symbolic: Whether costs are those of one sample.
        unknown_costs: Kernels whose cost is unknown, because a dimension is; they are in no other figure.
        unknown_macs: Those of them that form products.
        by_type: Kernels, operators, MACs, activation traffic and weights of each type, in bytes and of known shapes.
        traffic_bytes: Activations that kernels read and write, of known shapes.
        weight_bytes: Constant weights of weighted operators, as the engine stores them.
    """

    weighted_ops: int
    weighted_quantized: int
    quantized_to_quantized: int
    conversions: int
    standalone: int
    boundary: int
    reasons: Mapping[str, int]
    errors: int
    warnings: int
    macs: int
    quantized_macs: int
    quantized_macs_percent: float | None
    traffic_elements: int
    quantized_traffic_elements: int
    quantized_traffic_percent: float | None
    batch_is_symbolic: bool
    unknown_costs: int
    unknown_macs: int
    by_type: tuple[TypeCost, ...]
    traffic_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class Inspection:
    """What was found out about a model.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        opset: Its opset.
        size_bytes: Its size, external data included.
        trt: The TensorRT release asked about; None for all.
        gpu: The GPU asked about, such as `sm89`; None for all.
        types: The types that the engine needs units for, each with the GPUs that have them.
        quantized: Whether the model holds Q/DQ; if not, everything is about the model after quantization by `plan`.
        summary: The numbers.
        findings: Errors and warnings of the lint, in graph order.
        advice: What the lint has to say that is no fault of the model, in graph order.
        releases: The TensorRT releases all of this is about.
        newer_form: What about the model older releases do not read, such as "opset 18"; then they are not spoken of.
        layers: Predicted kernels.
        layer_costs: Cost of each of them, in the same order.
        standalone: Stand-alone Q/DQ kernels.
        standalone_costs: Cost of each of them, in the same order.
        other_nodes: Node name -> why it is in no layer.
        target: Name of the runtime all of this is predicted for.
        activation_type: Stored type of quantized activations, such as `int8`; of most operators.
        weight_type: Stored type of quantized weights; of most operators.
        plan: For a model without Q/DQ: the report of `qdq quantize --dry-run`.
    """

    schema_version: int
    model: str
    opset: int
    size_bytes: int
    trt: str | None
    gpu: str | None
    types: tuple[TypeNeed, ...]
    quantized: bool
    summary: Summary
    findings: tuple[Finding, ...]
    advice: tuple[Finding, ...]
    releases: tuple[TensorRT, ...]
    newer_form: tuple[str, ...]
    layers: tuple[Layer, ...]
    layer_costs: tuple[LayerCost, ...]
    standalone: tuple[Standalone, ...]
    standalone_costs: tuple[LayerCost, ...]
    other_nodes: Mapping[str, str]
    target: str
    activation_type: str
    weight_type: str
    plan: Report | None = None
