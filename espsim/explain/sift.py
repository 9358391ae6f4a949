"""The collector over batches: batch/inbound/sift.py goes through the rows and stops at each that needs a look.

A run without failures costs one call a batch. Rows of groups that have been looked at enough are only counted, in the
kernel. The rows that get a look go through the same code as in `watch.Watch`, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.batch.inbound import sift as kernel
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.inbound.sums import Sums
from espsim.batch.inbound.triple import NO_PORT
from espsim.batch.inbound.window import RESUMED, WHERE
from espsim.core.answers import Received
from espsim.core.arrays import I32, I64, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import ESP_END, ESP_START, IN_TCP, OTHERWISE, OWN
from espsim.core.verdict import REPLAY_VERDICTS, Verdict
from espsim.explain.facts import CapturedPacket, Top
from espsim.explain.known import Known
from espsim.explain.watch import GROUPS, LOOKS, Collector, FailureGroup, Token
from espsim.reference.outer import parse_outer
from espsim.sad.entry import SadEntry

_M64 = 0xFFFFFFFFFFFFFFFF
_RIGHT = frozenset(map(int, (Verdict.DELIVERED, Verdict.TRAILER)))


class Look(NamedTuple):
    """A row that needs a look, and its group."""

    group: int
    fate: Received[SadEntry]
    seen: CapturedPacket


class Sift(Collector):
    """The collector for batches of `path`, in arrival order. Make it before the first batch runs.

    `memory(shape, dtype)` makes zeroed arrays for the state between batches. If workers share that memory, `take` may
    run in each of them, in turn. It hands every row that needs a look to `look`, which runs in the first process, where
    the groups are.
    """

    def __init__(self, known: Known, path: InboundPipeline, memory: Callable[..., Any] = np.zeros) -> None:
        super().__init__(known, path.engine, path.one.ports)
        self._path = path
        columns = path.columns
        shape = columns.shape[: len(columns.entries)]
        self._state: U64 = memory((max(len(shape), 1), 4), np.uint64)
        self._state[: len(shape), kernel.TOP] = columns.bits[(shape >> np.uint64(WHERE)).astype(np.int64)]
        self._state[: len(shape), kernel.FLAGS] = np.where(shape & np.uint64(RESUMED), kernel.RESUMED, np.uint64(0))
        self._keys: U64 = memory((GROUPS, 3), np.uint64)
        self._slots: I32 = memory((kernel.SLOTS,), np.int32)
        self._counts: I64 = memory((GROUPS, 2), np.int64)
        self._counts[:, kernel.ROOM] = LOOKS
        self._used: I64 = memory((1,), np.int64)
        self._made: list[FailureGroup] = []
        self._looked: list[Token] = []
        self._group_of: I32 = np.zeros(0, np.int32)

    def top(self, entry: SadEntry) -> Top:
        """As Collector."""
        row = self._path.columns.rows.get(entry.sa_index)
        if row is None:
            return Top(0, known=False)
        number, flags = self._state[row, : kernel.FLAGS + 1].tolist()
        return Top(number, not flags & int(kernel.RESUMED))

    def authentic(self, entry: SadEntry) -> bool:
        """As Collector."""
        row = self._path.columns.rows.get(entry.sa_index)
        return row is not None and bool(self._state[row, kernel.FLAGS] & kernel.AUTHENTIC)

    def take(self, batch: InboundBatch, look: Callable[[Look], int], sums: Sums | None = None) -> dict[int, int]:
        """Take a batch that has run. Returns the codes that `look` gave, by row; `codes` has the other rows too.

        `sums`: the batch's, if it has some and `codes` is not called; it is quicker then.
        """
        if sums is not None and self._take_sums(batch, sums):
            return {}
        rows, own = len(batch), self._path.own_of(batch)
        if len(self._group_of) < rows:
            self._group_of = np.zeros(rows, np.int32)
        looked: dict[int, int] = {}
        facts: list[Any] = [
            batch.verdict, batch.flags, batch.sa_index, own, batch.seq64, batch.odd_padding,
            batch.family, batch.spi, batch.daddr, batch.dport,
        ]  # fmt: skip
        nested = self._path.nested_in(batch)
        row = -1
        for end in [*sorted(nested), rows]:
            before = facts if end == rows else [column[:end] for column in facts]
            while (row := self._sift(row + 1, before, self._group_of)) >= 0:
                (fate,) = self._path.answers(batch, slice(row, row + 1))
                if fate is None:
                    raise RuntimeError("a row that is not a packet has a group")
                looked[row] = look(Look(int(self._group_of[row]), fate, seen_in(batch, row, fate)))
            row = end
            if end in nested and self._layers(end, nested[end]):
                looked[end] = look(Look(int(self._group_of[end]), nested[end], seen_in(batch, end, nested[end])))
        return looked

    def _take_sums(self, batch: InboundBatch, sums: Sums) -> bool:
        """Take a batch by its sums. False: some row needs a look, so nothing was done."""
        return kernel.pass_sums(
            sums.sums, sums.others, sums.used, batch.verdict, batch.sa_index, batch.family, batch.spi, batch.daddr,
            batch.dport, self._state, self._keys, self._slots, self._counts, self._used,
        )  # fmt: skip

    def _sift(self, first: int, facts: list[Any], group_of: I32) -> int:
        """The first row from `first` on that needs a look; -1: there is none."""
        sift: Callable[..., int] = kernel.sift
        return sift(first, *facts, self._state, self._keys, self._slots, self._counts, self._used, group_of)

    def _layers(self, row: int, fate: Received[SadEntry]) -> bool:
        """Take ESP in ESP, each layer as a row of its own. Returns whether the last layer needs a look."""
        found = -1
        for layer in fate.layers:
            found = self._sift(0, self._row_of(layer), self._group_of[row : row + 1])
        return found >= 0

    def _row_of(self, layer: Received[SadEntry]) -> list[Any]:
        """A layer's answer in columns of one row."""
        rows = self._path.columns.rows
        used, own = (-1 if e is None else rows.get(e.sa_index, -1) for e in (layer.used, layer.entry))
        outer = None if layer.around is None else parse_outer(layer.around.inner or b"", self._ports)
        dst = b"" if outer is None else outer.dst
        number = int.from_bytes(dst)
        port = NO_PORT if outer is None or outer.ports is None else outer.ports[1]
        return [
            np.array([layer.verdict], np.uint8), np.array([OWN * layer.own], np.uint8),
            np.array([used], np.int32), np.array([own], np.int32), np.array([layer.seq64 or 0], np.uint64),
            np.array([layer.odd_padding], np.uint8), np.array([4 if len(dst) == 4 else 6], np.uint8),
            np.array([layer.spi or 0], np.uint32), np.array([(number >> 64, number & _M64)], np.uint64),
            np.array([port], np.uint32),
        ]  # fmt: skip

    def look(self, one: Look) -> int:
        """Look at a row. Returns the code of its token."""
        if one.group == len(self._made):
            self._made.append(FailureGroup(one.fate.verdict, one.fate.entry))
            self.groups.append(self._made[-1])
        group = self._made[one.group]
        self._looked.append(self._look(group, one.fate, one.seen))
        self._counts[one.group, kernel.ROOM] = min(self._counts[one.group, kernel.ROOM], group.room)
        return GROUPS + len(self._looked) - 1

    def codes(self, batch: InboundBatch, looked: dict[int, int]) -> list[int]:
        """The code of every row's token, after `take` of this batch gave `looked`."""
        codes: list[int] = self._group_of[: len(batch)].tolist()
        for row, code in looked.items():
            codes[row] = code
        return codes

    def token(self, code: int) -> Token:
        """The token of a code. Only the process with the groups can call it."""
        if code < 0:
            return None
        return self._made[code] if code < GROUPS else self._looked[code - GROUPS]

    def end(self) -> None:
        """As Collector. From now on the groups have their counts."""
        for group, packets in zip(self._made, self._counts[:, kernel.PACKETS].tolist(), strict=False):
            group.packets = packets
        odd = self._state[:, kernel.ODD]
        entries = self._path.columns.entries
        self.odd = {entries[row].sa_index: int(odd[row]) for row in np.flatnonzero(odd).tolist()}
        self.odd |= self._path.odd_of_gone
        super().end()


