"""ONNX Runtime sessions on the CPU: how they are made, silenced, and what their failures say.

Nothing else creates an `InferenceSession`. Sessions are made from a file, or from protobuf bytes whose weights may stay
where they are in memory (models above 2 GiB).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google.protobuf.message
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from qdq_cli.config.execution import ON_CPU
from qdq_cli.process.clock import part
from qdq_cli.process.errors import ModelError
from qdq_cli.running.execution import current
from qdq_cli.running.providers import arguments_of, require_started

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,  # runs through an IOBinding raise this, whatever the status
    *{kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)},
)
"""Everything ONNX Runtime raises; its exceptions have no parent of their own."""

_FATAL = 4
_NOISE = re.compile(
    r"Error in execution: |\[ONNXRuntimeError\] : \d+ : \w+ : |(/\S*)?/onnxruntime_src/\S+ |\bStatus Message: "
    r"|\s?\bonnxruntime::[\w:]+\([^)]*\)(?: const)?"  # the C++ function that noticed
)


@dataclass(frozen=True)
class Source:
    """What a session is made from.

    Args:
        model: Path of an .onnx file, or the bytes of one.
        weights: Initializer name -> array, for those that `model` declares as external data. They are not copied, and
            have to stay as they are while the session lives.
    """

    model: Path | bytes
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)


_HELD_ONCE_BYTES = 1 << 31
"""Weights from which sessions that compare models use them as they lie: by itself ONNX Runtime packs those of matrix
products anew, and what is packed cannot be given back to the file. Where models are observed it goes on packing: as
they lie, a product of one row is summed in another order than the same row among others."""

_SMALL_FILE_BYTES = 1 << 24
"""A model file above it holds its weights itself, so that it cannot have more of them than protobuf allows."""

AS_THEY_LIE = ("session.disable_prepacking", "1")
"""The session option that has weights used as they lie; sums of products may differ in their last bits."""


def holds_much(source: Source) -> bool:
    """Say whether a model has so many weights that memory should hold them once."""
    if isinstance(source.model, bytes):
        return sum(array.nbytes for array in source.weights.values()) >= _HELD_ONCE_BYTES
    try:
        if source.model.stat().st_size > _SMALL_FILE_BYTES:
            return False
        proto = onnx.load_model(source.model, load_external_data=False)
    except (OSError, google.protobuf.message.DecodeError):
        return False  # the session that is to be made of it says what is wrong
    entries = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    return sum(int(entry.value) for entry in entries if entry.key == "length") >= _HELD_ONCE_BYTES


@dataclass(frozen=True)
class SessionOptions:
    """How a session runs.

    Args:
        threads: Threads of one run, the calling one included.
        optimize: Let ONNX Runtime rewrite the graph. Off where outputs are compared: with it on, some Q/DQ pairs
            vanish (rules, section 5.4).
        fuse: With `optimize`, let ONNX Runtime fuse operators and their Q/DQ pairs into operators on integers, as it
            does by default. Off for whatever is measured: some processors saturate products of these.
        portable: With `optimize`, stop short of what depends on the processor: where channels lie in memory.
        keep: File to write the rewritten graph to, its weights beside it under the same name plus ".weights".
        observes: Run on the providers that were asked for, not on the CPU's alone.
        entries: Further session options by ONNX Runtime's names, such as ("session.x64quantprecision", "1").
    """

    threads: int
    optimize: bool
    fuse: bool = False
    portable: bool = False
    keep: Path | None = None
    observes: bool = False
    entries: tuple[tuple[str, str], ...] = ()


def make_session(source: Source, options: SessionOptions) -> ort.InferenceSession:
    """Create a session on the CPU, or where models are observed.

    Raises:
        ModelError: ONNX Runtime cannot load the model: an unknown operator, types or shapes that contradict.
        UsageError: A provider that was asked for does not start.
    """
    # Sessions silence themselves by an option; what happens outside one goes to the default logger.
    ort.set_default_logger_severity(_FATAL)
    model = source.model if isinstance(source.model, bytes) else str(source.model)
    with part("session"), as_model_error("load the model", _CHECK):
        where = current() if options.observes else ON_CPU
        session = ort.InferenceSession(model, _native(source, options), providers=arguments_of(where))
    require_started(session, where)
    return session


def _native(source: Source, options: SessionOptions) -> Any:
    made = ort.SessionOptions()
    made.log_severity_level = _FATAL
    made.intra_op_num_threads = options.threads
    made.inter_op_num_threads = 1
    made.enable_mem_pattern = False  # it keeps a plan for every shape it meets; measured, it saves no time here
    level = ort.GraphOptimizationLevel
    most = level.ORT_ENABLE_EXTENDED if options.portable else level.ORT_ENABLE_ALL
    made.graph_optimization_level = most if options.optimize else level.ORT_DISABLE_ALL
    if not options.fuse:
        made.add_session_config_entry("session.disable_quant_qdq", "1")
    for name, value in options.entries:
        made.add_session_config_entry(name, value)
    if not (options.fuse or options.observes) and holds_much(source):
        made.add_session_config_entry(*AS_THEY_LIE)
    if source.weights:
        arrays = [ort.OrtValue.ortvalue_from_numpy(array) for array in source.weights.values()]
        made.add_external_initializers(list(source.weights), arrays)
    if options.keep is not None:
        made.optimized_model_filepath = str(options.keep)
        prefix = "session.optimized_model_external_initializers_"
        made.add_session_config_entry(f"{prefix}file_name", f"{options.keep.name}.weights")
        made.add_session_config_entry(f"{prefix}min_size_in_bytes", "1024")
        made.add_session_config_entry(*AS_THEY_LIE)  # only the graph is wanted, no run
    return made


@contextlib.contextmanager
def as_model_error(action: str, hint: str = "") -> Iterator[None]:
    """Turn what ONNX Runtime raises into a ModelError: "ONNX Runtime cannot <action>: <first line of its message>."."""
    try:
        yield
    except RUNTIME_ERRORS as error:
        why = reason(error)
        raise ModelError(
            f"ONNX Runtime cannot {action}: {why}.", _UNKNOWN if _NOT_REGISTERED in why else hint
        ) from error


_CHECK = "onnx.checker.check_model(path, full_check=True) says more about what is wrong with a model."
_NOT_REGISTERED = "is not a registered function/op"
_UNKNOWN = (
    "Observing runs the model, so ONNX Runtime must know all of its operators; where every range is given with "
    "--ranges and no --calib, nothing is run."
)


def reason(error: Exception) -> str:
    """First line of ONNX Runtime's message, without status codes and source files."""
    lines = _NOISE.sub("", str(error)).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def runtime_version() -> str:
    """The release of ONNX Runtime."""
    return str(ort.__version__)


def cores() -> int:
    """Threads for work that uses the whole machine: those that were asked for, else one a core this process has."""
    if (threads := current().threads) is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
