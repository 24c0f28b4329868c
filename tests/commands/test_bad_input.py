"""Bad input: one finished sentence with a hint, the right exit code, nothing left behind, never a traceback."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qdq_cli.model import files
from tests.networks import Network
from tests.workspace import SIDE, Outcome, Workspace, qdq, small_convnet, write_images


def refused(space: Workspace, code: int, *options: object, model: Path | None = None) -> str:
    """Run what must fail; returns the sentence and the hint after checking that they are all there is."""
    before = space.listing()
    done = space.quantize(*options, model=model)
    return checked(done, code, space, before)


def checked(done: Outcome, code: int, space: Workspace, before: list[str]) -> str:
    """Hold a run that failed against what all failures have in common; returns the sentence and the hint."""
    assert done.code == code, done.err
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], done.err
    assert all(line.endswith((".", "?")) for line in lines), done.err
    assert "Traceback" not in done.err
    assert space.listing() == before
    return "\n".join(lines)


def test_no_calibration_data_and_no_cache(space: Workspace):
    before = space.listing()
    text = checked(qdq("quantize", space.model), 4, space, before)
    assert "No calibration data was given" in text
    assert "--calib" in text
    assert "--cache" in text


@pytest.mark.parametrize(("only", "said"), [(True, "1 tensor needs a range"), (False, "tensors need a range")])
def test_without_data_one_tensor_is_counted_as_one(space: Workspace, only: bool, said: str):
    first = next(node.name for node in onnx.load(space.model).graph.node if node.op_type == "Conv")
    more = ["--only", first] if only else []
    assert said in checked(qdq("quantize", space.model, *more), 4, space, space.listing())


def test_an_empty_folder(space: Workspace):
    (space.folder / "empty").mkdir()
    assert "has no usable file; it is empty" in refused(space, 4, "--calib", space.folder / "empty")


def test_a_folder_without_a_usable_file(space: Workspace):
    folder = space.folder / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    assert "1 .txt" in refused(space, 4, "--calib", folder)


def test_an_image_that_cannot_be_decoded_is_named(space: Workspace):
    (space.images / "3.png").write_bytes(b"no picture")
    text = refused(space, 4, "--calib", space.images)
    assert "3.png" in text
    assert "fewer than 1 % may be" in text


def test_few_images_that_cannot_be_decoded_are_left_out_with_a_note(space: Workspace):
    folder = write_images(space.folder / "many", 150, side=SIDE)
    (folder / "3.png").write_bytes((folder / "4.png").read_bytes()[:40])
    done = space.quantize("--calib", folder, "--json")
    assert done.code == 0
    assert done.document["calibration"]["samples"] == 133
    assert "3.png" in done.err
    assert "left out" in done.err


def arrays(space: Workspace, **named: np.ndarray) -> Path:
    path = space.folder / "given.npz"
    np.savez(path, **named)
    return path


RIGHT = np.zeros((10, 3, SIDE, SIDE), np.float32)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"pictures": RIGHT, "more": RIGHT}, ["pictures", "images"]),
        ({"images": RIGHT[:, :1]}, ["[10, 1, 16, 16]", "[N, 3, 16, 16]"]),
        ({"images": RIGHT.transpose(0, 2, 3, 1)}, ["[10, 16, 16, 3]", "[N, 3, 16, 16]"]),
        ({"images": RIGHT.reshape(10, -1)}, ["[10, 768]", "[N, 3, 16, 16]"]),
        ({"images": RIGHT.astype(str)}, ["images", "float32"]),
        ({"images": RIGHT.astype(np.complex64)}, ["complex64", "float32"]),
        ({"images": RIGHT[:0]}, ["images"]),
    ],
    ids=["name", "channels", "layout", "rank", "text", "complex", "no samples"],
)
def test_arrays_that_do_not_fit_show_both_sides(space: Workspace, named: dict[str, np.ndarray], words: list[str]):
    path = arrays(space, **named)
    text = refused(space, 4, "--calib", path)
    assert "given.npz" in text
    assert all(word in text for word in words), text


def test_a_pickled_array_is_refused(space: Workspace):
    path = space.folder / "pickled.npy"
    np.save(path, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    assert "pickle" in refused(space, 4, "--calib", path).lower()
    path.write_bytes(pickle.dumps([1, 2, 3]))
    refused(space, 4, "--calib", path)


def test_arrays_that_are_cut_off(space: Workspace):
    data = space.arrays.read_bytes()
    space.arrays.write_bytes(data[: len(data) // 2])
    assert "arrays.npz" in refused(space, 4)


def test_nan_in_the_data_is_named_with_its_file(space: Workspace):
    bad = RIGHT.copy()
    bad[4, 0, 0, 0] = np.nan
    text = refused(space, 4, "--calib", arrays(space, images=bad))
    assert "'images'" in text
    assert "given.npz" in text


def test_nan_activations_name_the_tensor_and_the_sample(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    root = net.op("Sqrt", net.conv(x, 16, "first", scale=None), name="root")
    net.conv(root, 16, "second", scale=None)
    onnx.save(net.proto("second"), space.model)
    text = refused(space, 3)
    assert "'root'" in text
    assert "NaN" in text
    assert "arrays.npz" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_a_weight_names_the_weight_and_its_node(space: Workspace, value: float):
    """Leaving its operator float would not help: the outputs of the float model are NaN or infinite themselves."""
    proto = onnx.load(space.model)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "scores_w")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[3, 3] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "scores_w"))
    onnx.save(proto, space.model)
    text = refused(space, 3)
    assert "The weight 'scores_w' of Gemm 'scores'" in text
    assert "1 of 160 values, the first at [3, 3]" in text


def test_bfloat16_is_refused_with_the_reason(space: Workspace):
    net = Network(opset=21)
    x = net.input("images", ("N", SIDE, SIDE), TensorProto.BFLOAT16)
    net.op("MatMul", x, "w", name="product")
    proto = net.proto("product", output_types={"product": TensorProto.BFLOAT16})
    values = (np.arange(SIDE * SIDE) % 7).astype(np.float32)
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.BFLOAT16, [SIDE, SIDE], values))
    onnx.save(proto, space.model)
    text = refused(
        space, 3, "--calib", arrays(space, images=np.eye(4 * SIDE, SIDE, dtype=np.float32).reshape(4, SIDE, SIDE))
    )
    assert "BF16" in text


def test_a_batch_that_the_model_does_not_take(space: Workspace):
    """The declared batch is dynamic, but a Reshape inside has a fixed size."""
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    flat = net.op("Reshape", x, net.constant(np.array([1, 3 * SIDE * SIDE])), name="flat")
    net.gemm(flat, 3 * SIDE * SIDE, 10, "scores", scale=None)
    onnx.save(net.proto("scores"), space.model)
    assert space.quantize("-q").code == 0
    space.output.unlink()
    text = refused(space, 3, "--batch-size", "4")
    assert "'flat'" in text
    assert "--batch-size 1" in text
    assert "onnxruntime::" not in text


def _text(path: Path) -> None:
    path.write_text("this is no model, but a text of several words\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def _html(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>404</title>")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _gone(path: Path) -> None:
    path.unlink()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.onnx")


def _random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("break_it", [_text, _empty, _cut_off, _html, _folder, _gone, _dangling, _random, _pipe])
@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["quantize", "dry run"])
def test_a_file_that_is_no_model(space: Workspace, break_it: Callable[[Path], None], options: tuple[str, ...]):
    break_it(space.model)
    assert "model.onnx" in refused(space, 3, *options)


def external(space: Workspace) -> Path:
    """The model with its weights in `weights.bin`; returns that file."""
    onnx.save(onnx.load(space.model), space.model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return space.folder / "weights.bin"


def test_missing_external_data(space: Workspace):
    external(space).unlink()
    assert "weights.bin" in refused(space, 3)


def test_external_data_that_is_cut_off(space: Workspace):
    data = external(space)
    data.write_bytes(data.read_bytes()[:100])
    assert "weights.bin" in refused(space, 3)


@pytest.mark.parametrize("place", ["../weights.bin", "absolute", "linked"])
def test_external_data_outside_of_the_folder_is_refused(space: Workspace, place: str):
    data = external(space)
    inner = space.folder / "inner"
    inner.mkdir()
    if place == "linked":
        shutil.move(space.model, inner)
        (inner / "weights.bin").symlink_to(Path("..") / ".." / "secret.bin")
        (space.folder.parent / "secret.bin").write_bytes(data.read_bytes())
    else:
        proto = onnx.load(space.model, load_external_data=False)
        location = str(data) if place == "absolute" else place
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (inner / "model.onnx").write_bytes(proto.SerializeToString())
    assert "weights.bin" in refused(space, 3, model=inner / "model.onnx")


def test_an_operator_onnx_runtime_does_not_know(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    turned = net.op("Turn", net.conv(x, 16, "first", scale=None), name="turn", domain="my.domain")
    net.conv(turned, 16, "second", scale=None)
    onnx.save(net.proto("second"), space.model)
    done = qdq("quantize", space.model, "--calib", space.arrays)
    assert done.code == 0
    assert "ONNX Runtime does not know my.domain.Turn ('turn')" in done.err
    assert "1 of 2 weighted operators" in done.out
    (space.folder / "ranges.json").write_text('{"images": 3.0, "turn": 5.0}')
    done = qdq("quantize", space.model, "--ranges", space.folder / "ranges.json")
    assert done.code == 0  # given ranges serve what lies behind it
    assert "2 of 2 weighted operators" in done.out


def test_a_model_that_fails_the_checker_itself_is_quantized_with_a_note(space: Workspace):
    proto = onnx.load(space.model)
    proto.graph.output[0].type.tensor_type.ClearField("shape")  # runtimes take it
    onnx.save(proto, space.model)
    done = space.quantize()
    assert done.code == 0
    assert "The input model itself does not pass ONNX's full check" in done.err


def test_an_all_zero_tensor_gets_scale_one_and_a_note(space: Workspace):
    net = Network()
    net.conv(net.relu(net.input("images", ("N", 3, SIDE, SIDE)), "rectified"), 16, "out", scale=None)
    onnx.save(net.proto("out"), space.model)
    below = -np.random.default_rng(0).random((10, 3, SIDE, SIDE)).astype(np.float32)
    done = space.quantize("--calib", arrays(space, images=below), "--json")
    assert done.code == 0
    assert "Always zero in calibration, so the scale is 1.0: rectified." in done.err
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(space.output).graph.initializer}
    assert scales["rectified_scale"] == 1.0


def test_an_all_zero_channel_gets_scale_one_and_a_note(space: Workspace):
    proto = onnx.load(space.model)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "middle_w")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[5] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "middle_w"))
    onnx.save(proto, space.model)
    done = space.quantize()
    assert done.code == 0
    assert "middle_w" in done.err
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(space.output).graph.initializer}
    assert scales["middle_w_scale"][5] == 1.0
    assert (scales["middle_w_scale"] == 1.0).sum() == 1


def test_a_model_with_nothing_to_quantize_says_so(space: Workspace):
    net = Network()
    net.relu(net.input("images", ("N", 3, SIDE, SIDE)), "out")
    onnx.save(net.proto("out"), space.model)
    for options in ([], ["--calib", space.arrays]):
        done = qdq("quantize", space.model, *options)
        assert done.code == 0, done.err
        assert "nothing" in done.out
        onnx.checker.check_model(str(space.output), full_check=True)
        space.output.unlink()


@pytest.mark.parametrize("name", ["model.onnx", "./model.onnx", "images/../model.onnx", "link.onnx", "hard.onnx"])
def test_the_output_is_never_the_input(space: Workspace, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    Path("link.onnx").symlink_to("model.onnx")
    os.link("model.onnx", "hard.onnx")
    before = space.model.read_bytes()
    assert "the input model itself" in refused(space, 2, "-o", name)
    assert space.model.read_bytes() == before


def test_the_output_is_not_the_data_file_of_the_input(space: Workspace):
    data = external(space)
    before = data.read_bytes()
    assert "holds weights of the input" in refused(space, 2, "-o", data)
    assert data.read_bytes() == before


def test_an_output_folder_that_is_missing(space: Workspace):
    assert "does not exist" in refused(space, 2, "-o", space.folder / "missing" / "x.onnx")


def test_an_output_that_is_a_folder(space: Workspace):
    assert "is a folder" in refused(space, 2, "-o", space.images)


def test_an_output_folder_that_is_a_file(space: Workspace):
    assert "does not exist" in refused(space, 2, "-o", space.arrays / "x.onnx")


def test_an_output_name_that_is_too_long(space: Workspace):
    assert "File name too long" in refused(space, 2, "-o", space.folder / ("x" * 300))


def test_an_unwritable_output_folder(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    """The system's answer is simulated: who runs as root may write everywhere."""

    def refuse(*arguments: object, **named: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "folder_beside", refuse)
    assert "Permission denied" in refused(space, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exclude", "mid"], ["--exclude", "middle"]),
        (["--exclude-op", "Cnov"], ["--exclude-op", "Conv"]),
        (["--only", "zzz*"], ["--only", "zzz*"]),
        (["--range", "frist_relu=3"], ["frist_relu", "first_relu"]),
        (["--input-shape", "image:1x3x16x16"], ["image", "images"]),
        (["--input-shape", "images:1x3x8x8"], ["[1, 3, 8, 8]", "[N, 3, 16, 16]"]),
        (["--input-shape", "images:axb"], ["axb"]),
        (["--preprocess", "imagnet"], ["imagnet", "imagenet"]),
        (["--preprocess", "missing.json"], ["missing.json"]),
        (["--verify", "0", "--min-sqnr", "3"], ["--min-sqnr", "--verify"]),
        (["--mean", "0.5,0.5"], ["mean", "2"]),
        (["--std", "0"], ["std", "0"]),
        (["--range", "images"], ["NAME=AMAX"]),
        (["--range", "images=-1"], ["NAME=AMAX"]),
        (["--range", "images=2:1"], ["NAME=MIN:MAX"]),
        (["--range", "images=0:inf"], ["NAME=MIN:MAX"]),
        (["--range", "images=:"], ["NAME=MIN:MAX"]),
        (["--percentile", "0"], ["percentile"]),
        (["--method", "kl"], ["kl", "entropy"]),
        (["--trt", "7"], ["8.4"]),
    ],
)
def test_options_that_make_no_sense(space: Workspace, options: list[str], words: list[str]):
    text = refused(space, 2, *options)
    assert all(word in text for word in words), text


