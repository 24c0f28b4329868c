"""How files are damaged: bytes anywhere, fields of a protobuf, values of JSON and TOML."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Item = TypeVar("Item")
Mutate = Callable[[np.random.Generator, bytes], bytes]

NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63))
"""Integers at the edges of types and sizes."""

FLOATS = (0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-45, 1e-38, 3e38, 1e39, 0.1)
TEXTS = (
    "", "x", "y", "w0", "a" * 300, "n\n::error::A\x1b[2J\u202e", "../../etc/passwd", "/dev/zero", "\x00", "ünï", "{}",
    "Conv", "MatMul", "QuantizeLinear", "DequantizeLinear", "If", "Loop", "Constant", "com.microsoft", "ai.onnx", "own",
)  # fmt: skip
_MOST_BYTES = 1 << 20
_DEEP = "lists in lists"
"""Stands for them until the document is written."""


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """Choose one."""
    return items[int(rng.integers(len(items)))]


def damaged(rng: np.random.Generator, data: bytes, most: int = 8) -> bytes:
    """Change one to `most` places of some bytes."""
    for _ in range(int(rng.integers(1, most + 1))):
        data = pick(rng, _BYTES)(rng, data)[:_MOST_BYTES]
    return data


def _flipped(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :] if data else data


def _replaced(rng: np.random.Generator, data: bytes) -> bytes:
    place, size = _place(rng, data), int(rng.integers(1, 9))
    return data[:place] + rng.bytes(size) + data[place + size :]


def _inserted(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + rng.bytes(int(rng.integers(1, 64))) + data[place:]


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def _removed(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + data[place + int(rng.integers(1, 64)) :]


def _repeated(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + data[place : place + int(rng.integers(1, 256))] * int(rng.integers(2, 9)) + data[place:]


def _numbered(rng: np.random.Generator, data: bytes) -> bytes:
    """Put a number of eight or four bytes somewhere."""
    place = _place(rng, data)
    number = pick(rng, NUMBERS) & (2**64 - 1)
    packed = struct.pack("<Q", number) if rng.integers(2) else struct.pack("<I", number & (2**32 - 1))
    return data[:place] + packed + data[place + len(packed) :]


_BYTES: tuple[Mutate, ...] = (_flipped, _flipped, _replaced, _inserted, _cut, _removed, _repeated, _numbered)


def _place(rng: np.random.Generator, data: bytes) -> int:
    """A place in some bytes; the first ones, which are headers, more often."""
    most = min(len(data), 64) if rng.integers(4) == 0 else len(data)
    return int(rng.integers(max(most, 1)))


def mutated_model(rng: np.random.Generator, data: bytes) -> bytes:
    """Change a field of an ONNX model, or up to three; it stays a protobuf."""
    model = onnx.load_from_string(data)
    for _ in range(pick(rng, (1, 1, 1, 2, 3))):
        filled = bool(rng.integers(4))
        message, field = pick(rng, [place for place in _fields(model) if _is_filled(*place) == filled])
        try:
            (_change if filled else _fill)(rng, message, field)
        except (ValueError, TypeError, UnicodeError):  # what the protobuf itself cannot hold
            continue
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def _is_repeated(held: object) -> bool:
    """Say whether a field holds any number of values; how its description says so depends on the release."""
    return not isinstance(held, Message | str | bytes | int | float)


def _fields(message: Message) -> list[tuple[Message, FieldDescriptor]]:
    """Every field of a message and of those in it, empty ones too, with the message."""
    found: list[tuple[Message, FieldDescriptor]] = []
    for field in message.DESCRIPTOR.fields:
        held = getattr(message, field.name)
        found.append((message, field))
        if field.type == FieldDescriptor.TYPE_MESSAGE and _is_filled(message, field):
            for inner in held if _is_repeated(held) else (held,):
                found += _fields(inner)
    return found


def _is_filled(message: Message, field: FieldDescriptor) -> bool:
    held: Any = getattr(message, field.name)
    return len(held) > 0 if _is_repeated(held) else message.HasField(field.name)


def _fill(rng: np.random.Generator, message: Message, field: FieldDescriptor) -> None:
    """Give an empty field a value, or a message in which nothing is said yet."""
    held: Any = getattr(message, field.name)
    is_message = field.type == FieldDescriptor.TYPE_MESSAGE
    if is_message and _is_repeated(held):
        held.add()
    elif is_message:
        held.SetInParent()
    elif _is_repeated(held):
        blank = {FieldDescriptor.TYPE_STRING: "", FieldDescriptor.TYPE_BYTES: b""}.get(field.type, 0)
        held.append(_value(rng, field, blank))
    else:
        setattr(message, field.name, _value(rng, field, held))


def _change(rng: np.random.Generator, message: Message, field: FieldDescriptor) -> None:
    change = _repeated_field if _is_repeated(getattr(message, field.name)) else _single_field
    change(rng, message, field)


def _repeated_field(rng: np.random.Generator, message: Message, field: FieldDescriptor) -> None:
    """Remove, copy, swap or change an entry."""
    held: Any = getattr(message, field.name)
    place, other = int(rng.integers(len(held))), int(rng.integers(len(held)))
    is_message = field.type == FieldDescriptor.TYPE_MESSAGE
    match int(rng.integers(4)):
        case 0:
            del held[place]
        case 1:
            held.extend([held[place]] * int(rng.integers(1, 3)))
        case 2 if is_message:
            kept = type(held[place])()
            kept.CopyFrom(held[place])
            held[place].CopyFrom(held[other])
            held[other].CopyFrom(kept)
        case _ if not is_message:
            held[place] = _value(rng, field, held[other])
        case _:
            held.add()


def _single_field(rng: np.random.Generator, message: Message, field: FieldDescriptor) -> None:
    """Clear a field, or give it another value."""
    if field.type == FieldDescriptor.TYPE_MESSAGE or rng.integers(4) == 0:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(rng, field, getattr(message, field.name)))


def _value(rng: np.random.Generator, field: FieldDescriptor, now: Any) -> Any:
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return pick(rng, FLOATS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return pick(rng, TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return pick(rng, TEXTS).encode() if rng.integers(2) and len(now) < 64 else damaged(rng, now)
    return pick(rng, (*range(26), *NUMBERS, now + 1, now - 1, -now))


def mutated_json(rng: np.random.Generator, data: bytes) -> bytes:
    """Change one to four values of a JSON document; one that is none is damaged as bytes."""
    try:
        value = json.loads(data)
    except ValueError:
        return damaged(rng, data)
    for _ in range(int(rng.integers(1, 5))):
        value = _other_value(rng, value)
    depth = int(rng.integers(1, 3000))  # deeper than the encoder goes
    return json.dumps(value).replace(f'"{_DEEP}"', "[" * depth + "]" * depth).encode()


def _other_value(rng: np.random.Generator, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.integers(6):
        key = pick(rng, list(value))
        if rng.integers(5) == 0:
            return {**value, pick(rng, TEXTS): _other_value(rng, value[key])}
        return {**value, key: _other_value(rng, value[key])}
    if isinstance(value, list) and value and rng.integers(6):
        place = int(rng.integers(len(value)))
        return [*value[:place], _other_value(rng, value[place]), *value[place + 1 :]]
    return pick(rng, (*NUMBERS, *FLOATS, *TEXTS, None, True, [], {}, "\ud800", [value] * 20, {"a": value}, _DEEP))


def mutated_toml(rng: np.random.Generator, data: bytes) -> bytes:
    """Replace the value of a line, or repeat the line, or give it a dotted key; then perhaps damage the bytes."""
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    place = int(rng.integers(len(lines)))
    key = lines[place].partition("=")[0]
    match int(rng.integers(4)):
        case 0:
            lines[place] = f"{key}= {json.dumps(pick(rng, (*NUMBERS, *TEXTS)))}"
        case 1:
            lines.append(lines[place])
        case 2:
            lines[place] = f"{'.'.join(['a'] * int(rng.integers(1, 3000)))} = 1"
        case _:
            lines[place] = f"{key}= {'[' * int(rng.integers(1, 3000))}"
    written = "\n".join(lines).encode()
    return damaged(rng, written) if rng.integers(3) == 0 else written
