"""Why a layer errs: weights or activation, clipping or rounding, a channel that dwarfs the rest, one code for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calibrators.metrics import sqnr_of_sums
from qdq_cli.comparing.activations import CodeRange
from qdq_cli.comparing.record import Cause, Kind, Origin
from qdq_cli.comparing.weights import WeightError
from qdq_cli.screen.amounts import decibels

WIDE_RATIO = 8.0
"""A channel this many times as wide as the median leaves that one 4 of 7 bits."""

_MOST = 0.5
"""From this share on, a part of the squared error is its cause."""


@dataclass(frozen=True)
class InputError:
    """What quantization did to one tensor that a layer reads, over all samples.

    Args:
        tensor: Its name in the float model.
        signal: Sum of x**2.
        noise: Sum of (x - DQ(Q(x)))**2.
        clipped: Sum of (x - x inside the range)**2; 0 where there is more than one scale.
        low: Smallest value.
        high: Largest value.
        range: What the scale can hold; None where there is more than one.
        channel: The channel with the largest absolute value; None where there are no channels.
        ratio: Its amax over that of the median channel.
        vanished: Sum of x**2 of what a floating-point type makes 0.
    """

    tensor: str
    signal: float
    noise: float
    clipped: float
    low: float
    high: float
    range: CodeRange | None
    channel: int | None
    ratio: float
    vanished: float = 0.0

    @property
    def relative(self) -> float:
        """Noise over signal."""
        return self.noise / self.signal if self.signal else math.inf if self.noise else 0.0

    @property
    def amax(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))


def weight_cause(share: float, error: WeightError | None) -> Cause:
    """Explain a layer whose error comes from its weights.

    Args:
        share: Share of the layer's squared error that is there with the activations in float, 0 to 1.
        error: What became of the weights; None where that cannot be told.
    """
    percent = round(100 * share, 1)
    if error is None:
        return Cause(Origin.WEIGHTS, Kind.UNKNOWN, "", percent, text="the quantization of its weights")
    kind, text = _of_weights(error)
    return Cause(
        origin=Origin.WEIGHTS,
        kind=kind,
        tensor=error.tensor,
        share_percent=percent,
        range_amax=error.range_amax,
        data_amax=error.data_amax,
        channel=error.channel if kind is Kind.WIDE_CHANNEL else None,
        ratio=error.ratio if kind is Kind.WIDE_CHANNEL else None,
        text=text,
    )


def _of_weights(error: WeightError) -> tuple[Kind, str]:
    """Say what most of the error of weights is, and how."""
    name, noise = error.tensor, error.noise
    ratio = decibels(sqnr_of_sums(error.signal, noise))
    kept = f"SQNR {ratio}"
    if noise and error.replaced >= _MOST * noise:
        return Kind.OTHER_WEIGHTS, f"its weights are not those of the reference ('{name}', {kept})"
    if noise and error.clipped >= _MOST * noise:
        return Kind.CLIPPING, f"its weights '{name}' reach {error.data_amax:.4g} and are cut ({kept})"
    if noise and error.vanished >= _MOST * noise:
        part = f"{100 * error.vanished / noise:.0f} % of the error of its weights '{name}'"
        return Kind.UNDERFLOW, f"{part} is of values that become 0 ({kept})"
    if noise and error.crowded >= _MOST * noise:
        part = f"{100 * error.crowded / noise:.0f} % of the error of its weights '{name}'"
        large = f"is in blocks with one large weight, up to {_times(error.block_ratio)} their median"
        return Kind.LARGE_IN_BLOCK, f"{part} {large} ({kept}); smaller blocks help"
    if error.range_amax is not None and error.ratio >= WIDE_RATIO and not error.floats:
        wide = f"output channel {error.channel} is {_times(error.ratio)} as wide as the median"
        return Kind.WIDE_CHANNEL, f"its weights '{name}' have one scale, and {wide}"
    return Kind.ROUNDING, f"its weights '{name}' are rounded to an SQNR of {ratio}"


def codes_cause(operators: Sequence[str]) -> Cause:
    """Say of a layer whose operators compute on codes that no more is seen."""
    text = f"it computes on codes ({', '.join(operators)}), so weights and activations cannot be told apart"
    return Cause(Origin.EITHER, Kind.UNKNOWN, "", 100.0, text=text)


def activation_cause(share: float, inputs: Sequence[InputError]) -> Cause:
    """Explain a layer whose error comes from the activations it reads.

    Args:
        share: Share of the layer's squared error that its weights do not explain, 0 to 1.
        inputs: What became of each tensor that is quantized on the way; the one with most noise for its signal counts.
    """
    percent = round(100 * share, 1)
    if not inputs:
        return Cause(Origin.ACTIVATION, Kind.UNKNOWN, "", percent, text="the quantization of what it computes with")
    worst = max(inputs, key=lambda found: found.relative)
    kind, text = _activation_text(worst)
    is_wide = kind is Kind.WIDE_CHANNEL
    return Cause(
        origin=Origin.ACTIVATION,
        kind=kind,
        tensor=worst.tensor,
        share_percent=percent,
        range_amax=None if worst.range is None else worst.range.amax,
        data_amax=worst.amax,
        channel=worst.channel if is_wide else None,
        ratio=worst.ratio if is_wide else None,
        text=text,
    )


def _times(ratio: float) -> str:
    return "over 1000 times" if ratio > 1000 else f"{ratio:.0f} times"


def _activation_text(error: InputError) -> tuple[Kind, str]:
    name, kept = error.tensor, error.range
    sqnr = sqnr_of_sums(error.signal, error.noise)
    if kept is not None and kept.code(error.low) == kept.code(error.high):
        step = f"a step is {kept.scale:.4g}" if kept.qtype is None else f"the range ends at {kept.high:.4g}"
        return Kind.DEAD, (
            f"all values of '{name}' get one code: they lie between {error.low:.4g} and {error.high:.4g}, and {step}"
        )
    if kept is not None and error.noise and error.clipped >= _MOST * error.noise:
        part = min(100.0, 100 * error.clipped / error.noise)
        end = kept.high if error.high - kept.high >= kept.low - error.low else kept.low
        met = error.high if end == kept.high else error.low
        wide = ""
        if error.channel is not None and error.ratio >= WIDE_RATIO:
            wide = f"; its channel {error.channel} is {_times(error.ratio)} as wide as the median"
        return Kind.CLIPPING, (
            f"'{name}' is cut at {end:.4g} and reaches {met:.4g}: {part:.0f} % of the error is outside the range{wide}"
        )
    if error.noise and error.vanished >= _MOST * error.noise:
        part = min(100.0, 100 * error.vanished / error.noise)
        return Kind.UNDERFLOW, f"{part:.0f} % of the error of '{name}' is of values so small that they become 0"
    if kept is not None and kept.qtype is None and error.channel is not None and error.ratio >= WIDE_RATIO:
        return Kind.WIDE_CHANNEL, (
            f"'{name}' has one scale, and its channel {error.channel} is {_times(error.ratio)} as wide as the median "
            f"({error.amax:.4g}): steps of {kept.scale:.3g}"
        )
    step = "" if kept is None or kept.qtype is not None else f" in steps of {kept.scale:.3g}"
    return Kind.ROUNDING, f"'{name}' is rounded{step} to an SQNR of {decibels(sqnr)}"
