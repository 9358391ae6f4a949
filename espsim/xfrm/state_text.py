"""States as iproute2 prints them now: in replies, lists and monitor messages (ip/xfrm_state.c, ip/ipxfrm.c of 6.1)."""

from __future__ import annotations

from dataclasses import replace

from espsim.core.numbers import MODES
from espsim.netlink.view import StateView
from espsim.sad.association import Lifetime, ReplayState, SecurityAssociation
from espsim.text.names import swapped
from espsim.text.show import format_dump
from espsim.text.state_words import Filter


def format_view(view: StateView, *, stats: bool = False, nokeys: bool = False) -> str:
    """A state as `ip xfrm state` prints it; with `stats`, `ip -s`. Dates are `-`, because there is no clock here."""
    return format_dump(as_shown(view), stats=stats, nokeys=nokeys, refused=view.stats, mode=_mode(view))


def format_expired(view: StateView, hard: int, *, stats: bool = False) -> str:
    """An EXPIRE message of `ip xfrm monitor`. It has no algorithms and no contexts (build_expire)."""
    sa = replace(
        as_shown(view), algorithms=(), encap=None, coa=None, offload=None, output_mark=None, tfcpad=0, label="",
    )  # fmt: skip
    return (
        f"Expired {format_dump(sa, stats=stats, refused=view.stats, contexts=False, mode=_mode(view))}\thard {hard}\n"
    )


def as_shown(view: StateView) -> SecurityAssociation:
    """The SA with the state's present counters, window and times in the fields that `format_dump` prints."""
    replay = ReplayState(
        view.window_top & 0xFFFFFFFF, view.window_top >> 32, view.oseq & 0xFFFFFFFF, view.oseq >> 32,
        view.window_bitmap, stated=True,
    )  # fmt: skip
    return replace(
        view.sa, replay=replay, current=Lifetime(view.bytes, view.packets),
        seq=swapped(view.seq), limits=replace(view.sa.limits, hard_add=view.hard_add),
    )  # fmt: skip


def _mode(view: StateView) -> str:
    """strxf_mode(): the mode's name, or its number where it has none."""
    return MODES.get(view.mode, str(view.mode))


def oneline(text: str) -> str:
    r"""A message as `-o` prints it: `\` for its line feeds, and a line feed at its end."""
    return text.replace("\n", "\\") + "\n"


def passes(view: StateView, wanted: Filter) -> bool:
    """Whether `list` or `deleteall` takes a state."""
    sa = view.sa
    if wanted.family and wanted.family != view.af:
        return False
    if wanted.flags is not None and not wanted.flags & sa.flags:
        return False
    return wanted.takes(sa.src, sa.dst, proto=sa.proto, spi=sa.spi, mode=_mode(view), reqid=sa.reqid)
