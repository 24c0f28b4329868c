"""Peak memory of observing, each figure from a process of its own.

As a program, `python -m bench.memory MODEL SAMPLES`: load, prepare, plan and observe, and nothing else; with 0 samples
only the libraries are loaded, which is most of what observing a small network takes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import child
from bench.results import Result
from qdq_cli.process.startup import load_seldom_used_late

if TYPE_CHECKING:
    from bench.settings import Settings

_KINDS = 8  # different pictures; they are used in turn, so that the bench itself holds the same for any count


def run(settings: Settings) -> list[Result]:
    """Compare plain inference, few samples and many samples."""
    from bench.observe import best_style
    from bench.pictures import pictures

    results = []
    for name, path in settings.models().items():
        style = best_style(path, pictures(32, seed=5), settings.cores, min(3, settings.repeats))
        shape = [str(number) for number in (style.batch, style.inside, style.beside)]
        plain = _peak_bytes("bench.plain", path, str(settings.few_samples), *shape)
        bare_plain, bare = _peak_bytes("bench.plain", path, "0", *shape), _peak_bytes("bench.memory", path, "0")
        few = _peak_bytes("bench.memory", path, str(settings.few_samples))
        many = _peak_bytes("bench.memory", path, str(settings.many_samples))
        short, long = f"{name}, {settings.few_samples} samples", f"{name}, {settings.many_samples} samples"
        results += [
            Result("plain inference, peak MB", f"{short}; {style}", plain / 1e6),
            Result("observe, peak MB", short, few / 1e6),
            Result("observe, peak memory x plain inference", short, few / plain, 2.0),
            Result("observe, peak memory x that of few samples", long, many / few),
            Result("the same x plain, both without libraries", short, (few - bare) / (plain - bare_plain)),
            Result("plain inference, libraries alone, MB", name, bare_plain / 1e6),
            Result("observe, libraries alone, MB", name, bare / 1e6),
        ]
    return results


def _peak_bytes(module: str, model: Path, *arguments: str) -> int:
    return child(["-m", module, str(model), *arguments])[0].peak_bytes


def _main() -> None:
    load_seldom_used_late()  # as the command does, before anything else is imported
    from bench.observe import observe_all, planned
    from bench.pictures import pictures
    from calibrators import warm_up

    warm_up()
    if count := int(sys.argv[2]):
        model, plan = planned(Path(sys.argv[1]))
        observe_all(model, plan, pictures(_KINDS, seed=5), count)


if __name__ == "__main__":
    _main()
