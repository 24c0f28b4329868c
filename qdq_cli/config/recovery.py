"""The steps of recovery, and which of them are taken by default."""

from __future__ import annotations

RECOVERY_STEPS = ("equalize", "smooth", "ranges", "weight-ranges", "adaround", "gptq", "scales", "bias")
"""What recovery can do, in the order it is done (`qdq_cli.recovering`)."""

DEFAULT_RECOVERY = ("equalize", "smooth", "ranges", "gptq", "bias")
"""The recipe of `--recover`: the steps that gain on most of the measured models (docs/accuracy.md)."""
