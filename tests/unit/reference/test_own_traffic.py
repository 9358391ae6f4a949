"""What the capturing host sent itself: SENT, with no window, no lifetime, no counter; else DIRECTION."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from espsim.batch.run.stats import InboundStats
from espsim.core.address import parse_address
from espsim.core.verdict import Verdict
from espsim.offload.device import Device
from espsim.offload.model import load_model
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.association import Direction, Encap, Limits, Mode, Offload, ReplayState, Selector
from espsim.sad.longest import LongestLookup
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp

V4 = ipv4(udp(b"hello"))
WRAP = 1 << 32
OUT = gcm_sa(dir=Direction.OUT, window=0)
OFFLOADED = gcm_sa(offload=Offload("eth0", Direction.OUT))
NAT_T = Encap("espinudp", 4500, 4500, bytes(4))
SHAPES = [
    OUT, OFFLOADED, replace(OUT, encap=NAT_T), replace(OUT, mode=Mode.TRANSPORT),
    gcm_sa("2001:db8::1", "2001:db8::2", dir=Direction.OUT, window=0),
]  # fmt: skip
ELSEWHERE = "192.0.2.77"


def receive(sa, packet, *, now=0.0, own_traffic=True, outgoing=False, others=()):
    sad = new_sad(*others, sa)
    received = Inbound(sad, own_traffic=own_traffic).receive(packet, now, outgoing=outgoing)
    assert received is not None
    return received, list(sad)[-1]


def untouched(entry):
    assert entry.used is None
    assert not entry.dying
    return not entry.packets and not any(asdict(entry.stats).values()) and entry.window.top == 0


@pytest.mark.parametrize("sa", SHAPES)
def test_a_packet_with_the_addresses_of_an_outbound_sa(sa):
    inner = udp(b"hello") if sa.mode is Mode.TRANSPORT else V4
    received, entry = receive(sa, Peer(sa).packet(7, inner, 17 if sa.mode is Mode.TRANSPORT else 4))
    assert (received.verdict, received.counter, received.own) == (Verdict.SENT, None, True)
    assert (received.seq64, received.entry, received.used) == (7, entry, entry)
    assert received.inner is not None
    assert received.inner.endswith(udp(b"hello"))
    assert untouched(entry)


def test_the_same_number_any_number_of_times():
    inbound = Inbound(new_sad(OUT), own_traffic=True)
    for number in (9, 9, 1, 0, 5000, 2):
        received = inbound.receive(Peer(OUT).packet(number, V4))
        assert received is not None
        assert received.verdict is Verdict.SENT


def test_from_another_source():
    received, _ = receive(OUT, Peer(OUT).packet(1, V4, src=ELSEWHERE))
    assert (received.verdict, received.counter, received.own) == (Verdict.DIRECTION, "XfrmInStateDirError", False)
    received, entry = receive(OFFLOADED, Peer(OFFLOADED).packet(1, V4, src=ELSEWHERE))
    assert received.verdict is Verdict.DELIVERED  # to the kernel, which looks at `dir` alone, it is inbound
    assert entry.window.top == 1


def test_an_sa_without_a_direction_is_inbound():
    received, entry = receive(gcm_sa(), Peer(gcm_sa()).packet(1, V4))
    assert (received.verdict, received.own, entry.window.top) == (Verdict.DELIVERED, False, 1)


def test_it_has_to_be_asked_for():
    for outgoing in (False, True):
        received, _ = receive(OUT, Peer(OUT).packet(1, V4), own_traffic=False, outgoing=outgoing)
        assert (received.verdict, received.counter) == (Verdict.DIRECTION, "XfrmInStateDirError")
        received, _ = receive(gcm_sa(), Peer(gcm_sa()).packet(1, V4), own_traffic=False, outgoing=outgoing)
        assert received.verdict is Verdict.DELIVERED


class TestWhatFails:
    """Verdicts of its own, and no counter of Linux's: it never came to xfrm_input."""

    def fails(self, sa, packet, verdict):
        received, entry = receive(sa, packet)
        assert (received.verdict, received.counter, received.own) == (verdict, None, True)
        assert received.inner is None
        assert untouched(entry)

    def test_a_wrong_icv(self):
        packet = Peer(OUT).packet(1, V4)
        self.fails(OUT, packet[:-1] + bytes((packet[-1] ^ 1,)), Verdict.INTEGRITY)

    def test_no_room_for_the_icv(self):
        self.fails(OUT, Peer(OUT).around(Peer(OUT).esp(1, V4)[:20]), Verdict.TRUNCATED)

    def test_a_dummy(self):
        self.fails(OUT, Peer(OUT).packet(1, V4, plaintext=bytes(14) + b"\0\x3b"), Verdict.TRAILER)

    def test_what_is_not_of_the_mode(self):
        self.fails(OUT, Peer(OUT).packet(1, udp(b"no packet"), 17), Verdict.MODE)

    def test_the_selector(self):
        selector = Selector(proto=6)
        self.fails(replace(OUT, selector=selector), Peer(OUT).packet(1, V4), Verdict.POLICY)

    def test_udp_or_none(self):
        self.fails(replace(OUT, encap=NAT_T), Peer(OUT).packet(1, V4), Verdict.ENCAP_MISMATCH)
        self.fails(OUT, Peer(replace(OUT, encap=NAT_T)).packet(1, V4), Verdict.ENCAP_MISMATCH)


