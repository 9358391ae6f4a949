"""ESP found in an IP packet, whatever is around it: UDP, options, extension headers, fragments, padding, snapping."""

from __future__ import annotations

import struct

import pytest

from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.association import Encap, Mode
from tests.support import Peer, extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, udp

V4 = ipv4(udp(b"hello"))
NATTED = Encap("espinudp", 4500, 4500, bytes(16))
NAMED = Encap("espinudp", 4501, 31002, bytes(16))
SA6 = ("2001:db8::1", "2001:db8::2")


def hear(sa, packet):
    return Inbound(new_sad(sa)).receive(packet)


def delivers(sa, packet, inner=V4):
    received = hear(sa, packet)
    assert received is not None
    assert (received.verdict, received.counter, received.inner) == (Verdict.DELIVERED, None, inner)


class TestUdp:
    @pytest.mark.parametrize("addresses", [("192.0.2.1", "192.0.2.2"), SA6], ids=["v4", "v6"])
    @pytest.mark.parametrize("encap", [NATTED, NAMED], ids=["4500", "named"])
    def test_at_4500_and_at_any_port_that_an_sa_names(self, addresses, encap):
        sa = gcm_sa(*addresses, encap=encap)
        delivers(sa, Peer(sa).packet(1, V4))
        assert hear(gcm_sa(addresses[0], addresses[1], 5), Peer(sa).packet(1, V4)) is None or encap is NATTED

    def test_from_any_source_port_and_either_named_destination_port(self):
        sa = gcm_sa(encap=NAMED)
        esp = Peer(sa).esp(1, V4 + b"\0\4")
        for sport, dport in ((4501, 31002), (1, 31002), (31002, 4501), (7, 4500)):
            delivers(sa, ipv4(udp(esp, sport, dport), dst="192.0.2.2"))
        assert hear(sa, ipv4(udp(esp, 4501, 31003), dst="192.0.2.2")) is None

    def test_the_udp_checksum_is_not_judged(self):
        sa = gcm_sa(encap=NATTED)
        packet = Peer(sa).packet(1, V4)
        delivers(sa, packet[:26] + b"\xbe\xef" + packet[28:])

    @pytest.mark.parametrize("datagram", [
        b"\xff", b"\x00", b"", b"\xff\xff", b"abc", b"\0\0\x10\1\0\0\0\1", b"12345678",  # 8 bytes are too few
        b"\0\0\0\0" + bytes(28), b"\0\0\0\0" + b"IKE" * 20,
    ])  # fmt: skip
    @pytest.mark.parametrize("v6", [False, True])
    def test_keepalive_short_ones_and_ike_are_not_esp(self, datagram, v6):
        datagram = udp(datagram, 4500, 4500)
        assert hear(gcm_sa(encap=NATTED), ipv6(datagram) if v6 else ipv4(datagram, dst="192.0.2.2")) is None

    def test_nine_bytes_are_esp(self):
        received = hear(
            gcm_sa(encap=NATTED), ipv4(udp(bytes.fromhex("0000100100000001ff"), 4500, 4500), dst="192.0.2.2")
        )
        assert received is not None
        assert (received.verdict, received.counter) == (Verdict.TRUNCATED, "XfrmInStateProtoError")

    def test_bytes_behind_the_datagram_belong_to_no_one(self):
        sa = gcm_sa(encap=NATTED)
        datagram = udp(Peer(sa).esp(1, V4 + b"\0\4"), 4500, 4500)
        delivers(sa, ipv4(datagram + b"trailing", dst="192.0.2.2"))

    @pytest.mark.parametrize("length", [0, 7, 9, 200, 0xFFFF])
    def test_a_udp_length_that_lies(self, length):
        sa = gcm_sa(encap=NATTED)
        datagram = udp(Peer(sa).esp(1, V4 + b"\0\4"), 4500, 4500)
        datagram = datagram[:4] + struct.pack("!H", length) + datagram[6:]
        received = hear(sa, ipv4(datagram, dst="192.0.2.2"))
        assert received is None or received.verdict is not Verdict.DELIVERED

    def test_ports_are_looked_up_again_when_asked(self):
        sad = new_sad()
        inbound = Inbound(sad)
        sa = gcm_sa(encap=NAMED)
        sad.newsa(sa)
        packet = Peer(sa).packet(1, V4)
        assert inbound.receive(packet) is None
        inbound.refresh_ports()
        received = inbound.receive(packet)
        assert received is not None
        assert received.verdict is Verdict.DELIVERED


