"""The runtime half of the outbound SAs: one numpy column a fact, one row an SA, oldest first.

It is built from a `Sad` and written back into it when the run ends; in between only the reference path may change the
`Sad`. `entries[row]` is a row's state in the `Sad`. States that no outbound packet may choose have no row.

An SA belongs either to the kernels or to the reference path, never to both: its counter is in one place, and no IV
comes twice. The reference path has from the start SAs in mode BEET or IPTFS, and those with a number beyond 64 bits. It
takes over:

1. an SA with a lifetime, before a batch in which a limit could be reached (`begin`);
2. the SAs that could take its packets (`stand_ins`). It may leave the SAD in the middle of a batch, and its packets
   choose one of these then;
3. all SAs, before a batch with a packet that may not fit the MTU, where one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from espsim.aead.batch import BatchEngine, Sealer, SlotKeys
from espsim.batch.inbound.count import IN_RUN
from espsim.batch.lifetimes import Coming, Lifetimes, shared, take_first_use
from espsim.batch.outbound import facts as layout
from espsim.batch.outbound import policy as select
from espsim.core.arrays import I64, U8, U64
from espsim.core.numbers import ONE_BY_ONE, PROTO_ESP
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict
from espsim.jit.memory import zeros
from espsim.sad.association import ESPINUDP, Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.sad import Sad

DEFAULT_MTU = 1500
_LEAST6 = 1280
"""IPV6_MIN_MTU."""

_M64 = 0xFFFFFFFFFFFFFFFF
_LOW = 0xFFFFFFFF


@dataclass(slots=True)
class OutboundColumns:
    """What the stages read of SAs, and the column that they change, `counts`. Layouts: outbound/policy.py and facts.py.

    A benchmark may fill it with arrays of its own; `entries` is empty then, and nothing can be written back. `standing`
    (uint8): 0, or the verdict that every packet of the SA gets. `random_bytes` draws IVs; `ahead` is scratch.
    `longest`: the longest packet that surely fits the path's MTU; None: no MTU is kept. `rows`: row by sa_index.
    """

    standing: U8
    groups: U64
    table: U64
    facts: I64
    counts: U64
    sealer: Sealer
    random_bytes: Callable[[int], bytes]
    ahead: I64 = field(default_factory=lambda: np.zeros(select.AHEAD, np.int64))
    entries: list[SadEntry] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)
    lifetimes: Lifetimes | None = None
    longest: int | None = None

    @classmethod
    def of(
        cls,
        sad: Sad,
        engine: BatchEngine,
        random_bytes: Callable[[int], bytes],
        masks: dict[int, int] | None = None,
        *,
        mtu: int = DEFAULT_MTU,
        keeps_mtu: bool = False,
        rfc6040: bool = False,
        mark: int | None = 0,
    ) -> OutboundColumns:
        """The states of a `Sad` that an outbound packet may choose, and their keys set up in the engine.

        `masks`: masks of counter-mode IVs by sa_index. Masks that are missing are drawn and added. `mtu` bounds TFC
        padding. `keeps_mtu`: where a packet may not fit `mtu`, the reference path takes over all SAs, and refuses, cuts
        or fragments it. `mark`: the mark of the packets; None: marks are not compared.
        """
        entries = [e for e in sad if _outbound(e, mark)]
        standing = np.array(_standings(entries), np.uint8)
        ours = [e for e in entries if e.sa.mode in (Mode.BEET, Mode.IPTFS)]
        limited = stand_ins(entries, [e for e in ours if e.sa.limited])
        alone = [e in ours or ends for e, ends in zip(entries, limited, strict=True)] if ours else []
        standing[: len(alone)][alone] = ONE_BY_ONE
        masks = {} if masks is None else masks
        _draw(masks, (e for e, s in zip(entries, standing, strict=True) if not s and _counts_up(e.sa)), random_bytes)
        facts, counts = zeros((len(entries), 8), np.int64), zeros((len(entries), 8), np.uint64)
        for row, entry in enumerate(entries):
            if not standing[row]:
                facts[row] = _facts(entry.sa, masks.get(entry.sa_index, 0), mtu, rfc6040)
                counts[row] = _counts(entry)
        return cls(
            standing,
            *_tables(entries),
            facts,
            counts,
            engine.sealer([None if s else _slot(e.sa) for e, s in zip(entries, standing, strict=True)]),
            random_bytes,
            entries=entries,
            rows={e.sa_index: row for row, e in enumerate(entries)},
            longest=min((_surely_fits(e.sa, mtu) for e in entries), default=None) if keeps_mtu else None,
        )

    def begin(self, batch: OutboundBatch) -> None:
        """Before a batch: give the reference path the SAs that it must take over (1 to 3 above)."""
        if self.longest is None and not len(self._limited().rows):
            return
        due = self.due(Coming.of(batch.time, batch.length))
        if not len(due):
            return
        alone = np.flatnonzero(stand_ins(self.entries, [self.entries[row] for row in due.tolist()]))
        self._write_back(alone)
        self.standing[alone] = ONE_BY_ONE
        self._limited().without(alone)

    def due(self, coming: Coming) -> I64:
        """Rows of the kernels' SAs that could reach a limit with these packets; all where one may not fit the MTU."""
        if self.longest is not None and coming.longest > self.longest:
            return np.flatnonzero(self.standing != ONE_BY_ONE)
        limited = self._limited()
        if not len(limited.rows):
            return limited.rows
        counts = self.counts[limited.rows]
        since = np.where(counts[:, layout.USED] == IN_RUN, counts[:, layout.SINCE].view(np.float64), np.nan)
        counted = counts[:, layout.PACKETS : layout.BYTES + 1].astype(np.int64)
        due = limited.due(coming, counted, since)
        # With workers, another process may have given some to the reference path.
        ours: I64 = due[self.standing[due] != ONE_BY_ONE]
        return ours

    def _limited(self) -> Lifetimes:
        """The kernels' SAs that have limits, with what is left of them."""
        if self.lifetimes is None:
            self.lifetimes = Lifetimes(self.entries, self.standing != ONE_BY_ONE)
        return self.lifetimes

    def share(self, memory: Callable[..., Any]) -> None:
        """Move the columns that packets change into memory of `memory(shape, dtype)`, which forked processes share."""
        self.standing, self.counts = shared(self.standing, memory), shared(self.counts, memory)

    def write_back(self) -> None:
        """Write last numbers, statistics and first use into the `Sad`. Between batches, as often as needed."""
        self._write_back(np.arange(len(self.entries)))
        self.lifetimes = None

    def _write_back(self, rows: I64) -> None:
        for row in rows[self.counts[rows, layout.PACKETS] != 0].tolist():
            entry, counts = self.entries[row], self.counts[row]
            used = take_first_use(counts, layout.USED, layout.SINCE)
            entry.ran(int(counts[layout.PACKETS]), int(counts[layout.BYTES]), used, oseq=int(counts[layout.LAST]))
            counts[layout.PACKETS] = counts[layout.BYTES] = 0