@pytest.mark.parametrize("limits", [Limits(hard_packets=1), Limits(hard_bytes=1), Limits(hard_add=3)])
def test_lifetimes_are_its_senders(limits):
    sa = replace(OUT, limits=limits)
    inbound = Inbound(new_sad(sa), own_traffic=True)
    answers = [inbound.receive(Peer(sa).packet(n, V4), now) for n, now in ((1, 0.0), (2, 9.0), (3, 99.0))]
    foreign = inbound.receive(Peer(sa).packet(4, V4, src=ELSEWHERE), 100.0)
    assert [a.verdict for a in (*answers, foreign) if a] == [*[Verdict.SENT] * 3, Verdict.DIRECTION]


class TestOutgoing:
    """Linux cooked headers say which frames the host sent."""

    @pytest.mark.parametrize("sa", [OUT, OFFLOADED, gcm_sa()])
    def test_an_sa_that_is_not_inbound(self, sa):
        received, entry = receive(sa, Peer(sa).packet(3, V4), outgoing=True)
        assert (received.verdict, received.counter) == (Verdict.SENT, None)
        assert untouched(entry)

    def test_whatever_its_source_is(self):
        """A host that forwards has not the SA's addresses."""
        received, _ = receive(OUT, Peer(OUT).packet(3, V4, src=ELSEWHERE), outgoing=True)
        assert received.verdict is Verdict.SENT

    @pytest.mark.parametrize("options", [{"dir": Direction.IN}, {"offload": Offload("eth0", Direction.IN)}])
    def test_an_inbound_sa(self, options):
        received, entry = receive(gcm_sa(**options), Peer(gcm_sa()).packet(3, V4), outgoing=True)
        assert (received.verdict, received.own, entry.window.top) == (Verdict.DELIVERED, False, 3)

    def test_both_copies_of_a_forwarded_packet(self):
        inbound = Inbound(new_sad(gcm_sa()), own_traffic=True)
        answers = [inbound.receive(Peer(gcm_sa()).packet(1, V4), outgoing=outgoing) for outgoing in (False, True)]
        assert [a.verdict for a in answers if a] == [Verdict.DELIVERED, Verdict.SENT]

    def test_what_has_no_sa_moves_no_counter(self):
        stranger = Peer(gcm_sa(spi=9)).packet(1, V4)
        cases = {
            stranger: Verdict.NO_SA, stranger[:2] + b"\0\x18" + stranger[4:24]: Verdict.HEADER,
            Peer(OUT).packet(1, V4, flags=0x2000): Verdict.FRAGMENT,
        }  # fmt: skip
        for packet, verdict in cases.items():
            received, _ = receive(OUT, packet, outgoing=True)
            assert (received.verdict, received.counter, received.own) == (verdict, None, True)
            received, _ = receive(OUT, packet)
            assert (received.verdict, received.counter, received.own) == (verdict, verdict.counter, False)


