"""Hold what verification found against the limits that the user set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.agreement import (
    HeldLimit,
    Standing,
    interval_of,
    interval_text,
    rows_to_decide,
    standing_of,
)
from qdq_cli.quantizing.report import Distance, Rows, Verification
from qdq_cli.quantizing.speed_limit import QUIET, SPEED, undecided_speed

NO_ROWS: Mapping[str, Rows] = MappingProxyType({})
"""No output has a number of rows that depends on the data."""

_HINT = (
    "The model was not written. Try --recover, another --method, or --tune, which leaves as little float as the limit "
    "takes."
)


def unmet_limit(compared: Verification | None, config: VerifyConfig) -> LimitError | None:
    """Hold every output against the limits; return what is wrong with the one that misses one by most."""
    if compared is None:
        return None
    try:
        hold_limits(compared.outputs, compared.not_compared, config, _HINT, compared.rows)
    except LimitError as error:
        return error
    return None


def hold_limits(
    outputs: Mapping[str, Distance],
    not_compared: Sequence[str],
    config: VerifyConfig,
    hint: str,
    rows: Mapping[str, Rows] = NO_ROWS,
) -> None:
    """Hold the distances of outputs against the limits.

    Args:
        outputs: Output name -> distance.
        not_compared: Outputs without one.
        config: The limits.
        hint: What to do where one is missed.
        rows: Output name -> its rows, where their number depends on the data: `min_agreement` holds for those matched.

    Raises:
        LimitError: An output misses one, or is below one that so few rows do not decide, or no output could be held
            against one.
    """
    if not config.gates:
        return
    _require_comparable(outputs, not_compared, rows, config)
    held = held_limits(outputs, config, rows)
    failing = sorted((each for each in held if each.fails), key=_urgency)
    if failing:
        raise _error(failing[0], hint)
    scores = bool(rows) or any(distance.top1_agreement is not None for distance in outputs.values())
    if config.min_agreement is not None and not scores:
        raise LimitError(
            "--min-agreement is set, but no output holds class scores (two dimensions, two or more classes).",
            "Use --min-sqnr for this model.",
        )


def held_limits(
    outputs: Mapping[str, Distance], config: VerifyConfig, rows: Mapping[str, Rows] = NO_ROWS
) -> tuple[HeldLimit, ...]:
    """Say of every output and every limit it can be held against how it stands to it."""
    return tuple(_held(outputs, config, rows))


def _held(outputs: Mapping[str, Distance], config: VerifyConfig, rows: Mapping[str, Rows]) -> Iterator[HeldLimit]:
    for name, distance in outputs.items():
        least = config.min_sqnr
        if least is not None:
            found = Standing.MISSED if distance.sqnr_db < least else Standing.MET
            yield HeldLimit(name, "min_sqnr", least, distance.sqnr_db, found)
        if distance.top1_agreement is not None and distance.top1_interval is not None:
            yield from _agreeing(name, distance.top1_agreement, (distance.top1_interval, distance.rows), config)
    for name, counted in rows.items():
        most = max(counted.fp32, counted.quantized)
        if counted.agreement is not None and counted.matched is not None and most:
            interval = interval_of(counted.matched, most)
            yield from _agreeing(name, counted.agreement, (interval, most), config)


def _agreeing(
    name: str, share: float, sure: tuple[tuple[float, float], int | None], config: VerifyConfig
) -> Iterator[HeldLimit]:
    interval, count = sure
    least = config.min_agreement
    if least is not None:
        yield HeldLimit(name, "min_agreement", least, share, standing_of(interval, least), interval, count)


def _urgency(held: HeldLimit) -> tuple[bool, float]:
    """What is missed comes before what is undecided, and what is further away first."""
    return held.standing is Standing.UNDECIDED, held.found - held.asked


def _error(held: HeldLimit, hint: str) -> LimitError:
    if held.limit == "min_sqnr":
        text = f"Output '{held.output}' reaches an SQNR of {held.found:.2f} dB; --min-sqnr is {held.asked:g} dB."
        return LimitError(text, hint)
    if held.standing is Standing.UNDECIDED:
        return LimitError(f"{undecided_text(held)}.", f"{more_rows(held)} {hint}", undecided=True)
    return LimitError(f"{_shares(held)}; --min-agreement is {held.asked:g} %.", hint)


def undecided_text(held: HeldLimit) -> str:
    """That a limit is not decided, and why, in a sentence without its end."""
    if held.limit == SPEED:
        return undecided_speed(held)
    return f"{_shares(held)}, too few rows to tell whether --min-agreement {held.asked:g} % is met"


def to_decide(held: HeldLimit) -> str:
    """How to decide, in a sentence."""
    return QUIET if held.limit == SPEED else more_rows(held)


def more_rows(held: HeldLimit) -> str:
    """How many rows decide about an agreement, in a sentence."""
    enough = rows_to_decide(held.asked)
    if enough is None:
        return "No number of rows makes 100 % certain."
    return f"From {enough} rows on, all of which agree, it is certain; give more samples."


def _shares(held: HeldLimit) -> str:
    sure = "" if held.interval is None else f" ({interval_text(held.interval)})"
    return f"Output '{held.output}' agrees with FP32 in {held.found:.2f} % of the rows{sure}"


def _require_comparable(
    outputs: Mapping[str, Distance], not_compared: Sequence[str], rows: Mapping[str, Rows], config: VerifyConfig
) -> None:
    """Refuse limits that an output could not miss.

    Raises:
        LimitError: There is no distance of it, or there are rows alone where an SQNR is asked for.
    """
    counted = [name for name, found in rows.items() if found.agreement is None]
    alone = [] if outputs or config.min_sqnr is None else list(rows)
    blind = (*not_compared, *counted, *alone)
    if not outputs and not rows and not blind:
        raise LimitError(
            "No output can be held against a limit: none holds numbers.",
            "Compare a model that returns scores too, or leave --min-sqnr and --min-agreement out.",
        )
    if blind:
        raise LimitError(
            f"Output '{blind[0]}' cannot be held against a limit: its shape differs between the models.",
            "Its size depends on the values, as behind NonMaxSuppression; compare a model without that part.",
        )
