"""The parts of an explanation: steps in the order in which they ran, each with the bytes that it used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes and what they mean.

    `offset` counts from the frame's first byte. None: the bytes are not in the frame (a salt, ESN's high half,
    plaintext). `hex` is lower case without 0x. None: there are no bytes, or they are hidden. `value` is their meaning,
    for people.
    """

    name: str
    offset: int | None
    length: int
    hex: str | None
    value: int | str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "offset": self.offset, "length": self.length, "hex": self.hex, "value": self.value}


@dataclass(frozen=True, slots=True)
class Repeat:
    """How to compute a value again without espsim. `command` is for a shell and prints the value in hex.

    The reader sets $KEY, $SALT and $AUTH_KEY to hex digits, unless keys are shown.
    """

    of: str
    command: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"of": self.of, "command": self.command}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, its specification, its result in a sentence, its bytes, and how to compute them again."""

    step: str
    source: str
    says: str
    fields: tuple[Field, ...] = ()
    repeat: tuple[Repeat, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.step,
            "source": self.source,
            "says": self.says,
            "fields": [field.as_dict() for field in self.fields],
            "repeat": [repeat.as_dict() for repeat in self.repeat],
        }


Tell = Callable[[Step], None]
"""A function that gets the steps one by one, such as `list.append`."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a packet's bytes are in its frame, as (first byte in the packet, first byte in the frame, length).

    Of a packet that was put together from fragments, only some bytes are in the frame that completed it.
    """

    parts: tuple[tuple[int, int, int], ...] = ((0, 0, 1 << 30),)

    def offset(self, at: int, length: int) -> int | None:
        """The offset in the frame of the packet's `length` bytes at `at`. None: not all of them are in the frame."""
        for start, place, size in self.parts:
            if start <= at and at + length <= start + size:
                return place + at - start
        return None


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of which fields are made. `places` None: none of them is in the frame."""

    data: bytes
    places: Places | None = None

    def field(self, name: str, at: int, length: int, value: int | str | None = None) -> Field:
        """The field of `length` bytes at `at`, as far as they are there. Without `value` it has their number."""
        part = self.data[at : at + length]
        offset = self.places.offset(at, len(part)) if self.places is not None else None
        if value is None and len(part) <= 8:
            value = int.from_bytes(part)
        return Field(name, offset, len(part), part.hex(), value)


def fact(name: str, value: int | str) -> Field:
    """A field without bytes: a size, a state, a computed number."""
    return Field(name, None, 0, None, value)
