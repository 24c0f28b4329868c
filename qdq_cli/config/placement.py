"""Which operators a run quantizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, option
from qdq_cli.config.forms import QuantType
from qdq_cli.config.types import lines_of, rule_of


@dataclass(frozen=True)
class PlanConfig(Checked):
    """Which operators to quantize.

    Args:
        exclude: Names or globs of nodes that stay float.
        exclude_op: Operator types that stay float.
        only: Names or globs of the only weighted nodes to quantize; empty for all.
        skip_first: Keep the weighted operators that no other one comes before in float (P17).
        skip_last: Keep the weighted operators that no other one comes after in float (P17).
        per_tensor_weights: One scale a weight instead of one an output channel.
        deconv_per_channel: One scale an output channel for ConvTranspose too (section 9, item 1: sources disagree).
        mha: Quantize matrix products of two activations (section 3.3); None: where the float rest runs in FP32.
        attention_rules: Leave these products float all the same in an attention so long that its float kernel is far
            ahead, unless that runs in FP32 (section 3.3).
        group_rules: Leave grouped convolutions without an INT8 kernel float (A33).
        channel_rules: Leave convolutions with too few channels float (section 3.4).
        gemv_rules: Leave matrix-vector products float (section 3.4).
        range_rules: Leave depthwise convolutions float whose input is too wide for any range.
        shift: Let biases centre tensors that are never negative, where that costs nothing, and make up for what
            rounding does to channels that hardly move.
        residuals: Quantize residual branches so that the Add fuses (section 3.2, P8).
        residual_stream: Quantize both operands of residual Adds that feed float operators too (section 3.2, case 5).
        pooling: Quantize average pooling between INT8 operators (P9).
        safe: Treat operators with thin evidence in TensorRT (Gather) as float.
        all_int8: Quantize operators too that INT8 ruins although they have a small share of the work.
        integer_io: Quantize inputs and outputs of the model too, which are integers in the result then.
        type: What is quantized is stored as, and computed in.
        type_of: `GLOB=TYPE`: another type for the weighted nodes of a name or glob, of several the last; or the path of
            a file with such lines.
        experimental: Whether types are allowed that nothing on a CPU runs.
        block_size: Inputs that share a scale, of weights in blocks; None: as many as the target's default says.
        wide: The depthwise nodes whose input calibration found too wide for any range.
        ruined: The nodes calibration found to be ruined by INT8 -> the reason.
        unseen: The nodes that calibration never ran, in a branch that no sample takes.
        single_rest: Whether what is not quantized will run in FP32, and not in 16 bits.
        others: The weighted nodes that are quantized to another type than the one a part of a plan is about.
    """

    exclude: tuple[str, ...] = option((), "Node (name or glob) that stays float. Repeatable.", metavar="NAME")
    exclude_op: tuple[str, ...] = option(
        (), "Operator type that stays float, such as Gemm. Repeatable.", metavar="TYPE"
    )
    only: tuple[str, ...] = option(
        (), "Quantize these weighted nodes (name or glob) alone. Repeatable.", metavar="NAME"
    )
    skip_first: bool = option(False, "Keep the first weighted operators in float.")
    skip_last: bool = option(False, "Keep the last weighted operators in float.")
    per_tensor_weights: bool = option(False, "One scale a weight instead of one an output channel.")
    deconv_per_channel: bool = option(False, "One scale an output channel for ConvTranspose too.")
    mha: bool | None = option(
        None,
        "Quantize the products of two activations in attention. [default: where the float rest runs in FP32: with "
        "--trt 11 and --float-type fp32]",
    )
    attention_rules: bool = option(True, "Leave attention over more than 512 tokens float with --mha.")
    group_rules: bool = option(True, "Leave grouped convolutions without an INT8 kernel float.")
    channel_rules: bool = option(True, "Leave convolutions with too few channels float.")
    gemv_rules: bool = option(True, "Leave matrix-vector products float.")
    range_rules: bool = option(True, "Leave depthwise convolutions float whose input no range keeps four bits of.")
    shift: bool = option(
        True,
        "Let biases centre tensors that are never negative, where that is free, for twice as many codes, and make up "
        "for what rounding does to channels that hardly move.",
    )
    residuals: bool = option(True, "Quantize residual branches so that Adds fuse.")
    residual_stream: bool = option(False, "Quantize residual Adds with float readers too (transformers).")
    pooling: bool = option(True, "Quantize average pooling between INT8 operators.")
    safe: bool = option(False, "Treat operators with thin evidence in TensorRT (Gather) as float.")
    all_int8: bool = option(False, "Quantize operators too that INT8 ruins, however small their share of the MACs.")
    integer_io: bool = option(
        False, "Let the result take and give integers, their scale and zero point in its metadata; for CPUs."
    )
    type: QuantType = option(
        QuantType.INT8,
        "Type of what is quantized. fp8: E4M3, for sm89 and newer GPUs and TensorRT 10 and above. int8-weights and "
        "int4-weights: weights of matrix products alone, without calibration data. nvfp4 and mxfp8: matrix products in "
        "blocks, for Blackwell, with --experimental.",
    )
    type_of: tuple[str, ...] = option(
        (),
        "Another type for the weighted nodes of a name or glob; of several that match, the last one holds. A file may "
        "have such lines. Repeatable.",
        metavar="GLOB=TYPE",
    )
    experimental: bool = option(False, "Allow types whose results nothing on a CPU runs: nvfp4 and mxfp8.")
    block_size: int | None = option(
        None,
        "Inputs that share a scale of a weight with --type int4-weights. [default: 128; 32 for ONNX Runtime]",
        metavar="N",
        rule=Interval(1),
    )
    wide: frozenset[str] = frozenset()
    ruined: Mapping[str, str] = field(default_factory=dict, hash=False)
    unseen: frozenset[str] = frozenset()
    single_rest: bool = False
    others: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "type_of", lines_of(self.type_of))

    @property
    def types(self) -> tuple[tuple[str, QuantType], ...]:
        """Pattern of names -> type of what it matches; a later one holds before an earlier one."""
        return tuple(map(rule_of, self.type_of))

    @property
    def every_type(self) -> tuple[QuantType, ...]:
        """The types that operators may get, that of all others first."""
        return (self.type, *(kind for _, kind in self.types))

    @property
    def attention(self) -> bool:
        """Whether matrix products of two activations are quantized."""
        return self.single_rest if self.mha is None else self.mha
