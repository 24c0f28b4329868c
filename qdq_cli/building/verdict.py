"""Whether INT8 is worth it, in words, from the bytes that kernels move in every form that was built; and its limits."""

from __future__ import annotations

from collections.abc import Sequence

from qdq_cli.building.record import Beside, GpuBuild
from qdq_cli.building.variants import AS_IT_IS, FP16, FP32
from qdq_cli.screen.amounts import size_text

SAME = 0.05
"""Bytes that differ by less than this share are taken as equal."""

LIMITS = (
    "Bytes are no times: INT8 products also take fewer cycles than FP16 ones, TensorRT on a server fuses some of what "
    "this compiler keeps apart, and its own kernels are finished on the device; measure there before you decide."
)


def forms_of(build: GpuBuild) -> tuple[Beside, ...]:
    """The model as it is, and behind it its other forms, as rows of one table."""
    own = Beside(AS_IT_IS, build.outcome, "", len(build.kernels), build.built_types or {}, build.traffic)
    return (own, *build.beside)


def verdict_of(forms: Sequence[Beside], *, quantized: bool) -> tuple[str, ...]:
    """Say whether INT8 saves traffic, against FP16 where that was built, else against FP32.

    Args:
        forms: All forms that were built, the model itself first.
        quantized: Whether the model itself holds Q/DQ.

    Returns:
        Sentences; none where there is no form in INT8, or nothing to hold it against.
    """
    built = {form.name: form for form in forms if form.traffic is not None and not form.traffic.unknown}
    base = built.get(FP16) or built.get(FP32 if quantized else AS_IT_IS)
    in_int8 = [form for form in built.values() if form.operators.get("INT8") and form is not base]
    if base is None or not in_int8:
        return ()
    best = min(in_int8, key=_bytes)
    own = built.get(AS_IT_IS, best) if quantized else best
    size = f"against {size_text(_bytes(base))} in '{base.name}'"
    sentences = [f"Kernels move {size_text(_bytes(own))} in '{own.name}', {size}: {_judged(own, base)}."]
    if _bytes(best) < (1 - SAME) * _bytes(own):
        sentences.append(f"In '{best.name}' they move {size_text(_bytes(best))}: {_judged(best, base)}.")
    return (*sentences, LIMITS)


def _bytes(form: Beside) -> int:
    return form.traffic.total_bytes if form.traffic is not None else 0


def _judged(form: Beside, base: Beside) -> str:
    ratio = _bytes(form) / _bytes(base) if _bytes(base) else 1.0
    if ratio < 1 - SAME:
        return f"INT8 saves {100 * (1 - ratio):.0f} % of the traffic here"
    if ratio > 1 + SAME:
        return f"INT8 moves {100 * (ratio - 1):.0f} % more, and saves nothing here"
    return "INT8 saves no traffic here"
