"""Read a run of samples of which none may be missing."""

from __future__ import annotations

from qdq_cli.data.batches import Batch, Group, load_readable_batch
from qdq_cli.data.samples import SampleSet
from qdq_cli.data.unreadable import UnreadableSamples


def load_batch(samples: SampleSet, group: Group) -> Batch:
    """The samples of one run."""
    batch = load_readable_batch(samples, group, UnreadableSamples(len(samples)))
    assert batch is not None
    return batch
