"""The sensitivities as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from calibrators.metrics import sqnr_of_ratio
from qdq_cli.config.forms import QuantType
from qdq_cli.screen.amounts import decibels, seconds_text, share_text, size_text
from qdq_cli.screen.lines import WIDTH, Paint, row, shortened, wrapped
from qdq_cli.sensitivity.record import SensitivityReport, TypedSensitivity, TypeNoise

MAX_OPERATORS = 15
MAX_GROUPS = 5
MAX_BESIDE_TYPES = 5
"""Operators of the one type that are listed where types are compared; scale groups are not then."""

ADDITIVE = 0.5, 2.0
"""Where the sum of single noises over the noise of all together is outside, the text says that they do not add up."""


def sensitivity_lines(report: SensitivityReport, paint: Paint, *, full: bool) -> list[str]:
    """Return the summary, the operators and the scale groups; cut to one screen unless `full`."""
    lines = row("model", report.model)
    lines += row("judged on", _samples(report))
    lines += [] if report.few is None else row("few samples", report.few.text)
    lines += row("together", _together(report))
    lines += row("adding up", _adding_up(report))
    if report.rank_correlation is not None or report.metric_rank_correlation is not None:
        lines += row("estimate", _correlations(report))
    lines += row("seconds", seconds_text(report.seconds))
    lines += _operators(report, paint, full=full)
    lines += by_type_lines(report, paint, full=full)
    lines += _groups(report, full=full) if full or not report.by_type else []
    return [*lines, *_legend(report.type_title)]


def noise_text(noise: float) -> str:
    """A noise-to-signal ratio as SQNR."""
    return "no noise" if noise <= 0 else decibels(sqnr_of_ratio(noise))


def work_text(macs_percent: float, traffic_percent: float) -> str:
    """The shares of the model's work that an operator does."""
    return f"{share_text(macs_percent)} of the MACs, {share_text(traffic_percent)} of the traffic"


def value_text(value: float) -> str:
    """A value of the user's metric."""
    return f"{value:.6g}"


def _samples(report: SensitivityReport) -> str:
    samples = f"{report.samples} samples set aside from the calibration data"
    if report.rank_correlation is not None or report.estimate_samples == report.samples:
        return samples
    return f"the {report.estimate_samples} noisiest of {samples}; --exact takes all"


def _together(report: SensitivityReport) -> str:
    together = report.together
    text = f"all quantized, the outputs keep an SQNR of {decibels(together.sqnr_db)}"
    if together.metric is None or together.float_metric is None:
        return text
    return f"{text}; metric {value_text(together.metric)}, float {value_text(together.float_metric)}"


def _adding_up(report: SensitivityReport) -> str:
    together = report.together
    if together.noise <= 0:
        return "there is no noise"
    ratio = together.sum / together.noise
    text = f"single noises sum up to {ratio:.2f} times the noise of all together"
    low, high = ADDITIVE
    if low <= ratio <= high:
        return text
    why = (
        "operators that read the same tensors count its noise each" if ratio > high else "the errors amplify each other"
    )
    return f"{text}: {why}, so take shares as an order rather than as amounts"


def _correlations(report: SensitivityReport) -> str:
    parts = []
    if report.rank_correlation is not None:
        parts.append(f"of operators with exact {report.rank_correlation:.3f}")
    if report.group_rank_correlation is not None:
        parts.append(f"of scale groups {report.group_rank_correlation:.3f}")
    if report.metric_rank_correlation is not None:
        parts.append(f"of noise with the metric's drops {report.metric_rank_correlation:.3f}")
    return f"rank correlation {', '.join(parts)}"


def _operators(report: SensitivityReport, paint: Paint, *, full: bool) -> list[str]:
    measured = any(operator.metric is not None for operator in report.operators)
    drop = "     drop" if measured else ""
    lines = ["", "operators quantized alone, " + ("largest drop" if measured else "most noise") + " first:"]
    lines.append(f"  share  SQNR alone{drop}   MACs  traffic  operator")
    most = MAX_BESIDE_TYPES if report.by_type else MAX_OPERATORS
    shown = report.operators if full else report.operators[:most]
    for operator in shown:
        noise = operator.noise if operator.exact_noise is None else operator.exact_noise
        cells = f"  {operator.noise_percent:4.1f}%  {noise_text(noise):>10}"
        cells += "" if operator.drop is None else f"  {value_text(operator.drop):>7}"
        cells += f"  {operator.macs_percent:4.1f}%    {operator.traffic_percent:4.1f}%  "
        room = WIDTH - len(cells) - len(operator.op_type) - 1
        lines.append(f"{cells}{paint(operator.op_type, 'blue')} {shortened(operator.name, room)}")
    return lines + _more(len(report.operators) - len(shown))


def by_type_lines(report: SensitivityReport, paint: Paint, *, full: bool) -> list[str]:
    """Return a column for each type: the SQNR of the outputs with an operator alone in it; and its weight's size."""
    if not report.by_type:
        return []
    names = report.types
    lines = ["", "operators alone by type (SQNR alone in dB; weights in FP32 and at least):"]
    titles = (QuantType(name).title.replace("weights", "w.") for name in names)
    lines.append("".join(f"{title:>9}" for title in titles) + "     FP32    least  operator")
    shown = report.by_type if full else report.by_type[:MAX_OPERATORS]
    for operator in shown:
        known = {choice.type: choice for choice in operator.types}
        cells = "".join(f"{_alone(known.get(name)):>9}" for name in names) + f"{_sizes(operator)}  "
        room = WIDTH - len(cells) - len(operator.op_type) - 1
        lines.append(f"{cells}{paint(operator.op_type, 'blue')} {shortened(operator.name, room)}")
    return lines + _more(len(report.by_type) - len(shown))


def _alone(choice: TypeNoise | None) -> str:
    """The noise of one type; a dash where the operator cannot have it."""
    if choice is None:
        return "-"
    if choice.noise is None:
        return "ruined"
    return f"{sqnr_of_ratio(choice.noise):.1f}" if choice.noise > 0 else "none"


def _sizes(operator: TypedSensitivity) -> str:
    """The size of a weight in the float model, and in the type that makes it smallest."""
    least = min((choice.weight_bytes for choice in operator.types if choice.weight_bytes is not None), default=None)
    if operator.float_bytes is None or least is None:
        return " " * 18
    return f"{size_text(operator.float_bytes):>9}{size_text(least):>9}"


def _groups(report: SensitivityReport, *, full: bool) -> list[str]:
    if not report.groups:
        return []
    lines = ["", "scale groups quantized alone (activations only), most noise first:"]
    lines.append("  SQNR alone       amax  tensors")
    shown = report.groups if full else report.groups[:MAX_GROUPS]
    for group in shown:
        noise = group.noise if group.exact_noise is None else group.exact_noise
        cells = f"  {noise_text(noise):>10}  {group.amax:9.4g}  "
        more = f" and {len(group.tensors) - 1} more" if len(group.tensors) > 1 else ""
        lines.append(f"{cells}{shortened(group.tensors[0], WIDTH - len(cells) - len(more))}{more}")
    return lines + _more(len(report.groups) - len(shown))


def _more(count: int) -> list[str]:
    return [f"  ... and {count} more (-v, --json)"] if count > 0 else []


def _legend(title: str) -> list[str]:
    loses = "lose" if title.endswith("weights") else "loses"
    text = (
        f"share: of the sum of noises. MACs, traffic: what {title} {loses} of the model's with the operator left "
        "float. qdq tune weighs the one against the other."
    )
    return ["", *wrapped(text, 0)]
