"""Whether INT8 is worth it, in words, from the bytes of every form."""

from __future__ import annotations

import pytest

from qdq_cli.building.record import Beside, Outcome, Traffic
from qdq_cli.building.variants import AS_IT_IS, AS_IT_IS_REST, FP16, FP32, PLANNED
from qdq_cli.building.verdict import LIMITS, verdict_of


def form(name: str, size: int, kind: str = "INT8", unknown: int = 0) -> Beside:
    return Beside(name, Outcome.BUILT, "", 1, {kind: 1}, Traffic({kind: size}, size, 0, unknown))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (500_000, "INT8 saves 50 % of the traffic here"),
        (1_020_000, "INT8 saves no traffic here"),
        (1_500_000, "INT8 moves 50 % more, and saves nothing here"),
    ],
)
def test_a_float_model_is_judged_by_its_plan_against_fp16(size: int, said: str):
    forms = [form(AS_IT_IS, 9_000_000, "FP32"), form(FP16, 1_000_000, "FP16"), form(PLANNED, size)]
    first, *others = verdict_of(forms, quantized=False)
    assert first.endswith(f"against 1.0 MB in 'FP16': {said}.")
    assert others == [LIMITS]


def test_a_quantized_model_is_judged_as_it_is_and_by_its_best_form():
    forms = [form(AS_IT_IS, 3_000_000), form(FP32, 4_000_000, "FP32"), form(FP16, 2_000_000, "FP16")]
    first, second, limits = verdict_of([*forms, form(AS_IT_IS_REST, 1_000_000)], quantized=True)
    assert first == (
        "Kernels move 3.0 MB in 'as it is', against 2.0 MB in 'FP16': INT8 moves 50 % more, and saves nothing here."
    )
    assert second == "In 'as it is, FP16 rest' they move 1.0 MB: INT8 saves 50 % of the traffic here."
    assert limits == LIMITS


def test_fp32_stands_in_for_fp16():
    (first, _) = verdict_of([form(AS_IT_IS, 1_000_000), form(FP32, 4_000_000, "FP32")], quantized=True)
    assert first.endswith("against 4.0 MB in 'FP32': INT8 saves 75 % of the traffic here.")


def test_without_anything_to_compare_nothing_is_said():
    float_forms = [form(AS_IT_IS, 1, "FP32"), form(FP16, 1, "FP16")]
    assert verdict_of(float_forms, quantized=False) == ()
    assert verdict_of([form(AS_IT_IS, 1)], quantized=True) == ()
    assert verdict_of([form(AS_IT_IS, 1), form(FP16, 1, "FP16", unknown=1)], quantized=True) == ()
