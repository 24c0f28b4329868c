from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.data.samples import open_samples
from qdq_cli.data.testdata import input_number, is_input_file, open_tensor
from qdq_cli.process.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(name: str, array: np.ndarray, tensor_name: str = ""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numpy_helper.from_array(array, tensor_name).SerializeToString())
        return path

    return write


def test_file_names_of_the_layout():
    assert [is_input_file(name) for name in ("input_0.pb", "input_12.pb", "output_0.pb", "input_0.pb.bak")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert input_number(Path("input_12.pb")) == 12


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_tensors_read_like_arrays(dtype, write):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = open_tensor(write("input_0.pb", array, "x"))
    assert (tensor.name, tensor.shape, tensor.dtype) == ("x", (2, 3), array.dtype)
    assert np.array_equal(tensor.whole(), array)
    assert np.array_equal(tensor.item(1), array[1])


def test_test_data_sets_are_samples_in_natural_order(write, tmp_path, spec):
    for k in (0, 1, 2, 10):
        write(f"test_data_set_{k}/input_0.pb", np.full((1, 3), k, np.float32))
        write(f"test_data_set_{k}/output_0.pb", np.zeros((1, 3), np.float32))
    samples = open_samples([tmp_path], [spec("x", ("N", 3))])
    assert [float(samples.load(k).arrays["x"][0, 0]) for k in range(len(samples))] == [0, 1, 2, 10]
    assert samples.load(3).source == str(tmp_path / "test_data_set_10")
    assert samples.describe() == "4 samples from ONNX test data"


def test_names_inside_the_files_go_before_their_numbers(write, tmp_path, spec):
    write("input_0.pb", np.ones((1, 3), np.float32), "b")
    write("input_1.pb", np.zeros((1, 3), np.float32), "a")
    specs = [spec("a", (None, 3)), spec("b", (None, 3))]
    assert open_samples([tmp_path], specs).load(0).arrays["b"].tolist() == [[1, 1, 1]]


def test_without_names_the_numbers_decide(write, tmp_path, spec):
    write("input_0.pb", np.ones((1, 3), np.float32), "other")
    write("input_1.pb", np.array(7), "")
    arrays = open_samples([tmp_path], [spec("a", (None, 3)), spec("n", (), np.int64)]).load(0).arrays
    assert arrays["a"].tolist() == [[1, 1, 1]]
    assert (arrays["n"].shape, int(arrays["n"])) == ((), 7)


def test_a_single_file_serves_a_single_input(write, spec):
    path = write("anything.pb", np.ones((1, 3), np.float32))
    samples = open_samples([path], [spec("x", (None, 3))])
    assert samples.load(0).source == str(path)


def test_a_missing_input_is_named(write, tmp_path, spec):
    write("input_0.pb", np.ones((1, 3), np.float32))
    with pytest.raises(DataError, match="no array for input 'b'"):
        open_samples([tmp_path], [spec("a", (None, 3)), spec("b", (None, 3))])


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\xff" * 40])
def test_what_is_no_tensor_is_named(content, tmp_path):
    (tmp_path / "input_0.pb").write_bytes(content)
    with pytest.raises(DataError, match=r"input_0\.pb is no ONNX tensor"):
        open_tensor(tmp_path / "input_0.pb")


def test_elements_kept_in_another_file_are_refused(tmp_path):
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "x")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "input_0.pb").write_bytes(tensor.SerializeToString())
    with pytest.raises(DataError, match="in another file"):
        open_tensor(tmp_path / "input_0.pb")


def test_fewer_elements_than_the_shape_says_are_found_when_read(tmp_path):
    tensor = helper.make_tensor("x", TensorProto.FLOAT, [2], [1.0, 2.0])
    tensor.dims[0] = 3
    (tmp_path / "input_0.pb").write_bytes(tensor.SerializeToString())
    with pytest.raises(DataError, match=r"input_0\.pb cannot be read"):
        open_tensor(tmp_path / "input_0.pb").whole()
