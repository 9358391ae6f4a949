"""Any SAs and any packets for the inbound paths: strategies, and what the comparison of two paths looks at."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.core.errors import XfrmError
from espsim.sad.association import (
    ANY_ENCAP,
    Direction,
    Encap,
    Limits,
    Mark,
    Mode,
    ReplayState,
    SecurityAssociation,
    Selector,
)
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.spi import SPI_RULES
from tests.equivalence.any_traffic import LATE_LIMITS
from tests.support import Peer, extension, fragment_header, ipv4, ipv6, suites, udp

SUITES = suites()
NAMES = [
    "rfc4106(gcm(aes))-128-128", "rfc4106(gcm(aes))-256-64", "rfc4543(gcm(aes))-128-128", "rfc4309(ccm(aes))-128-96",
    "rfc7539esp(chacha20,poly1305)-256-128", "cbc(aes)-hmac(sha1)-96", "cbc(aes)-digest_null-0",
    "ecb(cipher_null)-hmac(sha256)-128", "cbc(des3_ede)-hmac(md5)-96",
    "rfc3686(ctr(aes))-xcbc(aes)-96", "rfc3686(ctr(aes))-digest_null-0", "cbc(camellia)-cmac(aes)-96",
    "iiv(rfc4106(gcm(aes)))-128-128", "iiv(rfc7539esp(chacha20,poly1305))-256-128",
]  # fmt: skip
DATA = udp(b"what is inside, whatever it may be")
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
M32, M64, WRAP = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 32


def state_of(sad: Sad, entries: list[SadEntry]) -> list[Any]:
    """Everything that packets may move, SA by SA."""
    return [
        (
            entry in sad, entry.state, entry.packets, entry.bytes, entry.used, entry.dying,
            (entry.stats.replay, entry.stats.replay_window, entry.stats.integrity_failed),
            (type(entry.window), entry.window.top, entry.window.bitmap, entry.window.resume),
        )
        for entry in entries
    ]  # fmt: skip


def shown(received: Any) -> Any:
    if received is None:
        return None
    sa = None if received.entry is None else received.entry.sa_index
    used = None if received.used is None else received.used.sa_index
    facts = received.verdict, received.counter, received.spi, received.seq, received.seq64, sa, used, received.inner
    return *facts, received.device, received.surfacing, received.own, shown(received.around)


# -- any SAs ----------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 7, 32, 33, 64, 100, 128])
STARTS = st.sampled_from([0, 1, 40, 1000, WRAP // 2, WRAP - 40, WRAP - 1, WRAP, WRAP + 20, 5 * WRAP - 3,
                          M64 - 40, M64])  # fmt: skip


NEAR_LIMITS = [
    Limits(hard_packets=3, soft_packets=2), Limits(hard_bytes=99), Limits(hard_add=4), Limits(hard_use=2),
]  # fmt: skip


PAIRS = [
    Selector(parse_address(src), bits, parse_address(dst), bits)
    for src, dst, bits in (("10.1.0.1", "10.2.0.1", 32), ("2001:db8:1::1", "2001:db8:2::1", 128))
]
"""What a BEET SA has, and what INNERS are between."""


@st.composite
def sas(draw: st.DrawFn, *, limits: st.SearchStrategy[Limits] | None = None) -> tuple[SecurityAssociation, bool]:
    """An SA, and whether its window keeps the stated values. `limits` None: mostly no limits, or near ones."""
    esn = draw(st.booleans())
    window = draw(SIZES)
    mode = draw(st.sampled_from([Mode.TUNNEL, Mode.TUNNEL, Mode.TUNNEL, Mode.TRANSPORT, Mode.ANY, Mode.BEET]))
    if esn and window == 0 and mode is not Mode.ANY:
        window = 33
    start = draw(STARTS)
    start = start if esn else start & M32
    flags = ({"esn"} if esn else set()) | draw(
        st.sampled_from([set(), set(), {"decap-dscp"}, {"noecn"}, {"af-unspec"}])
    )
    src, dst = ENDS[draw(st.sampled_from([4, 4, 6]))]
    sa = SecurityAssociation(
        parse_address(src), parse_address(dst), draw(st.sampled_from([1, 1, 7, 0x1001, 0xFFFFFFFF])), mode=mode,
        algorithms=SUITES[draw(st.sampled_from(NAMES))] if draw(st.integers(0, 19)) < 19 else (),
        dir=draw(st.sampled_from([None] * 6 + [Direction.IN, Direction.OUT])),
        mark=draw(st.sampled_from([Mark()] * 9 + [Mark(5, 7), Mark(4, 4), Mark(9, 3)])),
        window=window, flags=frozenset(flags),
        encap=draw(st.sampled_from([None] * 4 + [Encap("espinudp", 4500, 4500, bytes(16)),
                                    Encap("espinudp", 1000, 2000, bytes(16)), Encap("espintcp", 9, 9, bytes(16)),
                                    Encap(ANY_ENCAP, 4500, 2000, bytes(16))])),
        limits=draw(st.sampled_from([Limits()] * 9 + NEAR_LIMITS)) if limits is None else draw(limits),
        selector=draw(st.sampled_from([Selector()] * 5 + [Selector(proto=17, dport=2000, dport_mask=0xFFFF),
                                                          Selector(src=parse_address("10.1.0.0"), src_prefix=16),
                                                          *PAIRS])),
        replay=ReplayState(start & M32, start >> 32, bitmap=draw(st.integers(0, 2**100)) & (1 << window) - 1),
    )  # fmt: skip
    return sa, draw(st.booleans())


def _plainer(chosen: tuple[SecurityAssociation, bool]) -> tuple[SecurityAssociation, bool]:
    sa, keep = chosen
    encap = None if sa.encap is not None and sa.encap.kind == "espintcp" else sa.encap
    return replace(sa, dir=None, mark=Mark(), encap=encap, replay=ReplayState(sa.replay.seq % 1000)), keep


LASTING = sas(limits=LATE_LIMITS).filter(lambda chosen: chosen[0].keys is not None).map(_plainer)
"""SAs that take packets until a limit is met, and whether the window keeps its values."""


def make(chosen: list[tuple[SecurityAssociation, bool]], policy: str = "rfc4301", port_key: bool = False) -> Sad:
    """The same SAD every time; a second SA of a triple is left out."""
    sad = Sad(SPI_RULES[policy](), random.Random(1), port_key=port_key)
    for sa, keep in chosen:
        if (
            sad.lookup(sa.dst, sa.spi, sa.proto, sa.mark.value & sa.mark.mask, sa.encap.dport if sa.encap else None)
            is None
        ):
            with contextlib.suppress(XfrmError):
                sad.newsa(sa, keep_window=keep)
    return sad


# -- any packets ------------------------------------------------------------------------------------------------------

INNERS = (
    ipv4(DATA), ipv4(DATA, tos=2), ipv4(DATA, tos=0xB9, options=b"\x01" * 4), ipv4(DATA) + bytes(9), ipv4(DATA)[:19],
    ipv4(DATA, total=3), ipv4(DATA, total=900), b"\x4f" + ipv4(DATA, tos=1)[1:], ipv6(DATA),
    ipv6(DATA, traffic_class=1),
    ipv6(extension(17) + DATA, next_header=0) + bytes(5), ipv6(DATA, length=9), ipv6(DATA)[:39], b"\x45", DATA,
    b"\x4f" + ipv4(b"", tos=1)[1:], b"\x44" + ipv4(DATA, tos=2)[1:], b"\x46" + ipv4(DATA, tos=1)[1:],
    b"\x11\x01\x04\x00" + bytes(12) + DATA, b"\x11\x00\x00\x00" + bytes(4) + DATA, b"\x11\x03\x04\x00" + bytes(8),
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One packet: `step` from the last number of its SA, `harm` what is done to it."""

    sa: int
    step: int
    inner: int
    following: int | None
    tos: int
    harm: str
    at: int
    wait: float


