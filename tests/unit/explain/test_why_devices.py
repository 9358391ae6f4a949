"""Why packets failed behind a modelled device, under a lookup that asks the UDP port, and one packet by itself."""

from __future__ import annotations

import json

import pytest

from espsim.core.verdict import Verdict
from espsim.explain.facts import CapturedPacket
from espsim.explain.why import why_one
from espsim.offload.device import Device
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.association import Encap
from espsim.sad.sad import Sad
from tests.command import espsim_text
from tests.equivalence.device_models import mask, twin
from tests.foreign import OTHER_KEY, Sealer, gcm_words, pcap, sa_line
from tests.support import Peer, gcm_sa, ipv4, new_sad

OTHER_END = "192.0.2.3"


def explained(inbound: Inbound, packet: bytes):
    received = inbound.receive(packet)
    assert received is not None
    return received, why_one(inbound, received, CapturedPacket(packet, captured=len(packet), wire=len(packet)))


@pytest.mark.parametrize("way", [("--reference",), ()], ids=" ".join)
def test_the_keys_of_another_sa(tmp_path, way):
    """The device looks at the SPI alone: of two SAs with one, the second one's packets meet the first one's keys."""
    more = "replay-window 64"
    sad = sa_line(gcm_words(), more=more) + sa_line(gcm_words(OTHER_KEY), dst=OTHER_END, more=more)
    (tmp_path / "sad").write_text(sad)
    packets = [Sealer().packet(1), Sealer(OTHER_KEY, dst=OTHER_END).packet(1), Sealer().packet(2)]
    words = ("decap", pcap(tmp_path / "in.pcap", packets), "--sad", tmp_path / "sad", "--json", *way)
    status, out, err = espsim_text(*words, "--model", "marvell-cn10k-linux-v5", "--assume", "model")
    assert status == 0, err
    result = json.loads(out)
    (one,) = result["why"]
    found = one["sa"], one["verdict"], one["cause"], one["packets"]
    assert found == (f"0x00001001@{OTHER_END}", "INTEGRITY", "other-sa", 1)
    assert "0x00001001@192.0.2.2" in one["detail"]
    assert json.loads(espsim_text(*words)[1])["why"] == []


def test_a_device_that_drops_what_software_would_find():
    """No cause of the list: the detail says what the device did."""
    sa, other = gcm_sa(), gcm_sa(spi=0x2001)
    inbound = OffloadedInbound(new_sad(sa, other), Device(twin("direct", mask(2), verify='["spi"]')))
    (first, _second) = inbound.sad
    inbound.offload(first)
    received, answer = explained(inbound, Peer(other).packet(1, ipv4(b"")))
    assert (received.verdict, received.entry.sa.spi) == (Verdict.NO_SA, 0x2001)
    assert answer.cause is None
    assert "0x00002001@192.0.2.2" in answer.detail


def with_port() -> Sad:
    sad = Sad(port_key=True)
    sad.newsa(gcm_sa(encap=Encap("espinudp", 4500, 4501, bytes(16))))
    return sad


def test_an_sa_of_another_port():
    sa = gcm_sa(encap=Encap("espinudp", 4500, 4500, bytes(16)))
    received, answer = explained(Inbound(with_port()), Peer(sa).packet(1, ipv4(b"")))
    assert (received.verdict, answer.cause) == (Verdict.NO_SA, "encap")
    assert "4501" in answer.detail
    assert "4500" in answer.detail


def test_a_packet_that_passed_has_no_cause():
    assert explained(Inbound(new_sad(gcm_sa())), Peer(gcm_sa()).packet(1, ipv4(bytes(8))))[1] is None


def test_one_damaged_packet_of_an_sa_that_has_opened_others():
    inbound, peer = Inbound(new_sad(gcm_sa())), Peer(gcm_sa())
    broken = peer.packet(2, ipv4(bytes(8)))[:-1] + b"?"
    assert explained(inbound, broken)[1].cause == "key"
    assert explained(inbound, peer.packet(1, ipv4(bytes(8))))[1] is None
    assert explained(inbound, broken)[1].cause == "damaged"
