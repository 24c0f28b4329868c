"""The targets by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from calibrators.scheme import Block
from qdq_cli.config.forms import Cpu, Gpu, QuantType, TensorRT
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.types import TYPES
from qdq_cli.model.provenance import target_of
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import ModelError, UsageError
from qdq_cli.screen.sentences import any_of
from qdq_cli.targets.mixed import of_types
from qdq_cli.targets.onnxruntime import weights_alone as by_cpu
from qdq_cli.targets.onnxruntime.processors import for_processor, written_for_this
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from qdq_cli.targets.openvino.table import OPENVINO
from qdq_cli.targets.tensorrt import weights_alone
from qdq_cli.targets.tensorrt.fp8 import in_fp8
from qdq_cli.targets.tensorrt.in_blocks import in_blocks as in_blocks_of
from qdq_cli.targets.tensorrt.table import TENSORRT
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX
from qdq_cli.targets.weights_alone import in_blocks

TARGETS = {target.name: target for target in (TENSORRT, TENSORRT_RTX, ONNXRUNTIME, OPENVINO)}
"""Name, as configurations have it (`config.forms.TARGETS`) -> target."""

OTHER_TYPES = {
    QuantType.FP8: {target.name: in_fp8(target) for target in (TENSORRT, TENSORRT_RTX)},
    QuantType.INT8_WEIGHTS: {
        **{target.name: weights_alone.in_int8(target) for target in (TENSORRT, TENSORRT_RTX)},
        ONNXRUNTIME.name: by_cpu.in_int8(ONNXRUNTIME),
    },
    QuantType.INT4_WEIGHTS: {
        **{target.name: weights_alone.in_int4(target) for target in (TENSORRT, TENSORRT_RTX)},
        ONNXRUNTIME.name: by_cpu.in_int4(ONNXRUNTIME),
    },
    **{
        kind: {target.name: in_blocks_of(target, kind) for target in (TENSORRT, TENSORRT_RTX)}
        for kind in (QuantType.NVFP4, QuantType.MXFP8)
    },
}
"""Type of what is quantized, where it is not the target's own -> name -> target."""


def target_named(name: str, cpu: Cpu = Cpu.AUTO) -> Target:
    """Return a target by the name that a configuration has checked.

    Args:
        name: The name.
        cpu: The processor that the result is for, where the target knows several; AUTO is the one this runs on.
    """
    target = TARGETS[name]
    if target.processor is None:
        return target
    return for_processor(target, written_for_this() if cpu is Cpu.AUTO else cpu)


def written_for(model: ir.Model) -> Target | None:
    """Return the target that a model's file says it was written for; None where it says nothing.

    Args:
        model: The model, with the metadata of its file.
    """
    return TARGETS.get(target_of(model))


def plans_for_others(plan: Plan, model: ir.Model, config: PlanConfig) -> tuple[Plan, ...]:
    """Return the plans whose tensors a calibration cache holds that serves every target, `--integer-io` too.

    Args:
        plan: The plan that it is made for.
        model: The prepared model that it was made from.
        config: What to quantize.

    Raises:
        UsageError: A pattern of the configuration matches nothing.
    """
    return tuple(
        make_plan(model, target, replace(config, integer_io=target.integer_io))  # which observes the outputs too
        for target in TARGETS.values()
        if target.integer_io or target.name != plan.target.name
    )


def serving(plan: Plan, others: Sequence[Plan]) -> Plan:
    """Return a plan that names what others observe too."""
    names = dict.fromkeys(name for other in others for name in other.calibrated)
    own = set(plan.calibrated)
    return replace(plan, elsewhere=tuple(name for name in names if name not in own))


def target_for(name: str, config: PlanConfig, cpu: Cpu = Cpu.AUTO) -> Target:
    """Return a target by its name, in the type that was asked for.

    Args:
        name: The name, as for `target_named`.
        config: What to quantize, and to which type.
        cpu: As for `target_named`.

    Raises:
        UsageError: The target has no kernels on that type, or none on blocks of the size that was asked for.
    """
    return target_for_types(config.every_type, name, config, cpu)


def target_for_types(kinds: Sequence[QuantType], name: str, config: PlanConfig, cpu: Cpu = Cpu.AUTO) -> Target:
    """Return the table of a target for some types: that of all operators that no other one is asked for first.

    Args:
        kinds: The types.
        name: As for `target_for`.
        config: What to quantize; its types say nothing here.
        cpu: As for `target_named`.

    Raises:
        UsageError: As for `target_for`.
    """
    parts = [_table(name, kind, config, cpu) for kind in dict.fromkeys(kinds)]
    if config.block_size is not None and not any(part.block_sizes for part in parts):
        in_blocks(parts[0], config.block_size)  # which says that it has none
    return parts[0] if len(parts) == 1 else of_types(parts)


def types_on(name: str, gpu: Gpu, release: TensorRT | None) -> tuple[QuantType, ...]:
    """Return the types that results of a target may have on a GPU, of those that can be measured here.

    Args:
        name: The target.
        gpu: The GPU.
        release: What has to read the results; None for any that does.
    """
    tables = (
        (kind, TARGETS if kind is QuantType.INT8 else OTHER_TYPES.get(kind, {})) for kind in map(QuantType, TYPES)
    )
    found = ((kind, known.get(name)) for kind, known in tables)
    return tuple(kind for kind, table in found if table is not None and _serves(table, gpu, release))


def _serves(table: Target, gpu: Gpu, release: TensorRT | None) -> bool:
    if table.gpus and gpu not in table.gpus:
        return False
    try:
        if table.release is not None:
            table.release(table.lowest_opset, half=False, weights=table.weight_forms[0], asked=release)
    except (UsageError, ModelError):
        return False
    return True


def _table(name: str, kind: QuantType, config: PlanConfig, cpu: Cpu) -> Target:
    """Return the table of one type.

    Raises:
        UsageError: As for `target_for`.
    """
    if kind.experimental and not config.experimental:
        raise UsageError(
            f"{kind.title} is experimental: nothing on a CPU runs what is written, and only its twin is verified.",
            "Give --experimental to have it all the same.",
        )
    table = target_named(name, cpu) if kind is QuantType.INT8 else _in_type(name, kind)
    if config.per_tensor_weights and isinstance(table.weights.granularity, Block):
        raise UsageError(
            f"--per-tensor-weights has no meaning beside {table.type_title}: each block has a scale.", "Leave it out."
        )
    return in_blocks(table, config.block_size) if table.block_sizes and config.block_size is not None else table


def _in_type(name: str, kind: QuantType) -> Target:
    tables = OTHER_TYPES[kind]
    if name in tables:
        return tables[name]
    lacking = f"does not read {kind.title}" if kind.weights_alone else f"has no kernels on {kind.title}"
    raise UsageError(f"{TARGETS[name].title} {lacking}.", f"Take --type int8, or quantize for {any_of(tuple(tables))}.")