# -- which SAs --------------------------------------------------------------------------------------------------------


def _outbound(entry: SadEntry, mark: int | None) -> bool:
    """Whether an outbound packet of this mark may choose this state."""
    sa = entry.sa
    valid = entry.state is State.VALID and sa.proto == PROTO_ESP
    return valid and sa.dir is not Direction.IN and sa.mark.matches(mark)


def _runs(entry: SadEntry) -> bool:
    """Whether packets can be sealed under it; if not, they get STATE_INVALID."""
    sa = entry.sa
    encapsulates = sa.encap is None or sa.encap.kind == ESPINUDP
    return sa.keys is not None and sa.mode is not Mode.ANY and encapsulates


def _standings(entries: list[SadEntry]) -> list[int]:
    """0, STATE_INVALID, or ONE_BY_ONE for a number that no kernel holds."""
    return [
        ONE_BY_ONE if not 0 <= e.oseq <= _M64 else 0 if _runs(e) else int(OutboundVerdict.STATE_INVALID)
        for e in entries
    ]  # fmt: skip


def stand_ins(entries: list[SadEntry], ending: list[SadEntry]) -> list[bool]:
    """Which entries could take a packet of an SA in `ending`, the SAs in `ending` included.

    A superset is returned; a superset is safe. Of transport SAs: those between the same two addresses. Of the others:
    those no more specific than the most specific SA in `ending`, and all of them if a transport SA is in `ending`.
    """
    limited = [e.sa for e in ending]
    pairs = {(sa.src, sa.dst) for sa in limited if sa.mode is Mode.TRANSPORT}
    least = max((rank_of(sa) for sa in limited), default=-1)  # a transport SA's is above all others
    return [
        (e.sa.src, e.sa.dst) in pairs if e.sa.mode is Mode.TRANSPORT else rank_of(e.sa) <= least for e in entries
    ]  # fmt: skip


