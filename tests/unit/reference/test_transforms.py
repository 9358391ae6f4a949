"""Keys are set up by the path's engine, at the SA's first packet, once, and dropped with the SA."""

from __future__ import annotations

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.core.verdict import Verdict
from espsim.reference import transforms
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.reference.transforms import Transforms
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp


class Counting(CryptographyEngine):
    def __init__(self):
        self.made = []

    def transform(self, keys):
        self.made.append(keys)
        return super().transform(keys)


def verdict_of(inbound: Inbound, packet: bytes) -> Verdict:
    received = inbound.receive(packet)
    assert received is not None
    return received.verdict


def test_each_path_has_its_own_and_makes_it_at_the_first_packet():
    sa, engine = gcm_sa(), Counting()
    inbound = Inbound(new_sad(sa, gcm_sa(spi=2)), engine=engine)
    outbound = Outbound(new_sad(sa), bytes, engine=engine)
    assert engine.made == []
    for _ in range(3):
        sent = outbound.send(ipv4(udp(b"inside")))
        assert sent is not None
        assert verdict_of(inbound, sent.packet or b"") is Verdict.DELIVERED
    assert engine.made == [sa.keys, sa.keys]


def test_a_refused_number_needs_no_keys():
    engine = Counting()
    inbound = Inbound(new_sad(gcm_sa()), engine=engine)
    assert verdict_of(inbound, Peer(gcm_sa()).packet(0, ipv4(udp(b"")))) is Verdict.REPLAY_ZERO
    assert engine.made == []


def test_those_of_sas_that_are_gone_are_thrown_out(monkeypatch):
    monkeypatch.setattr(transforms, "_FEW", 4)
    engine, sad, kept = Counting(), new_sad(gcm_sa(spi=1)), 0
    made = Transforms(engine)
    first = next(iter(sad))
    for spi in range(2, 40):
        entry = sad.newsa(gcm_sa(spi=spi))
        for one in (first, entry):
            assert one.sa.keys is not None
            made.of(one, one.sa.keys)
        sad.kill(entry)
        kept = max(kept, len(made))
    assert (kept, len(engine.made)) == (4, 39)
