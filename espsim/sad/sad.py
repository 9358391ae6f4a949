"""The security association database: the only owner of SA state.

Rules that this file keeps (XFRM.md 1.1 to 1.4, 1.7; net/xfrm/xfrm_state.c):

1. Every state with an SPI is in `_by_triple` under (daddr, SPI, protocol), newest first; the first match of mark wins.
2. NEWSA refuses (EEXIST) a triple where an existing state's mark matches; ALLOCSPI refuses what the policy says.
3. A failed ALLOCSPI leaves its larval state behind, with SPI 0; a later one of the same tuple adopts it.
4. A hard limit makes a state expired, the packet that met it is dropped, and the state is gone for the next one.
5. SPI 0 is never found.

Larval expiry by time, ACQUIRE, events and XFRMA_SA_DIR's table are not here yet: see CHANGELOG, "not yet".
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from espsim.aead.engine import Engine
from espsim.core.address import Address
from espsim.core.errors import XfrmError
from espsim.sad.association import NO_MARK, PROTO_COMP, PROTO_NAMES, Direction, Mark, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.replay import Window
from espsim.sad.spi import DEFAULT_POLICY, POLICIES, SpiPolicy

_K = TypeVar("_K")
_NO_SPI = "No SPI available in the requested range"


class Sad:
    """SAs by what finds them. `engine` keys the transforms; `rng` draws SPIs; `policy` says which may repeat."""

    def __init__(self, engine: Engine, policy: SpiPolicy | None = None, rng: random.Random | None = None) -> None:
        self.engine = engine
        self.policy = policy or POLICIES[DEFAULT_POLICY]()
        self._rng = rng or random.Random(0)
        self._entries: dict[int, SadEntry] = {}
        self._by_triple: dict[tuple[Address, int, int], list[SadEntry]] = {}
        self._by_spi: dict[tuple[int, int], int] = {}
        self._acquires: dict[tuple[object, ...], list[SadEntry]] = {}
        self._next_index = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[SadEntry]:
        """Every entry, oldest first."""
        return iter(list(self._entries.values()))

    # -- what the datapath asks ---------------------------------------------------------------------------------

    def lookup(self, daddr: Address, spi: int, proto: int, mark: int = 0) -> SadEntry | None:
        """The SA of an inbound packet (__xfrm_state_lookup): newest first, first match wins. None: there is none."""
        for entry in self._by_triple.get((daddr, spi, proto), ()):
            sa_mark = entry.sa.mark
            if mark & sa_mark.mask == sa_mark.value:
                return entry
        return None

    def holds(self, spi: int, proto: int) -> bool:
        """Whether any state has this SPI and protocol (xfrm_state_lookup_spi_proto)."""
        return (spi, proto) in self._by_spi

    def expire(self, entry: SadEntry) -> None:
        """A hard limit was met: the state expires and leaves the SAD (xfrm_state_check_expire, __xfrm_state_delete)."""
        entry.state = State.EXPIRED
        self._remove(entry)

    # -- requests -----------------------------------------------------------------------------------------------

    def newsa(self, sa: SecurityAssociation, *, keep_window: bool = False, now: float = 0.0) -> SadEntry:
        """Install an SA (XFRM_MSG_NEWSA). EEXIST where the triple is there under a matching mark.

        The window starts empty; `keep_window` starts it, and the byte and packet counters, where the SA's text does.
        """
        self._verify(sa)
        if sa.spi and self.lookup(sa.dst, sa.spi, sa.proto, sa.mark.value & sa.mark.mask) is not None:
            raise XfrmError(errno.EEXIST)
        self._drop_acquire_of(sa)
        return self._insert(self._make(sa, keep_window, now))

    def updsa(self, sa: SecurityAssociation, *, now: float = 0.0) -> SadEntry:
        """XFRM_MSG_UPDSA: gives a larval state its keys, or a valid one new lifetimes. ESRCH: no such state."""
        self._verify(sa)
        found = self.lookup(sa.dst, sa.spi, sa.proto, sa.mark.value & sa.mark.mask) if sa.spi else None
        if found is None:
            raise XfrmError(errno.ESRCH)
        if found.state is State.LARVAL:
            if sa.dir is not None and sa.dir is not found.sa.dir:
                raise XfrmError(errno.ESRCH)
            self._remove(found)
            return self._insert(self._make(sa, False, now))
        if sa.dir is not found.sa.dir:
            raise XfrmError(errno.ESRCH)
        if found.state is not State.VALID or (sa.encap is None) is not (found.sa.encap is None):
            raise XfrmError(errno.EINVAL)
        # xfrm_state_update copies these and no others: keys, reqid and mode of a valid SA stay as they are.
        found.sa = replace(
            found.sa, encap=sa.encap, coa=sa.coa, limits=sa.limits, output_mark=sa.output_mark, if_id=sa.if_id
        )
        return found

    def delsa(self, daddr: Address, spi: int, proto: int, mark: Mark = NO_MARK) -> SadEntry:
        """XFRM_MSG_DELSA. ESRCH: no such state (SPI 0 never matches). Returns what was deleted."""
        entry = self.getsa(daddr, spi, proto, mark)
        entry.state = State.DEAD
        self._remove(entry)
        return entry

    def getsa(self, daddr: Address, spi: int, proto: int, mark: Mark = NO_MARK) -> SadEntry:
        """XFRM_MSG_GETSA. ESRCH: no such state."""
        entry = self.lookup(daddr, spi, proto, mark.value & mark.mask) if spi else None
        if entry is None:
            raise XfrmError(errno.ESRCH)
        return entry

    def flush(self, proto: int | None = None) -> int:
        """XFRM_MSG_FLUSHSA: remove every state, or those of one protocol. Returns how many went."""
        victims = [e for e in self if proto is None or e.sa.proto == proto]
        for entry in victims:
            entry.state = State.DEAD
            self._remove(entry)
        return len(victims)

    def allocspi(
        self,
        src: Address,
        dst: Address,
        proto: int,
        low: int,
        high: int,
        *,
        mode: Mode = Mode.TRANSPORT,
        reqid: int = 0,
        mark: Mark = NO_MARK,
        dir: Direction | None = None,  # noqa: A002 - the field's own word, as in `ip xfrm state ... dir`
        now: float = 0.0,
    ) -> SadEntry:
        """XFRM_MSG_ALLOCSPI: a larval state with an SPI of low..high that the policy does not forbid.

        Order of checks and errnos as XFRM.md 1.1: EINVAL for the protocol and the range, ENOENT where no draw is free.
        Draws are uniform and with replacement, high-low+1 of them, so ENOENT does not mean that none is free.
        """
        if proto not in PROTO_NAMES:
            raise XfrmError(errno.EINVAL, "Invalid protocol, must be one of AH, ESP, IPCOMP")
        if proto == PROTO_COMP and high >= 0x10000:
            raise XfrmError(errno.EINVAL, "IPCOMP SPI must be <= 65535")
        if low > high:
            raise XfrmError(errno.EINVAL, "Invalid SPI range: min > max")
        entry = self._larval(SecurityAssociation(src, dst, 0, proto, mode, reqid=reqid, mark=mark, dir=dir), now)
        spi = self._draw(low, high, proto, dst, mark.value & mark.mask)
        if spi is None:
            raise XfrmError(errno.ENOENT, _NO_SPI)
        self._remove(entry)
        entry.sa = replace(entry.sa, spi=spi, dir=dir or entry.sa.dir)
        return self._insert(entry)

    # -- inside -------------------------------------------------------------------------------------------------

    def _verify(self, sa: SecurityAssociation) -> None:
        if sa.proto not in PROTO_NAMES:
            raise XfrmError(errno.EINVAL, "Invalid protocol, must be one of AH, ESP, IPCOMP")
        if sa.proto == PROTO_COMP and sa.spi >= 0x10000:
            raise XfrmError(errno.EINVAL, "SPI is too large for COMP (must be < 0x10000)")

    def _make(self, sa: SecurityAssociation, keep_window: bool, now: float) -> SadEntry:
        transform = self.engine.transform(sa.keys) if sa.keys is not None else None
        replay = sa.replay
        top = replay.seq_hi << 32 | replay.seq if sa.esn else replay.seq
        oseq = replay.oseq_hi << 32 | replay.oseq if sa.esn else replay.oseq
        if keep_window:
            window = Window(sa.window, esn=sa.esn, top=top, bitmap=replay.bitmap)
        else:
            # An outbound SA's dump states oseq alone; its high half is the one that its packets carry.
            window = Window(sa.window, esn=sa.esn, resume=(top or oseq) or None)
        # An ESP state without algorithms is what a dump shows of a larval one.
        state = State.VALID if sa.algorithms else State.LARVAL
        entry = SadEntry(self._take_index(), sa, state, window, transform, oseq=oseq, added=now)
        if keep_window:
            entry.bytes, entry.packets = sa.current.bytes, sa.current.packets
        return entry

    def _larval(self, sa: SecurityAssociation, now: float) -> SadEntry:
        found = self._acquire_like(sa)
        if found is not None:
            return found
        entry = SadEntry(self._take_index(), sa, State.LARVAL, Window(0), None, added=now)
        return self._insert(entry)

    def _acquire_like(self, sa: SecurityAssociation) -> SadEntry | None:
        """The SPI-0 larval state of the same tuple (__find_acq_core): if_id is not compared, the mark is a wildcard."""
        mark = sa.mark.value & sa.mark.mask
        for entry in self._acquires.get(_tuple_of(sa), ()):
            if entry.sa.mark.matches(mark):
                return entry
        return None

    def _drop_acquire_of(self, sa: SecurityAssociation) -> None:
        acquire = self._acquire_like(sa)
        if acquire is not None:
            acquire.state = State.DEAD
            self._remove(acquire)

    def _draw(self, low: int, high: int, proto: int, daddr: Address, mark: int) -> int | None:
        if low == high:
            return low if low and not self.policy.taken(self, low, proto, daddr, mark) else None
        for _ in range((high - low + 1) & 0xFFFFFFFF):  # the kernel counts in 32 bits: 0..2^32-1 draws nothing
            spi = self._rng.randint(low, high)
            if spi and not self.policy.taken(self, spi, proto, daddr, mark):
                return spi
        return None

    def _take_index(self) -> int:
        self._next_index += 1
        return self._next_index - 1

    def _insert(self, entry: SadEntry) -> SadEntry:
        sa = entry.sa
        self._entries[entry.sa_index] = entry
        if sa.spi:
            self._by_triple.setdefault(sa.triple, []).insert(0, entry)
            self._by_spi[sa.spi, sa.proto] = self._by_spi.get((sa.spi, sa.proto), 0) + 1
        elif entry.state is State.LARVAL:
            self._acquires.setdefault(_tuple_of(sa), []).append(entry)
        return entry

    def _remove(self, entry: SadEntry) -> None:
        sa = entry.sa
        if self._entries.pop(entry.sa_index, None) is None:
            return
        if sa.spi:
            _take_out(self._by_triple, sa.triple, entry)
            left = self._by_spi[sa.spi, sa.proto] - 1
            if left:
                self._by_spi[sa.spi, sa.proto] = left
            else:
                del self._by_spi[sa.spi, sa.proto]
        elif entry in self._acquires.get(_tuple_of(sa), ()):
            _take_out(self._acquires, _tuple_of(sa), entry)


def _tuple_of(sa: SecurityAssociation) -> tuple[object, ...]:
    """What __find_acq_core compares, but for the mark; if_id is not among it."""
    return (sa.reqid, sa.mode, sa.proto, sa.dst, sa.src, sa.pcpu)


def _take_out(index: dict[_K, list[SadEntry]], key: _K, entry: SadEntry) -> None:
    bucket = index[key]
    bucket.remove(entry)
    if not bucket:
        del index[key]
