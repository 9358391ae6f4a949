"""What every native engine's loop does with a row: where its parts lie, nonce and AAD, and reading ahead."""

from __future__ import annotations

from typing import Any

import numpy as np

from espsim.aead.native.slots import ELSEWHERE, ESN, ICV, IV, KEY, KIND, LINE, NOTHING, SALT
from espsim.core.arrays import Array
from espsim.jit.addresses import load32, load64, store32, store32_be, store64
from espsim.jit.compiling import helper
from espsim.jit.prefetch import prefetch_at

# What `find` says in place of an address.
NO_KEYS, NOT_OURS = -1, -2

# How many rows ahead the slot's line and packet are asked for, and the key schedule (which the line points to).
# Below MANY slots all of it stays in the caches anyway.
FAR, NEAR, MANY, _SCHEDULE = 8, 4, 400, 384


_32 = np.uint64(32)


@helper
def find(table: int, slots: int, number: int) -> int:
    """Address of a slot's line; NO_KEYS or NOT_OURS where it holds none that this engine can use."""
    if number < 0 or number >= slots:
        return NO_KEYS
    line = table + LINE * number
    kind = load64(line + KIND)
    if kind == NOTHING:
        return NO_KEYS
    return NOT_OURS if kind == ELSEWHERE else line


@helper
def place(line: int, room: int, start: int, stop: int) -> tuple[int, int]:
    """Where a row's ciphertext and ICV begin in an arena of `room` bytes; -1, -1 where there is no room for them."""
    body, icv = start + 8 + load64(line + IV), stop - load64(line + ICV)
    if start < 0 or start > room or stop < 0 or stop > room or icv < body:
        return -1, -1
    return body, icv


@helper
def ask(line: int, header: int) -> None:
    """Ask for a slot's line and a packet, FAR rows ahead: with many SAs every slot is a cache miss."""
    prefetch_at(line)
    prefetch_at(header)


@helper
def ask_key(table: int, slots: int, number: int) -> None:
    """Ask for a slot's key schedule, NEAR rows ahead, when its line has arrived."""
    if 0 <= number < slots:
        key = load64(table + LINE * number + KEY)
        for at in range(0, _SCHEDULE, 64):
            prefetch_at(key + at)


@helper
def high(seq64: Array) -> Any:
    """The high half of a uint64."""
    return np.int64(seq64 >> _32)


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
def nonce(line: int, room: int, header: int) -> int:
    """Address of salt, IV, put together in `room`."""
    store32(room, load64(line + SALT))
    store64(room + 4, load64(header + 8))
    return room
