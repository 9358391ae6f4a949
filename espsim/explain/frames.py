"""The frames of a capture with the records that they were read from, and hex digits as a capture of one frame."""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD, open_input
from espsim.core.numbers import MAX_RECORD, PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING
from espsim.explain.steps import Places
from espsim.io.capture import CaptureReader, Frame
from espsim.io.formats import read_format
from espsim.io.fragments import Joiner, Settled
from espsim.io.linktype import ETHERNET, RAW, ip_packet, ip_start
from espsim.io.source import ByteSource, Format, Record
from espsim.wire import ipv4, ipv6

DIGITS = "the digits"
"""The name of IN in messages where it is hex digits. The digits are not repeated."""

_PUNCTUATION = re.compile(r"0[xX]|[\s:,]")
_HEX = re.compile(r"[0-9a-fA-F]*")


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame, and the record that it was made from (for a datagram in fragments, that of its last fragment).

    `settled`: the fragments whose outcome this frame decided.
    """

    frame: Frame
    record: Record
    settled: list[Settled]

    @property
    def places(self) -> Places:
        """Where the packet's bytes are in the record."""
        return places_of(self.record, self.frame.ip or b"")


class _Remembering:
    """A capture format that keeps its last record."""

    def __init__(self, form: Format) -> None:
        self.nanosecond = form.nanosecond
        self.last: Record | None = None
        self._form = form

    def steps(self) -> Iterator[Record | None]:
        for record in self._form.steps():
            self.last = record or self.last
            yield record


@contextlib.contextmanager
def open_source(source: str) -> Iterator[Frames | str]:
    """What IN holds: the frames of a capture, one frame of hex digits (on the command line or in a file), or a text.

    InputError: it can't be read, or is none of these. A capture's errors come when its frames are read.
    """
    if is_digits(source):
        yield Frames([hex_frame(source)])
        return
    with open_input(source, buffering=1 << 16) as file:
        head = file.peek(4)[:4] if isinstance(file, io.BufferedReader) else _start(file)
        if not _is_text(head):
            yield Frames(file=file, path=source)
            return
        text = _text(file, source)
        yield Frames([hex_frame(text, source)]) if looks_like_hex(text) else text


def is_digits(source: str) -> bool:
    """Whether IN itself is hex digits, and no file has that name."""
    return source != STANDARD and looks_like_hex(source) and not os.path.exists(source)


def _start(file: BinaryIO) -> bytes:
    head = file.read(4)
    file.seek(0)
    return head


def _is_text(head: bytes) -> bool:
    """Whether a file that starts like this is text. Both capture formats start with bytes that text does not have."""
    if head in _BLANKS_OF_PCAPNG:
        return False
    if head.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return bool(head) and all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in head)


_BLANKS_OF_PCAPNG = (b"\n\r", b"\n\r\r", b"\n\r\r\n")
_MOST_TEXT = 16 << 20


