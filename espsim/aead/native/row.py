"""What either library needs of a row: the nonce and the AAD, put together in scratch memory."""

from __future__ import annotations

from espsim.aead.native.slots import ESN, HEADER, IV, SALT
from espsim.jit.addresses import load32, load64, network32, store_words
from espsim.jit.compiling import helper


@helper
def aad(line: int, room: int, header: int, hi: int) -> tuple[int, int]:
    """Address and length of SPI, [seq_hi,] seq; with ESN they are put together in the 16 bytes of `room`."""
    if load64(line + ESN) == 0:
        return header, HEADER
    store_words(room, (load32(header), network32(hi), load32(header + 4), 0))
    return room, 12


@helper
def nonce(line: int, room: int, header: int, hi: int) -> int:
    """Address of salt, IV, put together in the 16 bytes of `room`; the last 4 bytes are zero.

    An implicit IV is the number in 64 bits (RFC 8750 4).
    """
    first, second = 0, load32(header + 4)
    if load64(line + IV) != 0:
        first, second = load32(header + HEADER), load32(header + HEADER + 4)
    elif load64(line + ESN) != 0:
        first = network32(hi)
    store_words(room, (load64(line + SALT), first, second, 0))
    return room
