"""From a calibration table, or from Q/DQ of weak typing, to a model for TensorRT 11."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibrators import read_cache
from qdq_cli import DataConfig, MigrateConfig, MigrationReport, migrate_model
from qdq_cli.process.errors import DataError, ModelError, UsageError
from tests.networks import Network
from tests.workspace import REPOSITORY, SIDE, Workspace, make_workspace, qdq

FOREIGN = REPOSITORY / "tests" / "foreign"


def make_table(space: Workspace, *, lacking: str = "", more: str = "") -> Path:
    """The table that TensorRT would have written for the model, without the tensors of a pattern."""
    cache, table = space.folder / "all.qcal", space.folder / "old.cache"
    if not cache.exists():
        assert qdq("calibrate", space.model, "--calib", space.arrays, "--all-tensors", "-o", cache, "-q").code == 0
    assert qdq("cache", "export", cache, "--format", "tensorrt", "-o", table, "-q").code == 0
    head, *lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not (lacking and re.match(lacking, line))]
    table.write_text("".join((head, *kept)) + more, encoding="utf-8")
    return table


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("migrate"))


def migrated(space: Workspace, table: Path | None, output: Path, **options: object) -> MigrationReport:
    return migrate_model(MigrateConfig(space.model, cache=table, output=output, **options))  # type: ignore[arg-type]


def types_of(path: Path) -> set[int]:
    """Element types of the constants of a file."""
    return {tensor.data_type for tensor in onnx.load(path).graph.initializer}


MADE = "(Unnamed Layer* 64) [Shuffle]_output: 3b810204\nfirst_w_output: 3b810204\nelsewhere: 3b810204\n"


def test_a_table_becomes_pairs_with_its_scales_around_an_fp16_rest(space: Workspace, tmp_path: Path):
    table = make_table(space, more=MADE)
    report = migrated(space, table, tmp_path / "out.onnx")
    used = report.table
    assert used is not None
    assert (used.header, used.lacking, used.left_float) == ("TRT-8601-EntropyCalibration2", (), ())
    assert used.importers == ("(Unnamed Layer* 64) [Shuffle]_output", "first_w_output")
    assert used.unknown == ("elsewhere",)
    assert used.ranges == len(used.matched) + 3
    assert report.weighted_ops.quantized == report.weighted_ops.total == 4
    assert report.rest is not None
    assert report.rest.float_type == "fp16"
    assert {kept.node for kept in report.rest.kept} <= {"pool"}  # whose sum is large
    assert report.findings == ()
    assert [build.releases for build in report.builds] == ["TensorRT 10", "TensorRT 11"]
    assert report.compared is not None
    assert (report.compared.against, report.compared.random) == ("FP32 rest", True)
    assert report.compared.outputs["scores"].sqnr_db > 20
    assert any("--calib FOLDER checks it" in note for note in report.notes)


def test_the_scales_are_those_of_the_table(space: Workspace, tmp_path: Path):
    table = make_table(space)
    report = migrated(space, table, tmp_path / "out.onnx", float_type="fp32")
    assert report.compared is None  # the same model twice says nothing
    assert any("--calib FOLDER does" in note for note in report.notes)
    entries = read_cache(space.folder / "all.qcal").entries
    assert len(entries) > 8
    bits = dict(line.rsplit(": ", 1) for line in table.read_text(encoding="utf-8").splitlines()[1:])
    graph = onnx.load(tmp_path / "out.onnx").graph
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    checked = 0
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in bits and scales[node.input[1]].ndim == 0:
            shared = scales[node.input[1]]
            assert shared >= np.frombuffer(bytes.fromhex(bits[node.input[0]].zfill(8)), ">f4")[0]  # a group has one
            checked += 1
    assert checked > 3
    assert TensorProto.FLOAT16 not in types_of(tmp_path / "out.onnx")


def test_what_lacks_a_range_stays_float_as_in_the_old_build(space: Workspace, tmp_path: Path):
    report = migrated(space, make_table(space, lacking="middle_relu:"), tmp_path / "out.onnx")
    assert report.table is not None
    assert report.table.lacking == ("middle_relu",)
    assert report.table.left_float == ("second",)
    assert report.weighted_ops.quantized == 3
    assert "second" not in {change.node for change in report.changes}  # it was float before


def test_samples_give_what_the_table_lacks(space: Workspace, tmp_path: Path):
    table = make_table(space, lacking="middle_relu:")
    report = migrated(space, table, tmp_path / "out.onnx", data=DataConfig(calib=(space.arrays,)))
    assert report.table is not None
    assert (report.table.lacking, report.table.left_float) == ((), ())
    assert report.weighted_ops.quantized == 4
    assert report.compared is not None
    assert (report.compared.against, report.compared.random) == ("float model", False)
    assert report.compared.outputs["scores"].sqnr_db > 20


def test_what_ran_in_int8_before_and_is_float_now_is_listed_with_its_reason(tmp_path: Path):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    x = net.conv(x, 16, "first", scale=None)
    tall = net.op("Transpose", net.op("Softmax", x, name="soft"), name="moved", perm=[0, 1, 3, 2])
    alone = net.op("Sigmoid", tall, name="alone")
    flat = net.op("Flatten", net.op("GlobalAveragePool", alone, name="pool"), name="flat")
    net.gemm(flat, 16, 10, "scores", scale=None)
    space = make_workspace(tmp_path, net.proto("scores"))
    report = migrated(space, make_table(space), tmp_path / "out.onnx")
    codes = {change.node: change.code for change in report.changes}
    assert codes == {"moved": "R4", "alone": "P15", "pool": "POOL_FLOAT"}
    assert all(change.reason for change in report.changes)
    for code in codes.values():
        assert qdq("explain", code).code == 0


def make_branching(folder: Path) -> Workspace:
    """A network that is all in the branches of an If."""
    weight = numpy_helper.from_array(np.eye(32, dtype=np.float32), "weight")
    branches = {}
    for name in ("then", "else"):
        nodes = [helper.make_node("MatMul", ["x", "weight"], [f"{name}_product"], name=f"{name}_product")]
        nodes.append(helper.make_node("Relu", [f"{name}_product"], [f"{name}_out"], name=f"{name}_relu"))
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [4, 32])
        branches[f"{name}_branch"] = helper.make_graph(nodes, name, [], [out])
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["data"], ["x"], name="enter"),
            helper.make_node("If", ["choice"], ["scores"], name="either", **branches),
        ],
        "branching",
        [
            helper.make_tensor_value_info("data", TensorProto.FLOAT, [4, 32]),
            helper.make_tensor_value_info("choice", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [4, 32])],
        [weight],
    )
    return make_workspace(folder, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_operators_in_a_body_that_ran_in_int8_still_do(tmp_path: Path):
    space, table = make_branching(tmp_path), tmp_path / "old.cache"
    names = ("data", "x", "then_product", "then_out", "else_product", "else_out", "scores")
    lines = "".join(f"{name}: 3c010204\n" for name in names)
    table.write_text(f"TRT-8503-EntropyCalibration2\n{lines}", encoding="utf-8")
    done = qdq("migrate", space.model, "--cache", table, "-o", tmp_path / "out.onnx", "--json")
    assert done.code == 0, done.err
    assert done.document["weighted_ops"] == {"total": 2, "quantized": 2}
    assert done.document["changes"] == []


def test_two_runs_give_the_same_bytes(space: Workspace, tmp_path: Path):
    table = make_table(space)
    for name in ("one", "other"):
        migrated(space, table, tmp_path / f"{name}.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_a_qat_export_keeps_its_pairs_where_they_are(tmp_path: Path):
    report = migrate_model(MigrateConfig(FOREIGN / "qat_resnet.onnx", output=tmp_path / "out.onnx"))
    before, after = (onnx.load(path).graph for path in (FOREIGN / "qat_resnet.onnx", tmp_path / "out.onnx"))

    def count(graph: onnx.GraphProto, op_type: str) -> int:
        return sum(node.op_type == op_type for node in graph.node)

    assert [count(after, kind) for kind in ("QuantizeLinear", "Conv")] == [
        count(before, kind) for kind in ("QuantizeLinear", "Conv")
    ]
    assert {entry.rule for entry in report.repairs} == {"A2", "A8"}
    assert report.table is None
    assert report.changes == ()
    assert report.rest is not None
    assert report.compared is not None
    assert report.compared.against == "model as it came"
    assert report.compared.outputs and min(found.sqnr_db for found in report.compared.outputs.values()) > 30
    assert TensorProto.FLOAT16 in types_of(tmp_path / "out.onnx")


def test_what_11_still_refuses_is_listed(tmp_path: Path):
    done = qdq("migrate", FOREIGN / "ort_defaults.onnx", "-o", tmp_path / "out.onnx")
    assert done.code == 0, done.err
    assert "E_ZP_NONZERO" in done.out
    assert "--trt 11" in done.out


def test_a_model_of_16_bit_floats_keeps_its_type(space: Workspace, tmp_path: Path):
    migrated(space, make_table(space), tmp_path / "half.onnx")
    again = migrate_model(MigrateConfig(tmp_path / "half.onnx", output=tmp_path / "again.onnx"))
    assert again.rest is None
    assert again.compared is not None
    assert all(found.equal for found in again.compared.outputs.values())


# what is refused


def refused(space: Workspace, output: Path, error: type[Exception], **options: object) -> tuple[str, str]:
    with pytest.raises(error) as raised:
        migrate_model(MigrateConfig(**{"model": space.model, "output": output, **options}))  # type: ignore[arg-type]
    assert not output.exists()
    return raised.value.message, raised.value.hint  # type: ignore[attr-defined]


def test_a_table_of_no_matching_name(space: Workspace, tmp_path: Path):
    table = tmp_path / "other.cache"
    table.write_text("TRT-8503-EntropyCalibration2\n/first_relu_output: 3c010204\nx.1: 3c010204\n", encoding="utf-8")
    message, hint = refused(space, tmp_path / "out.onnx", DataError, cache=table)
    assert "None of the 2 names" in message
    assert "'first_relu' in the model" in hint


def test_a_table_that_shares_nothing_but_inputs_and_outputs(space: Workspace, tmp_path: Path):
    table = tmp_path / "other.cache"
    text = "TRT-8503-EntropyCalibration2\nimages: 3c010204\nscores: 3c010204\nx.1: 3c010204\n"
    table.write_text(text, encoding="utf-8")
    message, _ = refused(space, tmp_path / "out.onnx", DataError, cache=table)
    assert "images, scores alone, its inputs and outputs" in message


def test_a_table_that_lacks_most_of_the_tensors(space: Workspace, tmp_path: Path):
    message, hint = refused(space, tmp_path / "out.onnx", DataError, cache=make_table(space, lacking="(?!first_relu:)"))
    assert re.search(r"lacks \d+ of the \d+ tensors", message)
    assert "--calib FOLDER --trt 11" in hint


def test_a_calibration_cache_of_our_own(space: Workspace, tmp_path: Path):
    make_table(space)
    _, hint = refused(space, tmp_path / "out.onnx", DataError, cache=space.folder / "all.qcal")
    assert "qdq quantize MODEL --cache FILE --trt 11" in hint


def test_a_table_beside_q_and_dq_and_none_beside_a_float_model(space: Workspace, tmp_path: Path):
    table = make_table(space)
    pairs = FOREIGN / "qat_resnet.onnx"
    message, _ = refused(space, tmp_path / "out.onnx", UsageError, model=pairs, cache=table)
    assert "holds Q/DQ" in message
    message, hint = refused(space, tmp_path / "out.onnx", UsageError)
    assert "is a float model" in message
    assert "--cache" in hint
    message, _ = refused(space, tmp_path / "out.onnx", UsageError, model=pairs, weights="int8")
    assert "--weights" in message


def test_another_float_type_than_the_one_the_model_has(space: Workspace, tmp_path: Path):
    migrated(space, make_table(space), tmp_path / "half.onnx")
    message, _ = refused(space, tmp_path / "out.onnx", ModelError, model=tmp_path / "half.onnx", float_type="bf16")
    assert "FP16 already" in message


def test_the_input_is_never_written_over(space: Workspace, tmp_path: Path):
    assert qdq("migrate", space.model, "--cache", make_table(space), "-o", space.model).code == 2
    assert (
        qdq("migrate", space.model, "--cache", space.folder / "old.cache", "-o", space.folder / "old.cache").code == 2
    )
    assert tmp_path.exists()


def test_the_summary_and_the_document_say_the_same(space: Workspace, tmp_path: Path):
    table = make_table(space, lacking="middle_relu:", more=MADE)
    arguments = ("migrate", space.model, "--cache", table, "-o", tmp_path / "out.onnx")
    shown, document = qdq(*arguments, "-v"), qdq(*arguments, "--json").document
    assert shown.code == 0, shown.err
    for words in ("names", "elsewhere", "lacking", "middle_relu", "float rest", "FP16", "trtexec --onnx="):
        assert words in shown.out
    assert document["table"]["lacking"] == ["middle_relu"]
    assert document["rest"]["float_type"] == "fp16"
