"""One run in a process of its own, forked from this one so that nothing has to be imported again, and what it broke."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import hashlib
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FINDINGS = {
    "traceback": "an error that is no sentence",
    "signal": "ended by a signal",
    "hang": "longer than 60 s of a processor, or ten minutes",
    "memory": "more than 2 GB on top of what the imports take",
    "exit code": "none of those that are documented, or an error without its sentence",
    "left over": "files beside the outputs, or an output of a run that failed",
    "torn": "an output or a JSON document that cannot be read",
    "raw letters": "control characters, or lines that a build service takes for commands",
    "input changed": "a file that was only to be read",
}
"""What an attack looks for."""

GROWTH_BYTES = 2 << 30
SECONDS = 60
"""Of a processor: on a loaded machine the clock on the wall says little."""

_WALL_SECONDS = 600
_THREADS_BYTES = 1 << 29  # addresses that threads reserve and do not use
_CODES = frozenset((0, 2, 3, 4, 5))
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_NO_MEMORY = ("ran out of memory", "MemoryError", "bad_alloc")
_ORDER = re.compile(r"^\s*::|##\[|##vso\[", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Args:
        code: Exit code; negative for a signal.
        out: What it printed.
        err: What it said on stderr.
        stopped: Whether it was stopped for its time.
        grown_bytes: Largest memory above that of the process it was forked from.
    """

    code: int
    out: str
    err: str
    stopped: bool
    grown_bytes: int


def attempt(work: Callable[[], int], folder: Path) -> Ended:
    """Run a function that returns an exit code in a forked process, inside a folder and with limits."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = _forked()
        if not child:
            _run(work, folder, out.fileno(), err.fileno())
        status, used, stopped = _awaited(child)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    code = os.waitstatus_to_exitcode(status)
    stopped = stopped or code == -signal.SIGXCPU
    return Ended(code, texts[0], texts[1], stopped, used.ru_maxrss * 1024 - _idle_bytes())


def _run(work: Callable[[], int], folder: Path, out: int, err: int) -> None:
    """What the forked process does; it never returns."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - to the end of the process
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        faulthandler.disable()
        _warn_as_usual()
        tempfile.tempdir = str(folder / "temporary")
        room = _addresses_bytes() + GROWTH_BYTES + _THREADS_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = work()
    except BaseException:  # noqa: BLE001 - whatever it is, it is what is looked for
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _warn_as_usual() -> None:
    """Treat warnings as Python does that nobody has told otherwise, as tests do."""
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def _awaited(child: int) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for a process, and end it where it takes too long: its status, what it used, whether it was ended."""
    last = time.monotonic() + _WALL_SECONDS
    stopped = False
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return status, used, stopped
        if not stopped and time.monotonic() > last:
            os.kill(child, signal.SIGKILL)
            stopped = True
        time.sleep(0.005)


def _forked() -> int:
    """Fork; newer Pythons warn of threads, of which those that a library sleeps in do no harm here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@functools.cache
def _idle_bytes() -> int:
    """Memory of a forked process that does nothing."""
    child = _forked()
    if not child:
        os._exit(0)
    return int(os.wait4(child, 0)[2].ru_maxrss) * 1024


def _addresses_bytes() -> int:
    """All the addresses of this process, as Linux counts them."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:"))
    return int(line.split()[1]) * 1024


def files_in(folder: Path) -> dict[str, str]:
    """Name -> digest of every file below a folder; folders end in a slash."""
    return {
        f"{path.relative_to(folder)}{'/' * path.is_dir()}": _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts != ("temporary",)
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def findings(ended: Ended, before: dict[str, str], folder: Path, writes: tuple[str, ...], as_json: bool) -> list[str]:
    """What a run broke, out of `FINDINGS`."""
    checks = {
        "hang": ended.stopped,
        "signal": ended.code < 0 and not ended.stopped,
        "traceback": "Traceback (most recent" in ended.err or "Exception ignored" in ended.err,
        "memory": ended.grown_bytes > GROWTH_BYTES or any(words in ended.err for words in _NO_MEMORY),
        "exit code": ended.code >= 0 and not _said_well(ended),
        "raw letters": any(_has_raw_letters(text) for text in (ended.out, ended.err)),
        **_of_files(ended, before, folder, writes),
    }
    if as_json and not ended.code:
        checks["torn"] |= not _is_json(ended.out)
    return [name for name, broken in checks.items() if broken]


def _said_well(ended: Ended) -> bool:
    return ended.code in _CODES and (not ended.code or "error: " in ended.err)


def _has_raw_letters(text: str) -> bool:
    lines = text.split("\n")
    hidden = any(
        not line.isprintable() and {unicodedata.category(letter) for letter in line} & _HIDDEN for line in lines
    )
    return hidden or bool(_ORDER.search(text))


def _of_files(ended: Ended, before: dict[str, str], folder: Path, writes: tuple[str, ...]) -> dict[str, bool]:
    after = files_in(folder)
    new = set(after) - set(before)
    allowed = set() if ended.code not in (0, 5) else {name for name in new if _is_output(name, writes)}
    written = [folder / name for name in writes if name in new and not ended.code]
    return {
        "left over": bool(new - allowed) and ended.code >= 0,
        "input changed": any(after.get(name) != digest for name, digest in before.items()),
        "torn": not all(_is_whole(path) for path in written) or (ended.code == 0 and len(written) < len(writes)),
    }


def _is_output(name: str, writes: tuple[str, ...]) -> bool:
    return any(name == output or (name.startswith(output) and name.endswith(".data")) for output in writes)


def _is_whole(path: Path) -> bool:
    """Whether a file can be read as what its name says."""
    import onnx

    from calibrators import read_cache

    match path.suffix:
        case ".onnx":
            with contextlib.suppress(Exception):
                return len(onnx.load(path).graph.output) > 0
            return False
        case ".qcal":
            return len(read_cache(path).entries) >= 0
        case ".json":
            return _is_json(path.read_text("utf-8"))
    return path.stat().st_size > 0


def _is_json(text: str) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(text)
        return True
    return False


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """An empty folder with a place for temporary files, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="case-", dir=folder) as name:
        (Path(name) / "temporary").mkdir()
        yield Path(name)
