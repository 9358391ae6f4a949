"""ESP in ESP: bundles in transport mode, tunnels in tunnels, six SAs deep and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Encap, Mark, Mode, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from tests.support import Peer, fragment_header, gcm_sa, ipv4, ipv6, new_sad, udp

OUTER = ("192.0.2.1", "192.0.2.2")
DATA = udp(b"the innermost")
CLEAR = ipv4(DATA)


def sa(spi: int, src: str = OUTER[0], dst: str = OUTER[1], **options: Any) -> SecurityAssociation:
    return gcm_sa(src, dst, spi, key_byte=spi & 0xFF, **options)


def sealed(sas: Sequence[SecurityAssociation], clear: bytes, seq: int = 1) -> bytes:
    """A packet under several SAs, the last of them around all."""
    for each in sas:
        if each.mode is Mode.TUNNEL:
            clear = Peer(each).packet(seq, clear)
        else:  # `clear` is IPv4, and its header stays
            payload = Peer(each).esp(seq, _padded(clear[20:], clear[9]))
            fields: dict[str, Any] = {"src": OUTER[0], "dst": OUTER[1], "proto": 50}
            clear = ipv4(payload, **fields)
    return clear


def _padded(payload: bytes, following: int) -> bytes:
    pad = -(len(payload) + 2) % 4
    return payload + bytes(range(1, pad + 1)) + bytes((pad, following))


def receive(sas: Sequence[SecurityAssociation], *packets: bytes, **options: Any) -> list[Received[SadEntry]]:
    inbound = Inbound(new_sad(*sas), **options)
    found = [inbound.receive(packet) for packet in packets]
    return [answer for answer in found if answer is not None]


TUNNELS = [sa(0x1000 + n) for n in range(7)]
BUNDLE = [sa(0x2000 + n, mode=Mode.TRANSPORT) for n in range(7)]


@pytest.mark.parametrize("chain", [TUNNELS, BUNDLE], ids=["tunnels", "transport"])
@pytest.mark.parametrize("depth", range(1, 7))
def test_every_layer_is_opened_and_counts(chain, depth):
    used = chain[:depth]
    clear = CLEAR if chain is TUNNELS else ipv4(DATA, src=OUTER[0], dst=OUTER[1])
    (answer,) = receive(chain, sealed(used, clear))
    assert (answer.verdict, answer.depth, answer.spi) == (Verdict.DELIVERED, depth, used[0].spi)
    assert answer.inner is not None
    assert answer.inner == (clear if chain is TUNNELS else answer.inner)
    assert answer.inner.endswith(DATA)
    assert [layer.spi for layer in answer.layers] == [each.spi for each in reversed(used)]
    for layer in answer.layers:
        assert layer.entry is not None
        assert (layer.entry.packets, layer.entry.window.top, layer.verdict) == (1, 1, Verdict.DELIVERED)


@pytest.mark.parametrize("chain", [TUNNELS, BUNDLE], ids=["tunnels", "transport"])
def test_the_seventh_layer_is_too_deep(chain):
    (answer,) = receive(chain, sealed(chain, ipv4(DATA, src=OUTER[0], dst=OUTER[1])))
    assert (answer.verdict, answer.counter, answer.inner) == (Verdict.DEPTH, "XfrmInBufferError", None)
    assert (answer.depth, answer.spi, answer.entry) == (7, chain[0].spi, None)
    assert [layer.entry.packets for layer in answer.layers if layer.entry is not None] == [1] * 6


def test_transport_in_tunnel_and_tunnel_in_transport():
    for used in ([BUNDLE[0], TUNNELS[0]], [TUNNELS[0], BUNDLE[0]]):
        (answer,) = receive(used, sealed(used, ipv4(DATA, src=OUTER[0], dst=OUTER[1])))
        assert (answer.verdict, answer.depth) == (Verdict.DELIVERED, 2)
        assert answer.inner is not None
        assert answer.inner.endswith(DATA)


def test_each_layer_has_a_window_of_its_own():
    inner, outer = TUNNELS[:2]
    once = Peer(inner).packet(1, CLEAR)
    answers = receive([inner, outer], *(Peer(outer).packet(n, once) for n in (1, 2, 2)), once)
    assert [(a.verdict, a.depth) for a in answers] == [
        (Verdict.DELIVERED, 2),
        (Verdict.REPLAY_DUPLICATE, 2),  # the inner packet came twice
        (Verdict.REPLAY_DUPLICATE, 1),
        (Verdict.REPLAY_DUPLICATE, 1),
    ]
    entry = answers[1].entry
    assert entry is not None
    assert (entry.sa.spi, entry.stats.replay) == (inner.spi, 2)


def test_a_forged_inner_packet_is_the_inner_sas():
    inner, outer = TUNNELS[:2]
    forged = Peer(inner).packet(1, CLEAR)[:-1] + b"\0"
    (answer,) = receive([inner, outer], Peer(outer).packet(1, forged))
    assert (answer.verdict, answer.counter, answer.depth) == (Verdict.INTEGRITY, "XfrmInStateProtoError", 2)
    assert answer.entry is not None
    assert answer.entry.stats.integrity_failed == 1
    assert answer.around is not None
    assert answer.around.entry is not None
    assert (answer.around.entry.packets, answer.inner) == (1, None)


# -- who receives it --------------------------------------------------------------------------------------------------


def test_esp_to_someone_else_is_delivered_as_it_is():
    inner, outer = sa(0x1000, "10.1.0.1", "10.2.0.1"), TUNNELS[1]
    through = Peer(inner).packet(1, CLEAR)
    (answer,) = receive([outer], Peer(outer).packet(1, through))
    assert (answer.verdict, answer.depth, answer.inner) == (Verdict.DELIVERED, 1, through)
    outbound = replace(inner, dir=Direction.OUT)
    (answer,) = receive([outer, outbound], Peer(outer).packet(1, through))
    assert (answer.depth, answer.inner) == (1, through)


@pytest.mark.parametrize("around", [TUNNELS[1], BUNDLE[1]], ids=["tunnel", "transport"])
def test_esp_to_this_host_with_an_unknown_spi_has_no_sa(around):
    (answer,) = receive([around], sealed([TUNNELS[0], around], CLEAR))
    assert (answer.verdict, answer.counter, answer.depth) == (Verdict.NO_SA, "XfrmInNoStates", 2)
    assert (answer.spi, answer.entry, answer.inner) == (TUNNELS[0].spi, None, None)


def test_a_payload_too_short_for_a_header():
    packet = Peer(BUNDLE[0]).packet(1, b"1234567", 50)
    (answer,) = receive(BUNDLE, packet)
    assert (answer.verdict, answer.counter, answer.depth) == (Verdict.HEADER, "XfrmInHdrError", 2)


def test_inner_fragments_and_cut_packets_are_delivered_as_they_are():
    inner, outer = TUNNELS[:2]
    packet = Peer(inner).packet(1, CLEAR)
    fragment = ipv4(packet[20:60], src=OUTER[0], dst=OUTER[1], proto=50, flags=0x2000)
    longer = ipv4(packet[20:], src=OUTER[0], dst=OUTER[1], proto=50, total=len(packet) + 1)
    six = ipv6(fragment_header(50, 1) + packet[20:], src="2001:db8::1", dst="2001:db8::2", next_header=44)
    v6 = sa(0x3000, "2001:db8::1", "2001:db8::2")
    for clear in (fragment, longer, six):
        (answer,) = receive([inner, outer, v6], Peer(outer).packet(1, clear))
        assert (answer.verdict, answer.depth, answer.inner) == (Verdict.DELIVERED, 1, clear)


def test_next_header_and_version_must_agree():
    packet = Peer(TUNNELS[0]).packet(1, CLEAR)
    (answer,) = receive(TUNNELS, Peer(TUNNELS[1]).packet(1, packet, 41))
    assert answer.depth == 1


@pytest.mark.parametrize("around", [TUNNELS[1], BUNDLE[1]], ids=["tunnel", "transport"])
def test_udp_encapsulation_inside(around):
    inner = sa(0x1000, encap=Encap("espinudp", 4500, 4500, bytes(4)))
    (answer,) = receive([inner, around], sealed([inner, around], CLEAR))
    assert (answer.verdict, answer.depth, answer.inner) == (Verdict.DELIVERED, 2, CLEAR)
    keepalive = ipv4(udp(b"\xff", 4500, 4500), src=OUTER[0], dst=OUTER[1])
    (answer,) = receive([inner, around], sealed([around], keepalive))
    assert (answer.verdict, answer.depth) == (Verdict.DELIVERED, 1)


def test_families_mix():
    inner, outer = sa(0x1000, "2001:db8::1", "2001:db8::2"), TUNNELS[1]
    (answer,) = receive([inner, outer], sealed([inner, outer], CLEAR))
    assert (answer.depth, answer.inner) == (2, CLEAR)


# -- selectors, marks, devices, own traffic ---------------------------------------------------------------------------


def test_all_selectors_are_asked_about_the_innermost_packet():
    """As __xfrm_policy_check goes through the whole secpath: not about the ESP packet between."""
    wide = Selector(parse_address("10.1.0.0"), 16, parse_address("10.2.0.0"), 16)
    inner, outer = replace(TUNNELS[0], selector=wide), replace(TUNNELS[1], selector=wide)
    (answer,) = receive([inner, outer], sealed([inner, outer], CLEAR))
    assert (answer.verdict, answer.inner) == (Verdict.DELIVERED, CLEAR)
    refusing = replace(outer, selector=replace(wide, proto=6))
    (answer,) = receive([inner, refusing], sealed([inner, refusing], CLEAR))
    assert (answer.verdict, answer.depth) == (Verdict.POLICY, 2)


def test_an_output_mark_is_what_the_next_lookup_compares():
    inner, outer = replace(TUNNELS[0], mark=Mark(5, 15)), replace(TUNNELS[1], output_mark=Mark(5, 0xFFFFFFFF))
    (answer,) = receive([inner, outer], sealed([inner, outer], CLEAR))
    assert (answer.verdict, answer.depth) == (Verdict.DELIVERED, 2)
    (answer,) = receive([inner, TUNNELS[1]], sealed([inner, TUNNELS[1]], CLEAR))
    assert (answer.verdict, answer.depth) == (Verdict.NO_SA, 2)


def test_what_this_host_sent_is_opened_through():
    inner, outer = (replace(each, dir=Direction.OUT) for each in TUNNELS[:2])
    (answer,) = receive([inner, outer], sealed([inner, outer], CLEAR), own_traffic=True)
    assert (answer.verdict, answer.depth, answer.inner, answer.counter) == (Verdict.SENT, 2, CLEAR, None)
    assert [layer.verdict for layer in answer.layers] == [Verdict.SENT, Verdict.SENT]
    (answer,) = receive([outer], sealed([inner, outer], CLEAR), own_traffic=True)
    assert (answer.verdict, answer.depth) == (Verdict.SENT, 1)


def test_two_encaps_and_one_decap_go_round():
    """A bundle is what running encap twice makes: transport inside a tunnel between gateways."""
    transport = sa(0x1000, "10.1.0.1", "10.2.0.1", mode=Mode.TRANSPORT)
    tunnel = TUNNELS[1]
    once = Outbound(new_sad(transport), bytes).send(CLEAR)
    assert once is not None
    assert once.packet is not None
    twice = Outbound(new_sad(tunnel), bytes).send(once.packet)
    assert twice is not None
    assert twice.packet is not None
    (answer,) = receive([transport, tunnel], twice.packet)
    assert (answer.verdict, answer.depth, answer.inner) == (Verdict.DELIVERED, 2, CLEAR)


def test_a_device_sees_the_outer_packet_only():
    from espsim.offload.device import Device
    from espsim.offload.model import load_model

    inner, outer = TUNNELS[:2]
    sad = new_sad(inner, outer)
    inbound = OffloadedInbound(sad, Device(load_model("nvidia-mlx5-linux-crypto")))
    for entry in list(sad):
        assert inbound.offload(entry).errno is None
    answer = inbound.receive(sealed([inner, outer], CLEAR))
    assert answer is not None
    assert (answer.verdict, answer.depth, answer.device) == (Verdict.DELIVERED, 2, None)
    first = answer.layers[0].device
    assert first is not None
    assert first.name == "HIT"


def test_null_encryption_nests_too():
    algorithms = Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth-trunc", "hmac(sha256)", bytes(32), 128)
    chain = [replace(each, algorithms=algorithms) for each in BUNDLE[:3]]
    (answer,) = receive(chain, sealed(chain, ipv4(DATA, src=OUTER[0], dst=OUTER[1])))
    assert (answer.verdict, answer.depth) == (Verdict.DELIVERED, 3)
