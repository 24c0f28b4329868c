"""Stored arrays into samples: the one step that files, archives and samples in memory share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.array_samples import Stored, cut_arrays
from qdq_cli.data.image_samples import ImageSetup, PixelPart, set_up_images
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.sample import Part


@dataclass(frozen=True)
class Opened:
    """Samples of one source, opened.

    Args:
        parts: The samples.
        notes: Sentences the user should read.
        setup: How pictures become inputs; None where there are none.
    """

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    setup: ImageSetup | None = None


def open_stored(
    source: Path, stored: Mapping[str, Stored], specs: Sequence[InputSpec], preprocessing: Preprocessing | None
) -> Opened:
    """Cut the arrays of one source into samples, or take them for pixels where the user says how to scale these.

    Args:
        source: What sentences call it.
        stored: Input name -> array; has all inputs.
        specs: The inputs.
        preprocessing: What the user chose, or what is assumed for pictures.

    Raises:
        DataError: An array has the wrong type or shape.
    """
    if preprocessing is not None and not preprocessing.assumed and _are_pixels(stored, specs):
        setup = set_up_images(specs, preprocessing)
        return Opened((PixelPart(source, stored[specs[0].name], setup),), (), setup)
    return Opened((cut_arrays(source, stored, specs),))


def _are_pixels(stored: Mapping[str, Stored], specs: Sequence[InputSpec]) -> bool:
    """8-bit arrays for one float input of an image's rank are pixels once the user says how to scale them."""
    return (
        len(specs) == 1
        and stored[specs[0].name].dtype == np.uint8
        and specs[0].dtype.kind not in "iub"
        and specs[0].rank in (3, 4)
    )


def joined(root: object, opened: Sequence[Opened], what: str = "files") -> Opened:
    """Put sources of one kind together; of notes that each of them has, the first stands for all.

    Args:
        root: What sentences call the whole.
        opened: Its sources, in order.
        what: What these are.
    """
    parts = tuple(part for each in opened for part in each.parts)
    notes = [note for each in opened for note in each.notes if note]
    if len(notes) > 1:
        notes = [notes[0], f"{root}: {len(notes) - 1} more {what} alike."]
    return Opened(parts, tuple(notes), next((each.setup for each in opened if each.setup), None))
