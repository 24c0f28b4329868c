"""The lint codes of the rules (section 1.11) as one table: what each expects, the fix, and where it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from qdq_cli.config.forms import TensorRT
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean

ALL = tuple(TensorRT)
UP_TO_8_4 = (TensorRT.V8_4,)
UP_TO_8_6 = (TensorRT.V8_4, TensorRT.V8_6)
UP_TO_10 = (*UP_TO_8_6, TensorRT.V10)
FROM_10 = (TensorRT.V10, TensorRT.V11)
FROM_11 = (TensorRT.V11,)


class Severity(Enum):
    """What a finding means for an engine build."""

    ERROR = "error"
    """TensorRT refuses the model, or computes something else than ONNX says."""
    WARNING = "warning"
    """The model builds, and is slower or less accurate than it could be."""
    ADVICE = "advice"
    """The model is right; something about its network is worth knowing, and nothing about its Q/DQ would change it."""


@dataclass(frozen=True)
class Rule:
    """One lint code.

    Args:
        code: Stable name; E_ is an error, W_ a warning or advice.
        rule: Id of the rule in docs/rules.md.
        expected: What would be right.
        fix: What to do.
        profiles: TensorRT versions in which it holds.
        is_advice: Whether it speaks of the network alone, so that no Q/DQ is at fault and none can be mended.
    """

    code: str
    rule: str
    expected: str
    fix: str
    profiles: tuple[TensorRT, ...] = ALL
    is_advice: bool = False

    @property
    def severity(self) -> Severity:
        """Advice, or an error or warning as the first letter says."""
        if self.is_advice:
            return Severity.ADVICE
        return Severity.ERROR if self.code.startswith("E_") else Severity.WARNING


_TABLE = (
    Rule(
        "E_SCALE_NONPOS",
        "A7",
        "every element of the scale finite and above 0",
        "`qdq fix` writes a scale that keeps what it computes; what is all zeros takes 1.0 (A19).",
    ),
    Rule(
        "E_SCALE_NOT_CONST",
        "A8",
        "the scale as an initializer or Constant",
        "Export with frozen observers; `qdq fix` carries out what is computed from constants alone.",
    ),
    Rule(
        "E_SCALE_DTYPE",
        "A9-A11",
        "an FP32 scale; since TensorRT 10 one of the data's own type, and for INT4 that of the result",
        "Store the scale in FP32, or in the type of the data for TensorRT 10 and above.",
    ),
    Rule(
        "W_SCALE_DTYPE",
        "A11",
        "an FP32 scale, or a DQ that returns the type of its scale",
        "Store the scale in FP32, or in the type that the DQ returns: as it is, the operator runs in float.",
        FROM_11,
    ),
    Rule(
        "E_ZP_MISSING",
        "A14",
        "three inputs: data, scale, and an INT8 zero point of zeros",
        "Add the zero point; `qdq fix` does.",
        UP_TO_8_6,
    ),
    Rule(
        "W_ZP_MISSING",
        "A15",
        "an INT8 zero point: TensorRT assumes INT8 without one, but ONNX says UINT8",
        "Add the zero point, so that every runtime computes the same; `qdq fix` does.",
        FROM_10,
    ),
    Rule(
        "E_ZP_NONZERO",
        "A13",
        "a zero point of zeros: TensorRT quantizes symmetrically",
        "Calibrate again, with ranges that are symmetric around zero.",
    ),
    Rule(
        "E_ZP_DTYPE",
        "A13, A16",
        "an INT8 zero point",
        "Quantize to INT8; `qdq fix` turns UINT8 with zero point 128 into INT8.",
    ),
    Rule(
        "E_ZP_SIZE",
        "A13",
        "as many zero points as scales",
        "Store the zero point with the shape of the scale; `qdq fix` does for zeros.",
    ),
    Rule(
        "E_ACT_PER_AXIS",
        "A2",
        "one scale for an activation",
        "Quantize activations per tensor; per-channel scales are for weights.",
    ),
    Rule(
        "W_SCALE_SHAPE",
        "A2",
        "a scalar as the scale of an activation",
        "Store the scale and its zero point as scalars; `qdq fix` does.",
        FROM_11,
    ),
    Rule(
        "E_AXIS_MISSING",
        "A20",
        "the axis attribute on a per-channel Q or DQ: its default differs between importers",
        "Write the axis; `qdq fix` does.",
        UP_TO_10,
    ),
    Rule(
        "E_AXIS_LEN",
        "A5",
        "a 1-D scale with as many elements as the tensor has along the axis",
        "Quantize the weight again along its output channels.",
    ),
    Rule(
        "E_AXIS_REDUCTION",
        "A26",
        "scales along the output channels of the weight, which the sum does not run over",
        "Quantize the weight along its output channels, or per tensor.",
    ),
    Rule(
        "E_BIAS_QUANTIZED",
        "A27",
        "a float bias",
        "Leave the bias in float (ONNX Runtime: extra option QuantizeBias=False); `qdq fix` does.",
    ),
    Rule(
        "E_BIAS_NOT_CONST",
        "A28",
        "the bias of a quantized convolution as an initializer",
        "Make the bias an initializer, or use TensorRT 8.5 and above.",
        UP_TO_8_4,
    ),
    Rule(
        "E_UNSUPPORTED_OP",
        "1.9",
        "operators of the ONNX domain that the importer knows, Q/DQ around float ones, and registered plugins",
        "It depends on the operator; the finding says.",
    ),
    Rule(
        "E_UNSUPPORTED_FORM",
        "1.9",
        "operators in the forms and on the types that the importer reads",
        "It depends on the form; the finding says.",
    ),
    Rule(
        "W_MINOR_RELEASE",
        "1.9",
        "what every minor release of TensorRT 10 reads",
        "Use the minor release that the finding names, or a newer one.",
        (TensorRT.V10,),
        is_advice=True,
    ),
    Rule(
        "W_DOUBLE",
        "1.9",
        "FP32: TensorRT computes FP64 in it",
        "Export the model in FP32, so that what is calibrated and compared is what runs.",
        is_advice=True,
    ),
    Rule(
        "W_RECURRENT_BRANCH",
        "1.9",
        "RNN, GRU, LSTM and Scan outside of the branches of If: TensorRT for RTX builds no engine of them there",
        "Export a model for each branch, without the If, or write the recurrence as a Loop.",
        FROM_11,
        is_advice=True,
    ),
    Rule(
        "E_QDQ_TYPE",
        "A12, 1.9",
        "Q from float to INT8 and DQ from INT8 to float",
        "Quantize to INT8.",
    ),
    Rule(
        "W_CODES_CLIPPED",
        "A1",
        "Q and DQ side by side: TensorRT saturates to -128..127 and knows no other range",
        "`qdq fix` takes it out: weights are clipped once, activations before the Q in float; every number stays.",
    ),
    Rule(
        "W_OPSET",
        "0.2",
        "an opset the version reads: 17 for TensorRT 8.4-8.6, 25 for TensorRT 11",
        "Export with opset 17 or below.",
        UP_TO_8_6,
    ),
    Rule(
        "W_WEIGHT_ONLY_OR_ACT_ONLY",
        "A31",
        "Q/DQ on the data and on the weight",
        "Quantize the other operand too, or take the pair away: the operator runs in float as it is.",
    ),
    Rule(
        "W_DQ_ONLY_WEIGHTS",
        "A30",
        "float weights behind Q and DQ",
        "Store float weights behind Q and DQ (`qdq quantize --weights fp32`), or use TensorRT 10 and above.",
        UP_TO_8_6,
    ),
    Rule(
        "E_GPU_TYPE",
        "7.4",
        "types that the GPU of --gpu has units for: the builder refuses any other",
        "It depends on the type; the finding names the GPUs that have it.",
        FROM_10,
    ),
    Rule(
        "W_GPU_TYPE",
        "7.4",
        "types that the GPU of --gpu has units for: these weights are made float before they are used",
        "It depends on the type; the finding names the GPUs that have it.",
        FROM_10,
    ),
    Rule(
        "W_FLOAT_REST",
        "4.8",
        "a float rest in FP16 or BF16: TensorRT 11 runs what is not quantized in the type that the file gives it",
        "`qdq convert MODEL --float-type fp16` makes it FP16; `qdq quantize --float-type fp16` writes it so at once.",
        FROM_11,
        is_advice=True,
    ),
    Rule(
        "W_GROUP_ALIGN",
        "A33, A34",
        "input and output channels of each group in multiples of 4",
        "Leave this grouped convolution float, as `qdq quantize --group-rules` does: it may have no INT8 kernel.",
    ),
    Rule(
        "W_CHANNEL_ALIGN",
        "A36",
        "input and output channels in multiples of 16, at least 32 of them going in",
        "Nothing needs to be done; INT8 may bring no speed here (`qdq quantize --exclude` leaves the operator float).",
        is_advice=True,
    ),
    Rule(
        "W_CONV1D",
        "A23",
        "2-D or 3-D convolutions: the importer puts a shuffle behind the DQ of 1-D kernels",
        "Write the convolution as 2-D with a kernel of height 1; `qdq quantize --exclude` leaves it float.",
    ),
    Rule(
        "W_SHARED_SCALE_MISMATCH",
        "P6",
        "one scale for all Qs of a tensor",
        "Give all of them the same scale; otherwise the producer writes float, and each Q is a kernel.",
    ),
    Rule(
        "W_STANDALONE_Q",
        "4.5",
        "a Q that the kernel before it absorbs",
        "It depends on the reason; the finding says.",
    ),
    Rule(
        "W_STANDALONE_DQ",
        "4.5",
        "a DQ that the kernel behind it absorbs",
        "It depends on the reason; the finding says.",
    ),
    Rule(
        "W_REQUANT",
        "R3",
        "Q with the scale of the DQ before it",
        "Give both one scale, so that they cancel.",
    ),
    Rule(
        "W_Q_BEFORE_RELU",
        "P3",
        "the Q behind Relu or Clip, where it fuses with the convolution as a whole",
        "Move the pair behind the activation; `qdq fix` does where the scales allow.",
    ),
    Rule(
        "W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT",
        "P5",
        "a float input to the activation, and the Q behind it",
        "Move the pair behind the activation and calibrate that tensor.",
    ),
    Rule(
        "W_QDQ_BETWEEN_PAD_AND_CONV",
        "P14",
        "Q/DQ before the Pad, so that the Pad fuses into the convolution",
        "Move the pair before the Pad; `qdq fix` does.",
    ),
)

NOT_BUILT = frozenset({"W_RECURRENT_BRANCH"})
"""Codes that are no errors of the server's TensorRT, and say why TensorRT for RTX builds nothing."""

