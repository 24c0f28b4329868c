"""What a process of the command's own asks of libraries before it imports them."""

from __future__ import annotations

import os
import sys

import pytest

from qdq_cli.process import startup


@pytest.mark.parametrize(
    ("loaded", "asked", "found"), [(False, {}, "1"), (True, {}, None), (False, {"OMP_NUM_THREADS": "3"}, None)]
)
def test_products_on_one_thread(loaded: bool, asked: dict[str, str], found: str | None, monkeypatch):
    for name in startup._ASKED:
        monkeypatch.setenv(name, "9")  # so that what the test sets is taken back
        monkeypatch.delenv(name)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "numpy", sys)
    if not loaded:
        monkeypatch.delitem(sys.modules, "numpy")
    startup.multiply_on_one_thread()
    assert os.environ.get("OPENBLAS_NUM_THREADS") == found
