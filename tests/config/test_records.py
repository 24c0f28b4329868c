"""Configuration records: what fits a field is taken, anything else is a usage error, as on the command line."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdq_cli
from calibrators import Range
from qdq_cli.commands.fields import option_of
from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, Made, OneOf, told_of
from qdq_cli.config.forms import FloatType, Form, ScaleType, TensorRT, WeightForm
from qdq_cli.config.inspect import Gates
from qdq_cli.process.errors import QdqError, UsageError
from qdq_cli.screen.console import Console
from tests.test_promises import FILES, parsed, place

CONFIGURATIONS = {
    name: getattr(qdq_cli, name) for name in qdq_cli.__all__ if "qdq_cli.config" in qdq_cli._MODULES[name]
}
RECORDS: dict[str, Any] = {name: kind for name, kind in CONFIGURATIONS.items() if dataclasses.is_dataclass(kind)}
FIELDS = [(name, item) for name, kind in RECORDS.items() for item in dataclasses.fields(kind)]
OPTIONS = [(name, item) for name, item in FIELDS if told_of(item).help]

REQUIRED: dict[str, dict[str, Any]] = {
    "BuildConfig": {"model": "m.onnx"},
    "CheckConfig": {"model": "m.onnx", "file": "m.qcal"},
    "CalibrateConfig": {"model": "m.onnx"},
    "ConvertConfig": {"model": "m.onnx"},
    "CompareConfig": {"reference": "m.onnx", "quantized": "m.qdq.onnx"},
    "Evaluation": {"command": "python eval.py {model}"},
    "ExportConfig": {"file": "m.qcal", "format": "json"},
    "MergeConfig": {"files": ("a.qcal",), "output": "m.qcal"},
    "FixConfig": {"model": "m.onnx"},
    "InitConfig": {"model": "m.onnx"},
    "InspectConfig": {"model": "m.onnx"},
    "MigrateConfig": {"model": "m.onnx"},
    "QuantizeConfig": {"model": "m.onnx"},
    "SensitivityConfig": {"quantize": qdq_cli.QuantizeConfig(Path("m.onnx"))},
    "TuneConfig": {"quantize": qdq_cli.QuantizeConfig(Path("m.onnx"))},
}
"""What a record cannot do without."""

WORDS = sorted(
    {
        *(
            "Conv",
            "",
            "a,b",
            "1/2",
            "3/2",
            "2/8",
            "0",
            "1",
            "7",
            "-1",
            "0.5",
            "99.99",
            "1e3",
            "nan",
            "inf",
            "-inf",
            "x=6",
        ),
        *("0.485,0.456,0.406", "8.6.1", "8.6", "10", "fp16", "entropy", "mes", "gptq", "gptqq", "regions", "calibrate"),
        *(member.value for kind in (FloatType, Form, ScaleType, WeightForm, TensorRT) for member in kind),
        *("rgb", "pad", "center", "nchw", "EntropyCalibration2", "json", "m.onnx", "é", "9" * 5000),
    }
)

OBJECTS = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        10**400,
        0.5,
        -0.0,
        1e300,
        float("nan"),
        float("inf"),
        2j,
        Fraction(1, 3),
        b"",
        b"x",
    ),
    *(object(), print, Path, Path("a"), PurePosixPath("b"), Path("c\0d"), timedelta(1), Console(), Gates(), range(3)),
    *(
        Form.PAIRS,
        TensorRT.V10,
        WeightForm.INT8,
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        np.zeros(3),
        np.str_("a"),
    ),
    *(
        (),
        [],
        {},
        set(),
        ("a", 1),
        ["a", "b"],
        [[]],
        {"a": 1},
        {"a": None},
        {3: 1.0},
        {1, 2},
        frozenset("ab"),
        iter(()),
    ),
)
ODD = st.one_of(
    st.sampled_from([*WORDS, *OBJECTS]), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)
)
ANY = st.one_of(
    ODD,
    st.lists(ODD, max_size=3),
    st.lists(ODD, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from([*WORDS, 3, None]), ODD, max_size=2),
)


def made(name: str, field: str, value: object) -> Any:
    """A record with one field set to a value."""
    return RECORDS[name](**{**REQUIRED.get(name, {}), field: value})


def fits(value: object, hint: Any) -> bool:
    """Whether a value is exactly of a type."""
    inner, origin = get_args(hint), get_origin(hint)
    if origin in (types.UnionType, Union):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin in (tuple, frozenset):
        return type(value) is origin and all(fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return type(value) is dict and all(fits(key, inner[0]) and fits(each, inner[1]) for key, each in value.items())
    if hint is Any:
        return isinstance(value, Range)
    if hint in (bool, int, float, str):
        return type(value) is hint and (hint is not float or abs(value) < float("inf"))
    return isinstance(value, hint)


def values_of(value: object) -> list[object]:
    """The values a rule is about."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [] if value is None else [value]


