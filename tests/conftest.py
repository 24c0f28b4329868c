"""Shared by all tests: goldens, which `make golden` rewrites, and laws that are about values, not about time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports ONNX Runtime
# `python` in the examples of the documentation is the one that runs the tests
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))

# a shell starts what it puts in the background with Ctrl-C ignored, and what the tests interrupt would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow or loaded machine is no failure, and a change is judged by the same examples wherever it is tested;
# `make fuzz` draws others, and many more of them.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("fuzz", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected texts instead of comparing")
    parser.addoption("--coverage", type=float, metavar="PERCENT", help="measure the lines run, and fail below PERCENT")


def pytest_configure(config: pytest.Config) -> None:
    floor = config.getoption("--coverage")
    if floor is not None:
        from tests.coverage_plugin import install

        install(config, floor)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name in tests/golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"{path} is missing; `make golden` writes it"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; `make golden` rewrites it, review the diff"

    return compare
