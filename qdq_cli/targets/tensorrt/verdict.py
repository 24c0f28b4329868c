"""What a lint says to somebody who uses certain TensorRT releases: findings, advice, and the releases meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from qdq_cli.config.forms import TensorRT
from qdq_cli.targets.tensorrt.findings import ALL, UP_TO_8_6, Finding, Severity

_FORMS: Mapping[str, Callable[[Finding], str]] = {
    "W_OPSET": lambda entry: entry.found,
    "E_SCALE_DTYPE": lambda entry: entry.found.removeprefix("a ") + "s",
    "E_QDQ_TYPE": lambda entry: f"{entry.found} data",
    "W_DQ_ONLY_WEIGHTS": lambda _: "integer weights behind DQ",
    "E_UNSUPPORTED_OP": lambda entry: _what_is_refused(entry.found),
    "E_UNSUPPORTED_FORM": lambda entry: _what_is_refused(entry.found),
}
"""Code -> how a finding that speaks of the form of a whole model is named there."""


def _what_is_refused(found: str) -> str:
    """Name an operator or a form that newer releases read; BF16 is new for every operator, and said once."""
    what = found.partition(",")[0]
    return "BFLOAT16 data" if what.endswith(" on BFLOAT16") else what


@dataclass(frozen=True)
class Verdict:
    """What a lint says of a model to somebody who uses certain releases.

    Args:
        findings: Errors and warnings that hold in one of the releases.
        advice: What is worth knowing and needs no repair.
        releases: The releases spoken of.
        newer_form: What about the model the older releases do not read and no repair changes, such as "opset 18";
            empty where one release was asked for.
    """

    findings: tuple[Finding, ...]
    advice: tuple[Finding, ...]
    releases: tuple[TensorRT, ...]
    newer_form: tuple[str, ...] = ()


def verdict(found: Iterable[Finding], trt: TensorRT | None = None) -> Verdict:
    """Keep what holds in one release, or in all releases that the model's form is made for.

    A model of opset 18, with FP16 scales, INT8 weights, newer types or newer operators is one for the releases that
    know them: that older ones do not read it is said once, and is no defect of each of its nodes.

    Args:
        found: What the lint found.
        trt: The release asked about; None for all that the model is made for.
    """
    found = tuple(dict.fromkeys(found))
    newer = [entry for entry in found if _is_form(entry)] if trt is None else []
    barred = {release for entry in newer for release in entry.profiles}
    forms = tuple(dict.fromkeys(_FORMS[entry.code](entry) for entry in newer if set(entry.profiles) == barred))
    releases = (trt,) if trt is not None else tuple(release for release in ALL if release not in barred)
    held = [entry for entry in found if not set(releases).isdisjoint(entry.profiles)]
    return Verdict(
        findings=tuple(entry for entry in held if entry.severity is not Severity.ADVICE),
        advice=tuple(entry for entry in held if entry.severity is Severity.ADVICE),
        releases=releases,
        newer_form=forms,
    )


def _is_form(entry: Finding) -> bool:
    """Say whether TensorRT 8 alone minds a finding, and for what the model is made of, which `qdq fix` keeps."""
    older = set(entry.profiles) <= set(UP_TO_8_6)
    return entry.code in _FORMS and older and "`qdq fix`" not in entry.fix
