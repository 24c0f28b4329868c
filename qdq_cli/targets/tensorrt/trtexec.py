"""The options of trtexec by release, and with which of them each release builds a result.

Since TensorRT 11 the types in the file alone say what runs in which type: the flags that allowed INT8 and FP16 are
gone, and trtexec ends with an error at an option it does not know.

Sources: NVIDIA/TensorRT, samples/common/sampleOptions.cpp (what the parsers of AllOptions take) and
samples/trtexec/trtexec.cpp (unknown options) at the tags 8.4.1 to v11.1; rules, section 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from qdq_cli.config.forms import TensorRT
from qdq_cli.placement.target import Build

Version = tuple[int, int]
"""Major and minor number of a release, which are compared in this order."""

OLDEST: Version = (8, 4)
NEWEST: Version = (11, 1)
"""The releases whose source was read lie between these two."""

MINORS: dict[str, tuple[Version, Version]] = {
    "8.4": ((8, 4), (8, 5)),
    "8.6": ((8, 6), (8, 6)),
    "9": ((9, 1), (9, 3)),
    "10": ((10, 0), (10, 16)),
    "11": ((11, 0), (11, 1)),
}
"""A release, as people speak of it -> the oldest and the newest one of it that was read."""

_SPANS: tuple[tuple[Version, Version, str], ...] = (
    ((8, 4), (8, 6), "batch deploy maxBatch model output uff uffInput uffNHWC"),
    ((8, 4), (9, 3), "buildOnly explicitBatch explicitPrecision minTiming nvtxMode workspace"),
    (
        (8, 4),
        (10, 16),
        "best calib fp16 int8 layerOutputTypes layerPrecisions maxShapesCalib minShapesCalib optShapesCalib "
        "precisionConstraints restricted",
    ),
    (
        (8, 4),
        (11, 1),
        "allowGPUFallback avgRuns avgTiming device directIO dumpLayerInfo dumpOutput dumpProfile dumpRefit duration "
        "exportLayerInfo exportOutput exportProfile exportTimes exposeDMA help idleTime inputIOFormats iterations "
        "loadEngine loadInputs maxShapes memPoolSize minShapes noBuilderCache noDataTransfers noTF32 onnx optShapes "
        "outputIOFormats percentile plugins profilingVerbosity refit safe saveEngine separateProfileRun shapes "
        "sleepTime sparsity streams tacticSources threads timeDeserialize timeRefit timingCacheFile useCudaGraph "
        "useDLACore useManagedMemory useSpinWait verbose warmUp",
    ),
    ((8, 4), (10, 3), "consistency"),
    ((8, 5), (9, 3), "heuristic"),
    ((8, 5), (11, 1), "persistentCacheRatio preview"),
    ((8, 6), (10, 16), "fp8"),
    (
        (8, 6),
        (11, 1),
        "buildDLAStandalone builderOptimizationLevel dumpRawBindingsToFile dynamicPlugins excludeLeanRuntime "
        "hardwareCompatibilityLevel ignoreParsedPluginLibs infStreams layerDeviceTypes leanDLLPath maxAuxStreams "
        "setPluginsToSerialize skipInference staticPlugins tempdir tempfileControls useRuntime vc versionCompatible",
    ),
    ((9, 1), (9, 3), "nativeInstanceNorm ni"),
    ((9, 1), (10, 16), "bf16 calibProfile"),
    (
        (9, 1),
        (11, 1),
        "dumpOptimizationProfile errorOnTimingCacheMiss getPlanVersionOnly noCompilationCache profile stronglyTyped "
        "useProfile",
    ),
    ((9, 3), (10, 16), "weightless"),
    (
        (10, 0),
        (11, 1),
        "allocationStrategy allowWeightStreaming markDebug pi pluginInstanceNorm saveDebugTensors stripWeights "
        "weightStreamingBudget",
    ),
    ((10, 1), (10, 16), "int4"),
    ((10, 1), (11, 1), "stripAllWeights"),
    ((10, 2), (11, 1), "runtimePlatform"),
    ((10, 4), (11, 1), "maxTactics"),
    ((10, 6), (11, 1), "monitorMemory"),
    ((10, 7), (11, 1), "asyncFileReader"),
    ((10, 8), (11, 1), "l2LimitForTiling tilingOptimizationLevel"),
    ((10, 11), (11, 1), "uint8AsymmetricQuantizationDLA"),
    ((10, 12), (11, 1), "distributiveIndependence markUnfusedTensorsAsDebugTensors saveAllDebugTensors"),
    ((10, 13), (11, 1), "consistency dumpKernelText remoteAutoTuningConfig"),
    ((10, 14), (11, 1), "decomposableAttentions refitFromOnnx"),
    ((10, 15), (11, 1), "cpuOnly enablePluginOverride"),
    ((10, 16), (11, 1), "adjustForDLA reportCapabilityDLA safetyPlugins"),
    ((11, 0), (11, 1), "includeDataTransfers noCudaGraph noSpinWait"),
    (
        (11, 1),
        (11, 1),
        "accuracyAlgorithm accuracyThreshold atol continue dryRun helpBuildRoute loadRefOutputs refPair rtol "
        "saveAllEngines setBuildRoute tuneBuildRouteFile tuneBuildRoutes tuningCacheFile tuningResultFile "
        "tuningSearch tuningTimeOut",
    ),
)
"""First release, last release, and the options that every one between them takes."""


IDLE = {"stronglyTyped": (11, 0)}
"""An option -> the release from which on it is still taken, and does nothing."""


def takes(option: str, first: Version = OLDEST, last: Version = NEWEST) -> bool:
    """Say whether every release between two takes an option, which is named without its dashes."""
    return any(since <= first and last <= until and option in names.split() for since, until, names in _SPANS)


def family_of(version: Version) -> TensorRT:
    """Return the release that people speak of a version as; one that is newer than all of them is the newest.

    Args:
        version: Not older than `OLDEST`.
    """
    return next(release for release in reversed(TensorRT) if MINORS[release.value][0] <= version)


WEAK = ("int8", "fp16")
"""What allows types where flags do: what is not quantized runs in the float type that is faster there."""

STRONG = ("stronglyTyped",)
"""What has the types in the file decide, where that has to be asked for."""

FLOAT_REST = "What is not INT8 runs in FP32 there; --float-type fp16 changes it."
"""What users of 11 have to know of a file whose float rest is FP32."""


def builds(oldest: TensorRT, *, half: bool, asked: TensorRT | None = None) -> tuple[Build, ...]:
    """Say how each release that reads a result builds it; releases that take the same command stand together.

    Args:
        oldest: The oldest release that reads it.
        half: Whether what is not quantized is FP16 or BF16 in it.
        asked: The release that was asked for, which is the only one to speak of then; None where none was.
    """
    releases = [release for release in _from(oldest) if asked in (None, release)]
    found: list[Build] = []
    for command, group in groupby(releases, lambda release: _command(STRONG if half else WEAK, *MINORS[release.value])):
        named = [release.value for release in group]
        span = " to ".join(dict.fromkeys((named[0], named[-1])))
        decided_by_file = " --" not in command.partition(MODEL)[2]
        found.append(Build(f"TensorRT {span}", command, FLOAT_REST if decided_by_file and not half else ""))
    return tuple(found)


MODEL = "{model}"


def _command(options: Sequence[str], first: Version, last: Version) -> str:
    """Write the command with those of the options that all these releases take, and that do something there."""
    useful = (name for name in options if takes(name, first, last) and not IDLE.get(name, NEVER) <= first)
    return " ".join((f"trtexec --onnx={MODEL}", *(f"--{name}" for name in useful)))


NEVER: Version = (99, 0)


def _from(oldest: TensorRT) -> list[TensorRT]:
    """Return a release and those that followed it."""
    releases = list(TensorRT)
    return releases[releases.index(oldest) :]
