"""A migrated model before its float rest has its type, however it came about."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from qdq_cli.calibrating.calibration import NOTHING, Observation
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.fixing.record import Left, Repair
from qdq_cli.migrating.record import Change, TableUse
from qdq_cli.quantizing.report import WeightedOps

SAMPLES = 16
"""How many samples the result is compared on, where there are so many."""


@dataclass(frozen=True)
class Draft:
    """A model with its Q/DQ, and all that is known of it.

    Args:
        model: The model, prepared; its floats are FP32, or of the type it came with.
        floats: What samples are run through to see how large tensors get: the float model, or the same one.
        weighted_ops: How many weighted operators are quantized.
        samples: The calibration data; None where there is none.
        observed: How large its tensors get, so far as that is known.
        table: What the calibration table gave; None without one.
        repairs: What was changed in the pairs that the model came with.
        left: What was not.
        changes: What could run in INT8 before, and is float now.
        notes: Sentences the user has been told.
    """

    model: ir.Model
    floats: ir.Model
    weighted_ops: WeightedOps
    samples: Samples | None = None
    observed: Observation = field(default=NOTHING)
    table: TableUse | None = None
    repairs: tuple[Repair, ...] = ()
    left: tuple[Left, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
