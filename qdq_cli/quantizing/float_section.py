"""The float rest of a model as a section of a page."""

from __future__ import annotations

from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.quantizing.float_text import float_text, unweighed_text
from qdq_cli.screen.page import Section, Table


def float_section(rest: FloatRest) -> Section:
    """Return the section about the operators that stay FP32."""
    rows = tuple((kept.node, kept.op_type, kept.reason, kept.code) for kept in rest.kept)
    table = (Table(("node", "operator", "reason", "code"), rows),) if rows else ()
    text = f"What is not quantized: {float_text(rest)}."
    return Section("Float rest", f"{text} {unweighed_text(rest)}." if rest.unobserved else text, table)
