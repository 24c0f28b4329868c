"""Hold what verification found against the limits that the user set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.report import Distance, Rows, Verification

NO_ROWS: Mapping[str, Rows] = MappingProxyType({})
"""No output has a number of rows that depends on the data."""

_HINT = (
    "The model was not written. Try --recover, another --method, or --tune, which leaves as little float as the limit "
    "takes."
)


def unmet_limit(compared: Verification | None, config: VerifyConfig) -> LimitError | None:
    """Hold every output against the limits; return what is wrong with the first that misses one."""
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
        LimitError: An output misses one, or no output could be held against one.
    """
    if not config.gates:
        return
    _require_comparable(outputs, not_compared, rows, config)
    for name, distance in outputs.items():
        _hold_distance(name, distance, config, hint)
    _hold_rows(rows, config, hint)
    scores = bool(rows) or any(distance.top1_agreement is not None for distance in outputs.values())
    if config.min_agreement is not None and not scores:
        raise LimitError(
            "--min-agreement is set, but no output holds class scores (two dimensions, two or more classes).",
            "Use --min-sqnr for this model.",
        )


def _hold_distance(name: str, distance: Distance, config: VerifyConfig, hint: str) -> None:
    """Hold one output against the limits.

    Raises:
        LimitError: It misses one.
    """
    if config.min_sqnr is not None and distance.sqnr_db < config.min_sqnr:
        raise LimitError(
            f"Output '{name}' reaches an SQNR of {distance.sqnr_db:.2f} dB; --min-sqnr is {config.min_sqnr:g} dB.", hint
        )
    agreement = distance.top1_agreement
    if config.min_agreement is not None and agreement is not None and agreement < config.min_agreement:
        raise LimitError(
            f"Output '{name}' agrees with FP32 in {agreement:.2f} % of the rows; "
            f"--min-agreement is {config.min_agreement:g} %.",
            hint,
        )


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


def _hold_rows(rows: Mapping[str, Rows], config: VerifyConfig, hint: str) -> None:
    """Hold the share of rows that both models give against `min_agreement`.

    Raises:
        LimitError: An output misses it.
    """
    for name, found in rows.items():
        share = found.agreement
        if config.min_agreement is not None and share is not None and share < config.min_agreement:
            raise LimitError(
                f"Output '{name}' has {share:.2f} % of its rows in common with FP32; --min-agreement is "
                f"{config.min_agreement:g} %.",
                hint,
            )
