"""Standard input and output are no files: refused in a sentence wherever a path is taken; no file is called `-`."""

from __future__ import annotations

import click
import pytest

from qdq_cli.commands.paths import FilePath
from qdq_cli.main import COMMANDS, cli
from tests.workspace import Workspace, process, qdq

STREAMS = ("-", "/dev/stdin", "/dev/stdout", "/dev/../dev/stderr", "/dev/fd/0", "/proc/self/fd/1")


def commands(group: click.Group, context: click.Context) -> list[click.Command]:
    found: list[click.Command] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += commands(command, context) if isinstance(command, click.Group) else [command]
    return found


def test_every_path_is_of_the_type_that_refuses_streams():
    context = click.Context(cli)
    params = [param for command in commands(cli, context) for param in command.params]
    paths = [param for param in params if isinstance(param.type, click.Path | click.File)]
    assert len(paths) > 2 * len(COMMANDS)
    assert [param.name for param in paths if not isinstance(param.type, FilePath)] == []


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("place", ["model", "-o", "--calib", "--cache", "--report", "--ranges"])
def test_streams_are_refused(space: Workspace, stream: str, place: str):
    before = space.listing()
    data = ("--calib", space.arrays)
    done = qdq("quantize", stream, *data) if place == "model" else qdq("quantize", space.model, *data, place, stream)
    assert (done.code, done.out) == (2, "")
    assert "stands for a stream" in done.err
    assert space.listing() == before


def test_no_file_is_called_like_a_stream(space: Workspace):
    done = process("quantize", "model.onnx", "--calib", "arrays.npz", "-o", "-", cwd=space.folder)
    assert (done.code, (space.folder / "-").exists()) == (2, False)
    assert "a file of that name is ./-" in done.err


def test_a_file_of_that_name_can_still_be_meant(space: Workspace):
    done = process("quantize", "model.onnx", "--calib", "arrays.npz", "-o", "./-", cwd=space.folder)
    assert (done.code, (space.folder / "-").is_file()) == (0, True)
