"""Interrupted recovery goes on where it was, comes to the same result, and leaves no file behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq_cli.recovering.recover as recovery
from calibrators import Range
from qdq_cli import DataConfig, QuantizeConfig, quantize_model
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.judging.candidate import Candidate
from qdq_cli.placement.plan import Plan
from qdq_cli.process.progress import SILENT
from qdq_cli.recovering.journal import Journal, Progress
from qdq_cli.recovering.record import LayerGain
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.commands.test_recover import SIDE, with_a_wide_channel

PLAN = Plan((), (), (), (), (), 0, (), target=TENSORRT)


class Told:
    """A listener that keeps notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def detail(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, title: str, total: int):
        return SILENT.progress(title, total)


def config(folder: Path, output: Path) -> QuantizeConfig:
    """Four layers, whose channels are uneven, and random samples."""
    onnx.save(with_a_wide_channel(layers=3).proto("scores"), folder / "model.onnx")
    np.savez(folder / "data.npz", images=np.random.default_rng(0).uniform(size=(16, 3, SIDE, SIDE)).astype(np.float32))
    return QuantizeConfig(folder / "model.onnx", output, DataConfig((folder / "data.npz",)), recover=DEFAULT_RECOVERY)


@pytest.mark.parametrize("steps_before", [0, 4])
def test_an_interrupted_run_goes_on_and_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    monkeypatch.setattr("qdq_cli.recovering.rows._ROWS_BYTES", 1 << 19)  # a portion for each convolution
    folder = tmp_path / "results"
    folder.mkdir()
    whole, parted = config(tmp_path, folder / "whole.onnx"), config(tmp_path, folder / "parted.onnx")
    assert whole.output is not None and parted.output is not None
    expected = quantize_model(whole).recovery
    take_step, taken = recovery._take_step, []

    def interrupted(*arguments: object) -> list[LayerGain]:
        if len(taken) == steps_before:
            raise KeyboardInterrupt
        taken.append(arguments[0])
        return take_step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recovery, "_take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantize_model(parted)
    kept = parted.output.with_name("parted.onnx.recovery")
    assert kept.exists() and not parted.output.exists()

    monkeypatch.setattr(recovery, "_take_step", take_step)
    told = Told()
    report = quantize_model(parted, told)
    assert any("goes on" in note for note in told.notes)
    assert report.recovery == expected
    assert parted.output.read_bytes() == whole.output.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["parted.onnx", "whole.onnx"]
    assert len(taken) == steps_before


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "model", "steps")
    candidate = Candidate(
        PLAN,
        (Range(-1.0, 1.0), Range(0.0, 0.1)),
        {"w/ä:0": np.float32([0.5, 2.0])},
        {"w/ä:0": np.float16([[1.5]])},
        {"conv 'x'": np.array([1e-300])},
    )
    layers, gains = (LayerGain("bias", "conv", True, 1.0, 2.0),), {"bias": (1, 1, 1.0)}
    progress = Progress(candidate, 0.25, (0, 2), 3, layers, gains, ("in a branch",))
    journal.write(progress)
    found = journal.read(Candidate(PLAN, ()))
    assert found is not None
    assert (found.noise, found.choice, found.portions, found.layers, found.gains, found.unseen) == (
        0.25, (0, 2), 3, progress.layers, progress.gains, ("in a branch",),
    )  # fmt: skip
    assert found.candidate.ranges == candidate.ranges
    for kind in ("weight_ranges", "weights", "biases"):
        one, two = getattr(candidate, kind), getattr(found.candidate, kind)
        assert one.keys() == two.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(two[name], array)
            assert two[name].dtype == array.dtype


def test_the_journal_of_another_run_is_not_read(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "model").write(Progress(Candidate(PLAN, ()), 0.5))
    assert Journal(tmp_path / "j", "other model").read(Candidate(PLAN, ())) is None
    assert Journal(tmp_path / "j", "model").read(Candidate(PLAN, ())) is not None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_a_broken_journal_is_no_journal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    assert Journal(tmp_path / "j", "model").read(Candidate(PLAN, ())) is None


def test_a_cut_journal_is_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "model")
    journal.write(Progress(Candidate(PLAN, (Range(-1.0, 1.0),), weights={"w": np.zeros(1000, np.float32)}), 0.5))
    whole = (tmp_path / "j").read_bytes()
    for size in range(0, len(whole), 97):
        (tmp_path / "j").write_bytes(whole[:size])
        assert journal.read(Candidate(PLAN, ())) is None
