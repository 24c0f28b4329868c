"""Evaluate a variant of a sample model on its test set: `python -m bench.sample NAME MODEL` prints one JSON line.

A third argument, how many test samples to use, is taken and has no effect: the test sets are small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from sample_models.catalog import find
from sample_models.evaluate import evaluate


def _main() -> None:
    name, model = sys.argv[1:3]
    ((metric, value),) = evaluate(Path(model), name).items()
    with np.load(find(name).test_path, allow_pickle=False) as test_set:
        count = len(test_set["inputs"])
    print(json.dumps({"metric": metric, "value": round(value, 3), "n": count}))


if __name__ == "__main__":
    _main()
