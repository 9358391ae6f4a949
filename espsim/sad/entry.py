"""A row of the SAD: one SA, its state and its counters. Only `Sad` and the datapath below it write here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from espsim.aead.engine import Engine, Transform
from espsim.sad.association import MODE_NUMBERS, SecurityAssociation
from espsim.sad.window import Window


class State(Enum):
    """SA states; RFC 2367's LARVAL, MATURE, DYING and DEAD, Linux's ACQ, VALID, EXPIRED, DEAD (include/net/xfrm.h)."""

    LARVAL = "larval"
    VALID = "valid"
    EXPIRED = "expired"
    DEAD = "dead"


@dataclass(slots=True)
class SaStats:
    """struct xfrm_stats: what the SA refused. `replay` counts duplicates, `replay_window` numbers that were too old."""

    replay: int = 0
    replay_window: int = 0
    integrity_failed: int = 0


@dataclass(slots=True, eq=False)
class SadEntry:
    """One SA in the SAD. `oseq` is the last 64-bit sequence number sent; times are seconds of the run's own clock.

    `seq` is km.seq, which ties a larval state to an ACQUIRE; `af` the family that the request stated; `odd_mode` a mode
    without a name, which a larval state may have (`sa.mode` is transport then); `bmp_len` the words of the replay
    bitmap, 0 in legacy mode; `dying`: a soft limit was met; `hard_add`: seconds that it may live; `renewed`:
    when UPDSA last gave it new limits. `tunnel` is the state that IPComp in tunnel mode keeps beside itself, and
    `tunnel_users` counts who keep this one (0: it is no such state). `engine` sets up the keys, None: nobody does.
    """

    sa_index: int
    sa: SecurityAssociation
    state: State
    window: Window
    engine: Engine | None = field(repr=False)
    oseq: int = 0
    bytes: int = 0
    packets: int = 0
    added: float = 0.0
    used: float | None = None
    stats: SaStats = field(default_factory=SaStats)
    seq: int = 0
    af: int = 0
    odd_mode: int | None = None
    bmp_len: int = 0
    dying: bool = False
    hard_add: int = 0
    renewed: float = 0.0
    tunnel: SadEntry | None = field(default=None, repr=False)
    tunnel_users: int = 0
    _transform: Transform | None = field(default=None, init=False, repr=False)

    @property
    def keyed(self) -> bool:
        """Whether there is a transform: the SA has keys, and an engine for them."""
        return self.engine is not None and self.sa.keys is not None

    @property
    def transform(self) -> Transform | None:
        """The SA's keys, set up when they are first used: most SAs of a large SAD never see a packet here.

        None: the SA has no keys. They stay, because what an update changes of a state in place are not its keys.
        """
        if self._transform is None and self.engine is not None and self.sa.keys is not None:
            self._transform = self.engine.transform(self.sa.keys)
        return self._transform

    @property
    def mode(self) -> int:
        """The mode's number (XFRM_MODE_*), or whatever number the request for a larval state had; -1: it has none."""
        return MODE_NUMBERS.get(self.sa.mode, -1) if self.odd_mode is None else self.odd_mode

    @property
    def touched(self) -> bool:
        """Whether packets have changed anything since the entry was made or loaded."""
        return self.used is not None or self.state is State.EXPIRED or self.dying or self.stats != SaStats()

    def moved(self) -> tuple[Any, ...]:
        """Everything that packets move, to be `taken` by the same entry in another process."""
        return self.state, self.window, self.oseq, self.bytes, self.packets, self.used, self.stats, self.dying

    def take(self, moved: tuple[Any, ...]) -> None:
        """Stand where another process's copy stands (`moved`)."""
        self.state, self.window, self.oseq, self.bytes, self.packets, self.used, self.stats, self.dying = moved
