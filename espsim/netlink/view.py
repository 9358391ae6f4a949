"""A state as a reply, a dump or an event shows it. It is a copy, so that a message does not change later."""

from __future__ import annotations

from dataclasses import dataclass

from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry, SaStats, State


@dataclass(frozen=True, slots=True)
class StateView:
    """A state as struct xfrm_usersa_info and its attributes show it. Times in seconds.

    `af`, `mode`: the numbers that the request gave. `seq`: km.seq. `window_bitmap`: bit i is window_top-i. `bmp_len`: 0
    in legacy mode (XFRMA_REPLAY_VAL), else the words of XFRMA_REPLAY_ESN_VAL. `hard_add`: hard_add_expires_seconds as
    shown; net.core.xfrm_acq_expires for a larval state. `selector_family`: the selector's family; 0: none.
    """

    sa_index: int
    sa: SecurityAssociation
    state: State
    af: int
    mode: int
    seq: int
    bytes: int
    packets: int
    added: float
    used: float | None
    stats: SaStats
    window_top: int
    window_bitmap: int
    window_size: int
    bmp_len: int
    oseq: int
    dying: bool
    hard_add: int
    selector_family: int = 0

    @property
    def dir(self) -> Direction | None:
        """XFRMA_SA_DIR."""
        return self.sa.dir


def view_of(entry: SadEntry) -> StateView:
    """A copy of an entry as it is now."""
    window = entry.window
    return StateView(
        entry.sa_index, entry.sa, entry.state, entry.af, entry.mode, entry.seq, entry.bytes, entry.packets,
        entry.added, entry.used, entry.stats,
        window.top, window.bitmap_from_top(), window.size, entry.bmp_len, entry.oseq, entry.dying, entry.hard_add,
        entry.selector_family,
    )  # fmt: skip