class TestHeaders:
    @pytest.mark.parametrize("options", [b"\1\1\1\0", b"\x94\4\0\0", b"\7\x27\4" + bytes(36) + b"\0"])
    @pytest.mark.parametrize("encap", [None, NATTED])
    def test_ipv4_options(self, options, encap):
        sa = gcm_sa(encap=encap)
        delivers(sa, Peer(sa).packet(1, V4, options=options))

    @pytest.mark.parametrize("encap", [None, NATTED], ids=["plain", "udp"])
    @pytest.mark.parametrize("kinds", [
        [0], [60], [0, 60], [60, 60], [43], [0, 43, 60], [44], [0, 44], [44, 60], [60, 44],
    ], ids=str)  # fmt: skip
    def test_ipv6_extension_headers_and_an_atomic_fragment(self, kinds, encap):
        sa = gcm_sa(*SA6, encap=encap)
        esp = Peer(sa).esp(1, V4 + b"\0\4")
        content, following = (udp(esp, 4500, 4500), 17) if encap else (esp, 50)
        for kind in reversed(kinds):
            header = fragment_header(following) if kind == 44 else extension(following, 8 if kind else 24)
            if kind == 43:
                header = bytes((following, 0, 4, 0)) + bytes(4)
            content, following = header + content, kind
        delivers(sa, ipv6(content, dst=SA6[1], next_header=following))

    @pytest.mark.parametrize("next_header", [59, 6, 58, 51, 135])
    def test_what_is_not_esp(self, next_header):
        sa = gcm_sa(*SA6)
        esp = Peer(sa).esp(1, V4 + b"\0\4")
        assert hear(sa, ipv6(esp, dst=SA6[1], next_header=next_header)) is None
        assert hear(gcm_sa(), ipv4(esp, dst="192.0.2.2", proto=next_header)) is None

    def test_an_extension_header_that_is_cut_or_leaves_the_packet(self):
        sa = gcm_sa(*SA6)
        esp = Peer(sa).esp(1, V4 + b"\0\4")
        whole = ipv6(extension(50) + esp, dst=SA6[1], next_header=0)
        for cut in range(40, 48):
            assert hear(sa, whole[:cut]) is None
        assert hear(sa, ipv6(b"\x32\xff" + esp, dst=SA6[1], next_header=0)) is None

    @pytest.mark.parametrize("first", [0x40, 0x44, 0x55, 0x05, 0x65, 0xF5, 0x4F])
    def test_a_first_byte_that_is_wrong(self, first):
        sa = gcm_sa()
        packet = Peer(sa).packet(1, V4)
        received = hear(sa, bytes((first,)) + packet[1:])
        assert received is None or received.verdict is not Verdict.DELIVERED

    @pytest.mark.parametrize("size", range(20))
    def test_less_than_an_ip_header(self, size):
        assert hear(gcm_sa(), Peer(gcm_sa()).packet(1, V4)[:size]) is None
        assert hear(gcm_sa(*SA6), Peer(gcm_sa(*SA6)).packet(1, V4)[: 2 * size]) is None


