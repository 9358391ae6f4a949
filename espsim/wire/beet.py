"""The pseudo header that BEET mode puts before IPv4 options inside ESP (draft-nikander-esp-beet-mode-09, 4).

|  Next Header  | Header Len/8  |    Padlen     |   Reserved    |   0
|  Padlen octets of NOP (4 or 0), then the IPv4 options ...     |   4

ESP's next header is 94 then. The options are `8 * header length + 4 - padlen` bytes long, so that header and options
together fill multiples of 8 bytes. Linux: struct ip_beet_phdr, include/uapi/linux/ip.h.

>>> emit(17, bytes.fromhex("94040000"), reserved=0).hex(" ", 4)
'11000000 94040000'
>>> parse(bytes.fromhex("11000000 94040000"))
(17, 4, 4)

What this does not do: look at the options themselves.
"""

from __future__ import annotations

HEADER_LENGTH = 4
PADDING_LENGTH = 2

_NOP = b"\1"
_LONGEST = 250
"""Linux refuses longer options (xfrm4_remove_beet_encap); an IPv4 header has room for 40 bytes."""


def parse(payload: bytes) -> tuple[int, int, int] | None:
    """(next header, offset of the options, their length) of a payload that has one; None: it is damaged."""
    if len(payload) < HEADER_LENGTH:
        return None
    next_header, units, padding, _reserved = payload[:HEADER_LENGTH]
    at, size = length(payload), 8 * units + 4 - padding
    if size < 0 or size & 3 or size > _LONGEST or at > len(payload):
        return None
    return next_header, at, size


def emit(next_header: int, options: bytes, reserved: int) -> bytes:
    """Pseudo header, padding and options, which are at least 4 bytes in a multiple of 4."""
    padding = 4 - (len(options) & 4)
    return bytes((next_header, len(options) // 8, padding, reserved)) + _NOP * padding + options


def length(payload: bytes, at: int = 0) -> int:
    """Bytes of the pseudo header and its padding; the first 4 must be there."""
    return HEADER_LENGTH + payload[at + PADDING_LENGTH]
