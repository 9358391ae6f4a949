"""RX in fragments: how a line cuts a packet, and the reassembly before and after xfrm_input.

    fragments=CUTS      rising multiples of 8: where the outer packet's payload is cut; `atomic`: one whole (IPv6)
    order=N,N,...       which fragments are sent, in this order; one may come twice. only=N: only this one
    overlap             every fragment but the first starts 8 bytes early          df=1: sets DF on each (IPv4)
    inner=N/M           what is inside is fragment N of M of the datagram, cut into equal parts
    wait=SECONDS        how long the answer waits, on the model's clock, for fragments to time out

`reasm` of the answer is what moves in /proc/net/snmp and snmp6. ReasmReqds counts fragments. ReasmOKs counts datagrams
put together, ReasmFails those given up, ReasmTimeout those that waited net.ipv4.ipfrag_time (net.ipv6.ip6frag_time).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from espsim.core.layers import Layer
from espsim.core.numbers import PROTO_FRAGMENT
from espsim.io.fragments import Joiner
from espsim.reference.layers import judge
from espsim.wire import fragments, ipv4, ipv6, ipv6_fragment
from espsim.xfrm.request_line import RequestWords

FRAGMENT_WORDS = frozenset({"fragments", "order", "only", "overlap", "df", "inner", "wait"})
PATIENCE = {4: "net.ipv4.ipfrag_time", 6: "net.ipv6.ip6frag_time"}
"""By IP version, the sysctl that says how many seconds fragments wait."""

_SECOND = 1_000_000_000
_INNER_IDENT = 1


@dataclass(frozen=True, slots=True)
class Cuts:
    """How a line wants its packet cut. `at` None: whole. `part` is (N, M) of the datagram inside."""

    at: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None
    overlap: bool = False
    dont: bool = False
    part: tuple[int, int] | None = None
    wait: float = 0.0

    def outer(self, packet: bytes, ident: int) -> list[bytes]:
        """The packets to send, in order."""
        if self.at is None:
            return [packet]
        pieces = cut(packet, self.at, ident, early=8 * self.overlap, dont=self.dont)
        order = range(len(pieces)) if self.order is None else self.order
        return [pieces[n] for n in order if n < len(pieces)]

    def inner(self, packet: bytes) -> bytes:
        """The datagram inside, or the fragment of it that the line wants."""
        if self.part is None:
            return packet
        number, parts = self.part
        size = -(-(len(packet) - _header_length(packet)) // parts // 8) * 8
        pieces = cut(packet, [size * n for n in range(1, parts)], _INNER_IDENT)
        return pieces[min(number, len(pieces)) - 1]  # a small datagram has fewer parts


def cuts(words: RequestWords) -> Cuts:
    """The `Cuts` of a line's words. InputError: a value out of range, or words that exclude each other."""
    text = words.values.get("fragments")
    at = None if text is None else () if text == "atomic" else tuple(words.list_of_numbers("fragments", 16))
    if at and (any(place % 8 for place in at) or any(a >= b for a, b in zip((0, *at), at, strict=False))):
        raise words.error("fragments takes rising multiples of 8")
    if at is None and any(word in words for word in ("order", "only", "overlap")):
        raise words.error("order, only and overlap go with fragments")
    if "order" in words and "only" in words:
        raise words.error("order and only exclude each other: give one of them")
    order = next((tuple(words.list_of_numbers(key, 8)) for key in ("order", "only") if key in words), None)
    wait = words.seconds("wait") if "wait" in words else 0.0
    return Cuts(at, order, "overlap" in words, bool(words.number("df", 0, 1)), _part(words), wait)


def _part(words: RequestWords) -> tuple[int, int] | None:
    if "inner" not in words:
        return None
    number, _, parts = words.text("inner").partition("/")
    part = words.parse_number("inner", number, 4), words.parse_number("inner", parts, 4)
    if not 0 < part[0] <= part[1]:
        raise words.error("inner takes N/M, N from 1 to M")
    return part


def _header_length(packet: bytes) -> int:
    return ipv4.length(packet) if packet[0] >> 4 == 4 else ipv6.HEADER_LENGTH


def cut(packet: bytes, at: Collection[int], ident: int, *, early: int = 0, dont: bool = False) -> list[bytes]:
    """An IP packet in fragments, cut at these places of its payload. Places after its end are left out."""
    head = packet[: _header_length(packet)]
    payload = packet[len(head) :]
    starts = [0, *(place for place in at if place < len(payload))]
    pieces = []
    for start, end in zip(starts, [*starts[1:], len(payload)], strict=True):
        begin, more = max(start - early, 0), end < len(payload)
        if packet[0] >> 4 == 4:
            flags = begin // 8 | ipv4.MF * more | ipv4.DF * dont
            header = head[: ipv4.IDENT] + ident.to_bytes(2) + flags.to_bytes(2) + head[ipv4.TTL :]
            pieces.append(ipv4.with_payload(header, head[ipv4.PROTOCOL], payload[begin:end]))
        else:
            extension = ipv6_fragment.emit(head[ipv6.NEXT_HEADER], begin, more=more, ident=ident)
            body = extension + payload[begin:end]
            pieces.append(ipv6.with_payload(head, ipv6.NEXT_HEADER, PROTO_FRAGMENT, body))
    return pieces


class Reassembly:
    """The fragments that wait at a host, of outer and inner datagrams, and the `counts` of /proc/net/snmp.

    `ports()` gives the ports of ESP in UDP when a fragment comes. `patience(version)` says how many seconds fragments
    of an IP version wait.

    What this does not do: save what waits with the namespace.
    """

    def __init__(self, ports: Callable[[], Collection[int]], patience: Callable[[int], int]) -> None:
        self._ports, self._patience = ports, patience
        self._joiner = Joiner(self._layer)
        self.counts: Counter[str] = Counter()
        self._sent = 0

    def take(self, packet: bytes, now: float) -> bytes | None:
        """This packet if it is not a fragment, else the datagram that it completes, else None."""
        version = packet[0] >> 4
        if fragments.parse(packet) is None:
            if version == 6 and packet[ipv6.NEXT_HEADER] == PROTO_FRAGMENT:
                self.counts.update(self._names(6, "Reqds", "OKs"))
            return packet
        self.forget(now)
        self._joiner.wait(version, self._patience(version))
        self._sent += 1
        taken = self._joiner.take(packet, self._sent, round(now * _SECOND))
        self.counts.update(self._names(version, "Reqds"))
        gone = [settled for settled in self._joiner.settled() if settled.datagram is None]
        if taken is not None and taken.packets:
            self.counts.update(self._names(version, "OKs"))
            return taken.packets[0]
        if gone:
            self.counts.update(self._names(version, "Fails"))
        return None

    def forget(self, now: float) -> None:
        """Give up what has waited long enough."""
        for version, count in self._joiner.forget(round(now * _SECOND)).items():
            for _ in range(count):
                self.counts.update(self._names(version, "Timeout", "Fails"))
        self._joiner.settled()

    def _layer(self, packet: bytes) -> Layer | None:
        return judge(self._ports())(packet)

    @staticmethod
    def _names(version: int, *names: str) -> list[str]:
        return [f"{'Ip' if version == 4 else 'Ip6'}Reasm{name}" for name in names]
