"""Transport mode: what comes out is what went in, byte for byte, options and extension headers included."""

from __future__ import annotations

from typing import Any

import pytest

from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Mode
from tests.support import checksum, extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, udp

END4: dict[str, Any] = {"src": "192.0.2.1", "dst": "192.0.2.2"}
END6: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8::2"}
ENCAPS = [None, Encap("espinudp", 4500, 31002, bytes(16))]


def sa_for(packet, **options):
    ends = END4 if packet[0] >> 4 == 4 else END6
    return gcm_sa(ends["src"], ends["dst"], mode=Mode.TRANSPORT, **options)


def seal(packet, **options):
    return Outbound(new_sad(sa_for(packet, **options)), bytes).send(packet)


def there_and_back(packet, **options):
    """The packet on the wire, after checking that the receiver gets the original."""
    sent = seal(packet, **options)
    assert sent is not None
    assert (sent.verdict, sent.counter) == (OutboundVerdict.SEALED, None)
    assert sent.packet is not None
    received = Inbound(new_sad(sa_for(packet, **options))).receive(sent.packet)
    assert received is not None
    assert received.verdict is Verdict.DELIVERED
    assert received.inner == packet
    return sent.packet


@pytest.mark.parametrize("encap", ENCAPS, ids=["plain", "udp"])
@pytest.mark.parametrize("options", [b"", b"\1\1\1\0", b"\x94\4\0\0" * 10], ids=["none", "four", "forty"])
@pytest.mark.parametrize("proto", [1, 4, 6, 17, 132, 255])
def test_ipv4(options, proto, encap):
    packet = ipv4(
        b"payload of any protocol", proto=proto, options=options, tos=0xBA, flags=0x4000, ident=5, ttl=9, **END4
    )
    wire = there_and_back(packet, encap=encap)
    header = 20 + len(options)
    assert checksum(wire[:header]) == 0
    assert wire[9] == (17 if encap else 50)
    assert int.from_bytes(wire[2:4]) == len(wire)
    # everything else of the header stays: version, TOS, ident, flags, TTL, addresses, options
    for part in (slice(0, 2), slice(4, 9), slice(12, header)):
        assert wire[part] == packet[part]


CHAINS = {
    "none": (17, b""),
    "hop-by-hop": (0, extension(17, 16)),
    "routing": (43, bytes((17, 0, 4, 0)) + bytes(4)),
    "destination": (60, extension(17)),
    "hop-by-hop, destination, routing": (0, extension(60) + extension(43) + bytes((17, 0, 4, 0)) + bytes(4)),
    "routing, destination": (43, bytes((60, 0, 4, 0)) + bytes(4) + extension(17)),
    "no next header": (59, b""),
}


@pytest.mark.parametrize("encap", ENCAPS, ids=["plain", "udp"])
@pytest.mark.parametrize("chain", list(CHAINS))
def test_ipv6(chain, encap):
    first, headers = CHAINS[chain]
    packet = ipv6(headers + udp(b"data"), next_header=first, traffic_class=0xBA, flow=0xABCDE, hops=3, **END6)
    if chain == "no next header":
        return_if_dummy(packet, encap)
        return
    wire = there_and_back(packet, encap=encap)
    assert int.from_bytes(wire[4:6]) == len(wire) - 40
    assert wire[:4] == packet[:4]
    assert wire[7:40] == packet[7:40]


def return_if_dummy(packet, encap):
    """Next header 59 inside ESP is a dummy to the receiver: dropped, not delivered."""
    sent = seal(packet, encap=encap)
    received = Inbound(new_sad(sa_for(packet, encap=encap))).receive(sent.packet)
    assert received is not None
    assert received.verdict is Verdict.TRAILER


def test_where_esp_goes_between_extension_headers():
    first, headers = CHAINS["hop-by-hop, destination, routing"]
    wire = there_and_back(ipv6(headers + udp(b"data"), next_header=first, **END6))
    assert (wire[6], wire[40], wire[48], wire[56]) == (0, 60, 43, 50)  # each header names the next, routing names ESP
    first, headers = CHAINS["routing, destination"]
    wire = there_and_back(ipv6(headers + udp(b"data"), next_header=first, **END6))
    assert (wire[6], wire[40]) == (43, 50)


def test_the_udp_checksum_is_0_over_ipv4_and_computed_over_ipv6():
    wire = there_and_back(ipv4(udp(b"data"), **END4), encap=ENCAPS[1])
    assert (wire[20:24].hex(), wire[26:28]) == ("1194791a", b"\0\0")
    assert int.from_bytes(wire[24:26]) == len(wire) - 20
    wire = there_and_back(ipv6(udp(b"data"), **END6), encap=ENCAPS[1])
    assert wire[40:44].hex() == "1194791a"
    assert wire[46:48] != b"\0\0"
    pseudo = wire[8:40] + (len(wire) - 40).to_bytes(4) + (17).to_bytes(4)
    assert checksum(pseudo + wire[40:]) == 0


@pytest.mark.parametrize("flags", [0x2000, 1, 0x2001])
def test_fragments_are_refused(flags):
    sent = seal(ipv4(udp(b"data"), flags=flags, **END4))
    assert sent is not None
    assert (sent.verdict, sent.packet, sent.seq64) == (OutboundVerdict.FRAGMENT, None, None)
    assert sent.entry is not None
    assert (sent.entry.oseq, sent.entry.packets) == (0, 0)  # no number is spent on it
    sent = seal(ipv6(fragment_header(17, more=True) + udp(b"data"), next_header=44, **END6))
    assert sent is not None
    assert sent.verdict is OutboundVerdict.FRAGMENT


def test_only_the_sas_own_addresses():
    sad = new_sad(sa_for(ipv4(b"")))
    for packet in (ipv4(b"x", src="192.0.2.1"), ipv4(b"x", dst="192.0.2.2"), ipv6(b"x", **END6)):
        sent = Outbound(sad, bytes).send(packet)
        assert sent is not None
        assert (sent.verdict, sent.counter) == (OutboundVerdict.NO_SA, "XfrmOutNoStates")


def test_what_lies_behind_the_ip_packet_is_not_sealed():
    packet = ipv4(udp(b"data"), **END4)
    assert seal(packet + b"\0" * 14).packet == seal(packet).packet
    packet = ipv6(udp(b"data"), **END6)
    assert seal(packet + b"\0" * 14).packet == seal(packet).packet


def test_a_packet_that_would_exceed_65535_bytes_with_its_extension_headers():
    packet = ipv6(extension(17, 2048) + udp(bytes(63_470)), next_header=0, **END6)
    sent = seal(packet)
    assert sent is not None
    assert sent.verdict is OutboundVerdict.TOO_BIG


@pytest.mark.parametrize("first", [0x40, 0x41, 0x44, 0x4F])
def test_an_ipv4_header_length_that_cannot_be(first):
    packet = ipv4(b"data", **END4)
    sent = seal(bytes((first,)) + packet[1:])
    assert sent is None or sent.packet is None
