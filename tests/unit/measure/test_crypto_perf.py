"""DPDK's crypto-perf beside ours: programs that decrypt in place, and newer ones that decrypt what a file holds."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from espsim.measure import aead_peers
from espsim.measure.traffic import IMIX

PROGRAM = """#!{python}
import sys
words = sys.argv[1:]
print("EAL: RTE Version: 'DPDK {version}'")
print("IPSEC_MB: ipsec_mb_create() line 168: IPSec Multi-buffer library version used: 2.0.0")
with open({log!r}, "a") as log:
    print(*words, file=log)
if {strict} and "decrypt" in words and "--out-of-place" not in words:
    print("USER1: Only out-of-place is allowed in throughput decryption.")
    sys.exit(1)
if "--test-file" in words:
    with open(words[words.index("--test-file") + 1]) as file, open({copy!r}, "w") as copy:
        copy.write(file.read())
print("1,64,32,2000,2000,0,0,4.339,2.222,483.977")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program first in PATH; `strict` where it decrypts out of place alone. Its log and copy of the file."""

    def put(*, strict):
        log, copy = tmp_path / "log", tmp_path / "copy"
        path = tmp_path / aead_peers.CRYPTO_PERF
        path.write_text(
            PROGRAM.format(
                python=sys.executable,
                version="24.11.8" if strict else "22.11.11",
                strict=strict,
                log=str(log),
                copy=str(copy),
            )
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        aead_peers._dpdk.cache_clear()
        return log, copy

    yield put
    aead_peers._dpdk.cache_clear()


@pytest.mark.parametrize(
    ("suite", "cipher", "key", "size", "largest"),
    [
        ("AES-128-GCM", AESGCM, 16, 64, 64),
        ("AES-256-GCM", AESGCM, 32, "imix", max(IMIX)),
        ("ChaCha20-Poly1305", ChaCha20Poly1305, 32, 1424, 1424),
    ],
)
def test_a_newer_program_decrypts_what_is_authentic(program, suite, cipher, key, size, largest):
    log, copy = program(strict=True)
    peer = aead_peers.crypto_perf(aead_peers.GCM, "open", size, 2000, suite)
    assert peer.run is not None
    assert peer.run() == 4.339
    assert peer.note.startswith("DPDK 24.11.8, intel-ipsec-mb 2.0.0, --no-huge")
    assert peer.note.endswith("2,000 operations, one key, out of place")
    head, *lines = copy.read_text().splitlines()
    fields = {name: bytes(int(n, 16) for n in data.split(", ")) for name, data in (line.split(" = ") for line in lines)}
    assert (head, len(fields["aead_key"]), len(fields["plaintext"])) == ("[esp]", key, largest)
    opened = cipher(fields["aead_key"]).decrypt(
        fields["aead_iv"], fields["ciphertext"] + fields["digest"], fields["aad"]
    )
    assert opened == fields["plaintext"]
    last = log.read_text().splitlines()[-1]
    assert f"--total-ops 2000 --out-of-place --segment-sz {largest + 16} --test-file" in last
    assert last.endswith("--test-name esp")


@pytest.mark.parametrize(("strict", "verb"), [(False, "open"), (False, "seal"), (True, "seal")])
def test_the_others_run_in_place(program, strict, verb):
    log, copy = program(strict=strict)
    peer = aead_peers.crypto_perf(aead_peers.GCM, verb, 64, 2000)
    assert peer.run is not None
    assert peer.run() == 4.339
    assert peer.note.endswith("one key")
    assert not copy.exists()
    assert log.read_text().splitlines()[-1].endswith("--csv-friendly --total-ops 2000")
