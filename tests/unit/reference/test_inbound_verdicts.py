"""Every verdict of the inbound path reached on purpose: which counter moves, and what the SA notes.

The rows are those that Linux 6.1.192 answered (one packet each), in the order of xfrm_input.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from espsim.core.address import parse_address
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.association import ANY_ENCAP, Direction, Encap, Limits, Mark, Mode, SecurityAssociation, Selector
from espsim.sad.entry import State
from tests.support import Peer, each_suite, gcm_sa, ipv4, ipv6, new_sad, suites, udp

A = parse_address
V4 = ipv4(udp(b"hello"))
V6 = ipv6(udp(b"hello"))
PROTO_ERROR, SEQ_ERROR, MODE_ERROR = "XfrmInStateProtoError", "XfrmInStateSeqError", "XfrmInStateModeError"
MISMATCH, NO_STATES = "XfrmInStateMismatch", "XfrmInNoStates"
NOTED = {"replay": 0, "replay_window": 0, "integrity_failed": 0, "packets": 0}


class Bench:
    """A receiver that holds one SA, and its peer."""

    def __init__(self, sa: SecurityAssociation, **options) -> None:
        self.peer = Peer(sa)
        self.sad = new_sad(sa)
        (self.entry,) = self.sad
        self.inbound = Inbound(self.sad, **options)

    def hear(self, packet: bytes, now: float = 0.0):
        received = self.inbound.receive(packet, now)
        assert received is not None
        assert (received.inner is not None) is (received.verdict is Verdict.DELIVERED)
        return received

    def noted(self) -> dict[str, int]:
        return {**asdict(self.entry.stats), "packets": self.entry.packets}

    def expect(self, packet: bytes, verdict: Verdict, counter: str | None, **moved: int) -> None:
        """One packet, its verdict and counter, and what moved on the SA; an objection never moves the window."""
        before, top, bitmap = self.noted(), self.entry.window.top, self.entry.window.bitmap
        received = self.hear(packet)
        assert (received.verdict, received.counter) == (verdict, counter)
        after = self.noted()
        assert {k: after[k] - before[k] for k in after} == {**NOTED, **moved}
        if not after["packets"] - before["packets"]:
            assert (self.entry.window.top, self.entry.window.bitmap) == (top, bitmap)

    def deliver(self, packet: bytes, inner: bytes = V4, now: float = 0.0) -> None:
        received = self.hear(packet, now)
        assert (received.verdict, received.counter, received.inner) == (Verdict.DELIVERED, None, inner)


@pytest.fixture
def bench():
    return Bench(gcm_sa())


def flip(packet: bytes, at: int) -> bytes:
    at %= len(packet)
    return packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]


class TestSequence:
    def test_replay(self, bench):
        bench.deliver(bench.peer.packet(5, V4))
        bench.expect(bench.peer.packet(5, V4), Verdict.REPLAY_DUPLICATE, SEQ_ERROR, replay=1)

    def test_older_than_the_window(self, bench):
        bench.deliver(bench.peer.packet(500, V4))
        bench.deliver(bench.peer.packet(500 - 63, V4))
        bench.expect(bench.peer.packet(500 - 64, V4), Verdict.REPLAY_TOO_OLD, SEQ_ERROR, replay_window=1)

    def test_older_than_the_window_with_esn_is_taken_for_the_next_epoch(self):
        bench = Bench(gcm_sa(flags=frozenset({"esn"})))
        bench.deliver(bench.peer.packet(500, V4))
        bench.expect(bench.peer.packet(500 - 64, V4), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)
        bench.deliver(bench.peer.packet(500 - 63, V4))

    @pytest.mark.parametrize("at", [-1, 20 + 16, 20 + 8, 20 + 7], ids=["ICV", "ciphertext", "IV", "sequence"])
    def test_a_changed_byte(self, bench, at):
        bench.deliver(bench.peer.packet(4, V4))
        bench.expect(flip(bench.peer.packet(10, V4), at), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)
        bench.deliver(bench.peer.packet(10, V4))

    def test_replay_or_too_old_is_said_before_a_bad_icv(self, bench):
        bench.deliver(bench.peer.packet(500, V4))
        bench.expect(flip(bench.peer.packet(500, V4), -1), Verdict.REPLAY_DUPLICATE, SEQ_ERROR, replay=1)
        bench.expect(flip(bench.peer.packet(9, V4), -1), Verdict.REPLAY_TOO_OLD, SEQ_ERROR, replay_window=1)

    def test_sequence_0(self, bench):
        bench.expect(bench.peer.packet(0, V4), Verdict.REPLAY_ZERO, SEQ_ERROR)
        bench.expect(flip(bench.peer.packet(0, V4), -1), Verdict.REPLAY_ZERO, SEQ_ERROR)

    def test_without_a_window_the_icv_decides(self):
        bench = Bench(gcm_sa(window=0))
        for seq in (0, 7, 7, 3):
            bench.deliver(bench.peer.packet(seq, V4))
        bench.expect(flip(bench.peer.packet(0, V4), -1), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)

    def test_a_bad_icv_far_ahead_never_moves_the_window(self, bench):
        bench.deliver(bench.peer.packet(10, V4))
        bench.expect(flip(bench.peer.packet(0xFFFFFFF0, V4), -1), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)
        bench.deliver(bench.peer.packet(9, V4))


class TestLookup:
    def test_another_spi_spi_0_and_another_destination(self, bench):
        stranger = Peer(replace(bench.peer.sa, spi=0x1002))
        bench.expect(stranger.packet(1, V4), Verdict.NO_SA, NO_STATES)
        bench.expect(bench.peer.packet(1, V4, dst="192.0.2.9"), Verdict.NO_SA, NO_STATES)
        bench.sad.newsa(gcm_sa(spi=0))
        bench.expect(Peer(gcm_sa(spi=0)).packet(1, V4), Verdict.NO_SA, NO_STATES)

    def test_what_is_known_of_a_packet_without_an_sa(self, bench):
        received = bench.hear(bench.peer.packet(7, V4, dst="192.0.2.9"))
        assert (received.spi, received.seq, received.seq64, received.entry) == (0x1001, 7, None, None)

    def test_another_source_is_accepted(self, bench):
        bench.deliver(bench.peer.packet(1, V4, src="203.0.113.77"))

    def test_one_spi_on_two_destinations_each_its_own_keys(self):
        sad = new_sad(gcm_sa(key_byte=1), gcm_sa(dst="192.0.2.3", key_byte=2))
        for entry in sad:
            received = Inbound(sad).receive(Peer(entry.sa).packet(1, V4))
            assert received is not None
            assert (received.verdict, received.entry) == (Verdict.DELIVERED, entry)

    def test_marks(self):
        marked = gcm_sa(mark=Mark(5, 0xFF))
        packet = Peer(marked).packet(1, V4)
        assert Bench(marked).hear(packet).counter == NO_STATES
        Bench(marked, mark=0x305).deliver(packet)
        assert Bench(marked, mark=6).hear(packet).verdict is Verdict.NO_SA


class TestState:
    def test_an_outbound_sa(self):
        bench = Bench(gcm_sa(dir=Direction.OUT, window=0))
        bench.expect(bench.peer.packet(1, V4), Verdict.DIRECTION, "XfrmInStateDirError")
        bench.entry.state = State.EXPIRED  # the direction is looked at first
        bench.expect(bench.peer.packet(1, V4), Verdict.DIRECTION, "XfrmInStateDirError")

    def test_a_larval_state(self):
        sad = new_sad()
        sad.allocspi(A("192.0.2.1"), A("192.0.2.2"), 50, 0x1001, 0x1001)
        received = Inbound(sad).receive(Peer(gcm_sa()).packet(1, V4))
        assert received is not None
        assert (received.verdict, received.counter) == (Verdict.SA_LARVAL, "XfrmAcquireError")

    @pytest.mark.parametrize("state", [State.EXPIRED, State.DEAD])
    def test_a_state_past_its_life(self, bench, state):
        bench.entry.state = state
        bench.expect(bench.peer.packet(1, V4), Verdict.SA_INVALID, "XfrmInStateInvalid")

    def test_encapsulation_where_there_is_none_and_the_reverse(self):
        encap = Encap("espinudp", 4500, 4500, bytes(16))
        plain, natted = Bench(gcm_sa()), Bench(gcm_sa(encap=encap))
        plain.expect(natted.peer.packet(1, V4), Verdict.ENCAP_MISMATCH, MISMATCH)
        natted.expect(plain.peer.packet(1, V4), Verdict.ENCAP_MISMATCH, MISMATCH)
        # looked at before the window: a replay is not noticed
        natted.deliver(natted.peer.packet(1, V4))
        natted.expect(plain.peer.packet(1, V4), Verdict.ENCAP_MISMATCH, MISMATCH)

    def test_an_encapsulation_that_is_not_stated(self):
        """Its packets may come in UDP or not."""
        plain, natted = Peer(gcm_sa()), Peer(gcm_sa(encap=Encap("espinudp", 4500, 4500, bytes(16))))
        bench = Bench(gcm_sa(encap=Encap(ANY_ENCAP, 4500, 4500, bytes(16))))
        bench.deliver(plain.packet(1, V4))
        bench.deliver(natted.packet(2, V4))

    @pytest.mark.parametrize("kind", ["espinudp-nonike", "espintcp"])
    def test_an_encapsulation_that_is_not_run(self, kind):
        bench = Bench(gcm_sa(encap=Encap(kind, 4500, 4500, bytes(16))))
        bench.expect(bench.peer.packet(1, V4), Verdict.ENCAP_MISMATCH, MISMATCH)


class TestLength:
    @pytest.mark.parametrize("size", range(8))
    def test_no_header(self, bench, size):
        bench.expect(bench.peer.around(bytes(size)), Verdict.HEADER, "XfrmInHdrError")

    @pytest.mark.parametrize("name", each_suite())
    def test_no_room_for_iv_and_icv(self, name):
        bench = Bench(gcm_sa_with(name))
        need = bench.peer.keys.suite.iv_length + bench.peer.keys.icv_length
        esp = bench.peer.esp(1, bytes(64))
        for size in (8, 8 + need - 1):
            if 8 <= size < 8 + need:
                bench.expect(bench.peer.around(esp[:size]), Verdict.TRUNCATED, PROTO_ERROR)
        if bench.peer.keys.icv_length:
            bench.expect(bench.peer.around(esp[: 8 + need]), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)

    def test_cbc_of_no_whole_blocks_is_found_out_behind_the_icv(self):
        bench = Bench(gcm_sa_with("cbc(aes)-hmac(sha256)-128"))
        bench.expect(bench.peer.around(bench.peer.esp(1, bytes(32))[:-3]), Verdict.INTEGRITY, PROTO_ERROR,
                     integrity_failed=1)  # fmt: skip
        null = Peer(gcm_sa_with("ecb(cipher_null)-hmac(sha256)-128"))
        esp = null.esp(1, bytes(16 + 17))  # the same MAC key: an IV and 17 bytes of "ciphertext"
        bench.expect(bench.peer.around(esp), Verdict.TRUNCATED, PROTO_ERROR)


def gcm_sa_with(suite: str) -> SecurityAssociation:
    ends = A("192.0.2.1"), A("192.0.2.2")
    return SecurityAssociation(ends[0], ends[1], 0x1001, mode=Mode.TUNNEL, window=64, algorithms=suites()[suite])


class TestTrailer:
    def test_a_dummy_is_dropped_and_leaves_the_window(self, bench):
        bench.expect(bench.peer.packet(5, V4, 59), Verdict.TRAILER, PROTO_ERROR)
        bench.deliver(bench.peer.packet(5, V4))

    @pytest.mark.parametrize("plaintext", [
        b"", b"\x04", b"\0\x04", b"\1\2\2\x04", V4 + b"\xff\x04", V4 + bytes((len(V4), 4)), b"\0\x11", b"\1\2\3\3\x3b",
    ])  # fmt: skip
    def test_a_pad_length_too_long_and_nothing_inside(self, bench, plaintext):
        bench.expect(bench.peer.packet(5, b"", 0, plaintext=plaintext), Verdict.TRAILER, PROTO_ERROR)
        bench.deliver(bench.peer.packet(5, V4))

    @pytest.mark.parametrize("tail", [
        b"\x09\x09\x02\x04",  # padding that does not count 1, 2, 3
        b"\1\1\x04",  # an unaligned length
        b"\0\x04",
        bytes(255) + b"\xff\x04",
    ])  # fmt: skip
    def test_odd_padding_is_accepted(self, bench, tail):
        bench.deliver(bench.peer.packet(1, b"", 0, plaintext=V4 + tail))

    @pytest.mark.parametrize("tfc", [1, 2, 100, 1200])
    def test_tfc_bytes_are_cut_off_and_counted(self, bench, tfc):
        bench.deliver(bench.peer.packet(1, V4 + b"\xaa" * tfc, 4))
        assert (bench.entry.bytes, bench.entry.packets) == (len(V4) + tfc, 1)


class TestMode:
    @pytest.mark.parametrize(("inner", "next_header"), [
        (udp(b"x" * 40), 17), (V4, 41), (V4, 0), (V4, 6), (V4[:10], 4), (V4[:19], 4), (V6[:39], 41), (V6[:19], 41),
    ])  # fmt: skip
    def test_what_is_no_packet_of_the_named_kind(self, bench, inner, next_header):
        if next_header == 41:
            inner = inner[:39]
        bench.expect(bench.peer.packet(1, inner, next_header), Verdict.MODE, MODE_ERROR, packets=1)
        bench.expect(bench.peer.packet(1, V4), Verdict.REPLAY_DUPLICATE, SEQ_ERROR, replay=1)  # the window has moved
        assert bench.entry.bytes == len(inner)

    def test_selectors_are_asked_behind_decapsulation(self):
        bench = Bench(gcm_sa(selector=Selector(A("10.1.0.0"), 24, A("10.2.0.0"), 24)))
        bench.deliver(bench.peer.packet(1, V4))
        stray = ipv4(udp(b"hello"), src="10.9.0.1")
        bench.expect(bench.peer.packet(2, stray), Verdict.POLICY, MISMATCH, packets=1)
        bench.expect(bench.peer.packet(3, V6), Verdict.POLICY, MISMATCH, packets=1)
        bench.expect(bench.peer.packet(3, V6), Verdict.REPLAY_DUPLICATE, SEQ_ERROR, replay=1)

    def test_selectors_by_protocol_and_port(self):
        bench = Bench(gcm_sa(selector=Selector(proto=17, dport=2000, dport_mask=0xFFFF)))
        bench.deliver(bench.peer.packet(1, V4))
        bench.expect(bench.peer.packet(2, ipv4(udp(b"", dport=2001))), Verdict.POLICY, MISMATCH, packets=1)
        bench.expect(bench.peer.packet(3, ipv4(udp(b""), proto=6)), Verdict.POLICY, MISMATCH, packets=1)
        later_fragment = ipv4(udp(b""), flags=2)
        bench.expect(bench.peer.packet(4, later_fragment), Verdict.POLICY, MISMATCH, packets=1)

    def test_selectors_in_transport_mode(self):
        sa = gcm_sa(mode=Mode.TRANSPORT, selector=Selector(proto=6))
        bench = Bench(sa)
        bench.expect(bench.peer.packet(1, udp(b"hello"), 17), Verdict.POLICY, MISMATCH, packets=1)
        assert bench.hear(bench.peer.packet(2, bytes(20), 6)).verdict is Verdict.DELIVERED


class TestLimits:
    def test_three_packets(self):
        bench = Bench(gcm_sa(limits=Limits(hard_packets=3)))
        for seq in (1, 2, 3):
            bench.deliver(bench.peer.packet(seq, V4))
        bench.expect(bench.peer.packet(3, V4), Verdict.REPLAY_DUPLICATE, SEQ_ERROR, replay=1)  # replay beats expired
        bench.expect(bench.peer.packet(4, V4), Verdict.EXPIRED, "XfrmInStateExpired")
        assert bench.entry.state is State.EXPIRED
        bench.expect(bench.peer.packet(5, V4), Verdict.NO_SA, NO_STATES)
        assert len(bench.sad) == 0

    def test_bytes_as_linux_counted_them(self):
        """13 bytes an 8+5 byte datagram in transport mode: with 40 four pass, the fifth meets the limit."""
        bench = Bench(gcm_sa(mode=Mode.TRANSPORT, limits=Limits(hard_bytes=40)))
        for seq in (1, 2, 3, 4):
            assert bench.hear(bench.peer.packet(seq, udp(b"hello"), 17)).verdict is Verdict.DELIVERED
            assert bench.entry.bytes == 13 * seq
        bench.expect(bench.peer.packet(5, udp(b"hello"), 17), Verdict.EXPIRED, "XfrmInStateExpired")

    def test_failed_packets_do_not_count(self):
        bench = Bench(gcm_sa(limits=Limits(hard_packets=1)))
        for seq in (1, 2, 3):
            bench.expect(flip(bench.peer.packet(seq, V4), -1), Verdict.INTEGRITY, PROTO_ERROR, integrity_failed=1)
        bench.expect(bench.peer.packet(3, V4, 59), Verdict.TRAILER, PROTO_ERROR)
        bench.deliver(bench.peer.packet(1, V4))
        bench.expect(flip(bench.peer.packet(2, V4), -1), Verdict.EXPIRED, "XfrmInStateExpired")  # before the ICV

    def test_seconds_since_it_was_added(self):
        bench = Bench(gcm_sa(limits=Limits(hard_add=10)))
        bench.deliver(bench.peer.packet(1, V4), now=9.9)
        assert bench.hear(bench.peer.packet(2, V4), now=10.0).counter == NO_STATES
        assert len(bench.sad) == 0

    def test_seconds_since_its_first_use(self):
        bench = Bench(gcm_sa(limits=Limits(hard_use=5)))
        bench.deliver(bench.peer.packet(1, V4), now=1000.0)
        bench.deliver(bench.peer.packet(2, V4), now=1004.0)
        assert bench.hear(bench.peer.packet(3, V4), now=1005.0).verdict is Verdict.NO_SA

    def test_an_older_sa_answers_when_a_newer_ones_time_is_over(self):
        sad = new_sad(gcm_sa(mark=Mark(1, 1)))
        sad.newsa(gcm_sa(key_byte=9, limits=Limits(hard_add=5)))
        inbound = Inbound(sad, mark=1)
        received = inbound.receive(Peer(gcm_sa()).packet(1, V4), 6.0)
        assert received is not None
        assert received.verdict is Verdict.DELIVERED

    def test_a_forged_packet_starts_the_clock_of_use(self):
        bench = Bench(gcm_sa(limits=Limits(hard_use=5)))
        assert bench.hear(flip(bench.peer.packet(1, V4), -1), now=1000.0).verdict is Verdict.INTEGRITY
        assert bench.hear(bench.peer.packet(1, V4), now=1005.0).verdict is Verdict.NO_SA
