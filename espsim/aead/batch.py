"""The batch side of an engine: rows of a byte arena opened and sealed in place, every engine's bytes equal.

An engine makes an `Opener` or a `Sealer` for a list of key slots (one SA's keys each), which then runs batch after
batch. A batch is one arena and one column a fact, all columns of one length, in this order everywhere:

    arena    uint8[:]    contiguous, writable
    esp      int64[:]    where each row's ESP header begins in the arena
    end      int64[:]    just past its ICV; between them: header 8, IV, ciphertext, ICV
    slot     int32[:]    the row's key slot
    seq64    uint64[:]   its high half is ESN's; not looked at where the slot has no ESN
    result   uint8[:]    in: WAITING for a row to work on, anything else is left alone; out: DONE,
                         TRUNCATED (no room for IV and ICV, or not whole blocks), INTEGRITY (the ICV is wrong), BROKEN

Sealing takes header and IV as they are in the arena, encrypts what is between IV and ICV, and writes the ICV.
The plaintext of a row may lie in another arena (`Clear`); then nothing is copied before it is encrypted.
A row that does not open is as it was before: engines which decrypt before they have checked the ICV put the ciphertext
back, so no unverified plaintext stays behind and a row can be tried again with another guess of the ESN's high half.
An opener or sealer serves one thread at a time; make one for each thread.
"""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from espsim.aead.suites import SuiteKeys
from espsim.core.arrays import I32, I64, U8, U64


@dataclass(frozen=True, slots=True)
class SlotKeys:
    """What one key slot holds: an SA's suite and keys, and whether its sequence numbers are ESN."""

    keys: SuiteKeys
    esn: bool = False


Slots = Sequence[SlotKeys | None]
"""Key slots by number; None: nothing may be opened or sealed with it."""


class Clear(NamedTuple):
    """Where plaintexts lie: `arena` (uint8, contiguous), and each row's place in it (int64).

    -1: in the batch's own arena, where the ciphertext goes. A plaintext is as long as its ciphertext.
    """

    arena: U8
    at: I64


class Opener(Protocol):
    """Opens batches with the keys of its slots."""

    def open(self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
        """Open the waiting rows in place (see above). Raises IndexError where a row's slot has no keys."""


class Sealer(Protocol):
    """Seals batches with the keys of its slots."""

    def seal(
        self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8, clear: Clear | None = None
    ) -> None:  # fmt: skip
        """Seal the waiting rows (see above). Raises IndexError where a row's slot has no keys.

        A row whose plaintext would leave `clear.arena` becomes TRUNCATED.
        """


class BatchEngine(Protocol):
    """Makes openers and sealers. `name` is what `--engine` takes, `version` the library's own words.

    `isa` is the instruction set that the library reports, None where it reports none.
    """

    name: str
    version: str
    isa: str | None

    def supports(self, keys: SuiteKeys) -> bool:
        """Whether the engine runs this suite itself; where not, its fallback does that slot's rows."""

    def engine_for(self, keys: SuiteKeys) -> BatchEngine:
        """The engine that runs this suite: this one, or the fallback that does."""

    def with_fallback(self, fallback: Callable[[], BatchEngine]) -> BatchEngine:
        """The same engine with another fallback than `cryptography`; made when it is needed."""

    def opener(self, slots: Slots) -> Opener:
        """An opener for these slots; the cost of key set-up is paid here."""

    def sealer(self, slots: Slots) -> Sealer:
        """A sealer for these slots; the cost of key set-up is paid here."""
