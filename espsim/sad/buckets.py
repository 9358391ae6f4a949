"""How many buckets the kernel's hash tables of states have, and in which order a resize takes the states over.

All four tables of net/xfrm/xfrm_state.c (bydst, bysrc, byspi, byseq) have one size: 8 buckets at first. It doubles when
a new state meets another one in its bucket of bydst and there are more states than buckets - 1 (xfrm_hash_grow_check).
A resize walks bydst from its last bucket to its first and puts each state at the head of its new chains, so of two
states that share a chain the later one may be found second afterwards (xfrm_hash_transfer).

The hashes are xfrm_hash.h's, as a little-endian machine computes them; the seed is 0, so they are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from espsim.core.address import AF_INET, AF_INET6, Address
from espsim.sad.entry import SadEntry

SMALLEST, LARGEST = 8, 1 << 20
_LOW = 0xFFFFFFFF
_JHASH_INITVAL = 0xDEADBEEF


class Buckets:
    """The table bydst: which states share a bucket. `size` is the number of buckets."""

    def __init__(self, size: int = SMALLEST) -> None:
        self.size = size
        self._count = 0
        self._chains: dict[int, dict[int, SadEntry]] = {}  # a chain's head is its last item

    def insert(self, entry: SadEntry) -> bool:
        """A new state, at the head of its chain. True: the tables are to be resized."""
        chain = self._chains.setdefault(self._bucket(entry), {})
        collides = bool(chain)
        chain[entry.sa_index] = entry
        self._count += 1
        return collides and self.size < LARGEST and self._count >= self.size

    def remove(self, entry: SadEntry) -> None:
        """The state is gone. A table never shrinks."""
        bucket = self._bucket(entry)
        chain = self._chains[bucket]
        del chain[entry.sa_index]
        self._count -= 1
        if not chain:
            del self._chains[bucket]

    def walk(self) -> Iterator[SadEntry]:
        """Every state, as a resize takes them: from the last bucket to the first, each chain from its head."""
        for bucket in sorted(self._chains, reverse=True):
            yield from reversed(list(self._chains[bucket].values()))

    def resize(self) -> list[SadEntry]:
        """Double the size. Returns the states as they were taken over, the first of them at the end of its chains."""
        moved = list(self.walk())
        self._chains.clear()
        self._count = 0
        self.size *= 2
        for entry in moved:
            self.insert(entry)
        return moved

    def _bucket(self, entry: SadEntry) -> int:
        sa = entry.sa
        h = entry.af ^ sa.reqid ^ _address_hash(sa.dst, sa.src, entry.af)
        return (h ^ h >> 16) & (self.size - 1)


def _address_hash(dst: Address, src: Address, af: int) -> int:
    """__xfrm4_daddr_saddr_hash and __xfrm6_daddr_saddr_hash; any other family has no part in the hash."""
    if af == AF_INET:
        total = int.from_bytes(dst[:4], "little") + int.from_bytes(src[:4], "little") & _LOW
        return int.from_bytes(total.to_bytes(4, "little"))
    if af == AF_INET6:
        return _jhash(dst) ^ _jhash(src)
    return 0


@lru_cache(maxsize=4096)
def _jhash(address: Address) -> int:
    """jhash2() of an IPv6 address's four words with seed 0 (include/linux/jhash.h, Bob Jenkins' lookup3)."""
    words = [int.from_bytes(address[at : at + 4], "little") for at in range(0, 16, 4)]
    start = _JHASH_INITVAL + 16 & _LOW
    a, b, c = start + words[0] & _LOW, start + words[1] & _LOW, start + words[2] & _LOW
    for turn in (4, 6, 8, 16, 19, 4):  # __jhash_mix: the three change places each turn
        a = (a - c & _LOW) ^ _rotated(c, turn)
        c = c + b & _LOW
        a, b, c = b, c, a
    a = a + words[3] & _LOW
    for turn in (14, 11, 25, 16, 4, 14, 24):  # __jhash_final
        c = (c ^ b) - _rotated(b, turn) & _LOW
        a, b, c = b, c, a
    return b


def _rotated(value: int, turn: int) -> int:
    return (value << turn | value >> 32 - turn) & _LOW
