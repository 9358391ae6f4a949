"""Damaged inputs: bytes flipped, cut, doubled and moved, words of the language in wrong places, numbers
of thousands of digits, brackets without end, control characters. A `random.Random` draws all, so a seed is a case.
"""

from __future__ import annotations

import random
import re

_WORD = re.compile(rb"[^ \n=,\t]+")
NASTY = [
    *(
        b"\0",
        b"\xff",
        b"\xc3(",
        b"\x1b[31m",
        b"\xe2\x80\xae",
        b"\r",
        b"\n",
        b"\t",
        b"\\\n",
        b"'",
        b'"',
        b"#",
        b"-",
        b"0x",
        b"/",
    ),
    *(b"9" * 5000, b"[" * 3000, b"{" * 3000, b"a." * 3000, b"0x" + b"f" * 5000, b"-1", b"1e999", b"nan", b"4294967296"),
    *(b"18446744073709551616", b"\xd9\xa3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b" " * 70_000, b"=", b"::", b"1.5", b"$"),
    *(b"%s", b"<<Keys hidden>>"),
]


def mutated(rng: random.Random, data: bytes, words: list[bytes]) -> bytes:
    """Some bytes, changed in one to four ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(_WAYS)(rng, data, words)
    return data


def _flip(rng: random.Random, data: bytes, _words: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if out:
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def _cut(rng: random.Random, data: bytes, _words: list[bytes]) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:a] if rng.random() < 0.3 else data[:a] + data[b if rng.random() < 0.3 else min(a + 8, b) :]


def _double(rng: random.Random, data: bytes, _words: list[bytes]) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[a : min(b, a + 2000)] + data[at:]


def _insert(rng: random.Random, data: bytes, words: list[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(NASTY if rng.random() < 0.5 else words or NASTY) + data[at:]


def _replace_word(rng: random.Random, data: bytes, words: list[bytes]) -> bytes:
    """One word, with its separators left as they are."""
    places = [
        at
        for at in range(len(data))
        if data[at : at + 1] not in b" \n=,\t" and (not at or data[at - 1 : at] in b" \n=,\t")
    ]
    if not places:
        return data
    start = rng.choice(places)
    end = start
    while end < len(data) and data[end : end + 1] not in b" \n=,\t":
        end += 1
    return data[:start] + rng.choice(NASTY + words) + data[end:]


def _swap_lines(rng: random.Random, data: bytes, _words: list[bytes]) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


_WAYS = (_flip, _cut, _double, _insert, _replace_word, _replace_word, _swap_lines)


def words_of(*texts: bytes) -> list[bytes]:
    """The words of some texts, each once."""
    return list(dict.fromkeys(word for text in texts for word in text.replace(b"=", b" ").split() if len(word) < 100))
