"""`decap --model`: an SA that the driver refuses in its offload mode is not in the kernel either."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.sad.association import Direction, Encap, Offload, SecurityAssociation
from espsim.text.show import format_dump
from tests.support import Peer, gcm_sa, ipv4, udp, write_raw_capture

IXGBE = "intel-82599-linux"
IN = Offload("eth0", Direction.IN)
PACKET = Offload("eth0", Direction.IN, packet=True)
OUT = Offload("eth0", Direction.OUT, packet=True)


def an_sa(spi: int, offload: Offload | None, *, window: int = 0, encap: Encap | None = None) -> SecurityAssociation:
    return gcm_sa(spi=spi, key_byte=spi & 0xFF, offload=offload, window=window, encap=encap)


def decap(tmp_path, model: str, sas: list[SecurityAssociation], *options: str) -> tuple[dict[str, Any], str]:
    sad, capture = tmp_path / "sad", tmp_path / "in.pcap"
    sad.write_text("".join(format_dump(sa) for sa in sas))
    write_raw_capture(capture, [Peer(sa).packet(1, ipv4(udp(b"x"))) for sa in sas])
    words = [
        "decap",
        str(capture),
        "-o",
        str(tmp_path / "out"),
        "--sad",
        str(sad),
        "--model",
        model,
        "--json",
        *options,
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("way", [[], ["--reference"]])
def test_its_packets_count_xfrminnostates(tmp_path, way):
    """ixgbe takes crypto offload in transport mode: these are in tunnel mode, and none is offloaded."""
    natt = Encap("espinudp", 4500, 1024, bytes(4))  # a port that no other SA names
    sas = [an_sa(0x101, None), an_sa(0x102, IN), an_sa(0x103, PACKET), an_sa(0x104, PACKET, encap=natt)]
    result, said = decap(tmp_path, IXGBE, sas, *way)
    assert result["delivered"] == 1
    assert result["verdicts"] == {"DELIVERED": 1, "NO_SA": 3}
    assert result["linux_counters"] == {"XfrmInNoStates": 3}
    assert result["device"] == {"MISS": 4}
    assert said.count("so the kernel does not have this SA") == 3


@pytest.mark.parametrize("way", [[], ["--reference"]])
def test_eopnotsupp_in_crypto_mode_and_no_offload_line_leave_it_to_software(tmp_path, way):
    sas = [an_sa(0x101, None), an_sa(0x102, IN), an_sa(0x103, PACKET)]
    result, _ = decap(tmp_path, "marvell-cn10k-linux-mainline", sas, *way)
    assert result["delivered"] == 2
    assert result["linux_counters"] == {"XfrmInNoStates": 1}


def test_an_outbound_offload_line_is_not_offered(tmp_path):
    """It is an outbound SA for the device: nothing is refused, and what comes for it goes to software."""
    _, said = decap(tmp_path, IXGBE, [an_sa(0x101, OUT)])
    assert "the device answers" not in said
