"""ALGO-LIST: `aead NAME KEY ICV-BITS`, `enc NAME KEY`, `auth NAME KEY`, `auth-trunc NAME KEY BITS`, `comp NAME`.

An error shows nothing of what is read here but an algorithm's name, and the name only where it can't be a key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from espsim.aead.suites import AEADS, ALIASES, CIPHERS, HASHES, Algorithm
from espsim.text.cursor import Cursor
from espsim.text.lexer import Style, Word, shown

KINDS = ("aead", "enc", "auth", "auth-trunc", "comp")
MAX_KEY = 512
"""Bytes: XFRM_ALGO_KEY_BUF_SIZE (ip/xfrm_state.c)."""

_NAME = re.compile(r"[a-z][a-z0-9_()+,.-]{1,62}", re.ASCII)
_HIDDEN = re.compile(
    r".*(?:\.\.|\u2026|\*\*|\?\?|-{3}|_{3}|#{3}|\u2022|\u2588).*|[xX]+|\$.*"
    r"|.*(?:hidden|redacted|removed|masked|censored|elided).*",
    re.IGNORECASE | re.DOTALL,
)
"""What a command has in place of a key that is hidden, a shell variable among it. Other words may be keys."""

_RAW_BYTES = re.compile("[\udc80-\udcff]")
_USUAL_BITS = {"hmac(sha1)": 96, "hmac(sha384)": 192, "hmac(sha512)": 256, "hmac(md5)": 96, "xcbc(aes)": 96,
               "cmac(aes)": 96, "iiv(rfc4309(ccm(aes)))": 64}  # fmt: skip
_KEY_BITS = re.compile(r"\([0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hidden:
    """An algorithm whose key is not printed (`<<Keys hidden>>`). `bits` as in Algorithm; `key_bits` is what -s says."""

    kind: str
    name: str
    bits: int = 0
    key_bits: int | None = None


def stand_ins(hidden: Sequence[Hidden]) -> Iterator[tuple[Algorithm, ...]]:
    """The algorithms with keys of zeros: one set for each key length that they may have, shortest keys first.

    They are for questions that depend on a key's length alone. No packet is sealed or opened with them.
    """
    for sizes in itertools.product(*(_sizes(h) for h in hidden)):
        yield tuple(Algorithm(h.kind, h.name, bytes(n), h.bits) for h, n in zip(hidden, sizes, strict=True))


def _sizes(hidden: Hidden) -> Sequence[int]:
    """Key lengths in bytes, salt included. An HMAC takes any length; 32 represents them all."""
    name = ALIASES.get(hidden.name, hidden.name)
    if hidden.key_bits is not None:
        return (hidden.key_bits // 8,)
    if hidden.kind == "aead":
        suite = AEADS.get(name)
        return suite.key_sizes if suite else (0,)
    if hidden.kind == "enc":
        return CIPHERS[name].key_sizes if name in CIPHERS else (32,)
    mac = HASHES.get(name)
    return mac.key_lengths[:1] if mac is not None and mac.key_lengths else (32,)


def read_algorithm(cursor: Cursor, kind: str, known: Container[str] = ()) -> Algorithm | Hidden:
    """What follows a word of KINDS. `known`: words that are not a key, because a row or an option starts with them.

    InputError for a bad name or length. Contradiction for a damaged key: an odd number of hex digits.
    """
    name = _name(cursor, kind)
    has_bits = kind in ("aead", "auth-trunc")
    if kind == "comp":
        cursor.accept("0x")
        return Algorithm(kind, name, b"")
    key = _key(cursor, kind, name, has_bits, known)
    key_bits = _printed_key_bits(cursor, kind, name)
    bits = _bits(cursor, kind, name, needed=key is not None) if has_bits else 0
    if key is None or (not key and key_bits):
        return Hidden(kind, name, bits, key_bits)
    return Algorithm(kind, name, key, bits)


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
        raise cursor.error(f"{kind} needs an algorithm's name, then its key")
    return name


def _key(cursor: Cursor, kind: str, name: str, has_bits: bool, known: Container[str]) -> bytes | None:
    """The key. None: it is hidden, in one of the ways in which people and programs hide keys."""
    word = cursor.peek()
    if cursor.style is Style.DUMP and _empty(cursor, word, has_bits, known):
        return b""  # iproute2 prints an empty key as nothing at all
    text = cursor.take(f"the key of {kind} {name}").text
    cursor.raw_key = bool(text) and text[:2] not in ("0x", "0X")
    if text.startswith(("<", "[", "{", "(")):
        _leave_brackets(cursor, text)
        return None
    if text[:2] in ("0x", "0X"):
        key = _hex(cursor, kind, name, text[2:])
    elif cursor.style is Style.DUMP or (text and _HIDDEN.fullmatch(text)):
        return None
    else:
        key = text.encode("utf-8", "surrogateescape" if _RAW_BYTES.search(text) else "surrogatepass")
    if key is not None and len(key) > MAX_KEY:
        raise cursor.error(f"{kind} {name}: a key of {len(key)} bytes; {MAX_KEY} is iproute2's limit")
    return key


def _empty(cursor: Cursor, word: Word | None, has_bits: bool, known: Container[str]) -> bool:
    """Whether the key is empty: the row ends here, or goes on with what follows a key."""
    row = cursor.peek(-1)
    if word is None or row is None or word.row != row.row or word.text in known or _KEY_BITS.fullmatch(word.text):
        return True
    after = cursor.peek(1)
    last = after is None or after.row != word.row or after.text in known
    return has_bits and word.text.isdecimal() and last


def _leave_brackets(cursor: Cursor, text: str) -> None:
    """Skip the rest of `<<Keys hidden>>` or `[key removed]`, to the word that closes the bracket."""
    close = {"<": ">", "[": "]", "{": "}", "(": ")"}[text[0]]
    row = cursor.peek(-1)
    while close not in text and (word := cursor.peek()) is not None and row is not None and word.row == row.row:
        cursor.skip()
        text = word.text


def _hex(cursor: Cursor, kind: str, name: str, digits: str) -> bytes | None:
    if not re.fullmatch("[0-9a-fA-F]*", digits):
        return None  # 0xXXXX, 0x7c1e...4b20, 0x$KEY
    if len(digits) % 2:
        raise cursor.contradiction(
            f"{kind} {name}: a key of odd hex length ({len(digits)} digits); copy the whole key, or hide it all: 0xXXXX"
        )
    return bytes.fromhex(digits)


def _bits(cursor: Cursor, kind: str, name: str, *, needed: bool) -> int:
    what = "an ICV length" if kind == "aead" else "a truncation length"
    word = cursor.peek()
    if word is None or not re.fullmatch("0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", word.text):
        if not needed:
            return _USUAL_BITS.get(name, 128)
        raise cursor.error(f"{kind} {name} needs {what} in bits after its key")
    return cursor.number(f"{what} of {kind} {name}")
