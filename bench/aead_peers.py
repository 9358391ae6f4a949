"""Other people's AES-GCM on one core: DPDK's crypto-perf and `openssl speed`, as operations a second."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A program and one of its drivers."""

    name: str
    program: str
    driver: str


PEERS = (
    Peer("crypto-perf aesni_gcm", "dpdk-test-crypto-perf", "crypto_aesni_gcm"),
    Peer("crypto-perf openssl", "dpdk-test-crypto-perf", "crypto_openssl"),
    Peer("openssl speed", "openssl", ""),
)


def missing(peer: Peer) -> str | None:
    """Why a peer cannot run, None where it can."""
    return None if shutil.which(peer.program) else f"{peer.program} is not installed"


def rate(peer: Peer, size: int, operations: int) -> float:
    """AES-128-GCM openings of `size` bytes with 8 bytes of AAD, one key, a second. Raises ValueError with its output.

    `openssl speed` seals instead (its opening checks nothing), and runs for a second whatever `operations` is.
    """
    if peer.program == "openssl":
        return _openssl(size)
    command = [
        peer.program, "-l", "0,1", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--vdev", f"{peer.driver}0",
        "--", "--ptest", "throughput", "--devtype", peer.driver, "--optype", "aead", "--aead-algo", "aes-gcm",
        "--aead-op", "decrypt", "--aead-key-sz", "16", "--aead-iv-sz", "12", "--aead-aad-sz", "8", "--digest-sz", "16",
        "--buffer-sz", str(size), "--total-ops", str(operations), "--burst-sz", "32", "--silent", "--csv-friendly",
    ]  # fmt: skip
    output = _run(command)
    line = re.search(r"^\d+,\d+,\d+,.*$", output, re.MULTILINE)
    if line is None:
        raise ValueError(output[-500:])
    return float(line[0].split(",")[7]) * 1e6


def _openssl(size: int) -> float:
    output = _run(["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", str(size), "-evp", "aes-128-gcm"])
    line = re.search(r"^AES-128-GCM\s+([\d.]+)k", output, re.MULTILINE)
    if line is None:
        raise ValueError(output[-500:])
    return float(line[1]) * 1000 / size


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    return done.stdout
