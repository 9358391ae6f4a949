"""A TOML file that a user wrote: bytes to values, in bounded memory; whatever it is, an InputError with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError
from espsim.core.inputs import read_start

MOST = 4 << 20
"""Bytes of a file. The longest that espsim ships has 30,000."""
DEEPEST = 32
"""Tables within tables. A model has five."""
_MOST_BITS = 128

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LONG_NUMBER = re.compile(r"[0-9_]{4300,}")  # of digits that int() refuses (sys.set_int_max_str_digits)


def read_text(path: str | Path, where: str) -> str:
    """The text of a file, or of standard input for `-`.

    InputError: it can't be read, is too long (`/dev/zero` has no end), or is not UTF-8.
    """
    try:
        data = read_start(str(path), MOST + 1)
    except InputError as error:
        raise InputError(error.what, where=where) from None
    nul = data.find(b"\0")
    if nul >= 0:
        raise InputError("a NUL byte: this is not text", where=where, line=data.count(b"\n", 0, nul) + 1)
    if len(data) > MOST:
        raise InputError(f"longer than {MOST:,} bytes: this is not a file of this kind", where=where)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8 text", where=where, line=line) from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The values of a text. InputError with the line: it is not TOML, or nested more than DEEPEST deep."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        what = str(error)[: found.start()] if found else str(error)
        raise InputError(f"not TOML: {what}", where=where, line=line) from None
    except RecursionError:
        raise InputError("not TOML: nested too deeply", where=where, line=1) from None
    except ValueError:  # a number of thousands of digits
        long = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, long.start()) + 1 if long else 1
        raise InputError("not TOML: a number of too many digits", where=where, line=line) from None
    _check(values, where)
    return values


def fault(whole: str, path: tuple[str | int, ...], detail: Any, keys: Callable[[Any], list[str]]) -> str:
    """What is wrong with a value, in plain words: its key, what it says, what is legal there.

    `detail` is one of pydantic's errors, `path` where it is, `whole` what the file is called. `keys` lists the legal
    keys of the table at a path.
    """
    key = ".".join(map(str, path)) or whole
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind == "extra_forbidden":
        known = keys(path[:-1])
        like = did_you_mean(str(path[-1]), known, f"legal: {', '.join(known)}")
        return f"{key}: no such key; {like}"
    if kind == "missing":
        return f"{key} is missing"
    value = shortened(str(detail["input"]))
    if kind == "literal_error":
        return f"{key}: {value!r} is not legal; legal: {str(context.get('expected', '')).replace(' or ', ', ')}"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if kind == "value_error":
        return f"{key}: {message}"
    return f"{key}: {value!r} is not legal: it {message[:1].lower()}{message[1:]}"


def _check(values: dict[str, Any], where: str) -> None:
    """InputError where values lie too deep (dotted keys nest without brackets), or an integer has too many digits."""
    level: list[Any] = [values]
    for _ in range(DEEPEST + 1):
        inner = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if any(isinstance(item, int) and item.bit_length() > _MOST_BITS for item in inner):
            raise InputError("a number of too many digits", where=where)
        level = inner
    if level:
        raise InputError("not TOML that can be used: nested too deeply", where=where, line=1)
