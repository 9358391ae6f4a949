"""Outer fragments: what Linux makes of them (net/ipv4/ip_fragment.c), by the kernel's answers and by hand."""

from __future__ import annotations

import json
import random
import re
import struct
import tracemalloc

import pytest

from espsim.core.layers import Layer
from espsim.core.numbers import LINK_PART
from espsim.io.fragments import Joiner, Settled
from espsim.reference.layers import judge
from tests.fragments import fragment, fragments
from tests.support import VECTORS, extension, ipv4, ipv6, udp

ESP = b"\0\0\x10\0" + bytes(range(1, 201))
V4 = ipv4(ESP, proto=50)
V6 = ipv6(ESP, next_header=50)
KINDS = {"v4": V4, "v6": V6, "v4-udp": ipv4(udp(ESP, 4500, 4500)), "v6-udp": ipv6(udp(ESP, 4500, 4500))}
SECOND = 10**9


class Wire:
    """A joiner that is given frames, one after the other."""

    def __init__(self) -> None:
        self.joiner = Joiner(judge({4500}))
        self.frames = 0

    def send(self, packets, at=0.0):
        """What came of each: a datagram, None where nothing did, "ordinary" where it was not taken."""
        found: list[bytes | str | None] = []
        for packet in packets:
            self.frames += 1
            taken = self.joiner.take(packet, self.frames, round(at * SECOND))
            if taken is None:
                found.append("ordinary")
            else:
                assert taken.link == (0 if taken.packets else LINK_PART)
                found.append(taken.packets[0] if taken.packets else None)
        return found

    def counts(self):
        facts = self.joiner.fragments
        return facts.seen, facts.datagrams, facts.incomplete

    def held(self):
        return [store.memory for store in self.joiner._stores.values()]


@pytest.mark.parametrize("whole", KINDS.values(), ids=KINDS)
def test_any_order_gives_the_datagram(whole):
    for seed in range(30):
        wire, parts = Wire(), fragments(whole, [8, 16, 64, 136])
        random.Random(seed).shuffle(parts)
        assert wire.send(parts) == [None] * 4 + [whole]
        assert wire.counts() == (5, 1, 0)
        assert wire.joiner.settled() == [Settled((1, 2, 3, 4), 5, None)]
        assert wire.joiner.settled() == []
        assert wire.held() == [0, 0]


