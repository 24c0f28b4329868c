"""Evaluate a variant of a sample model on its test set: `python -m bench.sample NAME MODEL` prints one JSON line.

A third argument, how many test samples to use, is taken and has no effect: the test sets are small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.figures import mean_interval
from sample_models.catalog import PSNR, find
from sample_models.evaluate import evaluate_each


def _main() -> None:
    name, model = sys.argv[1:3]
    metric, each = find(name).metric, evaluate_each(Path(model), name)
    document = {"metric": metric, "value": round(float(each.mean()), 3), "n": each.size}
    if metric == PSNR:
        document["interval_95"] = [round(end, 3) for end in mean_interval(each)]
    print(json.dumps(document))


if __name__ == "__main__":
    _main()
