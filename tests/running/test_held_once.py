"""Models with gigabytes of weights: sessions that compare use them as they lie, observing packs them as always."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.running import session
from qdq_cli.running.session import SessionOptions, Source, holds_much, make_session

COLUMNS = 64


def product(path: Path, *, external: bool) -> Path:
    """Write y = x * w, the weight in a file beside it or inside."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", COLUMNS]) for name in "xy"]
    weight = np.random.default_rng(0).standard_normal((COLUMNS, COLUMNS)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def is_packed(source: Source, options: SessionOptions) -> bool:
    """Say whether a session of these options lets ONNX Runtime pack the weights."""
    made = make_session(source, options).get_session_options()
    try:
        return str(made.get_session_config_entry(session.AS_THEY_LIE[0])) != "1"
    except RuntimeError:  # it was never set
        return True


@pytest.mark.parametrize("external", [True, False])
def test_much_is_what_a_file_holds_beside_it(external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(product(tmp_path / "model.onnx", external=external))
    assert not holds_much(source)
    monkeypatch.setattr(session, "_HELD_ONCE_BYTES", 4 * COLUMNS * COLUMNS)
    assert holds_much(source) is external
    monkeypatch.setattr(session, "_SMALL_FILE_BYTES", 10)
    assert not holds_much(source), "a file of gigabytes is not read for it"


def test_much_is_what_a_session_is_given_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_HELD_ONCE_BYTES", 400)
    assert holds_much(Source(b"", {"w": np.zeros(100, np.float32)}))
    assert not holds_much(Source(b"", {"w": np.zeros(99, np.float32)}))


def test_what_is_no_model_is_for_the_session_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert not holds_much(Source(tmp_path / "broken.onnx"))
    assert not holds_much(Source(tmp_path / "missing.onnx"))


@pytest.mark.parametrize(
    ("options", "packed"),
    [
        (SessionOptions(threads=1, optimize=False), False),
        (SessionOptions(threads=1, optimize=True, observes=True), True),  # rows must not depend on their batch
        (SessionOptions(threads=1, optimize=True, fuse=True), True),  # what is timed is what users run
    ],
)
def test_only_what_compares_does_without_packing(
    options: SessionOptions, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(product(tmp_path / "model.onnx", external=True))
    assert is_packed(source, options), "a small model is packed everywhere"
    monkeypatch.setattr(session, "_HELD_ONCE_BYTES", 1)
    assert is_packed(source, options) is packed


def test_what_is_observed_does_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_HELD_ONCE_BYTES", 1)
    source = Source(product(tmp_path / "model.onnx", external=True))
    run = make_session(source, SessionOptions(threads=1, optimize=True, observes=True)).run
    rows = np.random.default_rng(1).standard_normal((8, COLUMNS)).astype(np.float32)
    single = np.concatenate([run(None, {"x": row[None]})[0] for row in rows])
    assert np.array_equal(run(None, {"x": rows})[0], single)
