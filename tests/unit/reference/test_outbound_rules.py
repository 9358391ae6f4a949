"""Sealing: which SA, which number, which IV, how much padding, and when an SA refuses."""

from __future__ import annotations

import itertools
import random

import pytest

from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Encap, Limits, Mark, Mode, ReplayState, SecurityAssociation, Selector
from espsim.sad.entry import State
from tests.support import Peer, each_suite, gcm_sa, ipv4, ipv6, new_sad, suites, udp

V4 = ipv4(udp(b"hello"))
V6 = ipv6(udp(b"hello"))
ESN = frozenset({"esn"})


def bench(sa, **options):
    sad = new_sad(sa)
    (entry,) = sad
    return Outbound(sad, random.Random(4).randbytes, **options), entry


def sending(*sas, random_bytes=None):
    return Outbound(new_sad(*sas), random_bytes or random.Random(4).randbytes)


def hear(sa, packet):
    return Inbound(new_sad(sa)).receive(packet)


def sa_with(suite, **options):
    base = gcm_sa(**options)
    return SecurityAssociation(
        base.src, base.dst, base.spi, mode=base.mode, window=base.window, flags=base.flags, encap=base.encap,
        tfcpad=base.tfcpad, extra_flags=base.extra_flags, replay=base.replay, algorithms=suites()[suite],
    )  # fmt: skip


def last_sent(oseq):
    return ReplayState(oseq=oseq & 0xFFFFFFFF, oseq_hi=oseq >> 32)


class TestSequence:
    def test_numbers_go_up_by_one_from_1(self):
        outbound, entry = bench(gcm_sa())
        sent = [outbound.send(V4) for _ in range(3)]
        assert [s.seq64 for s in sent] == [1, 2, 3]
        assert [s.packet[24:28].hex() for s in sent] == ["00000001", "00000002", "00000003"]
        assert entry.oseq == 3

    @pytest.mark.parametrize(("flags", "last"), [(frozenset(), (1 << 32) - 1), (ESN, (1 << 64) - 1)])
    def test_the_last_number_and_then_overflow(self, flags, last):
        outbound, entry = bench(gcm_sa(flags=flags, replay=last_sent(last - 2)))
        assert [outbound.send(V4).seq64 for _ in range(2)] == [last - 1, last]
        counted = entry.packets
        for _ in range(3):
            sent = outbound.send(V4)
            assert (sent.verdict, sent.counter) == (OutboundVerdict.SEQ_OVERFLOW, "XfrmOutStateSeqError")
            assert (sent.packet, entry.oseq, entry.packets) == (None, last, counted)
        assert entry.state is State.VALID  # the SA stays

    def test_across_2_32_with_esn_the_wire_says_0(self):
        sa = gcm_sa(flags=ESN, replay=last_sent((1 << 32) - 2))
        outbound, _ = bench(sa)
        inbound = Inbound(new_sad(sa))
        for seq64, low in ((0xFFFFFFFF, "ffffffff"), (1 << 32, "00000000"), (1 << 32 | 1, "00000001")):
            sent = outbound.send(V4)
            assert (sent.seq64, sent.packet[24:28].hex()) == (seq64, low)
            received = inbound.receive(sent.packet)
            assert received is not None
            assert (received.verdict, received.seq64) == (Verdict.DELIVERED, seq64)

    def test_oseq_may_wrap_sends_0_which_a_window_refuses(self):
        sa = sa_with("cbc(aes)-hmac(sha1)-96", extra_flags=frozenset({"oseq-may-wrap"}), replay=last_sent(0xFFFFFFFE))
        outbound, _ = bench(sa)
        sent = [outbound.send(V4) for _ in range(3)]
        assert [s.seq64 for s in sent] == [0xFFFFFFFF, 0, 1]
        assert hear(sa, sent[1].packet).verdict is Verdict.REPLAY_ZERO
        assert hear(sa, sent[2].packet).verdict is Verdict.DELIVERED

    def test_oseq_may_wrap_means_nothing_to_esn(self):
        sa = gcm_sa(flags=ESN, extra_flags=frozenset({"oseq-may-wrap"}), replay=last_sent((1 << 64) - 1))
        assert bench(sa)[0].send(V4).verdict is OutboundVerdict.SEQ_OVERFLOW


