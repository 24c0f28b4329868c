"""Model files: what loads, what is refused and how, and that writing is all or nothing."""

import contextlib
import hashlib
import os
import signal
import stat
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.model import files
from qdq_cli.process.errors import ModelError, UsageError
from tests.forks import forked
from tests.networks import Network, serialized

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file system")


@pytest.fixture(scope="module")
def proto() -> onnx.ModelProto:
    """A convolution whose weight (3,456 bytes) is large enough for external data, and its bias, which is not."""
    net = Network()
    return net.proto(net.relu(net.conv(net.input("x", (1, 8, 6, 6)), 12, "conv", scale=None)))


def write(proto: onnx.ModelProto, path: Path, location: str | None = None) -> Path:
    """Write a model, its large weights at `location` beside it."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    if location is not None:
        onnx.save(copy, path, save_as_external_data=True, location=location, size_threshold=1000)
    else:
        path.write_bytes(copy.SerializeToString())
    return path


def session(source: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    model = source if isinstance(source, bytes) else str(source)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs(source: Path | bytes) -> list[np.ndarray]:
    x = np.random.default_rng(0).standard_normal((1, 8, 6, 6)).astype(np.float32)
    return session(source).run(None, {"x": x})


def weight(model: ir.Model) -> np.ndarray:
    return model.graph.initializers["conv_w"].const_value.numpy()


# Reading


@pytest.mark.parametrize("name", ["model.onnx", "my model #1.onnx", "größe_模型.onnx", "model", "a%20.onnx", "-o.onnx"])
@pytest.mark.parametrize("data", [None, "weights und mehr #2.data"])
def test_load_reads_any_file_name_also_without_a_folder(tmp_path, monkeypatch, proto, name, data):
    write(proto, tmp_path / name, data)
    monkeypatch.chdir(tmp_path)
    found = files.load(Path(name))
    expected = numpy_helper.to_array(proto.graph.initializer[0])
    assert found.path == Path.cwd() / name
    assert found.external is (data is not None)
    assert found.size_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    np.testing.assert_array_equal(weight(found.model), expected)


def test_load_sorts_nodes_that_are_in_no_valid_order(tmp_path):
    net = Network()
    x = net.input("x", (1, 4))
    model = net.proto(net.op("Sigmoid", net.op("Relu", x, name="first"), name="second"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    loaded = files.load(write(model, tmp_path / "m.onnx")).model
    assert [node.op_type for node in loaded.graph] == ["Relu", "Sigmoid"]


def test_load_refuses_a_cycle(tmp_path):
    net = Network()
    x = net.input("x", (4,))
    net.op("Add", x, "b", name="a")
    model = net.proto(net.op("Relu", "a", name="b"))
    with pytest.raises(ModelError, match=r"m\.onnx is not a usable ONNX model: the graph 'network' has a cycle\."):
        files.load(write(model, tmp_path / "m.onnx"))


@posix
def test_load_follows_links_as_a_hub_cache_makes_them(tmp_path, proto):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1a2b" / "onnx"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    made = tmp_path / "made"
    made.mkdir()
    write(proto, made / "model.onnx", "model.onnx_data")
    for name, blob in (("model.onnx", "c0ffee"), ("model.onnx_data", "badcafe")):
        (made / name).rename(blobs / blob)
        (snapshot / name).symlink_to(Path("../../../blobs") / blob)
    found = files.load(snapshot / "model.onnx")
    assert found.path == snapshot / "model.onnx"
    assert found.data_files == (blobs / "badcafe",)
    np.testing.assert_array_equal(weight(found.model), numpy_helper.to_array(proto.graph.initializer[0]))


@posix
def test_load_reads_data_beside_a_linked_model_and_in_a_linked_folder_inside(tmp_path, proto):
    real = tmp_path / "real"
    (real / "parts").mkdir(parents=True)
    write(proto, real / "model.onnx", "parts/w.data")
    (real / "parts").rename(real / "stored")
    (real / "parts").symlink_to("stored")
    np.testing.assert_array_equal(
        weight(files.load(real / "model.onnx").model), numpy_helper.to_array(proto.graph.initializer[0])
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "m.onnx").symlink_to(real / "model.onnx")
    with pytest.raises(ModelError, match=r"w\.data of .*m\.onnx does not exist"):
        files.load(elsewhere / "m.onnx")  # the data is looked for beside the link, as every runtime does
    (elsewhere / "parts").symlink_to(real / "stored")
    assert files.load(elsewhere / "m.onnx").data_files == (real / "stored" / "w.data",)


def test_load_leaves_the_users_files_alone(tmp_path, proto):
    path = write(proto, tmp_path / "m.onnx", "w.data")
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    found = files.load(path)
    weight(found.model)
    serialized(found.model)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


# What is not a model


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", r"m\.onnx is empty \(0 bytes\)", "Export or copy"),
        (b"this is a text file\n" * 10, r"is not an ONNX model, or is cut off: its 200 bytes", "Export or copy"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "is a Git LFS pointer", "git lfs pull"),
        (b"PK\x03\x04rest", "is a zip archive", "Export it to ONNX"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page", "Fetch"),
        (bytes(64), r"m\.onnx is not an ONNX model", "Export or copy"),
        (b"\x08\x00", "IR version 0, 0 opset imports and 0 graph outputs", "cut off"),
    ],
)
def test_load_says_what_a_file_is_instead(tmp_path, data, message, hint):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        files.load(path)
    assert hint in caught.value.hint


def test_load_names_a_folder_a_missing_file_and_a_name_too_long(tmp_path):
    with pytest.raises(ModelError, match="is a folder"):
        files.load(tmp_path)
    with pytest.raises(ModelError, match=r"no\.onnx does not exist"):
        files.load(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="does not exist"):
        files.load(tmp_path / "no folder" / "no.onnx")
    with pytest.raises(ModelError, match=r"cannot be read|does not exist"):
        files.load(tmp_path / ("x" * 5000))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"cannot be read|does not exist"):
        files.load(tmp_path / "file" / "model.onnx")


@posix
def test_load_names_links_to_nothing_pipes_and_files_beyond_protobuf(tmp_path):
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(ModelError, match="is a symbolic link to nothing"):
        files.load(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="is a device or a pipe"):
        files.load(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**31)  # takes no room on the disk
    with pytest.raises(ModelError, match=r"has 2,147,483,648 bytes; one ONNX file holds at most 2,147,483,647"):
        files.load(tmp_path / "huge")


def test_load_refuses_a_model_cut_off_anywhere(tmp_path, proto):
    data, path = proto.SerializeToString(), tmp_path / "m.onnx"
    for end in (1, 2, 9, 40, 150, len(data) // 2, len(data) - 30, len(data) - 5, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"m\.onnx is not (a usable|an) ONNX model"):
            files.load(path)


def test_load_survives_200_damaged_files(tmp_path, proto):
    rng, data, path = np.random.default_rng(5), proto.SerializeToString(), tmp_path / "m.onnx"
    start = data.index(b"conv_w") + 12  # behind it lie the weights, which may hold anything
    places = np.r_[0:start, start + 3456 : len(data)]
    loaded = 0
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.choice(places, rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            serialized(files.load(path).model)
            loaded += 1
    assert 20 < loaded < 180  # both happened


# Writing


def test_a_staged_model_is_beside_its_target_until_it_is_committed(tmp_path, proto):
    target = tmp_path / "out model #2.onnx"
    target.write_bytes(b"former")
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    with files.staged(model, target, external=False) as staged:
        assert staged.path.parent.parent == tmp_path
        assert staged.path.name == target.name
        assert staged.size_bytes == staged.path.stat().st_size
        assert target.read_bytes() == b"former"
        onnx.checker.check_model(str(staged.path), full_check=True)
        staged.commit()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.onnx", target.name]
    np.testing.assert_array_equal(outputs(target)[0], outputs(tmp_path / "in.onnx")[0])


def test_nothing_is_left_of_a_staged_model_that_is_not_committed(tmp_path, proto):
    path = write(proto, tmp_path / "in.onnx", "in.data")
    model = files.load(path).model
    with files.staged(model, tmp_path / "out.onnx", external=True):
        pass
    with pytest.raises(KeyboardInterrupt), files.staged(model, tmp_path / "out.onnx", external=False):
        raise KeyboardInterrupt
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.data", "in.onnx"]


def data_of(target):
    """The one data file beside a model that was written."""
    (found,) = target.parent.glob(f"{target.name}.????????????????.data")
    return found


def test_external_weights_stay_external_in_one_file_named_by_target_and_content(tmp_path, proto):
    path = write(proto, tmp_path / "in.onnx", "in.data")
    target = tmp_path / "out.onnx"
    with files.staged(files.load(path).model, target, external=True) as staged:
        assert staged.size_bytes == sum(file.stat().st_size for file in staged.path.parent.iterdir())
        staged.commit()
    assert data_of(target).stat().st_size == 3456
    digest = hashlib.sha256(data_of(target).read_bytes()).hexdigest()
    assert data_of(target).name == f"out.onnx.{digest[:16]}.data"
    written = onnx.load(target, load_external_data=False).graph.initializer[0]
    assert {entry.key: entry.value for entry in written.external_data}["location"] == data_of(target).name
    (tmp_path / "in.data").unlink()
    assert len(outputs(target)) == 1


def test_a_model_that_is_too_large_for_one_protobuf_gets_a_data_file(tmp_path, monkeypatch, proto):
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    monkeypatch.setattr(files, "INLINE_LIMIT_BYTES", 2000)
    with files.staged(model, tmp_path / "out.onnx", external=False) as staged:
        staged.commit()
    assert data_of(tmp_path / "out.onnx").exists()
    np.testing.assert_array_equal(outputs(tmp_path / "out.onnx")[0], outputs(tmp_path / "in.onnx")[0])


def test_a_model_whose_weights_are_all_small_needs_no_data_file(tmp_path):
    net = Network()
    model = net.model(net.add(net.input("x", (2,)), net.constant(np.ones(2, np.float32))))
    with files.staged(model, tmp_path / "out.onnx", external=True) as staged:
        staged.commit()
    session(tmp_path / "out.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["out.onnx"]


@posix
@pytest.mark.parametrize("external", [False, True])
def test_written_files_have_the_permissions_of_any_new_file(tmp_path, proto, external):
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    before = os.umask(0o027)
    try:
        with files.staged(model, tmp_path / "out.onnx", external=external) as staged:
            staged.commit()
    finally:
        os.umask(before)
    written = [file for file in tmp_path.iterdir() if file.name.startswith("out")]
    assert len(written) == 1 + external
    assert {stat.S_IMODE(file.stat().st_mode) for file in written} == {0o640}


@posix
def test_a_link_under_the_name_of_the_target_is_replaced_and_what_it_leads_to_stays(tmp_path, proto):
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    (tmp_path / "precious").write_bytes(b"precious")
    target = tmp_path / "out.onnx"
    target.symlink_to("precious")
    with files.staged(model, target, external=False) as staged:
        staged.commit()
    assert not target.is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def refuse(number: int):
    """A stand-in for os.replace that fails in its call of this number."""
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == number:
            raise OSError(28, "No space left on device")
        real(source, target)

    return replace


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("former", [None, 1.0, 0.5])
def test_a_failing_commit_leaves_what_was_there(tmp_path, monkeypatch, proto, number, former):
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    target = tmp_path / "out.onnx"
    if former is not None:
        commit(scaled(proto, former), target)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with files.staged(model, target, external=True) as staged:
        monkeypatch.setattr(os, "replace", refuse(number))
        with pytest.raises(ModelError, match=r"out\.onnx cannot be written: No space left on device\."):
            staged.commit()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@posix
@pytest.mark.parametrize("external", [False, True])
def test_a_disk_without_room_is_a_sentence_and_leaves_nothing(tmp_path, proto, external):
    import resource

    model = files.load(write(proto, tmp_path / "in.onnx")).model
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # the kernel refuses to write more, as on a full disk
    try:
        with (
            pytest.raises(ModelError, match=r"out\.onnx cannot be written: .+\. Is there room on the disk\?"),
            files.staged(model, tmp_path / "out.onnx", external=external),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, proto):
    model = files.load(write(proto, tmp_path / "in.onnx")).model

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", deny)
    with (
        pytest.raises(ModelError, match=r"out\.onnx cannot be written: Permission denied\."),
        files.staged(model, tmp_path / "out.onnx", external=False),
    ):
        pass


def test_a_target_name_near_the_longest_possible_is_fine(tmp_path, proto):
    model = files.load(write(proto, tmp_path / "in.onnx")).model
    target = tmp_path / ("x" * 240 + ".onnx")
    with files.staged(model, target, external=False) as staged:
        staged.commit()
    assert target.exists()


# Killed


def scaled(proto, factor):
    """The model with other weights."""
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in other.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return other


def commit(proto, target):
    """Write a model with a data file, as the commands do."""
    with files.staged(ir.serde.deserialize_model(proto), target, external=True) as staged:
        staged.commit()


STEPS = ("replace", "unlink", "rmdir", "rename", "mkdir")
"""What changes a folder; the process is killed at each of these calls, one after the other."""


def killed_at(number, work):
    """Do something in a process that is killed at its call of this number; says whether it came that far."""

    def dying():
        calls = []

        def counted(real):
            def call(*arguments, **options):
                calls.append(arguments)
                if len(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        work()

    return os.WIFSIGNALED(os.waitpid(forked(dying), 0)[1])


@posix
@pytest.mark.parametrize("former", [False, True])
def test_whenever_it_is_killed_model_and_weights_belong_together(tmp_path, proto, former):
    """And the next run for the same target leaves what it would have left without all that."""
    target, old, new = tmp_path / "out.onnx", scaled(proto, 1.0), scaled(proto, 3.0)
    expected = {name: outputs(write(model, tmp_path / name))[0] for name, model in (("old", old), ("new", new))}
    seen = set()
    for number in range(1, 30):
        for path in tmp_path.glob("*out.onnx*"):
            path.unlink()
        if former:
            commit(old, target)
        reached = killed_at(number, lambda: commit(new, target))
        if target.exists():
            found = outputs(target)[0]
            seen |= {name for name, values in expected.items() if np.array_equal(found, values)}
            assert any(np.array_equal(found, values) for values in expected.values())
        else:
            assert not former
        commit(new, target)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "out.onnx", data_of(target).name]
        assert np.array_equal(outputs(target)[0], expected["new"])
        if not reached:
            break
    assert number > 4
    assert seen == ({"old", "new"} if former else {"new"})


@posix
def test_what_a_living_process_works_in_stays(tmp_path, proto):
    target, (told, tell) = tmp_path / "out.onnx", os.pipe()

    def work():
        with files.staged(ir.serde.deserialize_model(proto), target, external=True) as staged:
            os.write(tell, b"!")
            signal.pause()
            staged.commit()

    child = forked(work)
    os.read(told, 1)
    (folder,) = tmp_path.glob(".qdq-*.tmp")
    commit(scaled(proto, 2.0), target)
    assert sorted(path.name for path in folder.iterdir()) == sorted([target.name, data_of(folder / target.name).name])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    commit(proto, tmp_path / "other.onnx")
    assert folder.exists()  # of another target
    commit(proto, target)
    assert not folder.exists()
    assert sum(path.name.startswith(".") for path in tmp_path.iterdir()) == 0


def test_only_what_the_former_model_read_and_this_program_named_is_removed(tmp_path, proto):
    target = tmp_path / "out.onnx"
    commit(proto, target)
    former = data_of(target)
    kept = [
        tmp_path / name for name in ("out.onnx.data", "out.onnx.0123456789abcdef.data", "out.onnx.x.data", ".qdq-x.tmp")
    ]
    for path in kept:
        path.write_bytes(b"of somebody else")
    commit(scaled(proto, 2.0), target)
    assert all(path.read_bytes() == b"of somebody else" for path in kept)
    assert not former.exists()
    foreign = onnx.load(target)
    onnx.save(foreign, target, save_as_external_data=True, location="out.onnx.data", size_threshold=0)
    data = kept[0].read_bytes()
    commit(proto, target)
    assert kept[0].read_bytes() == data


def test_a_model_inside_one_file_removes_the_weights_of_the_one_before_it(tmp_path, proto):
    target = tmp_path / "out.onnx"
    commit(proto, target)
    with files.staged(ir.serde.deserialize_model(proto), target, external=False) as staged:
        staged.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]
    target.write_bytes(b"no model")
    (tmp_path / "out.onnx.0123456789abcdef.data").write_bytes(b"weights")
    commit(proto, target)
    assert (tmp_path / "out.onnx.0123456789abcdef.data").read_bytes() == b"weights"


# Where the output may go


def test_check_target_takes_relative_paths(tmp_path, monkeypatch, proto):
    source = write(proto, tmp_path / "in.onnx")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert files.check_target(source, Path("../out.onnx")) == tmp_path / "out.onnx"
    assert files.check_target(source, Path("out.onnx")) == tmp_path / "sub" / "out.onnx"


def test_check_target_refuses_the_input_under_any_name(tmp_path, monkeypatch, proto):
    source = write(proto, tmp_path / "in.onnx")
    monkeypatch.chdir(tmp_path)
    others = [source, Path("in.onnx"), Path("./x/../in.onnx")]
    if os.name != "nt":
        (tmp_path / "link.onnx").symlink_to("in.onnx")
        (tmp_path / "hard.onnx").hardlink_to(source)
        others += [tmp_path / "link.onnx", tmp_path / "hard.onnx"]
    for target in others:
        with pytest.raises(UsageError, match="is the input model itself"):
            files.check_target(source, target)


def test_check_target_refuses_folders_and_devices(tmp_path, proto):
    source = write(proto, tmp_path / "in.onnx")
    for target, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "out.onnx", r"The folder of the output, .*no, does not exist"),
        (source / "out.onnx", "does not exist"),
        (Path(os.devnull), "is a device"),
    ):
        with pytest.raises(UsageError, match=reason):
            files.check_target(source, target)


@pytest.mark.parametrize("location", ["out.onnx.0123456789abcdef.data", "out.onnx"])
def test_the_output_never_overwrites_weights_of_the_input(tmp_path, proto, location):
    source = files.load(write(proto, tmp_path / "in.onnx", location))
    with pytest.raises(UsageError, match=rf"would overwrite .*{location}, which holds weights of the input"):
        files.check_data_target(source, tmp_path / "out.onnx")
    files.check_data_target(source, tmp_path / "other.onnx")


# Bytes


def test_encoding_puts_everything_inside_the_same_bytes_every_time(tmp_path, proto):
    inside = files.load(write(proto, tmp_path / "a.onnx"))
    outside = files.load(write(proto, tmp_path / "b.onnx", "b.data"))
    data = serialized(inside.model)
    assert data == serialized(inside.model) == serialized(outside.model)
    assert outside.model.graph.initializers["conv_w"].const_value.__class__ is ir.ExternalTensor  # as it was
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(outputs(data)[0], outputs(tmp_path / "a.onnx")[0])


def test_writing_says_what_is_no_onnx(tmp_path):
    net = Network()
    model = net.model(net.relu(net.input("x", (2,))))
    model.metadata_props["author"] = b"\xff"
    with pytest.raises(ModelError, match="The model cannot be written as ONNX: "):
        serialized(model)
    for external in (False, True):
        with (
            pytest.raises(ModelError, match="The model cannot be written as ONNX: "),
            files.staged(model, tmp_path / "out.onnx", external=external),
        ):
            pass
    assert not list(tmp_path.iterdir())


def branch(name: str, proto: onnx.ModelProto) -> onnx.GraphProto:
    """An If body that convolves the outer x with a weight of its own."""
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in proto.graph.initializer]
    for tensor in tensors:
        tensor.name = f"{name}_{tensor.name}"
    node = helper.make_node("Conv", ["x", *(tensor.name for tensor in tensors)], [f"{name}_y"], pads=[1] * 4)
    output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, (1, 12, 6, 6))
    return helper.make_graph([node], name, [], [output], tensors)


def test_weights_of_bodies_may_be_external_and_come_inside(tmp_path, proto):
    net = Network()
    net.input("x", (1, 8, 6, 6))
    yes = net.op("Greater", net.op("ReduceMax", "x", keepdims=0), net.constant(np.float32(0)))
    net.op("If", yes, name="y", then_branch=branch("a", proto), else_branch=branch("b", proto))
    model = net.proto("y")
    path = write(model, tmp_path / "m.onnx")
    expected = outputs(path)[0]
    held = files.load(path).model
    ir.save(held, tmp_path / "e.onnx", external_data="e.data", size_threshold_bytes=1000)
    found = files.load(tmp_path / "e.onnx")
    assert (tmp_path / "e.data").stat().st_size == 2 * 3456
    assert found.external
    np.testing.assert_array_equal(outputs(serialized(found.model))[0], expected)
    with files.staged(found.model, tmp_path / "out.onnx", external=True) as staged:
        staged.commit()
    (tmp_path / "e.data").unlink()
    np.testing.assert_array_equal(outputs(tmp_path / "out.onnx")[0], expected)
