"""The one room that writes to the terminal. The result goes to stdout, everything else to stderr.

Colour only on a terminal and not under NO_COLOR; progress only on a terminal. Every line is made printable here, so
that no name in a model sets a terminal's title or forges a line of a log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

import click

from qdq_cli.process.errors import ModelError, QdqError
from qdq_cli.process.printable import printable, printable_json, printable_line

_OURS = f"\x1b{os.urandom(8).hex()}"
"""Stands for the escape character in colours until they are printed: no name from a model can hold it."""


def error(message: str, hint: str = "", said: Iterable[str] = ()) -> None:
    """Show an error on stderr, with the lines another program said about it, and its hint."""
    _say("error:", message, fg="red", bold=True)
    for line in said:
        _print(printable_line(line), sys.stderr)
    if hint:
        _say("hint:", hint, fg="cyan")


def _say(label: str, text: str, fg: str, bold: bool = False) -> None:
    """Write a sentence on stderr: broken between words on a terminal, else on one line, as logs are searched."""
    text = printable(text)
    lines = [text]
    if _is_terminal(sys.stderr):
        width = max(20, shutil.get_terminal_size().columns - len(label) - 1)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]
    shown = f"\n{' ' * (len(label) + 1)}".join(map(printable_line, lines))
    _print(f"{_painted(_paint(label, sys.stderr, fg=fg, bold=bold))} {shown}", sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    """Write a text and a line end; a reader that has gone away (head, less) is no failure, nor is a closed stream.

    Raises:
        ModelError: The result cannot be written, such as to a file on a full disk.
    """
    if stream is None:  # Python's stand-in for a stream that was closed at the start
        return
    try:
        click.echo(_spelled(text, stream), file=stream)
    except OSError as error:
        _let_go(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise ModelError(f"The result cannot be printed: {error.strerror}.") from error


def _spelled(text: str, stream: TextIO) -> str:
    """Replace the letters that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _let_go(stream: TextIO) -> None:
    """Send what is still buffered nowhere: Python would fail on it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: closed by the caller (2>&-)


def _paint(text: str, stream: TextIO | None, fg: str | None = None, bold: bool = False) -> str:
    """Colour a text; `_painted` makes colours of it."""
    coloured = _is_terminal(stream) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=fg, bold=bold or None).replace("\x1b", _OURS) if coloured else text


def _painted(line: str) -> str:
    """Make a line printable all but its colours, and these real."""
    first, *others = line.split(_OURS)
    return "\x1b".join((printable_line(first), *map(printable, others)))


def _held(record: object, hold: Callable[[], None] | None) -> None:
    """Hold a record against limits; the error that says which is not met takes it along.

    Raises:
        QdqError: One is not met.
    """
    try:
        if hold is not None:
            hold()
    except QdqError as error:
        error.found = record
        raise


PATIENCE_SECONDS = 1.0
"""How long work has to last for a bar to be shown: one that is gone at once is a flicker."""


_TICK_SECONDS = 0.5
"""How often a bar shows anew how long the work lasts: one step of it may be a library's, which tells nothing."""


class _Bar:
    """A progress bar, with rate and time left, that waits until the work has lasted a little.

    A thread of its own shows it, also where the first step does not end: the making of a session, a check.
    """

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._start = time.monotonic()
        self._shown: Any = None
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._ticker.start()

    def advance(self, done: int, total: int) -> None:
        """Show that so much is done."""
        with self._lock:
            self._done = done
            self._show()

    def close(self) -> None:
        """Take the bar off the screen."""
        self._closed.set()
        self._ticker.join()
        if self._shown is not None:
            self._shown.close()

    def _tick(self) -> None:
        while not self._closed.wait(_TICK_SECONDS):
            with self._lock:
                self._show()
                if self._shown is not None:
                    self._shown.refresh()

    def _show(self) -> None:
        waited = time.monotonic() - self._start
        if self._shown is None and waited >= PATIENCE_SECONDS:
            from tqdm import tqdm  # most work is done before a bar would be loaded

            self._shown = tqdm(total=self._total, desc=printable(self._title), unit="", leave=False, file=sys.stderr)
            self._shown.start_t -= waited  # the rate counts from the beginning
        if self._shown is not None:
            self._shown.update(self._done - self._shown.n)


