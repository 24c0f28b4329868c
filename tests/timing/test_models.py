"""Two model files timed in turn, by a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.data.batches import Batch
from qdq_cli.process.errors import DataError, ModelError
from qdq_cli.running.session import cores
from qdq_cli.timing.measure import Effort
from qdq_cli.timing.models import time_models
from qdq_cli.timing.record import Speed
from qdq_cli.timing.text import speed_text, times_of
from tests.timing.watches import in_turn
from tests.workspace import SIDE, small_convnet

EFFORT = Effort(0.0, least=9)
BATCH = Batch({"images": np.zeros((2, 3, SIDE, SIDE), np.float32)}, ("zeros",), 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("timed") / "model.onnx"
    onnx.save(small_convnet().proto("scores"), path)
    return path


def speed_of(model: Path) -> Speed:
    """The first takes 3 ms and the second 2; they change places in every round."""
    return time_models((model, model), BATCH, "onnxruntime", EFFORT, in_turn(3, 2, 9))


def test_what_the_clock_says_is_told(model: Path):
    speed = speed_of(model)
    assert (speed.rounds, speed.batch_size, speed.threads) == (9, 2, cores())
    assert (speed.reference.median_ms, speed.quantized.median_ms) == (3.0, 2.0)
    assert (speed.ratio, speed.interval) == (1.5, (1.5, 1.5))
    assert speed.runtime.startswith("ONNX Runtime 1.")


def test_in_words(model: Path):
    found = speed_of(model)
    speed = replace(found, runtime="ONNX Runtime 1.30.0, default session", threads=1)
    units = speed.processor.units_text
    assert speed_text(speed) == (
        f"1.50 times as fast as FP32 on this CPU ({units}), batch 2 (95 % interval 1.50 to 1.50)"
    )
    assert times_of(speed) == (
        "2.00 ms instead of 3.00 ms, medians of 9 runs in turn, 1 thread; ONNX Runtime 1.30.0, default session"
    )
    assert times_of(replace(speed, interval=(1.3, 1.7))).endswith("; the spread is wide: other programs are running")


def test_a_model_that_does_not_load_is_said_to(model: Path, tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the model"):
        time_models((model, broken), BATCH, "onnxruntime", EFFORT)


def test_an_input_without_an_array_is_named(model: Path):
    with pytest.raises(DataError, match="no array for the model's input 'images'"):
        time_models((model, model), replace(BATCH, arrays={}), "onnxruntime", EFFORT)


def test_a_run_that_fails_is_said_to(model: Path):
    wrong = replace(BATCH, arrays={"images": np.zeros((2, 5, SIDE, SIDE), np.float32)})
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the model on zeros"):
        time_models((model, model), wrong, "onnxruntime", EFFORT)
