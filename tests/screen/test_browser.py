"""Pages in a real browser, where there is a Chromium: no errors, no sideways scrolling; screenshots to look at.

The screenshots are left in `build/screenshots`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qdq_cli.screen.render import write_page
from tests.screen.sample import LONG_NAME, full_page
from tests.workspace import PATIENCE_SECONDS, REPOSITORY, SAMPLES, qdq

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
WIDTHS = (360, 390, 1280)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

# The window of a headless browser cannot be as narrow as a phone, a frame can.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe src="{page}" style="border:0;width:{width}px;height:{height}px"></iframe><pre id="found"></pre>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument;
  const fields = [...page.querySelectorAll("input[type=search]")];
  const lists = fields.map((field) => field.nextElementSibling);
  const seen = (list) => [...list.querySelectorAll("tbody tr, li:not(.axisrow), details")].filter((e) => !e.hidden);
  for (const field of fields) {{ field.value = "{needle}"; field.dispatchEvent(new Event("input")); }}
  const hits = lists.map((list) => seen(list).length);
  for (const field of fields) {{ field.value = ""; field.dispatchEvent(new Event("input")); }}
  const table = page.querySelector("table");
  const buttons = table ? [...table.querySelectorAll("th button")] : [];
  const column = () => [...table.tBodies[0].rows].map((row) => row.lastElementChild.textContent);
  const sorted = buttons.length ? (buttons.at(-1).click(), column()) : [];
  const closed = page.querySelector("details:not([open])");
  if (closed) closed.firstElementChild.click();
  document.getElementById("found").textContent = JSON.stringify({{
    wide: page.documentElement.scrollWidth, hits: hits, sorted: sorted,
    svg: [...page.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().height > 0).length,
    sideways: [...page.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth).length,
    opened: closed === null || closed.open,
  }});
}});
</script>"""


@dataclass(frozen=True)
class Look:
    """What the browser saw."""

    found: dict[str, Any]
    complaints: list[str]


def browse(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the browser; pages of the test may look into each other."""
    line = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", *arguments,
    ]  # fmt: skip
    return subprocess.run(
        [str(word) for word in line], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )


def look(page: Path, width: int, needle: str, *, dark: bool = False) -> Look:
    """Open a page in a frame of this width, keep a screenshot, and say what was there."""
    height = 900 if width > 1000 else 2400
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(page=page.name, width=width, height=height, needle=needle), encoding="utf-8")
    done = browse("--dump-dom", f"--window-size={max(width, 500)},{height}", frame.as_uri(), folder=page.parent)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shot = SCREENSHOTS / f"{page.stem}-{width}{'-dark' if dark else ''}.png"
    colours = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    browse(
        f"--screenshot={shot}", f"--window-size={max(width, 500)},{height}", *colours, frame.as_uri(),
        folder=page.parent,
    )  # fmt: skip
    return Look(json.loads(found), [line for line in done.stderr.splitlines() if "CONSOLE" in line])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("browser") / "sample.html"
    write_page(full_page(), page)
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_every_block_fits_and_works(sample: Path, width: int):
    seen = look(sample, width, LONG_NAME, dark=width == 360)
    assert seen.complaints == []
    assert seen.found["wide"] <= width
    assert seen.found["hits"] == [1, 1, 1, 1], "each search finds the one row of that name"
    numbers = [float(text) for text in seen.found["sorted"]]
    assert numbers == sorted(numbers, reverse=True)
    assert seen.found["opened"]
    assert seen.found["svg"] > 100


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized")
    page = folder / "digits_mobilenetv2.html"
    done = qdq(
        "quantize", SAMPLES / "digits_mobilenetv2.onnx", "--calib", SAMPLES / "images" / "digits", "--preprocess",
        "unit", "-o", folder / "out.onnx", "--report", page,
    )  # fmt: skip
    assert done.code == 0, done.err
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_sample_model_fits(quantized: Path, width: int):
    seen = look(quantized, width, "conv")
    assert seen.complaints == []
    assert seen.found["wide"] <= width
    assert seen.found["sideways"] == 0, "no table hides its last columns"


def test_a_foreign_script_does_not_run(tmp_path: Path):
    """Even if a name were not escaped, the policy of the page would forbid what it brings."""
    page = tmp_path / "broken.html"
    write_page(full_page(2), page)
    html = page.read_text(encoding="utf-8")
    injected = "<script>document.title = 'taken'</script><style>main { color: red }</style>"
    page.write_text(html.replace("</main>", f"{injected}</main>"), encoding="utf-8")
    done = browse("--dump-dom", page.as_uri(), folder=tmp_path)
    assert "<title>Sample" in done.stdout
    assert sum("Content Security Policy" in line for line in done.stderr.splitlines()) >= 2
