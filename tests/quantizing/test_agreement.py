"""How sure a share of rows is, and what that says of a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.agreement import Standing, interval_of, interval_text, rows_to_decide, standing_of
from qdq_cli.quantizing.limits import held_limits, hold_limits, more_rows
from qdq_cli.quantizing.report import Distance, Rows


def of_rows(agreeing: int, rows: int) -> Distance:
    share, interval = 100 * agreeing / rows, interval_of(agreeing, rows)
    return Distance(30.0, 0.999, 0.1, False, share, top1_interval=interval, rows=rows)


@pytest.mark.parametrize(
    ("agreeing", "rows", "text"),
    [(11, 12, "61.5 to 99.8"), (0, 10, "0 to 30.8"), (10, 10, "69.2 to 100"), (81, 263, "25.3 to 36.8")],
)
def test_intervals_that_are_published(agreeing: int, rows: int, text: str):
    """The last two are in Clopper and Pearson's own charts and in NIST's handbook (7.2.4.1) to the digits there."""
    assert interval_text(interval_of(agreeing, rows)) == text


@given(st.integers(1, 2000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_an_interval_holds_the_share_and_is_a_mirror_of_the_others(counted: tuple[int, int]):
    agreeing, rows = counted
    low, high = interval_of(agreeing, rows)
    assert 0 <= low <= 100 * agreeing / rows + 1e-4
    assert 100 * agreeing / rows - 1e-4 <= high <= 100
    other = interval_of(rows - agreeing, rows)
    assert (100 - other[1], 100 - other[0]) == pytest.approx((low, high), abs=2e-4)


@pytest.mark.parametrize("least", [50.0, 90.0, 99.0, 99.9])
def test_so_many_rows_decide(least: float):
    rows = rows_to_decide(least)
    assert rows is not None
    assert standing_of(interval_of(rows, rows), least) is Standing.MET
    assert standing_of(interval_of(rows - 1, rows - 1), least) is Standing.UNDECIDED


def test_no_number_of_rows_makes_all_certain():
    assert rows_to_decide(100) is None
    held = held_limits({"scores": of_rows(9, 9)}, VerifyConfig(min_agreement=100))[0]
    assert (held.standing, held.fails, more_rows(held)) == (
        Standing.UNDECIDED, False, "No number of rows makes 100 % certain.",
    )  # fmt: skip


def test_eleven_of_twelve_do_not_decide_99_percent():
    config = VerifyConfig(min_agreement=99)
    with pytest.raises(LimitError, match=r"91\.67 % of the rows \(61\.5 to 99\.8\), too few rows") as caught:
        hold_limits({"scores": of_rows(11, 12)}, (), config, "Try it.")
    assert (caught.value.undecided, caught.value.kind, int(caught.value.exit_code)) == (True, "undecided", 5)
    assert "From 368 rows on" in caught.value.hint


def test_all_of_twelve_pass_and_are_said_to_be_undecided():
    held = held_limits({"scores": of_rows(12, 12)}, VerifyConfig(min_agreement=99, min_sqnr=20))
    assert [(each.limit, each.standing, each.fails) for each in held] == [
        ("min_sqnr", Standing.MET, False), ("min_agreement", Standing.UNDECIDED, False),
    ]  # fmt: skip
    hold_limits({"scores": of_rows(12, 12)}, (), VerifyConfig(min_agreement=99), "")


def test_what_is_missed_comes_before_what_is_undecided_and_the_furthest_first():
    outputs = {"near": of_rows(11, 12), "far": of_rows(2, 12), "further": of_rows(1, 12)}
    with pytest.raises(LimitError, match=r"'further' agrees with FP32 in 8\.33 %.*--min-agreement is 99 %") as caught:
        hold_limits(outputs, (), VerifyConfig(min_agreement=99), "")
    assert caught.value.kind == "limit"


def test_matched_rows_are_held_with_their_interval():
    held = held_limits({}, VerifyConfig(min_agreement=90), {"boxes": Rows(20, 19, 18)})
    assert [(each.found, each.interval, each.standing) for each in held] == [
        (90.0, interval_of(18, 20), Standing.UNDECIDED)
    ]
