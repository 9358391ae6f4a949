"""The batch path inbound: the order of the stages.

1. parse     where ESP is, SPI and sequence number              RFC 4303 2, 3.4.1
2. lookup    the SA, and whether it may be used                 3.4.2
3. check     the window as the batch finds it; not moved        3.4.3
4. open      ICV and decryption, in place, by the engine        3.4.4
5. trailer   pad length, next header                            2.4 to 2.6
6. nested    the first packet that holds ESP for this host
7. settle    the window again, in arrival order, and it moves   Linux xfrm_replay_recheck, _advance
8. decap     the packet inside                                  RFC 4301 5.2
9. admit     the SA's selector                                  RFC 4301 5.2
10. policies the SPD, where there is one                        Linux __xfrm_policy_check
11. sent     SENT for what this host sent
12. count    what the SAs count
13. then, one by one, the rows that the reference path judges

With the engine ipsec-mb, steps 1 to 5 run in one call of compiled code (one_call.py says when).

The window is asked twice. `check` asks before the engine opens a packet, with the window as the batch finds it, and
infers the ESN high half from that. `settle` asks again in arrival order. A packet whose high half differs by then is
opened again, because its ICV covers that half (replay.py says when, window.py how it is inferred).

It gives the reference path's answers, packet for packet, for any cut into batches. The reference path itself judges:

    SAs that could reach a limit in this batch              batch/lifetimes.py
    SAs in mode BEET or IPTFS                               batch/inbound/columns.py, batch/aggregated.py
    all rows from the first packet that holds ESP in ESP    nested.py

Their rows go through it in order of arrival, after the kernels'. That is sound because SAs share no state except
through ESP in ESP; only a listener of the SAD may hear events of different SAs in another order.

What this does not do: it reads no captures and shares no work among processes (batch/run/), joins no fragments
(io/fragments.py), and models no device (batch/device/order.py).
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
from espsim.batch.inbound import admit, count, decap, lookup, nested, one_call, parse, policies, replay, trailer
from espsim.batch.inbound import open as opening
from espsim.batch.inbound import own as sent
from espsim.batch.inbound.columns import InboundColumns
from espsim.batch.inbound.nested import COUNTED, HANDED_OVER, NestedLike
from espsim.batch.run.stats import ENGINE_VERDICTS
from espsim.batch.stages import Stage, in_order, run_stages
from espsim.core.answers import Received
from espsim.core.arrays import I32
from espsim.core.closing import Closing
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import CUT, HANDED, IN_TCP, NOT_ESP, ONE_BY_ONE, OUTGOING, OWN, PART
from espsim.core.verdict import PASSED, Verdict
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.sent import SentNumbers

Stages = tuple[Stage[InboundBatch, InboundColumns], ...]

STAGES: Stages = in_order(
    parse.STAGE, lookup.STAGE, replay.CHECK, opening.STAGE, trailer.STAGE, nested.STAGE, replay.SETTLE, decap.STAGE,
    admit.STAGE, policies.STAGE, sent.STAGE, count.STAGE,
)  # fmt: skip
"""The stages in their order, each with the columns that it writes."""
AHEAD, SETTLE, AFTER, COUNT = slice(6), slice(6, 7), slice(7, 11), slice(11, 12)
"""The stages in four parts, for workers: any worker runs AHEAD at any time; SETTLE runs in order of arrival; any worker
runs AFTER, once its batch is settled; COUNT runs in order of arrival."""

_VERDICTS = {int(verdict): verdict for verdict in Verdict}
# Sets of numbers, because the hash of an Enum's member is a slow Python function.
_NO_SPI = frozenset(map(int, (Verdict.HEADER, Verdict.FRAGMENT)))
_NO_ANSWER = frozenset((NOT_ESP, PART))
_NO_SEQ64 = _NO_SPI | frozenset(
    map(int, (Verdict.NO_SA, Verdict.DIRECTION, Verdict.SA_LARVAL, Verdict.SA_INVALID, Verdict.ENCAP_MISMATCH))
)
_CUT_COUNTS_NOT = frozenset(map(int, (Verdict.HEADER, Verdict.TRUNCATED)))
_PASSED = frozenset(map(int, PASSED))


class ReferenceInbound(Protocol):
    """`espsim.reference.inbound.Inbound`: it has the SAD and the packets' mark, and judges what kernels can't.

    `mark`: None where marks are not compared. `ports`: the UDP ports at which ESP is expected. `sent`: None in a run
    that does not look for packets of this host. `policies`: the SPD, None where there is none.
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
        """It says which packets hold ESP for this host."""

    def receive(self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool) -> Received[SadEntry] | None:
        """Process one IP packet."""


