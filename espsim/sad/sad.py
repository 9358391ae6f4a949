"""The security association database: the only owner of SA state.

Rules that this file keeps (net/xfrm/xfrm_state.c):

1. NEWSA refuses (EEXIST) a triple where an existing state's mark matches; ALLOCSPI refuses what the SPI rule says.
2. A failed ALLOCSPI leaves its larval state there, with SPI 0; a later one of the same tuple adopts it, as it is.
3. UPDSA replaces a larval state and renews a valid one; it does not check whether the SPI is free.
4. A hard limit expires a state: the packet that met it is dropped, and the next packet finds no state.
5. Listeners hear every event, in order.

What this does not do: check a message's attributes (netlink/verify.py), or keep the clock, the counters and the
policies (netlink/netns.py).
"""

from __future__ import annotations

import copy
import errno
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from espsim.core.address import AF_INET, AF_INET6, Address, family, in_family
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_COMP
from espsim.sad.association import MOBILITY, NO_MARK, PROTO_NAMES, Direction, Mark, Mode, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry, State
from espsim.sad.index import StateIndex, daddr_key
from espsim.sad.ipcomp import join_tunnel
from espsim.sad.lifetime import hard_limit_reached, soft_limit_reached
from espsim.sad.linux import DEFAULT_KERNEL, KERNELS, Kernel, KernelHang
from espsim.sad.spi import DEFAULT_SPI_RULE, SPI_RULES, SpiRule
from espsim.sad.window import Window, make_window

NO_SPI = "No SPI available in the requested range"
SPI_IN_USE = "Requested SPI is already in use"
ACQ_EXPIRES = 30  # net.core.xfrm_acq_expires
IPSEC_PROTO_ANY = 255

Listener = Callable[[str, SadEntry, int], None]
"""Called with (event, state, hard); events are NEWSA, UPDSA, DELSA, EXPIRE."""


