"""Samples in memory, in every form that people have them in: equal samples give equal models."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import qdq_cli
from tests.calls.tensors import SAMPLES, Capsule, DataSet, Loader, Tensor, convnet, two_inputs
from tests.workspace import write_images

MODEL = convnet()


def quantized(calib: Any, **keywords: Any) -> bytes:
    content: bytes = qdq_cli.quantize(MODEL, calib, **keywords).model.SerializeToString()
    return content


EXPECTED = quantized(SAMPLES)


def singles():
    yield from (SAMPLES[k : k + 1] for k in range(len(SAMPLES)))


FORMS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: Tensor(SAMPLES),
    "capsule": lambda: Capsule(SAMPLES),
    "dict": lambda: {"images": SAMPLES},
    "list": lambda: list(SAMPLES),
    "list of batches": lambda: [SAMPLES[:10], SAMPLES[10:]],
    "list of dicts": lambda: [{"images": Tensor(each)} for each in SAMPLES],
    "list of tuples": lambda: [(each,) for each in SAMPLES],
    "generator": singles,
    "data set": lambda: DataSet(SAMPLES),
    "loader": lambda: Loader(SAMPLES, 5),
    "map": lambda: map(Tensor, SAMPLES),
    "function": lambda: singles,
    "function of a list": lambda: lambda: list(SAMPLES),
    "function of a loader": lambda: lambda: Loader(SAMPLES, 5),
    "nested lists": lambda: SAMPLES.astype(np.float64).tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_model(form: str):
    assert quantized(FORMS[form]()) == EXPECTED


def test_several_inputs_by_name_and_in_order():
    x, y = np.split(np.random.default_rng(2).normal(size=(20, 24)).astype(np.float32), [16], axis=1)
    model = two_inputs()
    forms = (
        {"y": y, "x": x},
        [(a, b) for a, b in zip(x, y, strict=True)],
        ({"x": Tensor(a), "y": Tensor(b)} for a, b in zip(x, y, strict=True)),
        zip(x, y, strict=True),
    )
    results = [qdq_cli.quantize(model, form) for form in forms]
    assert len({result.model.SerializeToString() for result in results}) == 1


def test_a_generator_has_one_item_in_memory():
    alive: list[weakref.ref[Tensor]] = []

    def feeds():
        for values in SAMPLES:
            assert not any(item() is not None for item in alive)
            item = Tensor(values.copy())
            alive.append(weakref.ref(item))
            yield {"images": item}
            del item

    assert quantized(feeds()) == EXPECTED
    alive.clear()
    assert quantized(feeds) == EXPECTED


def test_memory_does_not_grow_with_the_length_of_a_generator():
    """A sample takes 3 kB; the temporary file is one from 16 MB on."""

    def peak(count: int) -> int:
        gc.collect()
        tracemalloc.start()
        feeds = (np.full((1, 3, 384, 384), k, np.float32) for k in range(count))
        model = pooling_net()
        qdq_cli.calibrate(model, feeds)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(12), peak(36)  # 21 and 64 MB of samples
    assert many - few < 10e6


def pooling_net():
    from tests.networks import Network

    net = Network()
    x = net.op("AveragePool", net.input("x", ("N", 3, 384, 384)), kernel_shape=[64, 64], strides=[64, 64])
    return net.proto(net.conv(x, 16, scale=None))


def test_an_endless_generator_is_read_as_far_as_needed():
    given = []

    def endless():
        rng = np.random.default_rng(0)
        while True:
            given.append(1)
            yield rng.normal(size=(3, 16, 16)).astype(np.float32)

    report = qdq_cli.quantize(MODEL, endless(), samples=20, verify=4).report
    assert (report.calibration.samples, len(given)) == (20, 24)


def test_a_long_data_set_is_read_evenly_spread():
    items = DataSet(np.resize(SAMPLES, (1000, 3, 16, 16)))
    qdq_cli.quantize(MODEL, items, samples=8, verify=2)
    assert items.asked == [50 + 100 * k for k in range(10)]


def test_labels_are_left_alone_with_a_note():
    notes = qdq_cli.quantize(MODEL, Loader(SAMPLES, 5)).report.notes
    assert notes == (
        "calib[0]: the last 1 of 2 elements are for no input and are not used.",
        "calib: 4 more items alike.",
    )


def test_pictures_go_through_the_preprocessing(tmp_path):
    """Those of Pillow, too, of whatever size; from a folder the same pictures give the same ranges."""
    folder = write_images(tmp_path / "images", 12)
    pictures = [Image.open(folder / f"{k}.png").convert("RGB") for k in range(12)]
    result = qdq_cli.quantize(MODEL, pictures, preprocess="unit")
    files = qdq_cli.quantize(MODEL, folder, preprocess="unit")
    assert result.model == files.model
    assert result.report.calibration.preprocessing == files.report.calibration.preprocessing


def test_paths(tmp_path):
    np.savez(tmp_path / "a.npz", images=SAMPLES[:12])
    np.savez(tmp_path / "b.npz", images=SAMPLES[12:])
    paths = [tmp_path / "a.npz", str(tmp_path / "b.npz")]
    assert quantized(paths) == quantized(tuple(paths)) == EXPECTED


def test_a_table_in_place_of_samples():
    seen = qdq_cli.calibrate(MODEL, singles())
    one = qdq_cli.quantize(MODEL, SAMPLES, verify=0)
    assert qdq_cli.quantize(MODEL, seen.table).model == one.model
    assert qdq_cli.quantize(MODEL, seen.table).table == seen.table == one.table
    with pytest.raises(qdq_cli.UsageError, match="calib is a calibration table, and cache names another one"):
        qdq_cli.quantize(MODEL, seen.table, cache="a.qcal")


def test_the_table_of_a_result_is_that_of_a_cache(tmp_path):
    """Of a generator too, and with recovery, which changes ranges afterwards."""
    cached = qdq_cli.quantize(MODEL, SAMPLES, cache=tmp_path / "a.qcal")
    plain = qdq_cli.quantize(MODEL, singles(), recover="equalize")
    assert plain.table == cached.table
    assert plain.report.recovery is not None


def test_texts_for_an_input_of_texts():
    from qdq_cli.data.held import as_array

    assert as_array(np.array(["a", "bc"], object), "x").dtype.kind == "U"
