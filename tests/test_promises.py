"""The style itself: what the code base promises of all its parts at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from qdq_cli.main import COMMANDS
from tests.commands.test_help import EVERY
from tests.workspace import REPOSITORY, environment, make_workspace, process

PACKAGES = ("calibrators", "qdq_cli")
FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports: inside functions too, and what only type checkers read."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# what may be imported where; the order of the rooms is held by test_rooms.py


BROUGHT_ALONG = {"dask", "google", "llvmlite", "ml_dtypes", "tensorrt_rtx_bindings", "tensorrt_rtx_libs", "datasets"}
"""Modules of what a library that is asked for asks for itself, or under another name; `datasets` are handed over."""


def test_every_library_that_is_imported_is_asked_for():
    """What only tests and measurements use (SciPy) is not in the program's own environment."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (
        lines for name, lines in project["optional-dependencies"].items() if name not in {"test", "check", "train"}
    )
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    asked = {re.match(r"[\w-]+", line)[0].replace("-", "_").replace("pillow", "PIL") for line in lines}
    ours = asked | BROUGHT_ALONG | {*PACKAGES} | sys.stdlib_module_names
    tops = {(name.partition(".")[0], place(path)) for path in FILES for name in imports(path)}
    assert sorted((name, where) for name, where in tops if name not in ours) == []


def test_calibrators_import_numpy_and_numba_alone():
    ours = {"calibrators", "numpy", "numba", "llvmlite"}
    found = {
        f"{place(path)} imports {name}"
        for path in FILES
        if place(path).startswith("calibrators/")
        for name in imports(path)
        if name.partition(".")[0] not in ours | sys.stdlib_module_names
    }
    assert not found


HEAVY = ("numpy", "numba", "highspy", "onnx", "onnx_ir", "onnxruntime", "PIL", "tqdm")


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names of what is called, with the line."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"), {"qdq_cli/screen/console.py"}),
        (("sys.exit", "exit", "quit"), {"qdq_cli/main.py"}),
        (("os._exit",), {"qdq_cli/process/interrupts.py"}),  # a second signal while the first is being told
        (("ir.load", "ir.save", "onnx.load", "onnx.save"), {"qdq_cli/model/files.py"}),
        (("ort.InferenceSession", "onnxruntime.InferenceSession"), {"qdq_cli/running/session.py"}),
        (("np.random.seed", "random.seed", "random.random"), set()),
    ],
    ids=["terminal", "exit", "exit at once", "model files", "sessions", "randomness"],
)
def test_one_room_for_one_thing(names: tuple[str, ...], allowed: set[str]):
    assert {place(path) for path in FILES for name, _ in calls(path) if name in names} <= allowed


def is_spelled_out(keywords: ast.arg) -> bool:
    """Whether a TypedDict, or the function that is decorated, says which keywords there are: a wrong one fails mypy."""
    written = "" if keywords.annotation is None else ast.unparse(keywords.annotation)
    return written.startswith("Unpack[") or written.endswith(".kwargs")


def test_no_catch_all_and_no_keyword_bags():
    found = []
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
                found.append(f"{place(path)}:{node.lineno} catches everything")
            if (
                isinstance(node, ast.FunctionDef)
                and node.args.kwarg is not None
                and not is_spelled_out(node.args.kwarg)
            ):
                found.append(f"{place(path)}:{node.lineno} takes **{node.args.kwarg.arg}")
    assert not found


def test_files_stay_small():
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length >= 400} == {}


FOR_OTHERS = {
    "shadow_model",  # docs/compare.md, From Python
    "rules_page",  # docs/rules.md is written by it, through `make golden`
    "findings_page",
}
"""What the packages offer and do not call themselves, besides `__all__`."""