def check(name: str, item: Any, value: object) -> None:
    """A record takes a value and keeps it as its type and its rule have it, or refuses it in a sentence."""
    try:
        record = made(name, item.name, value)
    except UsageError as error:
        option = f"--{item.name.replace('_', '-')}"  # what reads texts of its own, or files of them, says so itself
        assert error.message.startswith((RECORDS[name].called("").rstrip(), f"{option} "))
        assert item.name in error.message or option in error.message
        assert error.message.endswith(".")
        return
    kept = getattr(record, item.name)
    assert fits(kept, get_type_hints(RECORDS[name])[item.name]), kept
    rule = told_of(item).rule
    assert rule is None or isinstance(rule, Made) or all(rule.holds(each) for each in values_of(kept))
    assert made(name, item.name, kept) == record, "reading what was read changes nothing"


@pytest.mark.parametrize("name", RECORDS)
def test_a_field_takes_what_it_is_declared_for_and_nothing_else(name: str):
    for item in dataclasses.fields(RECORDS[name]):
        for value in (*WORDS, *OBJECTS):
            check(name, item, value)


@given(st.sampled_from(FIELDS), ANY)
def test_the_same_of_any_value(field: tuple[str, Any], value: object):
    check(*field, value)


def test_every_record_of_the_configuration_checks_itself():
    found = [kind.__name__ for kind in RECORDS.values() if not issubclass(kind, Checked)]
    assert not found
    declared = {
        node.name
        for path in FILES
        if place(path).startswith("qdq_cli/config/")
        for node in parsed(path).body
        if any(getattr(each, "id", "") == "Checked" for each in getattr(node, "bases", ()))
    }
    assert declared == set(RECORDS)


@pytest.mark.parametrize(
    ("name", "field", "value", "sentence", "hint"),
    [
        ("QuantizeConfig", "weights", "fp23", "is 'fp23'; expected fp32, int8 or int8-compat, or None.", "'fp32'"),
        ("QuantizeConfig", "form", "regions", "is 'regions'; expected pairs or int8-regions.", "'int8-regions'"),
        ("QuantizeConfig", "recover", ("gptqq",), "holds 'gptqq'; expected", "'gptq'"),
        ("QuantizeConfig", "trt", 10, "is 10 (int); expected 8.4, 8.6, 10 or 11, or None.", "'10'"),
        ("QuantizeConfig", "model", 3, "is 3 (int); expected a path.", ""),
        ("PlanConfig", "exclude", "Conv", "is 'Conv' (str); expected a tuple", "('Conv',)"),
        ("RangeConfig", "method", "MSE", "is 'MSE'; expected auto, entropy, minmax, percentile or mse.", "'mse'"),
        ("RangeConfig", "percentile", float("nan"), "is nan; expected a finite number above 0 and up to 100.", ""),
        ("RangeConfig", "manual", {"x": -1}, "holds -1 (int); expected a mapping from a text to a range", ""),
        ("RangeConfig", "manual", {"x": 0.0}, "holds 0.0 (float); expected a mapping from a text to a range", ""),
        ("VerifyConfig", "min_sqnr", float("nan"), "is nan; expected a finite number, or None.", ""),
        ("DataConfig", "samples", 0, "is 0; expected a whole number of 1 or more, or None.", ""),
        ("DataConfig", "batch_size", True, "is True (bool); expected a whole number", ""),
        ("CalibrateConfig", "shard", "3/2", "is '3/2'; expected Shard.", "I/N"),
        ("Shard", "number", 2, "is 2; expected 1 to 1", ""),
        ("Overrides", "color", "rbg", "is 'rbg'; expected auto, rgb, bgr or gray, or None.", "'rgb'"),
        ("ExportConfig", "format", "tensort", "is 'tensort'; expected tensorrt, ort", "'tensorrt'"),
    ],
)
def test_wrong_values_are_named_with_what_comes_nearest(name: str, field: str, value: Any, sentence: str, hint: str):
    with pytest.raises(UsageError) as caught:
        made(name, field, value)
    assert caught.value.message.startswith(f"{RECORDS[name].called(field)} {sentence}")
    assert hint in caught.value.hint
    assert isinstance(caught.value, QdqError)


