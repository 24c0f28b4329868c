"""What a file of ranges cannot carry of a calibration cache, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibrators import CalibrationTable, Chosen, parse_ranges, qparams_of, wide_in
from qdq_cli.config.cache import ExportConfig
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.targets.known import target_for


def notes_on(table: CalibrationTable, chosen: Chosen, data: bytes, config: ExportConfig) -> tuple[str, ...]:
    """Say what a written file does not carry, so that `--ranges` with it gives another model than the cache does."""
    return (
        *_on_groups(table, chosen),
        *_on_wide(chosen, data, config),
        *_on_ruined(table),
        *_on_scales(table, chosen, data, config),
    )


def _on_groups(table: CalibrationTable, chosen: Chosen) -> Iterator[str]:
    if chosen.grouped:
        return
    if not table.groupings:
        yield (
            "The calibration cache does not say which tensors share a scale, nor which of them depthwise convolutions "
            "read, so each has a range of its own; give --model to choose the ranges that qdq quantize would."
        )
    else:
        yield (
            f"No range serves the depthwise convolutions that read {some_of(sorted(chosen.wide))}, and the calibration "
            "cache does not say which tensors are quantized without them; give --model."
        )


def _on_ruined(table: CalibrationTable) -> Iterator[str]:
    """Where a plan of fewer operators is noted although no tensor is wide, INT8 ruins some."""
    if len(table.groupings) > 1 and table.groupings[-1].wide == table.groupings[0].wide:
        yield (
            "With the cache, qdq quantize leaves operators float that INT8 ruins, which no file of ranges can say; it "
            "names them, and --exclude with these names leaves them float with the file too."
        )


def _on_wide(chosen: Chosen, data: bytes, config: ExportConfig) -> Iterator[str]:
    if chosen.wide - wide_in(data):
        yield (
            f"With the cache, qdq quantize leaves the depthwise convolutions float that read "
            f"{some_of(sorted(chosen.wide))}: no range serves them. The format {config.format} cannot say so; name "
            "them with --exclude, or export as json."
        )


def _on_scales(table: CalibrationTable, chosen: Chosen, data: bytes, config: ExportConfig) -> Iterator[str]:
    """Lay what the file gives back over the codes: a format may hold one end alone, or fewer digits."""
    back = parse_ranges(data) if chosen.ranges else {}
    scheme = target_for(config.target, config.plan).activations
    types = {name: np.float16 if entry.dtype == "float16" else np.float32 for name, entry in table.entries.items()}
    other = [
        name
        for name, kept in chosen.ranges.items()
        if qparams_of(kept, scheme, types.get(name, np.float32))
        != qparams_of(back[name], scheme, types.get(name, np.float32))
    ]
    if other:
        yield (
            f"The format {config.format} does not hold {count_text(len(other), 'range')} exactly: {some_of(other)} get "
            "another scale or zero point from it; json holds all."
        )
