"""`qdq compare` as its user meets it: outputs, layers, limits, bad input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tests.comparing.models import chain, write_samples
from tests.networks import Network
from tests.quantizing.test_verification import heads, samples, space_with
from tests.workspace import Outcome, Workspace, qdq, small_convnet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model, two quantized ones of which one has a bad layer, and samples."""
    folder = tmp_path_factory.mktemp("models with a space")
    onnx.save(chain(quantized=False), folder / "float.onnx")
    onnx.save(chain(), folder / "good.onnx")
    onnx.save(chain(scales={"b": 2.0**-9}), folder / "bad.onnx")
    write_samples(folder / "data.npz")
    return folder


def compare(folder: Path, quantized: str, *options: object, reference: str = "float") -> Outcome:
    data = () if "--data" in options else ("--data", folder / "data.npz")
    return qdq("compare", folder / f"{reference}.onnx", folder / f"{quantized}.onnx", *data, *options)


def test_the_outputs(folder):
    done = compare(folder, "good")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    head = next(line for line in lines if line.startswith("output"))
    assert head.split() == ["output", "SQNR", "dB", "cosine", "max", "error", "top-1", "%", "top-5", "%", "KL"]
    assert next(line for line in lines if line.startswith("scores "))
    assert lines[-1] == "              interval 54.1 to 100"
    assert all(len(line) <= 80 for line in lines if str(folder) not in line)


def test_layers_name_the_bad_one_and_what_to_do(folder):
    done = compare(folder, "bad", "--layers")
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    assert "starts at Conv b:" in text
    assert "activation, clipping" in text
    assert "'a_relu' is cut at 0.2" in text
    assert "--exclude b" in text
    assert all(len(line) <= 80 for line in done.out.splitlines() if str(folder) not in line)


def test_weights_that_are_rounded_are_to_be_recovered_first(folder, tmp_path):
    coarse = tmp_path / "coarse.onnx"
    onnx.save(chain(weight_scales={"b": 2.0**-4}), coarse)
    done = qdq("compare", folder / "float.onnx", coarse, "--data", folder / "data.npz", "--layers")
    assert done.code == 0, done.err
    assert "weights, rounding" in done.out
    recover, keep = done.out.splitlines()[-2:]
    assert recover.endswith("--calib ... --recover")
    assert keep.endswith("--calib ... --exclude b")


def test_top_and_verbose(folder):
    done = compare(folder, "bad", "--layers", "--top", "1")
    assert "... and 2 layers more (-v, --top)" in done.out
    full = compare(folder, "bad", "--layers", "-v").out
    assert "a_relu" in full and "pool" in full and "... and" not in full


def test_json_is_one_document_with_the_records_keys(folder):
    found = compare(folder, "bad", "--layers", "--json").document
    assert next(iter(found)) == "schema_version"
    scores = found["outputs"]["scores"]
    assert {"sqnr_db", "cosine", "max_error", "top1_agreement", "top5_agreement", "softmax_kl"} <= set(scores)
    first = found["layers"]["ranked"][0]
    assert {"tensor", "node", "accumulated", "local", "cause", "dead"} <= set(first)
    assert (first["node"], first["cause"]["origin"], first["cause"]["kind"]) == ("b", "activation", "clipping")
    assert compare(folder, "good", "--json").document["layers"] is None


