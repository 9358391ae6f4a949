"""The runtime half of the SAD: one numpy column a fact, one row an SA.

It is built from a `Sad` and written back into it when the run ends; in between only the reference path may change the
`Sad`. `entries[row]` is a row's state in the `Sad`.

An SA belongs either to the kernels or to the reference path, never to both, so that its state is in one place. The
reference path has from the start:

1. SAs in mode IPTFS (aggregated.py) or BEET: no kernel writes a header of another length before a payload;
2. all SAs of their SPIs.

It takes over later:

3. an SA with a lifetime, before a batch in which a limit could be reached (`begin`). From then on it handles all
   packets of that SA;
4. all SAs of the same SPI. The SA may leave the SAD in the middle of a batch, and its packets find one of these then.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from espsim.aead.batch import BatchEngine, Opener, SlotKeys
from espsim.batch.inbound import window as windows
from espsim.batch.inbound.admit import selector_words
from espsim.batch.inbound.count import BEFORE, BYTES, DUPLICATES, FORGED, IN_RUN, PACKETS, SINCE, TOO_OLD, USED
from espsim.batch.inbound.decap import BY_NEXT_HEADER, DSCP, NO_ECN, RFC_6040, TUNNEL
from espsim.batch.inbound.lookup import EITHER, ENCAPSULATED, ENCAPSULATED_TCP, PLAIN
from espsim.batch.inbound.nested import NestedLike
from espsim.batch.inbound.own import OwnColumns
from espsim.batch.inbound.policies import PolicyJudge
from espsim.batch.inbound.triple import ANY_PORT, MARK, NO_PORT, PORT, PROTO, triple_insert, triple_tables
from espsim.batch.lifetimes import Coming, Lifetimes, shared
from espsim.core.arrays import I32, I64, U8, U32, U64, address_words
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import ONE_BY_ONE, PROTO_ESP
from espsim.core.verdict import Verdict
from espsim.jit.memory import zeros
from espsim.sad.association import ANY_ENCAP, ESPINTCP, ESPINUDP, NO_MARK, Direction, Mode, SecurityAssociation
from espsim.sad.entry import NO_STATS, SadEntry, SaStats, State
from espsim.sad.index import daddr_key
from espsim.sad.sad import Sad
from espsim.sad.sent import SentNumbers
from espsim.sad.spi import SpiRule
from espsim.sad.window import RingWindow, Window
from espsim.wire.udp import PORT_NAT_T


class _NoKeys:
    """An opener without slots."""

    def open(self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
        """As Opener."""
        raise IndexError("the keys are forgotten")


_NO_KEYS = _NoKeys()
_M64 = 0xFFFFFFFFFFFFFFFF
_AT_ONCE = 4096
"""SAs that are written back at a time, so that copies of their rows stay small."""
_SMALL = 64
"""The largest window whose bitmap is one word."""

_ENCAPSULATED = {ESPINUDP: int(ENCAPSULATED), ESPINTCP: int(ENCAPSULATED_TCP), ANY_ENCAP: int(EITHER)}
_USABLE = frozenset({int(PLAIN), *_ENCAPSULATED.values()})


@dataclass(slots=True)
class InboundColumns:
    """What the stages read of SAs, and the columns that they change: the windows (`shape`, `bits`) and `counts`.

    A benchmark may fill it with arrays of its own; `entries` is empty then, and nothing can be written back. Layouts
    are in the steps of inbound/: `standing` lookup.py; `form` decap.py; `extent` open.py; `table4`, `table6` and
    `chain` triple.py; `shape` and `bits` window.py; `counts` count.py; `selectors` admit.py; `alone` nested.py. `ports`
    (65,536): not 0 at the UDP ports that carry ESP. `asked`: the Sad whose SPI rule has a lookup of its own; None: the
    tables find SAs. `policies`: as Inbound's. `nested`: says which packets hold ESP. `esn`: some SA may have ESN.
    """

    standing: U8
    form: U8
    extent: U8
    table4: U64
    table6: U64
    chain: U32
    shape: U64
    bits: U64
    counts: I64
    ports: U8
    opener: Opener
    selector_of: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    selectors: U64 = field(default_factory=lambda: np.zeros((0, 12), np.uint64))
    entries: list[SadEntry] = field(default_factory=list)
    asked: Sad | None = None
    any_mark: bool = False
    lifetimes: Lifetimes | None = None
    own: OwnColumns = field(default_factory=OwnColumns)
    policies: PolicyJudge | None = None
    nested: NestedLike | None = None
    alone: U8 = field(default_factory=lambda: np.zeros(2, np.uint8))
    esn: bool = True
    _rows: dict[int, int] | None = None

    @property
    def rows(self) -> dict[int, int]:
        """Row by sa_index. It is made when it is asked for the first time: most runs need it not."""
        if self._rows is None:
            self._rows = {entry.sa_index: row for row, entry in enumerate(self.entries)}
        return self._rows

    @classmethod
    def of(
        cls,
        sad: Sad,
        engine: BatchEngine,
        *,
        any_mark: bool = False,
        sent: SentNumbers | None = None,
        rfc6040: bool = False,
    ) -> InboundColumns:
        """The ESP states of a `Sad` that have an SPI, and their keys set up in the engine.

        `any_mark`: the lookup compares no marks. `sent`: keeps the numbers of packets that this host sent; None: such
        packets are not looked for. `rfc6040`: as Inbound's.
        """
        entries = _linked(sad)
        alone = _by_reference(entries)
        ready = np.array([_ready(e) for e in entries], np.uint8)
        outward = [e.sa.dir is Direction.OUT for e in entries]
        standing = np.where(outward, np.uint8(Verdict.DIRECTION), ready)
        standing[alone] = ready[alone] = ONE_BY_ONE
        own = OwnColumns() if sent is None else OwnColumns.of(entries, ready.tolist(), sent)
        used = standing if sent is None else ready
        shape, bits = _windows(entries)
        tables = _tables(entries, port_key=sad.index.port_key, any_mark=any_mark)
        counts = zeros((len(entries), 8), np.int64)
        counts[:, USED] = [e.used is not None for e in entries]
        return cls(
            standing,
            np.array([_form(e.sa, rfc6040) for e in entries], np.uint8),
            np.array([_extent(e) for e in entries], np.uint8).reshape(len(entries), 2),
            *tables,
            shape,
            bits,
            counts,
            _ports(e.sa for e in sad),
            engine.opener([_slot(e, int(s)) for e, s in zip(entries, used, strict=True)]),
            *_selectors(entries),
            entries,
            None if type(sad.policy).input is SpiRule.input else sad,
            any_mark,
            own=own,
            esn=bool((shape & windows.ESN).any()),
        )

    def begin(self, batch: InboundBatch) -> None:
        """Before a batch: give the reference path the SAs that could reach a limit in it, and all SAs of their SPIs."""
        if not len(self._limited().rows):
            return
        due = self.due(Coming.of(batch.time, batch.length))
        if len(due):
            mates = np.flatnonzero(np.isin(self._limited().spis, self._limited().spis[due]))
            self.lend(mates)
            self._limited().without(mates)

    def due(self, coming: Coming) -> I64:
        """Rows of the kernels' SAs that could reach a limit with these packets."""
        limited = self._limited()
        if not len(limited.rows):
            return limited.rows
        counts = self.counts[limited.rows]
        since = np.where(counts[:, USED] == IN_RUN, counts[:, SINCE].view(np.float64), np.nan)
        due = limited.due(coming, counts[:, PACKETS : BYTES + 1], since)
        # With workers, another process may have given some to the reference path.
        ours: I64 = due[self.standing[due] != ONE_BY_ONE]
        return ours

    def _limited(self) -> Lifetimes:
        """The kernels' SAs that have limits, with what is left of them."""
        if self.lifetimes is None:
            self.lifetimes = Lifetimes(self.entries, self.standing != ONE_BY_ONE, outbound=self.own.numbers is None)
        return self.lifetimes

    def share(self, memory: Callable[..., Any]) -> None:
        """Move the columns that packets change into memory of `memory(shape, dtype)`, which forked processes share."""
        self.standing, self.counts = shared(self.standing, memory), shared(self.counts, memory)
        self.shape, self.bits = shared(self.shape, memory), shared(self.bits, memory)
        self.alone = shared(self.alone, memory)
        self.own.standing, self.own.sent = shared(self.own.standing, memory), shared(self.own.sent, memory)

    def lend(self, rows: I64) -> None:
        """Give these SAs to the reference path: their state is written back, and it handles all their packets."""
        self._write_back(rows)
        self.standing[rows] = ONE_BY_ONE
        if self.own.numbers is not None:
            self.own.standing[rows] = ONE_BY_ONE

    def write_back(self) -> None:
        """Write windows, counters, statistics and first use into the `Sad`. Between batches, as often as needed."""
        self._write_back(np.arange(len(self.entries)))
        self.lifetimes = None

    def forget_keys(self) -> None:
        """Free the engine's key schedules, a kilobyte an SA and more. No packet can be opened after this."""
        self.opener = _NO_KEYS

    def renew_windows(self) -> None:
        """Write back, and lay the windows out again, because a device that takes an SA replaces its ring window."""
        self.write_back()
        self.shape, self.bits = _windows(self.entries)

    def _write_back(self, rows: I64) -> None:
        self.own.write_back(self.entries, rows)
        for at in range(0, len(rows), _AT_ONCE):
            some = rows[at : at + _AT_ONCE]
            counted = self.counts[some]
            moved = (counted[:, :USED] != 0).any(axis=1) | (counted[:, USED] == IN_RUN)
            self._write_some(some[moved], counted[moved])

    def _write_some(self, rows: I64, counted: I64) -> None:
        """Write back rows that packets have changed; `counted`: their rows of `counts`."""
        self._write_windows(rows[counted[:, PACKETS] != 0])
        used = counted[:, USED] == IN_RUN
        since = np.where(used, counted[:, SINCE].view(np.float64), np.nan).tolist()
        for row, numbers, first, when in zip(rows.tolist(), counted.tolist(), used.tolist(), since, strict=True):
            refusals = numbers[DUPLICATES], numbers[TOO_OLD], numbers[FORGED]
            refused = SaStats(*refusals) if any(refusals) else NO_STATS
            self.entries[row].ran(numbers[PACKETS], numbers[BYTES], when if first else None, refused=refused)
        self.counts[rows, :USED] = 0
        self.counts[rows[used], USED] = BEFORE

    def _write_windows(self, rows: I64) -> None:
        shapes = self.shape[rows]
        tops, bitmaps = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint64)
        windows.small(shapes, self.bits, tops, bitmaps)
        resumed = (shapes & windows.RESUMED) != 0
        facts = zip(rows.tolist(), tops.tolist(), bitmaps.tolist(), resumed.tolist(), strict=True)
        for row, top, bitmap, waits in facts:
            window = self.entries[row].window
            if 0 < window.size <= _SMALL:
                # A device may check no replays: then packets are counted, and RESUMED is still set.
                window.set_numbers(top, bitmap, window.resume if waits else None)
            else:
                self._write_window(window, self.shape[row])

    def _write_window(self, window: Window, shape: np.uint64) -> None:
        if not window.size:
            if window.resume is not None:
                window.set_numbers(window.top, 0, int(self.bits[(int(shape) >> windows.WHERE) + windows.HINT]))
            return
        seen = np.zeros(window.size, np.uint8)
        windows.seen(shape, self.bits, np.arange(window.size, dtype=np.uint32), seen)
        bitmap = int.from_bytes(np.packbits(seen, bitorder="little").tobytes(), "little")
        top = int(self.bits[int(shape) >> windows.WHERE])
        window.set_numbers(top, bitmap, window.resume if int(shape) & int(windows.RESUMED) else None)


