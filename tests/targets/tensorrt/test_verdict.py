"""Which releases a model is judged for, and what is a finding there."""

from __future__ import annotations

import pytest

from qdq_cli.config.forms import TensorRT
from qdq_cli.targets.tensorrt.findings import ALL, FROM_10, UP_TO_8_4, UP_TO_8_6, Finding, finding
from qdq_cli.targets.tensorrt.lint_operators import FOLD
from qdq_cli.targets.tensorrt.verdict import verdict

ZERO_POINT = finding("E_ZP_MISSING", "q", "x", "two inputs")
OPSET = finding("W_OPSET", "", "", "opset 18", UP_TO_8_6)
HALF = finding("E_SCALE_DTYPE", "q", "s", "a FLOAT16 scale", UP_TO_8_6)
MIXED = finding("E_SCALE_DTYPE", "q", "s", "a FLOAT16 scale on FLOAT data", FROM_10)
FP8 = finding("E_QDQ_TYPE", "q", "x", "FLOAT8E4M3FN", UP_TO_8_6)
INT8_WEIGHT = finding("W_DQ_ONLY_WEIGHTS", "conv", "w", "an integer weight behind DQ")
NARROW = finding("W_CHANNEL_ALIGN", "conv", "y", "3 -> 16 channels")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (OPSET, "opset 18"),
        (HALF, "FLOAT16 scales"),
        (FP8, "FLOAT8E4M3FN data"),
        (INT8_WEIGHT, "integer weights behind DQ"),
    ],
)
def test_what_tensorrt_8_does_not_read_is_said_once_and_is_no_finding(form: Finding, said: str):
    found = verdict([form, ZERO_POINT, form])
    assert (found.findings, found.newer_form, found.releases) == ((), (said,), FROM_10)
    for release in UP_TO_8_6:
        assert verdict([form, ZERO_POINT], release).findings == (form, ZERO_POINT)
        assert verdict([form], release).newer_form == ()
    assert verdict([form, ZERO_POINT], TensorRT.V10).findings == ()


def test_operators_that_only_the_oldest_release_lacks_leave_the_others():
    newer = finding("E_UNSUPPORTED_OP", "norm", "y", "LayerNormalization, which is read since TensorRT 8.6", UP_TO_8_4)
    found = verdict([newer, ZERO_POINT, newer])
    assert (found.findings, found.newer_form, found.releases) == ((ZERO_POINT,), ("LayerNormalization",), ALL[1:])
    both = verdict([newer, OPSET])
    assert (both.newer_form, both.releases) == (("opset 18",), FROM_10)
    assert verdict([newer], TensorRT.V8_4).findings == (newer,)


def test_bfloat16_is_said_once_and_not_of_every_operator():
    found = [
        finding("E_UNSUPPORTED_FORM", name, "y", f"{name} on BFLOAT16, which is read since TensorRT 9", UP_TO_8_6)
        for name in ("Relu", "Add")
    ]
    assert verdict(found).newer_form == ("BFLOAT16 data",)


def test_what_holds_everywhere_or_can_be_repaired_is_a_finding_of_every_release():
    wrong_type = finding("E_SCALE_DTYPE", "q", "s", "a INT32 scale")
    too_new = finding("W_OPSET", "", "", "opset 26", (*UP_TO_8_6, TensorRT.V11))
    folded = Finding(**{**vars(INT8_WEIGHT), "fix": FOLD})
    for entry in (ZERO_POINT, wrong_type, too_new, folded):
        assert verdict([entry]).findings == (entry,)
        assert (verdict([entry]).releases, verdict([entry]).newer_form) == (ALL, ())


def test_a_scale_of_another_type_than_its_data_stays_an_error_for_the_newer_releases():
    assert verdict([HALF, MIXED]).findings == (MIXED,)


def test_advice_stands_apart():
    found = verdict([NARROW, ZERO_POINT])
    assert (found.findings, found.advice) == ((ZERO_POINT,), (NARROW,))