STEPS = st.one_of(
    st.sampled_from([1, 1, 1, 1, 1, 1, 0, -1, 2, -5, 31, -33, 64, -64, 130]),
    st.sampled_from([1, 1, 1, 2, 3, -1]),
    st.integers(-200, 200),
    st.sampled_from([WRAP // 2, WRAP, -WRAP, WRAP - 10, WRAP // 2 + 7, 50 - WRAP]),
)
HARMS = [""] * 12 + [
    "flip", "flip", "pad", "dummy", "short", "cut", "fragment", "garbage", "spi", "bare", "udp", "options", "bytes",
]  # fmt: skip
SENT = st.builds(
    Sent, st.integers(0, 5), STEPS, st.integers(0, len(INNERS) - 1), st.sampled_from([None] * 6 + [4, 41, 17, 59, 94]),
    st.sampled_from([0, 0, 3, 0xBB]), st.sampled_from(HARMS), st.integers(0, 200), st.sampled_from([0.0, 0.25, 1.5]),
)  # fmt: skip


def harmed(packet: bytes, sent: Sent) -> bytes:
    """The changes to the bytes on their way."""
    at = sent.at % max(len(packet), 1)
    if sent.harm == "flip":
        return packet[:-1] + bytes((packet[-1] ^ 1,))
    if sent.harm == "bytes":
        return packet[:at] + bytes((packet[at] ^ sent.at | 1,)) + packet[at + 1 :]
    if sent.harm == "cut":
        return packet[: len(packet) - at % 60]
    if sent.harm == "garbage":
        return random.Random(sent.at).randbytes(sent.at)
    return packet


def outer_fields(sent: Sent, v4: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"tos": sent.tos} if v4 else {"traffic_class": sent.tos}
    if sent.harm == "fragment" and v4:
        fields["flags"] = (0x2000, 0x0001, 0x4000)[sent.at % 3]
    if sent.harm == "options" and v4:
        fields["options"] = b"\x01" * (4 * (sent.at % 3 + 1))
    return fields


def sealed(peer: Peer, sent: Sent, seq64: int) -> bytes:
    inner = INNERS[sent.inner]
    following = sent.following or (4 if inner[0] >> 4 == 4 else 41)
    if sent.harm == "pad":
        plaintext = bytes(14) + bytes((sent.at, following))
    else:
        pad = -(len(inner) + 2) % peer.sa.aligned
        plaintext = inner + bytes(pad) + bytes((pad, 59 if sent.harm == "dummy" else following))
    esp = peer.esp(seq64, plaintext)
    if sent.harm == "short":
        esp = esp[: len(esp) - sent.at % len(esp)]
    if sent.harm == "spi":
        esp = bytes(4) + esp[4:]
    v4 = len(peer.sa.dst) == 4
    fields = outer_fields(sent, v4)
    if sent.harm in ("bare", "udp"):  # the encapsulation is another than the SA's
        ends: dict[str, Any] = {"src": ENDS[4 if v4 else 6][0], "dst": ENDS[4 if v4 else 6][1]}
        proto = 50 if sent.harm == "bare" else 17
        esp = esp if sent.harm == "bare" else udp(esp, 4500, 4500)
        return ipv4(esp, proto=proto, **ends, **fields) if v4 else ipv6(esp, next_header=proto, **ends, **fields)
    if not v4 and sent.harm in ("options", "fragment"):
        encap = peer.sa.encap
        kind, body = (50, esp) if encap is None else (17, udp(esp, encap.sport, encap.dport))
        first = fragment_header(kind, sent.at % 3, more=True) if sent.harm == "fragment" else extension(kind)
        return ipv6(first + body, src=ENDS[6][0], dst=ENDS[6][1], next_header=44 if sent.harm == "fragment" else 0)
    return peer.around(esp, **fields)


def packets_of(
    sad: Sad, arrivals: list[Sent], start: Callable[[SadEntry], int] = lambda e: e.window.resume or e.window.top
) -> tuple[list[bytes], list[float]]:  # fmt: skip
    """The bytes, each SA's numbers from `start` on: where its own window is."""
    entries = list(sad)
    packets, times, now = [], [], 0.0
    peers = {e.sa_index: Peer(e.sa) for e in entries if e.sa.keys is not None}
    numbers = {e.sa_index: start(e) for e in entries}
    for sent in arrivals:
        entry = entries[sent.sa % len(entries)]
        now += sent.wait
        times.append(now)
        numbers[entry.sa_index] = seq64 = max(numbers[entry.sa_index] + sent.step, 0)
        if entry.sa_index in peers:
            packet = sealed(peers[entry.sa_index], sent, seq64)
        else:
            packet = ipv4(entry.sa.spi.to_bytes(4) + (seq64 & M32).to_bytes(4) + DATA, dst=ENDS[4][1], proto=50)
        packets.append(harmed(packet, sent))
    return packets, times


RUNS = st.lists(SENT, min_size=8, max_size=50)

GOOD = st.builds(
    Sent, st.integers(0, 2), st.sampled_from([1, 1, 1, 2, 0]), st.integers(0, 3), st.none(), st.just(0),
    st.sampled_from([""] * 7 + ["flip"]), st.integers(0, 200), st.sampled_from([0.0, 0.25, 0.5]),
)  # fmt: skip
LONG_RUNS = st.lists(GOOD, min_size=50, max_size=60)
"""Packets that mostly pass, of up to three SAs: so that limits which are not near are met."""