def test_texts_become_enums_and_paths_and_one_path_a_tuple():
    config = qdq_cli.QuantizeConfig("m.onnx", output="o.onnx", trt="10", weights="int8", form="int8-regions")  # type: ignore[arg-type]
    assert config.output == config.destination == Path("o.onnx")
    assert (config.trt, config.weights, config.form) == (TensorRT.V10, WeightForm.INT8, Form.INT8_REGIONS)
    assert qdq_cli.DataConfig("images").calib == qdq_cli.DataConfig([Path("images")]).calib == (Path("images"),)  # type: ignore[arg-type]
    assert qdq_cli.Overrides(mean=0.5, std="1,2,3") == qdq_cli.Overrides(mean=(0.5,), std=(1.0, 2.0, 3.0))  # type: ignore[arg-type]
    assert qdq_cli.CalibrateConfig("m.onnx", shard="2/8").shard == qdq_cli.Shard(2, 8)  # type: ignore[arg-type]


# the command line


def literal(text: str, hint: Any) -> object:
    """What somebody who types a text on a command line would write in Python."""
    if float in get_args(hint) or hint is float or int in get_args(hint) or hint is int:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def on_the_command_line(name: str, item: Any, text: str) -> Any:
    """The record that a command builds of one option; None where the option refuses the text."""
    option = option_of(RECORDS[name], item.name)
    command = click.Command("one", params=[option])
    try:
        context = command.make_context("one", [f"{option.opts[-1]}={text}"])
    except click.UsageError:
        return None
    value = context.params[option.name or ""]
    try:
        return made(name, item.name, dict(value) if get_origin(hint_of(name, item)) is Mapping else value)
    except UsageError:
        return None


def in_python(name: str, item: Any, text: str) -> Any:
    """The record of the same value; None where it is refused."""
    hint = hint_of(name, item)
    value: Any = literal(text, hint)
    if get_origin(hint) is Mapping:
        key, _, number = text.rpartition("=")
        ends = tuple(literal(end, float) for end in number.split(":"))
        value = {key: ends if len(ends) == 2 else ends[0]} if key else text
    elif get_origin(hint) is tuple and told_of(item).parse is None:
        value = (text,)
    try:
        return made(name, item.name, value)
    except UsageError:
        return None


def hint_of(name: str, item: Any) -> Any:
    hint = get_type_hints(RECORDS[name])[item.name]
    if get_origin(hint) in (types.UnionType, Union):
        (hint,) = (each for each in get_args(hint) if each is not types.NoneType)
    return hint


VALUED = [(name, item) for name, item in OPTIONS if hint_of(name, item) is not bool]


@pytest.mark.parametrize(("name", "item"), VALUED, ids=[f"{name}.{item.name}" for name, item in VALUED])
def test_the_command_line_takes_what_the_record_takes(name: str, item: Any):
    for text in WORDS:
        assert on_the_command_line(name, item, text) == in_python(name, item, text), text[:40]


@pytest.mark.parametrize(("name", "item"), OPTIONS, ids=[f"{name}.{item.name}" for name, item in OPTIONS])
def test_an_option_that_is_not_given_leaves_the_default(name: str, item: Any):
    option = option_of(RECORDS[name], item.name)
    value = click.Command("one", params=[option]).make_context("one", []).params[option.name or ""]
    if value is not None and item.default is not dataclasses.MISSING:
        assert getattr(made(name, item.name, value), item.name) == item.default


def test_the_rules_say_what_they_hold():
    assert OneOf(("a", "b", "c")).expected == "a, b or c"
    assert OneOf(("a",)).expected == "a"
    assert [Interval().expected, Interval(most=3).expected] == ["", " up to 3"]
    assert [Interval(1).expected, Interval(0, 1).expected, Interval(0, 1, above=True).expected] == [
        " of 1 or more",
        " of 0 to 1",
        " above 0 and up to 1",
    ]


def test_the_enums_have_no_other_members():
    assert {kind for kind in CONFIGURATIONS.values() if isinstance(kind, type) and issubclass(kind, Enum)} == {
        FloatType,
        Form,
        ScaleType,
        TensorRT,
        WeightForm,
    }
