"""MIGRATE_STATE and MIGRATE of the request language, and their messages as events.

    MIGRATE_STATE dst= proto= spi= [family= old_mark=V/M] new_dst= new_src= [new_family=] new_reqid=
            [new_sel={src:A/N,dst:B/N} migrate_flags=N reserved=N mark= encap= set_mark= mtimer= nat_keepalive=
            offload=IFINDEX,FLAGS attr=NAME,...]
    MIGRATE dir= sel={src:A/N,dst:B/N} {old_src,old_dst,new_src,new_dst,proto,mode,reqid}... [encap= if_id= ptype=]

MIGRATE_STATE without words is 132 zeros. `encap=0,0,0` removes an encapsulation. `attr` names attributes that the
message may not have. A new selector that is not given is zeros without a family. `family:N` in its braces gives it
another family than its addresses'.
"""

from __future__ import annotations

from collections.abc import Callable

from espsim.core.address import AF_INET6, family, format_address
from espsim.netlink.migrate_state import NO_ENCAP
from espsim.netlink.netns import Event
from espsim.netlink.request import MigrateEntry, MigrateRequest, MigrateStateRequest
from espsim.netlink.spd import DIRECTIONS
from espsim.sad.association import NO_MARK, Direction, Encap, Mark, SecurityAssociation, Selector
from espsim.text.lexer import shown
from espsim.xfrm.request_line import MODES, PROTOCOLS, RequestWords
from espsim.xfrm.request_sa import encap_of, offload_of, set_mark

MIGRATE_STATE_WORDS = frozenset(
    {
        "dst", "proto", "spi", "family", "old_mark", "new_dst", "new_src", "new_family", "new_reqid", "new_sel",
        "migrate_flags", "reserved", "mark", "encap", "set_mark", "mtimer", "nat_keepalive", "offload", "attr",
    }
)  # fmt: skip
MIGRATE_WORDS = frozenset({"dir", "sel", "encap", "if_id", "ptype"})

_PARTS = 7

UNFIT = {
    "ALG_AUTH": 1, "ALG_CRYPT": 2, "ALG_COMP": 3, "SEC_CTX": 8, "LTIME_VAL": 9, "REPLAY_VAL": 10, "SRCADDR": 13,
    "COADDR": 14, "ALG_AEAD": 18, "ALG_AUTH_TRUNC": 20, "TFCPAD": 22, "REPLAY_ESN_VAL": 23, "SA_EXTRA_FLAGS": 24,
    "PROTO": 25, "IF_ID": 31, "SA_DIR": 33, "SA_PCPU": 35, "IPTFS_DROP_TIME": 36, "IPTFS_PKT_SIZE": 41,
}  # fmt: skip
"""XFRMA_* that MIGRATE_STATE may not have."""


def split_entries(words: list[str]) -> tuple[list[str], list[str]]:
    """(the key=value words of MIGRATE, its words that are only braces)."""
    entries = [word for word in words if word.startswith("{")]
    return [word for word in words if not word.startswith("{")], entries


def migrate_state_request(words: RequestWords) -> MigrateStateRequest:
    """MIGRATE_STATE. Without words it is 132 zeros, which asks whether a kernel knows the message."""
    if not words.values.keys() - {"cap", "length"}:
        zeros = bytes(4)
        return MigrateStateRequest(zeros, 0, 0, zeros, zeros, 0, 0, family=0)
    dst, new_dst, new_src = words.address("dst"), words.address("new_dst"), words.address("new_src")
    selector, selector_family = words.selector_with_family("new_sel")
    return MigrateStateRequest(
        dst, words.protocol(), words.number("spi"), new_src, new_dst, words.number("new_reqid"),
        words.number("new_family", family(new_dst), 16), family=words.optional("family", 16),
        old_mark=words.mark("old_mark"), flags=words.number("migrate_flags", 0),
        reserved=words.number("reserved", 0, 16), new_selector=selector, selector_family=selector_family,
        mark=words.mark() if "mark" in words else None, encap=encap_of(words), set_mark=set_mark(words),
        mtimer=words.optional("mtimer"), nat_keepalive=words.optional("nat_keepalive"), offload=offload_of(words),
        others=_others(words),
    )  # fmt: skip


def _others(words: RequestWords) -> frozenset[str]:
    names = [name for name in words.values.get("attr", "").split(",") if name]
    for name in names:
        if name not in UNFIT:
            raise words.error(f"attr: unknown name {shown(name)}; known: {', '.join(UNFIT)}")
    return frozenset(names)


