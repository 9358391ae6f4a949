"""RX of AGGFRAG payloads (RFC 9347): how a line says what is in one.

    iptfs={sub:N,flags:N,off:N}     the header; zeros for what is not given, and for the rest of sub-type 1
    blocks=N                        N inner packets of `payload` bytes, back to back
    blocks=KIND:VALUE,...           v4:BYTES, v6:BYTES (a datagram with so many bytes), pad:BYTES (zeros), hex:HEX

The start or the rest of an inner packet is given in hex, with its offset.
"""

from __future__ import annotations

from collections.abc import Callable

from espsim.text.lexer import shown
from espsim.wire import iptfs
from espsim.xfrm.request_line import RequestWords

IPTFS_WORDS = frozenset({"iptfs", "blocks"})
MOST = 60000
"""Bytes of payload that one line may ask for."""

Datagram = Callable[[int, int], bytes]
"""A datagram of an IP version with so many bytes of payload."""


def aggregation(words: RequestWords) -> bytes | None:
    """The AGGFRAG header, None where the line gives none."""
    if "iptfs" not in words:
        return None
    said = words.braces("iptfs", ("sub", "flags", "off"), 16)
    if max(said.get("sub", 0), said.get("flags", 0)) > 0xFF:
        raise words.error("iptfs: sub and flags take 0 to 255")
    return iptfs.emit(said.get("off", 0), said.get("sub", 0), said.get("flags", 0))


def blocks(words: RequestWords, payload: int, version: int) -> Callable[[Datagram], bytes] | None:
    """A function that makes the blocks, None where the line gives none. `version`: of inner packets that state none."""
    text = words.values.get("blocks")
    if text is None:
        return None
    parts = [(f"v{version}", payload)] * words.number("blocks", bits=8) if text.isdecimal() else _parts(words, text)
    if sum(len(value) if isinstance(value, bytes) else value for _, value in parts) > MOST:
        raise words.error(f"blocks hold more than {MOST} bytes")

    def make(datagram: Datagram) -> bytes:
        made = b""
        for kind, value in parts:
            if isinstance(value, bytes):
                made += value
            else:
                made += bytes(value) if kind == "pad" else datagram(int(kind[1]), value)
        return made

    return make


def _parts(words: RequestWords, text: str) -> list[tuple[str, int | bytes]]:
    parts: list[tuple[str, int | bytes]] = []
    for part in text.split(","):
        kind, _, value = part.partition(":")
        if kind not in ("v4", "v6", "pad", "hex"):
            raise words.error(f"blocks: unknown kind {shown(kind)}; known: v4, v6, pad, hex, or a number alone")
        if kind == "hex":
            octets = RequestWords({"hex": value}, words.where, words.line).hexadecimal("hex") or b""
            parts.append((kind, octets))
        else:
            parts.append((kind, words.parse_number(f"{kind} of blocks", value, 16)))
    return parts