def seen_in(batch: InboundBatch, row: int, fate: Received[SadEntry]) -> CapturedPacket:
    """What the capture says of a failed row. A window may have refused it after it was opened, so it is plaintext."""
    packet, opened = batch.packet(row), None
    if fate.verdict in REPLAY_VERDICTS:
        code = int(batch.opened[row])
        opened = True if code in _RIGHT else None
        if code == OTHERWISE and fate.used is not None:
            packet = _closed(packet, int(batch.where[row, ESP_START]), int(batch.where[row, ESP_END]), fate.used)
    facts = int(batch.frame[row]), int(batch.captured[row]), int(batch.wire[row])
    return CapturedPacket(packet, *facts, opened, bool(batch.link[row] & IN_TCP))


def _closed(packet: bytes, esp: int, end: int, used: SadEntry) -> bytes:
    """The packet as it came, with ciphertext where an engine left plaintext.

    The ciphertext is made again; the ICV, which depends on the number, is still there.
    """
    keys = used.sa.keys
    if keys is None:
        return packet
    body, icv = esp + 8 + keys.suite.iv_length, end - keys.icv_length
    seal = CryptographyEngine().transform(keys).seal
    sealed = seal(packet[esp : esp + 8], b"", packet[esp + 8 : body], packet[body:icv])
    return packet[:body] + sealed[: icv - body] + packet[icv:]
