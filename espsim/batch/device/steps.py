"""A modelled device's lookup over columns, step by step: offload/device.py.

    key_words           the fields that a table, a rule or a check compares         offload/keys.py
    masked, sliced      the slot of a direct table                                  offload/tables.py DirectTable
    in_slots            what is in it                                               DirectTable
    better              what several signatures of an exact table find              ExactTable
    conclude            the context that was found, and the device's check of it    offload/device.py Device.lookup
    conclude_spi        the same, of what batch/device/tables.py found and checked in one

`step` says how a packet's lookup ended: PENDING until then. A table finds an entry, by number. `context` says which
context the entry has; -1: none, because its slot of the SA array is empty.
"""

from __future__ import annotations

import numpy as np

from espsim.batch.device.tables import OTHER
from espsim.core.arrays import I32, I64, U8, U32, U64, Int
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

CLASSIFY, OVER_MAX, MISSED, EMPTY, MISMATCH, HIT = range(6)
"""Ends of a lookup: the device does not look at the packet; the index is past the table's end; the key is not in the
table; the slot has no SA; the device's check refuses the SA; the SA is found."""
ASK = 6
"""An end that is not public. The device model itself is asked, and says so."""
PENDING = 7
"""The lookup has not ended."""
REACHED, ACTION = 0, 1
"""Columns of `said`."""

SPI, FAMILY, MARK, PORTS, DST, SRC = 1, 2, 4, 8, 16, 32
"""Parts of a key, to be added up."""

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""

_0, _16, _32, _40 = (np.uint64(n) for n in (0, 16, 32, 40))
_NO_PORT = np.uint32(0xFFFFFFFF)
_ONE = np.uint64(1)


def width(parts: int) -> int:
    """How many words a key of these parts has: at most 6."""
    return 1 + bool(parts & (MARK | PORTS)) + 2 * bool(parts & DST) + 2 * bool(parts & SRC)


@kernel
def key_words(
    parts: int, spi_mask: np.uint32, mark_mask: np.uint32,
    spi: U32, family: U8, daddr: U64, saddr: U64, sport: U32, dport: U32, mark: U32, words: U64,
) -> None:  # fmt: skip
    """Fill `words` (rows, width(parts)) with the parts of each packet's key.

        word 0            has ports << 40 | family << 32 | SPI under its mask
        mark or ports     mark under its mask << 32 | source port << 16 | destination port
        destination       high, low
        source            high, low

    A word that no part needs is left out.
    """
    with_mark, with_ports, with_dst, with_src = parts & MARK, parts & PORTS, parts & DST, parts & SRC
    for i in range(len(spi)):
        head = np.uint64(spi[i] & spi_mask) if parts & SPI else _0
        if parts & FAMILY:
            head |= np.uint64(family[i]) << _32
        at = 1
        if with_mark | with_ports:
            side = np.uint64(mark[i] & mark_mask) << _32 if with_mark else _0
            if with_ports and dport[i] != _NO_PORT:
                head |= _ONE << _40
                side |= np.uint64(sport[i]) << _16 | np.uint64(dport[i])
            words[i, 1] = side
            at = 2
        words[i, 0] = head
        if with_dst:
            words[i, at], words[i, at + 1] = daddr[i, 0], daddr[i, 1]
            at += 2
        if with_src:
            words[i, at], words[i, at + 1] = saddr[i, 0], saddr[i, 1]


# -- direct tables ----------------------------------------------------------------------------------------------------


@kernel
def masked(spi: U32, offset: np.uint64, mask: np.uint64, slot: I64) -> None:
    """Fill `slot` with (SPI - offset) & mask; `offset` and `mask` are below 2^32."""
    lift = (_ONE << _32) - offset
    for i in range(len(spi)):
        slot[i] = (np.uint64(spi[i]) + lift) & mask


@kernel
def sliced(
    spi: U32, rule: I32, bases: I64, low: np.uint64, size: np.uint64, limit: np.uint64, slot: I64
) -> None:  # fmt: skip
    """Fill `slot` with the base of a packet's rule; -1 without a rule.

    Where `size` is not 0, bits of the SPI are added: (base + (SPI >> low & size - 1)) & limit.
    """
    for i in range(len(spi)):
        slot[i] = -1
        if rule[i] >= 0:
            base = np.uint64(bases[rule[i]])
            if size != _0:
                base = base + (np.uint64(spi[i]) >> low & (size - _ONE)) & limit
            slot[i] = base