def _linked(sad: Sad) -> list[SadEntry]:
    """The ESP states that a packet can find, SPI by SPI; those of one SPI in the order in which they got it."""
    if not sad.index.by_spi.shared():
        return [e for e in sad if e.sa.spi and e.sa.proto == PROTO_ESP]
    spis = dict.fromkeys(e.sa.spi for e in sad if e.sa.spi)
    return [e for spi in spis for e in sad.with_spi(spi) if e.sa.proto == PROTO_ESP]


def _by_reference(entries: list[SadEntry]) -> list[bool]:
    """Whether the reference path has an SA from the start (1 and 2 above)."""
    spis = {entry.sa.spi for entry in entries if entry.sa.mode in (Mode.BEET, Mode.IPTFS)}
    return [entry.sa.spi in spis for entry in entries]


def _ready(entry: SadEntry) -> int:
    """What xfrm_input checks after the direction, in its order: state, encapsulation."""
    encap = entry.sa.encap
    if entry.state is not State.VALID or entry.sa.keys is None:
        return Verdict.SA_LARVAL if entry.state is State.LARVAL else Verdict.SA_INVALID
    if encap is None:
        return int(PLAIN)
    return _ENCAPSULATED.get(encap.kind, int(Verdict.ENCAP_MISMATCH))


