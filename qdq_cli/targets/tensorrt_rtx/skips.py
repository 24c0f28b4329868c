"""The reasons an operator input stays float that TensorRT for RTX adds; needs no graph."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "DEPTHWISE_PADDED": "depthwise, its codes are padded to four times the channels (--no-channel-rules)",
}
"""Stable code -> sentence."""
