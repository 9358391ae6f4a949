"""IP and UDP headers, field by field: of the packet on the wire, and of the packet inside."""

from __future__ import annotations

from espsim.core.address import format_address
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING
from espsim.explain import repeat
from espsim.explain.steps import Bytes, Field, Places, Step
from espsim.wire import ipv4, ipv6, ipv6_fragment, udp
from espsim.wire.checksum import internet_checksum

PROTOCOLS = {0: "hop-by-hop options", 1: "ICMP", 4: "IPv4", 6: "TCP", 17: "UDP", 41: "IPv6", 43: "routing header",
             44: "fragment header", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 59: "no next header", 60:
             "destination options", 132: "SCTP", 144: "AGGFRAG"}  # fmt: skip
_ECN = ("not ECN-capable", "ECT(1)", "ECT(0)", "CE: congestion")
_EXTENSIONS = {PROTO_HOP_BY_HOP: "hop-by-hop options", PROTO_ROUTING: "routing header",
               PROTO_FRAGMENT: "fragment header", PROTO_DSTOPTS: "destination options"}  # fmt: skip
_OPTIONS = {0: "end of options", 1: "no operation", 7: "record route", 68: "timestamp", 131: "loose source route",
            137: "strict source route", 148: "router alert", 130: "security"}  # fmt: skip


def protocol(number: int) -> str:
    """`50, ESP`."""
    return f"{number}, {PROTOCOLS[number]}" if number in PROTOCOLS else str(number)


