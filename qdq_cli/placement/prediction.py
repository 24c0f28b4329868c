"""What a runtime is predicted to make of a Q/DQ model, and who predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import onnx_ir as ir

if TYPE_CHECKING:
    from qdq_cli.screen.page import Section


@dataclass(frozen=True)
class Prediction:
    """What the target is predicted to do with the model (rules, section 4.6).

    Args:
        quantized_layers: Weighted operators that run in INT8.
        weighted_layers: All weighted operators.
        standalone: Stand-alone Q/DQ kernels inside the network.
        boundary: Stand-alone Q/DQ kernels at graph inputs and outputs.
        reasons: Reason code -> how many stand-alone kernels have it, those at the boundary included.
        quantized_macs_percent: Share of the multiply-accumulates in INT8, those of each body of If, Loop and Scan once;
            None where kernels of unknown shape would change it.
        quantized_traffic_percent: Share of the activation elements of known kernels that are read and written as INT8;
            None where none are known.
        unknown_costs: Kernels that are not in these numbers, because a dimension is not known.
        weights_alone: Weighted operators that compute in float and read codes of their weight.
    """

    quantized_layers: int
    weighted_layers: int
    standalone: int
    boundary: int
    reasons: Mapping[str, int]
    quantized_macs_percent: float | None = None
    quantized_traffic_percent: float | None = None
    unknown_costs: int = 0
    weights_alone: int = 0


class Predictor(Protocol):
    """Predicts what a target makes of models; they are left as they are."""

    def work(self, model: ir.Model) -> tuple[float, float]:
        """Say how much of the work runs in INT8, with the shapes that the model has.

        Returns:
            Shares of the multiply-accumulates and of the activation traffic, in percent, of all that is known of them.
        """

    def predict(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> Prediction:
        """Predict for one sample.

        Args:
            model: A Q/DQ model with inferred shapes.
            shapes: Graph input -> the shape of one sample, where the model leaves dimensions open.
        """

    def sections(self, model: ir.Model) -> tuple[Section, ...]:
        """Show the graph and the layers of a model on a page; of one sample where the batch dimension is open."""

    def never_stored(self, model: ir.Model) -> frozenset[str]:
        """Name the tensors that are handed on inside one kernel in more than their own type, and stored nowhere.

        Args:
            model: A Q/DQ model with inferred types.
        """


@dataclass(frozen=True)
class Fused:
    """An operator that is computed on integers.

    Args:
        node: Its name.
        op_type: What it is in the model.
        becomes: What stands in its place.
        writes_codes: Whether its result is codes.
    """

    node: str
    op_type: str
    becomes: str
    writes_codes: bool


@dataclass(frozen=True)
class Alone:
    """A Q or DQ that stays an operator of its own.

    Args:
        node: Its name, of one that was moved that of the one it comes from.
        op_type: QuantizeLinear or DequantizeLinear.
        tensor: The float tensor that it reads or makes.
        neighbour: The operator that keeps it: what makes the floats, or reads them; "" for an input or output, and what
            runs a body at its edge.
        boundary: Whether that is an input or output of the graph, or of a body.
    """

    node: str
    op_type: str
    tensor: str
    neighbour: str
    boundary: bool


@dataclass(frozen=True)
class Fusions:
    """What becomes of a model.

    Args:
        fused: Operators on integers, in the order of the graph.
        alone: The Qs and DQs that stay.
        left: Operators that read a DQ and are computed in float -> why.
        dropped: Relu and Clip that the codes behind them make superfluous.
        merged: Operators that the kernel of the one before them computes.
    """

    fused: tuple[Fused, ...]
    alone: tuple[Alone, ...]
    left: dict[str, str]
    dropped: tuple[str, ...]
    merged: tuple[str, ...] = ()
