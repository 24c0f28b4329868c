"""Everything that can be explained, and how one code is found whatever way it is written."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from qdq_cli.casting import reasons
from qdq_cli.explaining.building import BUILDING
from qdq_cli.explaining.calibrating import CALIBRATING, OPEN
from qdq_cli.explaining.casting import CASTS
from qdq_cli.explaining.kernels import STANDALONE
from qdq_cli.explaining.lint import LINT
from qdq_cli.explaining.outcomes import EXITS, LOW
from qdq_cli.explaining.placing import PLACING
from qdq_cli.explaining.reading import READING
from qdq_cli.explaining.record import LINTED, Entry, Explanation, Kind, Told
from qdq_cli.explaining.skips import SKIPS
from qdq_cli.explaining.topics import TOPICS
from qdq_cli.explaining.weights import WEIGHTS
from qdq_cli.placement import skips
from qdq_cli.process.errors import UsageError
from qdq_cli.targets.tensorrt import skips as tensorrt_skips
from qdq_cli.targets.tensorrt.findings import RULES, Rule, Severity
from qdq_cli.targets.tensorrt.remedies import REMEDIES
from qdq_cli.targets.tensorrt.simulation import Reason
from qdq_cli.targets.tensorrt_rtx import skips as tensorrt_rtx_skips

CHAPTERS = (*READING, *WEIGHTS, *PLACING, *BUILDING, *CALIBRATING, *OPEN)
"""The rules in the order of docs/rules.md."""

_CITED = re.compile(
    r"\b(?:[APRSF]\d{1,2}|[EW]_[A-Z_]+[A-Z])\b|(?<=section )\d+(?:\.\d+)?(?:, (?:case|item) \d+)?"
    r"|\b\d\.\d(?:, case \d)"
)
"""Codes that a text of an explanation names."""

_ONE_CODE = re.compile(r"\d[\d.]*,?\s+(?:case|item)\s+\d+|exit\s+\d+|[^\s,;]+", re.IGNORECASE)
"""One of several codes in a text; a section's case belongs to it."""


@dataclass(frozen=True)
class Explanations:
    """Some explanations, as the JSON document of `qdq explain`.

    Args:
        schema_version: Version of this document.
        explanations: In the order in which they were asked for, or are listed.
    """

    schema_version: int
    explanations: tuple[Explanation, ...]


@functools.cache
def catalogue() -> Mapping[str, Explanation]:
    """Return every code with its explanation, in the order in which they are listed."""
    says = {**skips.REASONS, **tensorrt_skips.REASONS, **tensorrt_rtx_skips.REASONS}
    casts = reasons.REASONS
    found = [
        *(_explanation(entry, Kind.RULE) for entry in CHAPTERS),
        *(_of_finding(rule) for rule in RULES.values()),
        *(_of_standalone(entry) for entry in STANDALONE),
        *(_of_told(code, says[code], SKIPS[code], Kind.SKIP) for code in SKIPS),
        *(_of_told(code, casts[code], CASTS[code], Kind.CAST) for code in CASTS),
        *(_explanation(entry, Kind.LOW) for entry in LOW),
        *(_explanation(entry, Kind.EXIT) for entry in EXITS),
        *(_explanation(entry, Kind.TOPIC) for entry in TOPICS),
    ]
    return {entry.code: entry for entry in sorted(found, key=lambda entry: list(Kind).index(entry.kind))}


def find(words: Iterable[str]) -> tuple[Explanation, ...]:
    """Find what codes stand for; case does not matter, nor whether "section" stands before a number.

    Args:
        words: One code, in one word or several (`4.4, case 4`), or several codes as a finding names them (`A9-A11`,
            `A13, A16`).

    Raises:
        UsageError: One of them is no code; the hint has near ones.
    """
    text = " ".join(words)
    found = _meant(text)
    for code in () if found else _apart(text):
        meant = _meant(code)
        if not meant:
            raise _unknown(code)
        found |= meant
    if not found:
        raise _unknown(text)
    return tuple(found.values())


