"""What marks of a page are about, so that a graph, a table and a histogram lead to each other.

A mark is a row of a table, a histogram, a box plot or a bar. Whoever draws it gives it one of these anchors, whoever
wants it shown names the same: neither knows whether the other is on the page.
"""

from __future__ import annotations

from hashlib import blake2s

GRAPH = "graph"
"""The graph of a page; further ones have their titles behind it."""


def values_of(tensor: str) -> str:
    """The histogram of a tensor."""
    return f"values of {tensor}"


def channels_of(node: str) -> str:
    """The spread of the channels of the weight that a node reads."""
    return f"channels of {node}"


def own_error_of(tensor: str) -> str:
    """The error that rounding and clipping leave in a tensor by themselves."""
    return f"own error of {tensor}"


def error_of(node: str) -> str:
    """The error of a layer, local and accumulated."""
    return f"error of {node}"


def cause_of(node: str) -> str:
    """Why a layer errs."""
    return f"cause of {node}"


def cost_of(node: str) -> str:
    """What quantizing a node alone costs the outputs."""
    return f"cost of {node}"


def built_of(node: str) -> str:
    """What a compiler made of a node."""
    return f"built of {node}"


def id_of(anchor: str) -> str:
    """The identifier of a mark in HTML, whatever names are in its anchor."""
    return "a" + blake2s(anchor.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
