"""The compiled counter: sixteen values a step, in instructions of LLVM that it cuts to what the processor has.

Only imported where Numba is there (`kernels.warm_up`). Three things make it as fast as memory allows:

- The extremes of a block are found while it is in the first-level cache, so the values are fetched once, and asked for
  some thousands ahead: without that, fetching takes as long as everything else.
- Each histogram has counters of its own, two of 32 bits a cell that take turns, so that equal values in a row do not
  wait for each other. Nothing has to be emptied or added up behind a call.
- Half of the values behind a Relu are zeros. Where the processor can squeeze a vector (AVX-512), the others alone are
  put one behind the other, and the number of zeros is what is missing. Elsewhere cell 0 has spare cells that take turns
  as well; otherwise the processor bets on one more zero, and every lost bet costs as much as a dozen values.
- Behind a Clip many values equal its bound. Where a block has the largest value of the block before it, and that is
  above zero, values of its bits are left out of the squeezed vector too, and counted all at once.

Source: LLVM Language Reference, `llvm.prefetch`, `llvm.vector.reduce.smin`, `llvm.experimental.vector.compress`.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from calibrators.cells import CELLS, CENTER

WIDTH = 16  # values of a step
BLOCK = 1024  # values whose extremes are known before they are counted
SPARE = 128  # cells that cell 0 takes turns with
COUNTERS = 2 * (CELLS + SPARE)
"""Size of the array of counters."""

NUMBERS = BLOCK + WIDTH
"""Size of the array of cell numbers: a squeezed vector is written as a whole."""

_AHEAD = 2 * BLOCK  # how far ahead values are asked for
_SQUEEZE = "llvm.experimental.vector.compress.v16i32"
_ONE = np.uint32(1)
_TWO = np.uint64(2)
_FOUR = np.uint64(4)
_STEP = np.uint64(WIDTH)
_SIZE = np.uint64(BLOCK)
_LOWER = np.uint64(0xFFFFFFFF)

_FLOAT, _INT, _LONG, _BIT = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(1)
_FLOATS, _INTS, _BITS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT, WIDTH), ir.VectorType(_BIT, WIDTH)


@functools.cache
def squeezes() -> bool:
    """Whether the processor squeezes vectors, and this LLVM knows how to say it."""
    features = llvmlite.binding.get_host_cpu_features()
    return bool(features.get("avx512f")) and llvmlite.binding.llvm_version_info >= (19,)


def _all(number: int) -> Any:
    """A vector of one number."""
    return ir.Constant(_INTS, [number] * WIDTH)


def _spread(builder: Any, scalar: Any, vector: Any) -> Any:
    """A vector of one value that is not known yet."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, nothing, _all(0))


def _known(builder: Any, name: str, kind: Any) -> Any:
    """An instruction of LLVM that is called like a function."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where the values of an array are."""
    return context.make_array(kind)(context, builder, array).data


def _load(builder: Any, data: Any, place: Any, vector: Any) -> Any:
    """The vector at a place of an array, wherever that lies in memory."""
    return builder.load(builder.bitcast(builder.gep(data, [place]), vector.as_pointer()), align=1)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _ends(typing: Any, values: Any, start: Any) -> Any:
    """(values, start) -> keys of the largest and smallest value of a block, in one number; fetches a later block."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = _data(context, builder, signature.args[0], given[0])
        low = cgutils.alloca_once_value(builder, _all(0x7FFFFFFF))
        high = cgutils.alloca_once_value(builder, _all(-0x80000000))
        builder.store(_all(0x7FFFFFFF), low)
        builder.store(_all(-0x80000000), high)
        with cgutils.for_range_slice(builder, _LONG(0), _LONG(BLOCK), _LONG(WIDTH), _LONG) as (step, _):
            bits = _load(builder, data, builder.add(given[1], step), _INTS)
            sign = builder.ashr(bits, _all(31))
            key = builder.xor(bits, builder.and_(sign, _all(0x7FFFFFFF)))
            for place, order in ((low, "<"), (high, ">")):
                so_far = builder.load(place)
                builder.store(builder.select(builder.icmp_signed(order, key, so_far), key, so_far), place)
        kind = ir.FunctionType(_INT, [_INTS])
        smallest = builder.call(_known(builder, "llvm.vector.reduce.smin.v16i32", kind), [builder.load(low)])
        largest = builder.call(_known(builder, "llvm.vector.reduce.smax.v16i32", kind), [builder.load(high)])
        return builder.or_(builder.shl(builder.sext(largest, _LONG), _LONG(32)), builder.zext(smallest, _LONG))

    return numba.types.int64(values, start), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _ask_for(typing: Any, values: Any, place: Any) -> Any:
    """(values, place): let the processor fetch what is there, or is not; nothing waits for it."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = builder.gep(_data(context, builder, signature.args[0], given[0]), [given[1]])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        read, keep, data_cache = _INT(0), _INT(3), _INT(1)
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(fetch, [builder.bitcast(data, byte), read, keep, data_cache])
        return context.get_dummy_value()

    return numba.types.void(values, place), build


