"""ALGO-LIST: `aead NAME KEY ICV-BITS`, `enc NAME KEY`, `auth NAME KEY`, `auth-trunc NAME KEY BITS`, `comp NAME`.

Nothing read here is ever shown in an error but an algorithm's name, and that only where it can't be a key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from espsim.aead.suites import AEADS, ALIASES, CIPHERS, Algorithm
from espsim.xfrm.cursor import Cursor
from espsim.xfrm.lexer import Form, shown

KINDS = ("aead", "enc", "auth", "auth-trunc", "comp")
MAX_KEY = 512
"""Bytes: XFRM_ALGO_KEY_BUF_SIZE (ip/xfrm_state.c)."""

_NAME = re.compile(r"[a-z][a-z0-9_()+,.-]{1,62}", re.ASCII)
_KEY_BITS = re.compile(r"\([0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hidden:
    """An algorithm whose key is not printed (`<<Keys hidden>>`). `bits` as Algorithm's; `key_bits` where -s says it."""

    kind: str
    name: str
    bits: int = 0
    key_bits: int | None = None


def stand_ins(hidden: Sequence[Hidden]) -> Iterator[tuple[Algorithm, ...]]:
    """The algorithms with keys of zeros, one set for each key length that they may have, shortest keys first.

    For questions that depend on a key's length alone: such a key seals nothing and opens nothing.
    """
    for sizes in itertools.product(*(_sizes(h) for h in hidden)):
        yield tuple(Algorithm(h.kind, h.name, bytes(n), h.bits) for h, n in zip(hidden, sizes, strict=True))


def _sizes(hidden: Hidden) -> Sequence[int]:
    """Key lengths in bytes, salt included. A MAC's key may have any; 32 stands for it."""
    name = ALIASES.get(hidden.name, hidden.name)
    if hidden.key_bits is not None:
        return (hidden.key_bits // 8,)
    if hidden.kind == "aead":
        suite = AEADS.get(name)
        return [n + suite.salt_length for n in suite.key_lengths] if suite else (0,)
    return CIPHERS[name][0] if hidden.kind == "enc" and name in CIPHERS else (32,)


def read_algorithm(cursor: Cursor, kind: str) -> Algorithm | Hidden:
    """What follows a word of KINDS. InputError for a bad key, a missing length, a hidden key where keys are needed."""
    name = _name(cursor, kind)
    has_bits = kind in ("aead", "auth-trunc")
    if not cursor.keys_needed and cursor.accept("<<Keys", "hidden>>"):
        key_bits = _printed_key_bits(cursor, kind, name)
        return Hidden(kind, name, _bits(cursor, kind, name) if has_bits else 0, key_bits)
    if kind == "comp":
        cursor.accept("0x")
        return Algorithm(kind, name, b"")
    key = b"" if _empty_in_dump(cursor, has_bits) else _key(cursor, kind, name)
    _printed_key_bits(cursor, kind, name)
    return Algorithm(kind, name, key, _bits(cursor, kind, name) if has_bits else 0)


def _printed_key_bits(cursor: Cursor, kind: str, name: str) -> int | None:
    """`(160 bits)`, which `ip -s` prints after a key."""
    word = cursor.peek()
    if word is None or not _KEY_BITS.fullmatch(word.text) or cursor.peek(1) is None:
        return None
    cursor.skip()
    if not cursor.accept("bits)"):
        raise cursor.error(f"{kind} {name}: nothing known follows the key")
    return int(word.text[1:])


def _name(cursor: Cursor, kind: str) -> str:
    name = cursor.take(f"the name of the {kind} algorithm").text
    if not _NAME.fullmatch(name) or (shown(name)[0] != "'" and "(" not in name):
        raise cursor.error(f"{kind} wants an algorithm's name, then its key")
    return name


def _empty_in_dump(cursor: Cursor, has_bits: bool) -> bool:
    """iproute2 prints an empty key as nothing at all; the end of the line, or the length alone, tells."""
    word = cursor.peek()
    if cursor.form is not Form.DUMP:
        return False
    row = cursor.peek(-1)
    assert row is not None  # noqa: S101 - the name was read just before
    left = cursor.left_in_row(row.row)
    if left == 0:
        return True
    return has_bits and left == 1 and word is not None and word.text.isdecimal()


def _key(cursor: Cursor, kind: str, name: str) -> bytes:
    text = cursor.take(f"the key of {kind} {name}").text
    if text.startswith("<<"):
        raise cursor.error(
            f"{kind} {name}: the key is hidden; print it with `ip xfrm state list`, as root, without nokeys"
        )
    if text.startswith("(ERROR"):
        raise cursor.error(f"{kind} {name}: iproute2 itself could not print the key whole")
    if text.startswith("0x"):
        key = _hex(cursor, kind, name, text[2:])
    else:
        cursor.raw_key = bool(text)
        key = text.encode("utf-8", "surrogatepass")
    if len(key) > MAX_KEY:
        raise cursor.error(f"{kind} {name}: a key of {len(key)} bytes; {MAX_KEY} is iproute2's limit")
    return key


def _hex(cursor: Cursor, kind: str, name: str, digits: str) -> bytes:
    if not re.fullmatch("[0-9a-fA-F]*", digits):
        raise cursor.error(f"{kind} {name}: a key that is not hex ({len(digits)} characters after 0x)")
    if len(digits) % 2:
        raise cursor.error(f"{kind} {name}: a key of odd hex length ({len(digits)} digits)")
    return bytes.fromhex(digits)


def _bits(cursor: Cursor, kind: str, name: str) -> int:
    what = "an ICV length" if kind == "aead" else "a truncation length"
    word = cursor.peek()
    if word is None or not re.fullmatch("0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", word.text):
        raise cursor.error(f"{kind} {name} needs {what} in bits after its key")
    return cursor.number(f"{what} of {kind} {name}")
