"""The SAs at the start of a run, found in ways that the lookup does not use: by SPI alone, by addresses alone.

The list is made before the first packet. So SAs that expire during the run are still known, and the list is the same
for any number of workers. The dictionaries are made when the first packet fails.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

from espsim.core.address import Address, format_address
from espsim.core.numbers import PROTO_ESP
from espsim.explain.facts import Top
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry
from espsim.sad.longest import LongestLookup, match_of
from espsim.sad.sad import Sad
from espsim.sad.sent import before
from espsim.sad.window import Window, nearest
from espsim.text.found import Unused

MORE = 256
"""How many SAs are tried that need not have the packet's SPI or addresses."""


class Known:
    """The ESP SAs of `sad`, the unusable ones of its text, and the packets' mark (None: marks are not asked)."""

    def __init__(self, sad: Sad, unused: Iterable[Unused] = (), mark: int | None = 0) -> None:
        self.mark = mark
        self.port_key = sad.index.port_key
        self._longest = isinstance(sad.policy, LongestLookup)
        self.entries = [entry for entry in sad if entry.sa.proto == PROTO_ESP and entry.sa.spi]
        self._unused = tuple(unused)
        self._resumes = {e.sa_index: e.window.resume for e in self.entries if e.window.resume is not None}

    def tops(self) -> dict[int, Top]:
        """The top of every window, by sa_index."""
        return {entry.sa_index: top_of(entry) for entry in self.entries}

    @functools.cached_property
    def by_spi(self) -> dict[int, list[SadEntry]]:
        """The SAs of each SPI, the newest last."""
        found: dict[int, list[SadEntry]] = {}
        for entry in self.entries:
            found.setdefault(entry.sa.spi, []).append(entry)
        return found

    @functools.cached_property
    def by_ends(self) -> dict[frozenset[Address], list[SadEntry]]:
        """The SAs between two addresses, in both directions."""
        found: dict[frozenset[Address], list[SadEntry]] = {}
        for entry in self.entries:
            found.setdefault(frozenset((entry.sa.src, entry.sa.dst)), []).append(entry)
        return found

    @functools.cached_property
    def unused(self) -> dict[str, Unused]:
        """The SAs that can't be used, by name."""
        return {one.name: one for one in reversed(self._unused)}

    def number_under(self, entry: SadEntry, top: Top, seq: int) -> int:
        """The 64-bit number that an SA infers for a packet with its window at `top`; an outbound SA has no window."""
        if entry.sa.direction is Direction.OUT:
            return nearest(before(entry), seq) if entry.sa.esn else seq
        # The high half at the start, not the entry's present one: the entry may be ahead of the batch looked at.
        resume = None if top.known else self._resumes.get(entry.sa_index)
        return Window(entry.window.size, esn=entry.sa.esn, top=top.number, resume=resume).infer(seq)

    def asks(self, entry: SadEntry, src: Address, dst: Address) -> bool:
        """Whether the lookup finds an SA for a packet of its SPI by its addresses (longest match, or destination)."""
        if not self._longest:
            return entry.sa.dst == dst
        rule = match_of(entry.sa)
        return rule.dst in (None, dst) and rule.src in (None, src)

    def unusable(self, spi: int, dst: Address) -> Unused | None:
        """The unusable SA with an SPI and destination."""
        return self.unused.get(f"0x{spi:08x}@{format_address(dst)}")

    def of_spi(self, own: SadEntry, spi: int) -> list[SadEntry]:
        """Other SAs with an SPI whose keys can judge a packet."""
        return [entry for entry in self.by_spi.get(spi, ()) if entry is not own and can_judge(entry)]

    @functools.cached_property
    def some(self) -> list[SadEntry]:
        """The first MORE SAs whose keys can judge a packet."""
        return list(itertools.islice((entry for entry in self.entries if can_judge(entry)), MORE))

    def between(self, own: SadEntry, ends: frozenset[Address]) -> list[SadEntry]:
        """The SAs between two addresses, in both directions, that are not in `some`."""
        some = {entry.sa_index for entry in self.some}
        return [e for e in self.by_ends.get(ends, ()) if e is not own and e.sa_index not in some and can_judge(e)]


def can_judge(entry: SadEntry) -> bool:
    """Whether an SA has keys and an ICV. Without an ICV every packet opens."""
    return entry.sa.keys is not None and entry.sa.keys.icv_length > 0


def top_of(entry: SadEntry) -> Top:
    """The present top of an SA's window."""
    return Top(entry.window.top, entry.window.resume is None)
