"""The atoms of the calibration cache: varints, texts and numbers, written one after another and read back with checks.

`n` is an unsigned LEB128 varint, `s` a varint length and that much UTF-8; all numbers are little-endian.
"""

from __future__ import annotations

from calibrators.errors import CacheFileError

LARGEST_TEXT = (1 << 16) - 1
"""Bytes of a text."""


class Reader:
    """A place in the bytes of a file; every step is checked against what is there.

    Args:
        data: The file.
        start: Where to begin.
        source: What to call the file in error messages.
        bins: How many bins of histograms it may hold.
    """

    def __init__(self, data: bytes, start: int, source: str, bins: int = 0) -> None:
        self.data = data
        self.at = start
        self.source = source
        self.bins_left = bins

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes."""
        if size > len(self.data) - self.at:
            raise self.broken(f"ends in the middle of a {what}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, largest: int, what: str) -> int:
        """The next varint, at most `largest`."""
        value = 0
        for shift in range(0, 70, 7):
            (byte,) = self.take(1, what)
            value |= (byte & 127) << shift
            if byte < 128:
                break
        if value > largest:
            raise self.broken(f"holds a {what} of {value}, more than {largest}")
        return value

    def text(self, what: str) -> str:
        """The next text."""
        data = self.take(self.number(LARGEST_TEXT, f"length of a {what}"), what)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.broken(f"holds a {what} that is not UTF-8") from error

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.at != len(self.data):
            raise self.broken(f"holds {len(self.data) - self.at} bytes too many")

    def broken(self, what: str) -> CacheFileError:
        """The error to raise."""
        return CacheFileError(f"{self.source} is no valid calibration cache: it {what}.")


def packed_number(value: int) -> bytes:
    """A number, 0 or more, as a varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def packed_text(value: str) -> bytes:
    """A text with its length.

    Raises:
        CacheFileError: It is too long.
    """
    data = value.encode()
    if len(data) > LARGEST_TEXT:
        raise CacheFileError(
            f"A text of {len(data)} bytes does not fit a calibration cache; at most {LARGEST_TEXT} do."
        )
    return packed_number(len(data)) + data
