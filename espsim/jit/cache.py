"""Machine code on disk: one file for each kernel and signature, in the folder of `espsim.jit.folder`.

numba's own cache looks at a kernel's own file alone: where a constant changes that the kernel inlines, it runs the old
code. And two processes that compile one kernel for different types may leave the code of the one under the name of the
other. Here a file's name is the hash of all that its code depends on, and a file holds that text and a digest.

numba's cache also imports its whole compiler (`refresh`) before it loads anything, which takes longer than loading all
kernels of a command. Only code that numba's runtime takes part in needs that; kernels allocate nothing (compiling.py).

    "espsim kernel 1\\n", SHA-256 of the rest (32 bytes), the pickle of (identity, what numba makes of a compile result)

A file is written under another name first and then renamed. A file that is cut, empty or damaged is compiled again, and
standard error says so; nothing here ever stops a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core import compiler, serialize

from espsim.core.stopping import uncut
from espsim.jit import sources
from espsim.jit.folder import folder, say, tell_wait

# numba has no type hints here.
_numba_compiler: Any = compiler
_serialize: Any = serialize

MAGIC = b"espsim kernel 1\n"
SUFFIX = ".kernel"
_DIGEST = 32


class Damaged(Exception):  # noqa: N818 - a state of a file, not a fault of espsim
    """A file of the cache is not what was written."""


class KernelCache:
    """One function's machine code; numba's dispatcher calls the methods."""

    def __init__(self, function: Callable[..., Any]) -> None:
        code = function.__code__
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}".replace("<locals>.", "")
        self._facts = repr([function.__module__, function.__qualname__, code.co_firstlineno, code.co_code.hex()])
        self._file = code.co_filename
        self._enabled = function.__closure__ is None  # the hash does not cover what it closes over
        try:
            self._source = sources.hash_of(self._file)
        except OSError:  # a function without a file, from a prompt
            self._enabled = False

    @property
    def cache_path(self) -> str | None:
        """The folder; None where nothing is kept."""
        found = folder() if self._enabled else None
        return None if found is None else str(found)

    @property
    def kept(self) -> bool:
        """Whether there is machine code of this function, for whatever types. True where nothing is kept at all."""
        found = folder() if self._enabled else None
        return found is None or next(found.glob(f"{self._name}-*{SUFFIX}"), None) is not None

    def enable(self) -> None:
        """Read and write files from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Read and write no files from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Forget this function's files."""
        found = folder() if self._enabled else None
        for path in found.glob(f"{self._name}-*{SUFFIX}") if found else ():
            with contextlib.suppress(OSError):
                path.unlink()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compile result for a signature, or None: numba compiles then."""
        place = self._place(signature, target.codegen())
        if place is None:
            return None
        path, identity = place
        try:
            kept = _read(path, identity)
            # A signal that ends the run between a call into LLVM and the note of what it made leaves two owners of one
            # module; both free it when the process ends.
            with uncut():
                return _numba_compiler.CompileResult._rebuild(target, *kept)
        except FileNotFoundError:
            tell_wait()
            return None
        except Exception as error:  # whatever a file holds, the kernel can be compiled
            why = error.strerror if isinstance(error, OSError) else str(error)
            say("damaged", f"{path}: compiled code that cannot be used ({why}); compiling it again")
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compile result."""
        place = self._place(signature, result.target_context.codegen())
        if place is None or result.library.has_dynamic_globals:
            return
        path, identity = place
        try:
            if self._source != sources.hash_of(self._file) or not sources.unchanged():
                say("save", "espsim was changed while it ran: what is compiled is not kept")
                return
            _write(path, _serialize.dumps((identity, result._reduce())))
        except Exception as error:
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            say("save", f"{path.parent}: compiled code cannot be kept ({why}); the next run compiles again")

    def _place(self, signature: Any, codegen: Any) -> tuple[Path, str] | None:
        """The file for a signature, and the text of all that its code depends on beside the folder's key."""
        found = folder() if self._enabled else None
        if found is None:
            return None
        identity = "\n".join([self._facts, self._source, str(signature), repr(codegen.magic_tuple())])
        return found / f"{self._name}-{hashlib.sha256(identity.encode()).hexdigest()[:32]}{SUFFIX}", identity


def _read(path: Path, identity: str) -> Any:
    """What was kept. Raises FileNotFoundError, OSError, Damaged, or what unpickling raises."""
    data = path.read_bytes()
    start = len(MAGIC) + _DIGEST
    body = data[start:]
    if data[:start] != MAGIC + hashlib.sha256(body).digest():
        raise Damaged("cut or damaged")
    kept_identity, kept = pickle.loads(body)  # noqa: S301 - no other user can write these files
    if kept_identity != identity:
        raise Damaged("of another kernel")
    return kept


def _write(path: Path, body: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)  # another process may have cleaned up
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
