"""One hash over the source of every module that holds compiled code or constants of it.

The constants of core/numbers.py are apart: `key.py` adds their values.

It is made once, when the first of these rooms is imported and before any other module in it is; so the modules in
memory are never older than the hash. `unchanged` makes it again. If the package is edited or upgraded during a
run, the modules in memory may be neither the old nor the new ones, and what is compiled of them must not be kept.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

ROOMS = ("aead", "batch/device", "batch/inbound", "batch/outbound", "batch/run", "io/rows", "jit")
"""The rooms of the package that hold compiled code, and all that they import of the package but `core`."""

PACKAGE = Path(__file__).parents[1]


@functools.cache
def remember() -> str | None:
    """The hash of the sources as they were at the first call; None where they cannot be read (a zip file)."""
    return _hash()


def unchanged() -> bool:
    """Whether the sources are still what they were at the first call of `remember`."""
    return _hash() == remember()


def hash_of(path: str) -> str:
    """The hash of one source file. Raises OSError."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _hash() -> str | None:
    total = hashlib.sha256()
    try:
        paths = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
        for path in paths:
            total.update(f"{path.relative_to(PACKAGE).as_posix()} {hash_of(str(path))}\n".encode())
    except OSError:
        return None
    return total.hexdigest() if paths else None
