"""Opening and sealing alone, engine by engine, beside other people's programs: `pytest bench/test_aead.py -n0 -s`.

Prints rows a second and Gbit/s (of the bytes that are encrypted) and asserts nothing about clocks. Ours is the whole
call: reading columns and slots, nonce, AAD, the ICV's comparison, the Python call once a batch.
"""

from __future__ import annotations

import random
import statistics
import time

import numpy as np
import pytest

from bench.aead_peers import PEERS, missing, rate
from bench.interleave import machine
from espsim.aead.batch import DONE, WAITING, SlotKeys
from espsim.aead.engines import ENGINES, find
from espsim.aead.known_answers import Rows
from espsim.aead.suites import Algorithm, resolve

SIZES = (64, 256, 1024, 1424)
ROWS, SAS, ROUNDS, OPERATIONS = 4096, 100, 7, 1_000_000
SUITES = {
    "AES-128-GCM": lambda r: (Algorithm("aead", "rfc4106(gcm(aes))", r.randbytes(20), 128),),
    "AES-256-GCM": lambda r: (Algorithm("aead", "rfc4106(gcm(aes))", r.randbytes(36), 128),),
    "ChaCha20-Poly1305": lambda r: (Algorithm("aead", "rfc7539esp(chacha20,poly1305)", r.randbytes(36), 128),),
    "AES-128-CBC, HMAC-SHA256-128": lambda r: (
        Algorithm("enc", "cbc(aes)", r.randbytes(16)),
        Algorithm("auth-trunc", "hmac(sha256)", r.randbytes(32), 128),
    ),
}


class Work:
    """Rows of one size over many SAs in random order, sealed by the engine under test."""

    def __init__(self, engine, suite, size, sas=SAS, rows=ROWS):
        rng = random.Random(size)
        slots = [SlotKeys(resolve(SUITES[suite](rng))) for _ in range(sas)]
        keys = slots[0].keys
        size -= size % keys.suite.block
        length = 8 + keys.suite.iv_length + size + keys.icv_length
        self.rows = Rows.of([(rng.randrange(sas), 0, rng.randbytes(length)) for _ in range(rows)])
        self.sealer, self.opener = engine.sealer(slots), engine.opener(slots)
        self.clear = self.rows.arena.copy()
        self.sealer.seal(*self.rows.columns())
        self.sealed = self.rows.arena.copy()
        self.seconds("open")

    def seconds(self, verb):
        """One pass over all rows; putting the arena back is not counted."""
        np.copyto(self.rows.arena, self.sealed if verb == "open" else self.clear)
        columns, run = self.rows.columns(), self.opener.open if verb == "open" else self.sealer.seal
        self.rows.result[:] = WAITING
        start = time.perf_counter()
        run(*columns)
        took = time.perf_counter() - start
        assert (self.rows.result == DONE).all()
        return took

    def rate(self, verb, rounds=ROUNDS):
        return len(self.rows.esp) / statistics.median(self.seconds(verb) for _ in range(rounds))

    def mean_rate(self, verb, operations):
        """Over a stretch as long as a peer's run: the other programs on the machine are in it as they are in theirs."""
        passes = -(-operations // len(self.rows.esp))
        return passes * len(self.rows.esp) / sum(self.seconds(verb) for _ in range(passes))


def usable(name):
    found = find(name)
    if found.engine is None:
        pytest.skip(found.why)
    return found.engine


@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize("name", list(ENGINES))
def test_engine(name, suite, capsys):
    engine = usable(name)
    if not engine.supports(resolve(SUITES[suite](random.Random(0)))):
        pytest.skip(f"{name} leaves {suite} to another engine")
    lines = []
    for size in SIZES:
        work = Work(engine, suite, size)
        opens, seals = work.rate("open"), work.rate("seal")
        lines.append(
            f"{size:5} bytes: {opens / 1e6:6.2f} M opens/s {opens * size * 8e-9:5.1f} Gbit/s,"
            f" {seals / 1e6:6.2f} M seals/s {seals * size * 8e-9:5.1f} Gbit/s"
        )
    with capsys.disabled():
        print(f"\n{name} ({engine.version}), {suite}, {SAS} SAs; {machine()}", *lines, sep="\n  ")


@pytest.mark.parametrize("sas", [1, 1000, 100_000])
@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_engine_with_many_keys(name, sas, capsys):
    """Every key schedule a cache miss: what prefetching leaves of the rate."""
    work = Work(usable(name), "AES-128-GCM", 64, sas, max(ROWS, min(sas, 32768)))
    with capsys.disabled():
        print(f"\n{name}, AES-128-GCM, 64 bytes, {sas:,} SAs: {work.rate('open') / 1e6:.2f} M opens/s; {machine()}")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peer", PEERS, ids=lambda p: p.name)
@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_engine_against(name, peer, size, capsys):
    """AES-128-GCM, turn by turn; `openssl speed` does without an IV, an AAD and a tag for each operation."""
    why = missing(peer)
    if why:
        pytest.skip(why)
    verb = "seal" if peer.program == "openssl" else "open"
    work = Work(usable(name), "AES-128-GCM", size)
    pairs = [(work.mean_rate(verb, OPERATIONS), rate(peer, size, OPERATIONS)) for _ in range(5)]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(p) for p in zip(*pairs, strict=True))
    with capsys.disabled():
        print(
            f"\n{name} {verb}, {size} bytes: {ours / 1e6:.2f} M/s, {peer.name} {theirs / 1e6:.2f} M/s,"
            f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {machine()}"
        )
