"""The blocked layout of any processor, laid out here by hand: every value once, and nothing of the padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from calibrators import Histogram
from qdq_cli.running.blocks import Blocks, Laid, block_width
from qdq_cli.running.session import SessionOptions, make_session


def blocked(plain: np.ndarray, width: int, filler: float) -> np.ndarray:
    """Lay a tensor [N, C, H, W] out in blocks, as ONNX Runtime's `ReorderInput` does, its padding full of `filler`."""
    samples, channels, height, columns = plain.shape
    count = -(-channels // width)
    padded = np.full((samples, count * width, height, columns), filler, np.float32)
    padded[:, :channels] = plain
    split = padded.reshape(samples, count, width, height, columns).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(split).reshape(padded.shape)


@pytest.mark.parametrize("filler", [0.0, 1e30, np.nan])
@pytest.mark.parametrize(("width", "samples"), [(4, 2), (8, 1), (8, 3), (16, 1), (16, 2)])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 24, 32, 100])
def test_padding_counts_not_and_everything_else_once(channels: int, width: int, samples: int, filler: float):
    plain = np.random.default_rng(channels).normal(size=(samples, channels, 5, 3)).astype(np.float32)
    blocks = Blocks(channels, width)
    array = blocked(plain, width, filler)
    assert array.shape[1] == blocks.padded
    parts = list(blocks.values(array))
    assert all(part.flags.c_contiguous for part in parts)
    assert np.array_equal(np.sort(np.concatenate([part.ravel() for part in parts])), np.sort(plain.ravel()))
    found, expected = Histogram(), Histogram()
    expected.observe(plain)
    for part in parts:
        found.observe(part)
    assert found == expected


def test_an_empty_batch_has_no_values():
    assert sum(part.size for part in Blocks(17, 16).values(np.zeros((0, 32, 2, 2), np.float32))) == 0


def test_the_width_is_that_of_this_processor():
    assert block_width() in (0, 4, 8, 16)
    assert block_width() == block_width()


def test_a_processor_without_blocks_is_told(monkeypatch):
    """As where a release of ONNX Runtime leaves the layout alone."""

    def portable(source, options: SessionOptions):
        return make_session(source, SessionOptions(threads=1, optimize=True, portable=True, keep=options.keep))

    monkeypatch.setattr("qdq_cli.running.blocks.make_session", portable)
    assert block_width.__wrapped__() == 0


def test_padded_is_a_whole_number_of_blocks():
    for channels, width in itertools.product(range(1, 70), (4, 8, 16)):
        blocks = Blocks(channels, width)
        assert blocks.padded % width == 0
        assert 0 <= blocks.padded - channels < width


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 32])
def test_a_part_is_that_of_the_tensor_in_plain_order(channels: int, width: int):
    plain = np.random.default_rng(channels).normal(size=(3, channels, 5, 4)).astype(np.float32)
    held = Laid(blocked(plain, width, np.nan), Blocks(channels, width))
    assert held.shape == plain.shape == Laid(plain).shape
    for row, window in itertools.product(range(3), [(), (slice(1, 4), slice(0, 2)), (slice(0, 5), slice(3, 4))]):
        expected = plain[row : row + 1][(slice(None), slice(None), *window)]
        assert np.array_equal(held.part(row, window), expected)
        assert np.array_equal(Laid(plain).part(row, window), expected)