def _counts_up(sa: SecurityAssociation) -> bool:
    """Whether its IVs are the sequence number XOR a mask."""
    return sa.keys is not None and sa.keys.suite.iv_length > 0 and sa.keys.suite.unique_iv


def _draw(masks: dict[int, int], entries: Iterable[SadEntry], random_bytes: Callable[[int], bytes]) -> None:
    """Draw a mask for every entry that has none."""
    new = [e.sa_index for e in entries if e.sa_index not in masks]
    drawn = random_bytes(8 * len(new)) if new else b""
    masks.update((index, int.from_bytes(drawn[8 * n : 8 * n + 8])) for n, index in enumerate(new))


# -- what kernels know of one -----------------------------------------------------------------------------------------


def _slot(sa: SecurityAssociation) -> SlotKeys | None:
    return SlotKeys(sa.keys, sa.esn) if sa.keys is not None else None


def _facts(sa: SecurityAssociation, mask: int, mtu: int, rfc6040: bool) -> list[int]:
    """A row of `facts`, its words in order, each as a signed one."""
    if sa.keys is None:
        return [0] * 8
    src, dst = int.from_bytes(sa.src), int.from_bytes(sa.dst)
    ports = (sa.encap.sport << 48 | sa.encap.dport << 32) if sa.encap is not None else 0
    least = max(min(sa.tfcpad, largest_inner(sa, mtu), 0xFFFFF), 0)  # longer packets are TOO_BIG in any case
    lengths = sa.keys.suite.iv_length << 16 | sa.keys.icv_length << 24 | sa.aligned << 32
    words = (src >> 64, src & _M64, dst >> 64, dst & _M64, sa.spi, ports | least, mask, _form(sa, rfc6040) | lengths)
    return [word - (word >> 63 << 64) for word in words]


def _form(sa: SecurityAssociation, rfc6040: bool) -> int:
    return (
        layout.TUNNEL * (sa.mode is Mode.TUNNEL)
        | layout.OUTER4 * (len(sa.dst) == 4)
        | layout.UDP * (sa.encap is not None)
        | layout.NO_ECN * ("noecn" in sa.flags)
        | layout.NO_DSCP * ("dont-encap-dscp" in sa.extra_flags)
        | layout.RFC_6040 * rfc6040
        | layout.NO_DF * ("nopmtudisc" in sa.flags)
        | layout.RANDOM_IV * (sa.keys is not None and sa.keys.suite.iv_length > 0 and not _counts_up(sa))
    )


def _counts(entry: SadEntry) -> list[int]:
    """A row of `counts` at the beginning. A suite with counter IVs never wraps, as in the reference path."""
    sa = entry.sa
    again = sa.keys is not None and not sa.keys.suite.unique_iv
    wraps = not sa.esn and again and "oseq-may-wrap" in sa.extra_flags
    return [entry.oseq, _M64 if sa.esn else _LOW, wraps, 0, 0, entry.used is not None, 0, 0]


def largest_inner(sa: SecurityAssociation, mtu: int) -> int:
    """__xfrm_state_mtu (net/xfrm/xfrm_state.c): the largest packet inside a tunnel that fits the path's MTU."""
    if sa.keys is None:
        return mtu
    outer = 20 if len(sa.dst) == 4 else 40
    header = 8 + sa.keys.suite.iv_length + (8 if sa.encap is not None else 0)
    return ((mtu - header - outer - sa.keys.icv_length) & ~(sa.aligned - 1)) - 2