def _form(sa: SecurityAssociation, rfc6040: bool) -> int:
    return (
        int(TUNNEL) * (sa.mode is Mode.TUNNEL)
        | int(DSCP) * ("decap-dscp" in sa.flags)
        | int(NO_ECN) * ("noecn" in sa.flags)
        | int(BY_NEXT_HEADER) * (sa.mode is Mode.ANY)
        | int(RFC_6040) * (rfc6040 and "noecn" not in sa.flags)
    )


def _extent(entry: SadEntry) -> tuple[int, int]:
    keys = entry.sa.keys
    return (keys.suite.iv_length, keys.icv_length) if keys is not None else (0, 0)


def _slot(entry: SadEntry, standing: int) -> SlotKeys | None:
    if standing not in _USABLE or entry.sa.keys is None:
        return None
    return SlotKeys(entry.sa.keys, entry.sa.esn)


def _selectors(entries: list[SadEntry]) -> tuple[I32, U64]:
    """`selector_of` and `selectors` of batch/inbound/admit.py."""
    rows = [row for row, entry in enumerate(entries) if entry.sa.selective]
    selector_of: I32 = np.full(len(entries), -1, np.int32)
    selector_of[rows] = range(len(rows))
    words = array("Q")  # of 100,000 SAs a list of tuples would be 50 MB
    for row in rows:
        words.extend(selector_words(entries[row].sa.selector))
    found: U64 = np.frombuffer(words, np.uint64) if rows else np.zeros(0, np.uint64)
    return selector_of, found.reshape(len(rows), 12)


