"""How a result is written, and for which TensorRT."""

from __future__ import annotations

from enum import Enum

TARGETS = ("tensorrt", "tensorrt-rtx", "onnxruntime", "openvino")
"""Names of what models are quantized for; `qdq_cli.targets.known` says what each of them is."""

DEFAULT_TARGET = TARGETS[0]


class QuantType(Enum):
    """What quantized tensors are stored as, and computed in."""

    INT8 = "int8"
    """8-bit integers, in the scheme of the target."""
    FP8 = "fp8"
    """Floats of 8 bits, E4M3: 3 digits behind the leading one, up to 448."""
    INT8_WEIGHTS = "int8-weights"
    """Weights alone as 8-bit integers, one scale an output channel; what is computed stays float."""
    INT4_WEIGHTS = "int4-weights"
    """Weights alone as 4-bit integers, one scale a block of inputs; what is computed stays float."""
    NVFP4 = "nvfp4"
    """Floats of 4 bits in blocks of 16, whose scales are FP8; those of activations are found at run time."""
    MXFP8 = "mxfp8"
    """FP8 in blocks of 32, whose scales are powers of two; those of activations are found at run time."""

    @property
    def title(self) -> str:
        """How sentences call it: FP8, INT4 weights."""
        kind, _, what = self.value.partition("-")
        return f"{kind.upper()} {what}".rstrip()

    @property
    def experimental(self) -> bool:
        """Whether nothing on a CPU runs what is written: a twin in ordinary operators is verified."""
        return self in (QuantType.NVFP4, QuantType.MXFP8)

    @property
    def weights_alone(self) -> bool:
        """Whether activations stay float, so that nothing is calibrated."""
        return self in (QuantType.INT8_WEIGHTS, QuantType.INT4_WEIGHTS)


class WeightForm(Enum):
    """How quantized weights are stored (rules, section 1.7)."""

    FP32 = "fp32"
    """F1: float initializer -> Q -> DQ. Every TensorRT reads it."""
    INT8 = "int8"
    """F2: INT8 initializer -> DQ. A quarter of the size; TensorRT 10 and above."""
    INT8_COMPAT = "int8-compat"
    """F3: float initializer of integer values -> Q(scale 1) -> DQ. Every TensorRT reads it."""


STORED = {"onnxruntime": WeightForm.INT8, "openvino": WeightForm.INT8}
"""Target -> how weights are stored for it, where that is not as floats: it folds them into integers at each load."""


BUILT_BY_NVIDIA = ("tensorrt", "tensorrt-rtx")
"""Those whose kernels are predicted one by one, and can be held against what NVIDIA's compiler builds."""


class Cpu(Enum):
    """Processors that want different integers."""

    AUTO = "auto"
    """The one this runs on."""
    VNNI = "vnni"
    """x86 with AVX-512 VNNI or AVX-VNNI: products of UINT8 by INT8 are exact."""
    AVX2 = "avx2"
    """x86 without: sums of two such products saturate in 16 bits."""
    ARM = "arm"
    """ARM, whose kernels multiply INT8 by INT8."""


class FloatType(Enum):
    """The type of what is not quantized."""

    FP32 = "fp32"
    """As the model has it."""
    FP16 = "fp16"
    """IEEE 754 half precision: 11 binary digits, up to 65504."""
    BF16 = "bf16"
    """The upper half of FP32: 8 binary digits, the reach of FP32."""


class ScaleType(Enum):
    """The type of the scales of Q and DQ beside a 16-bit float rest."""

    DATA = "data"
    """That of the data they stand beside."""
    FP32 = "fp32"
    """FP32, and each DQ says in which type it gives its floats (`output_dtype`, opset 23)."""


class Form(Enum):
    """How the INT8 region is written where operators commute with quantization."""

    PAIRS = "pairs"
    """A Q/DQ pair at each end of a run of commuting operators."""
    INT8_REGIONS = "int8-regions"
    """Q really moved backward and DQ forward: the commuting operators run on INT8 tensors."""


class Gpu(Enum):
    """NVIDIA GPUs by compute capability, oldest first."""

    SM75 = "sm75"
    SM80 = "sm80"
    SM86 = "sm86"
    SM89 = "sm89"
    SM90 = "sm90"
    SM100 = "sm100"
    SM120 = "sm120"


class TensorRT(Enum):
    """TensorRT releases that differ in what they read, oldest first (rules, section 0.2)."""

    V8_4 = "8.4"
    V8_6 = "8.6"
    V10 = "10"
    V11 = "11"


IMPORTERS = {"tensorrt-rtx": TensorRT.V11}
"""Target -> the release of TensorRT whose importer and whose strong typing it has, where it has no releases of its own.

Source: docs/conformance.md, where the importer of TensorRT for RTX 1.7 is held against what TensorRT 11 reads.
"""
