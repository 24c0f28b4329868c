"""`python -m bench.conform_cpu [COUNT]`: what `qdq inspect` predicts for CPUs, against the runtimes themselves.

Random networks are planned, and their drafts read back as ONNX Runtime optimizes them and as OpenVINO runs them (where
it is installed); those of the tests are the first of them. Models of other origin have random Q/DQ in places that no
planner chooses.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime

from qdq_cli.process.errors import ModelError
from qdq_cli.running.openvino import is_installed, openvino_version
from qdq_cli.targets.onnxruntime.fusion import Fusions, fuse
from tests.targets.tensorrt.random_networks import QDQ_STEPS, assembled, finished
from tests.targets.test_fusion import STEPS, left_alone, on_integers, optimized, planned, predicted, predicted_alone
from tests.targets.test_openvino_fusion import OTHERS, PRODUCTS, differing, random_network

ORIGINS = ("planned", "of other origin")


def compare(model: ir.Model, folder: Path) -> tuple[bool, bool]:
    """Say of a model whether its operators on integers, and the Q and DQ that stay, are as predicted."""
    real: onnx.GraphProto = optimized(model, folder)
    found: Fusions = fuse(model)
    return predicted(found) == on_integers(real), predicted_alone(found) == left_alone(real)


def network(origin: str, seed: int) -> ir.Model:
    """Make a random network."""
    chosen = assembled(random.Random(seed).choice, STEPS if origin == "planned" else QDQ_STEPS)
    model = ir.serde.deserialize_model(finished(chosen))
    return planned(model) if origin == "planned" else model


def _onnxruntime(origin: str, count: int, folder: Path) -> None:
    right: Counter[str] = Counter()
    for seed in range(count):
        operators, pairs = compare(network(origin, seed), folder)
        right.update({"operators": operators, "pairs": pairs})
    print(f"{origin}: operators on integers right in {right['operators']}, Q and DQ that stay in {right['pairs']}")


def _openvino(origin: str, count: int, folder: Path) -> None:
    right: Counter[str] = Counter()
    for seed in range(count):
        model = random_network(seed, foreign=origin != "planned")
        try:
            missed = (not any(differing(model, kinds, folder)) for kinds in (PRODUCTS, OTHERS))
            right.update(dict(zip(("products", "others"), missed, strict=True)))
        except ModelError as error:
            print(f"{origin} {seed}: {error.message}")
    print(f"{origin}: products right in {right['products']}, poolings, Concat and Split in {right['others']}")


def _main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    runs = [(f"ONNX Runtime {onnxruntime.__version__}", _onnxruntime)]
    runs += [(f"OpenVINO {openvino_version()}", _openvino)] if is_installed() else []
    for title, run in runs:
        print(f"{title}, {count} random networks of each kind")
        for origin in ORIGINS:
            with tempfile.TemporaryDirectory(prefix="qdq-conform-") as folder:
                run(origin, count, Path(folder))


if __name__ == "__main__":
    _main()
