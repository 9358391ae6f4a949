"""What an explanation consists of: steps in the order in which they ran, each with the bytes that it looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes and what they mean.

    `offset` counts bytes from the frame's first one and is None for what is not in the frame (a salt, ESN's high half,
    plaintext); `hex` is lower case without 0x, None where there are no bytes or where they are hidden; `value` is what
    they say, for people.
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
    """How to compute a value again without espsim: `command` is for a shell and prints it in hex.

    $KEY, $SALT and $AUTH_KEY in it are hex digits that the reader has to set, unless keys are shown.
    """

    of: str
    command: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"of": self.of, "command": self.command}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, where it is specified, what came of it in a sentence, its bytes, and how to repeat it."""

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
"""Who hears the steps, one by one: `list.append`, say."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a packet's bytes are in its frame: (first byte in the packet, first byte in the frame, how many) each.

    A packet that was put together from fragments has only some of its bytes in the frame that completed it.
    """

    parts: tuple[tuple[int, int, int], ...] = ((0, 0, 1 << 30),)

    def offset(self, at: int, length: int) -> int | None:
        """The frame's offset of `length` bytes at `at` of the packet, None where they are not all in it."""
        for start, place, size in self.parts:
            if start <= at and at + length <= start + size:
                return place + at - start
        return None


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes whose fields are told; `places` None: none of them is in the frame."""

    data: bytes
    places: Places | None = None

    def field(self, name: str, at: int, length: int, value: int | str | None = None) -> Field:
        """The field of `length` bytes at `at`, as far as they are there; its value is the number where none is said."""
        part = self.data[at : at + length]
        offset = self.places.offset(at, len(part)) if self.places is not None else None
        if value is None and len(part) <= 8:
            value = int.from_bytes(part)
        return Field(name, offset, len(part), part.hex(), value)


def fact(name: str, value: int | str) -> Field:
    """Something that is not in any bytes: a size, a state, a number that was worked out."""
    return Field(name, None, 0, None, value)
