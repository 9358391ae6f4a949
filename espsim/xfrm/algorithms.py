"""ALGO-LIST: `aead NAME KEY ICV-BITS`, `enc NAME KEY`, `auth NAME KEY`, `auth-trunc NAME KEY BITS`, `comp NAME`.

Nothing read here is ever shown in an error but an algorithm's name, and that only where it can't be a key.
"""

from __future__ import annotations

import re

from espsim.aead.suites import Algorithm
from espsim.xfrm.cursor import Cursor
from espsim.xfrm.lexer import Form, shown

KINDS = ("aead", "enc", "auth", "auth-trunc", "comp")
MAX_KEY = 512
"""Bytes: XFRM_ALGO_KEY_BUF_SIZE (ip/xfrm_state.c)."""

_NAME = re.compile(r"[a-z][a-z0-9_()+,.-]{1,62}", re.ASCII)
_KEY_BITS = re.compile(r"\([0-9]+", re.ASCII)


def read_algorithm(cursor: Cursor, kind: str) -> Algorithm:
    """What follows a word of KINDS. InputError for a bad key, a hidden one, or a missing length."""
    name = _name(cursor, kind)
    has_bits = kind in ("aead", "auth-trunc")
    if kind == "comp":
        cursor.accept("0x")
        return Algorithm(kind, name, b"")
    key = b"" if _empty_in_dump(cursor, has_bits) else _key(cursor, kind, name)
    if (word := cursor.peek()) is not None and _KEY_BITS.fullmatch(word.text) and cursor.peek(1) is not None:
        cursor.skip()
        if not cursor.accept("bits)"):
            raise cursor.error(f"{kind} {name}: nothing known follows the key")
    return Algorithm(kind, name, key, _bits(cursor, kind, name) if has_bits else 0)


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