def _surely_fits(sa: SecurityAssociation, mtu: int) -> int:
    """A length up to which every packet leaves in one piece (reference/fitting.py). It may be too small."""
    if sa.keys is None:
        return 0xFFFF
    mtu = mtu if len(sa.dst) == 4 else max(mtu, _LEAST6)
    if sa.mode is Mode.TUNNEL:
        return largest_inner(sa, mtu)
    header = 8 + sa.keys.suite.iv_length + (8 if sa.encap is not None else 0)
    return mtu - header - sa.keys.icv_length - sa.aligned - 1


# -- selectors --------------------------------------------------------------------------------------------------------


def rank_of(sa: SecurityAssociation) -> int:
    """How specific an SA's selector is. Transport SAs, whose packets have their own addresses, are above all others."""
    s = sa.selector
    rank = s.src_prefix + s.dst_prefix + 8 * bool(s.proto) + 16 * bool(s.sport_mask) + 16 * bool(s.dport_mask)
    return rank + 1000 * (sa.mode is Mode.TRANSPORT)


_Group = tuple[int, int, int, int, int]
"""(rank, family, bits of the source, of the destination, mask of protocol and ports)."""


def _tables(entries: list[SadEntry]) -> tuple[U64, U64]:
    """`groups` and `table` of batch/outbound/policy.py."""
    found: dict[_Group, list[tuple[int, tuple[int, ...]]]] = {}
    for row, entry in enumerate(entries):
        group = _group(entry.sa)
        if group is not None:
            found.setdefault(group, []).append((row, _key(entry.sa, group)))
    ordered = sorted(found, reverse=True)
    groups = np.zeros((len(ordered), 8), np.uint64)
    table = select.select_table(sum(len({key for _, key in found[group]}) for group in ordered))
    for number, group in enumerate(ordered):
        rank, family, src_bits, dst_bits, ports = group
        src, dst = _mask(family, src_bits), _mask(family, dst_bits)
        groups[number, :7] = src >> 64, src & _M64, dst >> 64, dst & _M64, ports, family, rank
        rows = np.array([row for row, _ in found[group]], np.int64)
        keys = np.array([(*key, number + 1) for _, key in found[group]], np.uint64)
        select.select_insert(keys, rows, table)
    return groups, table


def _group(sa: SecurityAssociation) -> _Group | None:
    """The group of an SA; None: it takes no packet."""
    s, transport = sa.selector, sa.mode is Mode.TRANSPORT
    sides = [(s.src, s.src_prefix, sa.src), (s.dst, s.dst_prefix, sa.dst)]
    families = {len(address) for address, bits, _ in sides if bits} | ({len(sa.dst)} if transport else set())
    if sa.mode is Mode.BEET:
        if sa.inner_ends is None:
            return None
        families.add(len(sa.inner_ends[0]))
    if len(families) > 1 or any(bits > 8 * len(address) for address, bits, _ in sides):
        return None
    length = families.pop() if families else 0
    if transport and any(_prefix(own, bits) != _prefix(address, bits) for address, bits, own in sides):
        return None
    whole = 8 * length if transport else None
    ports = 0xFF * bool(s.proto) << 32 | s.sport_mask << 16 | s.dport_mask
    family = {0: 0, 4: 4, 16: 6}[length]
    return (
        rank_of(sa),
        family,
        s.src_prefix if whole is None else whole,
        s.dst_prefix if whole is None else whole,
        ports,
    )


def _key(sa: SecurityAssociation, group: _Group) -> tuple[int, ...]:
    """Five words: addresses, protocol and ports under the group's masks."""
    s, (_rank, family, src_bits, dst_bits, masks) = sa.selector, group
    transport = sa.mode is Mode.TRANSPORT
    src = int.from_bytes(sa.src if transport else s.src) & _mask(family, src_bits)
    dst = int.from_bytes(sa.dst if transport else s.dst) & _mask(family, dst_bits)
    ports = (s.proto << 32 | s.sport << 16 | s.dport) & masks
    return src >> 64, src & _M64, dst >> 64, dst & _M64, ports


def _mask(family: int, bits: int) -> int:
    """A prefix of `bits` bits as a mask; IPv4's in the low 32 bits."""
    width = 32 if family == 4 else 128
    return (1 << width) - (1 << width - bits) if bits else 0


def _prefix(address: bytes, bits: int) -> int:
    """The first bits of an address."""
    return int.from_bytes(address) >> 8 * len(address) - bits if bits else 0
