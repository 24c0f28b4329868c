"""A progress bar shows itself, also while the first step of the work does not end."""

from __future__ import annotations

import io
import threading

import pytest

from qdq_cli.screen import console
from tests.workspace import PATIENCE_SECONDS


class Screen(io.StringIO):
    """A terminal that says when a text was written to it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self._awaited = awaited
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        found = super().write(text)
        if self._awaited in self.getvalue():
            self.seen.set()
        return found


def test_work_that_tells_nothing_is_shown(monkeypatch: pytest.MonkeyPatch):
    screen = Screen("verifying")
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(console, "PATIENCE_SECONDS", 0.0)
    with console.Console().progress("verifying", 2):
        assert screen.seen.wait(PATIENCE_SECONDS), "no step was done, and the bar is to be there"
    assert "0/2" in screen.getvalue()


def test_a_bar_that_was_taken_off_shows_no_more(monkeypatch: pytest.MonkeyPatch):
    screen = Screen("saving")
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(console, "PATIENCE_SECONDS", float("inf"))
    before = threading.active_count()
    with console.Console().progress("saving", 1) as advance:
        advance(1, 1)
    assert screen.getvalue() == ""
    assert threading.active_count() == before


def test_details_are_said_once(capsys: pytest.CaptureFixture[str]):
    shown = console.Console(verbose=True)
    for text in ("observed 3 tensors", "observed 3 tensors", "observed 4 tensors"):
        shown.detail(text)
    assert capsys.readouterr().err.count("observed 3") == 1
