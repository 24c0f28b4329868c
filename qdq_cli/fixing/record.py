"""What a repair did, as frozen records; `RepairReport` is the `--json` document of `qdq fix`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import input_at
from qdq_cli.quantizing.report import Distance
from qdq_cli.targets.tensorrt.findings import Finding


@dataclass(frozen=True)
class Repair:
    """One change.

    Args:
        rule: Id of the rule in docs/rules.md.
        node: Name of the node that was changed.
        tensor: Name of the tensor it is about.
        done: What was done, one sentence.
        exact: Whether the model computes the same numbers as before.
    """

    rule: str
    node: str
    tensor: str
    done: str
    exact: bool


@dataclass(frozen=True)
class Left:
    """Something that was seen and not repaired.

    Args:
        rule: Id of the rule in docs/rules.md.
        node: Name of the node.
        why: Why it was not.
    """

    rule: str
    node: str
    why: str


Outcome = tuple[list[Repair], list[Left]]
"""What one repair of a model did, and what it had to leave."""


def repair_of(rule: str, node: ir.Node, done: str, exact: bool) -> Repair:
    """Return the record of a repair of one node; it is about the tensor the node reads first."""
    value = input_at(node, 0)
    return Repair(rule, node.name or "", (value.name or "") if value is not None else "", done, exact)


@dataclass(frozen=True)
class State:
    """What `qdq inspect` says about a model, in four numbers.

    Args:
        errors: Findings with an E_ code.
        warnings: Findings with a W_ code.
        standalone: Stand-alone Q/DQ kernels inside the network.
        quantized_to_quantized: Weighted operators that read and write quantized tensors.
    """

    errors: int
    warnings: int
    standalone: int
    quantized_to_quantized: int


@dataclass(frozen=True)
class RepairReport:
    """Everything a run of `qdq fix` found.

    Args:
        schema_version: Version of this document.
        model: Path of the input.
        output: Path of the result.
        repairs: What was changed, in order.
        left: What was not, with the reason.
        before: The input as `qdq inspect` sees it.
        after: The result as `qdq inspect` sees it.
        findings: Errors that remain.
        outputs: Output name -> distance of the result from the input, on seeded random data; empty if not compared.
        target: Name of the runtime the model is repaired for.
        notes: Sentences the user should read.
    """

    schema_version: int
    model: str
    output: str
    repairs: tuple[Repair, ...]
    left: tuple[Left, ...]
    before: State
    after: State
    findings: tuple[Finding, ...]
    outputs: Mapping[str, Distance]
    target: str
    notes: tuple[str, ...] = ()