def test_limits_that_nothing_can_be_held_against(space: Workspace):
    before = space.listing()
    checked(qdq("quantize", space.model, "--min-sqnr", "3"), 2, space, before)


@pytest.mark.parametrize("content", [b"", b"garbage", b"QCAL" + bytes(100)], ids=["empty", "garbage", "zeros"])
def test_a_cache_that_is_none(space: Workspace, content: bytes):
    path = space.folder / "bad.qcal"
    path.write_bytes(content)
    assert "bad.qcal" in refused(space, 4, "--cache", path)
    assert path.read_bytes() == content


def test_a_cache_of_another_model(space: Workspace):
    cache = space.folder / "model.qcal"
    assert space.quantize("--cache", cache).code == 0
    space.output.unlink()
    other = space.folder / "other.onnx"
    onnx.save(small_convnet(channels=1).proto("scores"), other)
    before = space.listing()
    text = checked(qdq("quantize", other, "--cache", cache), 4, space, before)
    assert "does not fit the model" in text


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", '{"images": "wide"}', '{"images": -1}', '{"images": NaN}', f'{{"images": 1{"0" * 400}}}']
)
def test_a_ranges_file_that_is_none(space: Workspace, text: str):
    path = space.folder / "ranges.json"
    path.write_text(text)
    assert "ranges.json" in refused(space, 4, "--ranges", path)


