"""The cause of one packet, without a run of a capture."""

from __future__ import annotations

from typing import Protocol

from espsim.aead.engines import engine_by_name
from espsim.core.answers import Received
from espsim.core.verdict import PASSED
from espsim.explain.causes import DAMAGED, KEY, CauseFinder, damaged_detail
from espsim.explain.facts import CapturedPacket, Explanation, Failure
from espsim.explain.integrity import Habit
from espsim.explain.known import Known, top_of
from espsim.explain.trials import Trials
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad


class Path(Protocol):
    """What ran the packet: `espsim.reference.inbound.Inbound`."""

    sad: Sad
    mark: int | None
    ports: frozenset[int]


def why_one(path: Path, fate: Received[SadEntry], seen: CapturedPacket) -> Explanation | None:
    """Why one packet failed. None: it did not.

    `path` ran it and answered `fate`. `seen`: its bytes and what the capture says of them. Call this before
    another packet moves the windows. Only two packets show a `restart`, so here such a packet is `too-old`. It is
    `damaged` if the SA has opened others.
    """
    if fate.verdict in PASSED:
        return None
    judge = CauseFinder(Known(path.sad, (), path.mark), Trials(engine_by_name("cryptography")), top_of)
    answer = judge.cause(Failure.of(fate, seen, path.ports), Habit())
    if answer.cause == KEY and fate.entry is not None and fate.entry.packets:
        return Explanation(DAMAGED, damaged_detail(fate.entry))
    return answer
