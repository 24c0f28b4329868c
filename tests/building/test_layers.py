"""Descriptions of layers are read leniently: names may hold anything, parts may be missing."""

from __future__ import annotations

import pytest

from qdq_cli.building.layers import kernels_of

X = "{ Name: x, Dimensions: [1,16,8,8], Strides: [1], StrideOrder: [0], Datatype: Int8, Format: (NHWC) rows }"
W = "{ Name: w, Dimensions: [4,16,3,3], Strides: [1], StrideOrder: [0], Datatype: Int8, Format: rows }"
SCALE = "{ Name: s, Dimensions: [1,4,1,1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: rows }"
Y = "{ Name: y, Dimensions: [1,4,8,8], Strides: [1], StrideOrder: [0], Datatype: Half, Format: rows }"


def line(nodes: str, inputs: str = X) -> str:
    return (
        f"Name: conv, LayerType: correlation, Inputs: [ {inputs}], Constants: [ {W}, {SCALE}], Outputs: [ {Y}], "
        f"TacticName: one, StreamId: 0, Metadata: {nodes}"
    )


def test_a_layer_is_read():
    (kernel,) = kernels_of([line("[ONNX Layer: conv][ONNX Layer: relu]")])
    assert (kernel.name, kernel.kind, kernel.nodes) == ("conv", "correlation", ("conv", "relu"))
    assert [(t.name, t.type, t.dims, t.size_bytes) for t in kernel.reads] == [("x", "INT8", (1, 16, 8, 8), 1024)]
    assert [(t.name, t.type, t.size_bytes) for t in kernel.weights] == [("w", "INT8", 576), ("s", "FP32", 16)]
    assert [(t.type, t.size_bytes) for t in kernel.writes] == [("FP16", 512)]


@pytest.mark.parametrize("name", ["a]b", "a[0]", "a, b", "x][y"])
def test_names_of_nodes_may_hold_anything(name: str):
    (kernel,) = kernels_of([line(f"[ONNX Layer: {name}][ONNX Layer: next]")])
    assert kernel.nodes == (name, "next")


@pytest.mark.parametrize(
    ("word", "kind", "size"),
    [("FP8", "FP8", 1024), ("BFloat16", "BF16", 2048), ("Int4", "INT4", 512), ("Int64", "INT64", 8192)],
)
def test_types_have_the_fields_names(word: str, kind: str, size: int):
    (kernel,) = kernels_of([line("", X.replace("Int8", word))])
    assert [(t.type, t.size_bytes) for t in kernel.reads] == [(kind, size)]


def test_what_is_open_or_not_known_has_no_size():
    odd = ", ".join([X.replace("[1,16,8,8]", "[1,16,-1,8]"), X.replace("Int8", "Int3")])
    (kernel,) = kernels_of([line("", odd)])
    assert [(t.type, t.dims, t.size_bytes) for t in kernel.reads] == [
        ("INT8", (1, 16, -1, 8), None),
        ("INT3", (1, 16, 8, 8), None),
    ]


def test_a_line_that_describes_no_layer_is_passed_over():
    assert kernels_of(["Name: image, IOMode: Input", "", "Engine:"]) == ()


def test_what_lets_streams_wait_for_each_other_is_no_kernel():
    said = [
        "Name: entry^signal^4, LayerType: signal, Inputs: [], Outputs: [], TacticName: , StreamId: 0, Metadata: ",
        line("[ONNX Layer: conv]"),
        "Name: entry^wait^4, LayerType: wait, Inputs: [], Outputs: [], TacticName: , StreamId: 1, Metadata: ",
    ]
    assert [kernel.name for kernel in kernels_of(said)] == ["conv"]
