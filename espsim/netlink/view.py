"""A state as a reply, a dump or an event shows it: a copy, so that it stays as it was when the message was made."""

from __future__ import annotations

from dataclasses import dataclass

from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry, SaStats, State


@dataclass(frozen=True, slots=True)
class StateView:
    """What struct xfrm_usersa_info and its attributes say of a state.

    `af` and `mode` are the family and the mode as numbers, as the request gave them; `seq` is km.seq; `window_bitmap`
    has bit i for window_top-i; `bmp_len` is 0 in legacy mode (XFRMA_REPLAY_VAL) and the length in words of
    XFRMA_REPLAY_ESN_VAL else; `hard_add` is the hard_add_expires_seconds that is shown: net.core.xfrm_acq_expires for a
    larval state; `selector_family` the family that its selector says, 0: none. Times in seconds.
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
    """A copy of what an entry is now."""
    window, stats = entry.window, entry.stats
    return StateView(
        entry.sa_index, entry.sa, entry.state, entry.af, entry.mode, entry.seq, entry.bytes, entry.packets,
        entry.added, entry.used,
        SaStats(stats.replay, stats.replay_window, stats.integrity_failed),
        window.top, window.bitmap_from_top(), window.size, entry.bmp_len, entry.oseq, entry.dying, entry.hard_add,
        entry.selector_family,
    )  # fmt: skip
