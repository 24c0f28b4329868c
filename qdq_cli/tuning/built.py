"""What variants of a model move when NVIDIA's compiler builds them: the cost that `--cost built` tunes by.

Scales decide nothing about kernels, so variants are built with placeholders, and one with the same Q/DQ as another
(before and after recovery) is not built again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from qdq_cli.building.agreement import homes_of, traffic_of
from qdq_cli.building.compiler import COMPILER, Job, compile_model
from qdq_cli.building.record import Kernel, Outcome
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.config.build import DEFAULT_GPU
from qdq_cli.config.tune import BUILT, TuneConfig
from qdq_cli.model import files
from qdq_cli.placement.plan import Plan
from qdq_cli.process.bounded import Limits
from qdq_cli.process.errors import LimitError, ModelError
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.quantizing.float_form import FloatForm
from qdq_cli.sensitivity.stand import Stand
from qdq_cli.sensitivity.work import WorkMeter
from qdq_cli.tuning.record import BuiltCost

LIMITS = Limits(seconds=600.0, memory_bytes=8 * 10**9)
"""What one build may take."""


class BuildMeter:
    """Builds variants of one model for one GPU, each once.

    Args:
        meter: Drafts variants, with the shapes of a run.
        form: How the float rest of the result is written; None where it stays as it is.
        gpu: Compute capability, such as `sm89`.
        external: Whether the weights of the model are in a file of their own.

    Attributes:
        unbuilt: Why a variant was not built, the first of them; "" as long as all were.
    """

    def __init__(self, meter: WorkMeter, form: FloatForm | None, gpu: str, *, external: bool) -> None:
        self._meter, self._form, self._gpu, self._external = meter, form, gpu, external
        self._known: dict[str, tuple[Kernel, ...]] = {}
        self._version = ""
        self.unbuilt = ""

    def bytes_of(self, plan: Plan | None) -> int | None:
        """Return the bytes that kernels read and write in a variant; None where it is not built.

        Args:
            plan: What is quantized; None for the float model.
        """
        kernels = self._kernels(plan)
        traffic = traffic_of(kernels)
        return traffic.total_bytes if kernels and not traffic.unknown else None

    def lost_without(self, plan: Plan, operators: Sequence[str]) -> Mapping[str, float]:
        """Return operator -> the bytes that INT8 saves it, in percent of what the float model moves.

        A kernel's bytes are those of the operators in it, in equal parts. Operators that no kernel names are left out.

        Args:
            plan: What is quantized.
            operators: Names of nodes.
        """
        inside, outside = (_by_operator(self._kernels(each), operators) for each in (plan, None))
        whole = self.bytes_of(None)
        known = inside.keys() & outside.keys() if whole else ()
        return {name: 100.0 * (outside[name] - inside[name]) / whole for name in known} if whole else {}

    def found(self) -> BuiltCost:
        """Return what was asked of the compiler."""
        float_bytes = self.bytes_of(None)
        compiler = f"{COMPILER} {self._version}".strip()
        return BuiltCost(compiler, self._gpu, len(self._known), float_bytes, self.unbuilt)

    def _kernels(self, plan: Plan | None) -> tuple[Kernel, ...]:
        model = self._in_float_type(self._meter.drafted(plan))
        with (
            scratch_folder() as folder,
            files.staged(model, folder / "variant.onnx", external=self._external) as staged,
        ):
            digest = hashlib.sha256(staged.path.read_bytes()).hexdigest()  # which names the data file by its content
            if digest not in self._known:
                self._known[digest] = self._built(staged.path)
        return self._known[digest]

    def _in_float_type(self, model: ir.Model) -> ir.Model:
        form = self._form
        if form is None:
            return model
        plan = make_float_plan(model, form.float_type, {}, form.scales, keep_io=form.keep_io)
        return converted(model, plan, keep_io=form.keep_io, scales=form.scales).model

    def _built(self, path: Path) -> tuple[Kernel, ...]:
        """Build a file; none of what may become of it ends the run, in which hours of calibration may lie."""
        try:
            told = compile_model(Job(path, self._gpu, {}), LIMITS)
        except (ModelError, LimitError) as error:
            self.unbuilt = self.unbuilt or error.message
            return ()
        self._version = told.version
        if told.outcome is not Outcome.BUILT:
            said = next((raw.said for raw in told.refusals), next(iter(told.said), ""))
            verb = "does not read it" if told.outcome is Outcome.REFUSED else "reads it, and makes no engine of it"
            self.unbuilt = self.unbuilt or f"{COMPILER} {verb} for {self._gpu}: {said.rstrip('.')}."
        return told.kernels


def build_meter(stand: Stand, config: TuneConfig) -> BuildMeter | None:
    """Return what builds variants; None where their cost is predicted."""
    if config.cost != BUILT:
        return None
    opened = stand.work.opened
    return BuildMeter(stand.meter, opened.form, config.gpu or DEFAULT_GPU, external=opened.source.external)


def _by_operator(kernels: Sequence[Kernel], operators: Sequence[str]) -> dict[str, float]:
    homes = homes_of(kernels)
    known = [name for name in operators if name in homes]
    sharing = Counter(homes[name].name for name in known)
    return {name: _size(homes[name]) / sharing[homes[name].name] for name in known}


def _size(kernel: Kernel) -> int:
    return sum(tensor.size_bytes or 0 for tensor in (*kernel.reads, *kernel.weights, *kernel.writes))
