"""A floor under the work in INT8 takes the products of two activations in, where it cannot be kept without them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.process.errors import LimitError
from qdq_cli.tuning.tune import tune_model
from tests.listeners import Ear
from tests.networks import Network
from tests.workspace import SAMPLES, SIDE, Outcome, Workspace, make_workspace, qdq

DIGITS = ("--calib", SAMPLES / "images" / "digits", "--preprocess", "unit", "--samples", 60, "--no-recover")


def with_a_product(side: int | str = SIDE) -> onnx.ModelProto:
    """Two convolutions whose results are multiplied; the product has 31.3 % of the MACs, each of the two as much."""
    net = Network()
    x = net.conv(net.input("images", ("N", 3, side, side)), 16, "first", kernel=1, scale=None)
    product = net.op("MatMul", *(net.conv(x, 16, name, kernel=1, scale=None) for name in "qk"), name="product")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", product, name="pool"), name="flat")
    return net.proto(net.gemm(pooled, 16, 10, "scores", scale=None))


@pytest.fixture(params=[SIDE, "S"], ids=["fixed", "dynamic"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace with a product; its shapes follow from the model, or from a sample alone."""
    return make_workspace(tmp_path, with_a_product(request.param))


def config_of(space: Workspace, least: float, **plan: object) -> TuneConfig:
    data, verify = DataConfig(calib=(space.arrays,)), VerifyConfig(min_sqnr=-100.0)
    return TuneConfig(
        QuantizeConfig(space.model, data=data, plan=PlanConfig(**plan), verify=verify), min_int8_macs=least
    )


def test_products_stay_float_where_the_floor_is_reached_without(space: Workspace):
    listener = Ear()
    report = tune_model(config_of(space, 68.0), listener)
    assert (report.met, report.mha) == (True, False)
    assert report.frontier[0].quantized_macs_percent == pytest.approx(68.7, abs=0.1)
    assert not listener.notes


def test_products_are_taken_in_where_the_floor_needs_them(space: Workspace):
    listener = Ear()
    report = tune_model(config_of(space, 80.0), listener)
    assert (report.met, report.mha) == (True, True)
    assert report.frontier[report.chosen].quantized_macs_percent == pytest.approx(100.0)
    (note,) = listener.notes
    assert note in report.notes
    assert "without them 68.7 %" in note and "with them 100.0 %" in note and "80 %" in note and "FP16" in note


def test_a_floor_out_of_reach_is_said_before_anything_is_observed(space: Workspace):
    listener = Ear()
    with pytest.raises(LimitError) as caught:
        tune_model(config_of(space, 80.0, exclude=("q",)), listener)
    assert "37.30 % of the MACs" in caught.value.message and "68.65 % with the products" in caught.value.message
    assert "--min-int8-macs is 80 %" in caught.value.message
    assert ("calibrating" in listener.titles, listener.notes) == (False, [])
    assert not space.output.exists()


def test_a_product_that_was_asked_for_or_excluded_is_no_way_out(space: Workspace):
    for plan in ({"mha": True, "exclude": ("q",)}, {"exclude": ("q", "product")}):
        with pytest.raises(LimitError) as caught:
            tune_model(config_of(space, 80.0, **plan))
        assert "--mha" not in str(caught.value)


def test_what_calibration_keeps_float_counts_too(tmp_path: Path):
    """A depthwise convolution whose input no range serves turns float only then."""
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    deep = net.conv(net.concat(*[x] * 16, name="wide"), 48, "deep", group=48, scale=None)
    half = net.op("Mul", x, net.constant(np.float32(0.5)), name="half")
    product = net.op("MatMul", deep, net.conv(half, 48, "k", kernel=1, scale=None), name="product")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", product, name="pool"), name="flat")
    space = make_workspace(tmp_path, net.proto(net.gemm(pooled, 48, 10, "scores", scale=None)))
    tails = np.random.default_rng(0).standard_t(2, (10, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=tails)
    config = config_of(space, 33.0)
    with pytest.raises(LimitError, match="with the products of two activations too") as caught:
        tune_model(config)
    assert caught.value.hint == "Give --mha."
    plan = replace(config.quantize.plan, mha=True)
    assert tune_model(replace(config, quantize=replace(config.quantize, plan=plan))).met


# a vision transformer


def tune_digits(output: Path, *options: object) -> Outcome:
    return qdq("tune", SAMPLES / "digits_vit.onnx", *DIGITS, "-o", output, *options)


def test_the_search_may_leave_products_float_again(tmp_path: Path):
    done = tune_digits(tmp_path / "one.onnx", "--min-sqnr", 38, "--min-int8-macs", 90, "--json")
    assert done.code == 0, done.err
    found = done.document
    assert found["mha"] and found["met"] and found["operators"] == 20
    chosen = found["frontier"][found["chosen"]]
    assert 90 <= chosen["quantized_macs_percent"] < 100
    assert any("attention/MatMul" in name for name in chosen["left_float"])


def test_the_command_it_shows_takes_products_in(tmp_path: Path):
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    done = tune_digits(one, "--min-sqnr", 38, "--min-int8-macs", 90)
    assert done.code == 0, done.err
    assert done.err.count("note:") == 1
    words = shlex.split(done.out.partition("the same model without tuning:\n")[2].replace("\\\n", ""))
    assert "--mha" in words and "--exclude" in words
    again = qdq(*words[1:], "-o", two)
    assert again.code == 0, again.err
    assert one.read_bytes() == two.read_bytes()


def test_the_command_is_shown_where_nothing_but_products_had_to_be_chosen(tmp_path: Path):
    done = tune_digits(tmp_path / "one.onnx", "--min-sqnr", 20, "--min-int8-macs", 90)
    assert done.code == 0, done.err
    assert "--mha" in done.out.partition("the same model without tuning:\n")[2]
