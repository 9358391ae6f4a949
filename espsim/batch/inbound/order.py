"""The batch path inbound: the order of the stages, and nothing else.

1. parse     where ESP is, SPI and sequence number              RFC 4303 2, 3.4.1
2. lookup    the SA, and whether it may be used                 3.4.2
3. check     the window as the batch finds it; not moved        3.4.3
4. open      ICV and decryption, in place, by the engine        3.4.4
5. trailer   pad length, next header                            2.4 to 2.6
6. settle    in arrival order: the window again, and it moves   Linux xfrm_replay_recheck, _advance
7. decap     the packet inside; admit: the SA's selector        RFC 4301 5.2
             policies: where there are some
8. sent      what this host sent; count: what the SAs count
   then, one by one, what the reference path judges: SAs near their end, BEET mode, IP-TFS (batch/aggregated.py)

It gives the reference path's answers, packet for packet, for any cut into batches. Packets of SAs that may be near
their end (batch/lifetimes.py) go to the reference path, in their order, and from ESP in ESP on all do (nested.py). That
is sound because SAs share no state but through ESP in ESP: only what a listener of the SAD hears may come in another
order than with one packet at a time.

Does not read captures or share work among processes (batch/run/), or model a device (batch/device/order.py).
Sources: RFC 4303 3.4 in the order of Linux's xfrm_input (net/xfrm/xfrm_input.c).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from espsim.aead.batch import BatchEngine
from espsim.aead.engines import AUTO, engine_by_name
from espsim.batch.aggregated import Aggregated, TunnelsLike
from espsim.batch.columns import SadColumns
from espsim.batch.inbound import admit, count, decap, lookup, parse, policies, replay, trailer
from espsim.batch.inbound import open as opening
from espsim.batch.inbound import own as sent
from espsim.batch.inbound.nested import NestedLike
from espsim.batch.rule import Stage, in_order, run_stages
from espsim.batch.run.stats import ENGINE_VERDICTS
from espsim.core.answers import Received
from espsim.core.arrays import I32
from espsim.core.batch import PacketBatch
from espsim.core.closing import Closing
from espsim.core.numbers import CUT, HANDED, IN_TCP, NOT_ESP, ONE_BY_ONE, OUTGOING, OWN, PART
from espsim.core.verdict import PASSED, Verdict
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.sent import SentNumbers

Stages = tuple[Stage[PacketBatch, SadColumns], ...]

STAGES: Stages = in_order(
    parse.STAGE, lookup.STAGE, replay.CHECK, opening.STAGE, trailer.STAGE, replay.SETTLE, decap.STAGE, admit.STAGE,
    policies.STAGE, sent.STAGE, count.STAGE,
)  # fmt: skip
"""The stages in their order, each with the columns that it writes."""
AHEAD, SETTLE, AFTER, COUNT = slice(5), slice(5, 6), slice(6, 10), slice(10, 11)
"""Of the stages, for workers: what any worker runs at any time; settle, in order of arrival; what any worker runs after
that; count, in order of arrival."""

_VERDICTS = {int(verdict): verdict for verdict in Verdict}
# Numbers, because an Enum's hash is a Python function.
_NO_SPI = frozenset(map(int, (Verdict.HEADER, Verdict.FRAGMENT)))
_NO_ANSWER = frozenset((NOT_ESP, PART))
_NO_SEQ64 = _NO_SPI | frozenset(
    map(int, (Verdict.NO_SA, Verdict.DIRECTION, Verdict.SA_LARVAL, Verdict.SA_INVALID, Verdict.ENCAP_MISMATCH))
)
_CUT_COUNTS_NOT = frozenset(map(int, (Verdict.HEADER, Verdict.TRUNCATED)))
_PASSED = frozenset(map(int, PASSED))


class OnePacketPath(Protocol):
    """`espsim.reference.inbound.Inbound`: it names the SAD and the packets' mark, and judges what kernels can't.

    `mark` is None where marks are not asked. `ports` are the UDP ports at which ESP is expected. `sent` is None where
    packets that this host sent are not looked for. `policies` are asked after all else, None where there are none.
    """

    sad: Sad
    mark: int | None
    ports: frozenset[int]
    sent: SentNumbers | None
    rfc6040: bool

    @property
    def policies(self) -> policies.PolicyJudge | None:
        """See above."""

    @property
    def tunnels(self) -> TunnelsLike:
        """The receivers of IP-TFS."""

    @property
    def nested(self) -> NestedLike:
        """What says where ESP holds ESP."""

    def receive(self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool) -> Received[SadEntry] | None:
        """Process one IP packet."""


class BatchInbound(Closing):
    """The software path in batches, over the SAD of `one`. `close` (or leaving `with`) writes back into the SAD.

    Between the first batch and `close` the SAD must be left alone. `engine` is an engine's name or the engine; `debug`
    checks that every stage writes its own columns only. Raises InputError where the engine cannot be used.
    """

    parts = True
    """Whether the stages may run a batch in parts."""

    def __init__(self, one: OnePacketPath, engine: str | BatchEngine = AUTO, *, debug: bool = False) -> None:
        self.one = one
        self.debug = debug
        self.engine = engine_by_name(engine) if isinstance(engine, str) else engine
        self.columns = SadColumns.of(
            one.sad, self.engine, any_mark=one.mark is None, sent=one.sent, rfc6040=one.rfc6040
        )
        self.columns.policies = one.policies
        self.columns.nested = one.nested
        self.columns.ports[list(one.ports)] = 1  # those of SAs that have left the SAD since, too
        self.alone: Counter[int] = Counter()
        """By sa_index, the packets that the reference path opened or refused by their ICV."""
        self.odd_of_gone: Counter[int] = Counter()
        """By sa_index, packets with odd padding that were delivered under an SA which has no row any more."""
        modes = {entry.sa.mode for entry in self.columns.entries}
        self.aggregated = Aggregated() if Mode.IPTFS in modes else None
        """What came out of IP-TFS in the last batch; None: no SA is in this mode."""
        self.asks = True
        """Whether the SAD is this process's, so that the SAs' state may be written back when ESP in ESP has come."""
        self._taken_over = False
        self._nested: WeakKeyDictionary[PacketBatch, dict[int, Received[SadEntry]]] = WeakKeyDictionary()

    def close(self) -> None:
        """Write windows, counters, statistics and first uses back into the SAD. More batches may follow."""
        self.columns.write_back()

    def receive(
        self, packets: Sequence[bytes], times: Sequence[float] | float = 0.0, outgoing: Sequence[bool] = ()
    ) -> list[Received[SadEntry] | None]:
        """Process IP packets in order of arrival; None for one that is not ESP. `times` in seconds: each, or all.

        `outgoing`: of each, whether the capture says that this host sent it; empty: it says nothing.
        """
        batch = PacketBatch.of(packets, times, self.one.mark or 0)
        batch.link[: len(outgoing)] = np.where(outgoing, OUTGOING, 0)
        self.run(batch)
        return self.answers(batch)

    def run(self, batch: PacketBatch) -> None:
        """Fill a batch's columns."""
        self._nested.pop(batch, None)
        self.columns.begin(batch)
        self.run_some(batch, slice(None))
        self.run_alone(batch)

    def run_some(self, batch: PacketBatch, which: slice) -> None:
        """Some of the stages: see AHEAD."""
        run_stages(self._stages(batch), batch, self.columns, debug=self.debug, which=which)

    def run_alone(self, batch: PacketBatch) -> None:
        """After all stages, in order of arrival: rows of SAs that are the reference path's."""
        self._note_handed(batch)
        if self.aggregated is not None:
            self.aggregated.clear()
        if ONE_BY_ONE in batch.verdict.tobytes():
            for row in np.flatnonzero(batch.verdict == ONE_BY_ONE).tolist():
                self._one_by_one(batch, row)

    def run_by_clock(self, batch: PacketBatch) -> None:
        """As `run_alone`, of a capture: its clock, the time of each row, ends the waiting of IP-TFS."""
        if self.aggregated is None:
            self.run_alone(batch)
            return
        self._note_handed(batch)
        self.aggregated.clear()
        alone = np.flatnonzero(batch.verdict == ONE_BY_ONE)
        self.aggregated.run(alone, batch.time, self.one.tunnels, lambda row: self._one_by_one(batch, row))

    def _note_handed(self, batch: PacketBatch) -> None:
        """Where a batch's rows were handed over, what the kernels counted before is complete now."""
        if self.columns.alone[0] and HANDED in batch.opened.tobytes():
            self.columns.alone[1] = 1

    def _stages(self, _batch: PacketBatch) -> Stages:
        return STAGES

    def ask_one(self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool) -> Received[SadEntry] | None:
        """The reference path's answer to a packet. When ESP in ESP has come, all SAs are its own first."""
        if self.columns.alone[1] and self.asks and not self._taken_over:
            self._taken_over = True
            self.columns.lend(np.arange(len(self.columns.entries)))
        return self.one.receive(packet, now, outgoing=outgoing, in_tcp=in_tcp)

    def nested_in(self, batch: PacketBatch) -> Mapping[int, Received[SadEntry]]:
        """Of a batch that has run, by row, the answers to packets that were ESP in ESP."""
        return self._nested.get(batch, {})

    def own_of(self, batch: PacketBatch) -> I32:
        """The SA of every row, as the software lookup finds it; -1: none."""
        return batch.sa_index

    def answers(self, batch: PacketBatch, rows: slice = slice(None)) -> list[Received[SadEntry] | None]:
        """The rows of a batch that has run, or some; None for what is not ESP, or only a part of a datagram."""
        entries, memory = self.columns.entries, memoryview(batch.arena)
        inners = self.aggregated.inners if self.aggregated is not None else {}
        first = rows.indices(len(batch))[0]
        facts = (batch.verdict, batch.flags, batch.odd_padding, batch.spi, batch.seq, batch.seq64, batch.sa_index)
        places = (batch.inner_at, batch.inner_length)
        found: list[Received[SadEntry] | None] = []
        columns = (column[rows].tolist() for column in facts + places)
        for row, (number, flags, odd, spi, seq, seq64, sa, at, size) in enumerate(zip(*columns, strict=True), first):
            if number in _NO_ANSWER:
                found.append(None)
                continue
            verdict = _VERDICTS[number]
            # A capture that was cut short would never have reached xfrm: no counter of it moves.
            uncounted = flags & OWN or (flags & CUT and number in _CUT_COUNTS_NOT)
            counter = None if uncounted else verdict.counter
            answer: Received[SadEntry] = Received(verdict, counter, own=bool(flags & OWN))
            if number not in _NO_SPI:
                answer.spi, answer.seq = spi, seq
            if number not in _NO_SEQ64:
                answer.seq64 = seq64
            if sa >= 0:
                answer.entry = answer.used = entries[sa]
            answer.odd_padding = odd != 0
            if row in inners:
                answer.inners = inners[row]
            elif number in _PASSED:
                answer.inner = bytes(memory[at : at + size])
            found.append(answer)
        nested, (first, end, _) = self.nested_in(batch), rows.indices(len(batch))
        for row, answer in nested.items():
            if first <= row < end:
                found[row - first] = answer
        return found

    def _add_inners(self, row: int, answer: Received[SadEntry]) -> None:
        """The packets that went out with a row of IP-TFS."""
        if self.aggregated is not None and answer.inners is not None:
            self.aggregated.add(row, answer.inners)

    def _one_by_one(self, batch: PacketBatch, row: int) -> None:
        """Ask the reference path about a row, and write its answer into the columns."""
        link = int(batch.link[row])
        answer = self.ask_one(
            batch.packet(row), float(batch.time[row]), outgoing=bool(link & OUTGOING), in_tcp=bool(link & IN_TCP)
        )
        if answer is None:
            batch.verdict[row], batch.sa_index[row] = NOT_ESP, -1
            return
        batch.flags[row] = batch.flags[row] & CUT | OWN * answer.own
        if answer.around is not None:
            self._nested.setdefault(batch, {})[row] = answer
        for layer in answer.layers:
            if layer.entry is not None and layer.verdict in ENGINE_VERDICTS:
                self.alone[layer.entry.sa_index] += 1
        batch.verdict[row] = answer.verdict
        batch.sa_index[row] = -1 if answer.entry is None else self.columns.rows[answer.entry.sa_index]
        batch.seq64[row] = answer.seq64 or 0
        batch.odd_padding[row] = answer.odd_padding
        self._add_inners(row, answer)
        if answer.inner is not None:
            batch.put_inner(row, answer.inner)
