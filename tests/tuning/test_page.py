"""The page of `qdq tune`: which of the measured variants its line joins."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.screen.page import Point
from qdq_cli.tuning.page import frontier_of

_numbers = st.integers(-4, 4).map(float)
_points = st.builds(Point, _numbers, st.one_of(_numbers, st.just(math.nan)), st.just(""))


@given(st.lists(_points, max_size=8), st.booleans())
def test_the_line_runs_over_the_best_whatever_the_order_of_the_points(points: list[Point], lower_is_better: bool):
    sign = -1 if lower_is_better else 1
    joined = [points[place] for place in frontier_of(points, lower_is_better=lower_is_better)]
    assert all(left.x > right.x and sign * left.y < sign * right.y for left, right in pairwise(joined))
    for point in points:
        known = not math.isnan(point.y)
        assert not known or any(best.x >= point.x and sign * best.y >= sign * point.y for best in joined)