def test_a_page(folder, tmp_path):
    page = tmp_path / "page.html"
    assert compare(folder, "bad", "--layers", "--report", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert re.search(r'<li id="\w+" class="mark"><span>Conv b</span>', text)
    assert re.search(r'<tr id="\w+" class="mark"><td><a [^>]*data-node="b">Conv b</a></td>', text)
    assert ">Graph</h2>" in text and '<script type="application/json">' in text
    assert "damage starts here" in text and "is cut at" in text and "scores" in text
    assert "--calib ... --exclude b" in text, "what to try is said at the top, as on the terminal"
    assert "top-1, %" in text
    assert compare(folder, "good", "--report", page).code == 0
    assert "Layers in order" not in page.read_text(encoding="utf-8")
    refused = compare(folder, "good", "--report", folder / "good.onnx")
    assert refused.code == 2
    assert onnx.load(folder / "good.onnx").graph.node


def test_quiet_says_nothing(folder):
    done = compare(folder, "good", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_limits(folder):
    assert compare(folder, "good", "--min-sqnr", "10", "--min-agreement", "50").code == 0
    missed = compare(folder, "bad", "--min-sqnr", "100")
    assert missed.code == 5
    assert "Output 'scores' reaches an SQNR of" in missed.err and "--layers says so" in missed.err
    assert "scores" in missed.out, "what was found is shown all the same"


def test_what_quantize_writes_is_compared_as_it_verifies(space: Workspace):
    for form in ("pairs", "int8-regions"):
        assert space.quantize("--form", form, "--weights", "int8").code == 0
        done = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers", "--json")
        assert done.code == 0, done.err
        layers = done.document["layers"]["ranked"]
        own = {entry["node"]: entry["local"]["sqnr_db"] for entry in layers if entry["local"]}
        assert {"first", "middle", "second", "scores"} <= set(own)
        assert min(own.values()) > 15


def test_default_number_of_samples(folder, tmp_path):
    data = write_samples(tmp_path / "many.npz", 100)
    assert compare(folder, "good", "--json", "--data", data).document["samples"] == 64
    assert compare(folder, "good", "--json", "--data", data, "--samples", "70").document["samples"] == 70


def test_data_are_wanted(folder):
    done = qdq("compare", folder / "float.onnx", folder / "good.onnx")
    assert done.code == 2
    assert "--data" in done.err


def other(folder: Path, net: Network, *outputs: str) -> str:
    onnx.save(net.proto(*outputs), folder / "other.onnx")
    return "other"


def test_another_input(folder):
    done = compare(folder, other(folder, small_convnet(), "scores"))
    assert done.code == 3
    assert (
        "The input 'images' is float Nx16x8x8 in the reference and float Nx3x16x16 in the quantized model." in done.err
    )
    assert "hint: Compare a model with the one it was quantized from" in done.err


def test_another_input_name_and_an_added_input(folder):
    net = Network()
    done = compare(folder, other(folder, net, net.relu(net.input("pixels", ("N", 16, 8, 8)), "scores")))
    assert done.code == 3
    assert "The reference's input 'images' is not one of the quantized model's: 'pixels'." in done.err
    net = Network()
    x = net.add(net.input("images", ("N", 16, 8, 8)), net.input("more", ("N", 16, 8, 8)))
    done = compare(folder, other(folder, net, net.relu(x, "scores")))
    assert done.code == 3
    assert "has an input 'more' that the reference lacks" in done.err


def test_another_output(folder):
    net = Network()
    done = compare(folder, other(folder, net, net.relu(net.input("images", ("N", 16, 8, 8)), "out")))
    assert done.code == 3
    assert "The reference's output 'scores' is not one of the quantized model's: 'out'." in done.err


def test_no_shared_tensor(folder):
    net = Network()
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.pair(net.input("images", ("N", 16, 8, 8)))))
    net.gemm(pooled, 16, 8, "scores", scale=None)
    name = other(folder, net, "scores")
    assert compare(folder, name).code == 0
    done = compare(folder, name, "--layers")
    assert done.code == 3
    assert "share no tensor besides their inputs and outputs" in done.err
    assert "hint:" in done.err


def test_a_float_model_as_the_second(folder):
    done = compare(folder, "float", "--layers")
    assert done.code == 0
    assert "quantizes nothing" in done.err
    assert "equal" in done.out
    assert "none is computed from quantized tensors" in done.out