class TestIv:
    @pytest.mark.parametrize("suite", each_suite())
    def test_never_twice(self, suite):
        sa = sa_with(suite)
        outbound, _ = bench(sa)
        length = Peer(sa).keys.suite.iv_length
        ivs = [outbound.send(V4).packet[28 : 28 + length] for _ in range(200)]
        assert not length or len(set(ivs)) == 200

    def test_it_is_the_number_under_a_mask_and_never_a_plain_counter(self):
        outbound, _ = bench(gcm_sa())
        ivs = [int.from_bytes(outbound.send(V4).packet[28:36]) for _ in range(4)]
        masks = {iv ^ seq for iv, seq in zip(ivs, (1, 2, 3, 4), strict=True)}
        assert len(masks) == 1
        assert masks != {0}

    def test_two_sas_have_two_masks(self):
        outbound = sending(gcm_sa(), gcm_sa(dst="192.0.2.3"))
        one, two = (outbound.send_with(entry, V4).packet[28:36] for entry in outbound.sad)
        assert one != two

    def test_cbc_draws_each_one(self):
        drawn = itertools.count()
        outbound = sending(sa_with("cbc(aes)-hmac(sha256)-128"), random_bytes=lambda n: next(drawn).to_bytes(n))
        assert [outbound.send(V4).packet[28:44] for _ in range(3)] == [n.to_bytes(16) for n in range(3)]

    @pytest.mark.parametrize("suite", each_suite())
    def test_oseq_may_wrap_never_brings_one_again(self, suite):
        """Linux lets every suite wrap; here those whose IV comes of the number refuse, as without the flag."""
        outbound, entry = bench(sa_with(suite, extra_flags=frozenset({"oseq-may-wrap"})))
        entry.oseq = 0xFFFFFFFF
        sent = outbound.send(V4)
        assert sent.verdict is (
            OutboundVerdict.SEQ_OVERFLOW if suite.startswith(("rfc", "iiv")) else OutboundVerdict.SEALED
        )


class TestPadding:
    @pytest.mark.parametrize("suite", each_suite())
    def test_to_the_suites_alignment_and_no_further(self, suite):
        sa = sa_with(suite, mode=Mode.TUNNEL)
        keys = Peer(sa).keys
        aligned = {"cbc(aes)": 16, "cbc(camellia)": 16, "cbc(des3_ede)": 8}.get(
            suite.split("-")[0], 4
        )  # the cipher's block, else 4
        for size in range(20):
            outbound, _ = bench(sa)
            inner = ipv4(bytes(size))
            packet = outbound.send(inner).packet
            clear = len(packet) - 20 - 8 - keys.suite.iv_length - keys.icv_length
            assert clear % aligned == 0
            assert 0 <= clear - len(inner) - 2 < aligned

    def test_1_2_3_as_the_clear_text_of_null_shows(self):
        outbound, _ = bench(sa_with("ecb(cipher_null)-hmac(sha1)-96"))
        packet = outbound.send(ipv4(b"abc")).packet
        assert packet[28:-12] == ipv4(b"abc") + bytes.fromhex("0102030304")

    @pytest.mark.parametrize(("tfcpad", "inner", "sealed"), [(100, 33, 100), (100, 99, 100), (100, 100, 100),
                                                            (100, 101, 101), (1, 33, 33), (0, 33, 33)])  # fmt: skip
    def test_tfc_pads_to_n_and_leaves_larger_packets(self, tfcpad, inner, sealed):
        outbound, entry = bench(sa_with("ecb(cipher_null)-hmac(sha1)-96", tfcpad=tfcpad))
        packet = ipv4(bytes(inner - 20))
        sent = outbound.send(packet)
        plaintext = sent.packet[28:-12]
        assert len(plaintext) - 2 - plaintext[-2] == sealed
        assert plaintext[:inner] == packet
        assert entry.bytes == inner  # before TFC, as Linux counts outbound
        received = hear(entry.sa, sent.packet)
        assert received.inner == packet
        assert received.entry.bytes == sealed  # with TFC, as it counts inbound

    @pytest.mark.parametrize("suite", each_suite())
    def test_tfc_65535_fills_the_mtu_as_well_as_the_alignment_lets_it(self, suite):
        families = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
        encaps = None, Encap("espinudp", 4500, 4500, bytes(16))
        for ends, encap, mtu in itertools.product(families, encaps, (1500, 1496, 9000)):
            sa = sa_with(suite, src=ends[0], dst=ends[1], encap=encap, tfcpad=65535)
            outbound, _ = bench(sa, mtu=mtu)
            packet = outbound.send(V4).packet
            assert mtu - (16 if suite.startswith("cbc") else 4) < len(packet) <= mtu, (ends, encap, mtu)

    def test_tfc_65535_fits_the_smallest_ipv6_mtu(self):
        outbound, _ = bench(gcm_sa("2001:db8::1", "2001:db8::2", tfcpad=65535), mtu=1280)
        assert 1276 < len(outbound.send(V4).packet) <= 1280

    def test_tfc_is_for_tunnels(self):
        with pytest.raises(ValueError, match="tunnel mode"):
            gcm_sa(mode=Mode.TRANSPORT, tfcpad=100)

    @pytest.mark.parametrize("size", [65_400, 65_515])
    @pytest.mark.parametrize("encap", [None, Encap("espinudp", 4500, 4500, bytes(16))])
    def test_too_big_for_an_ip_packet(self, size, encap):
        outbound, entry = bench(gcm_sa(encap=encap))
        sent = outbound.send(ipv4(bytes(size - 20)))
        assert sent.packet is None or len(sent.packet) <= 65_535
        assert (sent.verdict is OutboundVerdict.TOO_BIG) is (sent.packet is None)
        assert entry.oseq == (sent.packet is not None)


