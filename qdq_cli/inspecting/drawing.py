"""An inspection as a drawing: layers on codes green, float ones blue, stand-alone Q/DQ red; Graphviz draws it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from qdq_cli.inspecting.record import Inspection
from qdq_cli.process.errors import UsageError
from qdq_cli.process.printable import printable
from qdq_cli.targets.tensorrt.precision import ElementType
from qdq_cli.targets.tensorrt.simulation import Layer, Standalone

COLOURS = {"codes": "#a5d86e", "float": "#9ec5f0", "standalone": "#f28b82"}
"""Fill colours as NVIDIA's own figures have them: INT8 and other codes green, float blue, stand-alone Q/DQ red."""

SECONDS_TO_DRAW = 120


def dot_of(inspection: Inspection) -> str:
    """Return the predicted layers as a Graphviz document."""
    lines = [
        "digraph qdq {",
        '  graph [rankdir=TB, fontname="Helvetica"];',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for number, layer in enumerate(inspection.layers):
        lines.append(f"  l{number} [label={_layer_label(layer)}, fillcolor={_quoted(_colour(layer))}];")
    for number, found in enumerate(inspection.standalone):
        kind = "Q" if found.op_type == "QuantizeLinear" else "DQ"
        label = _quoted(kind, found.reason.value)
        lines.append(f"  s{number} [label={label}, fillcolor={_quoted(COLOURS['standalone'])}];")
    lines += sorted(set(_edges(inspection)))
    return "\n".join([*lines, "}", ""])


def _colour(layer: Layer) -> str:
    return COLOURS["codes" if layer.quantized else "float"]


def _layer_label(layer: Layer) -> str:
    more = (f"+ {', '.join(layer.nodes[1:4])}{', ...' if len(layer.nodes) > 4 else ''}",) if layer.nodes[1:] else ()
    doubt = ("(uncertain)",) if layer.uncertain else ()
    return _quoted(f"{layer.op_type}, {layer.precision.value}", layer.name, *more, *doubt)


def _edges(inspection: Inspection) -> Iterator[str]:
    """Yield every edge: from what makes a tensor, over its stand-alone Q or DQ, to the layers that read it."""
    made = {tensor: f"l{number}" for number, layer in enumerate(inspection.layers) for tensor in layer.outputs}
    quantizes = {found.tensor: f"s{number}" for number, found in enumerate(inspection.standalone) if _is_q(found)}
    dequantizes = {
        (found.tensor, found.consumer): f"s{number}"
        for number, found in enumerate(inspection.standalone)
        if not _is_q(found)
    }
    for tensor, node in quantizes.items():
        yield from _edge(made, tensor, node, tensor)
    for (tensor, _), node in dequantizes.items():
        yield f"  {quantizes.get(tensor, made.get(tensor, _input(tensor)))} -> {node} [label={_quoted(tensor)}];"
    for number, layer in enumerate(inspection.layers):
        for operand in layer.inputs:
            through = next(
                (dequantizes[operand.tensor, name] for name in layer.nodes if (operand.tensor, name) in dequantizes), ""
            )
            if operand.type is not ElementType.FLOAT:
                through = quantizes.get(operand.tensor, "")
            if through:
                yield f"  {through} -> l{number};"
            else:
                yield from _edge(made, operand.tensor, f"l{number}", operand.tensor)


def _edge(made: dict[str, str], tensor: str, target: str, label: str) -> Iterator[str]:
    source = made.get(tensor)
    if source is None:
        source = _input(tensor)
        yield f"  {source} [label={_quoted(tensor)}, shape=ellipse, fillcolor=white];"
    yield f"  {source} -> {target} [label={_quoted(label)}];"


def _is_q(found: Standalone) -> bool:
    return found.op_type == "QuantizeLinear"


def _input(tensor: str) -> str:
    return _quoted(f"in:{tensor}")


def _quoted(*lines: str) -> str:
    """Write the lines of a label, or a name of Graphviz."""
    text = "\\n".join(printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return f'"{text}"'


def svg_of(dot: str) -> str:
    """Draw a Graphviz document as SVG.

    Raises:
        UsageError: Graphviz is not installed, or could not draw it.
    """
    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            "--svg needs Graphviz, and its program 'dot' is not on the PATH.",
            "Install Graphviz, or write the graph with --dot and draw it elsewhere.",
        )
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=dot, capture_output=True, encoding="utf-8", errors="replace",
            timeout=SECONDS_TO_DRAW, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"Graphviz did not finish drawing within {SECONDS_TO_DRAW} s.", "Write the graph with --dot instead."
        ) from None
    except subprocess.CalledProcessError as error:
        raise UsageError(f"Graphviz failed: {error.stderr.strip()}.", "Write the graph with --dot instead.") from error
    return done.stdout
