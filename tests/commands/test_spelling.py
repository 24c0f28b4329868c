"""Options written out as words parse to the same values again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from qdq_cli.commands.quantize import quantize
from qdq_cli.commands.spelling import spelled

OPTIONS = [option for section in quantize.sections.values() for option in section if option.expose_value]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--calib", "a folder/it's", "--calib", "b.npz"),
        ("--mean", "0.485,0.456,0.406", "--std", "0.1", "--scale", "1e-3"),
        ("--range", "a=b=6.0", "--range", "c d=0.1"),
        ("--no-residuals", "--no-pooling", "--mha", "--samples", "7", "--method", "entropy"),
        (
            "--exclude",
            "-x",
            "--exclude",
            "*",
            "--only",
            "[1]",
            "--trt",
            "10",
            "--weights",
            "int8",
            "--form",
            "int8-regions",
        ),
        ("--percentile", "99.9", "--verify", "0", "--cache", "some where.qcal", "--input-shape", "x:1x3x8x8"),
    ],
)
def test_words_parse_to_the_same_values(words: tuple[str, ...]):
    params = quantize.make_context("quantize", ["model.onnx", *words]).params
    again = quantize.make_context("quantize", ["model.onnx", *shlex.split(" ".join(spelled(OPTIONS, params)))]).params
    assert again == params
    assert params["model"] == Path("model.onnx")


def test_defaults_are_not_spelled():
    params = quantize.make_context("quantize", ["model.onnx", "--method", "auto", "--verify", "16"]).params
    assert spelled(OPTIONS, params) == ()
