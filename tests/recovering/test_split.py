"""Which samples recovery learns from and which it is judged on: two parts that share none, where there are enough."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from qdq_cli.judging.aside import JUDGE_SAMPLES, Split
from tests.recovering.channel_networks import Net
from tests.recovering.starts import start_of_network


def split_of(folder: Path, samples: int, batch: int | str = "N", batch_size: int | None = None) -> Split:
    net = Net()
    y = net.gemm(net.input("x", (batch, 4)), 4, 3, "y", scale=None)
    return start_of_network(folder, net.proto(y), samples=samples, batch_size=batch_size).split


def members(part: tuple[tuple[int, ...], ...]) -> list[int]:
    return [index for group in part for index in group]


@pytest.mark.parametrize("samples", [2, 3, 4, 5, 8, 13, 100, 300])
def test_a_quarter_is_set_aside_evenly_spread(tmp_path: Path, samples: int):
    parts = split_of(tmp_path, samples)
    learn, judge = members(parts.learn), members(parts.judge)
    every = parts.samples.selection.calibration
    assert sorted(learn + judge) == sorted(every)
    assert len(judge) == max(1, min(len(every) // 4, JUDGE_SAMPLES))
    gaps = [every.index(second) - every.index(first) for first, second in itertools.pairwise(judge)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_single_sample_serves_for_both(tmp_path: Path):
    parts = split_of(tmp_path, 1)
    assert members(parts.learn) == members(parts.judge) == [0]


@pytest.mark.parametrize("samples", [4, 6, 7, 8, 9, 30, 61])
def test_both_parts_fill_the_runs_of_a_fixed_batch(tmp_path: Path, samples: int):
    parts = split_of(tmp_path, samples, batch=4)
    assert parts.learn and parts.judge
    assert {len(group) for group in (*parts.learn, *parts.judge)} == {4}
    shared = set(members(parts.learn)) & set(members(parts.judge))
    assert bool(shared) == (len(parts.samples.selection.calibration) < 8)


def test_samples_run_together_in_both_parts(tmp_path: Path):
    parts = split_of(tmp_path, 40, batch_size=5)
    for part in (parts.learn, parts.judge):
        assert {len(group) for group in part[:-1]} == {5} and 1 <= len(part[-1]) <= 5
        assert [batch.samples for batch in parts.load(part)] == [len(group) for group in part]
