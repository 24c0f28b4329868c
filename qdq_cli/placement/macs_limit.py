"""Hold the share of the multiply-accumulates on integers against `--min-int8-macs`: one sentence for every command."""

from __future__ import annotations

from qdq_cli.process.errors import LimitError

RANKED = "qdq inspect ranks the layers that stay float by what they cost."
"""Where to look for what keeps the share small."""


def unmet_macs(share: float | None, least: float | None, where: str, hint: str) -> LimitError | None:
    """Return what is wrong; None where the limit is met, or none is set.

    Args:
        share: Of the multiply-accumulates, in percent; None where it is not known.
        least: The limit, in percent; None for none.
        where: What they run in or on, such as `in INT8`, to follow "run".
        hint: What to do.
    """
    if least is None or (share is not None and share >= least):
        return None
    found = (
        f"How many of the MACs run {where} is not known" if share is None else f"{share:.2f} % of the MACs run {where}"
    )
    return LimitError(f"{found}; --min-int8-macs is {least:g} %.", hint)