class Sad:
    """SAs and their states. `rng` draws SPIs; `policy` (an SPI rule) says which may repeat.

    `strict_windows`: no window is Linux's ring (window.RingWindow), so that every duplicate is refused.
    """

    def __init__(
        self,
        policy: SpiRule | None = None,
        rng: random.Random | None = None,
        *,
        kernel: Kernel = KERNELS[DEFAULT_KERNEL],
        port_key: bool = False,
        strict_windows: bool = False,
        hashed: bool = False,
    ) -> None:
        self.index = StateIndex(port_key=port_key, hashed=hashed)
        self.policy = policy or SPI_RULES[DEFAULT_SPI_RULE]()
        self.kernel = kernel
        self.strict_windows = strict_windows
        self.listener: Listener | None = None
        self.acq_expires = ACQ_EXPIRES
        self.tunnel_spi = 0  # the last SPI of an IPv6 tunnel beside IPComp
        self.rng = rng or random.Random(0)
        self.zeros_linked: set[int] = set()
        self.looped = False

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[SadEntry]:
        """Every entry, oldest first."""
        return iter(self.index)

    def __contains__(self, entry: object) -> bool:
        return entry in self.index

    def lookup(
        self, daddr: Address, spi: int, proto: int, mark: int | None = 0, port: int | None = None
    ) -> SadEntry | None:  # fmt: skip
        """The state of a triple under a mark (None: any): newest first, first match wins."""
        return self.index.lookup((daddr, spi, proto), mark, port)

    def with_spi(self, spi: int) -> Collection[SadEntry]:
        """Every state that has an SPI, oldest first, whatever its protocol."""
        return self.index.with_spi(spi)

    def newest(self) -> SadEntry | None:
        """The state that came last."""
        return self.index.newest()

    def copy_of(self, entries: Iterable[SadEntry]) -> Sad:
        """A SAD with copies of a few of its entries, each as it is now: what happens there changes nothing here."""
        copied = Sad(self.policy, kernel=self.kernel, port_key=self.index.port_key, strict_windows=self.strict_windows)
        for entry in entries:
            made = copy.copy(entry)
            made.window = copy.copy(entry.window)
            copied.index.insert(made)
        copied.index.next_index = self.index.next_index
        return copied

    # -- for the datapath ---------------------------------------------------------------------------------------

    def input(  # noqa: PLR0917 - a packet's facts in the order of a lookup
        self,
        daddr: Address,
        spi: int,
        proto: int,
        mark: int | None = 0,
        port: int | None = None,
        saddr: Address = b"",
    ) -> SadEntry | None:
        """The SA of an inbound packet, as the SPI rule finds it (xfrm_input_state_lookup)."""
        return self.policy.input(self.index, (daddr, spi, proto), mark, port, saddr)

    def check_expire(self, entry: SadEntry) -> bool:
        """xfrm_state_check_expire, before the current packet is counted: whether the hard limit is met.

        A soft limit is reported once. At the hard one the state expires and leaves the SAD.
        """
        limits = entry.sa.limits
        if hard_limit_reached(limits, entry.packets, entry.bytes):
            self.expire(entry)
            return True
        if not entry.dying and soft_limit_reached(limits, entry.packets, entry.bytes):
            entry.dying = True
            self._tell("EXPIRE", entry, 0)
        return False

    def expire(self, entry: SadEntry) -> None:
        """The state expires and leaves the SAD; the event is a hard EXPIRE."""
        entry.state = State.EXPIRED
        if self.remove(entry):
            self._tell("EXPIRE", entry, 1)

    def soft_expire(self, entry: SadEntry) -> None:
        """A soft limit by time was met: reported once."""
        entry.dying = True
        self._tell("EXPIRE", entry, 0)

    # -- requests -----------------------------------------------------------------------------------------------

    def newsa(
        self,
        sa: SecurityAssociation,
        *,
        keep_window: bool = False,
        now: float = 0.0,
        af: int | None = None,
        bmp_len: int = 0,
    ) -> SadEntry:
        """Install an SA (XFRM_MSG_NEWSA). EEXIST: the triple is there under a matching mark, or the SPI rule says so.

        The window starts empty; with `keep_window` it, and the byte and packet counters, start as the SA's text states.
        """
        self._verify(sa)
        if self.index.locate(sa, sa.spi, af) is not None or (sa.spi and self.policy.refuses(self.index, sa, None)):
            raise XfrmError(errno.EEXIST)
        entry = self._make(sa, keep_window, now, bmp_len, af)
        if sa.proto in PROTO_NAMES:
            self.drop_acquire_of(sa, entry.af)
        self._put(entry)
        self._tell("NEWSA", entry, 0)
        return entry

    def updsa(
        self,
        sa: SecurityAssociation,
        *,
        keep_window: bool = False,
        now: float = 0.0,
        af: int | None = None,
        bmp_len: int = 0,
    ) -> SadEntry:
        """XFRM_MSG_UPDSA: gives a larval state its keys, or a valid one new lifetimes. ESRCH: no such state."""
        self._verify(sa)
        found = self.index.locate(sa, sa.spi, af)
        if found is None:
            raise XfrmError(errno.ESRCH)
        if self.policy.refuses(self.index, sa, found):
            raise XfrmError(errno.EEXIST)
        if found.state is State.LARVAL:
            if sa.dir is not None and sa.dir is not found.sa.dir:
                raise XfrmError(errno.ESRCH)
            entry = self._make(sa, keep_window, now, bmp_len, af)
            self._put(entry)
            self.kill(found)
            self._tell("UPDSA", entry, 0)
            return entry
        self._renew(found, sa, now)
        self._tell("UPDSA", self._make(sa, True, now, bmp_len, af, index=found.sa_index), 0)
        return found

    def _renew(self, found: SadEntry, sa: SecurityAssociation, now: float) -> None:
        """xfrm_state_update of a valid state: keys, reqid and mode stay, and so does what is not stated.

        New limits are checked at once where the state has carried packets. The message shows what the request said.
        """
        old = found.sa
        if sa.dir is not old.dir:
            raise XfrmError(errno.ESRCH)
        if found.state is not State.VALID:
            raise XfrmError(errno.EINVAL)
        if (sa.encap and sa.encap.kind) != (old.encap and old.encap.kind):
            raise XfrmError(errno.EINVAL)  # encapsulation cannot be added or taken away
        found.sa = replace(
            old,
            encap=sa.encap,
            coa=sa.coa if sa.coa is not None and old.coa is not None else old.coa,
            selector=old.selector if sa.proto in PROTO_NAMES else sa.selector,
            limits=sa.limits,
            output_mark=sa.output_mark if sa.output_mark is not None else old.output_mark,
            if_id=sa.if_id or old.if_id,
        )
        found.dying = False
        found.hard_add = sa.limits.hard_add or 0
        found.renewed = now
        self.index.renewed(found)
        if found.used is not None:
            self.check_expire(found)

    def delsa(self, daddr: Address, spi: int, proto: int, mark: Mark = NO_MARK, af: int | None = None) -> SadEntry:
        """XFRM_MSG_DELSA. ESRCH: no such state (SPI 0 never matches). Returns what was deleted."""
        entry = self.getsa(daddr, spi, proto, mark, af)
        self.kill(entry)
        self._tell("DELSA", entry, 0)
        return entry

    def kill(self, entry: SadEntry) -> None:
        """Take a state out without an event (__xfrm_state_delete)."""
        entry.state = State.DEAD
        self.remove(entry)

    def getsa(  # noqa: PLR0917 - the fields of struct xfrm_usersa_id
        self, daddr: Address, spi: int, proto: int, mark: Mark = NO_MARK, af: int | None = None, why: str | None = None
    ) -> SadEntry:
        """XFRM_MSG_GETSA. ESRCH, with the text `why`: no such state. A port in the key is not compared: newest wins."""
        wanted = mark.value & mark.mask
        for entry in self.index.of_triple((daddr_key(daddr, af), spi, proto)) if spi else ():
            if entry.sa.mark.matches(wanted):
                return entry
        raise XfrmError(errno.ESRCH, why)

    def migrate(
        self, entry: SadEntry, sa: SecurityAssociation, *, af: int, selector_family: int, now: float
    ) -> SadEntry:
        """A state goes on as another one, which takes its keys, numbers, window and lifetimes. No event."""
        moved = entry.moved_to(self.index.take_index(), sa, af, selector_family, now)
        self.kill(entry)
        self._put(moved)
        return moved

    def flush(self, proto: int = 0) -> int:
        """XFRM_MSG_FLUSHSA: remove the states of a protocol (`of_protocol`). Returns how many went.

        A state that IPComp keeps beside its own goes with the last of these, and is not counted.
        """
        victims = [e for e in self if of_protocol(e.sa.proto, proto) and not e.tunnel_users]
        for entry in victims:
            self.kill(entry)
        return len(victims)

    def remove(self, entry: SadEntry) -> bool:
        """Take a state out. IPComp's state beside it goes with the last that uses it (ipcomp.py)."""
        removed = self.index.remove(entry)
        if removed:
            self.leave_tunnel(entry)
        return removed

    def leave_tunnel(self, entry: SadEntry) -> None:
        """xfrm_state_delete_tunnel()."""
        tunnel, entry.tunnel = entry.tunnel, None
        if tunnel is None:
            return
        tunnel.tunnel_users -= 1
        if tunnel.tunnel_users == 1:
            self.kill(tunnel)

    def allocspi(
        self,
        src: Address,
        dst: Address,
        proto: int,
        low: int,
        high: int,
        *,
        mode: Mode = Mode.TRANSPORT,
        odd_mode: int | None = None,
        reqid: int = 0,
        mark: Mark = NO_MARK,
        if_id: int = 0,
        pcpu: int | None = None,
        dir: Direction | None = None,  # noqa: A002 - the field's own word, as in `ip xfrm state ... dir`
        seq: int = 0,
        af: int | None = None,
        now: float = 0.0,
    ) -> SadEntry:
        """XFRM_MSG_ALLOCSPI: a larval state with an SPI of low..high that the SPI rule does not forbid.

        Order of checks and errnos as xfrm_alloc_userspi: EINVAL for the protocol and the range, ENOENT where no draw is
        free, which does not mean that no SPI is. A state that has its SPI already is the answer, whatever the range.
        """
        self.verify_range(proto, low, high)
        wanted = SecurityAssociation(src, dst, 0, proto, mode, reqid=reqid, mark=mark, if_id=if_id, pcpu=pcpu)
        entry = self._larval_for(wanted, seq, _family(wanted, af), odd_mode, now)
        if not entry.sa.spi:
            self._give(entry, self._draw(low, high, entry, dir), dir)
        elif dir is not None:
            entry.sa = replace(entry.sa, dir=dir)
        return entry

    def drop_acquire_of(self, sa: SecurityAssociation, af: int, seq: int = 0) -> None:
        """The larval state that a NEWSA answers goes (xfrm_state_add): by its sequence number, else by its tuple."""
        acquire = self.index.acquire_by_seq(seq or sa.seq, sa.mark.value & sa.mark.mask, sa.pcpu)
        if acquire is None or (acquire.sa.proto, acquire.sa.dst) != (sa.proto, sa.dst):
            acquire = self.index.acquire_like(sa, af)
        if acquire is not None:
            self.kill(acquire)

    def larval(
        self,
        sa: SecurityAssociation,
        *,
        now: float,
        seq: int = 0,
        af: int | None = None,
        odd_mode: int | None = None,
        selected: bool = False,
    ) -> SadEntry:
        """A new larval state; it lives for acq_expires seconds. `selected`: its selector states its family."""
        entry = SadEntry(self.index.take_index(), sa, State.LARVAL, Window(0), added=now, seq=seq, odd_mode=odd_mode)
        entry.af, entry.hard_add = _family(sa, af), self.acq_expires
        entry.selector_family = entry.af if selected else 0
        return self.index.insert(entry)

    # -- inside -------------------------------------------------------------------------------------------------

    def _verify(self, sa: SecurityAssociation) -> None:
        if sa.proto not in PROTO_NAMES and sa.proto not in MOBILITY:
            raise XfrmError(errno.EINVAL, "Unsupported protocol")
        if sa.proto == PROTO_COMP and sa.spi >= 0x10000:
            raise XfrmError(errno.EINVAL, "SPI is too large for COMP (must be < 0x10000)")

    def verify_range(self, proto: int, low: int, high: int) -> None:
        """verify_spi_info (net/xfrm/xfrm_user.c)."""
        if proto not in PROTO_NAMES:
            raise self.kernel.error(errno.EINVAL, "Invalid protocol, must be one of AH, ESP, IPCOMP")
        if proto == PROTO_COMP and high >= 0x10000:
            raise self.kernel.error(errno.EINVAL, "IPCOMP SPI must be <= 65535")
        if low > high:
            raise self.kernel.error(errno.EINVAL, "Invalid SPI range: min > max")

    def _put(self, entry: SadEntry) -> None:
        """__xfrm_state_insert(), which keeps of a mark what its mask covers; IPComp's own state comes first."""
        mark = entry.sa.mark
        if mark.value & ~mark.mask:
            entry.sa = replace(entry.sa, mark=Mark(mark.value & mark.mask, mark.mask))
        if entry.sa.proto == PROTO_COMP and entry.sa.mode is Mode.TUNNEL:
            join_tunnel(self, entry)
        self.index.insert(entry)

    def _make(
        self,
        sa: SecurityAssociation,
        keep_window: bool,
        now: float,
        bmp_len: int,
        af: int | None,
        *,
        index: int | None = None,
    ) -> SadEntry:
        replay = sa.replay
        top = replay.seq_hi << 32 | replay.seq if sa.esn else replay.seq
        oseq = replay.oseq_hi << 32 | replay.oseq if sa.esn else replay.oseq
        if keep_window:
            window = self.window_of(sa, bmp_len, top=top, bitmap=replay.bitmap)
        else:
            # An outbound SA's dump states oseq alone; its high half is the one that its packets carry.
            start = top or oseq
            window = self.window_of(sa, bmp_len, resume=start if start or not sa.window else None)
        # A state without algorithms is what a dump shows of a larval one.
        state = State.VALID if sa.algorithms or sa.proto in MOBILITY else State.LARVAL
        index = self.index.take_index() if index is None else index
        entry = SadEntry(index, sa, state, window, oseq=oseq, added=now, seq=sa.seq)
        entry.hard_add, entry.renewed, entry.mapped = sa.limits.hard_add or 0, now, now
        entry.af, entry.bmp_len = _family(sa, af), bmp_len
        entry.selector_family = selector_family(sa, entry.af)
        if keep_window:
            entry.bytes, entry.packets = sa.current.bytes, sa.current.packets
        return entry

    def window_of(
        self, sa: SecurityAssociation, bmp_len: int, *, top: int = 0, bitmap: int = 0, resume: int | None = None
    ) -> Window:
        """The window of a state of this SAD; the numbers as `Window` takes them.

        Linux keeps a ring where the request had XFRMA_REPLAY_ESN_VAL (`bmp_len` words), else the legacy bitmap of 32
        bits. iproute2 sends the attribute for ESN and for windows above 32.
        """
        attribute = bool(bmp_len) or sa.esn or sa.window > 32 or sa.replay.context
        ring = attribute and not self.strict_windows
        return make_window(sa.window, esn=sa.esn, ring=ring, top=top, bitmap=bitmap, resume=resume)

    def _larval_for(self, wanted: SecurityAssociation, seq: int, af: int, odd_mode: int | None, now: float) -> SadEntry:
        """Which state gets the SPI: the acquire of this seq and daddr, else one of this tuple, else a new one.

        A new one has addresses and a selector in the families that have addresses (__find_acq_core), zeros in others.
        """
        found = self.index.acquire_by_seq(seq, wanted.mark.value & wanted.mark.mask, wanted.pcpu)
        if found is not None and in_family(found.sa.dst, af) == in_family(wanted.dst, af):
            return found
        found = self.index.acquire_like(wanted, af, odd_mode)
        if found is not None:
            return found
        src, dst, selector = bytes(4), bytes(4), Selector()
        if af in (AF_INET, AF_INET6):
            src, dst = in_family(wanted.src, af), in_family(wanted.dst, af)
            selector = own_selector(src, dst)
        wanted = replace(wanted, src=src, dst=dst, selector=selector)
        return self.larval(wanted, now=now, af=af, odd_mode=odd_mode)

    def _draw(self, low: int, high: int, entry: SadEntry, direction: Direction | None) -> int:
        def free(spi: int) -> bool:
            if self.looped:
                raise KernelHang("this kernel hangs here: the hash chain of SPI 0 is a loop (CVE-2025-39965)")
            return not self.policy.taken(self.index, spi, entry, direction)

        spi = self.policy.draw(self.rng, low, high, free)
        if spi is None:
            in_use = low == high != 0 and self.policy.names_the_taken
            raise self.kernel.error(errno.ENOENT, SPI_IN_USE if in_use else NO_SPI)
        return spi

    def _give(self, entry: SadEntry, spi: int, direction: Direction | None) -> None:
        direction = direction or entry.sa.dir
        if (
            spi == 0
        ):  # only a policy that hands out SPI 0 comes here: each time links it once more, and the chain becomes a loop
            self.looped = entry.sa_index in self.zeros_linked
            self.zeros_linked.add(entry.sa_index)
            entry.sa = replace(entry.sa, dir=direction)
            return
        self.index.unlink_acquire(entry)
        entry.sa = replace(entry.sa, spi=spi, dir=direction)
        self.index.link_spi(entry)

    def _tell(self, event: str, entry: SadEntry, hard: int) -> None:
        if self.listener is not None:
            self.listener(event, entry, hard)


def _family(sa: SecurityAssociation, af: int | None) -> int:
    """The family that a request stated (ALLOCSPI takes any, AF_UNSPEC too), else its addresses'."""
    return family(sa.dst) if af is None else af


def selector_family(sa: SecurityAssociation, af: int) -> int:
    """The family that the selector of a NEWSA has: its addresses', else the state's; 0 under the flag af-unspec."""
    address = sa.selector.src or sa.selector.dst
    if address:
        return family(address)
    return 0 if "af-unspec" in sa.flags else af


def of_protocol(proto: int, wanted: int) -> bool:
    """xfrm_id_proto_match(): 0 is any protocol, 255 any that has an SPI."""
    return wanted in (0, proto) or (wanted == IPSEC_PROTO_ANY and proto in PROTO_NAMES)


def own_selector(src: Address, dst: Address) -> Selector:
    """A larval state's selector: its own two addresses, family 0."""
    bits = 8 * len(dst)
    return Selector(src, bits, dst, bits)
