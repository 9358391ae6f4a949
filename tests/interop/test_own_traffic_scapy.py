"""Captures of both directions, ESP and cooked headers made by scapy."""

from __future__ import annotations

import json

import pytest

from tests.command import espsim

pytestmark = pytest.mark.interop
pytest.importorskip("scapy.layers.ipsec", reason="scapy is not installed (the `interop` extra)")

KEY = bytes(range(20))
HERE, THERE = "192.0.2.1", "192.0.2.2"
ADD = (
    "ip xfrm state add src {src} dst {dst} proto esp spi 0x{spi:x} mode tunnel{window}"
    " aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128{more}\n"
)


def association(spi, src, dst, *, esn=None):
    from scapy.layers.inet import IP
    from scapy.layers.ipsec import ESP, SecurityAssociation

    return SecurityAssociation(
        ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=KEY, tunnel_header=IP(src=src, dst=dst),
        esn_en=esn is not None, esn=esn or 0,
    )  # fmt: skip


def clear(n):
    from scapy.layers.inet import IP, UDP
    from scapy.packet import Raw

    return IP(src="10.1.0.1", dst="10.2.0.1") / UDP(sport=7, dport=9) / Raw(bytes((n,)) * 20)


def decapped(folder, frames, sad, *way):
    from scapy.utils import wrpcap

    wrpcap(str(folder / "in.pcap"), frames)
    (folder / "sad").write_text(sad)
    words = ("decap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "out.pcap")
    ended = espsim(*words, "--verdicts", folder / "lines", "--json", *way)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    return [line["verdict"] for line in lines], json.loads(ended.stdout)


def inner_packets(folder):
    from scapy.utils import rdpcap

    return [bytes(packet) for packet in rdpcap(str(folder / "out.pcap"))]


def cooked(version, kind, packet):
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2

    header = CookedLinux(pkttype=kind) if version == 1 else CookedLinuxV2(pkttype=kind)
    header.proto = 0x0800
    return header / packet


@pytest.mark.parametrize("way", [(), ("--reference",)], ids=["batches", "reference"])
def test_ethernet_of_both_directions_with_esn(tmp_path, way):
    """The host's own numbers go over 2^32."""
    from scapy.layers.l2 import Ether

    out, out_after = (association(0x1001, HERE, THERE, esn=esn) for esn in (2, 3))
    back = association(0x2001, THERE, HERE)
    packets = [out.encrypt(clear(n), seq_num=0xFFFFFFFE + n) for n in (0, 1)]
    packets += [back.encrypt(clear(2), seq_num=1)]
    packets += [out_after.encrypt(clear(3), seq_num=0), out_after.encrypt(clear(4), seq_num=1)]
    packets += [out.encrypt(clear(5), seq_num=0xFFFFFFF0)]
    sad = ADD.format(
        src=HERE, dst=THERE, spi=0x1001, window="", more=" flag esn replay-oseq 0xfffffff0 replay-oseq-hi 2 dir out"
    ) + ADD.format(src=THERE, dst=HERE, spi=0x2001, window=" replay-window 32", more=" dir in")
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # else scapy asks the network, 2 s each
    verdicts, said = decapped(tmp_path, [link / packet for packet in packets], sad, *way)
    assert verdicts == ["SENT", "SENT", "DELIVERED", "SENT", "SENT", "SENT"]
    assert (said["sent"], said["delivered"], said["linux_counters"]) == (5, 1, {})
    assert inner_packets(tmp_path) == [bytes(clear(n)) for n in range(6)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("way", [(), ("--reference",)], ids=["batches", "reference"])
def test_a_forwarding_host_sees_a_packet_twice(tmp_path, version, way):
    """`tcpdump -i any` of a gateway between the two ends: in by one interface, out by another."""
    sa = association(0x1001, HERE, THERE)
    packets = [sa.encrypt(clear(n), seq_num=n + 1) for n in range(3)]
    frames = [cooked(version, kind, packet) for packet in packets for kind in (0, 4)]
    sad = ADD.format(src=HERE, dst=THERE, spi=0x1001, window=" replay-window 32", more="")
    verdicts, said = decapped(tmp_path, frames, sad, *way)
    assert verdicts == ["DELIVERED", "SENT"] * 3
    assert (said["delivered"], said["sent"], said["linux_counters"]) == (3, 3, {})
    assert inner_packets(tmp_path) == [bytes(clear(n // 2)) for n in range(6)]


@pytest.mark.parametrize("version", [1, 2])
def test_an_outgoing_frame_of_an_inbound_sa_is_received(tmp_path, version):
    """Two namespaces of one host: what one sends the other receives, and its SA says dir in."""
    sa = association(0x1001, HERE, THERE)
    frames = [cooked(version, 4, sa.encrypt(clear(0), seq_num=1))]
    sad = ADD.format(src=HERE, dst=THERE, spi=0x1001, window=" replay-window 32", more=" dir in")
    assert decapped(tmp_path, frames, sad)[0] == ["DELIVERED"]