RULES = {rule.code: rule for rule in _TABLE}
"""Lint code -> its row, errors and warnings mixed in the order they are checked.

`qdq_cli.explaining.lint` says of each why it is so, with an example.
"""


@dataclass(frozen=True)
class Finding:
    """One place in a model that breaks a rule.

    Args:
        code: Stable code, a key of `RULES`.
        node: Name of the ONNX node.
        tensor: Name of the tensor it is about, or "".
        found: What is there.
        expected: What would be right.
        rule: Id of the rule in docs/rules.md.
        fix: What to do.
        profiles: TensorRT versions in which it holds.
    """

    code: str
    node: str
    tensor: str
    found: str
    expected: str
    rule: str
    fix: str
    profiles: tuple[TensorRT, ...]

    @property
    def severity(self) -> Severity:
        """Error, warning or advice."""
        return RULES[self.code].severity


def finding(code: str, node: str, tensor: str, found: str, profiles: tuple[TensorRT, ...] | None = None) -> Finding:
    """Make a finding from its row of the table.

    Args:
        code: Key of `RULES`.
        node: Name of the ONNX node.
        tensor: Name of the tensor, or "".
        found: What is there.
        profiles: Versions in which this finding holds, where that is not the whole row's.
    """
    rule = RULES[code]
    return Finding(code, node, tensor, found, rule.expected, rule.rule, rule.fix, profiles or rule.profiles)


def check_wanted(codes: Iterable[str]) -> None:
    """Refuse to look for findings that are not there.

    Args:
        codes: `E` for any error, `W` for any finding, or keys of `RULES`.

    Raises:
        UsageError: One is something else.
    """
    for code in codes:
        if code not in ("E", "W", *RULES):
            near = did_you_mean(code, tuple(RULES))
            raise UsageError(
                f"--fail-on knows no code '{code}'.", f"{near} Codes: E, W, {', '.join(sorted(RULES))}.".lstrip()
            )
