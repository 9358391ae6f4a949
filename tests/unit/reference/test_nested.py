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
from espsim.reference.outer import Arrival, parse_outer
from espsim.sad.association import Direction, Encap, Mark, Mode, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
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


def outbound(*sas: SecurityAssociation) -> list[SecurityAssociation]:
    return [replace(each, dir=Direction.OUT) for each in sas]


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
    packet = Peer(BUNDLE[0]).packet(1, Peer(BUNDLE[1]).esp(9, b"")[:8], 50)
    (answer,) = receive(BUNDLE, packet)
    assert (answer.verdict, answer.spi, answer.seq) == (Verdict.TRUNCATED, BUNDLE[1].spi, 9)


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
    """`ident` lies where IPv6 has its length: read as IPv6, the IPv4 packet is whole."""
    packet = Peer(TUNNELS[0]).packet(1, CLEAR, ident=1000)
    (answer,) = receive(TUNNELS, Peer(TUNNELS[1]).packet(1, packet, 41))
    assert (answer.depth, answer.inner) == (1, packet)
    v6 = sa(0x3000, "2001:db8::1", "2001:db8::2")
    packet = Peer(v6).packet(1, CLEAR)
    (answer,) = receive([v6, TUNNELS[1]], Peer(TUNNELS[1]).packet(1, packet, 4))
    assert (answer.depth, answer.inner) == (1, packet)


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


def test_what_this_host_sent_moves_no_counter():
    """Seven layers deep, or too short for a header."""
    sent = outbound(*TUNNELS)
    (answer,) = receive(sent, sealed(sent, CLEAR), own_traffic=True)
    assert (answer.verdict, answer.depth, answer.counter, answer.own) == (Verdict.DEPTH, 7, None, True)
    outer = parse_outer(ipv4(bytes(7), proto=50), ())
    assert outer is not None
    short = Inbound(new_sad(*sent)).nested.receive(Arrival(b"", outer, 0, 0, 0.0, own=True), answer)
    assert (short.verdict, short.counter, short.own) == (Verdict.HEADER, None, True)


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


# -- the parts by themselves ------------------------------------------------------------------------------------------

INNER, AROUND = TUNNELS[:2]
ELSEWHERE = "10.2.0.9"


def test_what_is_inside_came_when_and_as_the_packet_around_it():
    nested = Inbound(new_sad(INNER, AROUND)).nested
    clear = Peer(INNER).packet(9, CLEAR)
    outer = parse_outer(clear, ())
    assert outer is not None
    around = Arrival(b"", outer, 1, 2, 7.5, 3, True, mark=0x2A, path=(BUNDLE[0],))
    marking = replace(AROUND, output_mark=Mark(0x15, 0xF))
    want = Arrival(clear, outer, INNER.spi, 9, 7.5, 3, True, mark=0x25, path=(BUNDLE[0], marking))
    assert nested.inside(around, marking, clear, 4) == want
    unmarked = nested.inside(replace(around, mark=None), marking, clear, 4)
    assert unmarked == replace(want, mark=None)


@pytest.mark.parametrize(("size", "numbers"), [(7, (0, 0)), (8, (INNER.spi, 9)), (9, (INNER.spi, 9))])
def test_spi_and_number_of_a_short_inner_packet(size, numbers):
    """0 where they cannot be read."""
    short = ipv4(Peer(INNER).esp(9, b"")[:size], src=OUTER[0], dst=OUTER[1], proto=50)
    outer = parse_outer(short, ())
    assert outer is not None
    found = Inbound(new_sad(AROUND)).nested.inside(Arrival(b"", outer, 1, 2, 0.0), AROUND, short, 4)
    assert found is not None
    assert (found.spi, found.seq) == numbers


