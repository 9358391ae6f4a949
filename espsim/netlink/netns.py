"""The xfrm of one network namespace: SAD and SPD, netlink's requests, and a model clock.

1. A key manager sends a request (request.py).
2. verify.py and construct.py check it as the kernel does.
3. The SAD carries it out (sad/sad.py).
4. Events report it to the key managers.

`advance` moves the clock, and the timers fire in their order.

What this does not do: it reads no real clock, and runs no packets (reference/host.py does).
"""

from __future__ import annotations

import errno
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from espsim.core.address import in_family
from espsim.core.errors import InputError, XfrmError
from espsim.core.numbers import DIR_IN, DIR_OUT
from espsim.netlink.clock import END_OF_TIME, Timers
from espsim.netlink.construct import POSSIBLE_CPUS, accept
from espsim.netlink.request import EsnState, ReplayVal, SaRequest, SpiRequest, StateKey
from espsim.netlink.spd import Spd
from espsim.netlink.verify import direction_of
from espsim.netlink.view import StateView, view_of
from espsim.sad.association import MODE_BY_NUMBER, Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.linux import DEFAULT_KERNEL, KernelHang, choose
from espsim.sad.sad import IPSEC_PROTO_ANY, Sad, of_protocol, own_selector
from espsim.sad.spi import SpiRule

_DIRECTIONS = {DIR_IN: Direction.IN, DIR_OUT: Direction.OUT}

MOST_KEEPALIVES = 10_000
"""The most NAT keepalives that one `advance` may send."""

OffloadHook = Callable[[SecurityAssociation], str | None]
"""A driver: the name of the errno with which it refuses an SA; None: it takes the SA."""


