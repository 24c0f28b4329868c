"""Run the user's own trtexec on a model, in a process of its own, and turn whatever becomes of it into a record.

Nothing of it is guessed: its release, which it names itself, says which options it takes.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.building.compiler import RawRefusal
from qdq_cli.building.engine_file import read_layers, read_times
from qdq_cli.building.record import Kernel, Outcome
from qdq_cli.building.shapes import Profile
from qdq_cli.building.trtexec_log import (
    capability_in,
    complaints_in,
    device_in,
    is_refused,
    refusals_in,
    release_in,
    seconds_in,
    version_of,
)
from qdq_cli.process.bounded import Exceeded, Limits, wait_within
from qdq_cli.process.children import ended_text, ending, last_lines
from qdq_cli.process.errors import LimitError, ModelError, UsageError
from qdq_cli.targets.tensorrt.trtexec import IDLE, NEVER, NEWEST, OLDEST, STRONG, WEAK, Version, takes

ASKING = Limits(seconds=60.0, memory_bytes=8 * 10**9)
"""What asking trtexec for its release may take."""


@dataclass(frozen=True)
class Order:
    """What trtexec is asked to build.

    Args:
        model: The ONNX file.
        folder: Where it writes what it tells.
        engine: Where the engine goes.
        profiles: Sizes of dynamic inputs.
        quantized: Whether the model holds Q/DQ.
        typed: Whether it holds types that only a strongly typed network runs: 16-bit floats, FP8, 4 bits.
    """

    model: Path
    folder: Path
    engine: Path
    profiles: Mapping[str, Profile]
    quantized: bool
    typed: bool

    @property
    def layers(self) -> Path:
        """Where its layers go."""
        return self.folder / "layers.json"

    @property
    def times(self) -> Path:
        """Where their times go."""
        return self.folder / "times.json"


@dataclass(frozen=True)
class Ran:
    """What came of a run of trtexec.

    Args:
        outcome: What became of the model.
        device: Name of the GPU, or "".
        capability: Its compute capability, such as `sm89`, or "".
        seconds: Time of the build.
        refusals: Nodes that the importer does not read.
        said: Its complaints where there is no engine.
        kernels: Layers of the engine.
        times_ms: Layer -> its time.
    """

    outcome: Outcome
    device: str
    capability: str
    seconds: float = 0.0
    refusals: tuple[RawRefusal, ...] = ()
    said: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    times_ms: Mapping[str, float] = field(default_factory=dict)


def ask_release(program: Path) -> tuple[int, int, int]:
    """Return the release of a trtexec, as major, minor and patch.

    Raises:
        UsageError: It cannot be started, is no trtexec, or one of a release before 8.4.
        LimitError: It does not end.
    """
    code, text = _run(program, ("--help",), ASKING, None)
    release = release_in(text)
    if release is None:
        raise UsageError(
            f"{program} names no release of TensorRT, so it is no trtexec.",
            "Name the trtexec of a TensorRT installation: --trtexec /usr/src/tensorrt/bin/trtexec.",
            () if code == 0 else last_lines(text, "It says:"),
        )
    if version_of(release) < OLDEST:
        raise UsageError(
            f"{program} is of TensorRT {release_text(release)}; 8.4 is the oldest release whose layers can be read.",
            "Name a newer one.",
        )
    return release


def release_text(release: Sequence[int]) -> str:
    """Write a release as people do."""
    return ".".join(map(str, release))


def words_of(order: Order, version: Version) -> tuple[str, ...]:
    """Return the options that make this release build a model, and tell of its layers and their times."""
    files = (f"--onnx={order.model}", f"--saveEngine={order.engine}")
    told = (f"--exportLayerInfo={order.layers}", f"--exportProfile={order.times}", "--profilingVerbosity=detailed")
    apart = ("--separateProfileRun",)  # times of layers are taken in a run of their own
    return (*files, *told, *apart, *(f"--{name}" for name in _types(order, version)), *_shapes(order.profiles))


def _types(order: Order, version: Version) -> tuple[str, ...]:
    """The options about types: those in the file alone decide where it holds some that flags do not allow."""
    known = min(version, NEWEST)
    wanted: tuple[str, ...] = STRONG if order.typed else WEAK[0 if order.quantized else 1 :]
    return tuple(name for name in wanted if takes(name, known, known) and not IDLE.get(name, NEVER) <= known)


def _shapes(profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    if not profiles:
        return ()
    options = zip(("minShapes", "optShapes", "maxShapes"), range(3), strict=True)
    build = tuple(
        f"--{option}={_listed({name: each.shapes[number] for name, each in profiles.items()})}"
        for option, number in options
    )
    return (*build, f"--shapes={_listed({name: each.usual for name, each in profiles.items()})}")


def _listed(shapes: Mapping[str, Sequence[int]]) -> str:
    return ",".join(f"{_quoted(name)}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _quoted(name: str) -> str:
    """A name with a colon or comma of its own stands in single quotes, as trtexec wants it."""
    return f"'{name}'" if set(name) & set(":,") else name


def run_trtexec(program: Path, version: Version, order: Order, limits: Limits) -> Ran:
    """Build a model on this machine's GPU and measure its layers.

    Raises:
        ModelError: trtexec crashes, or ends well and leaves no layers behind.
        DataError: What it wrote cannot be read.
        LimitError: It takes more time or memory than it may.
    """
    words = words_of(order, version)
    code, text = _run(program, words, limits, order.folder)
    device, capability = device_in(text), capability_in(text)
    if code < 0 or code > 255:  # a signal, or how Windows numbers exceptions
        raise ModelError(f"trtexec {ended_text(code)}.", "Run it by hand with --verbose.", last_lines(text, "It says:"))
    if code != 0:
        refused = is_refused(text)
        refusals = refusals_in(text) if refused else ()
        outcome = Outcome.REFUSED if refused else Outcome.FAILED
        return Ran(outcome, device, capability, refusals=refusals, said=complaints_in(text))
    if not order.layers.exists():
        raise ModelError(
            "trtexec ended well, and wrote no information about layers.",
            "Run it by hand with --exportLayerInfo=FILE --profilingVerbosity=detailed, and give that to "
            "`qdq inspect --layer-info`.",
            last_lines(text, "It says:"),
        )
    return Ran(
        outcome=Outcome.BUILT,
        device=device,
        capability=capability,
        seconds=seconds_in(text) or 0.0,
        kernels=read_layers(order.layers),
        times_ms=read_times(order.times) if order.times.exists() else {},
    )


def _run(program: Path, words: Sequence[str], limits: Limits, folder: Path | None) -> tuple[int, str]:
    """Run it to its end; returns its exit code and everything that it printed.

    Raises:
        UsageError: It cannot be started.
        LimitError: It takes more time or memory than it may.
    """
    place = program.absolute() if program.exists() else program  # else one that is found on the path
    with tempfile.TemporaryFile(dir=folder) as printed:
        try:
            process = subprocess.Popen(
                [str(place), *words], stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise UsageError(
                f"--trtexec {program} cannot be started: {error.strerror}.",
                "Name the program, such as /usr/src/tensorrt/bin/trtexec.",
            ) from error
        with ending(process):
            code = wait_within(process, limits)
        printed.seek(0)
        text = printed.read().decode("utf-8", "replace")
    if isinstance(code, Exceeded):
        raise _exceeded(code, limits)
    return code, text


def _exceeded(limit: Exceeded, limits: Limits) -> LimitError:
    if limit is Exceeded.TIME:
        return LimitError(
            f"trtexec was still running after {limits.seconds:g} s, and was ended.", "Allow it more with --time-limit."
        )
    return LimitError(
        f"trtexec took more memory than the {limits.memory_bytes / 1e9:g} GB it may have, and was ended.",
        "Allow it more with --memory-limit.",
    )
