from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qdq_cli.data.array_samples import Cut, cut_arrays, match_names, possible_cuts
from qdq_cli.data.inputs import batch_axis
from qdq_cli.process.errors import DataError

HERE = Path("calib.npz")


@dataclass
class InMemory:
    """An array that counts how often it is read."""

    array: np.ndarray
    label: str = "calib.npz: array 'x'"
    reads: list[object] = field(default_factory=list)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def item(self, index):
        self.reads.append(index)
        return self.array[index]

    def whole(self):
        self.reads.append("whole")
        return self.array


def cut(specs, **arrays):
    return cut_arrays(HERE, {name: InMemory(np.asarray(array)) for name, array in arrays.items()}, specs)


def rising(*shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("batch", [None, "N", 1, 8])
def test_an_array_of_the_inputs_rank_has_the_samples_first(batch, spec):
    data = rising(5, 3, 4)
    part = cut([spec("x", (batch, 3, 4))], x=data)
    assert len(part) == 5
    assert part.shapes(4) == ((1, 3, 4),)
    sample = part.load(4)
    assert sample.source == "calib.npz[4]"
    assert np.array_equal(sample.arrays["x"], data[4:5])


@pytest.mark.parametrize(("batch", "size"), [(None, 2), (2, 2), (1, 1), ("N", 7)])
def test_an_array_of_one_axis_more_holds_whole_runs(batch, size, spec):
    data = rising(5, size, 3)
    part = cut([spec("x", (batch, 3))], x=data)
    assert len(part) == 5
    assert np.array_equal(part.load(3).arrays["x"], data[3])


def test_an_array_without_the_batch_axis_is_one_sample(spec):
    data = rising(3, 4)
    part = cut([spec("x", ("N", 3, 4))], x=data)
    assert len(part) == 1
    assert part.load(0).source == "calib.npz"
    assert np.array_equal(part.load(0).arrays["x"], data[None])


def test_several_inputs_of_different_type_rank_and_batch_axis(spec):
    """A recurrent network that carries its state: the batch is axis 1 of the state, and one input is a scalar."""
    specs = [spec("input", (None, None)), spec("state", (2, None, 128)), spec("sr", (), np.int64)]
    chunks, states = rising(9, 1, 576), rising(9, 2, 1, 128)
    part = cut(specs, input=chunks, state=states, sr=np.full(9, 16000))
    assert len(part) == 9
    arrays = part.load(5).arrays
    assert np.array_equal(arrays["input"], chunks[5])
    assert np.array_equal(arrays["state"], states[5])
    assert (arrays["sr"].shape, arrays["sr"].dtype, int(arrays["sr"])) == ((), np.int64, 16000)


def test_one_run_of_such_a_network_saved_as_it_is_fed(spec):
    specs = [spec("input", (None, None)), spec("state", (2, None, 128)), spec("sr", (), np.int64)]
    part = cut(specs, input=rising(1, 576), state=rising(2, 1, 128), sr=np.int64(16000))
    assert len(part) == 1
    assert part.shapes(0) == ((1, 576), (2, 1, 128), ())
    assert part.load(0).arrays["state"].shape == (2, 1, 128)


def test_a_single_scalar_serves_all_samples(spec):
    part = cut([spec("x", (None, 3)), spec("threshold", ())], x=rising(4, 3), threshold=np.float32(0.5))
    assert len(part) == 4
    assert [float(part.load(k).arrays["threshold"]) for k in range(4)] == [0.5] * 4


def test_scalars_one_a_sample(spec):
    part = cut([spec("x", (None, 3)), spec("t", ())], x=rising(4, 3), t=rising(4))
    assert [float(part.load(k).arrays["t"]) for k in range(4)] == [0, 1, 2, 3]


def test_inputs_that_do_not_share_their_first_axis(spec):
    specs = [spec("image", (1, 3, 8, 8)), spec("boxes", ("boxes", 4))]
    part = cut(specs, image=rising(1, 3, 8, 8), boxes=rising(37, 4))
    assert len(part) == 1
    assert part.load(0).arrays["boxes"].shape == (37, 4)


def test_types_are_converted_when_a_sample_is_read(spec):
    part = cut([spec("x", (None, 3), np.float16)], x=rising(4, 3, dtype=np.float64))
    assert part.load(0).arrays["x"].dtype == np.float16


def test_opening_reads_nothing_and_a_sample_reads_itself(spec):
    stored = InMemory(rising(4, 3))
    part = cut_arrays(HERE, {"x": stored}, [spec("x", (None, 3))])
    assert stored.reads == []
    part.load(2)
    assert stored.reads == [2]


@pytest.mark.parametrize(
    ("declared", "shape", "move"),
    [
        ((None, 3, 8, 6), (5, 8, 6, 3), "channels last"),
        ((None, 8, 6, 3), (5, 3, 8, 6), "channels first"),
        ((None, 3, 8, 6), (8, 6, 3), "channels last"),
        ((None, 3, 8, 6), (5, 1, 8, 6, 3), "channels last"),
        (("N", 3, "H", "W"), (5, 8, 6, 3), "channels last"),
    ],
)
def test_a_layout_mistake_is_named_with_the_cure(declared, shape, move, spec):
    with pytest.raises(DataError) as caught:
        cut([spec("x", declared)], x=rising(*shape))
    assert move in caught.value.hint
    source, target = (-1, -3) if move == "channels last" else (-3, -1)
    assert f"numpy.moveaxis(array, {source}, {target})" in caught.value.hint
    assert len(cut([spec("x", declared)], x=np.moveaxis(rising(*shape), source, target))) in (1, 5)


def test_a_wrong_shape_shows_both(spec):
    with pytest.raises(DataError) as caught:
        cut([spec("x", ("N", 3, 224, 224))], x=rising(5, 3, 8, 8))
    assert "[5, 3, 8, 8]" in caught.value.message
    assert "input 'x' (float32 [N, 3, 224, 224])" in caught.value.message
    assert "[samples, 3, 224, 224]" in caught.value.hint


def test_an_empty_array_is_refused(spec):
    with pytest.raises(DataError, match=r"holds no samples; its shape is \[0, 3\]"):
        cut([spec("x", (None, 3))], x=np.zeros((0, 3), np.float32))


def test_arrays_of_different_length_are_refused(spec):
    with pytest.raises(DataError, match=r"equally many samples: 'a' \[4, 3\], 'b' \[5, 3\]"):
        cut([spec("a", (None, 3)), spec("b", (None, 3))], a=rising(4, 3), b=rising(5, 3))


def test_runs_of_different_batch_are_refused(spec):
    with pytest.raises(DataError, match="equally many samples"):
        cut([spec("a", (None, 3)), spec("b", (None, 3))], a=rising(4, 2, 3), b=rising(4, 5, 3))


def test_a_wrong_type_is_refused_before_anything_is_read(spec):
    with pytest.raises(DataError, match="has the type int64, but input 'x' takes float32"):
        cut([spec("x", (None, 3))], x=rising(4, 3, dtype=np.int64))


@pytest.mark.parametrize(
    ("shape", "declared", "expected"),
    [
        ((4, 3), (None, 3), {Cut.ROWS: 4}),
        ((4, 3), (2, 3), {Cut.ROWS: 4}),
        ((2, 3), (2, 3), {Cut.ROWS: 2}),
        ((3,), (None, 3), {Cut.BARE: 1}),
        ((7, 4, 3), (None, 3), {Cut.ITEMS: 7}),
        ((7, 4, 3), (2, 3), {}),
        ((), (), {Cut.SHARED: 1}),
        ((6,), (), {Cut.ITEMS: 6}),
        ((), (None,), {Cut.BARE: 1}),
        ((4, 3), (), {}),
    ],
)
def test_possible_cuts(shape, declared, expected, spec):
    only = spec("x", declared)
    assert possible_cuts(shape, only, batch_axis([only])) == expected


def test_names_match_and_extras_are_noted(spec):
    specs = [spec("b", (None, 3)), spec("a", (None, 3))]
    found, note = match_names(HERE, {"a": 1, "labels": 2, "b": 3}, specs)
    assert found == {"b": 3, "a": 1}
    assert note == "calib.npz: 'labels' is no input of the model and is not used."
    assert match_names(HERE, {"a": 1, "b": 3}, specs) == ({"b": 3, "a": 1}, "")


def test_one_array_of_any_name_serves_one_input_with_a_note(spec):
    found, note = match_names(HERE, {"data": 1}, [spec("x", (None, 3))])
    assert found == {"x": 1}
    assert note == "calib.npz: 'data' is taken for input 'x'."


def test_unnamed_arrays_go_by_position(spec):
    specs = [spec("x", (None, 3)), spec("y", (None, 3))]
    found, note = match_names(HERE, {"arr_1": 1, "arr_0": 0}, specs)
    assert found == {"x": 0, "y": 1}
    assert "'arr_0' is taken for input 'x', 'arr_1' is taken for input 'y'" in note


@pytest.mark.parametrize("arrays", [{"x": 1}, {"p": 1, "q": 2}, {"x": 1, "z": 2}, {"arr_0": 1, "arr_2": 2}])
def test_a_missing_name_lists_what_is_there_and_what_is_wanted(arrays, spec):
    with pytest.raises(DataError) as caught:
        match_names(HERE, arrays, [spec("x", (None, 3)), spec("y", (None, 3))])
    assert all(f"'{name}'" in caught.value.message for name in arrays)
    assert "'x', 'y'" in caught.value.hint


def test_two_arrays_of_other_names_for_one_input_are_refused(spec):
    with pytest.raises(DataError, match="no array for input 'x'; there is 'a', 'b'"):
        match_names(HERE, {"a": 1, "b": 2}, [spec("x", (None, 3))])
