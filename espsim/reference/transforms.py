"""Transforms of SAs for the reference path: keys set up by an engine, when the first packet needs them."""

from __future__ import annotations

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engine import Engine, Transform
from espsim.aead.suites import SuiteKeys
from espsim.sad.entry import SadEntry, State

_FEW = 64
"""Up to so many are kept before those of SAs that have left are dropped."""


class Transforms:
    """One transform an SA, of `engine` (None: cryptography's), made on first use: most SAs of a large SAD have no
    packet.

    A transform is valid as long as its SA, because no update changes an SA's keys in place.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or CryptographyEngine()
        self._made: dict[SadEntry, Transform] = {}
        self._most = _FEW

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._made)

    def of(self, entry: SadEntry, keys: SuiteKeys) -> Transform:
        """The transform of an SA whose keys are `keys`."""
        made = self._made.get(entry)
        return self._make(entry, keys) if made is None else made

    def _make(self, entry: SadEntry, keys: SuiteKeys) -> Transform:
        if len(self._made) >= self._most:
            self._made = {e: made for e, made in self._made.items() if e.state is State.VALID}
            self._most = max(_FEW, 2 * len(self._made))
        made = self._made[entry] = self._engine.transform(keys)
        return made
