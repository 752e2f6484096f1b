"""The protobuf wire format, as far as the trees of CEL need it: decode a message to its fields, encode it again."""

from collections.abc import Iterable
from typing import NamedTuple

_FIXED = {1: 8, 5: 4}


class Field(NamedTuple):
    """One field of a message. ``value`` is an int for varints (wire type 0) and bytes for everything else."""

    number: int
    wire: int
    value: int | bytes

    @property
    def data(self) -> bytes:
        """The value of a field that holds a message or a string."""
        if isinstance(self.value, int):
            raise TypeError(f"field {self.number} holds a number")
        return self.value


def message(number: int, data: bytes) -> Field:
    """A field that holds a message or a string."""
    return Field(number, 2, data)


def decode(data: bytes) -> list[Field]:
    """The fields of a message in their order."""
    fields: list[Field] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 0:
            number, position = _varint(data, position)
            fields.append(Field(tag >> 3, wire, number))
            continue
        if wire == 2:
            length, position = _varint(data, position)
        else:
            length = _FIXED[wire]
        fields.append(Field(tag >> 3, wire, data[position : position + length]))
        position += length
    return fields


def encode(fields: Iterable[Field]) -> bytes:
    """The message that has these fields."""
    parts = bytearray()
    for field in fields:
        parts += _encoded(field.number << 3 | field.wire)
        if isinstance(field.value, int):
            parts += _encoded(field.value)
            continue
        if field.wire == 2:
            parts += _encoded(len(field.value))
        parts += field.value
    return bytes(parts)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