def _windows(entries: list[SadEntry]) -> tuple[U64, U64]:
    """`shape` and `bits` of the windows."""
    shape_of = functools.cache(windows.shape_of)
    forms = [
        shape_of(w.size, esn=w.esn, resumed=w.resume is not None, ring=isinstance(w, RingWindow))
        for w in (e.window for e in entries)
    ]
    starts = np.cumsum([0] + [words for _, words in forms])
    bits: U64 = zeros((int(starts[-1]),), np.uint64)
    shape = np.array([form | int(at) << windows.WHERE for (form, _), at in zip(forms, starts, strict=False)], np.uint64)
    for row, window in enumerate(entry.window for entry in entries):
        if not (window.top or window.resume or window.bitmap):  # a fresh one, as nearly all are
            continue
        at = int(starts[row])
        bits[at], bits[at + windows.HINT] = window.top & _M64, (window.resume or 0) & _M64
        seen = window.bitmap_from_top() if window.bitmap else 0
        if seen:
            below = [n for n in range(window.size) if seen >> n & 1]
            windows.mark(shape[row], bits, np.array(below, np.uint32))
    return shape, bits


def _tables(entries: list[SadEntry], *, port_key: bool, any_mark: bool) -> tuple[U64, U64, U32]:
    """The tables and chains of triple.py. A state of another family than its address's is in none of them."""
    count = len(entries)
    family = np.array([4 if len(e.sa.dst) == 4 else 6 for e in entries], np.uint8)
    spi = np.array([e.sa.spi for e in entries], np.uint32)
    daddr = address_words(e.sa.dst for e in entries)
    chain = np.zeros((count, 5), np.uint32)
    chain[:, PORT] = ANY_PORT
    for row, sa in enumerate(entry.sa for entry in entries):
        chain[row, PROTO] = sa.proto
        if sa.mark is not NO_MARK and not any_mark:
            chain[row, MARK:PORT] = sa.mark.value, sa.mark.mask
        if port_key:
            chain[row, PORT] = NO_PORT if sa.encap is None else sa.encap.dport
    v4 = int(np.count_nonzero(family == 4))
    tables = triple_tables(v4, count - v4)
    found = [row for row, e in enumerate(entries) if daddr_key(e.sa.dst, e.af) == e.sa.dst]
    if triple_insert(np.array(found, np.int64), family, spi, daddr, *tables, chain) != len(found):
        raise RuntimeError("the lookup table is full")  # it was made large enough
    return *tables, chain


def _ports(sas: Iterable[SecurityAssociation]) -> U8:
    """A column by UDP port; not 0 for ports that carry ESP: 4500, and every port that an SA names."""
    ports = np.zeros(65536, np.uint8)
    ports[PORT_NAT_T] = 1
    for sa in sas:
        if sa.encap is not None:
            ports[[sa.encap.sport, sa.encap.dport]] = 1
    return ports
