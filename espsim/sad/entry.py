"""A row of the SAD: one SA, its state and its counters.

Methods alone change an entry; nothing outside `sad/` assigns to one. Inbound, a packet is `refused` or `accepted`;
outbound, it takes a `next_number` and is `sent`; `first_used` starts the clock of use. What many packets did
elsewhere is added in one step: `ran` from the batch path, `take` from another process.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from espsim.core.verdict import Verdict
from espsim.sad.association import MODE_NUMBERS, SecurityAssociation
from espsim.sad.window import Window


class State(Enum):
    """SA states; RFC 2367's LARVAL, MATURE, DYING and DEAD, Linux's ACQ, VALID, EXPIRED, DEAD (include/net/xfrm.h)."""

    LARVAL = "larval"
    VALID = "valid"
    EXPIRED = "expired"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class SaStats:
    """struct xfrm_stats: what the SA refused. `replay` counts duplicates, `replay_window` numbers that were too old.

    Frozen, because all SAs that refused nothing share one.
    """

    replay: int = 0
    replay_window: int = 0
    integrity_failed: int = 0

    def plus(self, more: SaStats) -> SaStats:
        """The sums."""
        return SaStats(
            self.replay + more.replay,
            self.replay_window + more.replay_window,
            self.integrity_failed + more.integrity_failed,
        )


NO_STATS = SaStats()
"""Nothing was refused."""
_COUNTED = {
    Verdict.INTEGRITY: SaStats(integrity_failed=1),
    Verdict.REPLAY_DUPLICATE: SaStats(replay=1),
    Verdict.REPLAY_TOO_OLD: SaStats(replay_window=1),
}
_M32, _M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True, eq=False)
class SadEntry:
    """One SA in the SAD. `oseq` is the last 64-bit sequence number sent; times are seconds of the run's own clock.

    `seq` is km.seq, which ties a larval state to an ACQUIRE; `af` the family that the request stated; `odd_mode` the
    number of a mode without a name, which a larval state may have (`sa.mode` is transport then); `bmp_len` the words of
    the replay bitmap, 0 in legacy mode; `dying`: a soft limit was met; `hard_add`: seconds that it may live; `renewed`:
    when UPDSA last gave it new limits; `selector_family` the family that its selector says, 0 where it says none (a
    larval state of ALLOCSPI, say); `mapped`: when a NAT last saw it send, which its keepalive counts from. `tunnel` is
    the state that IPComp in tunnel mode keeps beside itself, and `tunnel_users` counts who keep this one (0: it is no
    such state).
    """

    sa_index: int
    sa: SecurityAssociation
    state: State
    window: Window
    oseq: int = 0
    bytes: int = 0
    packets: int = 0
    added: float = 0.0
    used: float | None = None
    stats: SaStats = NO_STATS
    seq: int = 0
    af: int = 0
    odd_mode: int | None = None
    bmp_len: int = 0
    dying: bool = False
    hard_add: int = 0
    renewed: float = 0.0
    selector_family: int = 0
    mapped: float = 0.0
    tunnel: SadEntry | None = field(default=None, repr=False)
    tunnel_users: int = 0

    @property
    def mode(self) -> int:
        """The mode's number (XFRM_MODE_*), or whatever number the request for a larval state had; -1: it has none."""
        return MODE_NUMBERS.get(self.sa.mode, -1) if self.odd_mode is None else self.odd_mode

    # -- one packet ---------------------------------------------------------------------------------------------

    def first_used(self, now: float) -> None:
        """A packet came to this SA at `now`. The first one starts the clock of use, a forged one too."""
        if self.used is None:
            self.used = now

    def refused(self, verdict: Verdict) -> None:
        """An inbound packet had this verdict: count it where struct xfrm_stats does."""
        counted = _COUNTED.get(verdict)
        if counted is not None:
            self.stats = self.stats.plus(counted)

    def accepted(self, length: int, seq64: int | None) -> None:
        """An authentic packet with `length` bytes inside. Its number moves the window; None: the window stays."""
        if seq64 is not None:
            self.window.advance(seq64)
        self.packets += 1
        self.bytes += length

    def next_number(self) -> int | None:
        """Take the next sequence number to send with (xfrm_replay_overflow). None where it would repeat.

        Linux lets any suite wrap with the flag oseq-may-wrap. Here a suite whose IV would repeat does not.
        """
        sa = self.sa
        if self.oseq >= (_M64 if sa.esn else _M32):
            once = sa.keys is not None and sa.keys.suite.unique_iv
            if sa.esn or once or "oseq-may-wrap" not in sa.extra_flags:
                return None
            self.oseq = -1
        self.oseq += 1
        return self.oseq

    def sent(self, length: int, now: float) -> None:
        """A packet with `length` bytes inside is sent at `now`."""
        self.packets += 1
        self.bytes += length
        self.mapped = now
        if self.used is None:
            self.used = now

    def kept_alive(self, now: float) -> None:
        """A keepalive went out for it at `now`."""
        self.mapped = now

    # -- many packets -------------------------------------------------------------------------------------------

    def ran(
        self,
        packets: int,
        length: int,
        used: float | None = None,
        *,
        oseq: int | None = None,
        refused: SaStats = NO_STATS,
    ) -> None:
        """Count what the batch path did since the last call: packets, bytes inside, and what was refused.

        `used`: when the first of them came; `oseq`: the last number that was sent.
        """
        self.packets += packets
        self.bytes += length
        if refused is not NO_STATS:
            self.stats = self.stats.plus(refused)
        if used is not None:
            self.first_used(used)
        if oseq is not None:
            self.oseq = oseq

    def moved(self) -> tuple[Any, ...]:
        """Everything that packets move, to be `taken` by the same entry in another process."""
        return self.state, self.window, self.oseq, self.bytes, self.packets, self.used, self.stats, self.dying

    def take(self, moved: tuple[Any, ...]) -> None:
        """Take over what packets moved in another process's copy (`moved`)."""
        self.state, self.window, self.oseq, self.bytes, self.packets, self.used, self.stats, self.dying = moved

    def moved_to(self, index: int, sa: SecurityAssociation, af: int, selector_family: int, now: float) -> SadEntry:
        """A state with another configuration that goes on with this one's numbers (xfrm_state_clone_and_setup).

        Its statistics start at 0, and a soft limit may be reported again. `now`: when its timer starts.
        """
        return SadEntry(
            index, sa, State.VALID, copy.copy(self.window), self.oseq, self.bytes, self.packets, self.added, self.used,
            seq=self.seq, af=af, odd_mode=self.odd_mode, bmp_len=self.bmp_len, hard_add=self.hard_add, renewed=now,
            selector_family=selector_family, mapped=self.mapped,
        )  # fmt: skip

    # -- set by its owner ---------------------------------------------------------------------------------------

    def added_at(self, now: float) -> None:
        """Time limits count from `now`: the first frame of a capture, which is the only clock there is."""
        self.added = now

    def send_next(self, seq64: int) -> None:
        """The next packet has this sequence number."""
        self.oseq = seq64 - 1

    def set_replay(self, top: int, seen: int, oseq: int) -> None:
        """Put other replay state in its place (xfrm_replay_state of NEWAE): bit i of `seen` is top-i."""
        self.window.set_numbers(top, seen)
        self.oseq = oseq

    def keep_beside(self, tunnel: SadEntry) -> None:
        """IPComp in tunnel mode keeps this state beside itself (ipcomp.py)."""
        self.tunnel = tunnel

    def even_window(self) -> None:
        """A device keeps the window from now on, so it is not Linux's ring."""
        self.window = self.window.even()
