"""Archives whose members belong together by their names, for models of several inputs: shards of WebDataset.

`0007.jpg`, `0007.mask.npy` and `0007.json` are one sample: its key is the name up to the first dot, and what is behind
it is a field. An input takes the field of its name, the number of its name in a JSON file, or the one picture or array
that no other input takes.

Format: the WebDataset specification, "Files in a dataset".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.archives import VALUE_ENDINGS, is_archive, open_archive
from qdq_cli.data.array_samples import ArrayPart, Stored, cut_arrays
from qdq_cli.data.arrays import open_npy
from qdq_cli.data.blobs import Member, expect_blobs
from qdq_cli.data.composed import ComposedPart
from qdq_cli.data.cutting import Opened
from qdq_cli.data.held import HeldArray
from qdq_cli.data.image_input import is_picture
from qdq_cli.data.image_samples import ImagePart, set_up_images
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.listed import filled
from qdq_cli.data.sifting import kind_of, natural_key
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import some_of

_LARGEST_TEXT_BYTES = 1 << 20

Fields = Mapping[str, Member]
"""Field -> member, of one sample."""


def open_keyed(path: Path, specs: Sequence[InputSpec], preprocessing: Preprocessing | None) -> Opened | None:
    """Open an archive whose samples are several members each; None for one of another kind.

    Args:
        path: What was given.
        specs: The inputs, several.
        preprocessing: What the user chose for pictures, or None.

    Raises:
        DataError: The archive is damaged, or a sample lacks what an input takes.
        UsageError: The preprocessing does not fit.
    """
    if not is_archive(path) or not path.is_file():
        return None
    samples = _samples(path)
    if not samples or all(len(fields) < 2 for fields in samples.values()):
        return None
    keys = sorted(samples, key=lambda key: natural_key(Path(key)))
    chosen = _chosen(path, samples[keys[0]], specs)
    wanted = {field for field in chosen.values() if field is not None}
    expect_blobs([_of(samples, key, field, path) for key in keys for field in sorted(wanted) if not _is_image(field)])
    pictures = tuple(
        ImagePart(tuple(_of(samples, key, field, path) for key in keys), set_up_images((spec,), preprocessing))
        for spec in specs
        if (field := chosen[spec.name]) is not None and _is_image(field)
    )
    others = [spec for spec in specs if chosen[spec.name] is None or not _is_image(chosen[spec.name] or "")]
    arrays = tuple(_Sample(path, key, samples).arrays(others, chosen) for key in keys)
    part = ComposedPart(tuple(specs), pictures, arrays, "image" if pictures else "array")
    free = sorted(set(samples[keys[0]]) - wanted - {name for name in samples[keys[0]] if name.endswith("json")})
    notes = (f"{path}: {some_of(free)} of each sample is for no input and is not used.",) if free else ()
    return Opened((part,), notes, pictures[0].setup if pictures else None)


def _samples(path: Path) -> dict[str, dict[str, Member]]:
    """Key -> field -> member, for every member that can be part of a sample."""
    found: dict[str, dict[str, Member]] = {}
    for member in open_archive(path):
        name, dot, field = member.place.name.partition(".")
        suffix = member.place.suffix.lower()
        if dot and name and (kind_of(member.place) is not None or suffix in VALUE_ENDINGS):
            found.setdefault(str(member.place.parent / name), {})[field] = member
    return found


def _is_image(field: str) -> bool:
    return kind_of(Path(f"a.{field}")) == "image"


def _of(samples: Mapping[str, Fields], key: str, field: str, path: Path) -> Member:
    if field not in samples[key]:
        raise DataError(
            f"{path}: the sample '{key}' has no member '.{field}', unlike the first one.",
            "Complete it, or take it out.",
        )
    return samples[key][field]


def _chosen(path: Path, first: Fields, specs: Sequence[InputSpec]) -> dict[str, str | None]:
    """Find the field of each input in the first sample; None for a number in its JSON file.

    Raises:
        DataError: An input has none.
    """
    by_name = {field.rpartition(".")[0] or field: field for field in first}
    chosen: dict[str, str | None] = {spec.name: by_name[spec.name] for spec in specs if spec.name in by_name}
    values = _values(path, first)
    chosen |= {spec.name: None for spec in specs if spec.name not in chosen and spec.name in values}
    for image in (True, False):
        left = [spec for spec in specs if spec.name not in chosen and (is_picture(spec) or not image)]
        free = [f for f in first if f not in chosen.values() and (_is_image(f) if image else f.endswith("npy"))]
        if len(left) == len(free) == 1:
            chosen[left[0].name] = free[0]
    for spec in specs:
        if spec.name not in chosen:
            raise DataError(
                f"{path}: the first sample has nothing for {spec}; it has {some_of(sorted(first), 8)}.",
                f"Call the member '.{spec.name}.npy', or write \"{spec.name}\" into the JSON file.",
            )
    return chosen


def _values(path: Path, fields: Fields) -> dict[str, object]:
    """The values of the JSON files of a sample, by their names."""
    found: dict[str, object] = {}
    for field, member in fields.items():
        if field.endswith("json") and isinstance(read := _read(path, member), dict):
            found |= read
    return found


def _read(path: Path, member: Member) -> object:
    """Read a value that is written as text.

    Raises:
        DataError: It is none.
    """
    if member.size_bytes() > _LARGEST_TEXT_BYTES:
        raise DataError(f"{member.label} has {member.size_bytes():,} bytes of text.", "Store arrays as .npy.")
    try:
        value: object = json.loads(member.content.read(0, member.size_bytes()))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{member.label} holds no number and no JSON.", "Store arrays as .npy.") from error
    return value


@dataclass(frozen=True)
class _Sample:
    """One sample of an archive."""

    path: Path
    key: str
    samples: Mapping[str, Fields]

    def arrays(self, specs: Sequence[InputSpec], chosen: Mapping[str, str | None]) -> ArrayPart:
        """Open what the inputs take that no picture feeds."""
        if not specs:
            return ArrayPart(self.path, (), 1)
        part = cut_arrays(Path(f"{self.path}/{self.key}"), dict(self._stored(specs, chosen)), specs)
        if part.count != 1:
            raise DataError(
                f"{self.path}: the sample '{self.key}' holds {part.count}.", "Write the members of each sample apart."
            )
        return part

    def _stored(self, specs: Sequence[InputSpec], chosen: Mapping[str, str | None]) -> Iterator[tuple[str, Stored]]:
        values: dict[str, object] | None = None
        for spec in specs:
            field = chosen[spec.name]
            if field is not None and field.endswith("npy"):
                member = _of(self.samples, self.key, field, self.path)
                yield spec.name, open_npy(Path(member.label), member.content)
                continue
            if field is None:
                values = _values(self.path, self.samples[self.key]) if values is None else values
                value, label = values.get(spec.name), f"{self.path}: '{spec.name}' of the sample '{self.key}'"
            else:
                member = _of(self.samples, self.key, field, self.path)
                value, label = _read(self.path, member), member.label
            array = filled(value, spec)
            if array is None:
                raise DataError(f"{label} is no value of {spec}.", "Write a number, or a list of them.")
            yield spec.name, HeldArray(label, array)