def _place(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    """Where the next numbers are written: arguments 3 and 4 are the array of numbers, and the place in it."""
    target = builder.gep(_data(context, builder, signature.args[3], given[3]), [given[4]])
    return builder.bitcast(target, _INTS.as_pointer())


def _squeezed(builder: Any, numbers: Any, counted: Any, place: Any) -> None:
    """Write those of a vector that are counted, one behind the other."""
    kind = ir.FunctionType(_INTS, [_INTS, _BITS, _INTS])
    packed = builder.call(_known(builder, _SQUEEZE, kind), [numbers, counted, ir.Constant(_INTS, ir.Undefined)])
    builder.store(packed, place, align=4)


def _how_many(builder: Any, counted: Any) -> Any:
    """How many of a vector are counted."""
    mask = ir.IntType(WIDTH)
    count = _known(builder, f"llvm.ctpop.i{WIDTH}", ir.FunctionType(mask, [mask]))
    return builder.call(count, [builder.bitcast(counted, mask)])


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _put(typing: Any, values: Any, start: Any, inverse_width: Any, numbers: Any, at: Any) -> Any:
    """(values, start, 1 / width, numbers, at) -> at: write the numbers of the cells of sixteen values, from `at` on.

    Where vectors are squeezed, those of cell 0 are left out, and what lies behind the new `at` is of no meaning.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = _data(context, builder, signature.args[0], given[0])
        scaled = builder.fmul(_load(builder, data, given[1], _FLOATS), _spread(builder, given[2], _FLOATS))
        number = builder.fptosi(scaled, _INTS)  # towards zero
        counted = builder.icmp_signed("!=", number, _all(0))
        place = _place(context, builder, signature, given)
        if not squeezes():
            turns = builder.trunc(builder.urem(given[4], _LONG(SPARE)), _INT)
            spare = builder.add(
                _spread(builder, turns, _INTS), ir.Constant(_INTS, [CENTER + 1 + i for i in range(WIDTH)])
            )
            builder.store(builder.select(counted, number, spare), place, align=4)
            return builder.add(given[4], _LONG(WIDTH))
        _squeezed(builder, number, counted, place)
        return builder.add(given[4], builder.zext(_how_many(builder, counted), _LONG))

    return numba.types.uint64(values, start, inverse_width, numbers, at), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _squeezes(typing: Any) -> Any:
    """Whether vectors are squeezed, known where code is compiled: the other way takes no place in it."""
    return numba.types.boolean(), lambda context, builder, signature, given: _BIT(int(squeezes()))


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _put_below(  # noqa: PLR0913, PLR0917 - an intrinsic is handed arrays and numbers, no records
    typing: Any, values: Any, start: Any, inverse_width: Any, numbers: Any, at: Any, top: Any
) -> Any:
    """The same where vectors are squeezed, with values of the bits `top` left out too.

    Returns:
        How many numbers were written, and in the upper half how many would have been without `top`.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if not squeezes():
            return _LONG(0)  # never asked
        read = _load(builder, _data(context, builder, signature.args[0], given[0]), given[1], _FLOATS)
        number = builder.fptosi(builder.fmul(read, _spread(builder, given[2], _FLOATS)), _INTS)
        below = builder.icmp_signed("!=", builder.bitcast(read, _INTS), _spread(builder, given[5], _INTS))
        inner = builder.icmp_signed("!=", number, _all(0))
        counted = builder.and_(inner, below)
        _squeezed(builder, number, counted, _place(context, builder, signature, given))
        found = [builder.zext(_how_many(builder, some), _LONG) for some in (counted, inner)]
        return builder.or_(found[0], builder.shl(found[1], _LONG(32)))

    return numba.types.uint64(values, start, inverse_width, numbers, at, top), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _number_of(typing: Any, bits: Any, inverse_width: Any) -> Any:
    """(bits of a float, 1 / width) -> number of its cell."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fptosi(builder.fmul(builder.bitcast(given[0], _FLOAT), given[1]), _LONG)

    return numba.types.int64(bits, inverse_width), build


# Unsigned index types keep Numba from emitting code for negative indices.
def count(
    values: Any, inverse_width: Any, limit: Any, counters: Any, numbers: Any
) -> Any:  # pragma: no cover  (compiled by Numba; equal to count_with_numpy by test)
    """Body of the counter: (values counted, key of the smallest, key of the largest value that was looked at).

    Args:
        values: float32, contiguous, any alignment.
        inverse_width: float32.
        limit: float32 bits of the largest magnitude that is counted; a block that holds a larger one, and all that
            follows, is not.
        counters: uint32 [COUNTERS], two a cell; the spare cells are behind the others.
        numbers: int32 [BLOCK + WIDTH], of no meaning before and after.
    """
    size = np.uint64(values.size)
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    before = np.int32(0)
    zeros: Any = np.uint64(0)
    done: Any = np.uint64(0)
    while done + _SIZE <= size:
        found = _ends(values, done)
        low, high = min(low, np.int32(found & np.int64(0xFFFFFFFF))), max(high, np.int32(found >> np.int64(32)))
        if high > limit or low < -1 - limit:
            break
        at: Any = np.uint64(0)
        highest = np.int32(found >> np.int64(32))
        if _squeezes() and highest == before and highest > np.int32(0):
            inner: Any = np.uint64(0)
            for step in range(np.uint64(BLOCK // WIDTH)):
                start = done + np.uint64(step) * _STEP
                _ask_for(values, start + np.uint64(_AHEAD))
                both = _put_below(values, start, inverse_width, numbers, at, highest)
                at += both & _LOWER
                inner += both >> np.uint64(32)
            zeros += _SIZE - inner
            counters[np.uint64(_number_of(highest, inverse_width) + CENTER) * _TWO] += np.uint32(inner - at)
        else:
            for step in range(np.uint64(BLOCK // WIDTH)):
                start = done + np.uint64(step) * _STEP
                _ask_for(values, start + np.uint64(_AHEAD))
                at = _put(values, start, inverse_width, numbers, at)
            zeros += _SIZE - at
        before = highest
        quads = at // _FOUR
        for quad in range(quads):
            place = np.uint64(quad) * _FOUR
            counters[np.uint64(numbers[place] + CENTER) * _TWO] += _ONE
            counters[np.uint64(numbers[place + np.uint64(1)] + CENTER) * _TWO + np.uint64(1)] += _ONE
            counters[np.uint64(numbers[place + np.uint64(2)] + CENTER) * _TWO] += _ONE
            counters[np.uint64(numbers[place + np.uint64(3)] + CENTER) * _TWO + np.uint64(1)] += _ONE
        for i in range(quads * _FOUR, at):
            counters[np.uint64(numbers[np.uint64(i)] + CENTER) * _TWO] += _ONE
        done += _SIZE
    if done + _SIZE > size and done < size:
        keys = values.view(np.int32)
        for i in range(done, size):
            key = keys[np.uint64(i)]
            key = key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))
            low, high = min(low, key), max(high, key)
        if high <= limit and low >= -1 - limit:
            for i in range(done, size):
                number = np.int64(values[np.uint64(i)] * inverse_width)
                counters[np.uint64(number + CENTER) * _TWO] += _ONE
            done = size
    counters[np.uint64(CENTER) * _TWO] += np.uint32(zeros)
    return np.int64(done), np.int64(low), np.int64(high)


def compiled(*, cache: bool) -> Any:
    """Compile the counter, or read it from Numba's cache.

    Args:
        cache: Whether to look there, and to leave it there.
    """
    numbers = numba.types
    signature = numbers.UniTuple(numbers.int64, 3)(
        # A read-only, unaligned parameter takes every contiguous buffer without a second specialisation.
        numbers.Array(numbers.float32, 1, "C", readonly=True, aligned=False),
        numbers.float32,
        numbers.int64,
        numbers.Array(numbers.uint32, 1, "C"),
        numbers.Array(numbers.int32, 1, "C"),
    )
    return numba.njit([signature], nogil=True, cache=cache)(count)
