"""RX and TX: one packet into the namespace or out of it, and the counters that moved."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from espsim.core.address import Address, format_address, parse_address
from espsim.core.errors import errno_name
from espsim.core.numbers import PROTO_AH, PROTO_ESP, PROTO_UDP
from espsim.netlink.construct import POSSIBLE_CPUS
from espsim.netlink.netns import Netns
from espsim.netlink.spd import Policy
from espsim.reference.host import Host, HostReceived, HostSent
from espsim.reference.outer import encap_ports
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.text.lexer import shown
from espsim.wire import esp, ipv4, ipv6, udp
from espsim.xfrm.answers import Answer, ok
from espsim.xfrm.peer import DATAGRAM_PORTS, PacketShape, Peer, datagram, keepalive
from espsim.xfrm.request_fragments import FRAGMENT_WORDS, PATIENCE, Cuts, Reassembly, cuts
from espsim.xfrm.request_iptfs import IPTFS_WORDS, MOST, aggregation, blocks
from espsim.xfrm.request_line import RequestWords

RX_WORDS = frozenset(
    {"src", "dst", "spi", "seq", "seq_hi", "proto", "icv", "cut", "encap", "mark", "cpu", "payload", "as",
     "nh"}
    | FRAGMENT_WORDS | IPTFS_WORDS
)  # fmt: skip
TX_WORDS = frozenset({"src", "dst", "mark", "cpu", "payload"})

_PAYLOAD = 5
_PROTOCOLS = {"esp": PROTO_ESP, "ah": PROTO_AH, "udp": PROTO_UDP}


class Traffic:
    """The host around a namespace, and the peer of its SAs. `seen` gets each packet of RX and its outcome."""

    def __init__(self, netns: Netns, seen: Callable[[bytes, HostReceived], None] | None = None) -> None:
        self._netns = netns
        self._seen = seen
        self._host = Host(netns)
        self._reassembly = Reassembly(lambda: encap_ports(netns.sad), lambda version: netns.sysctl[PATIENCE[version]])
        self._host.reassemble = lambda packet: self._reassembly.take(packet, netns.now)
        self._ident = 0
        self._kept_alive: list[HostSent] = []
        netns.keepalive = self._keep_alive
        self._peer = Peer(random.Random(0))

    def rx(self, words: RequestWords) -> Callable[[], Answer]:
        """RX: the packet that the line describes arrives."""
        proto = words.choice("proto", _PROTOCOLS, PROTO_ESP)
        if proto not in _PROTOCOLS.values():
            raise words.error(f"proto of RX takes {', '.join(_PROTOCOLS)}")
        dst = words.address("dst")
        src = words.address("src") if "src" in words else None
        if src is not None and len(src) != len(dst):
            raise words.error("src and dst are of different families")
        mark, payload = words.number("mark", 0), _payload(words)
        _cpu(words)  # only its range is checked: input ignores it
        wanted = cuts(words)
        if proto == PROTO_UDP:
            packet = datagram(src or bytes(len(dst)), dst, payload)
            return lambda: self._receive(packet, mark, wanted)
        build = self._ipsec(words, proto, src, dst, payload, wanted)
        return lambda: self._receive(build(), mark, wanted)

    def tx(self, words: RequestWords) -> Callable[[], Answer]:
        """TX: the host sends one datagram."""
        dst, mark, payload, cpu = words.address("dst"), words.number("mark", 0), _payload(words), _cpu(words)
        src = words.address("src") if "src" in words else None
        if src is not None and len(src) != len(dst):
            raise words.error("src and dst are of different families")
        return lambda: self._send(datagram(src or self._own_address(dst), dst, payload), mark, cpu)

    def advance(self, words: RequestWords) -> Callable[[], Answer]:
        """ADVANCE: time passes, and what is due leaves or is delivered."""
        seconds = words.seconds("seconds")

        def ask() -> Answer:
            self._kept_alive.clear()
            before = Counter(self._netns.counters)
            self._netns.advance(seconds)
            late, left = self._host.elapse()
            left = [sent.packet for sent in self._kept_alive if sent.packet is not None] + left
            answer = ok(out=[told(packet) for packet in left]) if left else ok()
            moved = _moved(before, self._netns.counters)
            return answer | ({"late": late} if late else {}) | ({"counters": moved} if moved else {})

        return ask

    # -- inside -------------------------------------------------------------------------------------------------------

    def _ipsec(  # noqa: PLR0917 - the words of a line
        self, words: RequestWords, proto: int, src: Address | None, dst: Address, payload: int, wanted: Cuts
    ) -> Callable[[], bytes]:
        spi, seq64 = words.number("spi"), words.number("seq") | words.number("seq_hi", 0) << 32
        holder = _holder(words) or (dst, spi)
        if words.values.get("icv", "bad") != "bad":
            raise words.error("icv takes only bad")
        cut, ports, next_header = words.optional("cut", 16), _ports(words), words.optional("nh", 8)
        header, make = aggregation(words), blocks(words, payload, 4 if len(dst) == 4 else 6)

        def build() -> bytes:
            sa = self._find(*holder, proto)
            outer = src or (sa.src if sa is not None and len(sa.src) == len(dst) else bytes(len(dst)))
            ends = self._inside(sa, src, outer, dst)
            made = make(lambda version, size: datagram(*self._ends(version, ends, dst), size)) if make else None
            shape = PacketShape(outer, dst, spi, seq64, "icv" in words, cut, ports, next_header, made, header)
            if proto == PROTO_AH:
                return self._peer.ah_packet(shape)
            return self._peer.esp_packet(shape, sa, wanted.inner(datagram(*ends, payload)))

        return build

    def _receive(self, packet: bytes, mark: int, wanted: Cuts) -> Answer:
        self._reassembly.forget(self._netns.now)
        before, waiting = Counter(self._netns.counters), Counter(self._reassembly.counts)
        self._ident += 1
        delivered = [
            received
            for sent in wanted.outer(packet, self._ident)
            if (received := self._arrive(sent, mark)) is not None and received.delivered
        ]
        late = 0
        if wanted.wait:
            self._netns.advance(wanted.wait)
            self._reassembly.forget(self._netns.now)
            late, _ = self._host.elapse()
        marks = [f"0x{received.mark:x}" for received in delivered for _ in range(received.packets)]
        answer = ok(counters=_moved(before, self._netns.counters))
        answer |= {"result": "delivered" if marks or late else "dropped"}
        if marks:
            answer["skb_mark"] = marks
        if len(marks) + late > 1:
            answer["delivered"] = len(marks) + late
        if late:
            answer["late"] = late
        reasm = _moved(waiting, self._reassembly.counts)
        return answer | {"reasm": reasm} if reasm else answer

    def _arrive(self, packet: bytes, mark: int) -> HostReceived | None:
        """Receive one packet from the wire. None: a fragment that completes nothing."""
        whole = self._reassembly.take(packet, self._netns.now)
        if whole is None:
            return None
        received = self._host.receive(whole, mark)
        if self._seen is not None:
            self._seen(whole, received)
        return received

    def _keep_alive(self, entry: SadEntry) -> None:
        self._kept_alive.append(self._host.send(keepalive(entry.sa)))

    def _send(self, packet: bytes, mark: int, cpu: int) -> Answer:
        before = Counter(self._netns.counters)
        sent = self._host.send(packet, mark, cpu)
        answer = ok(counters=_moved(before, self._netns.counters))
        answer |= {"result": errno_name(sent.errno) if sent.errno else "sent"}
        answer["out"] = []
        if sent.packet is not None:
            answer |= {
                "out": [told(packet) for packet in (sent.packet, *sent.also)],
                "packet": sent.packet.hex(),
                "skb_mark": [f"0x{sent.mark:x}"],
            }
        return answer

    def _find(self, dst: Address, spi: int, proto: int) -> SecurityAssociation | None:
        """The SA whose keys the peer has: the newest with (dst, spi), whatever its mark."""
        held = (e for e in self._netns.sad.with_spi(spi) if (e.sa.dst, e.sa.proto) == (dst, proto))
        newest = max(held, key=lambda entry: entry.sa_index, default=None)
        return newest.sa if newest is not None else None

    def _inside(
        self, sa: SecurityAssociation | None, said: Address | None, src: Address, dst: Address
    ) -> tuple[Address, Address]:
        """The datagram's addresses. In a tunnel they are those of an in-policy for it, else the line's."""
        if sa is not None and sa.mode is Mode.BEET and sa.inner_ends is not None:
            return sa.inner_ends
        if sa is None or sa.mode not in (Mode.TUNNEL, Mode.IPTFS):
            return src, dst
        for policy in _single(self._netns.spd, "in"):
            if any(template.dst == dst for template in policy.templates):
                return policy.selector.src, policy.selector.dst
        return (sa.src, sa.dst) if said is None and len(sa.src) == len(dst) else (src, dst)

    def _ends(self, version: int, ends: tuple[Address, Address], dst: Address) -> tuple[Address, Address]:
        """Inner addresses of an IP version: `ends` if they have it, else those of an in-policy, else zeros."""
        length = 4 if version == 4 else 16
        if len(ends[0]) == length:
            return ends
        for policy in _single(self._netns.spd, "in"):
            if len(policy.selector.dst) == length and any(template.dst == dst for template in policy.templates):
                return policy.selector.src, policy.selector.dst
        return bytes(length), bytes(length)

    def _own_address(self, dst: Address) -> Address:
        """The source of a datagram from this host to `dst`."""
        for policy in _single(self._netns.spd, "out"):
            if policy.selector.dst == dst:
                return policy.selector.src
        for view in self._netns.dump():
            if view.sa.dst == dst:
                return view.sa.src
        return bytes(len(dst))


def _single(policies: Iterable[Policy], direction: str) -> Iterator[Policy]:
    """The policies of one direction with a single source and a single destination, newest first."""
    for policy in reversed(list(policies)):
        selector = policy.selector
        full = 8 * len(selector.dst)
        if policy.dir == direction and full and selector.src_prefix == selector.dst_prefix == full:
            yield policy


def _cpu(words: RequestWords) -> int:
    """`cpu=N`: the CPU that handles the packet."""
    cpu = words.number("cpu", 0)
    if cpu >= POSSIBLE_CPUS:
        raise words.error(f"cpu is not in 0 to {POSSIBLE_CPUS - 1}, as many as the model has")
    return cpu


def told(packet: bytes) -> str:
    """A packet as TX shows it: `SRC>DST`, the ports of UDP around ESP, ESP's SPI and sequence number."""
    v4 = packet[0] >> 4 == 4
    at, proto = (ipv4.length(packet), packet[ipv4.PROTOCOL]) if v4 else (ipv6.HEADER_LENGTH, packet[ipv6.NEXT_HEADER])
    src, dst = (packet[ipv4.SRC], packet[ipv4.DST]) if v4 else (packet[ipv6.SRC], packet[ipv6.DST])
    text = f"{format_address(src)}>{format_address(dst)} "
    esp_at = at
    if proto == PROTO_UDP:
        text += "UDP"
        sport, dport, _ = udp.parse(packet, at)
        if (sport, dport) == DATAGRAM_PORTS:
            return text
        text, esp_at = f"{text} {sport}>{dport} ", at + udp.HEADER_LENGTH
        if packet[esp_at:] == udp.KEEPALIVE:
            return text + "keepalive"
    elif proto != PROTO_ESP:
        return text + str(proto)
    spi, seq = esp.parse(packet, esp_at)
    return f"{text}ESP spi 0x{spi:x} seq 0x{seq:x}"


def _payload(words: RequestWords) -> int:
    payload = words.number("payload", _PAYLOAD)
    if payload > MOST:
        raise words.error(f"payload is not in 0 to {MOST}")
    return payload


def _ports(words: RequestWords) -> tuple[int, int] | None:
    if words.values.get("encap", "none") == "none":
        return None
    sport, dport = words.numbers("encap", 2, 16)
    return sport, dport


def _holder(words: RequestWords) -> tuple[Address, int] | None:
    """`as=SPI@DADDR`: whose keys the peer uses."""
    if "as" not in words:
        return None
    spi, _, daddr = words.text("as").partition("@")
    try:
        address = parse_address(daddr)
    except ValueError:
        raise words.error(f"as takes SPI@DADDR; {shown(daddr)} is not an IP address") from None
    return address, words.parse_number("the SPI of as", spi)


def _moved(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """The counters that moved, and by how much."""
    return {name: n - before[name] for name, n in sorted(after.items()) if n != before[name]}
