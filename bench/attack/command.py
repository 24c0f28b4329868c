"""`python -m bench attack`: run the cases, print what they found, and end with 1 where that is anything."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import pkgutil
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import qdq_cli
from bench.attack.cases import Case, lay_out
from bench.attack.corpus import Corpus, make_corpus
from bench.attack.trial import FINDINGS, Ended, attempt, emptied, files_in, findings
from calibrators import Histogram

_EXIT_CODES = (0, 2, 3, 4, 5)
_SHOWN_LINES = 6
_EVERY = 250  # cases between two signs of life


def main(arguments: Sequence[str]) -> int:
    """Run the attack the arguments ask for; returns 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m bench attack", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="cases to run (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first case (0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other cases (0)")
    parser.add_argument("--only", type=int, metavar="N", help="run this case alone, and show what it printed")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="with --only: leave its files there")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="qdq-attack-") as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        corpus = warm(make_corpus(folder / "corpus"))
        if chosen.only is not None:
            return _show(corpus, chosen.seed, chosen.only, folder, chosen.keep)
        numbers = range(chosen.first, chosen.first + chosen.runs)
        results = list(attacks(corpus, chosen.seed, numbers, folder))
    gc.unfreeze()
    return _summary(chosen.seed, results)


def warm(corpus: Corpus) -> Corpus:
    """Import and compile in this process what every case would have to, and keep it out of their memory's growth."""
    for module in pkgutil.walk_packages(qdq_cli.__path__, "qdq_cli."):
        with contextlib.suppress(ImportError):  # Dask, where it is not installed
            importlib.import_module(module.name)
    Histogram().observe(np.linspace(-1, 1, 1000, dtype=np.float32))
    gc.collect()
    gc.freeze()
    return corpus


def attacks(
    corpus: Corpus, seed: int, numbers: Sequence[int], folder: Path
) -> Iterator[tuple[int, Case, Ended, list[str]]]:
    """Run cases one after the other; each is handed on with what it broke, and told at once where that is anything."""
    for number in numbers:
        with emptied(folder) as place:
            case = lay_out(corpus, seed, number, place)
            before = files_in(place)
            ended = attempt(lambda line=case.arguments: _command(line), place)
            found = findings(ended, before, place, case.writes, "--json" in case.arguments)
        if found:
            print(f"case {number}: {', '.join(found)}: {shlex.join(('qdq', *case.arguments))}", flush=True)
            for line in ended.err.splitlines()[-_SHOWN_LINES:]:
                print(f"    {line!r}", flush=True)
        if number % _EVERY == _EVERY - 1:
            print(f"{number + 1} cases", file=sys.stderr, flush=True)
        yield number, case, ended, found


def _command(line: Sequence[str]) -> int:
    from qdq_cli.main import run

    return int(run(line))


def _show(corpus: Corpus, seed: int, number: int, folder: Path, keep: Path | None) -> int:
    """Do one case again."""
    if keep is not None:
        lay_out(corpus, seed, number, _empty(keep))
    ((_, case, ended, found),) = attacks(corpus, seed, [number], folder)
    print(f"{shlex.join(('qdq', *case.arguments))}\nexit code {ended.code}, {ended.grown_bytes / 1e6:.0f} MB more")
    print(ended.out + ended.err)
    return int(bool(found))


def _empty(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _summary(seed: int, results: Sequence[tuple[int, Case, Ended, list[str]]]) -> int:
    """Print a table of what was damaged and how the runs ended, and one of what was found."""
    print(f"\n{'damaged':<16}{'runs':>8}" + "".join(f"{f'exit {code}':>8}" for code in _EXIT_CODES) + f"{'found':>8}")
    for kind in sorted({case.kind for _, case, _, _ in results}):
        rows = [(ended.code, found) for _, case, ended, found in results if case.kind == kind]
        codes = Counter(code for code, _ in rows)
        counts = "".join(f"{codes[code]:>8}" for code in _EXIT_CODES)
        print(f"{kind:<16}{len(rows):>8}{counts}{sum(bool(found) for _, found in rows):>8}")
    print()
    broken = 0
    for name, meaning in FINDINGS.items():
        numbers = [number for number, _, _, found in results if name in found]
        broken += len(numbers)
        again = f"  (--seed {seed} --only {numbers[0]})" if numbers else ""
        print(f"{name:<16}{len(numbers):>8}  {meaning}{again}")
    most = max((ended.grown_bytes for _, _, ended, _ in results), default=0)
    print(f"\n{len(results)} runs, {broken} findings, at most {most / 1e6:.0f} MB more than the imports")
    return int(bool(broken))