class TestLimits:
    def test_three_packets(self):
        outbound, entry = bench(gcm_sa(limits=Limits(hard_packets=3)))
        assert [outbound.send(V4).verdict for _ in range(3)] == [OutboundVerdict.SEALED] * 3
        sent = outbound.send(V4)
        assert (sent.verdict, sent.counter, sent.packet) == (OutboundVerdict.EXPIRED, "XfrmOutStateExpired", None)
        assert entry.state is State.EXPIRED
        sent = outbound.send(V4)
        assert (sent.verdict, sent.counter) == (OutboundVerdict.NO_SA, "XfrmOutNoStates")

    def test_bytes_are_the_payloads_in_transport_mode(self):
        """13 bytes an 8+5 byte datagram."""
        outbound, entry = bench(gcm_sa(mode=Mode.TRANSPORT, limits=Limits(hard_bytes=40)))
        packet = ipv4(udp(b"hello"), src="192.0.2.1", dst="192.0.2.2")
        assert [outbound.send(packet).verdict for _ in range(5)] == [OutboundVerdict.SEALED] * 4 + [
            OutboundVerdict.EXPIRED
        ]
        assert entry.bytes == 52

    def test_bytes_are_the_whole_inner_packets_in_a_tunnel(self):
        outbound, entry = bench(gcm_sa())
        outbound.send(V4)
        assert (entry.bytes, entry.packets) == (len(V4), 1)

    def test_expiry_is_said_before_overflow(self):
        outbound, _ = bench(gcm_sa(limits=Limits(hard_packets=0), replay=last_sent(0xFFFFFFFF)))
        assert outbound.send(V4).verdict is OutboundVerdict.EXPIRED

    def test_time(self):
        outbound, entry = bench(gcm_sa(limits=Limits(hard_add=10)))
        assert outbound.send(V4, 9.9).verdict is OutboundVerdict.SEALED
        assert outbound.send(V4, 10.0).counter == "XfrmOutNoStates"
        outbound, entry = bench(gcm_sa(limits=Limits(hard_use=5)))
        assert outbound.send(V4, 100.0).verdict is OutboundVerdict.SEALED
        assert outbound.send(V4, 104.0).verdict is OutboundVerdict.SEALED
        assert outbound.send(V4, 105.0).verdict is OutboundVerdict.NO_SA
        assert entry.state is State.EXPIRED


class TestChoice:
    def test_what_is_not_for_sending(self):
        outbound = sending(gcm_sa(dir=Direction.IN), gcm_sa(dst="192.0.2.3", mark=Mark(1, 1)))
        outbound.sad.allocspi(gcm_sa().src, gcm_sa(dst="192.0.2.4").dst, 50, 7, 7)
        assert outbound.send(V4).verdict is OutboundVerdict.NO_SA

    @pytest.mark.parametrize("state", [State.LARVAL, State.EXPIRED, State.DEAD])
    def test_an_sa_that_is_not_valid(self, state):
        outbound, entry = bench(gcm_sa())
        entry.state = state
        sent = outbound.send_with(entry, V4)
        assert (sent.verdict, sent.counter) == (OutboundVerdict.STATE_INVALID, "XfrmOutStateInvalid")
        assert entry.oseq == 0

    def test_the_most_specific_selector(self):
        def sa(n, **fields):
            return gcm_sa(dst=f"192.0.2.{n}", selector=Selector(**fields))

        a, b = V4[12:16], V4[16:20]
        sas = [sa(10), sa(11, dst=b, dst_prefix=24), sa(12, dst=b, dst_prefix=32, src=a, src_prefix=8), sa(13, proto=6)]
        for order in itertools.permutations(sas):
            outbound = sending(*order)
            assert outbound.send(V4).entry.sa == sas[2]
            assert not outbound.ambiguous
            assert outbound.send(ipv4(b"x" * 20, proto=6, dst="10.77.0.1")).entry.sa == sas[3]
            assert outbound.send(V6).entry.sa == sas[0]

    def test_of_equals_the_newest_and_it_is_said(self):
        outbound = sending(gcm_sa(), gcm_sa(dst="192.0.2.3"))
        assert not outbound.ambiguous
        assert outbound.send(V4).entry.sa.dst[-1] == 3
        assert outbound.ambiguous

    @pytest.mark.parametrize("data", [b"", b"\x45", V4[:19], V6[:39], b"\x00" * 60, b"\x75" + V4[1:]])
    def test_what_is_not_ip(self, data):
        assert bench(gcm_sa())[0].send(data) is None
