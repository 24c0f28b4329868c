"""The process that runs NVIDIA's compiler: one job comes in as a line of JSON, what happens goes out as lines of JSON.

It is started by its path and imports nothing of this package: what it loads may crash, hang or take all the memory that
it is given, and the process that waits for it tells of that. It ends when its standard input does, which is the case
once that process is gone. Only the compiler's public Python interface is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Tell = Callable[[Mapping[str, Any]], None]
"""Writes one event."""

_FAILURES = (RuntimeError, ValueError, TypeError, AttributeError)
"""What the compiler's Python interface raises."""


def main() -> None:
    """Run the one job that standard input names."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as stream:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the compiler prints is no event

        def tell(event: Mapping[str, Any]) -> None:
            stream.write(json.dumps(event) + "\n")
            stream.flush()

        job = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _limit_memory(job["memory_bytes"])
        try:
            _run(job, tell)
        except MemoryError:
            tell({"event": "memory"})


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _limit_memory(size_bytes: int) -> None:
    """Hold this process to an address space, where the system can; who waits for it looks at its memory besides."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _run(job: Mapping[str, Any], tell: Tell) -> None:
    try:
        trt = load_compiler()
    except (ImportError, OSError) as error:
        tell({"event": "missing", "module": getattr(error, "name", None) or "", "said": str(error)})
        return
    tell({"event": "loaded", "version": str(trt.__version__)})
    if job["gpu"] not in trt.ComputeCapability.__members__:
        tell({"event": "unknown gpu"})
        return
    if job["model"] is None:
        tell({"event": "ready"})
        return
    try:
        build(trt, job, tell)
    except _FAILURES as error:
        tell({"event": "failed", "said": [str(error)]})


def load_compiler() -> Any:
    """Import the bindings, with the libraries loaded before them.

    Raises:
        ImportError: They are not installed, or not for this Python.
        OSError: A library cannot be loaded.
    """
    import tensorrt_rtx_libs

    libraries = [file for part in tensorrt_rtx_libs.__path__ for file in sorted(Path(part).glob("*"))]
    for _ in range(2):  # one that needs another is loaded in the second round
        for file in libraries:
            if ".so" in file.suffixes or file.suffix == ".dll":
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(file))
    import tensorrt_rtx_bindings

    return tensorrt_rtx_bindings


def build(trt: Any, job: Mapping[str, Any], tell: Tell) -> None:
    """Parse a model, build its engine, and tell what became of it.

    Args:
        trt: The bindings, as `load_compiler` imports them.
        job: `model`, `gpu`, `profiles` and `engine` of one build.
        tell: Told one event, or `parsed` and another one.
    """
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(job["model"]):
        found = [parser.get_error(number) for number in range(parser.num_errors)]
        tell({"event": "refused", "refusals": [_refusal(error) for error in found], "said": logger.errors})
        return
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, job["gpu"]), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not _give_shapes(builder, network, config, job["profiles"], tell):
        return
    tell({"event": "parsed"})
    start = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        tell({"event": "failed", "said": logger.errors})
        return
    seconds = time.perf_counter() - start
    if job["engine"] is not None:
        Path(job["engine"]).write_bytes(memoryview(engine))
    tell({
        "event": "built", "seconds": seconds, "engine_bytes": engine.nbytes, "peak_bytes": _peak_bytes(),
        "layers": logger.layers,
    })  # fmt: skip


def _logger(trt: Any) -> Any:
    """Return a logger of the compiler's that keeps its errors, and the descriptions of the layers."""

    class Kept(trt.ILogger):
        """Keeps what it is told for the end of the build."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            else:
                self.layers += (line for line in message.split("\n") if line.startswith("Name: ") and _is_layer(line))

    return Kept()


def _is_layer(line: str) -> bool:
    return ", LayerType: " in line


def _refusal(error: Any) -> Mapping[str, Any]:
    return {"node": error.node_name(), "number": error.node(), "op_type": error.node_operator(), "said": error.desc()}


def _give_shapes(builder: Any, network: Any, config: Any, profiles: Mapping[str, Any], tell: Tell) -> bool:
    """Tell the compiler the sizes of dynamic inputs; says whether all are known."""
    profile = None
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        if tensor.is_shape_tensor:
            tell({"event": "shape input", "input": tensor.name})
            return False
        if -1 in tuple(tensor.shape):
            if tensor.name not in profiles:
                tell({"event": "open", "input": tensor.name, "shape": list(tensor.shape)})
                return False
            profile = profile or builder.create_optimization_profile()
            profile.set_shape(tensor.name, *profiles[tensor.name])
    if profile is not None:
        config.add_optimization_profile(profile)
    return True


def _peak_bytes() -> int | None:
    """Return the most memory that this process held at once, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None


if __name__ == "__main__":
    main()
