"""What recovery did and what it gained, as frozen records; they are part of the `--json` document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerGain:
    """What one step did to one layer.

    Args:
        step: Name of the step.
        where: The node, or the tensor for ranges and channels.
        accepted: Whether it stays.
        before_db: SQNR of the layer's own output on held-back samples without it, dB; None for steps that are judged
            by the model's outputs alone.
        after_db: The same with it.
    """

    step: str
    where: str
    accepted: bool
    before_db: float | None = None
    after_db: float | None = None


@dataclass(frozen=True)
class StepGain:
    """What one step gained.

    Args:
        step: Its name.
        tried: Layers, tensors or components it proposed a change for.
        accepted: How many of these changes stay.
        gain_db: How far the noise of the model's outputs fell, in dB, over all changes of the step.
    """

    step: str
    tried: int
    accepted: int
    gain_db: float


@dataclass(frozen=True)
class Recovery:
    """What recovery did.

    Args:
        samples: Held-back calibration samples it was judged on.
        before_db: SQNR of the model's outputs on them before, averaged over outputs and channels, dB.
        after_db: The same after.
        steps: One entry a step, in the order they were taken.
        layers: One entry a layer and step.
    """

    samples: int
    before_db: float
    after_db: float
    steps: tuple[StepGain, ...]
    layers: tuple[LayerGain, ...]
