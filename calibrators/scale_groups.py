"""ScaleGroup: tensors that share a scale, and what of a model their range depends on; as part of a calibration cache.

n groupings, each:
    n wide tensors, each s name
    n groups, each: n tensors and their names · n observed and their names · n read by depthwise and their names
        n depthwise (0 or 1)
        from format 6 on: n the method found best (0 none, 1 mse, 2 entropy, 3 percentile, 4 minmax)
            from format 7 on also 5 sigmoid, 6 swish, 7 hardsigmoid, 8 hardswish, 9 gelu, 10 tanh, 11 parts
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from calibrators.packing import Reader, packed_number, packed_text
from calibrators.ranges import Range

_MOST_GROUPINGS = 64
_MOST_NAMES = 100_000
_METHODS = ("", "mse", "entropy", "percentile", "minmax")
_JUDGED = (*_METHODS, "sigmoid", "swish", "hardsigmoid", "hardswish", "gelu", "tanh", "parts")


@dataclass(frozen=True)
class ScaleGroup:
    """Tensors that must share one scale (rules P6, P10-P12), and who reads them.

    Args:
        tensors: The quantized tensors of the group.
        observed: Those whose values calibration has to see: every value of the others is among theirs.
        known: The range where no calibration is needed: an existing Q/DQ pair on one of the tensors, or a function
            with a known range (Softmax, Sigmoid: 0 to 1).
        depthwise: Every weighted operator that reads one of the tensors is a depthwise Conv.
        read_depthwise: Those of the tensors that a depthwise Conv reads.
        judged: Which of `calibrators.methods.CANDIDATES` serves the outputs of what reads it best, or the function of
            `calibrators.methods.curves.CURVES` that alone does, or `parts` (see `calibrators.parts`); "" where that
            is not known.
    """

    tensors: tuple[str, ...]
    observed: tuple[str, ...]
    known: Range | None = None
    depthwise: bool = False
    read_depthwise: tuple[str, ...] = ()
    judged: str = ""

    def renamed(self, name_of: Callable[[str], str]) -> ScaleGroup:
        """The same group with other names."""
        tensors, observed, read = (
            tuple(map(name_of, names)) for names in (self.tensors, self.observed, self.read_depthwise)
        )
        return replace(self, tensors=tensors, observed=observed, read_depthwise=read)


@dataclass(frozen=True)
class Grouping:
    """The scale groups of a model where some depthwise convolutions stay float.

    Args:
        wide: The tensors whose depthwise readers do (see `wide_tensors`).
        groups: Those whose range calibration chooses.
    """

    wide: frozenset[str]
    groups: tuple[ScaleGroup, ...]

    def renamed(self, names: Mapping[str, str]) -> Grouping:
        """The same groups with tensors called names[old] where that is given."""

        def new(name: str) -> str:
            return names.get(name, name)

        return Grouping(frozenset(map(new, self.wide)), tuple(group.renamed(new) for group in self.groups))

    def unjudged(self) -> Grouping:
        """The same groups without what was found best for them."""
        return replace(self, groups=tuple(replace(group, judged="") for group in self.groups))

    @property
    def is_judged(self) -> bool:
        """Whether it is known of a group which method serves it best."""
        return any(group.judged for group in self.groups)

    @property
    def has_curves(self) -> bool:
        """Whether one of the groups is judged otherwise than by one of the methods."""
        return any(group.judged not in _METHODS for group in self.groups)


def encode_groupings(groupings: Sequence[Grouping], *, judged: bool) -> bytes:
    """The bytes of groupings, with what was found best for each group or without; equal ones give equal bytes.

    Raises:
        CacheFileError: A name is too long.
    """
    out = bytearray(packed_number(len(groupings)))
    for grouping in groupings:
        out += _packed_names(sorted(grouping.wide)) + packed_number(len(grouping.groups))
        for group in grouping.groups:
            out += b"".join(map(_packed_names, (group.tensors, group.observed, group.read_depthwise)))
            out += packed_number(group.depthwise)
            out += packed_number(_JUDGED.index(group.judged)) if judged else b""
    return bytes(out)


def decode_groupings(reader: Reader, *, judged: bool) -> tuple[Grouping, ...]:
    """Read groupings that say what was found best for each group, or do not.

    Raises:
        CacheFileError: They are cut off or broken.
    """
    return tuple(_decode_grouping(reader, judged) for _ in range(reader.number(_MOST_GROUPINGS, "number of groupings")))


def _decode_grouping(reader: Reader, judged: bool) -> Grouping:
    wide = frozenset(_names(reader))
    count = reader.number(_MOST_NAMES, "number of groups")
    return Grouping(wide, tuple(_decode_group(reader, judged) for _ in range(count)))


def _decode_group(reader: Reader, judged: bool) -> ScaleGroup:
    tensors, observed, read = (_names(reader) for _ in range(3))
    depthwise = bool(reader.number(1, "mark of a depthwise group"))
    best = _JUDGED[reader.number(len(_JUDGED) - 1, "method of a group")] if judged else ""
    return ScaleGroup(tensors, observed, None, depthwise, read, best)


def _packed_names(names: Iterable[str]) -> bytes:
    texts = [packed_text(name) for name in names]
    return packed_number(len(texts)) + b"".join(texts)


def _names(reader: Reader) -> tuple[str, ...]:
    return tuple(reader.text("tensor name") for _ in range(reader.number(_MOST_NAMES, "number of names")))
