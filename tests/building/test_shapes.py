"""Sizes of dynamic inputs: chosen, three at a time, or assumed and said to be."""

from __future__ import annotations

import numpy as np
import pytest

from qdq_cli.building.shapes import profiles_of
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.shapes import Dim
from qdq_cli.process.errors import UsageError


def spec(name: str, *shape: Dim) -> InputSpec:
    return InputSpec(name, np.dtype(np.float32), shape)


def test_an_input_of_fixed_sizes_needs_none():
    assert profiles_of((), [spec("x", 1, 3, 8, 8)]) == {}


@pytest.mark.parametrize(
    ("shape", "expected", "assumed"),
    [
        (("N", 3, 8, 8), "1x3x8x8", False),
        (("N", 3, "H", "W"), "1x3x224x224", True),
        ((None, None), "1x16", True),
        ((2, "N", 128), "2x16x128", True),
    ],
    ids=["batch", "picture", "sequence", "state"],
)
def test_what_nobody_chose(shape: tuple[Dim, ...], expected: str, assumed: bool):
    profile = profiles_of((), [spec("x", *shape)])["x"]
    assert (str(profile), profile.assumed, profile.is_fixed) == (expected, assumed, True)


def test_the_batch_of_one_input_is_that_of_all():
    profiles = profiles_of((), [spec("x", "N", 4), spec("state", 2, "N", 128)])
    assert {name: str(profile) for name, profile in profiles.items()} == {"x": "1x4", "state": "2x1x128"}
    assert not any(profile.assumed for profile in profiles.values())


def test_one_shape_stands_for_all_three():
    profile = profiles_of(["x:2x3x64x64"], [spec("x", "N", 3, "H", "W")])["x"]
    assert profile.shapes == ((2, 3, 64, 64),) * 3
    assert not profile.assumed


def test_smallest_usual_and_largest():
    profile = profiles_of(["1x3x32x32/1x3x64x64/8x3x96x96"], [spec("x", "N", 3, "H", "W")])["x"]
    assert profile.shapes == ((1, 3, 32, 32), (1, 3, 64, 64), (8, 3, 96, 96))
    assert (str(profile), profile.is_fixed) == ("1x3x32x32/1x3x64x64/8x3x96x96", False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x:1x3x8x8/1x3x9x9", "gives 2 shapes"),
        ("x:1x3x8x8/1x3x4x4/1x3x9x9", "shapes that do not grow"),
        ("x:1x4x8x8", "the model declares"),
        ("y:1x3x8x8", "no input of the model"),
    ],
)
def test_what_does_not_fit(text: str, found: str):
    with pytest.raises(UsageError, match=found):
        profiles_of([text], [spec("x", "N", 3, "H", "W")])
