"""Leave out, until it is used, what a library imports at its start and hardly ever needs.

onnx-ir has SymPy compute with symbolic dimensions. Importing it takes as long as everything else of `qdq inspect` on a
small model, and a quarter of its memory; this package does not compute with dimensions.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

_SELDOM = frozenset({"sympy", "onnx_ir._symbolic_shapes"})


class _LazyFinder:
    """Finds the modules where they are, and has them loaded at the first look into them (by `LazyLoader`).

    It names no base: `importlib.abc` brings temporary files, random numbers and archives along, a tenth of the start.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _SELDOM:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def load_seldom_used_late() -> None:
    """Let such modules wait from now on; for a process that is the command's own, before it imports anything else."""
    if not any(isinstance(finder, _LazyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LazyFinder())


@contextlib.contextmanager
def seldom_used_left_out() -> Iterator[None]:
    """Let such modules wait that are imported meanwhile; for a process that is somebody else's."""
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


_ASKED = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What tells the libraries behind NumPy's matrix products how many threads they may use."""


def multiply_on_one_thread() -> None:
    """Let NumPy multiply matrices on one thread, unless the environment says something about that.

    For a process that is the command's own and has not imported NumPy yet. Most products of calibration and recovery
    are small, and there the threads of OpenBLAS wait for each other by running: that costs several times what the
    products do, and takes the cores from what runs beside them.
    """
    if "numpy" not in sys.modules and not any(name in os.environ for name in _ASKED):
        os.environ[_ASKED[0]] = "1"
