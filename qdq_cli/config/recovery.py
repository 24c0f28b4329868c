"""The steps of recovery, and which of them are taken by default."""

from __future__ import annotations

RECOVERY_STEPS = ("equalize", "smooth", "ranges", "weight-ranges", "adaround", "gptq", "scales", "bias")
"""What recovery can do, in the order it is done (`qdq_cli.recovering`)."""

ON_INTEGERS = frozenset({"weight-ranges", "adaround", "gptq", "scales"})
"""Those of them that count in even steps, which floats of 8 bits do not have."""

OF_ACTIVATIONS = frozenset({"ranges"})
"""Those that change nothing but how activations are quantized."""

OF_ONE_SCALE = frozenset({"weight-ranges", "adaround", "scales"})
"""Those that take a weight with one scale an output channel at most."""

DEFAULT_RECOVERY = ("equalize", "smooth", "ranges", "gptq", "bias")
"""The recipe of `--recover`: the steps that gain on most of the measured models (docs/accuracy.md)."""
