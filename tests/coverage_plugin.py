"""Which lines of the packages the tests run: `pytest --coverage 95` prints the share, and fails below it.

SlipCover puts a probe into each line and takes it out again once it was hit. A tracer, which is asked at every line,
made the laws of the simulator take 1.8 times the processor time. Lines that only other processes run do not count.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGES = ("calibrators", "qdq_cli")
UNMEASURED = ("calibrators.vector_counter",)
"""Numba compiles the bytecode of its counter, which has to be without probes; tests hold it against the NumPy one."""

LEFT_OUT = ("if TYPE_CHECKING:", r"^\s*\.\.\.$")
"""Lines that nothing runs: imports for type checkers, bodies of protocols."""

MOST_FILES = 15


class LineCoverage:
    """Measures this process, and on the main one adds what the workers of pytest-xdist measured.

    Args:
        floor: Percent of the lines below which the session fails.
    """

    def __init__(self, floor: float) -> None:
        import slipcover

        self._floor = floor
        root = Path(__file__).parents[1]
        is_worker = "PYTEST_XDIST_WORKER" in os.environ  # what no process loads, the main one alone lists
        self._probes = slipcover.Slipcover(
            source=None if is_worker else [str(root / package) for package in PACKAGES],
            omit=[f"*/{name.replace('.', '/')}.py" for name in UNMEASURED],
            exclude_also=list(LEFT_OUT),
        )
        self._merge = slipcover.merge_coverage
        self._found: dict[str, Any] | None = None

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module of ours as usual, and let it be loaded with probes."""
        from slipcover.importer import SlipcoverLoader

        if name.partition(".")[0] not in PACKAGES or name in UNMEASURED:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None and spec.origin is not None:
            spec.loader = SlipcoverLoader(self._probes, spec.loader, spec.origin)
        return spec

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand a worker's lines to the main process; there, fail below the floor."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["lines"] = json.dumps(self._probes.get_coverage())
            return
        self._add(self._probes.get_coverage())
        if session.exitstatus == pytest.ExitCode.OK and self._percent() < self._floor:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the lines of a worker that has ended."""
        if lines := getattr(node, "workeroutput", {}).get("lines"):
            self._add(json.loads(lines))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the share of the lines, and the files with most lines that no test runs."""
        missed = {name: len(file["missing_lines"]) for name, file in self._files().items()}
        terminalreporter.section("coverage")
        for name in sorted(missed, key=lambda name: -missed[name])[:MOST_FILES]:
            lines = self._files()[name]["missing_lines"]
            terminalreporter.write_line(f"{len(lines):5} not run  {name}: {_spans(lines)}")
        verdict = "" if self._percent() >= self._floor else f", less than {self._floor:g} %"
        terminalreporter.write_line(f"{self._percent():.2f} % of {self._lines()} lines are run{verdict}")

    def _add(self, found: dict[str, Any]) -> None:
        if self._found is None:
            self._found = found
        else:
            self._merge(self._found, found)

    def _files(self) -> dict[str, Any]:
        return {} if self._found is None else dict(self._found["files"])

    def _lines(self) -> int:
        return sum(len(file["executed_lines"]) + len(file["missing_lines"]) for file in self._files().values())

    def _percent(self) -> float:
        return 100 * sum(len(file["executed_lines"]) for file in self._files().values()) / max(self._lines(), 1)


def _spans(lines: list[int]) -> str:
    """Write sorted numbers as spans: "3-5, 9"; cut where there are many."""
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(texts[:12]) + (" ..." if len(texts) > 12 else "")


def install(config: pytest.Config, floor: float) -> None:
    """Measure from now on; nothing of the packages may have been imported."""
    assert not set(PACKAGES) & set(sys.modules), "too late: the packages are imported already"
    coverage = LineCoverage(floor)
    sys.meta_path.insert(0, coverage)  # type: ignore[arg-type]
    config.pluginmanager.register(coverage, "line-coverage")
    assert Path.cwd() == config.rootpath