class InboundPipeline(Closing):
    """The software path in batches, over the SAD of `one`. `close` (or leaving `with`) writes back into the SAD.

    Nothing else may change the SAD between the first batch and `close`. `engine`: an engine or its name. `debug` checks
    that every stage writes its own columns only. InputError: the engine cannot be used.
    """

    parts = True
    """Whether the stages may run a batch in parts."""

    def __init__(self, one: ReferenceInbound, engine: str | BatchEngine = AUTO, *, debug: bool = False) -> None:
        self.one = one
        self.debug = debug
        self.engine = engine_by_name(engine) if isinstance(engine, str) else engine
        self.columns = InboundColumns.of(
            one.sad, self.engine, any_mark=one.mark is None, sent=one.sent, rfc6040=one.rfc6040
        )
        self.columns.policies = one.policies
        self.columns.nested = one.nested
        self.columns.ports[list(one.ports)] = 1  # ports of SAs that have left the SAD are among them
        self.alone: Counter[int] = Counter()
        """How many packets the reference path opened or refused by their ICV, by sa_index."""
        self.odd_of_gone: Counter[int] = Counter()
        """How many packets with odd padding were delivered under an SA that has no row any more, by sa_index."""
        modes = {entry.sa.mode for entry in self.columns.entries}
        self.aggregated = Aggregated() if Mode.IPTFS in modes else None
        """What came out of IP-TFS in the last batch. None: no SA has this mode."""
        self.asks = True
        """Whether this process owns the SAD, and so may write the SAs' state back when ESP in ESP has come."""
        self._taken_over = False
        self._nested: WeakKeyDictionary[InboundBatch, dict[int, Received[SadEntry]]] = WeakKeyDictionary()

    def close(self) -> None:
        """Write windows, counters, statistics and first uses back into the SAD. More batches may follow."""
        self.columns.write_back()

    def receive(
        self, packets: Sequence[bytes], times: Sequence[float] | float = 0.0, outgoing: Sequence[bool] = ()
    ) -> list[Received[SadEntry] | None]:
        """Process IP packets in order of arrival; None for one that is not ESP. `times` in seconds: each, or all.

        `outgoing`: whether the capture says that this host sent it, for each packet; empty: it says nothing.
        """
        batch = InboundBatch.of(packets, times, self.one.mark or 0)
        batch.link[: len(outgoing)] = np.where(outgoing, OUTGOING, 0)
        self.run(batch)
        return self.answers(batch)

    def run(self, batch: InboundBatch) -> None:
        """Fill a batch's columns."""
        self._nested.pop(batch, None)
        self.columns.begin(batch)
        self.run_some(batch, slice(None))
        self.run_alone(batch)

    def run_some(self, batch: InboundBatch, which: slice) -> None:
        """Run some of the stages: AHEAD, SETTLE, AFTER or COUNT. Where it can, AHEAD is one call (one_call.py)."""
        stages = self._stages(batch)
        if which.start is None and not self.debug and stages is STAGES and one_call.suits(batch, self.columns):
            one_call.run(batch, self.columns)
            which = slice(one_call.STEPS, which.stop)
        run_stages(stages, batch, self.columns, debug=self.debug, which=which)

    def run_alone(self, batch: InboundBatch) -> None:
        """After all stages: rows that the reference path judges, in order of arrival."""
        self._note_handed(batch)
        if self.aggregated is not None:
            self.aggregated.clear()
        if ONE_BY_ONE in batch.verdict.tobytes():
            for row in np.flatnonzero(batch.verdict == ONE_BY_ONE).tolist():
                self._one_by_one(batch, row)

    def run_by_clock(self, batch: InboundBatch) -> None:
        """`run_alone` for a capture: the times of its rows are the clock, which ends the waiting of IP-TFS."""
        if self.aggregated is None:
            self.run_alone(batch)
            return
        self._note_handed(batch)
        self.aggregated.clear()
        alone = np.flatnonzero(batch.verdict == ONE_BY_ONE)
        self.aggregated.run(alone, batch.time, self.one.tunnels, lambda row: self._one_by_one(batch, row))

    def _note_handed(self, batch: InboundBatch) -> None:
        """A batch with rows that were handed over has run: what the kernels counted before is complete."""
        if self.columns.alone[HANDED_OVER] and HANDED in batch.opened.tobytes():
            self.columns.alone[COUNTED] = 1

    def _stages(self, _batch: InboundBatch) -> Stages:
        return STAGES

    def ask_one(self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool) -> Received[SadEntry] | None:
        """The reference path's answer to a packet. After ESP in ESP it gets the state of all SAs first, once."""
        if self.columns.alone[COUNTED] and self.asks and not self._taken_over:
            self._taken_over = True
            self.columns.lend(np.arange(len(self.columns.entries)))
        return self.one.receive(packet, now, outgoing=outgoing, in_tcp=in_tcp)

    def nested_in(self, batch: InboundBatch) -> Mapping[int, Received[SadEntry]]:
        """The answers to packets that were ESP in ESP, by row, of a batch that has run."""
        return self._nested.get(batch, {})

    def own_of(self, batch: InboundBatch) -> I32:
        """The SA of every row, as the software lookup finds it; -1: none."""
        return batch.sa_index

    def answers(self, batch: InboundBatch, rows: slice = slice(None)) -> list[Received[SadEntry] | None]:
        """The answers of a batch that has run, or of some rows; None for what is not ESP, or a part of a datagram."""
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
            # The host received the whole packet, so none of its counters moved for what the capture cut.
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
        """Note the inner packets that came out with a row of IP-TFS."""
        if self.aggregated is not None and answer.inners is not None:
            self.aggregated.add(row, answer.inners)

    def _one_by_one(self, batch: InboundBatch, row: int) -> None:
        """Give a row to the reference path, and write its answer into the columns."""
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
