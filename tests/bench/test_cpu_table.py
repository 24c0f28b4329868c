"""The table of tools for CPUs and their draws, without other tools and without evaluating anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cpu_draws, cpu_table
from bench.cpu_draws import difference, drawn, lines
from bench.cpu_table import fill, in_turn, markdown, time_all
from bench.figures import Effort, Evaluation, Figure, MeasureError
from bench.kit import Subject
from bench.openvino import quantize
from bench.peer_models import read_samples, write_samples
from qdq_cli import DataConfig
from tests.workspace import make_workspace


def by_this_process(subject: Subject, maker: str, output: Path, effort: Effort) -> dict[str, Any]:
    """Quantize here instead of in a process of its own; NNCF is not there."""
    if maker == "nncf":
        raise MeasureError("No module named 'nncf'")
    samples = output.with_name(f"{subject.name}.npz")
    write_samples(subject.model, subject.data, samples)
    return {"cpu_seconds": quantize(maker, subject.model, samples, output)}


def test_a_network_is_filled_once_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_table, "MAKERS", ("fp32", "qdq-onnxruntime", "nncf"))
    monkeypatch.setattr(cpu_table, "COLUMNS", {"onnxruntime": ("fp32", "qdq-onnxruntime"), "openvino": ("nncf",)})
    monkeypatch.setattr(cpu_table, "_MOST_SECONDS", 0.0)
    monkeypatch.setattr(cpu_table, "make", by_this_process)
    evaluated = []
    monkeypatch.setattr(cpu_table, "measure", lambda path, *_: evaluated.append(path) or Figure("top1", 91.0, 10, None))
    space = make_workspace(tmp_path)
    subject = Subject("cats", "", space.model, DataConfig(calib=(space.arrays,)), Evaluation((), ()))
    found: cpu_table.Found = {}
    for _ in range(2):  # the second time all that can be made is there
        fill(subject, tmp_path, found, Effort(None, 1, 600.0))
    assert evaluated == [space.model, tmp_path / "cats.qdq-onnxruntime.onnx"]
    time_all(subject, tmp_path, found)
    assert all(found[name]["onnxruntime_ms"] > 0 for name in ("fp32", "qdq-onnxruntime"))
    table = markdown(["cats"], {"cats": found}).splitlines()
    assert [cell.split(",")[0].strip() for cell in table[2].split("|")[1:-1]] == [
        "cats", "91.00", "91.00", "No module named 'nncf'",
    ]  # fmt: skip


def test_runs_take_turns_and_begin_with_another_one_each_time():
    order: list[str] = []
    clock = itertools.count().__next__
    runs: dict[str, Callable[[], object]] = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    assert in_turn(runs, seconds=0.0, clock=clock) == {"a": 1000.0, "b": 1000.0}
    assert order[:8] == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert len(order) == 9 * 2 * 2
    assert in_turn({}, seconds=0.0) == {}


def test_a_draw_holds_two_thirds_the_same_ones_each_time(tmp_path: Path):
    every = tmp_path / "every.npz"
    np.savez(every, **{f"{number:05}/x": np.full((1, 2), number) for number in range(9)})
    kept = []
    for draw in (0, 1, 1, 2):
        drawn(every, draw, tmp_path / "draw.npz")
        kept.append([int(feed["x"][0, 0]) for feed in read_samples(tmp_path / "draw.npz")])
    assert kept[0] == list(range(9))
    assert len(kept[1]) == 6
    assert kept[1] == kept[2] != kept[3]


def test_differences_are_paired():
    apart, error = difference([2.0, 4.0, 9.0], [1.0, 3.0, 8.0])
    assert (apart, error) == (1.0, 0.0)
    assert difference([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == (1.0, pytest.approx(1 / math.sqrt(3)))
    figures = {
        str(draw): {
            tool: {"metric": "top1", "value": 90.0 + draw * (tool == cpu_draws.OWN), "cpu_seconds": 2.0}
            for tool in cpu_draws.TOOLS
        }
        for draw in range(3)
    }
    told = lines("cats", {**figures, "3": {cpu_draws.OWN: {"failure": "out of memory"}}})
    assert told[0] == "cats, top1, 3 draws"
    assert "is +1.000 from it (standard error 0.577)" in told[-1]
    assert lines("dogs", {}) == ["dogs: no draw has a figure of every tool"]
