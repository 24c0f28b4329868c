"""Which release reads what, and what is said when the one asked for does not."""

from __future__ import annotations

import pytest

from qdq_cli.config.forms import TensorRT, WeightForm
from qdq_cli.process.errors import ModelError
from qdq_cli.targets.tensorrt.releases import oldest_release


@pytest.mark.parametrize(
    ("opset", "half", "weights", "expected"),
    [
        (17, False, WeightForm.FP32, TensorRT.V8_4),
        (17, False, WeightForm.INT8_COMPAT, TensorRT.V8_4),
        (17, False, WeightForm.INT8, TensorRT.V10),
        (18, False, WeightForm.FP32, TensorRT.V10),
        (19, True, WeightForm.FP32, TensorRT.V10),
        (25, False, WeightForm.FP32, TensorRT.V10),
    ],
)
def test_the_oldest_release_that_can_is_chosen(opset, half, weights, expected):
    assert oldest_release(opset, half=half, weights=weights, asked=None) is expected
    assert oldest_release(opset, half=half, weights=weights, asked=TensorRT.V11) is TensorRT.V11


@pytest.mark.parametrize(
    ("opset", "half", "weights", "message"),
    [
        (19, True, WeightForm.FP32, "FP16"),
        (17, False, WeightForm.INT8, "INT8 initializers"),
        (20, False, WeightForm.FP32, "opset 20"),
    ],
)
def test_a_release_that_is_too_old_is_refused_with_the_reason(opset, half, weights, message):
    with pytest.raises(ModelError, match=message) as error:
        oldest_release(opset, half=half, weights=weights, asked=TensorRT.V8_6)
    assert error.value.hint


def test_an_opset_beyond_every_release_is_refused():
    with pytest.raises(ModelError, match="opset 26"):
        oldest_release(26, half=False, weights=WeightForm.FP32, asked=None)