def test_a_model_of_another_precision_lists_what_has_accumulated(folder, tmp_path):
    """Nothing of an FP16 model is quantized; where it goes wrong is asked all the same."""
    model = onnx.load(folder / "float.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "b_w":
            array = numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(numpy_helper.from_array(array, "b_w"))
    onnx.save(model, tmp_path / "other.onnx")
    done = qdq("compare", folder / "float.onnx", tmp_path / "other.onnx", "--data", folder / "data.npz", "--layers")
    rows = [line.split() for line in done.out.splitlines() if line.startswith("       ")]
    assert ["40.0", "Conv", "b"] in rows and rows[-1] == ["equal", "a_relu"]
    page = tmp_path / "page.html"
    assert compare(folder, "float", "--layers", "--report", page).code == 0
    assert re.search(r"<li[^>]*><span>Conv b</span>", page.read_text(encoding="utf-8"))


def test_data_that_do_not_fit(folder, tmp_path):
    np.savez(tmp_path / "wrong.npz", images=np.zeros((2, 5, 8, 8), np.float32))
    done = compare(folder, "good", "--data", tmp_path / "wrong.npz")
    assert done.code == 4
    assert "Traceback" not in done.err
    assert compare(folder, "good", "--data", tmp_path / "nothing").code == 4


@pytest.mark.parametrize("reference", ["float", "missing"])
def test_a_model_that_is_not_there_or_none(folder, reference):
    (folder / "text.onnx").write_text("not a model")
    done = compare(folder, "text", reference=reference)
    assert done.code == 3
    assert "Traceback" not in done.err


def test_a_size_that_depends_on_values_is_counted(folder, tmp_path):
    """NonZero finds as many elements as are not zero: another number in each model."""

    def net(scale: float | None) -> onnx.ModelProto:
        net = Network()
        x = net.input("images", (1, 16, 8, 8))
        y = net.relu(x if scale is None else net.pair(x, scale), "y")
        found = net.op("Cast", net.op("NonZero", y, name="places"), name="out", to=TensorProto.FLOAT)
        return net.proto(net.relu(y, "z"), found)

    onnx.save(net(None), tmp_path / "float.onnx")
    onnx.save(net(1.0), tmp_path / "quantized.onnx")
    np.savez(tmp_path / "data.npz", images=np.random.default_rng(0).normal(size=(3, 16, 8, 8)).astype(np.float32))
    done = compare(tmp_path, "quantized", "--layers", "--json", "--data", tmp_path / "data.npz")
    assert done.code == 0, done.err
    assert (done.document["not_compared"], "out" in done.document["outputs"]) == ([], False)
    rows = done.document["rows"]["out"]
    assert rows["fp32"] > rows["quantized"] > 0 and rows["matched"] is None
    limited = compare(tmp_path, "quantized", "--min-sqnr", "1", "--data", tmp_path / "data.npz")
    assert (limited.code, "'out' cannot be held against a limit" in limited.err) == (5, True)
    assert done.document["layers"]["not_compared"] == ["out"]


def test_low_outputs_come_first_with_their_cause(tmp_path: Path):
    space = space_with(tmp_path, heads(3, spoiled=2), **samples(narrow=0.02))
    assert space.quantize().code == 0
    given = ["compare", space.model, space.output, "--data", space.arrays]
    page = tmp_path / "page.html"
    shown = qdq(*given, "--report", page).out
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("head_")] == [
        "head_2",
        "head_0",
        "head_1",
    ]
    assert "low 'head_2': most of the error is of values between two codes; try --recover" in " ".join(shown.split())
    assert "head_2 is low: most of the error" in page.read_text(encoding="utf-8")


def test_the_cause_of_a_low_output_is_in_json(tmp_path: Path):
    space = space_with(tmp_path, heads(2, spoiled=-1), **samples())
    given = ["compare", space.model, space.output, "--data", space.arrays, "--json"]
    for options, reasons in ((("--range", "x=0.2"), {"CLIPPED"}), (("--range", "x=400"), {"ROUNDED"}), ((), set())):
        assert space.quantize(*options).code == 0
        assert {low["reason"] for low in qdq(*given).document["low"].values()} == reasons


def test_a_low_output_of_operators_on_codes_has_no_cause_found(tmp_path: Path):
    space = space_with(tmp_path, heads(1, spoiled=-1), **samples())
    other = onnx.load(space.model)
    for weight in other.graph.initializer:  # nothing is quantized, and yet it is another network
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(other, tmp_path / "other.onnx")
    done = qdq("compare", space.model, tmp_path / "other.onnx", "--data", space.arrays, "--json")
    assert {low["reason"] for low in done.document["low"].values()} == {"UNKNOWN"}


def test_near_silent_samples_are_said(tmp_path: Path):
    values = samples()["x"]
    values[: len(values) // 2] *= 1e-4
    space = space_with(tmp_path, heads(1, spoiled=-1), x=values)
    assert space.quantize().code == 0
    done = qdq("compare", space.model, space.output, "--data", space.arrays)
    assert f"{len(values) // 2} of {len(values)} samples near-silent and left out" in " ".join(done.out.split())