def names_used(tree: ast.AST) -> Iterator[str]:
    """Every name that a module reads, by whatever way: plain, as an attribute, as a text (`__all__`, lazy imports)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def test_nothing_is_there_for_the_tests_alone():
    """Functions that only tests call are theirs: they stand in tests/. Commands are called through click."""
    used = {name for path in FILES for name in names_used(parsed(path))} | FOR_OTHERS
    found = [
        f"{place(path)}: {node.name}"
        for path in FILES
        for node in public(parsed(path))
        if node.name not in used and not node.decorator_list and not overrides(node.name)
    ]
    assert found == []


def overrides(name: str) -> bool:
    """Whether it is a method that click calls."""
    return hasattr(click.Group, name) or hasattr(ShellComplete, name)


def test_no_room_has_a_name_that_says_nothing():
    nothing = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc"}
    assert [place(path) for path in FILES if path.stem in nothing or path.parent.name in nothing] == []


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes of a module, with public methods; without the forms of a call for type checkers."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if any(ast.unparse(each) == "overload" for each in node.decorator_list):
                continue
            yield node
            methods = node.body if isinstance(node, ast.ClassDef) else []
            yield from (m for m in methods if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))


def test_everything_public_has_a_docstring():
    found = [place(path) for path in FILES if ast.get_docstring(parsed(path)) is None]
    found += [
        f"{place(path)}: {node.name}"
        for path in FILES
        for node in public(parsed(path))
        if ast.get_docstring(node) is None
    ]
    assert not found


def test_the_repository_speaks_of_the_software_alone():
    """No path of the machine it was written on."""
    texts = [*FILES, *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md"]
    found = [place(path) for path in texts if path.is_file() and "/work/" in path.read_text(encoding="utf-8")]
    assert not found


# what a process imports, writes and keeps


def python(code: str) -> str:
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_and_usage_errors_import_nothing_heavy():
    """All commands in one process: what the first had imported would show."""
    words = [list(words) for words in EVERY]
    code = (
        "import sys, io, contextlib\n"
        "from qdq_cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    codes = [run([*words, '--help']) for words in {words!r}]\n"
        "    codes += [run(['quantize', 'model.onnx', '--nonsense']), run(['--version'])]\n"
        f"print(sorted(set(map(int, codes))), sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert python(code).strip() == "[0, 2] []"


def test_calibrators_work_where_nothing_but_numpy_is_installed():
    code = (
        "import sys\n"
        "for name in ('onnx', 'onnx_ir', 'onnxruntime', 'click', 'tqdm', 'PIL', 'numba'): sys.modules[name] = None\n"
        "import numpy as np, calibrators\n"
        "histogram = calibrators.Histogram()\n"
        "histogram.observe(np.linspace(-1, 3, 1000, dtype=np.float32))\n"
        "print(calibrators.choose_range(histogram, calibrators.Method('minmax')).amax)"
    )
    assert float(python(code)) == 3.0


def test_nothing_is_written_besides_the_outputs(tmp_path: Path):
    """No device id, usage events or temporary files; ONNX Runtime's telemetry is off before it is imported."""
    space = make_workspace(tmp_path)
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for folder in places.values():
        folder.mkdir()
    before = space.listing()
    settings = {name: str(folder) for name, folder in places.items()}
    done = process("quantize", "model.onnx", "--calib", "images", "--cache", "model.qcal", cwd=space.folder, **settings)
    assert done.code == 0
    assert set(space.listing()) - set(before) == {"model.qcal", "model.qdq.onnx"}


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path):
    """A sample's observed activations take 70 kB; keeping those of 960 more would take 67 MB.

    Numba, which is loaded once there is much to count, is left out: it takes that much itself.
    """
    space = make_workspace(tmp_path)
    for number in range(10, 1000):
        (space.images / f"{number}.png").symlink_to(f"{number % 10}.png")
    code = (
        "import resource, sys\n"
        "sys.modules['numba'] = None\n"
        "from qdq_cli.main import run\n"
        "assert run(['quantize', 'model.onnx', '--calib', 'images', '--verify', '0', '-q', *sys.argv[1:]]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = []
    for samples in (40, 1000):
        done = subprocess.run(
            [sys.executable, "-c", code, "--samples", str(samples)], cwd=space.folder, env=environment(),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout) * unit)
    assert peaks[1] - peaks[0] < 30e6


# documentation


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_about_a_command_documents_all_of_its_options(name: str):
    """What `qdq quantize` has too is on its page."""
    page = REPOSITORY / "docs" / f"{name}.md"
    if not page.is_file():
        pytest.skip("there is no page about it")
    text = page.read_text(encoding="utf-8")
    options = options_of(name) - (options_of("quantize") if name != "quantize" else set())
    assert {option for option in options if option not in text} == set()


def options_of(name: str) -> set[str]:
    """The long options of a command and of the commands below it."""
    commands = [command for words, command in EVERY.items() if words[:1] == (name,)]
    params = (param for command in commands for param in command.params if isinstance(param, click.Option))
    return {option for param in params for option in param.opts if option.startswith("--")}
