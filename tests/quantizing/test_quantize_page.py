"""`qdq quantize --report`: the page says what the run found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibrators import Histogram, mse
from calibrators.methods.mse import best_sqnr_db, sqnr_db_at
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.record import Use, WeightTarget
from qdq_cli.preparing.prepare import prepare
from qdq_cli.quantizing.page_weights import weight_rows
from qdq_cli.screen.page_text import number
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.screen.sample import Reader
from tests.workspace import SIDE, Workspace, make_workspace, qdq, small_convnet


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("pages"))


def page_of(space: Workspace, *options: object) -> Reader:
    target = space.folder / "page.html"
    done = space.quantize("--report", target, *options)
    assert done.code == 0, done.err
    return Reader(target.read_text(encoding="utf-8"))


def headings(reader: Reader) -> list[str]:
    """The links to the sections, in order."""
    count = sum(value.startswith("#s") for value in reader.values("href"))
    start = reader.texts.index("Summary")
    return reader.texts[start : start + count]


def test_the_page_of_a_run(space: Workspace):
    reader = page_of(space)
    assert headings(reader) == [
        "Summary",
        "Verification",
        "What the model saw",
        "Graph",
        "Cost by type",
        "Predicted TensorRT layers",
        "Error of each activation",
        "Activations",
        "Weights",
        "Kept float",
    ]
    for tensor in ("images", "first_relu", "middle_relu", "total"):
        assert tensor in reader.texts, f"no histogram of {tensor}"
    assert "badge int8" in reader.values("class")
    assert "badge standalone" in reader.values("class")
    assert "stand-alone Q" in reader.texts
    assert reader.text.count("16 channels") == 3
    assert "10 channels" in reader.text


def test_the_page_of_a_dry_run_shows_the_plan(space: Workspace):
    reader = page_of(space, "--dry-run", "--exclude", "middle")
    assert headings(reader) == [
        "Summary", "Graph", "Cost by type", "Predicted TensorRT layers", "Weights", "Kept float"
    ]  # fmt: skip
    assert "EXCLUDED" in reader.texts
    assert "badge float" in reader.values("class")
    assert "Quantization plan" in reader.texts


SATURATED = ("--range", "images=0.001", "--range", "first_relu=0.001", "--samples", "4", "--verify", "6")


@pytest.mark.parametrize("limit", [("--min-sqnr", "190"), ("--min-agreement", "100", *SATURATED)])
def test_a_limit_that_is_not_met_still_has_its_page(tmp_path: Path, limit: tuple[str, ...]):
    space = make_workspace(tmp_path)
    target = space.folder / "page.html"
    done = space.quantize("--report", target, *limit)
    assert done.code == 5 and not space.output.exists()
    assert str(target) in done.err
    reader = Reader(target.read_text(encoding="utf-8"))
    start = reader.texts.index("bad")
    assert start < reader.texts.index("quantized")
    assert f"{limit[0]} is {limit[1]}" in reader.texts[start + 1] and "No model was written" in reader.texts[start + 1]
    assert "not written" in reader.texts and str(space.output) not in reader.text
    assert {"Verification", "Predicted TensorRT layers", "Activations", "Weights"} <= {*headings(reader)}


@pytest.mark.parametrize("form", ["int8", "int8-compat"])
def test_weights_are_measured_before_they_are_stored_as_integers(space: Workspace, form: str):
    rows = [text for text in page_of(space).texts if " to " in text and "(" in text]
    assert rows
    assert [text for text in page_of(space, "--weights", form).texts if " to " in text and "(" in text] == rows


def test_a_second_run_writes_the_same_bytes(space: Workspace):
    pages = [space.folder / name for name in ("one.html", "two.html")]
    for page in pages:
        assert space.quantize("--report", page).code == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_ranges_by_hand_have_no_histogram(space: Workspace):
    reader = page_of(space, "--range", "first_relu=2.5")
    assert "1 scale without a histogram: the range was known or given." in reader.texts


def test_without_verification_there_is_no_such_section(space: Workspace):
    assert "Verification" not in headings(page_of(space, "--verify", "0"))


def test_a_page_that_would_replace_the_model_is_refused(space: Workspace):
    for options in (("--report", space.model), ("--report", "x.html", "-o", "x.html")):
        done = space.quantize(*options)
        assert done.code == 2
        assert "--report" in done.err
    onnx.checker.check_model(onnx.load(space.model))


def test_a_page_without_a_folder_is_refused_before_the_work(space: Workspace):
    done = space.quantize("--report", space.folder / "none" / "page.html", "-o", space.folder / "never.onnx")
    assert done.code == 2
    assert "does not exist" in done.err
    assert not (space.folder / "never.onnx").exists()


def test_names_of_a_strange_model_are_text(tmp_path: Path):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    first = net.relu(net.conv(x, 16, "<script>alert(1)</script>", scale=None), '"><img src=x onerror=alert(1)>')
    net.conv(first, 16, "scores", scale=None)
    reader = page_of(make_workspace(tmp_path, net.proto("scores")))
    assert "<script>alert(1)</script>" in reader.text
    assert '"><img src=x onerror=alert(1)>' in reader.texts
    assert reader.tags.count("script") == 3, "of tables, of graphs, and the data of the graph"
    assert all(src.startswith("data:image/png;base64,") for src in reader.values("src")), "what the model saw"


def test_a_model_without_weighted_operators_has_a_page(tmp_path: Path):
    net = Network()
    net.relu(net.input("images", ("N", 3, SIDE, SIDE)), "out")
    reader = page_of(make_workspace(tmp_path, net.proto("out")))
    assert "Nothing to show." in reader.text


def deep_convnet(blocks: int) -> onnx.ModelProto:
    """As many convolutions as a ResNet-50 has, with names as long as exporters make them."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "stem", scale=None))
    for block in range(blocks):
        name = f"/backbone/stages/stages.{block}/blocks/bottleneck"
        first = net.relu(net.conv(x, 16, f"{name}/conv1/Conv", scale=None), f"{name}/relu1/Relu_output_0")
        second = net.relu(net.conv(first, 16, f"{name}/conv2/Conv", scale=None), f"{name}/relu2/Relu_output_0")
        third = net.conv(second, 16, f"{name}/conv3/Conv", scale=None)
        x = net.relu(net.add(third, x, f"{name}/Add"), f"{name}/relu3/Relu_output_0")
    return net.proto(x)