def test_an_sa_that_came_later_counts_once_the_path_has_read_the_sad_again():
    sad = new_sad(AROUND)
    inbound = Inbound(sad)
    elsewhere = sa(INNER.spi, dst=ELSEWHERE)
    once = Peer(elsewhere).packet(1, CLEAR)
    before = inbound.receive(Peer(AROUND).packet(1, once))
    sad.newsa(elsewhere)
    inbound.refresh_ports()
    after = inbound.receive(Peer(AROUND).packet(2, once))
    assert before is not None
    assert after is not None
    assert (before.depth, after.depth, after.inner) == (1, 2, CLEAR)


def holds(
    sas: Sequence[SecurityAssociation], clear: bytes, own: bool = False, outgoing: bool = False, following: int = 4,
    **options: Any,
) -> bool:  # fmt: skip
    """Of a payload that was opened under the last SA."""
    nested = Inbound(new_sad(*sas), **options).nested
    return nested.holds_another(sas[-1], Peer(sas[-1]).packet(1, clear), clear, following, own, outgoing)


def test_whether_a_payload_is_esp_for_this_host():
    once = Peer(INNER).packet(1, CLEAR)
    assert holds([INNER, AROUND], once) is True
    assert holds([AROUND], Peer(sa(1, dst=ELSEWHERE)).packet(1, CLEAR)) is False
    assert holds([INNER, AROUND], CLEAR) is False
    assert holds([INNER, AROUND], once, following=17) is False  # no tunnel's payload
    assert holds([BUNDLE[0]], once[20:], following=50) is True
    assert Inbound(new_sad(INNER)).nested.holds_another(INNER, b"", once, 4, False, False) is False


def test_whether_a_payload_is_esp_of_this_host():
    once = Peer(INNER).packet(1, CLEAR)
    for sas in ([INNER, AROUND], outbound(INNER, AROUND)):
        goes_out = sas[0].dir is Direction.OUT
        assert holds(sas, once, own=False) is not goes_out
        assert holds(sas, once, own=False, outgoing=True) is not goes_out
        assert holds(sas, once, own=True) is goes_out
        assert holds(sas, once, own=True, outgoing=True) is True


def sent_inside(sad: Sad, clear: bytes, *, outgoing: bool = False, mark: int | None = 0, ahead: bool = False) -> bool:
    """Of a packet that was inside one of AROUND, which this host sent."""
    outer = parse_outer(clear, (4501,))
    assert outer is not None
    around = Arrival(b"", outer, 0, 0, 0.0, outgoing=outgoing, mark=mark, own=True)
    return Inbound(sad).nested.inside(around, AROUND, clear, 4, ahead=ahead) is not None


@pytest.mark.parametrize("ahead", [False, True])
def test_what_was_inside_is_of_this_host_where_it_sends_under_that_sa(ahead):
    once = Peer(INNER).packet(1, CLEAR)
    assert sent_inside(new_sad(*outbound(INNER)), once, ahead=ahead) is True
    assert sent_inside(new_sad(INNER), once, ahead=ahead) is False
    assert sent_inside(new_sad(INNER), once, ahead=ahead, outgoing=True) is True
    elsewhere = outbound(sa(INNER.spi, dst=ELSEWHERE))
    assert sent_inside(new_sad(*elsewhere), once, ahead=ahead, outgoing=True) is False
    assert sent_inside(new_sad(*elsewhere, *outbound(INNER)), once, ahead=ahead) is True


@pytest.mark.parametrize(("mark", "found"), [(0, False), (5, True), (None, True)])
def test_the_mark_of_what_this_host_sent(mark, found):
    """Ahead it does not count: the SA that would be found by it may be gone then."""
    sad, once = new_sad(*outbound(replace(INNER, mark=Mark(5, 15)))), Peer(INNER).packet(1, CLEAR)
    assert sent_inside(sad, once, mark=mark) is found
    assert sent_inside(sad, once, mark=mark, ahead=True) is True


