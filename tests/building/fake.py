"""The stand-in for the compiler, put where the process that runs it looks for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "compiler"


def use_fake_compiler(monkeypatch: pytest.MonkeyPatch, mode: str = "") -> None:
    """Let processes that are started from now on find it; `mode` lets it misbehave (`crash`, `hang`, ...)."""
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER), *([inherited] if inherited else [])]))
    monkeypatch.setenv("FAKE_COMPILER", mode)
