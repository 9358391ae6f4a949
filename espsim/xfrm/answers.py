"""Answers as JSON objects: the answer to a request, a state, a multicast message.

An answer has `errno` (0 or netlink's errno), `result` and `extack` (text or null). `result` is "OK" or the errno's
name; for RX it is delivered or dropped, for TX sent or the errno's name (`errno` stays 0), for EVENTS "N events".
Some answers have more:

    reply       ALLOCSPI and GETSA, on success: the state
    states      DUMP: the states, newest first, with their `count`
    events      EVENTS
    nonzero     STAT: every counter of /proc/net/xfrm_stat that is not 0
    counters    RX, TX: the counters that moved, and by how much
    packet      TX: what left, in hex; `out` names it: "10.7.1.1>10.7.0.1 ESP spi 0x1000 seq 0x1"
    out         ADVANCE: the NAT keepalives and packets of IP-TFS that left in that time, if any
    late        ADVANCE, RX with `wait`: inner packets of IP-TFS delivered in that time; ADVANCE then has `counters` too
    reasm       RX: what moved in /proc/net/snmp, where there were fragments (request_fragments.py)
    delivered   RX: how many packets were delivered, if more than one
    skb_mark    RX, TX: a list of the marks of what a socket got, or of what left

A state always has src, dst, proto (number), spi (0x and 8 digits), family, mode (number), reqid, seq, hard_add_expires.
As with `ip -s`, the rest is there only under its condition:

    bytes, packets                                             once it has carried a packet
    stat_replay_window, stat_replay, stat_integrity_failed     once it has refused one
    mark "0x5/0xff", if_id, pcpu, dir "in"|"out"               where it has one
    sel "10.0.0.1/32 0.0.0.0/0"                                where the selector states its family
    replay_window                                              where the legacy window is not 0
    encap "2,4500,4500", set_mark "0x33/0xff", mtimer, nat_keepalive, iptfs {drop_time, ...}      where it has one
    replay {oseq, seq, bitmap}                                 once the legacy context has moved (XFRMA_REPLAY_VAL)
    replay_esn {bmp_len, replay_window, seq, seq_hi, oseq, oseq_hi, bitmap, window, bmp}     where it has that context

Bitmaps are 0x and 8 digits a word. In that of `replay`, bit 0 is `seq`. That of `replay_esn` is the kernel's circular
one, highest word first, as iproute2 prints it; `bmp` has word 0 first, as struct xfrm_replay_state_esn. `window` is
replay_window again.
"""

from __future__ import annotations

from collections.abc import Iterable

from espsim.core.address import AF_INET6, format_address
from espsim.core.errors import XfrmError
from espsim.netlink.netns import Event
from espsim.netlink.view import StateView
from espsim.sad.association import NO_MARK, Direction, Encap, IptfsOptions, Selector
from espsim.text.bitmap import to_circular
from espsim.text.names import ENCAP_TYPES
from espsim.xfrm.request_migrate import migration

Answer = dict[str, object]

_LOW = 0xFFFFFFFF


def ok(**more: object) -> Answer:
    """A request that succeeded."""
    return {"errno": 0, "result": "OK", "extack": None, **more}


def refused(error: XfrmError) -> Answer:
    """A request that the kernel refuses: it has an errno, and an extack where the kernel gives one."""
    return {"errno": error.errno, "result": error.name, "extack": error.extack}


def hang(note: str) -> Answer:
    """A request that the kernel never answers. Every later request gets the same. `note` says what happens instead."""
    return {"errno": 0, "result": "HANG", "extack": None, "note": note}


def state(view: StateView) -> Answer:
    """A state, with the fields that the module's docstring lists."""
    sa, stats = view.sa, view.stats
    answer: Answer = {
        "src": format_address(sa.src), "dst": format_address(sa.dst), "proto": sa.proto, "spi": f"0x{sa.spi:08x}",
        "family": view.af, "mode": view.mode, "reqid": sa.reqid, "seq": view.seq,
        "hard_add_expires": view.hard_add,
    }  # fmt: skip
    if view.bytes or view.packets:
        answer |= {"bytes": view.bytes, "packets": view.packets}
    if stats.replay_window or stats.replay or stats.integrity_failed:
        answer |= {
            "stat_replay_window": stats.replay_window, "stat_replay": stats.replay,
            "stat_integrity_failed": stats.integrity_failed,
        }  # fmt: skip
    if sa.mark != NO_MARK:
        answer["mark"] = f"0x{sa.mark.value:x}/0x{sa.mark.mask:x}"
    if sa.if_id:
        answer["if_id"] = sa.if_id
    if sa.pcpu is not None:
        answer["pcpu"] = sa.pcpu
    if sa.dir is not None:
        answer["dir"] = sa.dir.value
    return answer | _attributes(view) | _replay(view)


