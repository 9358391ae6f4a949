"""Which engines there are: found, proved, chosen by name. A wrong one is never used, and a line says so.

An engine is "usable", "not there" (no library, a version that is not known, no compiler), or "wrong": it loads and
fails its proof (proof.py). `auto` passes over what is not there, and over what is wrong with a line on stderr.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass

from espsim.aead.batch import BatchEngine
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.proof import prove
from espsim.core.errors import InputError

AUTO = "auto"
ENGINES = {
    "ipsec-mb": "Intel's multi-buffer library (Debian: apt-get install libipsec-mb1, from 13 on libipsec-mb2; x86-64)",
    "libcrypto": "OpenSSL's EVP from compiled kernels (libcrypto.so.3)",
    "cryptography": "the `cryptography` package, one packet at a time",
}
"""By name, the fastest first."""

USABLE, NOT_THERE, WRONG = "usable", "not there", "wrong"


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """One engine: `proved` counts the rows it got right at loading; where it cannot be used, `why` says why.

    `wrong`: it is there, and what it does is wrong.
    """

    name: str
    engine: BatchEngine | None
    proved: int = 0
    why: str = ""
    wrong: bool = False

    @property
    def state(self) -> str:
        """USABLE, NOT_THERE or WRONG."""
        return USABLE if self.engine is not None else WRONG if self.wrong else NOT_THERE


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
        wrong = "it is there, but what it does is wrong: " if found.wrong else ""
        raise InputError(f"the engine cannot be used: {wrong}{found.why}", where=name)
    return found.engine.with_fallback(functools.partial(engine_by_name, "cryptography"))


def survey() -> list[FoundEngine]:
    """Every engine, the fastest first, those that cannot be used with the reason."""
    return [find(name) for name in ENGINES]


@functools.cache
def find(name: str) -> FoundEngine:
    """Load and prove one engine; once a process."""
    try:
        engine = _make(name)
    except WrongEngineError as error:
        return FoundEngine(name, None, why=str(error), wrong=True)
    except EngineError as error:
        return FoundEngine(name, None, why=str(error))
    try:
        return FoundEngine(name, engine, prove(engine))
    except WrongEngineError as error:
        return FoundEngine(name, None, why=str(error), wrong=True)
    except EngineError as error:  # it says itself that it cannot do a suite: an OpenSSL without ChaCha20, say
        return FoundEngine(name, None, why=str(error))
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        return FoundEngine(
            name, None, why=f"{engine.version}: its proof ended in {type(error).__name__}: {first}", wrong=True
        )


def _make(name: str) -> BatchEngine:
    """The engine itself; numba takes a while to import, so it is imported for a native one only."""
    if name == "cryptography":
        return CryptographyBatch()
    try:
        from espsim.aead.native.ipsec_mb import IpsecMbEngine  # noqa: PLC0415
        from espsim.aead.native.libcrypto import LibcryptoEngine  # noqa: PLC0415
        from espsim.jit.compiling import JIT  # noqa: PLC0415
    except ImportError as error:
        # numba is a dependency: a failed import is a broken installation, not a missing engine.
        raise WrongEngineError(f"its module cannot be imported: {error}") from None
    if not JIT:
        raise EngineError("numba's compiler is switched off (NUMBA_DISABLE_JIT), and this engine needs it")
    return LibcryptoEngine() if name == "libcrypto" else IpsecMbEngine()


@functools.cache
def _fastest(start: int) -> BatchEngine:
    """The first usable engine from place `start` on, the suites it lacks done by the next ones."""
    names = list(ENGINES)
    for place in range(start, len(names)):
        found = find(names[place])
        if found.engine is not None:
            return found.engine.with_fallback(functools.partial(_fastest, place + 1))
        if found.wrong:
            _say(found)
    raise InputError("no engine can be used; `espsim engines` says why")


@functools.cache
def _say(found: FoundEngine) -> None:
    """One line on standard error, once a process."""
    text = f"espsim: WARNING: engine {found.name} is there, but what it does is wrong, so it is not used: {found.why}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - whatever uses `auto`, this must be seen
