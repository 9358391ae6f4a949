"""What can go wrong outside a packet: bad input from a user, and a request that the SAD refuses.

A packet never raises; it gets a `Verdict`.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Sequence

from espsim.core.echo import message, printable


def errno_name(number: int) -> str:
    """The errno's name, as Linux's headers and `ip` spell it; its number where it has none."""
    # Python's table says ENOTSUP for 95. In Linux both names have that number, and the kernel says EOPNOTSUPP.
    return "EOPNOTSUPP" if number == _errno.EOPNOTSUPP else _errno.errorcode.get(number, str(number))


class EspsimError(Exception):
    """Base of every error that espsim raises on purpose."""


class InputError(EspsimError):
    """Bad input: one clear line that says where and what; a command ends with exit status 2.

    `where` is what the user gave (a path, `-`, a name); `line` counts from 1, `frame` likewise. Never holds a key:
    anything in `what` that may be one is hidden, and control characters are escaped (core/echo.py).
    """

    def __init__(
        self, what: str, *, where: str | None = None, line: int | None = None, frame: int | None = None
    ) -> None:
        self.what = message(what)
        self.where = where
        self.line = line
        self.frame = frame
        place = printable(where or "")
        if line is not None:
            place += f":{line}" if place else f"line {line}"
        if frame is not None:
            place += f": frame {frame}" if place else f"frame {frame}"
        super().__init__(f"{place}: {self.what}" if place else self.what)


class InputErrors(InputError):  # noqa: N818 - several of them
    """Several things wrong with one input, each an InputError in `errors`: a line each on standard error."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        first = errors[0]
        super().__init__(first.what, where=first.where, line=first.line, frame=first.frame)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        """All of them, a line each."""
        return "\n".join(str(error) for error in self.errors)


class XfrmError(EspsimError):
    """A request that the SAD refuses, with the kernel's errno and extack text (or None where the kernel sends none)."""

    def __init__(self, errno: int, extack: str | None = None) -> None:
        self.errno = errno
        self.extack = extack
        super().__init__(f"{self.name}: {extack}" if extack else self.name)

    @property
    def name(self) -> str:
        """The errno's name, such as `EEXIST`."""
        return errno_name(self.errno)


class UnknownReached(EspsimError):  # noqa: N818 - a stop that the user answers, not a fault
    """A run reached a value of a hardware model that is not public.

    `assume` is an option to copy, which assumes a value for `key`; `legal` says what else may be assumed.
    """

    def __init__(self, model: str, key: str, assume: str = "", legal: str = "") -> None:
        self.model = model
        self.key = key
        self.assume = assume or f"--assume {key}=VALUE"
        self.legal = legal
        hint = f" ({legal})" if legal else ""
        super().__init__(f"model {model}: {key} is not public and this run needs it; say {self.assume}{hint}")
