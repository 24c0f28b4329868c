"""What a command does not use it does not load, and what turns out to be used is loaded then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.networks import Network
from tests.workspace import Workspace, environment

WATCHED = """
import sys
from qdq_cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
"""


def run_python(script: str, *arguments: str, cwd: Path) -> str:
    """Run a script in a process of its own, as the command line does."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "inspect model.onnx",
        "quantize model.onnx --calib images -q",
        "calibrate model.onnx --calib images -q",
        "compare model.onnx model.onnx --data images -q",
        "inspect dynamic.onnx --input-shape x:2x16x9x7",
    ],
)
def test_no_command_needs_sympy(space: Workspace, line: str):
    net = Network()
    x = net.input("x", ("batch", 16, "height", "2*width"))
    onnx.save(net.proto(net.relu(net.conv(x, 16, scale=None))), space.folder / "dynamic.onnx")
    found = run_python(f"{WATCHED}\nprint(sorted(sys.modules))", *line.split(), cwd=space.folder)
    assert "'onnx_ir'" in found and "'sympy'" in found
    assert "'sympy.core'" not in found, "it was loaded after all"


@pytest.mark.parametrize("line", ["--help", "quantize --help", "inspect --help", "tune --help", "cache show --help"])
def test_help_waits_for_nothing_it_does_not_use(line: str, tmp_path: Path):
    modules = set(run_python(f"{WATCHED}\nprint(*sys.modules)", *line.split(), cwd=tmp_path).split("\n")[-2].split())
    assert "qdq_cli.main" in modules
    assert modules.isdisjoint({"numpy", "onnx", "onnx_ir", "onnxruntime", "logging", "importlib.resources", "difflib"})


READS_DATA = ("qdq_cli.data", "qdq_cli.calibrating", "PIL")
RUNS_MODELS = ("qdq_cli.judging", "qdq_cli.timing.measure", "qdq_cli.running.runner", "qdq_cli.running.openvino")
WRITES = ("qdq_cli.quantizing.pipeline", "qdq_cli.quantizing.verification", "qdq_cli.quantizing.writing")
CASTS = ("qdq_cli.casting.plan", "qdq_cli.quantizing.float_rest")
DRAWS = (
    "qdq_cli.screen.page",
    "qdq_cli.screen.render",
    "qdq_cli.screen.drawing",
    "qdq_cli.targets.tensorrt.page_layers",
)
OBSERVES = ("calibrators.histogram", "calibrators.table", "calibrators.cache_file", "calibrators.methods")
SELDOM = (
    *OBSERVES,
    *READS_DATA,
    *RUNS_MODELS,
    *WRITES,
    *CASTS,
    *DRAWS,
    "qdq_cli.recovering.recover",
    "numba",
    "highspy",
    "onnxruntime",
    "numpy.ma",
    "xml.etree",
)
"""Rooms, modules and libraries that an inspection has no use for: a third of all that it loaded once."""

RECORDS = {"qdq_cli.calibrating", "qdq_cli.calibrating.spread_record"}
"""What is part of every report and computes nothing, wherever it stands."""


@pytest.mark.parametrize("model", ["model.onnx", "pairs.onnx"])
def test_inspecting_loads_nothing_that_reads_data_runs_models_or_draws_pages(space: Workspace, model: str):
    net = Network()
    x = net.input("x", (1, 16, 8, 8))
    onnx.save(net.proto(net.conv(x, 16)), space.folder / "pairs.onnx")
    found = run_python(f"{WATCHED}\nprint(*sys.modules)", "inspect", model, cwd=space.folder).split("\n")[-2].split()
    assert "qdq_cli.inspecting.inspect" in found
    loaded = {name for name in found if any(name == one or name.startswith(f"{one}.") for one in SELDOM)}
    # NumPy 1 loads numpy.ma by itself.
    anyway = set(run_python("import sys, numpy\nprint(*sys.modules)", cwd=space.folder).split())
    assert loaded - anyway <= RECORDS


def test_what_an_inspection_seldom_needs_is_loaded_then(space: Workspace):
    line = ["inspect", "model.onnx", "--report", "page.html", "--input-shape", "images:1x3x16x16"]
    found = run_python(f"{WATCHED}\nprint(*sys.modules)", *line, cwd=space.folder).split("\n")[-2].split()
    assert {"qdq_cli.screen.render", "qdq_cli.calibrating.calibration_data"} <= set(found)
    assert (space.folder / "page.html").is_file()


def test_dimensions_can_be_computed_with_all_the_same(space: Workspace):
    script = f"{WATCHED}\nimport onnx_ir, sympy\nprint(onnx_ir.SymbolicDim('n') + 1, sympy.Integer(2) + 3)"
    assert run_python(script, "inspect", "model.onnx", "-q", cwd=space.folder).split("\n")[-2] == "n + 1 5"
