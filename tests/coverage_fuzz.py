"""A coverage-guided fuzzer (atheris) of the reference path: `python -m tests.coverage_fuzz CORPUS [options]`.

The first byte says what the others are: a received IP packet, the plaintext of one whose ICV is right, a clear
packet to seal, or the fields of a valid packet that are changed. CORPUS gets a packet of each kind to begin with.
Checked for any input: no exception, a verdict, and an inner packet only if it was delivered. tests/unit/test_fuzzer.py
runs it for some seconds under `-m long`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["espsim"]):
    from espsim.core.verdict import PASSED, OutboundVerdict, Verdict
    from espsim.explain.outer_facts import OuterFacts
    from espsim.explain.packet import open_packet
    from espsim.explain.steps import Step
    from espsim.reference.inbound import Inbound
    from espsim.reference.layers import layer_of
    from espsim.reference.outbound import Outbound
    from espsim.reference.policies import Policies
    from espsim.xfrm.policy_file import policies_of

from tests.kinds import CLEAR, KINDS, Change, Kind
from tests.support import Peer, new_sad

COMES, INSIDE, LEAVES, FIELDS = range(4)
_SPD = policies_of("ip xfrm policy add dir in tmpl proto esp mode tunnel\nip xfrm policy add dir fwd\n").spd
_MOST = 4096


def comes(kind: Kind, packet: bytes) -> None:
    """An IP packet that comes to the SA of a kind."""
    inbound = Inbound(kind.sad(), own_traffic=True, policies=Policies(_SPD, clear=True))
    received = inbound.receive(packet)
    if received is not None and (received.inner is not None) is not (received.verdict in PASSED):
        raise AssertionError(f"{received.verdict.name} with an inner packet, or without")
    steps: list[Step] = []
    told = open_packet(kind.sad(), packet, trace=steps.append)
    for step in steps:
        step.as_dict()
    if told is not None and not isinstance(told.verdict, Verdict):
        raise AssertionError("no verdict")
    OuterFacts.of(packet, inbound.ports)
    layer_of(packet, inbound.ports)


def leaves(kind: Kind, packet: bytes, mtu: int) -> None:
    """A clear packet that leaves under the SA of a kind."""
    sent = Outbound(new_sad(kind.sa), bytes, mtu=mtu, keeps_mtu=True).send(packet)
    if sent is None:
        return
    if not isinstance(sent.verdict, OutboundVerdict):
        raise AssertionError("no verdict")
    most = max(mtu, 1280) if len(kind.sa.dst) == 16 else mtu
    if any(len(one) > most for one in sent.wire()):
        raise AssertionError(f"a packet of more than {most} bytes leaves")


def one(data: bytes) -> None:
    """One input."""
    if len(data) < 3:
        return
    way, kind, rest = data[0] % 4, KINDS[data[1] % len(KINDS)], data[2:]
    if way == COMES:
        comes(kind, rest)
    elif way == INSIDE:
        plain = rest + bytes(-len(rest) % kind.sa.aligned)
        peer = Peer(kind.sa)
        comes(kind, peer.around(peer.esp(5, plain)))
    elif way == LEAVES:
        leaves(kind, rest[1:], (68, 576, 1280, 1500)[rest[0] % 4])
    else:
        cuts = range(0, min(len(rest), 64) - 17, 18)
        changes = [Change(bool(rest[n] & 1), rest[n + 1], int.from_bytes(rest[n + 2 : n + 18])) for n in cuts]
        comes(kind, kind.built(changes))


def seeds(folder: Path) -> None:
    """A packet of each kind, in and out."""
    for n, kind in enumerate(KINDS):
        (folder / f"comes-{n}").write_bytes(bytes((COMES, n)) + kind.built())
        (folder / f"inside-{n}").write_bytes(bytes((INSIDE, n)) + kind.inner + bytes((0, kind.next_header)))
        (folder / f"fields-{n}").write_bytes(bytes((FIELDS, n)) + bytes(18))
        for m, (packet, _places) in enumerate(CLEAR):
            (folder / f"leaves-{n}-{m}").write_bytes(bytes((LEAVES, n, m)) + packet)


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    atheris.Setup([*sys.argv, f"-max_len={_MOST}", "-timeout=10", "-rss_limit_mb=2048"], one)
    atheris.Fuzz()
