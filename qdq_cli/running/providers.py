"""Execution providers of ONNX Runtime: how each is called, what it needs, and which package has it.

Source: ONNX Runtime's documentation, "Execution Providers", one page for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import onnxruntime as ort

from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import any_of

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Args:
        name: What ONNX Runtime calls it.
        package: The package of ONNX Runtime that has it.
        device: The option that chooses a device; empty where there is none.
        options: What it is told besides.
        one_run: Whether runs of one session must not overlap.
    """

    name: str
    package: str
    device: str = "device_id"
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    one_run: bool = False


_AS_ASKED = MappingProxyType({"arena_extend_strategy": "kSameAsRequested"})
"""The memory of a device grows by what is needed, not to the next power of two: other programs use it too."""

TABLE: Mapping[str, Provider] = {
    "cpu": Provider(CPU, "onnxruntime", device=""),
    "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", options=_AS_ASKED),
    "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu", one_run=True),
    "rocm": Provider("ROCMExecutionProvider", "onnxruntime-rocm", options=_AS_ASKED),
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime-openvino", device="device_type"),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime", device=""),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml", one_run=True),
}
"""Name of an option's value -> provider."""


def require_providers(config: ExecutionConfig) -> None:
    """Check that the ONNX Runtime that is installed has the providers that were asked for.

    Raises:
        UsageError: One is not there, or a device is named and none of them has any to choose.
    """
    if config.device is not None and not any(TABLE[word].device for word in config.provider):
        raise UsageError(
            f"--device names a device of --provider, and {config.provider_text} has none to choose.",
            f"Name one that has: --provider {any_of([word for word, row in TABLE.items() if row.device])}.",
        )
    there = set(ort.get_available_providers()) if config.provider else set()
    for word in config.provider:
        wanted = TABLE[word]
        if wanted.name not in there:
            raise UsageError(
                f"The ONNX Runtime that is installed has no provider {word}, only {_words(there)}.",
                f"It is in another package, which takes this one's place: pip uninstall onnxruntime; "
                f"pip install {wanted.package}."
                if wanted.package != "onnxruntime"
                else f"The package {wanted.package} has it for other systems alone.",
            )


def _words(names: set[str]) -> str:
    return ", ".join(word for word, provider in TABLE.items() if provider.name in names)


def arguments_of(config: ExecutionConfig) -> list[tuple[str, dict[str, str]]]:
    """Return the providers with their options, as a session takes them; the CPU's comes last, if not before."""
    words = dict.fromkeys((*config.provider, "cpu"))
    return [(TABLE[word].name, _options(TABLE[word], config.device)) for word in words]


def _options(provider: Provider, device: str | None) -> dict[str, str]:
    chosen = {} if device is None or not provider.device else {provider.device: device}
    return {**provider.options, **chosen}


def require_started(session: Any, config: ExecutionConfig) -> None:
    """Check that a session has the providers that were asked for: ONNX Runtime goes on without those that fail.

    Raises:
        UsageError: One did not start.
    """
    started = set(session.get_providers())
    for word in config.provider:
        if TABLE[word].name not in started:
            raise UsageError(
                f"ONNX Runtime has the provider {word} and cannot start it here.",
                "Is there such a device, with its driver and libraries? Without --provider the CPU serves.",
            )


def one_run_at_a_time(words: Sequence[str]) -> bool:
    """Say whether runs of a session must not overlap on one of these providers."""
    return any(TABLE[word].one_run for word in words)
