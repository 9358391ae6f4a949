"""A frame's link layer, field by field, up to its IP packet (layouts: io/linktype.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from espsim.explain.steps import Bytes, Field, Places, Step
from espsim.io.linktype import ip_start

_TYPES = {0x0800: "IPv4", 0x86DD: "IPv6", 0x0806: "ARP", 0x8100: "802.1Q", 0x88A8: "802.1ad", 0x9100: "Q-in-Q",
          0x8847: "MPLS", 0x8848: "MPLS", 0x8864: "PPPoE session", 0x8863: "PPPoE discovery"}  # fmt: skip
_VLAN = (0x8100, 0x88A8, 0x9100)
_MPLS = (0x8847, 0x8848)
_PPP = {0x0021: "IPv4", 0x0057: "IPv6", 0x0281: "MPLS", 0x0283: "MPLS", 0xC021: "LCP"}
_NFLOG_FIELDS = {1: "packet header", 2: "mark", 3: "timestamp", 4: "input device", 5: "output device", 8: "address",
                 9: "packet", 10: "prefix", 11: "uid", 14: "gid"}  # fmt: skip
_FAMILIES = {2: "IPv4", 10: "IPv6", 24: "IPv6", 28: "IPv6", 30: "IPv6", 7: "bridge", 3: "ARP"}


class _Cursor:
    """Takes the fields of a frame one after another."""

    def __init__(self, frame: Bytes) -> None:
        self.frame = frame
        self.at = 0
        self.fields: list[Field] = []

    def take(self, name: str, length: int, says: Callable[[bytes], int | str] | None = None) -> int:
        """The next field; returns its number."""
        part = self.frame.data[self.at : self.at + length]
        if part:
            self.fields.append(self.frame.field(name, self.at, length, says(part) if says else None))
        self.at += length
        return int.from_bytes(part)

    def type_of(self) -> int:
        """An Ethernet type."""
        return self.take("type", 2, lambda part: _named(_TYPES, int.from_bytes(part), "04x"))


def link_step(linktype: int, frame: bytes) -> Step | None:
    """The link layer of a frame. None: there is none (raw IP)."""
    start = ip_start(linktype, frame)
    name, source, read = _READERS.get(linktype, ("", "", _nothing))
    cursor = _Cursor(Bytes(frame[:start] if start >= 0 else frame, Places()))
    read(cursor)
    if not cursor.fields:
        return None
    last = cursor.fields[-1]
    end = last.offset + last.length if last.offset is not None else 0
    if start > end:
        cursor.fields.append(cursor.frame.field("before the packet", end, start - end, f"{start - end} bytes"))
    what = f"{name}; the IP packet begins at byte {start}" if start >= 0 else name
    return Step("link layer", source, what, tuple(cursor.fields))


def _named(names: dict[int, str], number: int, form: str = "d") -> str:
    shown = f"0x{number:{form}}" if form != "d" else str(number)
    return f"{shown}, {names[number]}" if number in names else shown


def _mac(part: bytes) -> str:
    return part.hex(":")


def _by_type(cursor: _Cursor, kind: int) -> None:
    while kind in _VLAN:
        cursor.take("VLAN tag", 2, lambda tag: f"VLAN {int.from_bytes(tag) & 0xFFF}, priority {tag[0] >> 5}")
        kind = cursor.type_of()
    if kind in _MPLS:
        _mpls(cursor)
    elif kind == 0x8864:
        _pppoe(cursor)


def _mpls(cursor: _Cursor) -> None:
    bottom = 0
    while not bottom and cursor.at + 4 <= len(cursor.frame.data):
        label = cursor.take("MPLS label", 4, _label)
        bottom = label >> 8 & 1


def _label(part: bytes) -> str:
    number = int.from_bytes(part)
    return f"{number >> 12}, TTL {number & 255}" + (", the last" if number >> 8 & 1 else "")


def _pppoe(cursor: _Cursor) -> None:
    cursor.take("version, type", 1, lambda part: f"{part[0] >> 4}, {part[0] & 15}")
    cursor.take("code", 1)
    cursor.take("session", 2)
    cursor.take("length", 2)
    _ppp(cursor)


def _ppp(cursor: _Cursor) -> None:
    data = cursor.frame.data
    if data[cursor.at : cursor.at + 2] == b"\xff\x03":
        cursor.take("address, control", 2, lambda part: part.hex(" "))
    short = cursor.at < len(data) and data[cursor.at] & 1
    kind = cursor.take("protocol", 1 if short else 2, lambda part: _named(_PPP, int.from_bytes(part), "04x"))
    if _PPP.get(kind) == "MPLS":
        _mpls(cursor)


def _hdlc(cursor: _Cursor) -> None:
    if cursor.frame.data[:1] not in (b"\x0f", b"\x8f"):
        _ppp(cursor)
        return
    cursor.take("address", 1)
    cursor.take("control", 1)
    _by_type(cursor, cursor.type_of())


def _ethernet(cursor: _Cursor) -> None:
    cursor.take("destination", 6, _mac)
    cursor.take("source", 6, _mac)
    _by_type(cursor, cursor.type_of())


_DIRECTIONS = {0: "to this host", 1: "broadcast", 2: "multicast", 3: "to another host", 4: "sent by this host"}


def _packet_type(part: bytes) -> str:
    return _named(_DIRECTIONS, int.from_bytes(part))


def _sll(cursor: _Cursor) -> None:
    cursor.take("packet type", 2, _packet_type)
    cursor.take("ARPHRD", 2)
    cursor.take("address length", 2)
    cursor.take("address", 8, _mac)
    _by_type(cursor, cursor.type_of())


def _sll2(cursor: _Cursor) -> None:
    kind = cursor.type_of()
    cursor.take("reserved", 2)
    cursor.take("interface", 4)
    cursor.take("ARPHRD", 2)
    cursor.take("packet type", 1, _packet_type)
    cursor.take("address length", 1)
    cursor.take("address", 8, _mac)
    _by_type(cursor, kind)


def _family(cursor: _Cursor) -> None:
    def says(part: bytes) -> str:
        little, big = (int.from_bytes(part, order) for order in ("little", "big"))
        return _named(_FAMILIES, little if little in _FAMILIES else big)

    cursor.take("address family", 4, says)


def _nflog(cursor: _Cursor) -> None:
    data = cursor.frame.data
    cursor.take("family", 1, lambda part: _named(_FAMILIES, part[0]))
    cursor.take("version", 1)
    cursor.take("resource id", 2)
    order: Literal["little", "big"] = "little" if data[7:8] == b"\0" else "big"
    while cursor.at + 4 <= len(data):
        length, kind = (int.from_bytes(data[n : n + 2], order) for n in (cursor.at, cursor.at + 2))
        name = _NFLOG_FIELDS.get(kind, f"field {kind}")
        if kind == 9 or length < 4:
            cursor.take(f"{name}: length, type", 4, lambda _part, length=length: f"{length} bytes")  # type: ignore[misc]
            return
        size = min(length + 3 & ~3, len(data) - cursor.at)
        cursor.take(name, size, lambda part: f"{len(part)} bytes")


def _nothing(_cursor: _Cursor) -> None:
    """Raw IP."""


_READERS: dict[int, tuple[str, str, Callable[[_Cursor], None]]] = {
    0: ("null (BSD loopback)", "LINKTYPE_NULL", _family),
    1: ("Ethernet", "IEEE 802.3", _ethernet),
    9: ("PPP", "RFC 1661 2", _ppp),
    50: ("PPP in HDLC", "RFC 1662 3.1", _hdlc),
    51: ("PPPoE", "RFC 2516 4", _pppoe),
    108: ("OpenBSD loopback", "LINKTYPE_LOOP", _family),
    113: ("Linux cooked", "LINKTYPE_LINUX_SLL", _sll),
    239: ("NFLOG", "LINKTYPE_NFLOG", _nflog),
    276: ("Linux cooked, version 2", "LINKTYPE_LINUX_SLL2", _sll2),
}
