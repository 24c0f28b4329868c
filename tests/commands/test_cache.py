"""`qdq cache`: what it shows, compares, merges, converts and checks, and what bad files get."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from calibrators import (
    CalibrationTable,
    Entry,
    Histogram,
    Method,
    decode_table,
    encode_table,
    parse_tensorrt_cache,
    ranges_of,
    read_cache,
    write_cache,
)
from calibrators.cache_file import FORMAT_VERSION, MAGIC
from qdq_cli.cache.text import ASCII_BLOCKS, BLOCKS
from qdq_cli.config.cache import RANGE_FORMATS
from qdq_cli.config.ranges import METHODS
from qdq_cli.data.ranges import read_ranges
from qdq_cli.process.errors import DataError
from tests.networks import Network
from tests.workspace import REPOSITORY, SIDE, Outcome, Workspace, make_workspace, qdq, small_convnet

OLD = REPOSITORY / "tests" / "calibrators" / "format_1.qcal"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model with the calibration cache `model.qcal`, of all arrays, and `half.qcal` of the first five."""
    space = make_workspace(tmp_path_factory.mktemp("cache"))
    for options in ((), ("-o", space.folder / "half.qcal", "--shard", "1/2")):
        assert qdq("calibrate", space.model, "--calib", space.arrays, *options).code == 0
    return space


@pytest.fixture
def cache(space: Workspace) -> Path:
    return space.folder / "model.qcal"


def refused(done: Outcome, code: int = 4) -> str:
    """What a run that failed says, after checking that it is one sentence and a hint."""
    assert (done.code, done.out) == (code, ""), done.err
    assert [line.partition(": ")[0] for line in done.err.splitlines()] == ["error", "hint"], done.err
    assert all(line.endswith((".", "?")) for line in done.err.splitlines()), done.err
    return done.err


@pytest.mark.parametrize(("command", "option"), [("export", "--format"), ("merge", "--output")])
def test_an_option_that_cannot_be_left_out(cache: Path, command: str, option: str):
    said = refused(qdq("cache", command, cache), 2)
    assert "Missing option" in said
    assert option in said


def test_weights_alone_need_no_range(space: Workspace, cache: Path):
    done = qdq("cache", "check", space.model, cache, "--type", "int8-weights")
    assert "yes: nothing needs a range" in done.out


# show


def test_show_as_json(cache: Path):
    document = qdq("cache", "show", cache, "--json").document
    assert next(iter(document)) == "schema_version"
    assert (document["samples"], document["preprocessing"]) == (10, "")
    assert set(document["versions"]) == {"qdq", "onnxruntime", "sample keys"}
    assert [tensor["name"] for tensor in document["tensors"]] == sorted(read_cache(cache).entries)
    (images,) = [tensor for tensor in document["tensors"] if tensor["name"] == "images"]
    assert images["count"] == 10 * 3 * SIDE * SIDE
    assert images["shape"] == ["N", 3, SIDE, SIDE]
    assert set(images["amax"]) == set(images["clipped_percent"]) == set(METHODS)
    assert images["amax"]["minmax"] == max(-images["minimum"], images["maximum"])
    assert images["clipped_percent"]["minmax"] == 0
    assert 0 < images["clipped_percent"]["percentile"] < 0.02
    wide = qdq("cache", "show", cache, "--json", "--percentile", "90").document["tensors"][0]
    assert wide["clipped_percent"]["percentile"] == pytest.approx(10, abs=0.5)


