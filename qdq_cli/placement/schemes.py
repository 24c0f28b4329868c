"""How activations are quantized: the one place that says so."""

from __future__ import annotations

from calibrators.scheme import DEFAULT

ACTIVATIONS = DEFAULT
"""INT8, symmetric, per tensor (rule A13)."""
