"""The help: it fits 80 columns, begins with an imperative sentence, and its examples run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from qdq_cli.commands.options import OptionCommand
from qdq_cli.commands.sections import COMMON, TITLES, TOPICS, is_common, name_of
from qdq_cli.explaining.explain import find
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


def sections_of(text: str) -> dict[str, list[str]]:
    """Title -> the long names of the options below it, as the help shows them."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in re.split(r"\n(?=[A-Z][a-z ]*:\n)", text, maxsplit=1)[1].splitlines():
        if re.fullmatch(r"[A-Z][^.]*:", line):
            names = found.setdefault(line[:-1], [])
        elif match := re.match(r"  (?:-\w, )?(--[\w-]+|-h)", line):
            names.append(match[1])
    return found


def options_in(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


OPTION_COMMANDS = {words: command for words, command in EVERY.items() if isinstance(command, OptionCommand)}


@pytest.mark.parametrize("words", OPTION_COMMANDS, ids=" ".join)
def test_every_option_stands_in_one_section(words: Words):
    shown = sections_of(qdq(*words, "--help").out)
    assert [title for title in TITLES if title in shown] == list(shown)
    names = [name for section in shown.values() for name in section]
    assert sorted(names) == sorted([*map(name_of, options_in(EVERY[words])), "-h", "--help"])
    assert shown["Help"] == ["-h", "--help"]


@pytest.mark.parametrize("words", OPTION_COMMANDS, ids=" ".join)
def test_the_short_help_has_the_common_options_and_says_how_many_more_there_are(words: Words):
    options = options_in(EVERY[words])
    done = qdq(*words, "-h")
    names = [name for section in sections_of(done.out).values() for name in section]
    assert sorted(names) == sorted(name_of(option) for option in options if is_common(option))
    more = len(options) - len(names)
    assert (f"{more} more option" in done.out) == (more > 0)
    assert max(map(len, done.out.splitlines())) <= 80
    assert len(names) <= 24


def test_the_longest_help_is_short_when_asked_for_with_one_letter():
    assert len(qdq("quantize", "-h").out.splitlines()) < 95 < len(qdq("quantize", "--help").out.splitlines())


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(("qdq", *words)))
def test_all_options_have_a_second_name(words: Words):
    """`--help-all` for those who look for it."""
    if words in OPTION_COMMANDS:
        assert qdq(*words, "--help-all").out == qdq(*words, "--help").out
    else:
        assert qdq(*words, "-h").out == qdq(*words, "--help").out


def test_options_for_experts_name_a_topic_that_is_explained():
    every = {name_of(option) for command in OPTION_COMMANDS.values() for option in options_in(command)}
    assert set(TOPICS) <= every
    assert every >= COMMON
    assert not COMMON & set(TOPICS)
    assert [topic for topic in TOPICS.values() if not find([topic])] == []
    experts = sections_of(qdq("quantize", "--help").out)["For experts"]
    assert set(experts) == set(TOPICS) & {name_of(option) for option in options_in(EVERY[("quantize",)])}
    assert " ".join(qdq("quantize", "--help").out.split()).count("[qdq explain ") == len(experts)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("quantise", "No such command 'quantise'. Did you mean 'quantize'?"),
        ("cache shwo", "No such command 'shwo'. Did you mean 'show'?"),
        ("zzz", "No such command 'zzz'.\n"),
        ("m.onnx --calib x", "A command comes before the model, such as: qdq quantize m.onnx.\n"),
        ("cache m.onnx", "No such command 'm.onnx'.\n"),
        ("quantize m.onnx --calb x", "No such option '--calb'. Did you mean '--calib'?\n"),
        ("quantize m.onnx --no-mah", "No such option '--no-mah'. Did you mean '--no-mha'?\n"),
        ("compare m.onnx q.onnx --calib x", "No such option '--calib'. Did you mean '--data'?\n"),
        ("quantize m.onnx --data x", "No such option '--data'. Did you mean '--calib'?\n"),
        ("tune m.onnx --zzzz", "No such option '--zzzz'.\n"),
    ],
)
def test_a_slip_of_the_fingers_is_answered_with_the_nearest_name(line: str, answer: str):
    done = qdq(*line.split())
    assert (done.code, done.out) == (2, "")
    assert answer in done.err


def test_every_line_about_an_option_says_something(help_text: str):
    """No bare name of an argument among the options."""
    listed = help_text.rpartition("Help:\n")[2].splitlines()
    assert all(line.split("  ")[-1].endswith(".") for line in listed if line.startswith("  -"))
    assert not any(line.strip().isupper() for line in listed)


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