def test_the_page_of_a_network_as_deep_as_resnet50_stays_small(tmp_path: Path):
    space = make_workspace(tmp_path, deep_convnet(16))
    page_of(space, "--verify", "2", "--samples", "4")
    assert (space.folder / "page.html").stat().st_size < 300_000


# weights


def rows_of(model: onnx.ModelProto, array: np.ndarray, axis: int | None):
    """The row of one weight, whatever it is."""
    loaded = ir.serde.deserialize_model(model)
    name = next(iter(loaded.graph.initializers))
    loaded.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    plan = make_plan(prepare(ir.serde.deserialize_model(model)).model, TENSORRT)
    target = WeightTarget(name, Use("node", 1), axis)
    return weight_rows(loaded, Plan(plan.targets, (target, target), plan.groups, (), (), 0, (), target=TENSORRT))


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return small_convnet().proto("scores")


def test_the_row_of_a_weight(small: onnx.ModelProto):
    array = np.ones((8, 4, 3, 3), np.float32) * np.arange(1, 9, dtype=np.float32)[:, None, None, None]
    array[:, 0] *= -1
    array[7] *= 100
    (row,) = rows_of(small, array, 0)
    assert (row.label, row.note) == ("node", "8 channels")
    assert row.quantiles == pytest.approx((1, 2.75, 4.5, 6.25, 800))
    assert row.outliers == (("channel 7", 800.0),)


def test_channels_that_are_zero_do_not_count(small: onnx.ModelProto):
    array = np.array([[0.0, 0.0], [1e-42, 0.0], [2.0, -3.0]], np.float32)
    (row,) = rows_of(small, array, 0)
    assert row.quantiles == (3.0,) * 5
    assert row.note == "3 channels, 2 of them zero or next to it"
    (row,) = rows_of(small, np.zeros((2, 2), np.float32), 0)
    assert row.quantiles == (0.0,) * 5


def test_a_weight_with_one_scale_is_one_number(small: onnx.ModelProto):
    (row,) = rows_of(small, np.array([[1.0, -5.0]], np.float16), None)
    assert (row.quantiles, row.note) == ((5.0,) * 5, "one scale")


def test_a_weight_with_nan_has_a_row_that_says_so(small: onnx.ModelProto):
    (row,) = rows_of(small, np.array([[math.nan, 1.0]], np.float32), 0)
    assert row.note == "holds NaN or Inf"


# the error of an activation


def test_the_sqnr_at_a_range_is_the_one_of_quantizing_with_it():
    values = np.random.default_rng(0).laplace(size=200_000).astype(np.float32)
    histogram = Histogram()
    histogram.observe(values)
    for amax in (2.0, 6.0, 14.0):
        scale = amax / 127
        error = np.clip(np.rint(values / scale), -128, 127) * scale - values
        measured = 10 * math.log10(float(np.sum(values**2)) / float(np.sum(error**2)))
        assert sqnr_db_at(histogram, amax) == pytest.approx(measured, abs=0.15)
    assert sqnr_db_at(histogram, mse(histogram).amax) == pytest.approx(best_sqnr_db(histogram))


def test_the_layers_are_those_that_inspect_predicts(space: Workspace):
    reader = page_of(space)
    summary = qdq("inspect", space.output, "--json").document["summary"]
    assert f"{summary['quantized_macs_percent']:.1f} % of {number(summary['macs'] / 1e6)} M" in reader.texts
    assert f"{summary['quantized_traffic_percent']:.1f} % of the activation elements moved" in reader.texts
