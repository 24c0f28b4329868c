"""The style itself: what the code base promises of all its parts at once."""

from __future__ import annotations

from pathlib import Path

from tests.workspace import make_workspace, process


def test_nothing_is_written_besides_the_outputs(tmp_path: Path):
    """No device id, usage events or temporary files; ONNX Runtime's telemetry is off before it is imported."""
    space = make_workspace(tmp_path)
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in places.values():
        place.mkdir()
    before = space.listing()
    settings = {name: str(place) for name, place in places.items()}
    done = process("quantize", "model.onnx", "--calib", "images", "--cache", "model.qcal", cwd=space.folder, **settings)
    assert done.code == 0
    assert set(space.listing()) - set(before) == {"model.qcal", "model.qdq.onnx"}