@kernel
def in_slots(slot: I64, capacity: int, cells: I32, near: I32, step: U8, found: I32) -> None:
    """Fill `found` with the entry in each pending packet's slot; -1 for none.

    1. No slot: the lookup ends with CLASSIFY. A slot past the table's end: OVER_MAX.
    2. Take the entry in the slot. An empty slot: EMPTY.

    It is cells[slot]; slots past the end of `cells` are empty. Where `near` is not empty, it has the entries instead.
    `capacity` 0: the table has no end.
    """
    rows = len(slot)
    for i in range(rows):
        if i + AHEAD < rows and 0 <= slot[i + AHEAD] < len(cells):
            prefetch(cells, slot[i + AHEAD])
        found[i] = -1
        if step[i] != PENDING:
            continue
        if slot[i] < 0:
            step[i] = CLASSIFY
        elif 0 < capacity <= slot[i]:
            step[i] = OVER_MAX
        else:
            if len(near):
                found[i] = near[i]
            elif slot[i] < len(cells):
                found[i] = cells[slot[i]]
            if found[i] < 0:
                step[i] = EMPTY


# -- all kinds --------------------------------------------------------------------------------------------------------


@kernel
def better(other: I32, rank: I64, many: U8, longest: bool, found: I32, shadowed: U8) -> None:
    """Add what another signature found: of two entries the one of the lower rank wins. `longest`: the first one wins.

    `many` (entries): not 0 where others in the table have the same key.
    """
    for i in range(len(other)):
        new = other[i]
        if new < 0:
            continue
        if found[i] < 0:
            found[i], shadowed[i] = new, many[new]
        elif not longest:
            shadowed[i] = 1
            if rank[new] < rank[found[i]]:
                found[i] = new


@inlined
def _equal(words: U64, i: int, other: U64, at: int) -> bool:
    differ = _0
    for n in range(words.shape[1]):
        differ |= words[i, n] ^ other[at, n]
    return bool(differ == _0)


@kernel
def conclude(
    found: I32, context: I32, sa: I32, words: U64, held: U64, ends: U8, said: U8,
    step: U8, shadowed: U8, sa_index: I32, reached: U8, action: U8,
) -> None:  # fmt: skip
    """End every lookup. `sa_index` is the SA of HIT and MISMATCH, else -1; other ends clear `shadowed`.

    1. A lookup that is PENDING ends: MISSED without an entry, EMPTY without a context, else HIT or MISMATCH.
    2. Several entries under one key may be an end that is not public (ASK).
    3. `ends` says what the end counts as; `said` what the device did.

    `words` (rows, w), `held` (contexts, w): what the device's check compares. `sa`: the SA of each context. `ends` (8):
    for each end what it counts as, such as HIT for a mismatch that the device ignores, or ASK for what is not public;
    ends[PENDING] is ASK where it is not public which of several entries wins. `said` (8, 2): REACHED, ACTION of each.
    """
    rows = len(found)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(context, max(found[i + AHEAD], 0))
        sa_index[i] = -1
        end = step[i]
        if end == PENDING:
            if found[i] < 0:
                end = MISSED
            elif context[found[i]] < 0:
                end = EMPTY
            else:
                at = context[found[i]]
                end = HIT if _equal(words, i, held, at) else MISMATCH
                sa_index[i] = sa[at]
            if shadowed[i] and ends[PENDING] == ASK:
                end = ASK
        if end not in (HIT, MISMATCH):
            shadowed[i] = 0
        end = ends[end]
        step[i] = end
        reached[i], action[i] = said[end, REACHED], said[end, ACTION]
        if end == ASK:
            sa_index[i] = -1


@inlined
def _of_end(found: int, pending: bool, hit: Int, missing: Int, mismatch: Int, classify: Int) -> Int:
    """The one of four values that belongs to a row's end. No branch and no table, so that LLVM makes vector code."""
    value = hit if found >= 0 else missing if found == -1 else mismatch
    return value if pending else classify


@kernel
def conclude_spi(missing: int, ends: U8, said: U8, step: U8, sa_index: I32, reached: U8, action: U8) -> None:
    """As `conclude`, after `tables.direct` or `by_spi` has filled `sa_index`. `step` has only PENDING and CLASSIFY.

    `missing`: the end where the table had nothing for the SPI: EMPTY or MISSED.
    """
    hit, none, other, out = ends[HIT], ends[missing], ends[MISMATCH], ends[CLASSIFY]
    far, far_none = said[hit, REACHED], said[none, REACHED]
    far_other, far_out = said[other, REACHED], said[out, REACHED]
    does, does_none = said[hit, ACTION], said[none, ACTION]
    does_other, does_out = said[other, ACTION], said[out, ACTION]
    for i in range(len(step)):
        found, pending = sa_index[i], step[i] == PENDING
        end = _of_end(found, pending, hit, none, other, out)
        step[i] = end
        reached[i] = _of_end(found, pending, far, far_none, far_other, far_out)
        action[i] = _of_end(found, pending, does, does_none, does_other, does_out)
        found = found if found >= -1 else OTHER - found
        sa_index[i] = found if pending and end != ASK else -1
