"""What people get who have only NumPy: the package imports, counts and says so quickly; its example is true."""

import ast
import doctest
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

import calibrators
from calibrators import Histogram, kernels, warm_up

PACKAGE = Path(calibrators.__file__).parent
OBSERVE = """
import sys
import numpy as np
import calibrators
from calibrators import kernels
histogram = calibrators.Histogram()
values = np.random.default_rng(0).normal(size=400_000).astype(np.float32)
for _ in range(4):
    histogram.observe(values)
assert histogram.count == 1_600_000 and calibrators.mse(histogram).amax > 3
"""
BLOCK = """
import sys
for name in {names!r}:
    sys.modules[name] = None
"""


def run(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; its stderr must stay empty."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, ""), finished.stderr
    return finished.stdout


def test_only_numpy_and_the_standard_library_are_imported() -> None:
    allowed = {"numpy", "calibrators", "numba", "llvmlite"} | sys.stdlib_module_names
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_works_where_nothing_but_numpy_is_installed() -> None:
    others = ["onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL", "numba", "ml_dtypes", "flatbuffers"]
    run(BLOCK.format(names=others) + OBSERVE + "assert not calibrators.warm_up()")


def test_importing_and_first_counting_leave_numba_alone() -> None:
    code = "import sys, numpy, calibrators; h = calibrators.Histogram(); h.observe(numpy.ones(99, numpy.float32))"
    assert run(code + "\nprint('numba' in sys.modules, 'llvmlite' in sys.modules)") == "False False\n"


def test_numba_can_be_kept_away() -> None:
    code = OBSERVE + "assert not calibrators.warm_up(); print('numba' in sys.modules)"
    assert run(code, QDQ_NO_NUMBA="1") == "False\n"


def test_a_numba_that_does_not_fit_this_numpy_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.99 or less')")
    run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + OBSERVE + "assert not calibrators.warm_up()")


class TestCompiled:
    """Only where Numba is installed."""

    @pytest.fixture(autouse=True)
    def _numba(self) -> None:
        pytest.importorskip("numba")

    def test_is_used_as_soon_as_it_is_worth_it(self) -> None:
        code = OBSERVE + "print(kernels.counter(0) is kernels.count_with_numpy, 'numba' in sys.modules)"
        assert run(code) == "False True\n"

    def test_without_a_place_for_the_cache(self) -> None:
        """Read-only site-packages and home: compiled for this process alone."""
        code = "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []\n"
        code += OBSERVE + "print(calibrators.warm_up(), kernels.counter(0) is kernels.count_with_numpy)"
        assert run(code) == "True False\n"

    def test_with_a_damaged_cache(self, tmp_path: Path) -> None:
        places = {"NUMBA_CACHE_DIR": str(tmp_path)}
        assert run(OBSERVE + "print(calibrators.warm_up())", **places) == "True\n"
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        for path in files:
            path.write_bytes(b"\x80\x04 damaged")
        assert run(OBSERVE + "print(calibrators.warm_up())", **places) == "True\n"

    def test_has_one_specialisation_for_every_buffer(self) -> None:
        """Read-only, unaligned and ordinary buffers must not compile anything at run time."""
        assert warm_up()
        values = np.arange(20_000, dtype=np.float32)
        values.flags.writeable = False
        unaligned = np.frombuffer(b"\0" + values.tobytes(), np.uint8)[1:].view(np.float32)
        histogram = Histogram()
        for array in (values, unaligned, values.copy(), values[:5], values.reshape(100, 200)):
            histogram.observe(array)
        assert histogram.count == 80_005

    def test_counts_from_many_threads_at_once(self) -> None:
        assert warm_up()
        arrays = [np.random.default_rng(seed).normal(size=50_000).astype(np.float32) for seed in range(4)]
        parts = [Histogram() for _ in arrays]

        def observe(part: Histogram) -> None:
            for array in arrays:
                part.observe(array)

        threads = [threading.Thread(target=observe, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = Histogram()
        for array in arrays:
            expected.observe(array)
        assert all(part == expected for part in parts)


def test_while_one_thread_loads_the_others_go_on() -> None:
    compiled = kernels._Compiled()
    with compiled.loading:
        assert compiled.load(wait=False) is None


def test_the_example_of_the_package_is_true() -> None:
    result = doctest.testmod(calibrators)
    assert (result.failed, result.attempted) == (0, 22)


def test_everything_public_is_there_and_documented() -> None:
    for name in calibrators.__all__:
        item = getattr(calibrators, name)
        assert item.__doc__ or not isinstance(item, (type, FunctionType)), name
