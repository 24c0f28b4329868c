from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.config.preprocess import CHOICES, IMAGENET, PRESETS, Overrides, Preprocessing
from qdq_cli.data.preprocess_text import (
    find_preprocessing,
    from_json,
    load_preprocessing,
    to_json,
)
from qdq_cli.process.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "pre.json"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_presets_are_found_by_name():
    assert find_preprocessing("imagenet") is IMAGENET


def test_a_misspelled_preset_gets_the_nearest():
    with pytest.raises(UsageError) as caught:
        find_preprocessing("imagnet")
    assert caught.value.hint == "Did you mean 'imagenet'?"


def test_json_and_toml_say_the_same(write):
    as_json = write('{"scale": "1/128", "mean": [0.5, 0.5, 0.5], "color": "BGR", "resize": "pad", "fill": 114}')
    as_toml = write('scale = "1/128"\nmean = [0.5, 0.5, 0.5]\ncolor = "bgr"\nresize = "pad"\nfill = 114\n', "pre.toml")
    expected = Preprocessing("pre.json", (1 / 128,), (0.5, 0.5, 0.5), color="bgr", resize="pad", fill=(114,))
    assert load_preprocessing(as_json) == expected
    assert find_preprocessing(str(as_toml)) == replace(expected, name="pre.toml")


def test_an_empty_file_is_neutral(write):
    assert load_preprocessing(write("{}")) == Preprocessing("pre.json")


def test_a_file_may_start_from_a_preset(write):
    loaded = load_preprocessing(write('preset = "imagenet"\ncolor = "bgr"\nshorter = 256\n', "bgr.toml"))
    assert (loaded.mean, loaded.shorter, loaded.name) == (IMAGENET.mean[::-1], 256, "bgr.toml")


def test_a_byte_order_mark_does_no_harm(write):
    assert load_preprocessing(write("\ufeff{}")) == Preprocessing("pre.json")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('{"sdt": 1}', "no key 'sdt'", "Did you mean 'std'?"),
        ('{"size": [224, 224]}', "no key 'size'", "--input-shape"),
        ('{"image_mean": [0.5]}', "no key 'image_mean'", "mean"),
        ('{"mean": "a"}', "mean is 'a'; expected a number", "1/255"),
        ('{"scale": "1/0"}', "scale is '1/0'", "1/255"),
        ('{"std": true}', "std is True", ""),
        ('{"std": [1, null, 1]}', "std is None", ""),
        ('{"mean": NaN}', "finite", ""),
        ('{"color": "rbg"}', "color is 'rbg'", "Did you mean 'rgb'?"),
        ('{"color": 3}', "color is 3", ""),
        ('{"shorter": 255.5}', "shorter is 255.5; expected a whole number", ""),
        ('{"crop": 0.875}', "crop is given, but resize is stretch", "crop"),
        ('{"preset": "imagent"}', "preset is 'imagent'", "Did you mean 'imagenet'?"),
        ('{"preset": ["raw"]}', "preset is ['raw']", ""),
        ('{"mean": 0.5, "mean": 0.4}', "twice", ""),
        ("[1, 2]", "not an object", "color"),
        ("{", "not valid JSON", ""),
        ("", "not valid JSON", ""),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(text, message, hint, write):
    path = write(text)
    with pytest.raises(UsageError) as caught:
        load_preprocessing(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_broken_toml_missing_files_and_binary_files_are_named(write, tmp_path):
    with pytest.raises(UsageError, match="not valid TOML"):
        load_preprocessing(write("a = = 1", "pre.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        find_preprocessing(str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_preprocessing(tmp_path / "bad.json")


def test_the_canonical_text_is_sorted_json_without_the_assumption():
    text = to_json(replace(PRESETS["unit"], assumed=True))
    document = json.loads(text)
    assert list(document) == sorted(document)
    assert "assumed" not in document
    assert document["scale"] == [1 / 255]


_constants = st.one_of(st.tuples(st.floats(0.01, 200)), st.tuples(*[st.floats(0.01, 200)] * 3))
_records = st.builds(
    Overrides,
    mean=_constants,
    std=_constants,
    shorter=st.none() | st.integers(1, 4096),
    **{name: st.sampled_from(words) for name, words in CHOICES.items()},
).map(Preprocessing("any").override)


@given(_records)
def test_the_canonical_text_reads_back_equal(record):
    again = from_json(to_json(record))
    assert again == record
    assert to_json(again) == to_json(record)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}', '{"name": "a", "size": 3}'])
def test_a_text_that_is_no_preprocessing_is_refused(text):
    with pytest.raises(UsageError):
        from_json(text)
