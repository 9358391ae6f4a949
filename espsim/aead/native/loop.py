"""The loop over a batch's rows, once: each library's kernel is this loop with the library's `run_row` in it.

`run_row` and `prefetch_key` are arguments of inlined code, so each kernel holds one library's code and is kept on disk.
"""

# ruff: noqa: PLR0917
# A batch is six columns, a row seven numbers, always in the same order.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from espsim.aead.native.slots import ELSEWHERE, HEADER, ICV, IV, KEY, KIND, NOTHING
from espsim.core.arrays import Array
from espsim.core.numbers import TRUNCATED, WAITING
from espsim.jit.addresses import address, load64
from espsim.jit.compiling import helper, inlined
from espsim.jit.memory import LINE
from espsim.jit.prefetch import prefetch_at

# What `_find` returns in place of an address.
_NO_KEYS, _NOT_OURS = -1, -2

# How many rows ahead the slot's line and packet are prefetched, and the key schedule (which the line points to).
# Below MANY slots all of it stays in the caches anyway.
_FAR, _NEAR, _MANY = 8, 4, 400

_32 = np.uint64(32)


@inlined
def over_rows(
    run_row: Callable[..., int], prefetch_key: Callable[..., None], opening: bool,
    functions: Array, lines: Array, scratch: Array,
    arena: Array, esp: Array, end: Array, slot: Array, seq64: Array, result: Array, clear: Array, clear_at: Array,
) -> int:  # fmt: skip
    """Open or seal the waiting rows (batch.py).

    1. With many slots, prefetch what a later row needs: its slot's line and packet, then its key schedule.
    2. Find the row's slot. A slot without keys ends the loop; a slot of another engine leaves the row to that one.
    3. Find ciphertext and ICV, and where a row is sealed from other memory (`clear_at`), its plaintext. A row without
       room for them is TRUNCATED.
    4. Open or seal the row.

    Returns how many rows are left to another engine, or -1 - row where a row's slot holds no keys.
    """
    f, table, work, base = address(functions), address(lines), address(scratch), address(arena)
    slots, room, rows, left = lines.shape[0], arena.shape[0], esp.shape[0], 0
    elsewhere, clear_base, clear_room = clear_at.shape[0] > 0, address(clear), clear.shape[0]
    for i in range(rows):
        if slots > _MANY:
            if i + _FAR < rows:
                prefetch_at(table + LINE * slot[i + _FAR])
                prefetch_at(base + esp[i + _FAR])
            if i + _NEAR < rows:
                _prefetch_key(prefetch_key, f, table, slots, slot[i + _NEAR], end[i + _NEAR] - esp[i + _NEAR])
        if result[i] != WAITING:
            continue
        line = _find(table, slots, slot[i])
        if line == _NO_KEYS:
            return -1 - i
        if line == _NOT_OURS:
            left += 1
            continue
        body, icv = _place(line, room, esp[i], end[i])
        text = base + body
        if elsewhere and clear_at[i] >= 0:
            text = clear_base + clear_at[i]
            body = body if clear_at[i] <= clear_room - (icv - body) else -1
        if body < 0:
            result[i] = TRUNCATED
        else:
            result[i] = run_row(opening, f, line, work, base + esp[i], text, base + body, base + icv, _high(seq64[i]))
    return left


@inlined
def _prefetch_key(
    prefetch_key: Callable[..., None], f: int, table: int, slots: int, number: int, size: int
) -> None:  # fmt: skip
    """Prefetch what a packet of `size` bytes needs of a slot's key schedule, when the slot's line has arrived."""
    if 0 <= number < slots:
        prefetch_key(f, load64(table + LINE * number + KEY), size)


@helper
def _find(table: int, slots: int, number: int) -> int:
    """Address of a slot's line; _NO_KEYS or _NOT_OURS where it holds none that this engine can use."""
    if number < 0 or number >= slots:
        return _NO_KEYS
    line = table + LINE * number
    kind = load64(line + KIND)
    if kind == NOTHING:
        return _NO_KEYS
    return _NOT_OURS if kind == ELSEWHERE else line


@helper
def _place(line: int, room: int, start: int, stop: int) -> tuple[int, int]:
    """Where a row's ciphertext and ICV begin in an arena of `room` bytes; -1, -1 where there is no room for them."""
    body, icv = start + HEADER + load64(line + IV), stop - load64(line + ICV)
    if start < 0 or start > room or stop < 0 or stop > room or icv < body:
        return -1, -1
    return body, icv


@helper
def _high(seq64: Array) -> Any:
    """The high half of a uint64."""
    return np.int64(seq64 >> _32)
