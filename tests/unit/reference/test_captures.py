"""Captures of Linux, strongSwan and scapy: the inner packets, and the answers that a real kernel gave."""

from __future__ import annotations

import json

import pytest

from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.policies import Policies
from espsim.xfrm.policy_file import policies_of
from tests.support import CAPTURES, ethernet_frames, new_sad, sa_of

MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())

POLICY = "ip xfrm policy add src 10.1.0.1 dst 10.2.0.1 dir in tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel\n"
"""The receiver's, as its answers show it: another inner source has no policy, and the pair in clear is refused."""


@pytest.mark.parametrize("keep_window", [False, True], ids=["empty-window", "kept-window"])
@pytest.mark.parametrize("capture", MANIFEST["captures"], ids=lambda c: c["name"])
def test_every_packet_opens_to_the_stated_inner_packet(capture, keep_window):
    sad = new_sad(*map(sa_of, capture["sas"]), keep_window=keep_window)
    inbound = Inbound(sad)
    frames = ethernet_frames(CAPTURES / capture["file"])
    received = {n: inbound.receive(frame) for n, frame in enumerate(frames, 1)}
    esp = {n: r for n, r in received.items() if r is not None}
    assert set(esp) == {p["frames"][0] for p in capture["packets"]}
    for packet in capture["packets"]:
        r = esp[packet["frames"][0]]
        assert r.verdict is Verdict.DELIVERED, packet["frames"]
        assert r.inner is not None
        assert r.inner.hex() == packet["inner_hex"]
        assert (r.spi, r.seq64) == (packet["spi"], packet["seq_hi"] << 32 | packet["seq"])


@pytest.mark.parametrize("stream", MANIFEST["events"], ids=lambda e: e["name"])
def test_every_event_gets_the_kernels_answer(stream):
    sad = new_sad(sa_of(stream["sa"]))
    (entry,) = list(sad)
    inbound = Inbound(sad, policies=Policies(policies_of(POLICY).spd, clear=True))
    frames = ethernet_frames(CAPTURES / stream["file"])
    stats = {"bytes": 0, "packets": 0, "replay": 0, "replay_window": 0, "failed": 0}
    for event in stream["events"]:
        r = inbound.receive(frames[event["frame"] - 1])
        moved = {} if r is None or r.counter is None else {r.counter: 1}
        assert moved == event["xfrm_stat"], event["label"]
        inner = [r.inner.hex()] if r is not None and r.inner is not None else []
        assert inner == (event["decapsulated"] if event["delivered"] else []), event["label"]
        for name, n in event["sa"].items():
            stats[name] += n
        assert stats == {
            "bytes": entry.bytes,
            "packets": entry.packets,
            "replay": entry.stats.replay,
            "replay_window": entry.stats.replay_window,
            "failed": entry.stats.integrity_failed,
        }, event["label"]
