"""What processors do otherwise: which types ONNX Runtime's kernels want on each, and which products they saturate.

Source: MLAS of ONNX Runtime: VPDPBUSD adds four products of UINT8 by INT8 in 32 bits (AVX-512 VNNI, AVX-VNNI); without
it VPMADDUBSW adds two in 16 bits, which saturate above 32,767; on ARM both operands are INT8 (QDQIsInt8Allowed).
"""

from __future__ import annotations

import platform
from dataclasses import replace

import numpy as np

from calibrators.qtypes import INT8, UINT8, QType
from calibrators.scheme import PerChannel, Scheme
from qdq_cli.config.forms import Cpu
from qdq_cli.placement.target import Target
from qdq_cli.process.processor import Processor, this_processor

INT7 = QType("int8", -64, 64, np.dtype(np.int8), 0, 64)
"""7 bits, stored as INT8: 2 * 255 * 64 is 32,640, so that no sum of two products saturates in 16 bits."""

_ARM = ("arm", "aarch64")

NOTES = {
    Cpu.VNNI: "Written for processors with VNNI; on others with AVX2 products of UINT8 by INT8 saturate: --cpu avx2.",
    Cpu.AVX2: "Written for processors without VNNI: weights have 7 bits, so that no product saturates.",
    Cpu.ARM: "Written for ARM processors: activations are INT8, around a zero point.",
}
"""What a user should know of a result."""


def for_processor(target: Target, cpu: Cpu) -> Target:
    """Return the target with the schemes that a processor wants."""
    activations = Scheme(INT8 if cpu is Cpu.ARM else UINT8, symmetric=False)
    weights = Scheme(INT7 if cpu is Cpu.AVX2 else INT8, granularity=PerChannel(0))
    return replace(target, activations=activations, weights=weights, processor=cpu, note=NOTES[cpu])


def written_for_this() -> Cpu:
    """Say what this machine has; AVX2, whose results are exact everywhere, where it does not tell."""
    return written_for(platform.machine(), this_processor())


def written_for(machine: str, processor: Processor) -> Cpu:
    """Say which integers a processor computes exactly.

    Args:
        machine: Its kind, as `platform.machine` gives it.
        processor: What its system says of it.
    """
    if machine.lower().startswith(_ARM):
        return Cpu.ARM
    return Cpu.VNNI if "VNNI" in processor.vector_units else Cpu.AVX2
