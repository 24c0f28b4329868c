"""T13: the layer counts of six published INT8 engines (section 4.9), exactly."""

from __future__ import annotations

from collections import Counter

import pytest

from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import ElementType, Reason, Simulation
from tests.targets.tensorrt import engines


def types(simulation: Simulation) -> Counter[str]:
    """How many weighted layers there are of each "inputs -> output"."""
    short = {ElementType.INT8: "i8", ElementType.FLOAT: "f"}
    return Counter(
        "/".join(short[operand.type] for operand in layer.inputs) + "->" + short[layer.output_type]
        for layer in simulation.weighted
    )


def layer(simulation: Simulation, node: str):
    return next(layer for layer in simulation.layers if node in layer.nodes)


def test_t13_resnet18_with_convolution_inputs_alone():
    found = simulate(engines.resnet18())
    assert types(found) == {"i8->i8": 8, "i8->f": 5, "i8/f->f": 8}
    assert len(found.standalone) == 10
    assert found.reasons == {
        "BOUNDARY_INPUT": 1,
        "MIXED_FANOUT": 5,
        "RESIDUAL_FLOAT": 3,
        "NONCOMMUTING": 1,
    }
    into_float = {"conv1", "fc", *(f"layer{stage}.0.conv2" for stage in (2, 3, 4))}
    assert {found.name for found in found.weighted if len(found.inputs) == 1 and not _writes_int8(found)} == into_float
    assert not layer(found, "maxpool").quantized


def test_t13_resnet18_with_residual_pairs():
    found = simulate(engines.resnet18(residual=True))
    assert types(found) == {"i8->i8": 12, "i8/i8->i8": 7, "i8->f": 1, "i8/f->f": 1}
    assert found.reasons == {"BOUNDARY_INPUT": 1, "RESIDUAL_NOT_REQUANTIZED": 1, "NONCOMMUTING": 1}
    assert layer(found, "maxpool").quantized


def test_t13_resnet18_with_residual_and_pooling_pairs():
    found = simulate(engines.resnet18(residual=True, pool=True))
    assert types(found) == {"i8->i8": 12, "i8/i8->i8": 8, "i8->f": 1}
    assert found.reasons == {"BOUNDARY_INPUT": 1}
    assert not found.removable
    assert layer(found, "avgpool").quantized and layer(found, "flatten").quantized


def test_t13_mobilenet_v2_with_convolution_inputs_alone():
    found = simulate(engines.mobilenet_v2())
    assert types(found) == {"i8->i8": 36, "i8->f": 7, "i8/f->f": 10}
    depthwise = [layer for layer in found.weighted if layer.name.endswith("depthwise")]
    assert len(depthwise) == 17 and all(_writes_int8(layer) for layer in depthwise)
    assert len(found.standalone) == 17


def test_t13_mobilenet_v2_with_residual_pairs():
    found = simulate(engines.mobilenet_v2(residual=True))
    assert types(found) == {"i8->i8": 41, "i8/i8->i8": 10, "i8->f": 2}
    assert {found.name for found in found.weighted if not _writes_int8(found)} == {"features.18", "fc"}
    assert found.reasons == {"BOUNDARY_INPUT": 1, "NONCOMMUTING": 1}


def test_t13_tf_resnet50():
    found = simulate(engines.tf_resnet50())
    assert types(found) == {"i8->i8": 37, "i8/i8->i8": 16, "i8->f": 1}
    assert [(entry.reason, entry.tensor) for entry in found.standalone] == [(Reason.BOUNDARY_INPUT, "input_pad")]
    for node in ("transpose", "pool1_pad", "pool1", "avg_pool"):
        assert layer(found, node).quantized, node
    assert not layer(found, "input_pad").quantized
    assert (found.weighted_quantized, found.weighted_total, found.quantized_to_quantized) == (54, 54, 53)


@pytest.mark.parametrize("build", [engines.resnet18, engines.mobilenet_v2, engines.tf_resnet50])
def test_simulating_does_not_change_the_model(build):
    model = build()
    before = str(model)
    assert simulate(model) == simulate(model)
    assert str(model) == before


def _writes_int8(layer) -> bool:
    return layer.output_type is ElementType.INT8
