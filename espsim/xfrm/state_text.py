"""States as iproute2 prints them now: in replies, lists and monitor messages (ip/xfrm_state.c, ip/ipxfrm.c of 6.1)."""

from __future__ import annotations

from dataclasses import replace

from espsim.netlink.view import StateView
from espsim.sad.association import Lifetime, ReplayState, SecurityAssociation
from espsim.text.id_words import MODE_WORDS
from espsim.text.show import format_dump
from espsim.text.state_words import Filter

_MODE_NAMES = {number: name for name, number in MODE_WORDS.items()}


def format_view(view: StateView, *, stats: bool = False, nokeys: bool = False) -> str:
    """A state as `ip xfrm state` prints it, `ip -s` with `stats`. Dates are `-`: nobody here has a clock."""
    return format_dump(as_shown(view), stats=stats, nokeys=nokeys, refused=view.stats, mode=_mode(view))


def format_expired(view: StateView, hard: int, *, stats: bool = False) -> str:
    """An EXPIRE message of `ip xfrm monitor`: it has neither algorithms nor contexts (build_expire)."""
    sa = replace(
        as_shown(view), algorithms=(), encap=None, coa=None, offload=None, output_mark=None, tfcpad=0, label="",
    )  # fmt: skip
    return (
        f"Expired {format_dump(sa, stats=stats, refused=view.stats, contexts=False, mode=_mode(view))}\thard {hard}\n"
    )


def as_shown(view: StateView) -> SecurityAssociation:
    """The configuration with the present counters, window and times in the places that `format_dump` prints."""
    replay = ReplayState(
        view.window_top & 0xFFFFFFFF, view.window_top >> 32, view.oseq & 0xFFFFFFFF, view.oseq >> 32,
        view.window_bitmap, stated=True,
    )  # fmt: skip
    return replace(
        view.sa, replay=replay, current=Lifetime(view.bytes, view.packets),
        seq=int.from_bytes(view.seq.to_bytes(4, "little")), limits=replace(view.sa.limits, hard_add=view.hard_add),
    )  # fmt: skip


def _mode(view: StateView) -> str:
    """strxf_mode(): the number of a mode that has no name."""
    return _MODE_NAMES.get(view.mode, str(view.mode))


def oneline(text: str) -> str:
    r"""What `-o` makes of one message: `\` for its line feeds, and one at its end."""
    return text.replace("\n", "\\") + "\n"


def passes(view: StateView, wanted: Filter) -> bool:
    """xfrm_state_filter_match(), with the kernel's own address filter, which asks the same."""
    sa, ident = view.sa, wanted.id
    if wanted.family and wanted.family != view.af:
        return False
    for address, known, plen in ((sa.src, ident.src, ident.src_prefix), (sa.dst, ident.dst, ident.dst_prefix)):
        if plen and not _within(address, known, plen):
            return False
    if ident.proto and ident.proto != sa.proto:
        return False
    if ident.spi is not None and ident.spi != sa.spi:
        return False
    if wanted.mode is not None and wanted.mode != view.mode:
        return False
    if wanted.reqid is not None and wanted.reqid != sa.reqid:
        return False
    return wanted.flags is None or bool(wanted.flags & sa.flags)


def _within(address: bytes, network: bytes, plen: int) -> bool:
    shift = 8 * len(network) - plen
    same = len(address) == len(network)
    return same and int.from_bytes(address) >> shift == int.from_bytes(network) >> shift