class TestEsn:
    SA = replace(OUT, flags=frozenset({"esn"}), replay=ReplayState(oseq=WRAP - 2, oseq_hi=6))
    START = 7 * WRAP - 2

    def numbers(self, sa, *numbers):
        inbound = Inbound(new_sad(sa), own_traffic=True)
        answers = [inbound.receive(Peer(sa).packet(n, V4)) for n in numbers]
        return [(a.verdict, a.seq64) for a in answers if a]

    def test_the_nearest_to_the_dumps_number(self):
        for number in (self.START, self.START + 5, self.START - 5, self.START - WRAP // 2 + 1):
            assert self.numbers(self.SA, number) == [(Verdict.SENT, number)]
        (answer,) = self.numbers(self.SA, self.START - WRAP // 2 - 1)
        assert answer[0] is Verdict.INTEGRITY

    def test_then_to_the_highest_that_was_authentic(self):
        """In steps of less than 2^31, any number of times around; late ones below the wrap too."""
        step = WRAP // 2 - 10
        numbers = [self.START + n * step for n in range(8)]
        numbers += [numbers[-1] - 100, numbers[-1] + 1]
        assert self.numbers(self.SA, *numbers) == [(Verdict.SENT, n) for n in numbers]

    def test_a_forged_number_moves_nothing(self):
        inbound = Inbound(new_sad(self.SA), own_traffic=True)
        forged = Peer(self.SA).packet(self.START + WRAP // 2 - 5, V4)
        for packet, verdict in (
            (forged[:-1] + bytes((forged[-1] ^ 1,)), Verdict.INTEGRITY),
            (Peer(self.SA).packet(self.START - WRAP // 2 + 2, V4), Verdict.SENT),
        ):
            received = inbound.receive(packet)
            assert received is not None
            assert received.verdict is verdict

    def test_a_dump_of_the_receiver(self):
        """Its SA has no direction, and says what was received."""
        sa = gcm_sa(flags=frozenset({"esn"}), replay=ReplayState(seq=10, seq_hi=3))
        received, _ = receive(sa, Peer(sa).packet(3 * WRAP + 12, V4), outgoing=True)
        assert (received.verdict, received.seq64) == (Verdict.SENT, 3 * WRAP + 12)


def test_longest_match_finds_it_by_all_three():
    """The newest SA of the SPI is another; for what comes in the SPI is all that counts."""
    back = gcm_sa("192.0.2.2", "192.0.2.1", key_byte=9)
    sad = new_sad(OUT, back)
    sad.policy = LongestLookup(sad.policy)
    inbound = Inbound(sad, own_traffic=True)
    answers = [inbound.receive(Peer(sa).packet(1, V4)) for sa in (OUT, back)]
    assert [a.verdict for a in answers if a] == [Verdict.SENT, Verdict.DELIVERED]


def test_a_device_says_nothing_of_it():
    """The device's table has one SA under the low bits of both SPIs; what the host sent never comes there."""
    back, out = gcm_sa("192.0.2.2", "192.0.2.1", 0x1001), gcm_sa(spi=0x2001, dir=Direction.OUT, window=0)
    sad = new_sad(out, back)
    inbound = OffloadedInbound(sad, Device(load_model("marvell-cn10k-vpp")), own_traffic=True)
    inbound.offload(list(sad)[1])
    stats = InboundStats()
    for sa in (out, back):
        received = inbound.receive(Peer(sa).packet(1, V4))
        assert received is not None
        stats.count(received)
    result = stats.as_dict()
    assert result["verdicts"] == {"DELIVERED": 1, "SENT": 1}
    assert sum(result["device"].values()) == 1
    assert (result["wrong_keys"], result["surfacing"]) == ([], {})


def test_counts_keep_it_apart():
    sad = new_sad(OUT, gcm_sa("192.0.2.2", "192.0.2.1"))
    inbound, stats = Inbound(sad, own_traffic=True), InboundStats()
    packets = [Peer(OUT).packet(n, V4) for n in (1, 1, 2)]
    packets.append(packets[0][:-1] + bytes((packets[0][-1] ^ 1,)))
    packets.append(Peer(list(sad)[1].sa).packet(1, V4))
    for packet in packets:
        stats.count(inbound.receive(packet))
    result = stats.as_dict()
    assert (result["packets"], result["delivered"], result["sent"], stats.failed) == (5, 1, 3, 1)
    assert result["linux_counters"] == {}
    assert result["by_sa"] == [
        {"spi": 0x1001, "daddr": "192.0.2.2", "delivered": 0, "sent": 3, "dropped": {"INTEGRITY": 1}},
        {"spi": 0x1001, "daddr": "192.0.2.1", "delivered": 1, "dropped": {}},
    ]
    assert {c.passed for c in stats.opened.values()} == {4, 1}


def test_addresses_are_compared_whole():
    sa = gcm_sa("2001:db8::1", "2001:db8::2", dir=Direction.OUT, window=0)
    for other in ("2001:db8:1::1", "2001:db8::1:1", "2001:db8::2"):
        received, _ = receive(sa, Peer(sa).packet(1, V4, src=other))
        assert received.verdict is Verdict.DIRECTION
    assert parse_address("2001:db8::1") == sa.src
