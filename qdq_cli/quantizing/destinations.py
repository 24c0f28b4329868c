"""Make sure, before the work, that what a run writes can be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.model import files
from qdq_cli.process.writable import check_writable
from qdq_cli.screen.page_target import check_page_target


def check_outputs(config: QuantizeConfig, report: Path | None) -> Path:
    """Return the absolute path of the result, after making sure that each output of a run can be written.

    Args:
        config: The run.
        report: Where its page goes; None for none.

    Raises:
        UsageError: One of the files cannot be written, or is read or written for something else too.
    """
    target = files.check_target(config.model, config.destination, config.reads)
    check_asides(config, report, (target,))
    return target


def check_asides(config: QuantizeConfig, report: Path | None, others: Sequence[Path] = ()) -> None:
    """Make sure that what a run writes besides its result can be written: a page, and a new calibration cache.

    Raises:
        UsageError: One cannot, or is another file of the run.
    """
    cache = config.ranges.cache
    if cache is not None and config.data.has_samples:
        is_there = os.path.isfile(cache)  # noqa: PTH113 - Path.is_file() fails where a name is too long
        if config.ranges.recalibrate or not is_there:
            check_writable(cache, "--cache", "--cache")
    if report is not None:
        check_page_target(report, (config.model, *others, *(() if cache is None else (cache,))))
