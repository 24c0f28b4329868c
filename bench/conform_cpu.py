"""`python -m bench.conform_cpu [COUNT]`: what `qdq inspect --target onnxruntime` predicts, against ONNX Runtime itself.

Random networks are planned, and their drafts optimized and read back; those of the tests are the first of them. Models
of other origin have random Q/DQ in places that no planner chooses.
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

from qdq_cli.targets.onnxruntime.fusion import Fusions, fuse
from tests.targets.tensorrt.random_networks import QDQ_STEPS, assembled, finished
from tests.targets.test_fusion import STEPS, left_alone, on_integers, optimized, planned, predicted, predicted_alone

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


def _main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"ONNX Runtime {onnxruntime.__version__}, {count} random networks of each kind")
    for origin in ORIGINS:
        right: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="qdq-conform-") as folder:
            for seed in range(count):
                operators, pairs = compare(network(origin, seed), Path(folder))
                right.update({"operators": operators, "pairs": pairs})
        print(f"{origin}: operators on integers right in {right['operators']}, Q and DQ that stay in {right['pairs']}")


if __name__ == "__main__":
    _main()