def migrate_request(words: RequestWords, entries: list[str]) -> MigrateRequest:
    """MIGRATE. `entries` are the words in braces."""
    moves = tuple(_entry(words, text) for text in entries)
    selector, af = words.selector_with_family("sel")
    zeros = bytes(16 if af == AF_INET6 else 4)
    whole = Selector(selector.src or zeros, selector.src_prefix, selector.dst or zeros, selector.dst_prefix)
    ptype = words.values.get("ptype", "main")
    if ptype not in ("main", "sub"):
        raise words.error("ptype takes main or sub")
    return MigrateRequest(
        words.choice("dir", DIRECTIONS), whole, moves, encap_of(words), words.number("if_id", 0), ptype
    )  # fmt: skip


def _entry(words: RequestWords, text: str) -> MigrateEntry:
    parts = text[1:-1].split(",")
    if not text.endswith("}") or len(parts) != _PARTS:
        raise words.error("an entry of MIGRATE takes {old_src,old_dst,new_src,new_dst,proto,mode,reqid}")
    names = ("old_src", "old_dst", "new_src", "new_dst", "proto", "mode", "reqid")
    said = RequestWords(dict(zip(names, parts, strict=True)), words.where, words.line)
    old_src, old_dst, new_src, new_dst = (said.address(name) for name in names[:4])
    if len(old_src) != len(old_dst) or len(new_src) != len(new_dst):
        raise words.error("an entry of MIGRATE has addresses of different families")
    proto, mode = said.choice("proto", PROTOCOLS), said.choice("mode", MODES)
    return MigrateEntry(old_src, old_dst, new_src, new_dst, proto, mode, said.number("reqid"))


# -- events -----------------------------------------------------------------------------------------------------------

Text = Callable[[Selector, int], str]


def migration(event: Event, selector_text: Text, encap_number: Callable[[Encap], int]) -> dict[str, object]:
    """What a message to the group MIGRATE carries."""
    request = event.extra["request"]
    if isinstance(request, MigrateRequest):
        return _of_policy(request, selector_text)
    assert isinstance(request, MigrateStateRequest)  # noqa: S101 - there are two such messages
    af = int(event.extra["selector_family"])
    sa: SecurityAssociation = event.extra["sa"]
    return {
        "dst": format_address(request.dst), "spi": f"0x{request.spi:08x}",
        "new_dst": format_address(request.new_dst), "new_src": format_address(request.new_src),
        "old_mark": _mark_text(request.old_mark), "new_sel": selector_text(sa.selector, af) if af else None,
        "new_reqid": request.new_reqid, "flags": request.flags, "attrs": _attributes(request, sa, encap_number),
    }  # fmt: skip


def _of_policy(request: MigrateRequest, selector_text: Text) -> dict[str, object]:
    first = request.entries[0]
    return {
        "sel": selector_text(request.selector, family(request.selector.dst)), "dir": request.dir,
        "attrs": sorted(["MIGRATE", "POLICY_TYPE", *(["ENCAP"] if request.encap is not None else [])]),
        "old": f"{format_address(first.old_src)} {format_address(first.old_dst)}",
        "new": f"{format_address(first.new_src)} {format_address(first.new_dst)}", "reqid": first.reqid,
    }  # fmt: skip


def _attributes(
    request: MigrateStateRequest, sa: SecurityAssociation, encap_number: Callable[[Encap], int]
) -> dict[str, str]:
    """The attributes of the message in hex, in their byte order: numbers in x86's order, ports in network order."""
    attributes: dict[str, str] = {}
    if sa.encap is not None or request.encap is not None:
        encap = sa.encap or Encap(NO_ENCAP, 0, 0, bytes(4))
        ports = encap.sport.to_bytes(2) + encap.dport.to_bytes(2)
        attributes["ENCAP"] = (encap_number(encap).to_bytes(2, "little") + ports + bytes(18)).hex()
    if sa.mark != NO_MARK:
        attributes["MARK"] = _u32(sa.mark.value & sa.mark.mask) + _u32(sa.mark.mask)
    if sa.output_mark is not None and sa.output_mark != NO_MARK:
        attributes |= {"SET_MARK": _u32(sa.output_mark.value), "SET_MARK_MASK": _u32(sa.output_mark.mask)}
    for name, value in (("MTIMER_THRESH", sa.mtimer), ("NAT_KEEPALIVE_INTERVAL", sa.nat_keepalive)):
        if value:
            attributes[name] = _u32(value)
    if sa.dir is not None:
        attributes["SA_DIR"] = "01" if sa.dir is Direction.IN else "02"
    return attributes


def _u32(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def _mark_text(mark: Mark) -> str:
    return f"0x{mark.value:x}/0x{mark.mask:x}"
