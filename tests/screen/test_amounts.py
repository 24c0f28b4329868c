"""Sizes, counts and shares are written in one way, and never say what is not so."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.screen.amounts import seconds_text, share_text, short_count, size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (694_600, "694.6 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_700_000_000, "2.7 GB"),
        (3_000_000_000_000, "3.0 TB"),
    ],
)
def test_sizes(size_bytes: int, text: str):
    assert size_text(size_bytes) == text


@given(st.integers(0, 10**16))
def test_counts_read_back_to_a_twentieth_of_their_last_prefix(number: int):
    found = re.fullmatch(r"([\d.]+)(?: ([kMGT]))?", short_count(number))
    assert found is not None
    factor = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[found[2]]
    assert abs(float(found[1]) * factor - number) <= 0.05001 * factor
    assert float(found[1]) < 1000 or factor == 10**12


@given(st.floats(0, 100))
def test_all_and_nothing_are_said_of_all_and_nothing_alone(percent: float):
    assert (share_text(percent) == "100.0 %") == (percent == 100.0)
    assert (share_text(percent) == "0.0 %") == (percent == 0.0)


def test_stages_without_time_are_left_out():
    assert seconds_text({"prepare": 0.1, "plan": 0.01, "observe": 0.33}) == "0.4  (prepare 0.1, observe 0.3)"
    assert seconds_text({"plan": 0.01}) == "0.0"
