"""How fast one GPU of each compute capability multiplies in each type and reads its memory, at its peak, as data.

Absolute figures differ between GPUs of one capability; what a mix of types is chosen by is their ratio, to each other
and to the memory.

Sources: NVIDIA's data sheets of T4, A100 (SXM, 80 GB), A10, L4, H100 (SXM) and HGX B200, and the appendix of its RTX
Blackwell white paper: tensor cores without sparsity, with sums in FP32 where the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.config.forms import Gpu
from qdq_cli.targets.tensorrt.precision import Precision

_P = Precision


@dataclass(frozen=True)
class Rates:
    """What one GPU does at its peak.

    Args:
        device: Its name.
        gigabytes: Bytes that it reads and writes a second, in 10^9.
        tera: Type -> operations a second in it, in 10^12; a multiply-accumulate is two. FP32 stands for TF32, which
            TensorRT takes by default, where the GPU has it.
    """

    device: str
    gigabytes: float
    tera: Mapping[Precision, float]

    def seconds(self, precision: Precision, macs: int, size_bytes: float) -> float:
        """Return the time of one kernel: that of its products or of its memory, whichever is longer.

        Args:
            precision: The type it multiplies in; one without units of its own runs as FP16.
            macs: Its multiply-accumulates.
            size_bytes: What it reads and writes, weights included.
        """
        tera = self.tera.get(precision, self.tera[_P.FP16])
        return max(2 * macs / (tera * 1e12), size_bytes / (self.gigabytes * 1e9))


RATES: Mapping[Gpu, Rates] = {
    Gpu.SM75: Rates("T4", 320, {_P.FP32: 8.1, _P.FP16: 65, _P.INT8: 130}),
    Gpu.SM80: Rates("A100", 2039, {_P.FP32: 156, _P.FP16: 312, _P.INT8: 624}),
    Gpu.SM86: Rates("A10", 600, {_P.FP32: 62.5, _P.FP16: 125, _P.INT8: 250}),
    Gpu.SM89: Rates("L4", 300, {_P.FP32: 60, _P.FP16: 121, _P.INT8: 242, _P.FP8: 242}),
    Gpu.SM90: Rates("H100", 3350, {_P.FP32: 494, _P.FP16: 989, _P.INT8: 1979, _P.FP8: 1979}),
    Gpu.SM100: Rates("B200", 8000, {_P.FP32: 1100, _P.FP16: 2250, _P.INT8: 4500, _P.FP8: 4500}),
    Gpu.SM120: Rates("RTX 5090", 1792, {_P.FP32: 104.8, _P.FP16: 209.5, _P.INT8: 838, _P.FP8: 419}),
}
"""GPU -> the rates of one of its devices, oldest first."""