def test_a_ranges_file_that_is_missing(space: Workspace):
    assert "missing.json" in refused(space, 4, "--ranges", space.folder / "missing.json")


def test_pictures_for_a_model_with_two_inputs(space: Workspace):
    net = small_convnet()
    net.input("other", ("N", 4))
    onnx.save(net.proto("scores"), space.model)
    assert "images" in refused(space, 4, "--calib", space.images)


def test_a_huge_picture_is_refused_before_it_fills_the_memory(space: Workspace):
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    parts = [struct.pack(f">I4s{len(data)}sI", len(data), kind, data, zlib.crc32(kind + data)) for kind, data in chunks]
    (space.images / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert "huge.png" in refused(space, 4, "--calib", space.images)


def test_a_model_without_opset(space: Workspace):
    proto = onnx.load(space.model)
    del proto.opset_import[:]
    onnx.save(proto, space.model)
    refused(space, 3)


@pytest.mark.parametrize("opset", [17, onnx.defs.onnx_opset_version()])
def test_a_model_whose_types_contradict(space: Workspace, opset: int):
    node = helper.make_node("Add", ["a", "b"], ["c"])
    inputs = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("b", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])]
    graph = helper.make_graph([node], "bad", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), space.model)
    given = arrays(space, a=np.ones((4, 1), np.float32), b=np.ones((4, 1), np.int64))
    refused(space, 3, "--calib", given)


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices are files on POSIX only")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png", ".pb"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_calibration_data_that_is_a_pipe_or_a_device_is_refused_and_not_waited_for(kind, suffix, space: Workspace):
    for path in (space.folder / f"alone{suffix}", space.folder / "folder" / f"input_0{suffix}"):
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    what = "a named pipe" if kind == "pipe" else "a device"
    for given in ("alone" + suffix, "folder"):
        text = refused(space, 4, "--calib", space.folder / given)
        assert f"it is {what}, and only regular files are read" in text


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices are files on POSIX only")
@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_preprocessing_file_that_is_a_pipe_or_a_device_is_refused_and_not_waited_for(suffix, space: Workspace):
    os.mkfifo(space.folder / f"pipe{suffix}")
    (space.folder / f"device{suffix}").symlink_to("/dev/zero")
    for name, what in (("pipe", "a named pipe"), ("device", "a device")):
        text = refused(space, 2, "--calib", space.images, "--preprocess", space.folder / f"{name}{suffix}")
        assert f"it is {what}, and only regular files are read" in text
