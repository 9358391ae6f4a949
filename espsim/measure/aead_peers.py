"""Other people's AES-GCM on one core, as operations a second: DPDK's crypto-perf, `openssl speed`, scapy."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import time

from espsim.measure.peers import BenchPeer, Unavailable, scapy_opener
from espsim.measure.traffic import IMIX, Size
from espsim.measure.workloads import gcm_tunnel

CRYPTO_PERF = "dpdk-test-crypto-perf"
GCM, MB, OPENSSL = "crypto_aesni_gcm", "crypto_aesni_mb", "crypto_openssl"
_SCAPY_PACKETS = 60
_AEADS = {
    "AES-128-GCM": ("aes-gcm", 16),
    "AES-256-GCM": ("aes-gcm", 32),
    "ChaCha20-Poly1305": ("chacha20-poly1305", 32),
}
_SPEED = {name: name.lower() for name in _AEADS}


def crypto_perf(driver: str, verb: str, size: Size, operations: int, suite: str = "AES-128-GCM") -> BenchPeer:
    """DPDK's throughput test of one of its drivers: `verb` is open or seal, one key, 8 bytes of AAD, bursts of 32.

    `size` is of the plaintext; "imix" is IMIX, drawn as the program draws it.
    """
    _installed(CRYPTO_PERF, "dpdk-dev")
    if suite not in _AEADS:
        raise Unavailable(f"{CRYPTO_PERF} is not asked for {suite}")
    algorithm, key = _AEADS[suite]
    sizes = ["--buffer-sz", str(size)]
    if size == "imix":
        sizes = ["--buffer-sz", ",".join(map(str, IMIX)), "--imix", ",".join(map(str, IMIX.values()))]
    cores = sorted(os.sched_getaffinity(0))
    command = [
        CRYPTO_PERF, f"--lcores=0@{cores[0]},1@{cores[-1]}", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry",
        "--no-shconf", "-v", "--vdev", f"{driver}0",
        "--", "--ptest", "throughput", "--devtype", driver, "--optype", "aead", "--aead-algo", algorithm,
        "--aead-op", "decrypt" if verb == "open" else "encrypt", "--aead-key-sz", str(key), "--aead-iv-sz", "12",
        "--aead-aad-sz", "8", "--digest-sz", "16", *sizes, "--total-ops", str(operations), "--burst-sz", "32",
        "--silent", "--csv-friendly",
    ]  # fmt: skip

    def run() -> float:
        return _throughput(_run(command), driver)

    return BenchPeer(
        f"{CRYPTO_PERF} {driver}", run, f"{_dpdk(driver)}, --no-huge, {algorithm}, {operations:,} operations, one key"
    )


def _throughput(output: str, driver: str) -> float:
    """Millions of operations a second of the CSV line; Unavailable with what the program said last."""
    line = re.search(r"^\d+,\d+,\d+,.*$", output, re.MULTILINE)
    if line is None:
        said = [text for text in output.splitlines() if text.strip() and not text.startswith(("EAL:", "Allocated"))]
        raise Unavailable(f"{CRYPTO_PERF} {driver}: {said[-1].strip() if said else 'nothing said'}")
    return float(line[0].split(",")[7])


@functools.cache
def _dpdk(driver: str) -> str:
    """Versions of DPDK and, for Intel's drivers, of the library below."""
    output = _run([CRYPTO_PERF, "-v", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
                   "--vdev", f"{driver}0", "--", "--help"])  # fmt: skip
    found = re.search(r"RTE Version: '(DPDK [^']+)'", output)
    library = re.search(r"Multi-buffer library version used: (\S+)", output)
    below = f", intel-ipsec-mb {library[1]}" if library else ""
    if driver == OPENSSL:
        below = ", the system's OpenSSL"
    return (found[1] if found else "DPDK of unknown version") + below


def openssl_speed(size: Size, suite: str = "AES-128-GCM") -> BenchPeer:
    """`openssl speed -evp` for a second. It seals; without an IV, an AAD and a tag for each operation."""
    _installed("openssl", "openssl")
    if suite not in _SPEED or size == "imix":
        raise Unavailable(f"openssl speed is not asked for {suite} at {size}")
    command = ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", str(size), "-evp", _SPEED[suite]]

    def run() -> float:
        output = _run(command)
        line = re.search(rf"^{suite}\s+([\d.]+)k", output, re.MULTILINE | re.IGNORECASE)
        if line is None:
            raise Unavailable(f"openssl speed printed no rate of {suite}")
        return float(line[1]) / 1000 / int(size)

    return BenchPeer("openssl speed", run, f"{_openssl()}, one key, without an IV, AAD and tag for each operation")


@functools.cache
def _openssl() -> str:
    words = _run(["openssl", "version"]).split()
    return " ".join(words[:2])


def scapy(size: Size, suite: str = "AES-128-GCM") -> BenchPeer:
    """scapy opening AES-128-GCM tunnel packets of one SA, parsing included."""
    try:
        version = importlib.metadata.version("scapy")
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable("scapy is not installed (the `interop` extra)") from None
    if size == "imix" or suite != "AES-128-GCM":
        raise Unavailable(f"scapy is not asked for {suite} at {size}")
    workload = gcm_tunnel(int(size), _SCAPY_PACKETS)
    opened = scapy_opener(workload)
    opened(workload.packets)

    def run() -> float:
        start = time.perf_counter()
        done = opened(workload.packets)
        return done / (time.perf_counter() - start) / 1e6

    return BenchPeer("scapy", run, f"scapy {version}, {_SCAPY_PACKETS} packets of one SA")


def _installed(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is not installed (Debian: apt-get install {package})")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    return done.stdout
