"""Which engines there are: found, proved on known answers, chosen by name. One that fails is named and skipped."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from espsim.aead.batch import BatchEngine
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.engine import EngineError
from espsim.aead.known_answers import prove
from espsim.core.errors import InputError

AUTO = "auto"
ENGINES = {
    "ipsec-mb": "Intel's multi-buffer library (Debian: apt-get install libipsec-mb1; x86-64)",
    "libcrypto": "OpenSSL's EVP from compiled kernels (libcrypto.so.3)",
    "cryptography": "the `cryptography` package, one packet at a time",
}
"""By name, the fastest first."""


@dataclass(frozen=True, slots=True)
class Found:
    """One engine: `proved` counts the rows it got right at loading; where it cannot be used, `why` says so."""

    name: str
    engine: BatchEngine | None
    proved: int = 0
    why: str = ""


def engine_by_name(name: str) -> BatchEngine:
    """The engine called `name`, or the fastest there is for "auto". Raises InputError where it cannot be used.

    A suite that an engine lacks is done by `cryptography`; under "auto" by the next engine that has it.
    """
    if name == AUTO:
        return _fastest(0)
    if name not in ENGINES:
        raise InputError(f"no such engine; there are {AUTO}, {', '.join(ENGINES)}", where=name)
    found = find(name)
    if found.engine is None:
        raise InputError(f"the engine cannot be used: {found.why}", where=name)
    return found.engine


def survey() -> list[Found]:
    """Every engine, the fastest first, those that cannot be used with the reason."""
    return [find(name) for name in ENGINES]


@functools.cache
def find(name: str) -> Found:
    """Load and prove one engine; once a process."""
    try:
        engine = _make(name)
        return Found(name, engine, prove(engine))
    except EngineError as error:
        return Found(name, None, why=str(error))


def _make(name: str) -> BatchEngine:
    """The engine itself; numba takes a while to import, so only who asks for a native one waits for it."""
    if name == "cryptography":
        return CryptographyBatch()
    try:
        import numba  # noqa: PLC0415

        from espsim.aead.ipsec_mb_engine import IpsecMbEngine  # noqa: PLC0415
        from espsim.aead.libcrypto_engine import LibcryptoEngine  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(f"numba cannot be imported: {error}") from None
    config: Any = numba.config
    if config.DISABLE_JIT:
        raise EngineError("numba's compiler is switched off (NUMBA_DISABLE_JIT), and this engine needs it")
    return LibcryptoEngine() if name == "libcrypto" else IpsecMbEngine()


@functools.cache
def _fastest(start: int) -> BatchEngine:
    """The first usable engine from place `start` on, the suites it lacks done by the next ones."""
    names = list(ENGINES)
    for place in range(start, len(names)):
        engine = find(names[place]).engine
        if engine is not None:
            return engine.with_fallback(functools.partial(_fastest, place + 1))
    raise InputError("no engine can be used")
