"""Whose names a calibration table holds."""

from __future__ import annotations

import pytest

from qdq_cli.migrating.names import sort_out

TENSORS = {"image", "conv1", "a b: c", "/block/Add_output_0"}
CONSTANTS = {"fc.weight", "onnx::Slice_209", "/block/Reshape"}


@pytest.mark.parametrize("name", ["image", "conv1", "a b: c", "/block/Add_output_0"])
def test_a_tensor_of_the_model(name):
    assert sort_out([name], TENSORS, CONSTANTS).matched == (name,)


@pytest.mark.parametrize(
    "name",
    [
        "(Unnamed Layer* 64) [Shuffle]_output",
        "(Unnamed Layer* 3) [Constant]_output",
        "(Unnamed Layer* 12) [ElementWise]_output_2",
        "ONNXTRT_Broadcast_12_output",
        "onnx::Slice_209_output",
        "fc.weight",
        "/block/Reshape_output",
    ],
)
def test_a_tensor_that_the_importer_made(name):
    found = sort_out([name], TENSORS, CONSTANTS)
    assert (found.matched, found.importers, found.unknown) == ((), (name,), ())


@pytest.mark.parametrize("name", ["conv2", "Unnamed Layer* 3", "/block/Add_output_1", "conv1_output"])
def test_a_name_of_something_else(name):
    assert sort_out([name], TENSORS, CONSTANTS).unknown == (name,)


def test_names_keep_their_order():
    names = ["z", "conv1", "(Unnamed Layer* 1) [Constant]_output", "image", "a"]
    found = sort_out(names, TENSORS, CONSTANTS)
    assert (found.matched, found.unknown) == (("conv1", "image"), ("z", "a"))