def test_an_sa_of_this_host_that_a_newer_one_hides():
    """Ahead it counts, because the newer one may be gone then."""
    hidden, newer = outbound(replace(INNER, mark=Mark(5, 7)))[0], sa(INNER.spi, "192.0.2.9")
    sad, once = new_sad(hidden, newer), Peer(INNER).packet(1, CLEAR)
    assert sent_inside(sad, once, mark=5) is False
    assert sent_inside(sad, once, mark=5, ahead=True) is True
    assert holds([hidden, newer, *outbound(AROUND)], once, own=True, mark=5) is True


def test_the_udp_port_of_what_this_host_sent():
    """Where it is part of the key."""
    sad = Sad(port_key=True)
    (inner,) = outbound(sa(1, encap=Encap("espinudp", 4502, 4501, bytes(4))))
    sad.newsa(inner)
    assert sent_inside(sad, Peer(inner).packet(1, CLEAR)) is True


# -- what may hold another, before it is opened -----------------------------------------------------------------------


def may_hold(sas: Sequence[SecurityAssociation], packet: bytes, outgoing: bool = False) -> bool:
    return Inbound(new_sad(*sas)).nested.may_hold_another(packet, outgoing)


def test_whether_a_packet_may_hold_another_one():
    twice = sealed([INNER, AROUND], CLEAR)
    assert may_hold([INNER, AROUND], twice) is True
    assert may_hold([INNER, AROUND], sealed([INNER], CLEAR)) is False
    assert may_hold([AROUND], sealed([sa(1, dst=ELSEWHERE), AROUND], CLEAR)) is False
    assert may_hold(BUNDLE, sealed(BUNDLE[:2], ipv4(DATA))) is True
    sent = outbound(INNER, AROUND)
    assert may_hold(sent, twice) is True
    assert may_hold([INNER, sent[1]], twice, outgoing=True) is True


def test_what_holds_no_other_one_as_it_is():
    """No ESP, a fragment, too short for a header."""
    esp = Peer(AROUND).packet(1, sealed([INNER], CLEAR))[20:]
    fields: dict[str, Any] = {"src": OUTER[0], "dst": OUTER[1]}
    assert may_hold([INNER, AROUND], ipv4(esp, proto=50, **fields)) is True
    assert may_hold([INNER, AROUND], ipv4(esp, proto=51, **fields)) is False
    assert may_hold([INNER, AROUND], ipv4(esp, proto=50, flags=0x2000, **fields)) is False
    assert may_hold([INNER, AROUND], ipv4(esp[:7], proto=50, **fields)) is False


def test_with_esn_what_does_not_open_now_may_hold_another_one():
    """Its high half may be inferred otherwise later. That is no help where it is cut short, or without ESN."""
    esn = replace(AROUND, flags=frozenset({"esn"}))
    for outer, unknown in ((AROUND, False), (esn, True)):
        forged = Peer(outer).packet(1, CLEAR)[:-1] + b"\0"
        assert may_hold([INNER, outer], forged) is unknown
        assert may_hold([INNER, outer], Peer(outer).around(Peer(outer).esp(1, b"")[:20])) is False
        assert may_hold([INNER, outer], Peer(outer).packet(1, CLEAR)) is False
        assert may_hold([INNER, outer], sealed([INNER, outer], CLEAR)) is True
    tunnels = replace(esn, mode=Mode.IPTFS)
    assert may_hold([INNER, tunnels], Peer(esn).packet(1, CLEAR)[:-1] + b"\0") is False


def test_every_sa_of_the_spi_is_tried():
    """One without keys, one of another key, and one under which the trailer is damaged come first."""
    ah = replace(AROUND, proto=51, algorithms=(Algorithm("auth-trunc", "hmac(sha256)", bytes(32), 128),))
    other = gcm_sa(OUTER[0], ELSEWHERE, AROUND.spi, key_byte=99)
    assert ah.keys is None
    assert may_hold([ah, other, INNER, AROUND], sealed([INNER, AROUND], CLEAR)) is True
    damaged = Peer(other).packet(1, b"", 4, plaintext=b"\1\1\xff\4")
    assert may_hold([ah, other, INNER, AROUND], damaged) is False
