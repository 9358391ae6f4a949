"""What either library needs of a row: the nonce and the AAD, put together in scratch memory."""

from __future__ import annotations

from espsim.aead.native.slots import ESN, IV, SALT
from espsim.jit.addresses import load32, load64, store32, store32_be, store64
from espsim.jit.compiling import helper


@helper
def aad(line: int, room: int, header: int, hi: int) -> tuple[int, int]:
    """Address and length of SPI, [seq_hi,] seq; with ESN they are put together in `room`."""
    if load64(line + ESN) == 0:
        return header, 8
    store32(room, load32(header))
    store32_be(room + 4, hi)
    store32(room + 8, load32(header + 4))
    return room, 12


@helper
def nonce(line: int, room: int, header: int, hi: int) -> int:
    """Address of salt, IV, put together in `room`. An implicit IV is the number in 64 bits (RFC 8750 4)."""
    store32(room, load64(line + SALT))
    if load64(line + IV) != 0:
        store64(room + 4, load64(header + 8))
    else:
        store32_be(room + 4, hi if load64(line + ESN) != 0 else 0)
        store32(room + 8, load32(header + 4))
    return room
