"""The section on recovery: every step, every layer, what was accepted; on the page of `qdq tune` too."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdq_cli.recovering.page import recovery_section
from qdq_cli.recovering.record import LayerGain, Recovery, StepGain
from qdq_cli.screen.page import Page
from qdq_cli.screen.render import write_page
from tests.screen.sample import LONG_NAME, Reader, names
from tests.screen.test_browser import BROWSER, look
from tests.tuning.networks_to_tune import with_a_bad_layer
from tests.workspace import Workspace, make_workspace, qdq


def recovery(count: int = 20) -> Recovery:
    """Of many layers; the last one, with a long name, is rejected, and one was exact before."""
    layers = [*names(count), LONG_NAME]
    equalized = tuple(LayerGain("equalize", f"{name}_output", place < 3) for place, name in enumerate(layers[:5]))
    rounded = tuple(
        LayerGain("gptq", name, name != LONG_NAME, 200.0 if not place else 30.0 + place, 32.5 + place)
        for place, name in enumerate(layers)
    )
    steps = (StepGain("equalize", 5, 3, 1.25), StepGain("gptq", count + 1, count, -0.0))
    return Recovery(26, 30.04, 31.29, steps, (*equalized, *rounded))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    target = tmp_path / "recovery.html"
    write_page(Page("Quantization", "model.onnx", (recovery_section(recovery()),)), target)
    return target


def test_it_says_what_was_done(page: Path):
    reader = Reader(page.read_text(encoding="utf-8"))
    assert "26 samples set aside from the calibration data" in reader.texts
    assert "SQNR 30.0 dB before, 31.3 dB after" in reader.texts
    assert following(reader, "equalize", 4) == ["equalize", "5", "3", "+1.25"]
    assert "+0.00" in reader.texts, "no gain is not shown as a loss"
    assert reader.texts.count("accepted") >= 3
    assert "badge good" in reader.values("class")
    assert "gptq: SQNR of the layer's own output, dB" in reader.text
    assert "50 / 52.5 rejected" in " ".join(reader.text.split())


def following(reader: Reader, text: str, count: int) -> list[str]:
    start = reader.texts.index(text)
    return reader.texts[start : start + count]


def test_recovery_of_nothing_has_a_section_too(tmp_path: Path):
    target = tmp_path / "empty.html"
    write_page(Page("Quantization", "m", (recovery_section(Recovery(1, 200.0, 200.0, (), ())),)), target)
    assert "1 sample set aside from the calibration data" in Reader(target.read_text(encoding="utf-8")).texts


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_screen(page: Path, width: int):
    seen = look(page, width, LONG_NAME)
    assert seen.complaints == []
    assert seen.found["wide"] <= width


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, with_a_bad_layer(2))


def test_quantize_puts_it_on_its_page(space: Workspace):
    target = space.folder / "page.html"
    done = space.quantize("--report", target, "--recover", "--json")
    assert done.code == 0, done.err
    reader = Reader(target.read_text(encoding="utf-8"))
    for layer in done.document["recovery"]["layers"]:
        assert layer["where"] in reader.texts
    again = space.folder / "again.html"
    assert space.quantize("--report", again, "--recover").code == 0
    assert again.read_bytes() == target.read_bytes()


def test_tune_puts_it_on_its_page(space: Workspace):
    without = space.quantize("--json").document["verification"]["outputs"]["scores"]["sqnr_db"]
    target = space.folder / "page.html"
    done = qdq(
        "tune", space.model, "--calib", space.arrays, "--min-sqnr", round(without + 3), "--report", target, "--json"
    )
    assert done.code == 0, done.err
    found = done.document["quantize"]["recovery"]
    assert found is not None
    reader = Reader(target.read_text(encoding="utf-8"))
    assert "Recovery" in reader.texts
    expected = f"SQNR {found['before_db']:.1f} dB before, {found['after_db']:.1f} dB after"
    assert reader.texts.count(expected) == 2
