"""One explanation, as a frozen record, and where what it says comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GUIDE = "TensorRT developer guide, Working with Quantized Types"
IMPORTER = "the ONNX importer of TensorRT, onnx/onnx-tensorrt"
ENGINES = "layers of the INT8 engines published with trt-engine-explorer (TensorRT 8.4; the tool is gone from 11)"
LOG = "a public builder log (TensorRT 8.4)"
MIGRATION = "TensorRT 11.4.1, migration guide and release notes"
TOOLKITS = "NVIDIA's quantization tools: pytorch-quantization, the TensorFlow toolkit, ModelOpt"
COMPILER = "small models built with TensorRT for RTX 1.7, whose compiler says which types each layer reads and writes"
MATRIX = "support matrices of TensorRT, of TensorRT for RTX and of ModelOpt"
ONNX = "ONNX operators QuantizeLinear and DequantizeLinear"
MEASURED = "measured with ONNX Runtime, optimizations off"
CHOICE = "a choice of qdq"


class Kind(Enum):
    """What sort of code it is, in the order in which they are listed."""

    RULE = "rule"
    ERROR = "error of qdq inspect"
    WARNING = "warning of qdq inspect"
    ADVICE = "advice of qdq inspect"
    STANDALONE = "reason of a stand-alone Q or DQ"
    SKIP = "reason why an input stays float"
    CAST = "reason why an operator stays FP32"
    LOW = "reason why an output is far from FP32"
    EXIT = "exit code"
    TOPIC = "topic"


LINTED = frozenset({Kind.ERROR, Kind.WARNING, Kind.ADVICE})
"""Kinds of codes that the lint of `qdq inspect` has: each expects something, and holds for certain releases."""


@dataclass(frozen=True)
class Entry:
    """What is written by hand about one code.

    Args:
        code: As the program prints it: A27, "4.4, case 4", W_CONV1D, FEW_CHANNELS.
        says: What it says, one sentence.
        why: Why it is so.
        example: A small case of it.
        mend: What to do about it; "" for a section of rules, which each say it.
        source: Where it comes from; "" where the rules it names say so.
    """

    code: str
    says: str
    why: str
    example: str
    mend: str = ""
    source: str = ""


@dataclass(frozen=True)
class Told:
    """What is written by hand about a code whose sentence stands in a table of the program.

    Args:
        why: Why it is so, with the rules.
        example: A small case of it.
        mend: What to do about it; "" where the table says that too.
    """

    why: str
    example: str
    mend: str = ""


@dataclass(frozen=True)
class Explanation:
    """Everything `qdq explain` prints about one code; also its JSON document.

    Args:
        code: As the program prints it.
        kind: What sort of code it is.
        says: What it says, one sentence.
        why: Why it is so.
        example: A small case of it.
        mend: What to do about it, or "".
        source: Where it comes from, or "".
        see: Further codes that belong to it: the findings of a rule, the rules of a finding.
        docs: Where the documentation has it, from the repository's root: page and anchor.
    """

    code: str
    kind: Kind
    says: str
    why: str
    example: str
    mend: str
    source: str
    see: tuple[str, ...]
    docs: str
