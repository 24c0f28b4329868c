"""All calibration samples of a run as one list: opened by names and headers, read one at a time."""

from __future__ import annotations

import bisect
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdq_cli.config.data import Given
from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.aligned import AlignedPart, require_alike, split_named
from qdq_cli.data.array_samples import cut_arrays, match_names
from qdq_cli.data.arrays import list_npz, open_in_npz, open_npy
from qdq_cli.data.blobs import FileBlob, expect_blobs
from qdq_cli.data.composed import ComposedPart, open_table
from qdq_cli.data.cutting import Opened, joined, open_stored
from qdq_cli.data.doubts import Doubt
from qdq_cli.data.functions import is_function, load_function
from qdq_cli.data.given import Taken, open_given
from qdq_cli.data.held import HeldArray
from qdq_cli.data.image_samples import ImagePart, set_up_images
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.listed import Table, numbers_in, read_list
from qdq_cli.data.rows import open_rows
from qdq_cli.data.sample import Part, Sample
from qdq_cli.data.sifting import ALL_FILES, Found, Globs
from qdq_cli.data.sources import find_all
from qdq_cli.data.stored import StoredBytes
from qdq_cli.data.testdata import by_input, open_tensor
from qdq_cli.data.wanted import is_pattern, matches_of
from qdq_cli.data.webdataset import open_keyed
from qdq_cli.process.errors import DataError, UsageError

_LARGEST_USUAL = 1000
"""No usual preprocessing takes pixels of 0..255 beyond it."""


_ALL = Taken(None, None)