def test_show_as_a_table(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = qdq("cache", "show", cache).out.splitlines()
    (images,) = [line for line in lines if line.startswith("images ")]
    assert "7,680" in images
    assert images[-16:].strip(BLOCKS) == ""
    assert any(line.startswith("samples       10 ") for line in lines)
    assert max(map(len, lines)) <= 121
    assert qdq("cache", "show", cache, "-q").out == ""


def test_a_terminal_without_block_letters_gets_others(cache: Path, monkeypatch: pytest.MonkeyPatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    from qdq_cli.main import run

    assert run(["cache", "show", str(cache)]) == 0
    out.flush()
    text = out.buffer.getvalue().decode("ascii")
    (line,) = (line for line in text.splitlines() if line.startswith("images "))
    assert line[-16:].strip(ASCII_BLOCKS) == ""


def test_an_old_file_is_shown():
    done = qdq("cache", "show", OLD)
    assert done.code == 0, done.err


def test_a_picture_as_svg(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    odd = tmp_path / "odd.qcal"
    write_cache(replace(table, entries={f'<&"\x01{name}': entry for name, entry in table.entries.items()}), odd)
    first, second = tmp_path / "a.svg", tmp_path / "b.SVG"
    assert qdq("cache", "show", odd, "--plot", first).code == 0
    assert qdq("cache", "show", odd, "--plot", second).code == 0
    assert first.read_bytes() == second.read_bytes()
    root = ET.fromstring(first.read_text(encoding="utf-8"))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {f'<&"\\x01{name}' for name in table.entries} <= set(texts)
    assert set(METHODS) <= set(texts)


def test_a_picture_as_png(cache: Path, tmp_path: Path):
    file = tmp_path / "a.png"
    assert qdq("cache", "show", cache, "--plot", file).code == 0
    with Image.open(file) as image:
        image.load()
        assert (image.format, image.width > 600, image.height > 300) == ("PNG", True, True)
        assert len(image.getcolors(1 << 20) or ()) > 5


def test_a_picture_in_no_known_format(cache: Path, tmp_path: Path):
    assert ".svg or .png" in refused(qdq("cache", "show", cache, "--plot", tmp_path / "a.pdf"), 2)


# diff


def test_nothing_moved_between_a_cache_and_itself(cache: Path):
    document = qdq("cache", "diff", cache, cache, "--json", "--max-drift", "0").document
    assert document["largest_percent"] == 0
    assert document["common_samples"] == 10
    assert {tensor["ratio"] for tensor in document["tensors"]} == {1.0}
    assert {tensor["distance"] for tensor in document["tensors"]} == {0.0}


def shifted(table: CalibrationTable, path: Path, factor: float, name: str = "images") -> Path:
    """The table with the values of one tensor multiplied."""
    histogram = Histogram()
    histogram.observe(np.random.default_rng(7).normal(size=7680).astype(np.float32) * np.float32(factor))
    write_cache(
        replace(table, entries={**table.entries, name: replace(table.entries[name], histogram=histogram)}), path
    )
    return path


def test_what_moved_is_measured_and_limited(cache: Path, tmp_path: Path):
    moved = shifted(read_cache(cache), tmp_path / "moved.qcal", 1.25)
    done = qdq("cache", "diff", cache, moved, "--max-drift", "20", "--json", "--method", "minmax")
    assert done.code == 5
    assert "Tensor 'images' moved by" in done.err
    worst, *others = done.document["report"]["tensors"]
    assert worst["name"] == "images"
    assert worst["ratio"] == pytest.approx(1.25, rel=0.1)
    assert worst["distance"] == pytest.approx(0.18, abs=0.05)
    assert worst["drift_percent"] == done.document["report"]["largest_percent"] > 20
    assert {tensor["drift_percent"] for tensor in others} == {0}
    assert qdq("cache", "diff", cache, moved, "--max-drift", "40").code == 0
    back = qdq("cache", "diff", moved, cache, "--json", "--method", "minmax").document["tensors"][0]
    assert back["drift_percent"] == pytest.approx(worst["drift_percent"])


def test_tensors_in_one_cache_alone_are_named(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    less = tmp_path / "less.qcal"
    write_cache(replace(table, entries={name: table.entries[name] for name in ("images", "total")}), less)
    done = qdq("cache", "diff", cache, less, "--max-drift", "50")
    assert done.code == 5
    assert "4 tensors are in one of the caches alone" in done.err
    assert ["only", "in", "first", "first_relu"] in [line.split() for line in done.out.splitlines()]
    assert qdq("cache", "diff", cache, less).code == 0


def test_tensors_are_matched_by_what_computes_them_then_by_name(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    names = {name: f"{name}_2" for name in table.entries}
    renamed = tmp_path / "renamed.qcal"
    write_cache(table.renamed(names), renamed)
    found = qdq("cache", "diff", cache, renamed, "--json").document["tensors"]
    assert {tensor["name"]: tensor["other_name"] for tensor in found} == names
    retrained = tmp_path / "retrained.qcal"
    write_cache(
        replace(table, entries={n: replace(e, digest=f"{n:>032}") for n, e in table.entries.items()}), retrained
    )
    found = qdq("cache", "diff", cache, retrained, "--json").document["tensors"]
    assert {tensor["name"]: tensor["other_name"] for tensor in found} == {name: name for name in table.entries}


def test_caches_with_nothing_in_common(cache: Path):
    assert "no tensor in common" in refused(qdq("cache", "diff", cache, OLD))


def test_a_long_comparison_is_cut(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    many = tmp_path / "many.qcal"
    entry = replace(table.entries["images"], digest="")
    write_cache(replace(table, entries={f"tensor_{number}": entry for number in range(40)}), many)
    assert "and 15 more" in qdq("cache", "diff", many, many).out
    assert "tensor_39" in qdq("cache", "diff", many, many, "-v").out


# merge


def altered(cache: Path, path: Path, **changes: object) -> Path:
    """The cache with another provenance, and other samples."""
    table = read_cache(cache)
    origin = replace(table.provenance, **{"samples": frozenset(["0" * 16]), **changes})
    write_cache(replace(table, provenance=origin), path)
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "another"}, "differ in model"),
        ({"preprocessing": "another"}, "differ in preprocessing"),
        ({"versions": (("qdq", "0.1"), ("onnxruntime", "1.0"))}, "differ in versions"),
        ({"samples": None}, "holds 10 of the 10 samples merged so far once more"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(
    cache: Path, tmp_path: Path, changes: dict[str, object], sentence: str
):
    samples = {} if "samples" not in changes else {"samples": read_cache(cache).provenance.samples}
    other = altered(cache, tmp_path / "other.qcal", **{**changes, **samples})
    done = qdq("cache", "merge", cache, other, "-o", tmp_path / "merged.qcal")
    assert sentence in refused(done)
    assert not (tmp_path / "merged.qcal").exists()


def test_other_preprocessing_is_told_in_words(space: Workspace, tmp_path: Path):
    paths = []
    for preset in ("unit", "raw"):
        paths.append(tmp_path / f"{preset}.qcal")
        made = qdq("calibrate", space.model, "--calib", space.images, "--preprocess", preset, "-o", paths[-1])
        assert made.code == 0
    text = refused(qdq("cache", "merge", *paths, "-o", tmp_path / "merged.qcal"))
    assert "differ in preprocessing: unit: rgb, " in text
    assert " and raw: rgb, " in text
    assert "{" not in text


def test_renamed_tensors_are_merged_under_the_first_names(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    swapped = {"first_relu": "total", "total": "first_relu", "flat": "x"}
    write_cache(table.renamed(swapped), tmp_path / "renamed.qcal")
    other = altered(tmp_path / "renamed.qcal", tmp_path / "other.qcal")
    done = qdq("cache", "merge", cache, other, "-o", tmp_path / "merged.qcal", "--json")
    assert done.code == 0, done.err
    assert done.document["samples"] == 11
    merged = read_cache(tmp_path / "merged.qcal")
    assert set(merged.entries) == set(table.entries)
    for name, entry in merged.entries.items():
        assert entry.digest == table.entries[name].digest
        assert entry.histogram.count == 2 * table.entries[name].histogram.count


def test_a_cache_may_be_merged_over_itself(cache: Path, tmp_path: Path):
    own = tmp_path / "own.qcal"
    own.write_bytes(cache.read_bytes())
    other = altered(cache, tmp_path / "other.qcal")
    assert qdq("cache", "merge", own, other, "-o", own).code == 0
    assert read_cache(own).provenance.sample_count == 11


def test_one_cache_merged_is_itself(cache: Path, tmp_path: Path):
    assert qdq("cache", "merge", cache, "-o", tmp_path / "same.qcal").code == 0
    assert (tmp_path / "same.qcal").read_bytes() == cache.read_bytes()


# export and import


@pytest.mark.parametrize("kind", RANGE_FORMATS)
def test_ranges_go_out_and_come_back(cache: Path, tmp_path: Path, kind: str):
    file, back = tmp_path / "ranges", tmp_path / "back.json"
    done = qdq("cache", "export", cache, "--format", kind, "-o", file, "--method", "minmax", "--json")
    assert done.code == 0, done.err
    amax = done.document["ranges"]
    chosen = ranges_of(read_cache(cache), Method("minmax")).ranges
    assert amax == {name: kept.amax for name, kept in chosen.items()}
    done = qdq("cache", "import", file, "-o", back, "--json")
    assert done.code == 0, done.err
    found = {name: kept.amax for name, kept in read_ranges(back).items()}
    assert found == done.document["ranges"]
    if kind == "ort-json":
        assert read_ranges(back) == chosen  # both ends
    if kind == "tensorrt":  # it holds the scale, in float32
        assert {name: np.float32(value / 127) for name, value in found.items()} == {
            name: np.float32(value / 127) for name, value in amax.items()
        }
    else:
        assert found == pytest.approx(amax, rel=0, abs=0)


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ((), "TRT-8601-EntropyCalibration2"),
        (("--trt", "8.5.3", "--algo", "MinMaxCalibration"), "TRT-8503-MinMaxCalibration"),
        (("--trt", "10.14.1"), "TRT-101401-EntropyCalibration2"),
    ],
)
def test_the_header_of_a_text_cache(cache: Path, tmp_path: Path, options: tuple[str, ...], header: str):
    file = tmp_path / "calibration.cache"
    assert header in qdq("cache", "export", cache, "--format", "tensorrt", "-o", file, *options).out
    content = file.read_bytes()
    assert content.startswith(f"{header}\n".encode())
    assert b"\r" not in content
    done = qdq("cache", "import", file, "-o", tmp_path / "back.json", "--json")
    assert done.document["header"] == header


def test_a_text_cache_of_tensorrt_is_read(tmp_path: Path):
    file = tmp_path / "calibration.cache"
    file.write_text(
        "TRT-8503-EntropyCalibration2\r\n\r\ninput: 3c010204\r\n(Unnamed Layer* 64) [Shuffle]_output: 3b810204\r\n"
        "a:b: c: 40008102\r\ndead: 0\r\nquantile: 0.9999\r\nsomething else\r\n"
    )
    done = qdq("cache", "import", file, "--json")
    assert done.code == 0, done.err
    assert done.document["output"] == str(tmp_path / "calibration.cache.ranges.json")
    assert done.document["ignored_lines"] == 2
    ranges = json.loads((tmp_path / "calibration.cache.ranges.json").read_text())
    assert {name: round(amax, 5) for name, amax in ranges.items()} == {
        "input": 1.0,
        "(Unnamed Layer* 64) [Shuffle]_output": 0.5,
        "a:b: c": 255.0,
        "dead": 0.0,
    }
    assert "without a range, left out: 2" in qdq("cache", "import", file).out


def test_default_names_of_exported_files(cache: Path, tmp_path: Path):
    own = tmp_path / "my.model.qcal"
    own.write_bytes(cache.read_bytes())
    for kind, ending in RANGE_FORMATS.items():
        assert qdq("cache", "export", own, "--format", kind).code == 0
        assert (tmp_path / f"my.model{ending}").is_file()


def test_exported_scales_for_training(cache: Path, tmp_path: Path):
    file = tmp_path / "scales.json"
    assert qdq("cache", "export", cache, "--format", "torch-json", "-o", file, "--method", "minmax").code == 0
    scales = json.loads(file.read_text())
    amax = read_cache(cache).entries["images"].histogram.amax
    assert scales["images"] == {"amax": amax, "scale": float(np.float32(amax / 127)), "zero_point": 0}


def test_verbose_lists_every_range(cache: Path, tmp_path: Path):
    done = qdq("cache", "export", cache, "--format", "json", "-o", tmp_path / "a.json", "-v")
    assert sum(line.endswith("  first_relu") for line in done.out.splitlines()) == 1


def test_what_cannot_be_exported(cache: Path, tmp_path: Path):
    text = refused(qdq("cache", "export", cache, "--format", "tensorrt", "--trt", "eight", "-o", tmp_path / "a"), 2)
    assert "'eight' is not a TensorRT release" in text
    assert "is the calibration cache itself" in refused(qdq("cache", "export", cache, "--format", "json", "-o", cache))
    table = read_cache(cache)
    odd = tmp_path / "odd.qcal"
    write_cache(table.renamed({"images": "two\nlines"}), odd)
    assert "'two\\nlines'" in refused(qdq("cache", "export", odd, "--format", "tensorrt", "-o", tmp_path / "a"))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("release", ["11.0.0", "11.4.1"])
def test_no_cache_is_written_for_a_release_that_reads_none(cache, tmp_path, release):
    done = qdq("cache", "export", cache, "--format", "tensorrt", "--trt", release, "-o", tmp_path / "a")
    text = refused(done, 2)
    assert "reads no calibration cache" in text and "qdq quantize --cache" in text
    assert not (tmp_path / "a").exists()


def test_what_cannot_be_imported(cache: Path, tmp_path: Path):
    assert "qdq cache export" in refused(qdq("cache", "import", cache))
    assert "cannot be read" in refused(qdq("cache", "import", tmp_path / "missing"))
    ranges = tmp_path / "ranges.json"
    ranges.write_text('{"a": 1}')
    assert "itself" in refused(qdq("cache", "import", ranges, "-o", ranges))
    assert ranges.read_text() == '{"a": 1}'


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("input: 3c01020", ""),
        ("input: 3c0102045", "Line 2"),
        ("input: 3c01020g", "Line 2"),
        ("input: 7fc00000", "Line 2"),
        ("input: bc010204", "Line 2"),
        (": 3c010204", "Line 2"),
        ("input:", "Line 2"),
    ],
)
def test_broken_lines_of_a_text_cache(tmp_path: Path, line: str, sentence: str):
    file = tmp_path / "calibration.cache"
    file.write_text(f"TRT-8601-EntropyCalibration2\n{line}\n")
    done = qdq("cache", "import", file)
    if sentence:
        assert sentence in refused(done)
    else:
        assert done.code == 0


# check


def test_check_says_what_is_missing(space: Workspace, cache: Path, tmp_path: Path):
    other = tmp_path / "other.onnx"
    onnx.save(small_convnet(channels=1).proto("scores"), other)
    done = qdq("cache", "check", other, cache, "--json")
    assert done.code == 4
    report = done.document["report"]
    assert report["missing"] == ["images", "first_relu", "middle_relu", "total", "flat"]
    assert (report["fits"], report["same_model"]) == (False, False)
    text = qdq("cache", "check", other, cache)
    assert "lacks 5 of the 5 tensors" in text.err
    assert "missing       images" in text.out
    fine = qdq("cache", "check", space.model, cache, "--json").document
    assert (fine["fits"], fine["missing"], fine["needed"], fine["spare"]) == (True, [], 5, 1)
    assert qdq("cache", "check", space.model, cache, "--exclude", "first", "--json").document["spare"] == 2


def test_check_asks_for_what_a_target_needs(tmp_path: Path):
    """ONNX Runtime quantizes the average in front of the last product as well, which TensorRT does not need."""
    model, data = (
        REPOSITORY / "sample_models" / "digits_resnet.onnx",
        REPOSITORY / "sample_models" / "images" / "digits",
    )
    own, every = tmp_path / "own.qcal", tmp_path / "every.qcal"
    drawn = ("calibrate", model, "--calib", data, "--preprocess", "unit", "--samples", 16)
    assert qdq(*drawn, "-o", own).code == qdq(*drawn, "-o", every, "--every-target").code == 0
    for target in ("tensorrt", "onnxruntime"):
        assert qdq("cache", "check", model, every, "--target", target).code == 0
    assert qdq("cache", "check", model, own).code == 0
    lacking = qdq("cache", "check", model, own, "--target", "onnxruntime")
    assert lacking.code == 4
    assert "calibrate again with these, or with --every-target" in lacking.err
    written = ("--cache", own, "--target", "onnxruntime", "-o", tmp_path / "out.onnx")
    refused_one = qdq("quantize", model, *written)
    assert refused_one.code == 4
    assert "qdq calibrate --every-target serves every target" in refused_one.err
    assert qdq("quantize", model, "--cache", every, *written[2:]).code == 0


def test_ranges_go_out_as_a_target_needs_them(tmp_path: Path):
    """For CPUs both ends leave, and the scale of 8 bits with a zero point; TensorRT's are symmetric."""
    model, data = (
        REPOSITORY / "sample_models" / "digits_resnet.onnx",
        REPOSITORY / "sample_models" / "images" / "digits",
    )
    cache, out = tmp_path / "model.qcal", tmp_path / "out.json"
    made = ("--calib", data, "--preprocess", "unit", "--samples", 16, "--every-target", "-o", cache)
    assert qdq("calibrate", model, *made).code == 0
    name = "/2/Relu_output_0"
    exported = ("cache", "export", cache, "--format", "torch-json", "-o", out)
    assert qdq(*exported).code == 0
    symmetric = json.loads(out.read_text())[name]
    assert (symmetric["zero_point"], symmetric["scale"]) == (0, pytest.approx(symmetric["amax"] / 127))
    assert qdq(*exported, "--target", "onnxruntime").code == 0
    affine = json.loads(out.read_text())[name]
    assert affine["scale"] == pytest.approx((affine["maximum"] - affine["minimum"]) / 255)


def test_check_says_whether_a_cache_tells_what_a_float_type_has_to_know(space: Workspace, cache: Path, tmp_path: Path):
    """A cache without the small table of extremes serves --float-type fp16 where all follows from the histograms."""
    document = qdq("cache", "check", space.model, cache, "--json").document
    assert document["unbounded"] == {"fp16": [], "bf16": []}
    assert "float types   fp16 and bf16: nothing is missing" in qdq("cache", "check", space.model, cache).out
    model, data = tmp_path / "attention.onnx", tmp_path / "calib.npz"
    net = Network()
    net.input("x", (1, 8, 8))
    first = net.op("MatMul", "x", net.constant(net.weight(8, 8)), name="first")
    second = net.op("MatMul", first, first, name="second")
    onnx.save(net.proto(net.op("MatMul", second, second, name="third")), model)
    np.savez(data, x=np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32))
    assert qdq("calibrate", model, "--calib", data, "-o", tmp_path / "whole.qcal").code == 0
    whole = read_cache(tmp_path / "whole.qcal")
    write_cache(replace(whole, extremes={}), tmp_path / "less.qcal")
    assert qdq("cache", "check", model, tmp_path / "whole.qcal", "--json").document["unbounded"]["fp16"] == []
    less = qdq("cache", "check", model, tmp_path / "less.qcal", "-v")
    assert less.code == 0
    assert "fp16: the size of 1 tensor is not known; give --calib too" in less.out
    assert "third" in less.out.partition("fp16: the size")[2]


def test_check_of_ranges(space: Workspace, cache: Path, tmp_path: Path):
    file = tmp_path / "calibration.cache"
    assert qdq("cache", "export", cache, "--format", "tensorrt", "-o", file).code == 0
    document = qdq("cache", "check", space.model, file, "--json").document
    assert (document["kind"], document["fits"], document["samples"]) == ("ranges", True, None)
    file.write_text(file.read_text().replace("total:", "elsewhere:"))
    done = qdq("cache", "check", space.model, file)
    assert done.code == 4
    assert "missing       total" in done.out
    assert "2 more in the file" in done.out


def test_check_of_files_that_are_none(space: Workspace, tmp_path: Path):
    assert "cannot be read" in refused(qdq("cache", "check", space.model, tmp_path / "missing"))
    assert "cannot be read" in refused(qdq("cache", "check", space.model, tmp_path))
    empty = tmp_path / "empty"
    empty.touch()
    refused(qdq("cache", "check", space.model, empty))
    refused(qdq("cache", "check", empty, space.folder / "model.qcal"), 3)


# bad files: every command that reads a calibration cache says the same


def signed(body: bytes) -> bytes:
    import hashlib

    return body + hashlib.sha256(body).digest()


def with_nan(cache: Path) -> bytes:
    """A cache whose extremes are NaN, with a fitting checksum."""
    data = cache.read_bytes()
    amax = struct.pack("<f", read_cache(cache).entries["images"].histogram.maximum)
    return signed(data[:-32].replace(amax, struct.pack("<f", np.nan)))


BROKEN = {
    "is of format 8": lambda cache: signed(MAGIC + bytes([FORMAT_VERSION + 1]) + b"later"),
    "is damaged": lambda cache: cache.read_bytes()[:-5],
    "damaged": lambda cache: cache.read_bytes()[:99] + bytes([cache.read_bytes()[99] ^ 16]) + cache.read_bytes()[100:],
    "nan": with_nan,
    "number of samples": lambda cache: signed(MAGIC + b"\x01\x00\x00\x00" + b"\xff" * 8 + b"\x01"),
    "not a calibration cache": lambda cache: b"TRT-8601-EntropyCalibration2\n",
    "it does not begin as one": lambda cache: b"",
}


@pytest.mark.parametrize("sentence", BROKEN)
@pytest.mark.parametrize("command", ["show", "diff", "merge", "export", "quantize", "append"])
def test_a_file_that_is_no_cache(space: Workspace, cache: Path, tmp_path: Path, command: str, sentence: str):
    bad = tmp_path / "bad.qcal"
    content = BROKEN[sentence](cache)
    bad.write_bytes(content)
    output = tmp_path / "output"
    lines = {
        "show": ("cache", "show", bad),
        "diff": ("cache", "diff", cache, bad),
        "merge": ("cache", "merge", cache, bad, "-o", output),
        "export": ("cache", "export", bad, "--format", "json", "-o", output),
        "quantize": ("quantize", space.model, "--cache", bad, "-o", output),
        "append": ("calibrate", space.model, "--calib", space.arrays, "-o", bad, "--append"),
    }
    text = refused(qdq(*lines[command]))
    assert "bad.qcal" in text
    assert sentence in text
    assert bad.read_bytes() == content
    assert not output.exists()


@pytest.mark.parametrize(
    "text", ["imagenet, rgb", "{", '{"name": 3}', '{"name": "x", "color": "blue"}', "\n[1]", "\n{", '\n{"images": 3}']
)
def test_preprocessing_in_other_words_speaks_for_itself(cache: Path, tmp_path: Path, space: Workspace, text: str):
    odd = altered(cache, tmp_path / "odd.qcal", preprocessing=text)
    assert qdq("cache", "show", odd, "--json").document["preprocessing"] == text.replace("\n", " ")
    done = qdq("quantize", space.model, "--cache", odd, "-o", tmp_path / "output", "--json")
    assert (done.code, done.document["calibration"]["preprocessing"]) == (0, text.replace("\n", " "))
    long = altered(cache, tmp_path / "long.qcal", preprocessing="\x1b" + "a" * 3000)
    assert qdq("cache", "show", long, "--json").document["preprocessing"] == " " + "a" * 199 + "..."


def mutants(data: bytes, number: int, seed: int) -> list[bytes]:
    """Changed, inserted, removed and repeated pieces."""
    source = random.Random(seed)
    found = []
    for _ in range(number):
        mutant = bytearray(data)
        for _ in range(source.choice([1, 1, 2, 5])):
            at, length = source.randrange(len(mutant) + 1), source.choice([0, 1, 1, 2, 9])
            mutant[at : at + length] = source.choice([source.randbytes(length), b"", mutant[:length]])
        found.append(bytes(mutant))
    return found


def test_mutated_caches_never_crash_a_command(cache: Path, tmp_path: Path):
    table = read_cache(cache)
    small = encode_table(replace(table, entries={"flat": table.entries["flat"], "e": Entry(Histogram())}))
    bad, shown = tmp_path / "bad.qcal", 0
    for number, mutant in enumerate(mutants(small[:-32], 300, seed=5)):
        bad.write_bytes(signed(mutant))
        done = qdq("cache", "show", bad)
        if done.code == 0:
            shown += 1
            assert decode_table(signed(mutant)).entries.keys()
        else:
            assert "bad.qcal" in refused(done), number
    assert 0 < shown < 250


@pytest.mark.parametrize("kind", RANGE_FORMATS)
def test_mutated_ranges_are_refused_or_finite(cache: Path, tmp_path: Path, kind: str):
    file = tmp_path / "ranges"
    assert qdq("cache", "export", cache, "--format", kind, "-o", file).code == 0
    refused_count = 0
    for mutant in mutants(file.read_bytes(), 300, seed=6):
        file.write_bytes(mutant)
        try:
            ranges = read_ranges(file)
        except DataError as error:
            refused_count += 1
            assert error.message.endswith(".")
            assert error.hint.endswith((".", "?"))
            continue
        assert all(0 <= kept.amax <= np.finfo(np.float32).max for kept in ranges.values())
    assert 30 < refused_count < 300


def test_the_same_tensors_as_tensorrt_would_list(space: Workspace, tmp_path: Path):
    everything = tmp_path / "all.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "--all-tensors", "-o", everything).code == 0
    file = tmp_path / "calibration.cache"
    assert qdq("cache", "export", everything, "--format", "tensorrt", "-o", file).code == 0
    graph = onnx.load(space.model).graph
    tensors = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    assert set(parse_tensorrt_cache(file.read_text()).scales) == tensors


UNMATCHED = ("None of the 2 names in the table is one of the", "'/first_relu_output'", "'x.1'", "Near names:")


def other_names(folder: Path) -> Path:
    """A table of which no name is one of the model's, with a header of another spelling."""
    file = folder / "other.cache"
    file.write_bytes(b"# by hand\r\ntrt-8XXX-EntropyCalibration2\r\n/first_relu_output: 3c010204\r\nx.1: 3c010204\r\n")
    return file


def test_a_table_of_which_no_name_matches_says_so_first(space: Workspace, tmp_path: Path):
    table = other_names(tmp_path)
    for arguments in (
        ("quantize", space.model, "--ranges", table, "-o", tmp_path / "q.onnx"),
        ("cache", "check", space.model, table),
    ):
        done = qdq(*arguments)
        assert done.code == 4
        assert [words for words in UNMATCHED if words not in done.err] == []
        assert "'first_relu' in the model" in done.err
    imported = qdq("cache", "import", table, "-o", tmp_path / "r.json", "--json")
    assert imported.code == 0, imported.err
    assert set(imported.document["ranges"]) == {"/first_relu_output", "x.1"}
    assert imported.document["header"] == "trt-8XXX-EntropyCalibration2"


def test_fix_refuses_a_table_of_another_model(space: Workspace, cache: Path, tmp_path: Path):
    quantized = tmp_path / "q.onnx"
    assert qdq("quantize", space.model, "--cache", cache, "-o", quantized).code == 0
    done = qdq("fix", quantized, "--ranges", other_names(tmp_path), "-o", tmp_path / "fixed.onnx")
    assert [words for words in UNMATCHED if words not in refused(done)] == []
    assert not (tmp_path / "fixed.onnx").exists()


def test_a_pipe_is_no_table_and_no_cache(space: Workspace, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (("cache", "show", tmp_path / "pipe"), ("cache", "import", tmp_path / "pipe")):
        assert "it is a named pipe" in refused(qdq(*arguments))