@dataclass(frozen=True, slots=True)
class Event:
    """A message to the key managers. `hard`: of an EXPIRE. `extra`: other fields, of ACQUIRE and of policies."""

    kind: str
    time: float
    view: StateView | None = None
    hard: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class Netns:
    """One namespace with the habits of a kernel, or of an SPI rule. `seed` decides every random choice.

    `ivs` draws the IVs of packets that leave; `masks`: masks of counter-mode IVs by sa_index. Both belong to the
    namespace, because no IV may come twice under one key. `android_resources`: how many resources IpSecService made.

    `options`: names of linux.OPTIONS. `counters`: the counters of /proc/net/xfrm_stat that moved. `listening`: a key
    manager listens for ACQUIRE. `keepalive` sends a NAT keepalive of an SA; None: none is sent. After a KernelHang
    every request raises it again.
    """

    def __init__(
        self,
        kernel: str = DEFAULT_KERNEL,
        *,
        options: Collection[str] = (),
        seed: int = 0,
        policy: SpiRule | None = None,
    ) -> None:
        self.kernel, named = choose(kernel, options)
        self.options = frozenset(options)
        self.sad = Sad(
            policy or named,
            random.Random(seed),
            kernel=self.kernel,
            port_key="encap-port-key" in self.options,
            strict_windows="strict-windows" in self.options,
            hashed=True,
        )
        self.sad.listener = self._heard
        self.spd = Spd()
        self.now = 0.0
        self.counters: Counter[str] = Counter()
        self.listening = False
        self.offload: OffloadHook | None = None
        self.keepalive: Callable[[SadEntry], None] | None = None
        self.sysctl: dict[str, int] = {
            "net.core.xfrm_acq_expires": 30, "net.core.xfrm_larval_drop": 1,
            "net.ipv4.ipfrag_time": 30, "net.ipv6.ip6frag_time": 60,
        }  # fmt: skip

        self._events: list[Event] = []
        self.timers = Timers(lambda entry: entry in self.sad)
        self.acquire_seq = 0
        self.hung: KernelHang | None = None
        self.ivs = random.Random(0)
        self.masks: dict[int, int] = {}
        self.android_resources = 0

    # -- SAs ----------------------------------------------------------------------------------------------------

    def allocspi(self, request: SpiRequest) -> StateView:
        """XFRM_MSG_ALLOCSPI (xfrm_alloc_userspi). XfrmError: it is refused. KernelHang: this kernel would hang."""
        self.check_alive()
        direction = direction_of(self.kernel, request.dir)
        self.sad.verify_range(request.proto, request.low, request.high)
        if self.kernel.sa_dir and request.pcpu is not None and request.pcpu >= POSSIBLE_CPUS:
            raise XfrmError(errno.EINVAL, "pCPU number too big")
        try:
            entry = self.sad.allocspi(
                request.src, request.dst, request.proto, request.low, request.high,
                mode=MODE_BY_NUMBER.get(request.mode, Mode.TRANSPORT), odd_mode=_odd(request.mode), reqid=request.reqid,
                mark=request.mark, if_id=request.if_id, pcpu=request.pcpu if self.kernel.sa_dir else None,
                dir=_DIRECTIONS.get(direction), seq=request.seq, af=request.af, now=self.now,
            )  # fmt: skip
        except KernelHang as hang:
            self.hung = hang
            raise
        finally:
            self._watch_new()
        return view_of(entry)

    def newsa(self, request: SaRequest) -> StateView:
        """XFRM_MSG_NEWSA. XfrmError: it is refused, with the kernel's errno and text."""
        return self._install(request, self.sad.newsa)

    def updsa(self, request: SaRequest) -> StateView:
        """XFRM_MSG_UPDSA. XfrmError: it is refused, with the kernel's errno and text."""
        return self._install(request, self.sad.updsa)

    def getsa(self, key: StateKey) -> StateView:
        """XFRM_MSG_GETSA."""
        return view_of(self._find(key))

    def delsa(self, key: StateKey) -> StateView:
        """XFRM_MSG_DELSA. Returns the state as it was."""
        entry = self._find(key)
        if entry.tunnel_users:
            raise self.kernel.error(errno.EPERM, "SA is in use by tunnels")
        view = view_of(entry)
        self.sad.kill(entry)
        self._note("DELSA", view)
        return view

    def flushsa(self, proto: int = IPSEC_PROTO_ANY) -> int:
        """XFRM_MSG_FLUSHSA. Returns how many states were removed; none is success without an event."""
        self.check_alive()
        count = self.sad.flush(proto)
        if count:
            self._note("FLUSHSA", None, extra={"proto": proto})
        return count

    def dump(self, proto: int = 0) -> list[StateView]:
        """All states, or those of one protocol, newest first."""
        self.check_alive()
        return [view_of(e) for e in reversed(list(self.sad)) if of_protocol(e.sa.proto, proto)]

    def count(self) -> int:
        """XFRM_MSG_GETSADINFO: how many states there are."""
        self.check_alive()
        return len(self.sad)

    def buckets(self) -> int:
        """XFRM_MSG_GETSADINFO: how many buckets the tables of states have."""
        assert self.sad.index.buckets is not None  # noqa: S101 - a namespace keeps them
        return self.sad.index.buckets.size

    def getae(self, key: StateKey) -> StateView:
        """XFRM_MSG_GETAE: the replay and lifetime state."""
        self._no_direction(key)
        return view_of(self._with_spi(key))

    def newae(self, key: StateKey, value: ReplayVal | EsnState | None, *, replace_flag: bool) -> StateView:
        """XFRM_MSG_NEWAE: put replay state into a valid SA (xfrm_new_ae)."""
        self._no_direction(key)
        if value is None:
            raise self.kernel.error(errno.EINVAL, "Missing required attribute for AE")
        if not replace_flag:
            raise self.kernel.error(errno.EINVAL, "NLM_F_REPLACE flag is required")
        entry = self._with_spi(key)
        if entry.state is not State.VALID:
            raise self.kernel.error(errno.EINVAL, "SA must be in VALID state")
        esn = isinstance(value, EsnState)
        top = (value.seq_hi << 32 if isinstance(value, EsnState) and entry.sa.esn else 0) | value.seq
        high = value.oseq_hi << 32 if isinstance(value, EsnState) and entry.sa.esn else 0
        if esn is bool(entry.bmp_len):
            entry.set_replay(top, value.bitmap, high | value.oseq)
        return view_of(entry)

    def expire(self, key: StateKey, *, hard: bool) -> None:
        """XFRM_MSG_EXPIRE from a user: a soft one sends an event, a hard one ends the state. ENOENT: no such state."""
        self._no_direction(key)
        try:
            entry = self._with_spi(key)
        except XfrmError:
            raise XfrmError(errno.ENOENT) from None
        if entry.state is not State.VALID:
            raise self.kernel.error(errno.EINVAL, "SA must be in VALID state")
        if hard:
            self.sad.expire(entry)
        else:
            self._note("EXPIRE", view_of(entry), hard=0)

    # -- the option acquire-uapi --------------------------------------------------------------------------------

    def get_acquire(self, request: SpiRequest) -> StateView:
        """A larval state with SPI 0, by sequence number or by tuple (Antony Antony's proposal). ESRCH: none."""
        return view_of(self._acquire(request))

    def delete_acquire(self, request: SpiRequest) -> StateView:
        """Delete such a state. Returns it as it was."""
        entry = self._acquire(request)
        view = view_of(entry)
        self.sad.kill(entry)
        self._note("DELSA", view)
        return view

    # -- ACQUIRE ------------------------------------------------------------------------------------------------

    def start_acquire(self, wanted: SecurityAssociation) -> SadEntry:
        """Make a larval state for an output template, and send the ACQUIRE message (xfrm_state_find, km_query).

        It gets the template's SPI, past the SPI rule. `dir` is out, if the kernel knows directions.
        """
        self.acquire_seq += 1
        direction = Direction.OUT if self.kernel.sa_dir else None
        wanted = replace(wanted, dir=direction, selector=own_selector(wanted.src, wanted.dst))
        entry = self.sad.larval(wanted, now=self.now, seq=self.acquire_seq, selected=True)
        self.timers.watch(entry)
        self._note("ACQUIRE", view_of(entry))
        return entry

    # -- time and messages --------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fire in order, each at its own time.

        InputError: the clock would pass END_OF_TIME, or more than MOST_KEEPALIVES keepalives would leave.
        """
        self.check_alive()
        end = self.now + seconds
        if not end < END_OF_TIME:
            raise InputError(f"seconds: the namespace's clock ends before {END_OF_TIME}")
        self._start_timers()
        mapped = list(self.sad.index.mapped.values())
        if self.keepalive is not None and sum(seconds / e.sa.nat_keepalive for e in mapped) > MOST_KEEPALIVES:
            raise InputError(f"seconds: more than {MOST_KEEPALIVES} keepalives would leave; advance in smaller steps")
        while (due := min(self.spd.next_timer(), self._next_keepalive(mapped))) <= end:
            self.timers.run(due, self._fire)
            self.now = due
            for policy, hard in self.spd.look(due):
                self._note("POLEXPIRE", None, hard=hard, extra={"policy": policy})
            for entry in mapped:
                self._keep_alive(entry, due)
        self.timers.run(end, self._fire)
        for entry in mapped:  # without `keepalive` they are not sent one by one
            self._keep_alive(entry, end - (end - entry.mapped) % entry.sa.nat_keepalive)
        self.now = end

    def events(self) -> list[Event]:
        """The messages since the last call."""
        events, self._events = self._events, []
        return events

    def set_sysctl(self, name: str, value: int) -> None:
        """Set net.core.xfrm_*, or how long fragments wait. ENOENT: there is no such sysctl."""
        if name not in self.sysctl:
            raise XfrmError(errno.ENOENT)
        self.sysctl[name] = value
        self.sad.acq_expires = self.sysctl["net.core.xfrm_acq_expires"]

    def note_policy(self, kind: str, **extra: Any) -> None:
        """Send an event about the SPD."""
        self._note(kind, None, extra=extra)

    def set_default(self, said: Mapping[str, str]) -> None:
        """XFRM_MSG_SETDEFAULT: accept or block, by direction (in, fwd, out), where no policy matches.

        It sends an event even if nothing changes.
        """
        self.check_alive()
        self.spd.defaults.update(said)
        self._note("GETDEFAULT", None, extra=dict(self.spd.defaults))

    def move(self, entry: SadEntry, sa: SecurityAssociation, *, af: int, selector_family: int) -> SadEntry:
        """Replace a state by another one with the same key, which keeps the mask of its IVs.

        At a new address it answers an ACQUIRE, as any new state does (xfrm_state_add).
        """
        if (sa.dst, af) != (entry.sa.dst, entry.af):
            self.sad.drop_acquire_of(sa, af, entry.seq)
        moved = self.sad.migrate(entry, sa, af=af, selector_family=selector_family, now=self.now)
        if entry.sa_index in self.masks:
            self.masks[moved.sa_index] = self.masks.pop(entry.sa_index)
        self.timers.watch(moved)
        return moved

    def note_migration(self, kind: str, **extra: Any) -> None:
        """Send an event to the group MIGRATE, and to no other."""
        self._note(kind, None, extra=extra)

    # -- inside -------------------------------------------------------------------------------------------------

    def _install(self, request: SaRequest, put: Callable[..., SadEntry]) -> StateView:
        self.check_alive()
        sa = accept(self.kernel, request)
        if sa.offload is not None:
            # The SPI rule is checked before the driver is asked; the triple itself after it (xfrm_state_add).
            if sa.spi and self.sad.policy.refuses(self.sad.index, sa, self.sad.index.locate(sa, sa.spi, request.af)):
                raise XfrmError(errno.EEXIST)
            self.offer(sa)
        bmp_len = request.esn.bmp_len if request.esn is not None else 0
        entry = put(sa, keep_window=True, now=self.now, af=request.af, bmp_len=bmp_len)
        self.timers.watch(entry)
        return view_of(entry)

    def offer(self, sa: SecurityAssociation) -> None:
        """xfrm_dev_state_add: EOPNOTSUPP leaves a crypto-offloaded SA in software; any other errno refuses it."""
        if sa.offload is None:
            return
        packet = sa.offload.packet
        if self.offload is None:
            if packet:
                raise XfrmError(errno.EINVAL)
            return
        answer = self.offload(sa)
        if answer is None or (answer == "EOPNOTSUPP" and not packet):
            return
        number = getattr(errno, answer, errno.EINVAL)
        raise XfrmError(number, "Device failed to offload this state")

    def _find(self, key: StateKey) -> SadEntry:
        """xfrm_user_state_lookup."""
        self._no_direction(key)
        if of_protocol(key.proto, IPSEC_PROTO_ANY):
            return self._with_spi(key)
        if key.srcaddr is None:
            raise XfrmError(errno.EINVAL)
        src, mark = in_family(key.srcaddr, key.af), key.mark.value & key.mark.mask
        found = self.sad.index.by_addresses(src, key.dst, key.proto, mark, key.af)
        if found is None:
            raise XfrmError(errno.ESRCH)
        return found

    def _with_spi(self, key: StateKey) -> SadEntry:
        """xfrm_state_lookup, for any protocol."""
        return self.sad.getsa(key.dst, key.spi, key.proto, key.mark, key.af)

    def _no_direction(self, key: StateKey) -> None:
        """xfrm_reject_unused_attr, the first check: only NEWSA, UPDSA and ALLOCSPI may have XFRMA_SA_DIR."""
        self.check_alive()
        if direction_of(self.kernel, key.dir):
            raise XfrmError(errno.EINVAL, "Invalid attribute SA_DIR")

    def _acquire(self, request: SpiRequest) -> SadEntry:
        self.check_alive()
        if "acquire-uapi" not in self.options:
            raise XfrmError(errno.EINVAL)
        mark = request.mark.value & request.mark.mask
        entry = self.sad.index.acquire_by_seq(request.seq, mark, request.pcpu)
        if entry is None:
            mode = MODE_BY_NUMBER.get(request.mode, Mode.TRANSPORT)
            wanted = SecurityAssociation(
                request.src, request.dst, 0, request.proto, mode, reqid=request.reqid, mark=request.mark,
                pcpu=request.pcpu,
            )  # fmt: skip
            entry = self.sad.index.acquire_like(wanted, request.af, request.mode)
        if entry is None or entry.sa.spi:
            raise XfrmError(errno.ESRCH)
        return entry

    def _start_timers(self) -> None:
        """Start the timers of states that are new, were renewed, or have been used for the first time since."""
        timed = self.sad.index.timed
        for entry in list(timed.values()):
            self.timers.watch(entry)
            if entry.used is not None or not entry.sa.limits.from_use:
                del timed[entry.sa_index]

    def _next_keepalive(self, mapped: list[SadEntry]) -> float:
        """When the next keepalive is due: an SA has sent nothing for its interval (net/xfrm/xfrm_nat_keepalive.c)."""
        heard = mapped if self.keepalive is not None else []
        return min((e.mapped + e.sa.nat_keepalive for e in heard if e.state is State.VALID), default=math.inf)

    def _keep_alive(self, entry: SadEntry, now: float) -> None:
        if now < entry.mapped + entry.sa.nat_keepalive or entry.state is not State.VALID:
            return
        entry.kept_alive(now)
        if self.keepalive is not None:
            self.keepalive(entry)

    def _fire(self, entry: SadEntry, when: float, hard: int) -> None:
        self.now = max(self.now, when)  # a renewed state's limit may lie in the past
        if hard:
            self.sad.expire(entry)
        else:
            self.sad.soft_expire(entry)

    def _watch_new(self) -> None:
        newest = self.sad.newest()
        if newest is not None and newest.state is State.LARVAL:
            self.timers.watch(newest)

    def _heard(self, kind: str, entry: SadEntry, hard: int) -> None:
        self._note(kind, view_of(entry), hard=hard)

    def _note(self, kind: str, view: StateView | None, *, hard: int = 0, extra: dict[str, Any] | None = None) -> None:
        self._events.append(Event(kind, self.now, view, hard, extra or {}))

    def check_alive(self) -> None:
        """KernelHang: this kernel hangs, and answers nothing more."""
        if self.hung is not None:
            raise self.hung


def _odd(mode: int) -> int | None:
    """The number of a mode that does not exist; None: it exists."""
    return None if mode in MODE_BY_NUMBER else mode
