"""AES-GCM of other programs on one core, in operations a second: DPDK's crypto-perf, `openssl speed`, scapy.

A program is the first of its name in PATH, so a script of that name may run another version of it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

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
_IV, _AAD, _ICV = 12, 8, 16
"""Bytes of each in every operation."""
_SPEED = {name: name.lower() for name in _AEADS}


def crypto_perf(driver: str, verb: str, size: Size, operations: int, suite: str = "AES-128-GCM") -> BenchPeer:
    """DPDK's throughput test of one driver, with one key, 8 bytes of AAD and bursts of 32. `verb`: open or seal.

    `size`: bytes of the plaintext; for "imix" the program draws the sizes. The program works in place if it can. Newer
    versions (24.11) decrypt what a file holds, from one buffer into another.
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
        "--aead-op", "decrypt" if verb == "open" else "encrypt", "--aead-key-sz", str(key), "--aead-iv-sz", str(_IV),
        "--aead-aad-sz", str(_AAD), "--digest-sz", str(_ICV), *sizes, "--burst-sz", "32",
        "--silent", "--csv-friendly", "--total-ops",
    ]  # fmt: skip
    largest = max(IMIX) if size == "imix" else int(size)
    from_file = verb == "open" and _OUT_OF_PLACE in _run([*command, "32"])

    def run() -> float:
        if not from_file:
            return _throughput(_run([*command, str(operations)]), driver)
        with tempfile.NamedTemporaryFile("w", suffix=".data") as vectors:
            vectors.write(_vector(suite, largest))
            vectors.flush()
            more = ["--out-of-place", "--segment-sz", str(largest + _ICV), "--test-file", vectors.name]
            return _throughput(_run([*command, str(operations), *more, "--test-name", _NAME]), driver)

    how = ", out of place" if from_file else ""
    note = f"{_dpdk(driver)}, --no-huge, {algorithm}, {operations:,} operations, one key{how}"
    return BenchPeer(f"{CRYPTO_PERF} {driver}", run, note)


_OUT_OF_PLACE, _NAME = "Only out-of-place is allowed", "esp"


def _vector(suite: str, size: int) -> str:
    """What crypto-perf decrypts: a file of one test, its fields as bytes in hex (cperf_test_vector_parsing.c)."""
    cipher = ChaCha20Poly1305 if suite.startswith("ChaCha20") else AESGCM
    key, iv, aad, text = (bytes(n % 256 for n in range(length)) for length in (_AEADS[suite][1], _IV, _AAD, size))
    sealed = cipher(key).encrypt(iv, text, aad)
    fields = {
        "plaintext": text, "ciphertext": sealed[:size], "digest": sealed[size:],
        "aead_key": key, "aead_iv": iv, "aad": aad,
    }  # fmt: skip
    return f"[{_NAME}]\n" + "".join(f"{name} = {', '.join(map(hex, data))}\n" for name, data in fields.items())


def _throughput(output: str, driver: str) -> float:
    """Millions of operations a second, from the CSV line. Unavailable, with the last line printed: there is none."""
    line = re.search(r"^\d+,\d+,\d+,.*$", output, re.MULTILINE)
    if line is None:
        said = [text for text in output.splitlines() if text.strip() and not text.startswith(("EAL:", "Allocated"))]
        raise Unavailable(f"{CRYPTO_PERF} {driver}: {said[-1].strip() if said else 'nothing said'}")
    return float(line[0].split(",")[7])


@functools.cache
def _dpdk(driver: str) -> str:
    """Versions of DPDK and of the library that the driver calls."""
    output = _run([CRYPTO_PERF, "-v", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
                   "--vdev", f"{driver}0", "--", "--help"])  # fmt: skip
    found = re.search(r"RTE Version: '(DPDK [^']+)'", output)
    library = re.search(r"Multi-buffer library version used: (\S+)", output)
    below = f", intel-ipsec-mb {library[1]}" if library else ""
    if driver == OPENSSL:
        below = ", the system's OpenSSL"
    return (found[1] if found else "DPDK of unknown version") + below


def openssl_speed(size: Size, suite: str = "AES-128-GCM") -> BenchPeer:
    """`openssl speed -evp` for a second. It seals with one key, and sets no IV, AAD or tag for each operation."""
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
