"""`qdq calibrate`: shares, appending and interruptions end in the bytes of one run over all samples."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibrators import read_cache, write_cache
from qdq_cli.cache.text import calibration_lines
from qdq_cli.calibrating.calibrate import calibrate_model
from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.process.errors import InterruptedRunError
from tests.networks import Network
from tests.workspace import (
    PATIENCE_SECONDS,
    SIDE,
    Outcome,
    Workspace,
    command,
    environment,
    make_workspace,
    qdq,
    small_convnet,
)


def calibrate(space: Workspace, name: str, *options: object) -> Path:
    """Calibrate on the arrays, or on what the options say; returns the cache."""
    data = () if "--calib" in options else ("--calib", space.arrays)
    done = qdq("calibrate", space.model, *data, "-o", space.folder / name, *options)
    assert done.code == 0, done.err
    return space.folder / name


def merge(space: Workspace, name: str, *files: Path) -> Path:
    done = qdq("cache", "merge", *files, "-o", space.folder / name)
    assert done.code == 0, done.err
    return space.folder / name


def refused(done: Outcome, code: int = 4) -> str:
    """What a run that failed says, after checking that it is one sentence and a hint."""
    assert (done.code, done.out) == (code, "")
    lines = [line for line in done.err.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], done.err
    return "\n".join(lines)


# shares


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_merged_shares_are_a_single_run(space: Workspace, shares: int, batch_size: int):
    whole = calibrate(space, "whole.qcal", "--batch-size", batch_size).read_bytes()
    options = ("--batch-size", batch_size)
    parts = [calibrate(space, f"{k}.qcal", "--shard", f"{k}/{shares}", *options) for k in range(1, shares + 1)]
    assert sum(read_cache(part).provenance.sample_count for part in parts) == 10
    for order in itertools.islice(itertools.permutations(parts), 0, None, 1 + len(parts) ** 3 * 3):
        assert merge(space, "merged.qcal", *order).read_bytes() == whole
    middle = len(parts) // 2
    halves = [merge(space, f"half-{n}.qcal", *half) for n, half in enumerate((parts[middle:], parts[:middle])) if half]
    assert merge(space, "grouped.qcal", *halves).read_bytes() == whole


def test_shares_of_a_fixed_batch_are_whole_runs(tmp_path: Path):
    space = make_workspace(tmp_path, small_convnet(batch=4).proto("scores"))
    whole = calibrate(space, "whole.qcal")
    parts = [calibrate(space, f"{k}.qcal", "--shard", f"{k}/3") for k in (1, 2, 3)]
    assert [read_cache(part).provenance.sample_count for part in parts] == [4, 4, 0]
    assert merge(space, "merged.qcal", *parts).read_bytes() == whole.read_bytes()


def test_an_empty_share_says_so_where_it_is_used(space: Workspace):
    empty = calibrate(space, "empty.qcal", "--shard", "12/12")
    assert "it holds no sample" in refused(qdq("quantize", space.model, "--cache", empty))
    assert "-" in qdq("cache", "show", empty).out
    assert "no value" in refused(qdq("cache", "export", empty, "--format", "json"))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "/", "a/b", "-1/2", "1/2/3", "²/3"])
def test_a_share_that_is_none(space: Workspace, text: str):
    done = qdq("calibrate", space.model, "--calib", space.arrays, "--shard", text)
    assert "is not I/N" in refused(done, 2)


def test_where_the_data_lies_does_not_matter(space: Workspace):
    first = calibrate(space, "a.qcal", "--calib", space.images).read_bytes()
    moved = space.folder / "elsewhere" / "pictures"
    moved.parent.mkdir()
    space.images.rename(moved)
    assert calibrate(space, "b.qcal", "--calib", moved).read_bytes() == first


# appending


def split_arrays(space: Workspace) -> tuple[Path, Path]:
    """The samples in two files."""
    values = np.load(space.arrays)["images"]
    paths = space.folder / "one.npz", space.folder / "two.npz"
    for path, part in zip(paths, (values[:6], values[6:]), strict=True):
        np.savez(path, images=part)
    return paths


def test_appending_is_a_single_run(space: Workspace):
    one, two = split_arrays(space)
    together = calibrate(space, "together.qcal", "--calib", one, "--calib", two).read_bytes()
    calibrate(space, "grown.qcal", "--calib", one)
    assert calibrate(space, "grown.qcal", "--calib", two, "--append").read_bytes() == together
    calibrate(space, "other.qcal", "--calib", two)
    assert calibrate(space, "other.qcal", "--calib", one, "--append").read_bytes() == together


def test_samples_that_are_in_the_cache_are_not_counted_again(space: Workspace):
    whole = calibrate(space, "whole.qcal").read_bytes()
    cache = calibrate(space, "grown.qcal", "--samples", "4")
    done = qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache, "--append", "--json")
    assert done.code == 0
    assert done.document["samples"] == {"cache": 10, "new": 6, "known": 4, "left": 0}
    assert "not counted again, such as" in done.document["notes"][-1]
    assert cache.read_bytes() == whole
    again = qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache, "--append")
    assert "All 10 samples are in" in refused(again)
    assert f"{space.arrays}[0]" in again.err
    assert cache.read_bytes() == whole


def test_appending_to_a_fixed_batch(tmp_path: Path):
    """Runs stay full: what is new is put together anew."""
    space = make_workspace(tmp_path, small_convnet(batch=2).proto("scores"))
    cache = calibrate(space, "grown.qcal", "--samples", "4", "--seed", "1")
    calibrate(space, "grown.qcal", "--append")
    assert read_cache(cache).provenance.sample_count == 10
    assert read_cache(cache).entries == read_cache(calibrate(space, "whole.qcal")).entries


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--calib", "images", "--preprocess", "raw"], "differ in preprocessing"),
        (["--calib", "images", "--preprocess", "unit", "--exclude", "first"], "only one of"),
        (["--calib", "arrays.npz"], "differ in preprocessing"),
    ],
)
def test_what_cannot_be_appended_is_refused_before_it_is_run(
    space: Workspace, change: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
):
    cache = calibrate(space, "a.qcal", "--calib", space.images, "--preprocess", "unit")
    before = cache.read_bytes()
    monkeypatch.chdir(space.folder)
    monkeypatch.setattr("qdq_cli.calibrating.shares.run_samples", None)
    assert sentence in refused(qdq("calibrate", space.model, "-o", cache, "--append", *change))
    assert cache.read_bytes() == before


def test_nothing_to_append_to(space: Workspace):
    text = refused(qdq("calibrate", space.model, "--calib", space.arrays, "--append"))
    assert "There is no calibration cache" in text
    assert not (space.folder / "model.qcal").exists()


def test_renamed_samples_are_not_new(space: Workspace):
    cache = calibrate(space, "a.qcal")
    space.arrays.rename(space.folder / "renamed.npz")
    text = refused(qdq("calibrate", space.model, "--calib", space.folder / "renamed.npz", "-o", cache, "--append"))
    assert "All 10 samples are in" in text
    cache = calibrate(space, "b.qcal", "--calib", space.images)
    for path in space.images.iterdir():
        path.rename(path.with_name(f"renamed-{path.name}"))
    text = refused(qdq("calibrate", space.model, "--calib", space.images, "-o", cache, "--append"))
    assert "All 10 samples are in" in text
    assert "renamed-0.png" in text


def test_equal_samples_all_count(space: Workspace):
    """Wherever they are: in one run, in shares, in what is left after an interruption."""
    shutil.copytree(space.images, space.folder / "copy")
    for number in (2, 3, 5):
        shutil.copy(space.images / "1.png", space.images / f"1{number}.png")
    data = ("--calib", space.images, "--calib", space.folder / "copy")
    whole = calibrate(space, "whole.qcal", *data)
    assert read_cache(whole).provenance.sample_count == 23
    note = qdq("calibrate", space.model, *data, "--json").document["notes"][-1]
    assert note.startswith("13 samples hold the same as others, such as ")
    parts = [calibrate(space, f"{k}.qcal", "--shard", f"{k}/3", *data) for k in (1, 2, 3)]
    assert merge(space, "merged.qcal", *parts).read_bytes() == whole.read_bytes()
    config = CalibrateConfig(space.model, space.folder / "part.qcal", DataConfig((space.images, space.folder / "copy")))
    report = calibrate_model(config, stop=stop_after(15))
    assert 0 < report.samples.new < 23
    calibrate(space, "part.qcal", "--append", *data)
    assert config.destination.read_bytes() == whole.read_bytes()


def test_a_cache_whose_samples_have_other_keys_is_not_added_to(space: Workspace):
    """Its samples could not be told from new ones, and would count twice."""
    cache = calibrate(space, "a.qcal")
    table = read_cache(cache)
    versions = tuple(pair for pair in table.provenance.versions if pair[0] != "sample keys")
    write_cache(replace(table, provenance=replace(table.provenance, versions=versions)), cache)
    text = refused(qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache, "--append"))
    assert "differ in versions" in text
    assert qdq("quantize", space.model, "--cache", cache).code == 0


def test_no_data(space: Workspace):
    assert "--calib" in refused(qdq("calibrate", space.model))


def test_the_model_is_never_overwritten(space: Workspace):
    assert "is the input model" in refused(qdq("calibrate", space.model, "--calib", space.arrays, "-o", space.model), 2)


# interruptions


def stop_after(runs: int) -> Callable[[], bool]:
    """Ask to stop once so many runs were begun."""
    asked = itertools.count()
    return lambda: next(asked) >= runs


CONFIG = CalibrateConfig(Path("model.onnx"))


@pytest.mark.parametrize(("begun", "batch_size"), [(1, 1), (4, 1), (9, 1), (2, 3), (3, 3)])
def test_what_was_finished_is_kept_exactly(space: Workspace, begun: int, batch_size: int):
    data = DataConfig(calib=(space.arrays,), batch_size=batch_size)
    config = replace(CONFIG, model=space.model, output=space.folder / "part.qcal", data=data)
    calibrate_model(replace(config, output=space.folder / "whole.qcal"))
    report = calibrate_model(config, stop=stop_after(begun))  # it is asked between runs too: fewer may be finished
    assert report.interrupted
    assert not any(line.startswith("next") for line in calibration_lines(report, full=False))
    table = read_cache(config.destination)
    assert report.samples.cache == report.samples.new == table.provenance.sample_count
    assert report.samples.left == 10 - report.samples.new
    inputs = table.entries["images"].histogram
    assert inputs.count == report.samples.new * 3 * SIDE * SIDE
    if report.samples.left:
        finished = calibrate_model(replace(config, append=True))
        assert finished.samples.known == report.samples.new
    assert config.destination.read_bytes() == (space.folder / "whole.qcal").read_bytes()


def test_an_interrupted_append_goes_on_too(space: Workspace):
    one, two = split_arrays(space)
    config = replace(CONFIG, model=space.model, data=DataConfig(calib=(one, two)))
    whole = Path(calibrate_model(config).output).read_bytes()
    calibrate_model(replace(config, data=DataConfig(calib=(one,))))
    more = replace(config, data=DataConfig(calib=(two,)), append=True)
    first = calibrate_model(more, stop=stop_after(6))  # four questions while looking for new samples
    assert (first.interrupted, first.samples.left > 0) == (True, True)
    assert calibrate_model(more).samples.known == first.samples.new
    assert config.destination.read_bytes() == whole


def test_nothing_is_written_before_the_first_sample(space: Workspace):
    before = space.listing()
    config = replace(CONFIG, model=space.model, data=DataConfig(calib=(space.arrays,)))
    with pytest.raises(InterruptedRunError, match="before the first sample"):
        calibrate_model(config, stop=lambda: True)
    assert space.listing() == before


SLOW_SAMPLES = 150
"""What takes a second or two."""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_cache_to_go_on_from(space: Workspace, sent: signal.Signals):
    net = Network()
    x = net.input("images", ("N", 3, 128, 128))
    for number in range(4):
        x = net.relu(net.conv(x, 16, f"conv{number}", scale=None))
    onnx.save(net.proto(x), space.model)
    for number in range(10, SLOW_SAMPLES):
        (space.images / f"{number}.png").symlink_to(f"{number % 10}.png")
    line = command("calibrate", "model.onnx", "--calib", "images")
    pipe = subprocess.PIPE
    running = subprocess.Popen(line, cwd=space.folder, env=environment(), stdout=pipe, stderr=pipe, text=True)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("warning: No preprocessing was chosen")  # said when the data is open
    time.sleep(0.4)
    running.send_signal(sent)
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    cache = space.folder / "model.qcal"
    assert running.returncode == 130, err
    assert "Traceback" not in err
    if not cache.exists():
        assert "Interrupted before the first sample" in err
        return
    seen = read_cache(cache).provenance.sample_count
    assert f"model.qcal holds {seen} samples; {SLOW_SAMPLES - seen} to go." in err
    assert "--append" in err
    assert "left out by the interruption" in out
    assert not list(space.folder.glob(".qcal-*"))
    calibrate(space, "whole.qcal", "--calib", space.images)
    assert qdq("calibrate", space.model, "--calib", space.images, "--append").code == 0
    assert cache.read_bytes() == (space.folder / "whole.qcal").read_bytes()


# tensors and the report


def test_all_tensors(space: Workspace):
    done = qdq("calibrate", space.model, "--calib", space.arrays, "--all-tensors", "--json")
    names = {"images", "first", "first_relu", "middle", "middle_relu", "second", "residual", "total", "pool", "flat"}
    assert set(done.document["tensors"]) == {*names, "scores"}
    cache = space.folder / "model.qcal"
    assert qdq("cache", "check", space.model, cache, "--all-tensors").code == 0
    assert qdq("cache", "check", space.model, calibrate(space, "plan.qcal"), "--all-tensors").code == 4
    assert qdq("quantize", space.model, "--cache", cache).code == 0


def test_the_report(space: Workspace):
    done = qdq("calibrate", space.model, "--calib", space.images, "--json")
    document = done.document
    assert next(iter(document)) == "schema_version"
    assert document["output"] == str(space.folder / "model.qcal")
    assert document["samples"] == {"cache": 10, "new": 10, "known": 0, "left": 0}
    assert (document["shard"], document["batch_size"], document["interrupted"]) == ("1/1", 1, False)
    assert document["assumed"] is True
    assert document["preprocessing"].startswith("imagenet: ")
    assert document["size_bytes"] == (space.folder / "model.qcal").stat().st_size
    text = qdq("calibrate", space.model, "--calib", space.images, "-v").out
    assert "(assumed)" in text
    assert "  first_relu" in text.splitlines()
    assert "qdq quantize" in text
    assert "qdq cache merge" in qdq("calibrate", space.model, "--calib", space.images, "--shard", "1/2").out
    assert qdq("calibrate", space.model, "--calib", space.images, "-q").out == ""


def test_a_model_with_nothing_to_observe(tmp_path: Path):
    net = Network()
    net.relu(net.input("images", ("N", 3, SIDE, SIDE)), "y")
    space = make_workspace(tmp_path, net.proto("y"))
    done = qdq("calibrate", space.model, "--calib", space.arrays, "--json")
    assert (done.code, done.document["error"]["kind"]) == (3, "model")
    assert "is quantized, so there is no tensor to observe" in done.err
    assert qdq("calibrate", space.model, "--calib", space.arrays, "--all-tensors").code == 0  # the hint holds
