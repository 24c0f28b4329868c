from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.data.batches import full_runs, load_readable_batch, plan_batches
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.sample import Sample
from qdq_cli.data.samples import SampleSet
from qdq_cli.data.unreadable import UnreadableSampleError, UnreadableSamples
from qdq_cli.process.errors import DataError, UsageError
from tests.data.loading import load_batch


class Given:
    """Samples of given shapes; sample k is filled with k; some cannot be decoded."""

    kind = "array"

    def __init__(self, name, shapes, broken=()):
        self.name, self.all_shapes, self.broken = name, shapes, broken

    def __len__(self):
        return len(self.all_shapes)

    def shapes(self, index):
        return (self.all_shapes[index],)

    def load(self, index):
        if index in self.broken:
            raise UnreadableSampleError(f"{index}.png", "broken")
        return Sample(f"{index}.png", {self.name: np.full(self.all_shapes[index], index, np.float32)})


def samples_of(declared, shapes, broken=()):
    return SampleSet([InputSpec("x", np.dtype(np.float32), declared)], [Given("x", shapes, broken)])


def test_samples_of_equal_shape_are_joined_on_axis_0():
    samples = samples_of((None, 2), [(1, 2)] * 5)
    plan = plan_batches(samples, range(5), 2)
    assert (plan.groups, plan.batch_size, plan.dropped) == (((0, 1), (2, 3), (4,)), 2, 0)
    batch = load_batch(samples, plan.groups[1])
    assert batch.arrays["x"].tolist() == [[2, 2], [3, 3]]
    assert (batch.sources, batch.samples) == (("2.png", "3.png"), 2)


def test_only_the_chosen_samples_are_planned():
    samples = samples_of((None, 2), [(1, 2)] * 10)
    assert plan_batches(samples, (1, 4, 9), 2).groups == ((1, 4), (9,))


def test_samples_of_other_shape_go_to_other_batches():
    samples = samples_of((None, None), [(1, 2), (1, 3), (1, 2), (1, 3), (1, 2)])
    assert plan_batches(samples, range(5), 2).groups == ((0, 2), (1, 3), (4,))


def test_a_sample_that_is_a_whole_batch_runs_alone():
    samples = samples_of((None, 2), [(1, 2), (4, 2), (1, 2)])
    assert plan_batches(samples, range(3), 8).groups == ((0, 2), (1,))


def test_a_fixed_batch_takes_exactly_so_many_and_drops_the_rest():
    samples = samples_of((4, 2), [(1, 2)] * 11 + [(4, 2)])
    plan = plan_batches(samples, range(12))
    assert plan.groups == ((0, 1, 2, 3), (4, 5, 6, 7), (11,))
    assert (plan.batch_size, plan.dropped) == (4, 3)
    assert load_batch(samples, plan.groups[0]).arrays["x"].shape == (4, 2)


def test_too_few_samples_for_a_fixed_batch_are_refused():
    with pytest.raises(DataError, match="exactly 4 samples a run, but there are only 3"):
        plan_batches(samples_of((4, 2), [(1, 2)] * 3), range(3))


def test_no_samples_are_no_batches():
    assert plan_batches(samples_of((4, 2), [(1, 2)] * 3), ()).groups == ()


@pytest.mark.parametrize(("declared", "size"), [((4, 2), 8), ((1, 2), 2), ((4, 2), 1)])
def test_a_batch_size_against_the_model_is_refused(declared, size):
    with pytest.raises(UsageError, match=f"--batch-size is {size}, but the model takes {declared[0]} a run"):
        plan_batches(samples_of(declared, [(1, 2)] * 8), range(8), size)
    assert plan_batches(samples_of(declared, [(1, 2)] * 8), range(8), declared[0]).batch_size == declared[0]


def test_inputs_without_a_common_batch_axis_run_one_by_one():
    specs = [InputSpec("x", np.dtype(np.float32), (None, 2)), InputSpec("s", np.dtype(np.int64), ())]
    samples = SampleSet(specs, [Given("x", [(1, 2)] * 3)])
    assert plan_batches(samples, range(3)).groups == ((0,), (1,), (2,))
    with pytest.raises(UsageError, match="do not all have the samples on axis 0"):
        plan_batches(samples, range(3), 2)


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(UsageError, match="--batch-size is 0"):
        plan_batches(samples_of((None, 2), [(1, 2)]), range(1), 0)


def test_the_default_is_one_by_one():
    assert plan_batches(samples_of((None, 2), [(1, 2)] * 3), range(3)).groups == ((0,), (1,), (2,))


@given(st.lists(st.sampled_from([(1, 2), (1, 3), (4, 2)]), max_size=30), st.integers(1, 8))
def test_every_sample_is_in_exactly_one_batch_of_one_shape(shapes, size):
    samples = samples_of((None, None), shapes)
    groups = plan_batches(samples, range(len(shapes)), size).groups
    assert sorted(index for group in groups for index in group) == list(range(len(shapes)))
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)
    for group in groups:
        assert len(group) <= size
        assert len({shapes[index] for index in group}) == 1


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_batch_says_which_samples_it_holds(size):
    samples = samples_of((None, 2), [(1, 2)] * 8)
    runs = [load_batch(samples, group) for group in plan_batches(samples, range(8), size).groups]
    found = [pair for run in runs for pair in zip(run.indices, run.sources, strict=True)]
    assert found == [(index, f"{index}.png") for index in range(8)]


def test_full_runs_of_a_fixed_batch_have_one_shape():
    samples = samples_of((2, None), [(1, 2), (1, 3), (1, 2), (1, 3), (1, 4)])
    assert full_runs(samples, (4, 2, 1, 0, 3)) == ((2, 0), (1, 3))
    assert full_runs(samples, (0, 1)) == ()
    assert full_runs(samples_of((None, 2), [(1, 2)] * 3), (2, 0)) == ((2,), (0,))


def test_any_thread_may_load_any_batch():
    samples = samples_of((None, 2), [(1, 2)] * 20)
    groups = plan_batches(samples, range(20), 3).groups
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda group: load_batch(samples, group), groups))
    assert [source for batch in loaded for source in batch.sources] == [f"{k}.png" for k in range(20)]


def test_unreadable_samples_are_left_out_while_they_are_few():
    samples = samples_of((None, 2), [(1, 2)] * 300, broken={1, 2})
    unreadable = UnreadableSamples(300)
    batch = load_readable_batch(samples, (0, 1, 3), unreadable)
    assert batch is not None
    assert batch.sources == ("0.png", "3.png")
    assert load_readable_batch(samples, (2,), unreadable) is None
    assert [error.source for error in unreadable.errors] == ["1.png", "2.png"]


def test_a_fixed_batch_with_a_hole_is_left_out():
    samples = samples_of((2, 2), [(1, 2)] * 300, broken={1})
    assert load_readable_batch(samples, (0, 1), UnreadableSamples(300)) is None
    assert load_readable_batch(samples, (2, 3), UnreadableSamples(300)) is not None
