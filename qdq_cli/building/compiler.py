"""Run NVIDIA's compiler in a process of its own, and turn whatever becomes of it into a record or a sentence.

Everything is told by the process itself, in JSON of our own (`worker.py`): this process never loads the compiler.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdq_cli.building.layers import kernels_of
from qdq_cli.building.record import Kernel, Outcome
from qdq_cli.config.build import DEFAULT_GPU
from qdq_cli.process.bounded import Exceeded, Limits, wait_within
from qdq_cli.process.children import ended_text, ending, last_lines
from qdq_cli.process.errors import LimitError, ModelError, UsageError
from qdq_cli.process.extras import install_line
from qdq_cli.process.scratch import scratch_folder

COMPILER = "TensorRT for RTX"
INSTALL = install_line("compiler")
WORKER = Path(__file__).with_name("worker.py")

_PHASES = {"": "starting", "loaded": "reading the model", "parsed": "building the engine"}
"""Last event of a process -> what it was doing then."""

Shapes = Mapping[str, Sequence[Sequence[int]]]
"""Dynamic input -> its smallest, its usual and its largest shape."""


LOADING = Limits(seconds=60.0, memory_bytes=8 * 10**9)
"""What loading the compiler may take."""


@dataclass(frozen=True)
class Job:
    """One build.

    Args:
        model: The ONNX file; None to load the compiler and no more.
        gpu: Compute capability, such as `sm89`.
        shapes: Sizes of dynamic inputs.
        engine: Where the engine goes; None to keep none.
    """

    model: Path | None
    gpu: str
    shapes: Shapes
    engine: Path | None = None


@dataclass(frozen=True)
class RawRefusal:
    """What the importer says about a node that it does not read.

    Args:
        node: Name of the node, or "".
        number: Its place in the file; -1 where the importer gives none.
        op_type: Its operator, or "".
        said: The importer's sentence.
    """

    node: str
    number: int
    op_type: str
    said: str


@dataclass(frozen=True)
class Told:
    """What the compiler told about one build.

    Args:
        outcome: What became of the model.
        version: Version of the compiler.
        refusals: Nodes that the importer does not read.
        said: The compiler's sentences where there is no engine.
        kernels: Layers of the engine.
        seconds: Time of the build.
        engine_bytes: Size of the engine.
        peak_bytes: Most memory that its process held, where the system tells.
    """

    outcome: Outcome
    version: str
    refusals: tuple[RawRefusal, ...] = ()
    said: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    seconds: float = 0.0
    engine_bytes: int = 0
    peak_bytes: int | None = None


def compile_model(job: Job, limits: Limits) -> Told:
    """Build a model in a process of its own.

    Raises:
        UsageError: The compiler is not installed, cannot be loaded, or has no such GPU.
        ModelError: It crashes, or asks for sizes that are not known.
        LimitError: It takes more time or memory than it may.
    """
    return told_of(*_events(job, limits), limits)


def require_compiler() -> None:
    """Make sure that the compiler is installed and can be loaded.

    Raises:
        UsageError: It is not so.
        ModelError: It crashes while it is loaded.
        LimitError: It takes too long to load.
    """
    events, code, said = _events(Job(None, DEFAULT_GPU, {}), LOADING)
    if not events or events[-1]["event"] != "ready":
        told_of(events, code, said, LOADING)


Events = Sequence[Mapping[str, Any]]


def _events(job: Job, limits: Limits) -> tuple[Events, int | Exceeded, tuple[str, ...]]:
    """Run the process; returns what it told, its exit code or the limit that it exceeded, and its last complaints."""
    with scratch_folder() as folder:
        events, complaints = folder / "events", folder / "complaints"
        with events.open("wb") as out, complaints.open("wb") as err:
            code = _run(job, limits, (out.fileno(), err.fileno()))
        return (
            _read(events.read_text("utf-8", "replace")),
            code,
            last_lines(complaints.read_text("utf-8", "replace"), "Its stderr:"),
        )


def _read(text: str) -> list[Mapping[str, Any]]:
    """Return the events that were written whole: the last line of a process that was ended may be cut off."""
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def _run(job: Job, limits: Limits, streams: tuple[int, int]) -> int | Exceeded:
    """Run the process to its end; returns its exit code, or the limit that it exceeded."""
    order = {
        "model": None if job.model is None else str(job.model),
        "gpu": job.gpu.upper(), "memory_bytes": limits.memory_bytes,
        "profiles": {name: [list(shape) for shape in shapes] for name, shapes in job.shapes.items()},
        "engine": None if job.engine is None else str(job.engine),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-P", str(WORKER)], stdin=subprocess.PIPE, stdout=streams[0], stderr=streams[1],
        bufsize=0, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    with ending(process), process.stdin:  # which stays open meanwhile: the process ends when this one is gone
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
        return wait_within(process, limits)


def told_of(events: Events, code: int | Exceeded, said: tuple[str, ...], limits: Limits) -> Told:
    """Make the record of what the process told; its last event counts.

    Args:
        events: What it told.
        code: Its exit code; the limit that it exceeded where it was ended.
        said: Its last complaints.
        limits: What it was allowed.

    Raises:
        UsageError, ModelError, LimitError: As for `compile_model`.
    """
    last: Mapping[str, Any] = events[-1] if events else {"event": ""}
    version = next((str(event["version"]) for event in events if event["event"] == "loaded"), "")
    name = str(last["event"])
    if name == "built":
        return Told(
            Outcome.BUILT, version, kernels=kernels_of(last["layers"]), seconds=last["seconds"],
            engine_bytes=last["engine_bytes"], peak_bytes=last["peak_bytes"],
        )  # fmt: skip
    if name == "refused":
        return Told(Outcome.REFUSED, version, tuple(map(_raw_refusal, last["refusals"])), _lines(last))
    if name == "memory" or code is Exceeded.MEMORY or (name == "failed" and any(map(_is_about_memory, last["said"]))):
        raise _out_of_memory(limits)
    if name == "failed":
        return Told(Outcome.FAILED, version, said=_lines(last))
    _raise_for(name, last)
    doing = _PHASES.get(name, "working")
    if isinstance(code, Exceeded):
        raise LimitError(
            f"{COMPILER} was still {doing} after {limits.seconds:g} s, and was ended.",
            "Allow it more with --time-limit.",
        )
    if any(map(_is_about_memory, said)):
        raise _out_of_memory(limits)
    raise ModelError(
        f"{COMPILER} {ended_text(code)} while {doing}, without a word about the model.",
        "The crash is the compiler's own; `qdq inspect` says what it would predict.",
        said,
    )


def _raw_refusal(told: Mapping[str, Any]) -> RawRefusal:
    said = " ".join(str(told["said"]).split())
    return RawRefusal(str(told["node"]), int(told["number"]), str(told["op_type"]), said)


def _raise_for(name: str, event: Mapping[str, Any]) -> None:
    """Raise what an event means that is no result; nothing for one that is none of these.

    Raises:
        UsageError: The compiler cannot be used.
        ModelError: Sizes are missing that the compiler needs.
    """
    if name == "missing":
        raise _missing(str(event["module"]), str(event["said"]))
    if name == "unknown gpu":
        raise UsageError("The compiler that is installed knows no such GPU.", f"A newer one may: {INSTALL} -U")
    if name == "open":
        raise ModelError(
            f"Input '{event['input']}' is dynamic for {COMPILER}, and its sizes are not known.",
            f"Give them: --input-shape {event['input']}:{'x'.join('?' if d < 0 else str(d) for d in event['shape'])}",
        )
    if name == "shape input":
        raise ModelError(
            f"Input '{event['input']}' holds the shape of another tensor, which {COMPILER} wants to know in advance.",
            "Export the model with that shape fixed.",
        )


def _missing(module: str, said: str) -> UsageError:
    if not module.startswith("tensorrt_rtx"):
        return UsageError(
            f"{COMPILER} is installed, and cannot be loaded.",
            "It needs Linux or Windows on x86-64 and CPython 3.11 to 3.13.",
            (said,),
        )
    return UsageError(
        f"NVIDIA's compiler {COMPILER} is needed for that, and is not installed beside qdq.",
        f"Install it: {INSTALL} (Linux and Windows on x86-64, CPython up to 3.13; NVIDIA's licence).",
    )


def _is_about_memory(text: str) -> bool:
    return any(word in text.lower() for word in ("bad_alloc", "out of memory", "outofmemory", "memoryerror"))


def _out_of_memory(limits: Limits) -> LimitError:
    return LimitError(
        f"{COMPILER} asked for more memory than the {limits.memory_bytes / 1e9:g} GB it may have.",
        "Allow it more with --memory-limit.",
    )


def _lines(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The compiler's sentences, each once."""
    return tuple(dict.fromkeys(" ".join(str(line).split()) for line in event["said"]))
