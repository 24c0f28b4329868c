"""The help: it fits 80 columns, begins with an imperative sentence, and its examples run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from qdq_cli.main import COMMANDS, cli
from tests.building.fake import use_fake_compiler
from tests.workspace import Workspace, make_example_folder, qdq

Words = tuple[str, ...]


def all_commands(command: click.Command = cli, words: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """Every command with the words that call it, from the top down."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from all_commands(found, (*words, name))


EVERY = dict(all_commands())


@pytest.fixture(params=EVERY, ids=lambda words: " ".join(("qdq", *words)))
def words(request: pytest.FixtureRequest) -> Words:
    chosen: Words = request.param
    return chosen


@pytest.fixture
def help_text(words: Words, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    done = qdq(*words, "--help")
    assert (done.code, done.err) == (0, "")
    return done.out


def examples(text: str) -> list[str]:
    """The commands of the block `Examples:`; one may go on behind a backslash."""
    block = text.partition("Examples:\n")[2].partition("\n\n")[0].replace("\\\n", "")
    return [" ".join(line.split()) for line in block.splitlines()]


def test_the_help_fits_80_columns(help_text: str):
    assert max(map(len, help_text.splitlines())) <= 80


def test_every_line_about_an_option_says_something(help_text: str):
    """No bare name of an argument among the options."""
    listed = help_text.rpartition("Other:\n")[2].splitlines()
    assert all(line.split("  ")[-1].endswith(".") for line in listed if line.startswith("  -"))
    assert not any(line.strip().isupper() for line in listed)


def test_the_short_form_is_the_same(help_text: str, words: Words):
    assert qdq(*words, "-h").out == help_text


def test_the_first_line_is_an_imperative_sentence(words: Words):
    first = (EVERY[words].help or "").splitlines()[0]
    assert first.endswith(".")
    assert first.count(".") == 1
    verb = first.split()[0]
    assert verb.istitle()
    assert not verb.endswith("s"), "Quantize, not Quantizes"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_the_same(name: str):
    assert (EVERY[(name,)].help or "").startswith(COMMANDS[name])


def test_every_command_has_examples(help_text: str, words: Words):
    found = examples(help_text)
    assert 1 <= len(found) <= 4
    assert all(line.startswith(" ".join(("qdq", *words))) for line in found if words)


def test_every_option_has_a_sentence(words: Words):
    for param in EVERY[words].params:
        if isinstance(param, click.Option):
            assert param.help, param.name
            assert "." in param.help, param.help


def test_options_are_long_but_for_a_few(words: Words):
    short = {name for param in EVERY[words].params for name in param.opts if len(name) == 2 and name.startswith("-")}
    assert short <= {"-o", "-v", "-q", "-h"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_example_folder(tmp_path_factory.mktemp("examples"))


def test_the_examples_run(help_text: str, prepared: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(prepared.folder)
    use_fake_compiler(monkeypatch)  # for qdq build; no other command has a process that would look for it
    for line in examples(help_text):
        program, *arguments = shlex.split(line)
        assert program == "qdq"
        done = qdq(*arguments)
        assert done.code == 0, f"{line}\n{done.err}"
        assert done.out
    assert not list(Path().glob(".qdq-*"))