class SampleSet:
    """Calibration samples from one or several sources, in order. Safe for threads.

    Attributes:
        specs: The model's inputs.
        preprocessing: What pictures go through, with color and layout settled; None when only arrays are fed.
        notes: Sentences the user should see: what was left out, or has no effect.
        doubts: What makes the data look unfit before any of it is read: a preprocessing nobody chose.
    """

    def __init__(
        self,
        specs: Sequence[InputSpec],
        parts: Sequence[Part],
        preprocessing: Preprocessing | None = None,
        notes: Sequence[str] = (),
        doubts: Sequence[Doubt] = (),
    ) -> None:
        self.specs = tuple(specs)
        self.preprocessing = preprocessing
        self.notes = tuple(notes)
        self.doubts = tuple(doubts)
        self._parts = tuple(parts)
        self._ends = list(itertools.accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """Shape of each input's array in sample `index`, in the order of the inputs, without reading it."""
        part, place = self._find(index)
        return part.shapes(place)

    def name(self, index: int) -> str:
        """The file of one sample, as users know it, without reading it."""
        part, place = self._find(index)
        return part.name(place)

    def size_bytes(self, index: int) -> int:
        """What is stored of one sample, without reading it; samples that differ in it differ in identity."""
        part, place = self._find(index)
        return part.size_bytes(place)

    def identity(self, index: int) -> str:
        """Digest (hex) of what is stored of one sample: of a picture's file, or of the values of its arrays.

        Raises:
            UnreadableSampleError: A picture cannot be read.
            DataError: Anything else cannot be.
        """
        part, place = self._find(index)
        return part.identity(place)

    def load(self, index: int) -> Sample:
        """Read and preprocess one sample.

        Raises:
            UnreadableSampleError: A picture cannot be decoded (`UnreadableSamples` decides whether to go on).
            DataError: Anything else that makes it unusable.
        """
        part, place = self._find(index)
        return part.load(place)

    def expect(self, indices: Iterable[int]) -> None:
        """Say which samples are going to be read, so that what is packed together is unpacked in one go.

        Raises:
            DataError: An archive is damaged, or there is no room for them.
        """
        by_part: dict[int, list[int]] = {}
        for index in indices:
            which = bisect.bisect_right(self._ends, index)
            by_part.setdefault(which, []).append(self._find(index)[1])
        for which, places in by_part.items():
            part = self._parts[which]
            if isinstance(part, ImagePart | ComposedPart | AlignedPart):
                part.expect(places)

    def describe(self) -> str:
        """Count the samples for people, e.g. "520 samples from images"."""
        kinds = Counter({part.kind: 0 for part in self._parts})
        for part in self._parts:
            kinds[part.kind] += len(part)
        words = {"image": "images", "array": "arrays", "tensor": "ONNX test data"}
        count = "1 sample" if len(self) == 1 else f"{len(self):,} samples"
        return f"{count} from {' and '.join(words[kind] for kind in sorted(kinds))}"

    def _find(self, index: int) -> tuple[Part, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        which = bisect.bisect_right(self._ends, index)
        return self._parts[which], index - (self._ends[which - 1] if which else 0)


def open_samples(
    paths: Sequence[Path],
    specs: Sequence[InputSpec],
    preprocessing: Preprocessing | None = None,
    globs: Globs = ALL_FILES,
    taken: Taken = _ALL,
) -> SampleSet:
    """Open calibration data.

    Args:
        paths: Folders or files, each of one kind: pictures; .npy or .npz; ONNX test data. Several are put one after the
            other in the order given.
        specs: The model's inputs, with the shapes the user chose for dynamic dimensions (`with_shapes`).
        preprocessing: What the user chose for pictures; None assumes one by the number of channels.
        globs: Which files of the folders are taken.
        taken: Samples in memory, put behind those of the paths, and how many of those that come one by one.

    Raises:
        DataError: A path is missing or empty, a file is damaged, or names, shapes or types do not fit the inputs.
        UsageError: The preprocessing does not fit, the image size is unknown, or a glob matches nothing.
    """
    if not specs:
        raise DataError("The model has no inputs, so there is nothing to calibrate with.", "Check the model.")
    opener = _Opener(preprocessing, globs, taken, [])
    named, others = split_named([*map(Path, paths)], specs)
    opened = [opener.aligned(named, others, specs)] if named else opener.open(others, specs, taken.given)
    _require_matches(globs, opener.found)
    used = next((each.setup for each in opened if each.setup), None)
    notes = [note for each in opened for note in each.notes]
    if used is None and preprocessing is not None and not preprocessing.assumed:
        notes.append(f"Arrays are fed as they are: the preprocessing {preprocessing.name} has no effect on them.")
    parts = [part for each in opened for part in each.parts]
    fed = used.preprocessing if used else None
    return SampleSet(specs, parts, fed, list(dict.fromkeys(filter(None, notes))), _preprocessing_doubts(fed))


@dataclass(frozen=True)
class _Opener:
    """How the sources of a run are opened.

    Args:
        preprocessing: What the user chose for pictures, or None.
        globs: Which files of folders are taken.
        taken: Samples in memory.
        found: Collects the files of every path.
    """

    preprocessing: Preprocessing | None
    globs: Globs
    taken: Taken
    found: list[Found]

    def open(self, paths: Sequence[Path], specs: Sequence[InputSpec], given: Given | None = None) -> list[Opened]:
        """Open sources that each hold all of these inputs."""
        opened: list[Opened] = []
        for path in _each_shard(paths) if len(specs) > 1 and self.globs == ALL_FILES else ():
            if (keyed := open_keyed(path, specs, self.preprocessing)) is None:
                opened = []
                break
            opened.append(keyed)
        if not opened:
            found = find_all([path for path in paths if not is_function(path)], self.globs)
            self.found.extend(found)
            opened = [_open(each, specs, self.preprocessing) for each in found]
        functions = [Given(load_function(path), str(path)) for path in paths if is_function(path)]
        for each in (*functions, *([given] if given else [])):
            opened.append(open_given(each, self.taken, specs, self.preprocessing))
        return opened

    def aligned(self, named: Mapping[str, list[Path]], others: list[Path], specs: Sequence[InputSpec]) -> Opened:
        """Open sources of single inputs, and one of all inputs that have none of their own.

        Raises:
            DataError: An input has no source, or a source no input, or they hold different numbers of samples.
        """
        rest = tuple(spec for spec in specs if spec.name not in named)
        given = self.taken.given
        if rest and not others and given is None:
            raise DataError(
                f"There is no calibration data for {rest[0]}.", f"Add --calib {rest[0].name}=PATH, or a number for it."
            )
        if (others or given) and not rest:
            raise DataError(
                f"Every input has data of its own, so {others[0] if others else given} is for none.", "Leave it out."
            )
        groups = [(rest, self.open(others, rest, given))] if rest else []
        groups += [((spec,), self._of_input(spec, named[spec.name])) for spec in specs if spec.name in named]
        sets = tuple(SampleSet(each, [part for one in opened for part in one.parts]) for each, opened in groups)
        require_alike(sets)
        every = [one for _, opened in groups for one in opened]
        setup = next((one.setup for one in every if one.setup), None)
        part = AlignedPart(tuple(specs), sets, "image" if setup else "array")
        return Opened((part,), tuple(note for one in every for note in one.notes), setup)

    def _of_input(self, spec: InputSpec, paths: Sequence[Path]) -> list[Opened]:
        """Open what was given for one input: files, or a number that is the same for all samples."""
        numbers = numbers_in(str(paths[0]), spec) if len(paths) == 1 and not os.path.lexists(paths[0]) else None
        if numbers is None:
            return self.open(paths, (spec,))
        held = HeldArray(f"--calib {spec.name}={paths[0]}", numbers)
        return [open_stored(Path(held.label), {spec.name: held}, (spec,), None)]


def _each_shard(paths: Sequence[Path]) -> list[Path]:
    """The paths, with what matches in the place of patterns; functions are left out."""
    plain = [path for path in paths if not is_function(path)]
    return [each for path in plain for each in (matches_of(path) if is_pattern(path) else [path])]


def _require_matches(globs: Globs, found: Sequence[Found]) -> None:
    matched = frozenset[str]().union(*(each.matched for each in found))
    for option, names in (("--include-data", globs.include), ("--exclude-data", globs.exclude)):
        if missing := [name for name in names if name not in matched]:
            raise UsageError(
                f"{option} '{missing[0]}' matches no file of the calibration data.",
                "Write it as '*.jpg', 'labels' or 'left/*', in quotes.",
            )


def _open(found: Found, specs: Sequence[InputSpec], preprocessing: Preprocessing | None) -> Opened:
    if found.kind == "list":
        listed = read_list(found.root, specs)
        return open_table(listed, preprocessing) if isinstance(listed, Table) else _open(listed, specs, preprocessing)
    if found.kind == "image":
        setup = set_up_images(specs, preprocessing)
        blobs = found.members or tuple(map(FileBlob, found.files))
        return Opened((ImagePart(blobs, setup),), found.notes, setup)
    if found.kind == "rows":
        rows = open_rows(found.root, found.files, specs, preprocessing)
        return replace(rows, notes=(*found.notes, *rows.notes))
    if found.kind == "tensor":
        return Opened(_open_tensors(found, specs), found.notes)
    expect_blobs(found.members)
    files = [(path, None) for path in found.files] + [(Path(blob.label), blob.stored()) for blob in found.members]
    opened = joined(found.root, [_open_arrays(path, whole, specs, preprocessing) for path, whole in files])
    return replace(opened, notes=(*found.notes, *opened.notes))


def _open_arrays(
    path: Path, whole: StoredBytes | None, specs: Sequence[InputSpec], preprocessing: Preprocessing | None
) -> Opened:
    """Open one .npy or .npz file, or such a member of an archive."""
    if path.suffix.lower() == ".npy":
        if len(specs) != 1:
            names = ", ".join(f"'{spec.name}'" for spec in specs)
            raise DataError(
                f"{path} holds one array, but the model has {len(specs)} inputs: {names}.",
                "Give a .npz whose arrays are named like the inputs.",
            )
        return open_stored(path, {specs[0].name: open_npy(path, whole)}, specs, preprocessing)
    members, note = match_names(path, list_npz(path, whole), specs)
    stored = {name: open_in_npz(path, member, whole) for name, member in members.items()}
    return replace(open_stored(path, stored, specs, preprocessing), notes=(note,))


def _open_tensors(found: Found, specs: Sequence[InputSpec]) -> tuple[Part, ...]:
    """Open test-data files: those of one folder are one or several samples."""
    names = [spec.name for spec in specs]
    parts = []
    for folder, group in itertools.groupby(found.files, key=lambda path: path.parent):
        tensors = by_input([open_tensor(path) for path in group], names)
        source = found.root if len(found.files) == 1 and found.root.is_file() else folder
        stored, _ = match_names(source, tensors, specs)
        parts.append(cut_arrays(source, stored, specs, "tensor"))
    return tuple(parts)


def _preprocessing_doubts(preprocessing: Preprocessing | None) -> tuple[Doubt, ...]:
    """Doubt a preprocessing that nobody chose, or whose constants were meant for pixels scaled otherwise."""
    if preprocessing is None:
        return ()
    if preprocessing.assumed:
        return (
            Doubt(
                f"No preprocessing was chosen; assumed {preprocessing.describe()}.",
                "Say --preprocess imagenet, unit, signed, raw or a file to choose one.",
            ),
        )
    low, high = preprocessing.value_range()
    if max(-low, high) <= _LARGEST_USUAL:
        return ()
    return (
        Doubt(
            f"The preprocessing {preprocessing.name} gives values {low:.4g} to {high:.4g}.",
            "Its mean and std look meant for pixels scaled to 0..1: start from --preprocess unit.",
        ),
    )
