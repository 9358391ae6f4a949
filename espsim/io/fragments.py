"""Outer fragments, put together as Linux does before xfrm_input: what the readers are told, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from espsim.core.layers import Layer


class Settled(NamedTuple):
    """What became of the fragments of one datagram.

    `frames` are those that completed nothing, in the order in which they came; `datagram` the frame that completed the
    datagram, None where no one did. `layer` is None where the datagram is ESP (or would have been), else what it is:
    its fragments are then ignored frames of that kind.
    """

    frames: tuple[int, ...]
    datagram: int | None
    layer: Layer | None


@dataclass(slots=True)
class Fragments:
    """Counts of fragments of ESP: `seen` frames, `datagrams` that were completed, `incomplete` that never were."""

    seen: int = 0
    datagrams: int = 0
    incomplete: int = 0

    def as_dict(self) -> dict[str, int]:
        """The JSON `fragments`."""
        return {"seen": self.seen, "datagrams": self.datagrams, "incomplete": self.incomplete}


class Joiner:
    """Puts datagrams together. `fragments` counts."""

    def __init__(self) -> None:
        self.fragments = Fragments()
        self._settled: list[Settled] = []

    def settled(self) -> list[Settled]:
        """What was settled since this was last called."""
        settled, self._settled = self._settled, []
        return settled
