"""A valid packet of each kind, and every field of its headers with other values: for the tests of bad input.

KINDS                      ESP packets: families, modes, UDP, extension headers, suites
Kind.built(changes)        one, with fields changed outside and inside (what is inside is changed before sealing)
CLEAR                      clear packets to seal, with their fields
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from espsim.core.address import parse_address
from espsim.sad.association import Encap, Mode, SecurityAssociation, Selector
from espsim.sad.sad import Sad
from tests.support import Peer, extension, fragment_header, ipv4, ipv6, new_sad, suites, udp

MARK = b"for no one to see, for no one to see"
"""What is inside."""
_SUITES = suites()


class Place(NamedTuple):
    """A field: the byte where it begins, its bytes, and which of their bits are its own."""

    at: int
    length: int
    mask: int


class Change(NamedTuple):
    """A field's number (modulo how many there are) and its new value (under its mask)."""

    inside: bool
    field: int
    value: int


def _fields(at: int, *sizes: int | tuple[int, ...]) -> list[Place]:
    """Fields one after the other: bytes, or the bits into which some bytes are cut."""
    found = []
    for size in sizes:
        if isinstance(size, int):
            found.append(Place(at, size, (1 << 8 * size) - 1))
            at += size
            continue
        left = sum(size)
        for bits in size:
            left -= bits
            found.append(Place(at, sum(size) // 8, ((1 << bits) - 1) << left))
        at += sum(size) // 8
    return found


def _headers(packet: bytes, at: int = 0) -> list[Place]:
    """The fields of the IP headers at a place, of what extension headers there are, of UDP and of ESP."""
    if packet[at] >> 4 == 4:
        size = (packet[at] & 15) * 4
        found = _fields(at, (4, 4), 1, 2, 2, (1, 1, 1, 13), 1, 1, 2, 4, 4, *[1] * (size - 20))
        kind, at = packet[at + 9], at + size
    else:
        found = _fields(at, (4, 8, 20), 2, 1, 1, 16, 16)
        kind, at = packet[at + 6], at + 40
        while kind in (0, 43, 44, 60):
            size = 8 if kind == 44 else (packet[at + 1] + 1) * 8
            found += _fields(at, 1, 1, (13, 2, 1) if kind == 44 else 2, *[1] * (size - 4))
            kind, at = packet[at], at + size
    if kind == 17:
        found += _fields(at, 2, 2, 2, 2)
        at += 8
    if kind in (17, 50):
        found += _fields(at, 4, 4, *[1] * 8)
    return [place for place in found if place.at + place.length <= len(packet)]


def changed(data: bytes, places: Sequence[Place], changes: Sequence[Change]) -> bytes:
    """The bytes with some fields changed."""
    for change in changes:
        place = places[change.field % len(places)]
        old = int.from_bytes(data[place.at : place.at + place.length])
        shift = (place.mask & -place.mask).bit_length() - 1
        new = old & ~place.mask | change.value << shift & place.mask
        data = data[: place.at] + new.to_bytes(place.length) + data[place.at + place.length :]
    return data


@dataclass(frozen=True)
class Kind:
    """A kind of packet. `hides`: its suite encrypts, so that the inner packet must not show anywhere."""

    name: str
    sa: SecurityAssociation
    inner: bytes
    next_header: int
    options: bytes = b""
    extension: bytes = b""
    first: int = 0

    @property
    def hides(self) -> bool:
        assert self.sa.keys is not None
        return "null" not in self.sa.keys.suite.name and "4543" not in self.sa.keys.suite.name

    def sad(self) -> Sad:
        return new_sad(self.sa)

    def built(self, changes: Sequence[Change] = (), seq64: int = 5, cut: int = 0, short: int = 0) -> bytes:
        """The packet; `cut`: bytes that are missing at its end, `short`: at the end of what is inside."""
        inner = self.inner[: len(self.inner) - short]
        pad = -(len(inner) + 2) % self.sa.aligned
        plain = inner + bytes(range(1, pad + 1)) + bytes((pad, self.next_header))
        places = _fields(len(plain) - 2, 1, 1)
        if self.next_header in (4, 41):
            places += [place for place in _headers(self.inner) if place.at + place.length <= len(inner)]
        else:
            places += _fields(0, *[1] * min(len(inner), 16))
        plain = changed(plain, places, [change for change in changes if change.inside])
        peer = Peer(self.sa)
        packet = self._around(peer, peer.esp(seq64, plain))
        last = [Place(len(packet) - 1, 1, 0xFF), Place(len(packet) - 16, 1, 0xFF)]
        packet = changed(packet, _headers(packet) + last, [change for change in changes if not change.inside])
        return packet[: len(packet) - cut]

    def _around(self, peer: Peer, esp: bytes) -> bytes:
        outer: dict[str, Any] = {"options": self.options} if self.options else {}
        if self.extension:
            kind, esp = (17, udp(esp, 4500, 4500)) if self.sa.encap is not None else (50, esp)
            return ipv6(_following(self.extension, kind) + esp, next_header=self.first, src=V6[0], dst=V6[1])
        return peer.around(esp, **outer)


def _following(headers: bytes, kind: int) -> bytes:
    return bytes((kind,)) + headers[1:]


V4, V6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
_NATT = Encap("espinudp", 4500, 4500, bytes(16))
_INNER4, _INNER6 = ipv4(udp(MARK)), ipv6(udp(MARK))
_OPTIONS = ipv4(udp(MARK), options=b"\x01" * 8)
_EXTENDED = ipv6(extension(17) + udp(MARK), next_header=0)
_BEET = Selector(parse_address("10.1.0.1"), 32, parse_address("10.2.0.1"), 32)


def _sa(ends: tuple[str, str], suite: str, mode: Mode = Mode.TUNNEL, **options: Any) -> SecurityAssociation:
    src, dst = map(parse_address, ends)
    return SecurityAssociation(src, dst, 0x1001, mode=mode, algorithms=_SUITES[suite], window=64, **options)


GCM, CBC = "rfc4106(gcm(aes))-128-128", "cbc(aes)-hmac(sha256)-128"
ESN = frozenset({"esn"})
KINDS = [
    Kind("tunnel 4 in 4", _sa(V4, GCM), _INNER4, 4),
    Kind("tunnel 6 in 4, options", _sa(V4, CBC), _INNER6, 41, options=b"\x01" * 8),
    Kind("tunnel 4 in 6, ESN", _sa(V6, GCM, flags=ESN), _OPTIONS, 4),
    Kind("tunnel 6 in 6 after hop-by-hop", _sa(V6, "rfc7539esp(chacha20,poly1305)-256-128"), _EXTENDED, 41,
         extension=extension(50), first=0),
    Kind("tunnel after an atomic fragment header", _sa(V6, GCM), _INNER6, 41,
         extension=fragment_header(50, 0, more=False), first=44),
    Kind("tunnel in UDP", _sa(V4, GCM, encap=_NATT), _INNER4, 4),
    Kind("tunnel in UDP over 6, ESN", _sa(V6, "cbc(aes)-hmac(sha1)-96", encap=_NATT, flags=ESN), _INNER6, 41),
    Kind("transport 4", _sa(V4, "rfc4309(ccm(aes))-128-96", Mode.TRANSPORT), udp(MARK), 17),
    Kind("transport 6 after a routing header", _sa(V6, CBC, Mode.TRANSPORT), udp(MARK), 17,
         extension=extension(50), first=43),
    Kind("transport in UDP", _sa(V4, GCM, Mode.TRANSPORT, encap=_NATT), udp(MARK), 17),
    Kind("any mode", _sa(V4, GCM, Mode.ANY), _INNER4, 4),
    Kind("beet", _sa(V4, GCM, Mode.BEET, selector=_BEET), bytes([17, 0, 0, 1, 1, 1, 1, 1]) + udp(MARK), 94),
    Kind("authenticated alone", _sa(V4, "rfc4543(gcm(aes))-128-128"), _INNER4, 4),
    Kind("no encryption", _sa(V4, "ecb(cipher_null)-hmac(sha256)-128"), _INNER4, 4),
    Kind("no ICV", _sa(V4, "cbc(aes)-digest_null-0"), _INNER4, 4),
]  # fmt: skip
CLEAR = [
    (packet, _headers(packet))
    for packet in (
        _INNER4, _INNER6, _OPTIONS, _EXTENDED, ipv4(udp(bytes(900)), flags=0x4000), ipv6(udp(bytes(1500))),
    )
]  # fmt: skip
"""Clear packets and their fields."""
