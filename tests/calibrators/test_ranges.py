"""Range."""

import pytest

from calibrators import NonFiniteError, ParameterError, Range


def test_amax_is_the_farther_end() -> None:
    assert Range(-5.0, 1.0).amax == 5.0
    assert Range(0.25, 1.0).amax == 1.0
    assert Range(-3.0, -2.0).amax == 3.0


@pytest.mark.parametrize(("minimum", "maximum"), [(0.0, float("nan")), (float("-inf"), 0.0), (0.0, float("inf"))])
def test_ends_must_be_finite(minimum: float, maximum: float) -> None:
    with pytest.raises(NonFiniteError):
        Range(minimum, maximum)


def test_ends_must_be_in_order() -> None:
    with pytest.raises(ParameterError, match="ends before it begins"):
        Range(1.0, 0.0)
