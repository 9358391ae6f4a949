"""Published packets through the whole reference path, and DPDK's anti-replay sequences with real ICVs."""

from __future__ import annotations

import struct

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.verdict import REPLAY_VERDICTS, OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Mode, ReplayState, SecurityAssociation
from espsim.sad.window import Window
from tests.support import gcm_sa, new_sad, vectors

V4 = bytes.fromhex("4500002600004000401166c50a0100010a02000115b31e6100120000") + b"0123456789"


@pytest.mark.parametrize(
    "vector",
    [v for f in ("rfc3602_esp_cases.json", "rfc7634_appendix_a.json") for v in vectors(f)["vectors"] if v["ip_packet"]],
    ids=lambda v: v["id"],
)
def test_whole_packets_of_the_rfcs(vector):
    packet = bytes.fromhex(vector["ip_packet"])
    key = bytes.fromhex(vector["key"] + vector["salt"])
    algorithm = (
        Algorithm("enc", "cbc(aes)", key)
        if vector["algorithm"] == "AES-CBC"
        else Algorithm("aead", "rfc7539esp(chacha20,poly1305)", key, 128)
    )
    sa = SecurityAssociation(
        packet[12:16], packet[16:20], vector["spi"], mode=Mode(vector["mode"]), algorithms=(algorithm,), window=32
    )
    sad = new_sad(sa)
    received = Inbound(sad).receive(packet)
    assert received is not None
    assert received.verdict is Verdict.DELIVERED
    payload = bytes.fromhex(vector["trailer"]["payload"])
    assert received.inner is not None
    if vector["mode"] == "tunnel":
        assert received.inner == payload
    else:
        assert received.inner[9] == vector["trailer"]["next_header"]
        assert received.inner[20:] == payload
        assert int.from_bytes(received.inner[2:4]) == 20 + len(payload)

    # And back: sealed with the stated IV and number it is the stated ESP packet.
    outbound = Outbound(new_sad(sa), bytes)
    (entry,) = list(outbound.sad)
    entry.oseq = vector["seq"] - 1
    sent = outbound.send_with(entry, received.inner, iv=bytes.fromhex(vector["iv"]))
    assert sent.verdict is OutboundVerdict.SEALED
    assert sent.packet is not None
    assert sent.packet[20:].hex() == vector["packet"]


@pytest.mark.parametrize("sequence", vectors("anti_replay_dpdk.json")["sequences"], ids=lambda s: s["id"])
def test_anti_replay_sequences(sequence):
    esn = sequence["esn"]
    flags = frozenset({"esn"} if esn else ())
    receiver = new_sad(gcm_sa(window=sequence["window"], flags=flags))
    sender = new_sad(gcm_sa(window=sequence["window"], flags=flags))
    (rx,), (tx,) = list(receiver), list(sender)
    inbound, outbound = Inbound(receiver), Outbound(sender, bytes)
    for step in sequence["steps"]:
        if step["op"] == "set":
            rx.window = Window(sequence["window"], esn=esn, top=step["top"])
            continue
        for seq in step["seqs"]:
            tx.oseq = seq - 1
            sent = outbound.send_with(tx, V4)
            assert sent.packet is not None
            top = rx.window.top
            received = inbound.receive(sent.packet)
            assert received is not None
            if step["expect"] == "accept":
                assert received.verdict is Verdict.DELIVERED, (seq, step)
                continue
            assert received.verdict is not Verdict.DELIVERED, (seq, step)
            assert rx.window.top == top
            if step.get("reason") == "replay":
                assert received.verdict in REPLAY_VERDICTS, (seq, step)
            elif step.get("reason") == "auth":
                assert received.verdict is Verdict.INTEGRITY, (seq, step)


def test_every_set_operation_of_the_sequences_is_understood():
    ops = {step["op"] for s in vectors("anti_replay_dpdk.json")["sequences"] for step in s["steps"]}
    assert ops <= {"set", "recv"}


def test_mcgrew_01_low_half_zero_is_a_valid_esn_number():
    """Sequence number 0x8765432100000000: the wire says 0, which only ESN may."""
    vector = vectors("draft_mcgrew_gcm_test_01.json")["vectors"][0]
    sa = SecurityAssociation(
        parse_address("192.0.2.1"), parse_address("192.0.2.2"), vector["spi"], mode=Mode.TRANSPORT, window=64,
        flags=frozenset({"esn"}), replay=ReplayState(seq_hi=vector["seq"] >> 32),
        algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes.fromhex(vector["key"] + vector["salt"]), 128),),
    )  # fmt: skip
    esp = bytes.fromhex(vector["packet"])
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(esp), 0, 0, 64, 50, 0, sa.src, sa.dst)
    received = Inbound(new_sad(sa)).receive(header + esp)
    assert received is not None
    assert (received.verdict, received.seq64) == (Verdict.DELIVERED, vector["seq"])
    assert received.inner is not None
    assert received.inner[20:].hex() == vector["trailer"]["payload"]
