"""RFC 4301's SA lookup (section 4.1): of the rules that match a packet, the longest wins.

    SPI, destination, source      a multicast group with one sender
    SPI, destination              a multicast group
    SPI                           a unicast SA: the receiver chose its SPI, so nothing else is compared

One implementation for everything that looks so: the SAD under `--lookup longest`, and devices and libraries whose table
is of that kind (DPDK's librte_ipsec). Linux looks a unicast SA up by the triple instead (index.py), and has no groups.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from espsim.core.address import Address
from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.index import StateIndex
from espsim.sad.spi import Free, SpiRule, Triple

TRIPLE, LONGEST = "triple", "longest"
"""The words of `--lookup`: Linux's lookup, and RFC 4301's."""

_T = TypeVar("_T")


class AddressMatch(NamedTuple):
    """What a packet with the SPI must have besides. None: it is not looked at."""

    dst: Address | None = None
    src: Address | None = None


def longest_match(rules: Iterable[tuple[AddressMatch, _T]], src: Address, dst: Address) -> list[_T]:
    """What the longest matching rule names, in the order given; of equally long ones all."""
    best: list[_T] = []
    longest = -1
    for rule, item in rules:
        if rule.dst not in (None, dst) or rule.src not in (None, src):
            continue
        length = (rule.dst is not None) + (rule.src is not None)
        if length > longest:
            best, longest = [], length
        if length == longest:
            best.append(item)
    return best


def match_of(sa: SecurityAssociation) -> AddressMatch:
    """The rule of an SA in a SAD: a group's has its destination, and its source where one is stated."""
    if not is_group(sa.dst):
        return AddressMatch()
    return AddressMatch(sa.dst, sa.src if any(sa.src) else None)


def is_group(address: Address) -> bool:
    """Whether an address is multicast: 224.0.0.0/4, ff00::/8."""
    return address[0] >> 4 == 0xE if len(address) == 4 else address[:1] == b"\xff"


class LongestLookup(SpiRule):
    """An SPI rule whose inbound packets are looked up by longest match. It gives and refuses SPIs as before."""

    def __init__(self, rule: SpiRule) -> None:
        self._rule = rule
        self.name = rule.name
        self.summary, self.effect, self.by, self.where = rule.summary, rule.effect, rule.by, rule.where
        self.hands_out_zero = rule.hands_out_zero
        self.drawn_zero_ends = rule.drawn_zero_ends
        self.names_the_taken = rule.names_the_taken

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """As the rule has it."""
        return self._rule.taken(index, spi, entry, direction)

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """As the rule has it."""
        return self._rule.refuses(index, sa, replaced)

    def draw(self, rng: random.Random, low: int, high: int, free: Free) -> int | None:
        """As the rule has it."""
        return self._rule.draw(rng, low, high, free)

    def input(
        self, index: StateIndex, triple: Triple, mark: int | None, port: int | None, saddr: Address = b""
    ) -> SadEntry | None:
        """The longest match among the states of the SPI and protocol whose mark fits; of equal rules the newest."""
        daddr, spi, proto = triple
        states = [e for e in index.with_spi(spi) if e.sa.proto == proto and e.sa.mark.matches(mark)]
        found = longest_match(((match_of(entry.sa), entry) for entry in states), saddr, daddr)
        return found[-1] if found else None
