"""Train the sample models and write their data: `python -m sample_models.build all` (or `data`, or names).

Needs the extra `train` of the package. The files it writes are part of the repository, so nobody has to run it
to use or to test `qdq`.
"""

import argparse
import time
from importlib import import_module
from pathlib import Path

from sample_models.catalog import CATALOG, FOLDER, find
from sample_models.evaluate import evaluate


def main() -> None:
    """Build what the command line names."""
    names = [model.name for model in CATALOG]
    parser = argparse.ArgumentParser(prog="python -m sample_models.build", description=__doc__)
    parser.add_argument("what", nargs="+", choices=["all", "data", *names], metavar="all|data|NAME")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to (default: this one)")
    arguments = parser.parse_args()
    chosen = ["data", *names] if "all" in arguments.what else list(dict.fromkeys(arguments.what))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        if name == "data":
            write_data(arguments.output)
        else:
            build_model(name, arguments.output)


def write_data(folder: Path) -> None:
    """Write the calibration images and the test sets below `folder`."""
    for module in ("digits", "photographs"):
        import_module(f"sample_models.{module}").write_samples(folder)


def build_model(name: str, folder: Path) -> None:
    """Train one model, write it into `folder` and print its metric on the test set."""
    path, start = folder / f"{name}.onnx", time.perf_counter()
    import_module(f"sample_models.{name}").build(path)
    metric = find(name).metric
    value, seconds = evaluate(path, name)[metric], time.perf_counter() - start
    print(f"{name}: {metric} {value:.2f}, {path.stat().st_size} bytes, {seconds:.0f} s")


if __name__ == "__main__":
    main()