def _text(file: BinaryIO, path: str) -> str:
    data = file.read(_MOST_TEXT + 1)
    if len(data) > _MOST_TEXT:
        raise InputError(f"is a text of more than {_MOST_TEXT:,} bytes: give only a few of its SAs", where=path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


class _Forward:
    """A file without seeking. The pcapng reader would search all of a file that can seek."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.close = file.read, file.close

    def seekable(self) -> bool:
        """False."""
        return False


class Frames:
    """The frames of a capture, in order, once, each read when it is asked for. Raises as CaptureReader.

    `given`: the one frame of hex digits. A capture's frames come from `file`, which is at `path`.
    """

    def __init__(self, given: Iterable[SeenFrame] = (), file: BinaryIO | None = None, path: str = "") -> None:
        self._frames = iter(given)
        self._file, self._path = file, path
        self._joiner: Joiner | None = None

    def join(self, joiner: Joiner | None) -> None:
        """Let `joiner` put outer fragments together; None: they stay apart. Call it before the first frame."""
        if self._file is not None:
            self._joiner = joiner
            self._frames = _seen(self._file, self._path, joiner)

    def __iter__(self) -> Iterator[SeenFrame]:
        return self._frames

    def ahead(self, most: int) -> Iterator[SeenFrame]:
        """Up to `most` more frames of a file, none of a pipe, where reading may wait. A damaged frame ends them."""
        with contextlib.suppress(InputError):
            yield from itertools.islice(self._frames, most if self._file is not None and self._file.seekable() else 0)

    def rest(self) -> list[Settled]:
        """The fragments whose outcome is known only at the end of the capture."""
        return [] if self._joiner is None else self._joiner.settled()


def _seen(file: BinaryIO, path: str, joiner: Joiner | None) -> Iterator[SeenFrame]:
    source = ByteSource(cast(BinaryIO, _Forward(file)), path)
    form = _Remembering(read_format(source))
    for frame in CaptureReader(source, form, joiner):
        if form.last is not None:
            yield SeenFrame(frame, form.last, [] if joiner is None else joiner.settled())


def places_of(record: Record, packet: bytes) -> Places:
    """Where a packet is in its frame. For a datagram put together, where this frame's fragment of it is."""
    start = max(ip_start(record.linktype, record.data), 0)
    if record.data.startswith(packet[:_COMPARED], start) and len(packet) <= len(record.data) - start:
        return Places(((0, start, len(packet)),))
    return Places(_fragment(record.data[start:], start, packet))


_COMPARED = 8
"""Bytes of the IP header that are compared. In a datagram put together, length or offset differ from the frame's."""


def _fragment(part: bytes, start: int, packet: bytes) -> tuple[tuple[int, int, int], ...]:
    """The place of a fragment's payload in the datagram that it belongs to."""
    if len(packet) >= ipv4.HEADER_LENGTH and packet[0] >> 4 == 4 and part[:1] and part[0] >> 4 == 4:
        own, whole = ipv4.length(part), ipv4.length(packet)
        flags = int.from_bytes(part[ipv4.FLAGS : ipv4.TTL])  # the frame may be shorter than that
        length = int.from_bytes(part[ipv4.TOTAL_LENGTH : ipv4.IDENT]) - own
        if flags & ipv4.FRAGMENT_MASK:
            return ((whole + (flags & ipv4.OFFSET_MASK) * 8, start + own, max(length, 0)),)
        at = part.find(packet[whole:]) if len(packet) >= whole + _COMPARED else -1
        return ((whole, start + at, len(packet) - whole),) if at >= 0 else ()
    found = _v6_fragment(part) if part[:1] and part[0] >> 4 == 6 else None
    if found is None:
        return ()
    header, own, offset, length = found
    return ((header + offset, start + own, length),)


def _v6_fragment(part: bytes) -> tuple[int, int, int, int] | None:
    """(the fragment header, its payload, the payload's offset in the datagram, its length)."""
    kind, at = part[6], ipv6.HEADER_LENGTH
    while kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS) and at + 8 <= len(part):
        kind, at = part[at], at + (part[at + 1] + 1) * 8
    if kind != PROTO_FRAGMENT or at + 8 > len(part):
        return None
    end = ipv6.HEADER_LENGTH + int.from_bytes(part[4:6])
    return at, at + 8, int.from_bytes(part[at + 2 : at + 4]) & 0xFFF8, max(end - at - 8, 0)


# -- hex --------------------------------------------------------------------------------------------------------------


def looks_like_hex(text: str) -> bool:
    """Whether a text is hex digits, with blanks, colons, commas and 0x between them, and few other characters."""
    if len(text) > _MOST_TEXT:
        return False
    digits = _PUNCTUATION.sub("", text)
    if not digits:
        return False
    if _HEX.fullmatch(digits):
        return True
    wrong = len(re.sub(r"[0-9a-fA-F]", "", digits))
    return len(digits) >= 40 and wrong <= len(digits) // 20 and "/" not in text  # mistyped


def hex_frame(text: str, where: str = DIGITS) -> SeenFrame:
    """The frame in hex digits: an IP packet, or an Ethernet frame. InputError: an odd number, or other characters."""
    digits = _PUNCTUATION.sub("", text)
    good = _HEX.match(digits)
    count = len(good[0]) if good is not None else 0
    if count < len(digits):
        raise InputError(f"{digits[count]!r} after {count} hex digits is not a hex digit", where=where)
    if count % 2:
        raise InputError(f"{count} hex digits: a byte has two, so one is missing or too many", where=where)
    if count > 2 * MAX_RECORD:
        raise InputError(f"{count // 2} bytes are more than a frame can have", where=where)
    data = bytes.fromhex(digits)
    record = Record(RAW if _is_ip(data) else ETHERNET, None, 0, data, len(data))
    ip = ip_packet(record.linktype, data)
    if ip is None:
        raise InputError(f"{len(data)} bytes that are neither an IP packet nor an Ethernet frame with one", where=where)
    return SeenFrame(Frame(1, 0, ip, len(data), len(data)), record, [])


def _is_ip(data: bytes) -> bool:
    """Whether bytes look like an IP packet rather than an Ethernet frame, whose first byte may be 0x45 too."""
    framed = ip_packet(ETHERNET, data)
    version = data[0] >> 4 if data else 0
    if version not in (4, 6):
        return False
    if framed is None:
        return True
    return _length(data) == len(data)


def _length(packet: bytes) -> int:
    """The length that an IP header states for its packet."""
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[2:4])
    return ipv6.HEADER_LENGTH + int.from_bytes(packet[4:6])