def _meant(code: str) -> dict[str, Explanation]:
    """Return what a code stands for by its name; a bare number can be a chapter of the rules and an exit code."""
    known = {_key(name): entry for name, entry in catalogue().items()}
    return {key: known[key] for key in (_key(code), f"exit {_key(code)}") if key in known}


def anchor_of(code: str) -> str:
    """Return the anchor of a code in the pages of the documentation: `a27`, `4.4-case-4`, `w_conv1d`."""
    return code.lower().replace(", ", "-").replace(" ", "-")


def page_of(kind: Kind) -> str:
    """Return the page that documents codes of a kind, from the repository's root."""
    return "docs/rules.md" if kind is Kind.RULE else "docs/findings.md"


def title_of(explanation: Explanation) -> str:
    """Return the line that stands for a code in lists: what it says, as a sentence."""
    says = explanation.says
    if explanation.kind in LINTED:
        return f"Expected: {says}."
    return says if says.endswith(".") else f"{says[:1].upper()}{says[1:]}."


def rules_of(text: str) -> tuple[str, ...]:
    """Return the rules that a table names in one cell: "A9-A11", "A12, 1.9", "4.4, case 4"."""
    return tuple(code for code in (text,) if code in _rules()) or tuple(_apart(text))


@functools.cache
def _rules() -> frozenset[str]:
    return frozenset(entry.code for entry in CHAPTERS)


def _explanation(entry: Entry, kind: Kind, see: Iterable[str] = ()) -> Explanation:
    texts = (entry.says, entry.why, entry.example, entry.mend)
    named = [*see, *_reported_by(entry.code), *(code for text in texts for code in _CITED.findall(text))]
    return Explanation(
        code=entry.code,
        kind=kind,
        says=entry.says,
        why=entry.why,
        example=entry.example,
        mend=entry.mend,
        source=entry.source,
        see=tuple(dict.fromkeys(code for code in named if code != entry.code)),
        docs=f"{page_of(kind)}#{anchor_of(entry.code)}",
    )


def _reported_by(code: str) -> Iterator[str]:
    """Return the findings that a rule has."""
    return (rule.code for rule in RULES.values() if code in rules_of(rule.rule))


def _of_finding(rule: Rule) -> Explanation:
    told = LINT[rule.code]
    versions = ", ".join(version.value for version in rule.profiles)
    entry = Entry(rule.code, rule.expected, told.why, told.example, told.mend or rule.fix, f"TensorRT {versions}")
    return _explanation(entry, _KINDS[rule.severity], rules_of(rule.rule))


_KINDS = {Severity.ERROR: Kind.ERROR, Severity.WARNING: Kind.WARNING, Severity.ADVICE: Kind.ADVICE}


def _of_standalone(entry: Entry) -> Explanation:
    mended = Entry(entry.code, entry.says, entry.why, entry.example, REMEDIES[Reason(entry.code)])
    return _explanation(mended, Kind.STANDALONE)


def _of_told(code: str, sentence: str, told: Told, kind: Kind) -> Explanation:
    return _explanation(Entry(code, sentence, told.why, told.example, told.mend), kind)


def _key(code: str) -> str:
    """Write a code the way it is looked up: lower case, without commas and "section"."""
    words = re.sub(r"[^\w.]+", " ", code.lower()).split()
    return " ".join(word for word in words if word not in ("section", "rule", "rules"))


def _apart(text: str) -> Iterator[str]:
    """Split several codes; `A9-A11` stands for three."""
    for word in filter(_key, _ONE_CODE.findall(text)):
        ends = re.fullmatch(r"([a-zA-Z])(\d{1,3})-\1?(\d{1,3})", word)
        if ends is None:
            yield word
        else:
            yield from (f"{ends[1]}{number}" for number in range(int(ends[2]), int(ends[3]) + 1))


def _unknown(code: str) -> UsageError:
    names = {_key(name): name for name in catalogue()}
    near = difflib.get_close_matches(_key(code), names, n=3, cutoff=0.5)
    hint = f"Near ones: {', '.join(names[name] for name in near)}." if near else "`qdq explain` lists all of them."
    return UsageError(f"There is no rule or code '{code}'.", hint)