class Console:
    """How one run talks to its user.

    Args:
        quiet: Errors and warnings only.
        verbose: List every skip, target and group.
        as_json: One JSON document on stdout instead of the summary.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._as_json = as_json
        self._details: set[str] = set()

    def note(self, text: str) -> None:
        """Show a sentence the user should read, on stderr, at once."""
        if not self._quiet:
            _say("note:", text, fg="yellow")

    def detail(self, text: str) -> None:
        """Show how the work is done, on stderr, at once, where `-v` asks for it; the same once."""
        if self._verbose and not self._quiet and text not in self._details:
            self._details.add(text)
            _say("detail:", text, fg="cyan")

    def warning(self, text: str) -> None:
        """Show a sentence the user must not miss, on stderr, at once: `-q` does not hide it."""
        _say("warning:", text, fg="yellow", bold=True)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar on a terminal where the work lasts; yields what is told (done, total) so far."""
        if self._quiet or not _is_terminal(sys.stderr):
            yield lambda done, total: None
            return
        with contextlib.closing(_Bar(title, total)) as bar:
            yield bar.advance

    def document(self, record: object) -> None:
        """Print a record as the one JSON document of the run."""
        from qdq_cli.process.documents import json_text

        text = printable_json(json_text(record))
        if text != _spelled(text, sys.stdout):
            text = printable_json(json_text(record, ascii_only=True))
        _print(text, sys.stdout)

    @property
    def asks(self) -> bool:
        """Whether somebody is there to answer: a terminal in front and behind, and no document wanted."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stderr) and not (self._as_json or self._quiet)

    @staticmethod
    def ask(question: str, default: str = "") -> str:
        """Ask on the terminal; an empty line takes the default.

        Raises:
            click.Abort: There is no answer, since the input ended.
        """
        answer: str = click.prompt(printable_line(question), default, err=True, show_default=bool(default))
        return answer.strip()

    def write(self, lines: Iterable[str]) -> None:
        """Print lines of the result."""
        if not self._quiet:
            _print("\n".join(map(_painted, lines)), sys.stdout)

    def commands(self, lines: Iterable[str]) -> None:
        """Print lines for a build service that obeys them; whoever makes them has made what they quote printable."""
        if not self._quiet and (shown := [printable(line) for line in lines]):
            _print("\n".join(shown), sys.stdout)

    def paint(self, text: str, colour: str) -> str:
        """Colour a part of a line of the result, on a terminal only."""
        return _paint(text, sys.stdout, fg=colour)

    def result(
        self, record: object, lines: Callable[[], Iterable[str]], hold: Callable[[], None] | None = None
    ) -> None:
        """Show a result: the record as the one JSON document of the run, or its lines; then hold it against limits.

        Args:
            record: What was found.
            lines: Writes it for people.
            hold: Raises an error where a limit is not met; the record is then part of the error's document.
        """
        if self._as_json:
            _held(record, hold)
            self.document(record)
            return
        if not self._quiet and (shown := list(lines())):
            self.write(shown)
        if hold is not None:
            hold()

    @property
    def verbose(self) -> bool:
        """Whether the user wants every detail."""
        return self._verbose

    @staticmethod
    def spells(text: str) -> bool:
        """Whether the stream of the result can hold a text; some terminals and pipes know a few letters only."""
        encoding = getattr(sys.stdout, "encoding", None)
        try:
            return encoding is None or bool(text.encode(encoding))
        except (LookupError, UnicodeEncodeError):
            return False

    @property
    def as_json(self) -> bool:
        """Whether the result is one JSON document."""
        return self._as_json

    def bold(self, text: str) -> str:
        """Set a part of a line of the result in bold, on a terminal only."""
        return _paint(text, sys.stdout, bold=True)

    @staticmethod
    def width() -> int:
        """Letters a line of the summary may have: COLUMNS, the terminal's width, or 80."""
        return shutil.get_terminal_size().columns

    @staticmethod
    def columns() -> int:
        """Width of the terminal in letters; wide where there is none."""
        return shutil.get_terminal_size((160, 24)).columns
