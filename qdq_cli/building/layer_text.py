"""The kernels of a build as lines of text: a table of all, and what became of one node in words."""

from __future__ import annotations

from collections.abc import Iterable

from qdq_cli.building.agreement import types_text
from qdq_cli.building.loss_text import layer_time_lines
from qdq_cli.building.record import BuildReport, GpuBuild, Kernel, KernelTensor, Outcome
from qdq_cli.data.inputs import near_names
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.lines import Paint, elided, plain, wrapped
from qdq_cli.screen.sentences import some_of

MAX_NODES = 6


def kernel_lines(report: BuildReport, paint: Paint = plain) -> list[str]:
    """Return the table of all kernels, one table a GPU; with times where they were measured."""
    if report.device is not None and report.device.times_ms:
        return layer_time_lines(report.builds[0].kernels, report.device.times_ms)
    lines: list[str] = []
    for build in report.builds:
        lines += [""] if lines else []
        lines += [build.gpu, f"{'types':<22}  {'kernel and its nodes':<44}  {'bytes':>9}"]
        lines += [_row(kernel, paint) for kernel in build.kernels]
        lines += [] if build.outcome is Outcome.BUILT else [f"not built for {build.gpu}"]
    return lines


def _row(kernel: Kernel, paint: Paint) -> str:
    colour = "green" if any(tensor.type == "INT8" for tensor in kernel.reads) else "blue"
    name = elided(f"{kernel.kind} {some_of(kernel.nodes, 1)}", 44)
    sizes = [tensor.size_bytes for tensor in (*kernel.reads, *kernel.weights, *kernel.writes)]
    size = "?" if None in sizes else size_text(sum(size or 0 for size in sizes))
    return f"{paint(f'{types_text(kernel):<22}', colour)}  {name:<44}  {size:>9}"


def node_lines(report: BuildReport, name: str) -> list[str]:
    """Explain in words what became of a node: its kernels, and what was predicted.

    Raises:
        UsageError: No kernel, refusal or prediction of any GPU names it.
    """
    lines = [line for build in report.builds for line in _story(build, name)]
    if not lines:
        names = {node for build in report.builds for kernel in build.kernels for node in kernel.nodes}
        names |= {each.node for build in report.builds for each in build.refusals if each.node}
        hint = near_names(name, sorted(names)) if 0 < len(names) < 20 or name else ""
        raise UsageError(f"No kernel of the engine names a node '{name}'.", hint or "`qdq build --layers` lists them.")
    return lines


def _story(build: GpuBuild, name: str) -> list[str]:
    kernels = [kernel for kernel in build.kernels if name in kernel.nodes]
    lines = [line for refusal in build.refusals if refusal.node == name for line in wrapped(
        f"{build.gpu}: '{name}' is refused: {refusal.said}", 0)]  # fmt: skip
    for operator in build.operators:
        if operator.name == name:
            text = f"{operator.built} built" if operator.built else "no kernel of its own"
            lines += wrapped(f"{build.gpu}: {operator.op_type} '{name}': {operator.predicted} predicted, {text}.", 0)
            lines += [line for reason in operator.because for line in wrapped(f"- predicted because: {reason}")]
    lines += (
        wrapped(f"{build.gpu}: '{name}' is in {len(kernels)} of {len(build.kernels)} kernels.", 0) if kernels else []
    )
    for kernel in kernels:
        lines += wrapped(f"{kernel.kind} '{kernel.name}': {', '.join(kernel.nodes[:MAX_NODES])}")
        lines += (
            _tensors("reads", kernel.reads) + _tensors("constant", kernel.weights) + _tensors("writes", kernel.writes)
        )
    return lines


def _tensors(verb: str, tensors: Iterable[KernelTensor]) -> list[str]:
    return [
        f"    {verb} {tensor.type} {'x'.join(map(str, tensor.dims))}" for tensor in tensors if tensor.dims != (1,)
    ]  # fmt: skip
