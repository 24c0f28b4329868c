"""Whatever is wrong with an argument is an error of ours that names it, in words of Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qdq_cli
from qdq_cli.calls.place import with_keywords
from tests.calls.tensors import SAMPLES, Elsewhere, Tensor, Tracked, convnet, two_inputs

MODEL = convnet()


def used_up():
    feeds = iter(list(SAMPLES))
    list(feeds)
    return feeds


def one_for_all():
    feeds = iter(list(SAMPLES))
    return lambda: feeds


def unsteady():
    rng = np.random.default_rng(0)
    return lambda: (rng.normal(size=(3, 16, 16)).astype(np.float32) for _ in range(10))


CALIBS: dict[str, tuple[Any, str]] = {
    "shape": (SAMPLES[:, :2], r"calib: array 'images' has the shape \[24, 2, 16, 16\], which does not fit"),
    "shape of an item": ([SAMPLES[0], SAMPLES[1, :2]], r"calib\[1\]: array 'images' has the shape \[2, 16, 16\]"),
    "type": (SAMPLES.astype(np.uint8), "has the type uint8, but input 'images' takes float32.* preprocess imagenet"),
    "NaN": (np.full((9, 3, 16, 16), np.nan, np.float32), r"calib\[\d\]: input 'images' holds NaN"),
    "objects": (np.array([object(), 1]), r"array 'images' holds Python objects \(int, object\) instead of numbers"),
    "ragged": ([[[1, 2], [3]]], r"calib\[0\]: array 'images' \(list\) cannot be read as an array"),
    "tracked": (iter([Tracked(SAMPLES)]), r"calib\[0\]: array 'images' \(Tracked\) cannot be read.*requires grad"),
    "elsewhere": ([{"images": Elsewhere(SAMPLES)}], r"can't convert cuda:0.*tensor.detach\(\).cpu\(\).numpy\(\)"),
    "used up": (used_up(), "calib gave no samples. A generator can be run through once"),
    "nothing": ([], "calib gave no samples"),
    "no arrays": ({}, "calib gave no samples"),
    "function of one generator": (one_for_all(), r"calib\(\) gave 24 items at first and only 0 when it was called"),
    "function that varies": (unsteady(), r"calib\(\) gave another item 0 when it was called again"),
    "function of nothing": (lambda: None, "calib is NoneType, which holds no samples"),
    "function of a function": (lambda: unsteady, r"calib\(\) returned a function"),
    "number": (3, "calib is int, which holds no samples"),
    "bytes": (b"abc", "calib is bytes; expected samples or their path"),
    "model": (MODEL, "calib is ModelProto; expected samples or their path. The model comes first"),
    "other names": ({"a": SAMPLES, "b": SAMPLES}, "no array for input 'images'; there is 'a', 'b'"),
    "empty item": ([()], r"calib\[0\] holds 0 arrays, but the model has 1 inputs"),
    "none in it": ([None], r"array 'images' holds Python objects \(NoneType\)"),
    "texts": (["nowhere.npz"], "Calibration data 'nowhere.npz' does not exist"),
    "missing": (None, "No calibration data was given.* with calib, or a calibration cache with cache"),
}


@pytest.mark.parametrize("case", CALIBS)
def test_samples(case: str):
    calib, text = CALIBS[case]
    with pytest.raises(qdq_cli.QdqError, match=text):
        qdq_cli.quantize(MODEL, calib)


def test_one_array_for_two_inputs():
    with pytest.raises(qdq_cli.DataError, match="calib is one ndarray, but the model has 2 inputs: 'x', 'y'"):
        qdq_cli.quantize(two_inputs(), np.zeros((4, 16), np.float32))


MODELS: dict[str, tuple[Any, str]] = {
    "list": ([1], r"model is \[1\] \(list\); expected a path, bytes"),
    "none": (None, "model is None"),
    "empty path": ("", "model is ''"),
    "empty": (b"", r"model.onnx is empty \(0 bytes\)"),
    "other bytes": (b"PK\x03\x04", "model.onnx is a zip archive"),
    "missing": ("nowhere.onnx", "nowhere.onnx does not exist"),
}


@pytest.mark.parametrize("case", MODELS)
def test_models(case: str):
    model, text = MODELS[case]
    with pytest.raises(qdq_cli.QdqError, match=text) as caught:
        qdq_cli.quantize(model, SAMPLES)
    assert "/qdq-" not in str(caught.value)


KEYWORDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"method": "mze"}, "^method is 'mze'.*Did you mean 'mse'"),
    ({"verify": -1}, "^verify is -1; expected a whole number of 0 or more"),
    ({"samples": 0}, "^samples is 0; expected a whole number of 1 or more"),
    ({"exclude": "nix"}, "^exclude 'nix' matches nothing in the model. .* dry_run=True"),
    ({"ranges": {"nix": 1}}, "^ranges names the tensor 'nix', which is not quantized"),
    ({"ranges": 3}, r"^ranges is 3 \(int\)"),
    ({"ranges": "nowhere.json"}, "nowhere.json"),
    ({"trt": "9"}, "^trt is '9'"),
    ({"min_sqnr": 300}, "min_sqnr is 300 dB"),
    ({"input_shape": 5}, "^input_shape holds 5"),
    ({"input_shape": {"images": 5}}, "^input_shape holds 5"),
    ({"on_progress": 3}, r"^on_progress is 3 \(int\); expected a function"),
    ({"recover": "nothing"}, "^recover holds 'nothing'"),
    ({"mean": "x"}, "mean is 'x'"),
    ({"cache": 3}, "^cache is 3"),
    ({"target": "tensorflow"}, "^target is 'tensorflow'"),
)


@pytest.mark.parametrize(("keywords", "text"), KEYWORDS, ids=lambda each: str(each)[:40])
def test_keywords(keywords: dict[str, Any], text: str):
    with pytest.raises(qdq_cli.QdqError, match=text):
        qdq_cli.quantize(MODEL, SAMPLES, **keywords)


def test_a_missed_limit_has_the_report():
    with pytest.raises(qdq_cli.UnmetLimitError) as caught:
        qdq_cli.quantize(MODEL, SAMPLES, min_sqnr=300)
    assert caught.value.report is caught.value.found
    assert caught.value.report.model == "model.onnx"
    with pytest.raises(qdq_cli.LimitError) as limit:
        qdq_cli.compare(MODEL, qdq_cli.quantize(MODEL, SAMPLES), SAMPLES, min_sqnr=300)
    assert "min_sqnr" in str(limit.value)


def test_other_exceptions_of_a_generator_come_through():
    def feeds():
        yield Tensor(SAMPLES[0])
        raise LookupError("my own")

    with pytest.raises(LookupError, match="my own"):
        qdq_cli.quantize(MODEL, feeds())


def test_sentences_about_options_become_sentences_about_keywords():
    assert with_keywords("Say --preprocess unit or --no-mha.") == "Say preprocess unit or mha."
    assert with_keywords("RangeConfig.manual is 3, VerifyConfig.samples too.") == "ranges is 3, verify too."
    assert with_keywords("Run qdq inspect MODEL --trt 10.") == "Run qdq inspect MODEL --trt 10."
