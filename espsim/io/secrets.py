"""The Decryption Secrets Block of pcapng with ESP's secrets: rows of Wireshark's `esp_sa` table in the capture itself.

    body    secrets type u32, secrets length u32, the secrets, padding to a multiple of four, options
    ESP     0x45535053 ("ESPS"): the text of `esp_sa` rows, a line feed after each

Blocks of other types (TLS's keys, WireGuard's) are passed over. A capture may have several, each before the
packets that need it. Sources: draft-ietf-opsawg-pcapng, Wireshark wiretap/secrets-types.h and wiretap/pcapng.c.

A row has no place for UDP ports, and Wireshark looks for ESP on 4500 alone. So a comment (option 1) names the ports of
an SA that has others, or says `mode iptfs`, in the words of the comments that `text.esp_sa_write` writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from espsim.io.source import ByteSource

SECRETS = 10
"""The type of the block."""
ESP_SA = 0x45535053
MOST_SECRETS = 64 << 20
"""Bytes of secrets that are read of one capture: two hundred thousand SAs have fewer."""
_IN_A_BLOCK = 1 << 20  # Wireshark reads no block of more than 16 MiB
_MOST_OPTIONS = 1 << 20
_OPT_END, _OPT_COMMENT = 0, 1


@dataclass(frozen=True, slots=True)
class SecretsBlock:
    """One block of ESP's secrets. `text` holds keys, and is in no repr; `fault` says why it is empty."""

    text: bytes = field(repr=False)
    comments: tuple[str, ...] = ()
    fault: str = ""


def read_body(source: ByteSource, order: str, size: int, room: int) -> SecretsBlock | None:
    """The body of a secrets block, `size` bytes in byte order `order`; None: it is not ESP's. All of it is read.

    `room`: no text longer than that is kept. CaptureCut where the capture ends in it.
    """
    if size < 8:
        source.skip(size, "a secrets block")
        return None
    kind, length = struct.unpack(order + "II", source.exactly(8, "a secrets block"))
    left, fault = size - 8, ""
    if length > left:
        fault = f"{length:,} bytes of secrets in a block that has room for {left:,}"
    elif length > room:
        fault = f"{length:,} bytes of secrets: {MOST_SECRETS:,} are read of one capture"
    if fault or kind != ESP_SA:
        source.skip(left, "a secrets block")
        return SecretsBlock(b"", fault=fault) if kind == ESP_SA else None
    padded = source.exactly(min(length + 3 & ~3, left), "a secrets block")
    left -= len(padded)
    options = source.exactly(min(left, _MOST_OPTIONS), "a secrets block")
    source.skip(left - len(options), "a secrets block")
    return SecretsBlock(padded[:length], tuple(_comments(options, order)))


def _comments(options: bytes, order: str) -> Iterator[str]:
    """The texts of comments, up to the first option that is longer than the block."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == _OPT_END or at + 4 + length > len(options):
            return
        if code == _OPT_COMMENT:
            yield options[at + 4 : at + 4 + length].decode("utf-8", "replace")
        at += 4 + (length + 3 & ~3)


def emit(rows: Iterable[str], comments: Iterable[str] = ()) -> bytes:
    """Little-endian blocks that hold rows, one where they fit; none where there are no rows."""
    texts = [b""]
    for row in rows:
        line = row.encode() + b"\n"
        if len(texts[-1]) + len(line) > _IN_A_BLOCK:
            texts.append(b"")
        texts[-1] += line
    options = b"".join(_option(_OPT_COMMENT, comment.encode()) for comment in comments)
    blocks = []
    for text in filter(None, texts):
        body = struct.pack("<II", ESP_SA, len(text)) + _padded(text)
        body += options + _option(_OPT_END, b"") if options else b""
        blocks.append(block(SECRETS, body))
        options = b""
    return b"".join(blocks)


def block(kind: int, body: bytes) -> bytes:
    """A little-endian block of pcapng; the body is a multiple of four bytes long."""
    total = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + total + body + total


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
