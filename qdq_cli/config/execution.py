"""What runs the models of a command."""

from __future__ import annotations

from dataclasses import dataclass

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, OneOf, option

PROVIDERS = ("cpu", "cuda", "tensorrt", "rocm", "openvino", "coreml", "directml")
"""What ONNX Runtime calls execution providers: what runs a model's operators."""


@dataclass(frozen=True)
class ExecutionConfig(Checked):
    """What ONNX Runtime runs the models of a command with.

    Args:
        threads: Threads that models run on, and that samples are read and counted by; None: one a core.
        provider: Execution providers that the float model is observed on, in order: each gets the operators that those
            before it leave. Empty for the CPU's, which always runs what verifies a result.
        device: Which device of theirs: a number, or what OpenVINO calls one (`GPU`, `NPU`); None for the first.
    """

    threads: int | None = option(
        None,
        "Threads that models run on, and that samples are read and counted by. [default: one a core]",
        metavar="N",
        rule=Interval(least=1),
    )
    provider: tuple[str, ...] = option(
        (),
        "What the float model is observed on: an execution provider of the ONNX Runtime that is installed. Repeatable, "
        "in order; the CPU's runs what is left, and what verifies a result. [default: cpu]",
        metavar="NAME",
        rule=OneOf(PROVIDERS),
    )
    device: str | None = option(
        None, "Device of --provider: a number, or one of OpenVINO's names, such as GPU. [default: the first]",
        metavar="ID",
    )  # fmt: skip

    @property
    def provider_text(self) -> str:
        """The providers in one line, which stands in reports and calibration caches."""
        return ", ".join(self.provider or PROVIDERS[:1])

    @property
    def on_cpu(self) -> bool:
        """Whether ONNX Runtime's CPU provider runs everything."""
        return set(self.provider) <= {"cpu"}


ON_CPU = ExecutionConfig()
"""Everything as it is where nothing is said."""