def _attributes(view: StateView) -> Answer:
    """The optional fields of a state's SA."""
    sa = view.sa
    answer: Answer = {}
    if view.selector_family:
        answer["sel"] = selector_text(sa.selector, view.selector_family)
    if view.window_size and not (view.bmp_len or sa.esn):
        answer["replay_window"] = view.window_size
    if sa.encap is not None:
        answer["encap"] = f"{encap_number(sa.encap)},{sa.encap.sport},{sa.encap.dport}"
    if sa.output_mark is not None and sa.output_mark != NO_MARK:
        answer["set_mark"] = f"0x{sa.output_mark.value:x}/0x{sa.output_mark.mask:x}"
    if sa.mtimer:
        answer["mtimer"] = sa.mtimer
    if sa.nat_keepalive:
        answer["nat_keepalive"] = sa.nat_keepalive
    if sa.iptfs is not None:
        answer["iptfs"] = _iptfs(sa.iptfs, sa.dir)
    return answer


def selector_text(selector: Selector, af: int) -> str:
    """`SRC/N DST/N`: a selector's two prefixes."""
    zeros = bytes(16 if af == AF_INET6 else 4)
    src, dst = (format_address(address or zeros) for address in (selector.src, selector.dst))
    return f"{src}/{selector.src_prefix} {dst}/{selector.dst_prefix}"


def encap_number(encap: Encap) -> int:
    """UDP_ENCAP_*, TCP_ENCAP_ESPINTCP."""
    numbers = {name: number for number, name in ENCAP_TYPES.items()}
    return int(numbers.get(encap.kind, encap.kind))


def _iptfs(options: IptfsOptions, direction: Direction | None) -> Answer:
    """copy_to_user_iptfs: the options of the SA's direction."""
    if direction is Direction.IN:
        return {"drop_time": options.drop_time, "reorder_window": options.reorder_window}
    flag: Answer = {"dont_frag": True} if options.dont_frag else {}
    sizes = {"init_delay": options.init_delay, "max_qsize": options.max_qsize, "pkt_size": options.pkt_size}
    return flag | sizes


def _replay(view: StateView) -> Answer:
    top, oseq = view.window_top, view.oseq
    if not view.bmp_len and not view.sa.esn:
        if not (top or oseq or view.window_bitmap):
            return {}
        bitmap = f"0x{view.window_bitmap & _LOW:08x}"
        return {"replay": {"oseq": oseq & _LOW, "seq": top & _LOW, "bitmap": bitmap}}
    circular = to_circular(view.window_bitmap, top & _LOW, view.window_size) if view.window_size else 0
    words = [f"0x{circular >> 32 * i & _LOW:08x}" for i in reversed(range(view.bmp_len))]
    context = {
        "bmp_len": view.bmp_len, "replay_window": view.window_size, "seq": top & _LOW, "seq_hi": top >> 32,
        "oseq": oseq & _LOW, "oseq_hi": oseq >> 32, "bitmap": words,
        "window": view.window_size, "bmp": words[::-1],
    }  # fmt: skip
    return {"replay_esn": context}


def states(views: Iterable[StateView]) -> Answer:
    """DUMP."""
    shown = [state(view) for view in views]
    return ok(count=len(shown), states=shown)


def events(found: Iterable[Event]) -> Answer:
    """EVENTS: what was multicast since the last EVENTS, oldest first."""
    shown = [event(e) for e in found]
    return ok(events=shown) | {"result": f"{len(shown)} events"}


def event(found: Event) -> Answer:
    """One event: its kind, `t` on the model's clock, and what its message carries.

    EXPIRE has `hard`, spi, bytes, packets and the state as `sa`. ACQUIRE has spi, dst, proto and seq, and pcpu where
    one CPU asks. request_migrate.py lists the fields of MIGRATE and MIGRATE_STATE. FLUSHSA says what was flushed. Any
    other event of a state has the state as `sa`.
    """
    answer: Answer = {"event": found.kind, "t": round(found.time, 3)}
    view = found.view
    if found.kind in ("MIGRATE", "MIGRATE_STATE"):
        return answer | migration(found, selector_text, encap_number)
    if found.kind == "ACQUIRE" and view is not None:
        sa = view.sa
        answer |= {"spi": f"0x{sa.spi:08x}", "dst": format_address(sa.dst), "proto": sa.proto, "seq": view.seq}
        return answer | ({} if sa.pcpu is None else {"pcpu": sa.pcpu})
    if found.kind == "EXPIRE" and view is not None:
        answer |= {"hard": found.hard, "spi": f"0x{view.sa.spi:08x}", "bytes": view.bytes, "packets": view.packets}
    if view is not None:
        answer["sa"] = state(view)
    return answer | {key: value for key, value in found.extra.items() if isinstance(value, str | int | float)}
