"""ESP in ESP between few SAs, whose packets also come alone; any layer may be damaged."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.sad.association import Direction, Encap, Limits, Mark, Mode, ReplayState, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from tests.equivalence.any_traffic import LATE_LIMITS
from tests.equivalence.inbound_traffic import DATA, M32, NEAR_LIMITS, PAIRS, SUITES, WRAP
from tests.support import Peer, fragment_header, ipv4, ipv6

Chosen = list[tuple[SecurityAssociation, bool]]
NAMES = ["rfc4106(gcm(aes))-128-128", "cbc(aes)-hmac(sha1)-96", "ecb(cipher_null)-hmac(sha256)-128"]
ENDS = [("192.0.2.1", "192.0.2.2")] * 3 + [("2001:db8::1", "2001:db8::2"), ("10.1.0.1", "10.2.0.1")]
NATT = Encap("espinudp", 4500, 4500, bytes(16))


@st.composite
def nesting(draw: st.DrawFn, *, limited: bool = True) -> tuple[SecurityAssociation, bool]:
    """An SA that lets most of its packets pass, and whether its window goes on."""
    esn = draw(st.sampled_from([False, False, True]))
    start = draw(st.sampled_from([0, 0, 40, WRAP - 3, WRAP // 2])) if esn else draw(st.sampled_from([0, 0, 40]))
    src, dst = map(parse_address, draw(st.sampled_from(ENDS)))
    limits = st.sampled_from([Limits()] * 6 + NEAR_LIMITS[:2])
    sa = SecurityAssociation(
        src, dst, draw(st.sampled_from([1, 2, 3, 4])),
        mode=draw(st.sampled_from([Mode.TUNNEL, Mode.TUNNEL, Mode.TRANSPORT, Mode.TRANSPORT, Mode.ANY, Mode.BEET])),
        algorithms=SUITES[draw(st.sampled_from(NAMES))], window=draw(st.sampled_from([32, 33, 64])),
        dir=draw(st.sampled_from([None] * 5 + [Direction.IN, Direction.OUT])),
        flags=frozenset({"esn"} if esn else ()), encap=draw(st.sampled_from([None] * 4 + [NATT])),
        mark=draw(st.sampled_from([Mark()] * 7 + [Mark(5, 7)])),
        output_mark=draw(st.sampled_from([None] * 4 + [Mark(5, 15)])),
        selector=draw(st.sampled_from([Selector()] * 5 + [Selector(proto=17), *PAIRS])),
        limits=draw(st.one_of(limits, LATE_LIMITS)) if limited and draw(st.integers(0, 2)) == 2 else Limits(),
        replay=ReplayState(start & M32, start >> 32),
    )  # fmt: skip
    return sa, draw(st.booleans())


@dataclass(frozen=True)
class Nest:
    """A packet: its SAs, the innermost first; the steps of their numbers; which layer is damaged, and how."""

    sas: tuple[int, ...]
    step: int
    harm: str
    layer: int
    wait: float
    outgoing: bool = False


NESTS = st.builds(
    Nest, st.one_of(st.tuples(st.integers(0, 4)), st.lists(st.integers(0, 4), min_size=2, max_size=7).map(tuple)),
    st.sampled_from([1, 1, 1, 1, 1, 0, 2, -1, 3]), st.sampled_from([""] * 7 + ["flip", "fragment", "short", "header"]),
    st.integers(0, 6), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([False, False, False, True]),
)  # fmt: skip
RUNS = st.lists(NESTS, min_size=5, max_size=30)


def packets_of(sad: Sad, nests: list[Nest]) -> tuple[list[bytes], list[float], list[bool]]:
    """The bytes, the times, and what the capture says of each."""
    entries, now = list(sad), 0.0
    numbers = {e.sa_index: e.window.resume or e.window.top for e in entries}
    packets, times = [], []
    for nest in nests:
        packet = ipv4(DATA)
        for layer, which in enumerate(nest.sas):
            entry = entries[which % len(entries)]
            numbers[entry.sa_index] = seq64 = max(numbers[entry.sa_index] + nest.step, 0)
            packet = _around(entry, packet, seq64)
            if layer == nest.layer % len(nest.sas):
                packet = _harmed(packet, nest.harm)
        now += nest.wait
        packets.append(packet)
        times.append(now)
    return packets, times, [nest.outgoing for nest in nests]


def _around(entry: SadEntry, packet: bytes, seq64: int) -> bytes:
    """A packet under one more SA."""
    peer, v4 = Peer(entry.sa), packet[0] >> 4 == 4
    if entry.sa.mode in (Mode.TUNNEL, Mode.ANY) and seq64 % 8:  # now and then the payload alone, in any mode
        return peer.packet(seq64, packet)
    payload, following = (packet[(packet[0] & 15) * 4 :], packet[9]) if v4 else (packet[40:], packet[6])
    return peer.packet(seq64, payload, following)


def _harmed(packet: bytes, harm: str) -> bytes:
    if harm == "flip":
        return packet[:-1] + bytes((packet[-1] ^ 1,))
    if harm == "fragment" and packet[0] >> 4 == 4:
        return packet[:6] + b"\x20\0" + packet[8:]
    if harm == "fragment":
        return ipv6(fragment_header(packet[6]) + packet[40:], src="2001:db8::1", dst="2001:db8::2", next_header=44)
    if harm == "short":
        return packet[: len(packet) - 5]
    if harm == "header" and packet[0] >> 4 == 4:
        return ipv4(packet[20:27], src="192.0.2.1", dst="192.0.2.2", proto=50)
    return packet