ROWS = [json.loads(line) for line in (VECTORS / "fragments/frag_esp4.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["op"] == "RX" and row["step"] < 17], ids=lambda r: r["step"]
)
def test_the_kernel_s_answers(row):
    """Whether the datagram reached xfrm, where what moved in /proc/net/snmp says so. Keys play no part."""
    words = dict(re.findall(r"(\w+)=(\S+)", row["cmd"]))
    cuts = [int(cut) for cut in words["fragments"].split(",")]
    whole = ipv4(bytes(140), src=words["src"], dst=words["dst"], proto=50)
    parts = fragments(whole, cuts, dont="df" in words)
    if "overlap" in row["cmd"]:
        parts[1] = fragment(whole, cuts[0] - 8, None)
    for name in ("order", "only"):
        if name in words:
            parts = [parts[int(n)] for n in words[name].split(",")]
    moved = row["results"]["7.3.4"]["reasm"]
    wire = Wire()
    found = wire.send(parts)
    assert len(parts) == moved["IpReasmReqds"]
    assert sum(datagram is not None for datagram in found) == moved.get("IpReasmOKs", 0)
    assert (wire.held()[0] == 0) == (moved.get("IpReasmFails", 0) == 1 or (found[-1] is not None))
    wire.joiner.finish()
    assert wire.counts() == (len(parts), moved.get("IpReasmOKs", 0), int(wire.joiner.fragments.incomplete))


def test_a_duplicate_is_dropped_and_a_late_one_begins_anew():
    """The kernel's row 7: the last one twice. A duplicate's bytes may differ: its place is what is compared."""
    one, two = fragments(V4, [64])
    other = one[:-1] + b"?"
    wire = Wire()
    assert wire.send([one, other, two, two]) == [None, None, V4, None]
    wire.joiner.finish()
    assert wire.joiner.settled() == [Settled((1, 2), 3, None), Settled((4,), None, None)]
    assert wire.counts() == (4, 1, 1)


@pytest.mark.parametrize("bad", [
    fragment(V4, 56, None), fragment(V4, 0, 72), fragment(V4 + bytes(8), 128, 208), fragment(V4, 8, 8),
    fragment(V4[:-8], 64, None),
], ids=["early", "longer", "behind the end", "empty", "two ends"])  # fmt: skip
def test_what_contradicts_drops_the_datagram(bad):
    """The rest begins another one, which is never completed."""
    one, two, three = fragments(V4, [64, 128])
    wire = Wire()
    wire.send([one, three])
    assert wire.send([bad]) == [None]
    assert wire.held() == [0, 0]
    assert wire.send([two]) == [None]
    wire.joiner.finish()
    assert wire.counts() == (4, 0, 2)


def test_inside_what_came_in_order_is_a_duplicate_and_across_two_runs_is_not():
    parts = fragments(V4, [8, 16, 24, 32])
    inside = fragment(V4, 8, 24)
    wire = Wire()
    assert wire.send([*parts[:4], inside, parts[4]])[-1] == V4
    wire = Wire()
    assert wire.send([parts[1], parts[0], inside])[-1] is None
    assert wire.held()[0] == 0


@pytest.mark.parametrize(("whole", "patience"), [(V4, 30), (V6, 60)])
def test_patience_by_the_capture_s_clock(whole, patience):
    one, two = fragments(whole, [64])
    wire = Wire()
    assert wire.send([one], 100) == [None]
    assert wire.send([two], 100 + patience - 0.001) == [whole]
    assert wire.send([one], 200) == [None]
    assert wire.send([two], 200 + patience) == [None]
    assert wire.counts() == (3, 1, 1)
    assert wire.send([one], 150) == [whole]  # a clock that goes back ends nothing


def test_a_datagram_whose_clock_is_ahead_does_not_hold_up_the_others():
    """The oldest one has not timed out, the next one has."""
    one, two = fragments(V4, [64])
    wire = Wire()
    wire.send([fragment(V4, 0, 64, ident=1)], 1000)
    wire.send([one], 10)
    assert wire.send([two], 45) == [None]


def test_of_another_datagram():
    one, two = fragments(V4, [64])
    for other in (
        fragment(V4, 64, None, ident=8), fragments(ipv4(ESP, proto=50, src="10.1.0.2"), [64])[1],
        fragments(ipv4(ESP, proto=50, dst="10.1.0.2"), [64])[1], fragments(ipv4(ESP, proto=17), [64])[1],
    ):  # fmt: skip
        wire = Wire()
        assert wire.send([one, other, two]) == [None, None, V4]


def test_ipv6_has_its_own_rules():
    """A middle fragment that is no multiple of eight is refused alone; IPv4 cuts it. Nothing ends beyond 65,535."""
    one, two = fragments(V6, [64])
    for refused in (fragment(V6, 0, 63), fragment(V6[:40] + bytes(65_600), 65_528, None)):
        assert Wire().send([refused, one, two]) == [None, None, V6]
    assert Wire().send([fragment(V4, 0, 70), fragment(V4, 64, None)]) == [None, V4]


def test_ipv6_keeps_headers_before_the_fragment_header_and_after_it():
    before, after = ipv6(extension(44), next_header=0), ipv6(extension(50, 16) + ESP, next_header=60)
    parts = [before[:-8] + extension(44) + part[40:] for part in fragments(V6, [64])]
    parts = [part[:4] + struct.pack("!H", len(part) - 40) + part[6:] for part in parts]
    assert Wire().send(parts) == [None, ipv6(extension(50) + ESP, next_header=0)]
    assert Wire().send(fragments(after, [64])) == [None, after]
    short = fragments(ipv6(extension(50, 64) + ESP, next_header=60), [16])
    assert Wire().send(short) == [None, None]  # RFC 8200 4.5: the first fragment must reach the upper layer


def test_too_long():
    """Each fragment may be right, and the datagram longer than 65,535 bytes."""
    most = ipv4(bytes(65_515), proto=50)
    assert Wire().send(fragments(most, [40_000])) == [None, most]
    wire = Wire()
    assert wire.send([fragment(most, 0, 65_512), fragment(most[:20] + bytes(65_540), 65_512, None)]) == [None, None]
    assert wire.counts() == (2, 0, 1)
    most = ipv6(bytes(65_535), next_header=50)
    assert Wire().send(fragments(most, [40_000])) == [None, most]
    with_more = [part[:6] + b"\0" + part[7:40] + extension(44) + part[40:] for part in fragments(most, [40_000])]
    long = [part[:4] + struct.pack("!H", len(part) - 40) + part[6:] for part in with_more]
    assert Wire().send(long) == [None, None]


@pytest.mark.parametrize(("marks", "want"), [
    ((0, 0), 0), ((1, 1), 1), ((2, 2), 2), ((3, 3), 3), ((2, 3), 3), ((1, 3), 3), ((1, 2), 1), ((2, 1), 2),
    ((0, 3), None), ((2, 0), None), ((0, 1), None),
])  # fmt: skip
def test_ecn(marks, want):
    """RFC 3168 5.3 and Linux's table; ECT(0) and ECT(1) together leave the first fragment's."""
    for make in (lambda tos: ipv4(ESP, proto=50, tos=tos), lambda tos: ipv6(ESP, next_header=50, traffic_class=tos)):
        parts = [fragments(make(0x28 | mark), [64])[n] for n, mark in enumerate(marks)]
        assert Wire().send(parts) == [None, None if want is None else make(0x28 | want)]


def test_dont_fragment_is_kept_where_the_largest_fragment_had_it():
    for sizes, kept in ((136, True), (8, False)):
        parts = [fragment(V4, 0, sizes, dont=True), fragment(V4, sizes, None)]
        assert Wire().send(parts) == [None, ipv4(ESP, proto=50, flags=0x4000 if kept else 0)]


def test_a_wrong_udp_checksum_drops_the_datagram():
    for make, pseudo in ((ipv4, struct.pack("!4s4sHH", *(bytes((10, n, 0, 1)) for n in (1, 2)), 17, 212)),):
        datagram = udp(ESP, 4500, 4500)
        total = sum(struct.unpack(f"!{len(pseudo + datagram) // 2}H", pseudo + datagram))
        right = ~(total % 0xFFFF) & 0xFFFF
        for value, good in ((right, True), (right ^ 1, False), (0, True)):
            whole = make(datagram[:6] + value.to_bytes(2) + datagram[8:])
            wire = Wire()
            assert wire.send(fragments(whole, [8])) == [None, whole if good else None]
            assert wire.counts() == (2, int(good), int(not good))


def test_what_is_not_esp_is_ignored_by_its_kind():
    """Of a datagram that is never completed as far as it can be said."""
    ike, dns = ipv4(udp(bytes(300), 4500, 4500)), ipv4(udp(bytes(300), 9, 53), ident=8)
    wire = Wire()
    assert wire.send(fragments(ike, [8, 64])) == [None, None, ike]
    assert wire.send(fragments(dns, [64], ident=8)[1:]) == [None]
    assert wire.send(fragments(KINDS["v4-udp"], [64], ident=9)[:1]) == [None]
    assert wire.send([ipv4(bytes(80), proto=1, flags=0x2000), V4, ipv6(b"", next_header=59)]) == ["ordinary"] * 3
    wire.joiner.finish()
    assert wire.joiner.fragments.ignored == {Layer.IKE: 2, Layer.UDP: 1}
    assert wire.joiner.settled()[0] == Settled((1, 2), 3, Layer.IKE)
    assert wire.counts() == (1, 0, 1)


def test_the_first_fragment_may_be_the_udp_header_alone_and_the_rest_missing():
    wire = Wire()
    wire.send(fragments(KINDS["v4-udp"], [8, 64])[:2])
    wire.send(fragments(KINDS["v6-udp"], [8, 64])[:2])
    wire.joiner.finish()
    assert wire.counts() == (4, 0, 2)


def test_a_fragment_that_was_not_captured_whole_completes_nothing():
    for whole in (V4, V6):
        one, two = fragments(whole, [64])
        wire = Wire()
        assert wire.send([one, two[:-1], one]) == [None] * 3
        wire.joiner.finish()
        assert wire.counts() == (3, 0, 1)


def test_a_datagram_of_65535_bytes_in_pieces_of_eight():
    whole = ipv4(random.Random(1).randbytes(65_515), proto=50)
    parts = fragments(whole, range(8, 65_515, 8))
    for order in (parts, parts[::-1]):
        assert Wire().send(order)[-1] == whole


def test_a_flood_is_bounded(monkeypatch):
    """First fragments of ever new senders, duplicates of one, tiny pieces, many datagrams that never end."""
    most = 1 << 17
    monkeypatch.setattr("espsim.io.fragments.MOST_MEMORY", most)
    one, big, six = fragment(V4, 0, 64), V4[:20] + bytes(1000), V6[:40] + bytes(1400)
    floods = [
        [struct.pack("!12sI4s", one[:12], n, one[16:20]) + one[20:] for n in range(400)],
        [one] * 8000,
        [fragment(big, n % 120 * 8, n % 120 * 8 + 8, ident=n // 120) for n in range(2000)],
        [fragment(six, 0, 1400, ident=n) for n in range(200)],
    ]
    for flood in floods:
        wire = Wire()
        tracemalloc.start()
        for packet in flood:
            assert wire.send([packet]) == [None]
            wire.joiner.settled()
            assert max(wire.held()) <= most
        assert tracemalloc.get_traced_memory()[1] < 3 * most
        tracemalloc.stop()
        assert wire.joiner.fragments.incomplete > 0
        late = ipv4(ESP, proto=50, src="198.51.100.1")
        assert wire.send(fragments(late, [64])) == [None, late]
        wire.joiner.finish()
        assert wire.held() == [0, 0]