def ip_steps(packet: bytes, places: Places | None, prefix: str = "") -> list[Step]:
    """The IP header and, as separate steps, IPv6's extension headers. `prefix` precedes each step's name.

    [] where it is not an IP packet. A cut packet gives the headers that are there.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= ipv4.HEADER_LENGTH:
        return [_v4(Bytes(packet, places), prefix)]
    if version == 6 and len(packet) >= ipv6.HEADER_LENGTH:
        return _v6(Bytes(packet, places), prefix)
    return []


def _ends(packet: bytes) -> str:
    src, dst = (packet[ipv4.SRC], packet[ipv4.DST]) if packet[0] >> 4 == 4 else (packet[ipv6.SRC], packet[ipv6.DST])
    return f"{format_address(src)} > {format_address(dst)}"


def _v4(it: Bytes, prefix: str) -> Step:
    packet = it.data
    size = min(max(ipv4.length(packet), ipv4.HEADER_LENGTH), len(packet))
    header = packet[:size]
    clear = header[: ipv4.CHECKSUM] + b"\0\0" + header[ipv4.CHECKSUM + 2 :]
    wanted, stated = internet_checksum(clear), int.from_bytes(header[ipv4.CHECKSUM : ipv4.CHECKSUM + 2])
    right = "right" if wanted == stated else f"not the header's, which is 0x{wanted:04x}; it is not judged"
    flags, tos = ipv4.flags(packet), packet[ipv4.TOS]
    named = [name for bit, name in ((0x8000, "reserved"), (ipv4.DF, "DF"), (ipv4.MF, "MF")) if flags & bit]
    fields = [
        it.field("version, length", 0, 1, f"4, {ipv4.length(packet)} bytes"),
        it.field("DSCP, ECN", ipv4.TOS, 1, f"{tos >> 2}, {_ECN[tos & 3]}"),
        it.field("total length", ipv4.TOTAL_LENGTH, 2),
        it.field("identification", ipv4.IDENT, 2),
        it.field("flags, offset", ipv4.FLAGS, 2, f"{' '.join(named) or '-'}, {(flags & ipv4.OFFSET_MASK) * 8}"),
        it.field("TTL", ipv4.TTL, 1),
        it.field("protocol", ipv4.PROTOCOL, 1, protocol(packet[ipv4.PROTOCOL])),
        it.field("checksum", ipv4.CHECKSUM, 2, f"0x{stated:04x}, {right}"),
        it.field("source", ipv4.SRC.start, 4, format_address(packet[ipv4.SRC])),
        it.field("destination", ipv4.DST.start, 4, format_address(packet[ipv4.DST])),
        *_v4_options(it, size),
    ]
    says = f"{_ends(packet)}, {protocol(packet[ipv4.PROTOCOL]).rpartition(', ')[2]}"
    return Step(f"{prefix}IPv4 header", "RFC 791 3.1", says, tuple(fields), (repeat.checksum(clear),))


def _v4_options(it: Bytes, end: int) -> list[Field]:
    fields, at = [], ipv4.HEADER_LENGTH
    while at < end:
        kind = it.data[at]
        length = 1 if kind <= 1 else max(it.data[at + 1], 2) if at + 1 < end else 1
        length = min(length, end - at)
        fields.append(it.field("option", at, length, f"{kind & 0xFF}, {_OPTIONS.get(kind, 'option')}"))
        at += length
    return fields


def _v6(it: Bytes, prefix: str) -> list[Step]:
    packet = it.data
    tos = ipv6.traffic_class(packet)
    flow = ipv6.flow_label(packet)
    fields = [
        it.field("version, class, flow", 0, 4, f"6, DSCP {tos >> 2} {_ECN[tos & 3]}, flow 0x{flow:05x}"),
        it.field("payload length", ipv6.PAYLOAD_LENGTH, 2),
        it.field("next header", ipv6.NEXT_HEADER, 1, protocol(packet[ipv6.NEXT_HEADER])),
        it.field("hop limit", ipv6.HOP_LIMIT, 1),
        it.field("source", ipv6.SRC.start, 16, format_address(packet[ipv6.SRC])),
        it.field("destination", ipv6.DST.start, 16, format_address(packet[ipv6.DST])),
    ]
    says = f"{_ends(packet)}, {protocol(packet[ipv6.NEXT_HEADER]).rpartition(', ')[2]}"
    steps = [Step(f"{prefix}IPv6 header", "RFC 8200 3", says, tuple(fields))]
    kind, at = packet[ipv6.NEXT_HEADER], ipv6.HEADER_LENGTH
    while kind in _EXTENSIONS and at + ipv6.EXTENSION_LEAST <= len(packet):
        size = ipv6_fragment.HEADER_LENGTH if kind == PROTO_FRAGMENT else ipv6.extension_length(packet, at)
        steps.append(_extension(it, kind, at, min(size, len(packet) - at), prefix))
        kind, at = packet[at], at + size
    return steps


def _extension(it: Bytes, kind: int, at: int, size: int, prefix: str) -> Step:
    follows = it.data[at]
    fields = [it.field("next header", at, 1, protocol(follows))]
    if kind == PROTO_FRAGMENT:
        offset = int.from_bytes(it.data[at + 2 : at + 4])
        fields += [
            it.field("reserved", at + 1, 1),
            it.field("offset, more", at + 2, 2, f"{offset & 0xFFF8}, {'more follow' if offset & 1 else 'the last'}"),
            it.field("identification", at + 4, 4),
        ]
    else:
        fields += [
            it.field("length", at + 1, 1, f"{size} bytes"),
            it.field("content", at + 2, size - 2, f"{size - 2} bytes"),
        ]
    return Step(f"{prefix}{_EXTENSIONS[kind]}", "RFC 8200 4", f"then {protocol(follows)}", tuple(fields))


def udp_step(packet: bytes, at: int, places: Places | None, prefix: str = "", *, esp: bool = False) -> Step | None:
    """The UDP header at an offset. `esp`: it carries ESP. None: it is cut."""
    if at + udp.HEADER_LENGTH > len(packet):
        return None
    it = Bytes(packet, places)
    sport, dport, length = udp.parse(packet, at)
    checksum = int.from_bytes(packet[at + udp.CHECKSUM : at + udp.HEADER_LENGTH])
    fields = (
        it.field("source port", at, 2),
        it.field("destination port", at + 2, 2),
        it.field("length", at + udp.LENGTH, 2),
        it.field("checksum", at + udp.CHECKSUM, 2, "0, none" if not checksum else f"0x{checksum:04x}, not judged"),
    )
    inside = "; ESP follows: the first four bytes are not zeros" if esp else ""
    source = "RFC 3948 2.1" if esp else "RFC 768"
    return Step(f"{prefix}UDP header", source, f"port {sport} > {dport}, {length} bytes{inside}", fields)