class TestFragments:
    @pytest.mark.parametrize("flags", [0x2000, 0x2001, 0x0001, 0x1FFF, 0x6000])
    def test_ipv4_first_and_later(self, flags):
        sa = gcm_sa()
        received = hear(sa, Peer(sa).packet(1, V4, flags=flags))
        assert received is not None
        assert (received.verdict, received.counter, received.inner) == (Verdict.FRAGMENT, None, None)

    @pytest.mark.parametrize("flags", [0x4000, 0x8000, 0xC000])
    def test_df_and_the_evil_bit_make_no_fragment(self, flags):
        sa = gcm_sa()
        delivers(sa, Peer(sa).packet(1, V4, flags=flags))

    @pytest.mark.parametrize(("offset", "more"), [(0, True), (1, False), (1, True), (0x1FFF, False)])
    @pytest.mark.parametrize("before", [False, True])
    def test_ipv6_first_and_later(self, offset, more, before):
        sa = gcm_sa(*SA6)
        content = fragment_header(50, offset, more=more) + Peer(sa).esp(1, V4 + b"\0\4")
        content = extension(44) + content if before else content
        received = hear(sa, ipv6(content, dst=SA6[1], next_header=0 if before else 44))
        assert received is not None
        assert (received.verdict, received.counter) == (Verdict.FRAGMENT, None)

    def test_ipv6_fragment_bits_that_are_reserved_make_none(self):
        sa = gcm_sa(*SA6)
        header = bytearray(fragment_header(50))
        header[1], header[3] = 0xFF, 0x06
        delivers(sa, ipv6(bytes(header) + Peer(sa).esp(1, V4 + b"\0\4"), dst=SA6[1], next_header=44))

    def test_udp_first(self):
        sa = gcm_sa(encap=NATTED)
        datagram = udp(Peer(sa).esp(1, V4 + b"\0\4"), 4500, 4500)
        received = hear(sa, ipv4(datagram[:32], dst="192.0.2.2", flags=0x2000))
        assert received is not None
        assert received.verdict is Verdict.FRAGMENT
        sa6 = gcm_sa(*SA6, encap=NATTED)
        received = hear(sa6, ipv6(fragment_header(17, more=True) + datagram[:32], dst=SA6[1], next_header=44))
        assert received is not None
        assert received.verdict is Verdict.FRAGMENT

    def test_a_later_fragment_of_udp_shows_no_port(self):
        sa = gcm_sa(encap=NATTED)
        datagram = udp(Peer(sa).esp(1, V4 + b"\0\4"), 4500, 4500)
        assert hear(sa, ipv4(datagram, dst="192.0.2.2", flags=4)) is None

    def test_a_fragment_touches_no_sa(self):
        sad = new_sad(gcm_sa())
        (entry,) = sad
        Inbound(sad).receive(Peer(gcm_sa()).packet(1, V4, flags=0x2000))
        assert (entry.packets, entry.window.top) == (0, 0)


class TestEnds:
    @pytest.mark.parametrize("addresses", [("192.0.2.1", "192.0.2.2"), SA6], ids=["v4", "v6"])
    @pytest.mark.parametrize("mode", [Mode.TRANSPORT, Mode.TUNNEL])
    @pytest.mark.parametrize("encap", [None, NATTED])
    def test_ethernet_padding_behind_the_ip_packet(self, addresses, mode, encap):
        sa = gcm_sa(*addresses, mode=mode, encap=encap)
        peer = Peer(sa)
        packet = peer.packet(1, V4) if mode is Mode.TUNNEL else peer.packet(1, udp(b"x"), 17)
        padded, plain = hear(sa, packet + bytes(18)), hear(sa, packet)
        assert padded is not None
        assert plain is not None
        assert padded.inner == plain.inner is not None

    @pytest.mark.parametrize("addresses", [("192.0.2.1", "192.0.2.2"), SA6], ids=["v4", "v6"])
    @pytest.mark.parametrize("encap", [None, NATTED])
    def test_a_snapped_packet_moves_no_counter(self, addresses, encap):
        """The capture was cut, not the packet: xfrm never saw it so."""
        sa = gcm_sa(*addresses, encap=encap)
        packet = Peer(sa).packet(1, V4)
        esp = (20 if len(sa.dst) == 4 else 40) + (8 if encap else 0)
        for kept in range(esp, len(packet)):
            received = hear(sa, packet[:kept])
            if encap is not None and kept < esp + 4:
                continue  # whether it is ESP or IKE cannot be seen
            assert received is not None, kept
            assert received.verdict is (Verdict.HEADER if kept < esp + 8 else Verdict.TRUNCATED), kept
            assert received.counter is None
        delivers(sa, packet)

    def test_a_snapped_replay_is_still_a_replay(self):
        sad = new_sad(gcm_sa())
        inbound, packet = Inbound(sad), Peer(gcm_sa()).packet(1, V4)
        inbound.receive(packet)
        received = inbound.receive(packet[:40])
        assert received is not None
        assert (received.verdict, received.counter) == (Verdict.REPLAY_DUPLICATE, "XfrmInStateSeqError")

    @pytest.mark.parametrize("total", [0, 19, 20, 27, 28, 51])
    def test_a_total_length_that_lies(self, total):
        sa = gcm_sa()
        received = hear(sa, Peer(sa).packet(1, V4, total=total))
        assert received is None or received.verdict in (Verdict.HEADER, Verdict.TRUNCATED)
