"""Opening and sealing alone, engine by engine.

The time is that of the whole call: it reads columns and slots, builds nonce and AAD, and compares the ICV. One Python
call for each batch is in it.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator

import numpy as np

from espsim.aead.batch import BatchEngine, SlotKeys
from espsim.aead.known_answers import PacketRows
from espsim.aead.suites import Algorithm, resolve
from espsim.core.numbers import DONE
from espsim.measure import aead_peers
from espsim.measure.cases import BenchCase, BenchGroup, Clocked, engine_facts, ready
from espsim.measure.peers import BenchPeer, Unavailable
from espsim.measure.traffic import Size, mean_size, sizes_of
from espsim.measure.tunnels import room_for

ROWS, SAS = 4096, 100
SUITES: dict[str, Callable[[random.Random], tuple[Algorithm, ...]]] = {
    "AES-128-GCM": lambda r: (Algorithm("aead", "rfc4106(gcm(aes))", r.randbytes(20), 128),),
    "AES-256-GCM": lambda r: (Algorithm("aead", "rfc4106(gcm(aes))", r.randbytes(36), 128),),
    "ChaCha20-Poly1305": lambda r: (Algorithm("aead", "rfc7539esp(chacha20,poly1305)", r.randbytes(36), 128),),
    "AES-128-CBC-HMAC-SHA256": lambda r: (
        Algorithm("enc", "cbc(aes)", r.randbytes(16)),
        Algorithm("auth-trunc", "hmac(sha256)", r.randbytes(32), 128),
    ),
}


class Work:
    """Rows over many SAs in random order, sealed by the engine under test. `size`: bytes that are encrypted."""

    def __init__(
        self, engine: BatchEngine, suite: str, size: Size, *, sas: int = SAS, rows: int = ROWS, seed: int = 1
    ) -> None:
        rng = random.Random(seed)
        slots = [SlotKeys(resolve(SUITES[suite](rng))) for _ in range(sas)]
        keys = slots[0].keys
        inner = sizes_of(size, rows, np.random.default_rng(seed)) // keys.suite.block * keys.suite.block
        around = 8 + keys.suite.iv_length + keys.icv_length
        self.rows = PacketRows.of([(rng.randrange(sas), 0, rng.randbytes(around + n)) for n in inner.tolist()])
        self.sealer, self.opener = engine.sealer(slots), engine.opener(slots)
        self._clear = self.rows.arena.copy()
        self.seal()
        self._sealed = self.rows.arena.copy()

    def clear(self) -> None:
        """Rows as they are before sealing."""
        np.copyto(self.rows.arena, self._clear)

    def sealed(self) -> None:
        """Rows as they are before opening."""
        np.copyto(self.rows.arena, self._sealed)

    def seal(self) -> int:
        """All rows."""
        self.sealer.seal(*self.rows.columns())
        return self._done()

    def open(self) -> int:
        """All rows."""
        self.opener.open(*self.rows.columns())
        return self._done()

    def _done(self) -> int:
        if not (self.rows.result == DONE).all():
            raise AssertionError("the engine did not do all rows")
        return len(self.rows.esp)


def case_of(engine: BatchEngine, verb: str, suite: str, size: Size, *, sas: int, seed: int) -> BenchCase:
    """One engine opening or sealing."""

    def make() -> BenchCase:
        work = Work(engine, suite, size, sas=sas, rows=max(ROWS, min(sas, 1 << 17)), seed=seed)
        run, reset = (work.open, work.sealed) if verb == "open" else (work.seal, work.clear)
        extra: dict[str, object] = {"suite": suite, **engine_facts(engine)}
        extra["mean_size"] = round(mean_size(size))
        return BenchCase("aead", verb, sas, Clocked(run, reset), size=size, engine=engine.name, extra=extra)

    return ready(make)


def aead_groups(
    sizes: list[Size],
    sas: list[int],
    engines: list[BatchEngine],
    suite: str,
    *,
    seed: int,
    operations: int,
    both: bool = True,
) -> Iterator[BenchGroup]:
    """Every engine at every size. `operations`: of each peer, 0 runs none. `both`: crypto-perf seals, too."""
    for size, count in itertools.product(sizes, sas):
        group = BenchGroup([])
        for engine in engines:
            try:
                room_for(count, engine.name)
            except Unavailable as reason:
                group.skipped.append(str(reason))
                continue
            if not engine.supports(resolve(SUITES[suite](random.Random(seed)))):
                group.skipped.append(f"engine {engine.name} leaves {suite} to another one")
                continue
            group.cases += [case_of(engine, verb, suite, size, sas=count, seed=seed) for verb in ("open", "seal")]
        if operations:
            _add_peers(group.cases, suite, size, operations, both=both)
        yield group


def _add_peers(cases: list[BenchCase], suite: str, size: Size, operations: int, *, both: bool) -> None:
    """The peers: crypto-perf's drivers for the same library, and `openssl speed` for sealing."""

    @functools.cache
    def perf(driver: str, verb: str) -> BenchPeer:
        return aead_peers.crypto_perf(driver, verb, size, operations, suite)

    speed = functools.cache(lambda: aead_peers.openssl_speed(size, suite))
    scapy = functools.cache(lambda: aead_peers.scapy(size, suite))
    drivers = {"ipsec-mb": (aead_peers.GCM, aead_peers.MB), "libcrypto": (aead_peers.OPENSSL,)}
    for case in cases:
        for driver in drivers.get(case.engine, ()) if both or case.what == "open" else ():
            case.against(functools.partial(perf, driver, case.what))
        if case.engine == "libcrypto" and case.what == "seal":
            case.against(speed)
        if case.engine == "cryptography" and case.what == "open":
            case.against(scapy)
