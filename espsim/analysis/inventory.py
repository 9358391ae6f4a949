"""Which SAs of a dump are offered to a device: inbound ESP, oldest first, as the kernel got them.

The first of these that gives an answer decides whether an SA is inbound or outbound:

    1. its `dir`
    2. the direction of its offload line
    3. --local: whether its destination is one of the host's own addresses
    4. pairs: two SAs with swapped addresses and one reqid are the two directions of one connection. The address that
       is in more such pairs than its peer is this host's own, as a gateway's is. If both are in equally many, the pair
       gives no answer.

An SA without an answer counts as inbound (`undirected`). AH, IPComp, other protocols and larval states are counted and
not offered.
"""

from __future__ import annotations

import ipaddress
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from espsim.core.address import Address, format_address, prefix_match
from espsim.core.errors import InputError
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import PROTO_NAMES, Direction
from espsim.text.survey import SaTemplate, Survey

WAYS = ("dir", "offload", "local", "pairs", "none")
"""What decided the direction of an SA."""

NEITHER, IN, OUT = 0, 1, 2
"""A direction as a number."""

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network of the host's own addresses."""

    network: Address
    length: int

    def holds(self, address: Address) -> bool:
        """Whether it contains an address."""
        return prefix_match(address, self.network, self.length)

    def __str__(self) -> str:
        whole = self.length == 8 * len(self.network)
        return format_address(self.network) + ("" if whole else f"/{self.length}")


def parse_prefix(text: str) -> Prefix:
    """The prefix of ADDR[/PLEN]; host bits may be set, as in `ip addr`. InputError for anything else."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise InputError(f"{text!r} is neither an address nor a prefix like 192.0.2.0/24", where="--local") from None
    return Prefix(interface.network.network_address.packed, interface.network.prefixlen)


@dataclass(frozen=True, slots=True)
class Own:
    """An address or prefix that counts as the host's own, and why."""

    address: str
    why: str


@dataclass(slots=True)
class Inventory:
    """Which SAs of a survey are offered, oldest first, and how many are not, by reason.

    `sas`: how many ESP SAs there are. `ways`: how many directions each way decided. `own`: the host's own addresses,
    from --local or the pairs.
    """

    survey: Survey
    offered: array[int]
    sas: int = 0
    outbound: int = 0
    undirected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    own: list[Own] = field(default_factory=list)

    @property
    def span(self) -> tuple[int, int] | None:
        """The lowest and the highest SPI of the offered SAs. None: no SA is offered."""
        spis = self.spis()
        return (int(spis.min()), int(spis.max())) if len(spis) else None

    def spis(self) -> npt.NDArray[np.uint32]:
        """The SPIs of the offered SAs, in their order."""
        return np.asarray(self.survey.spi, np.uint32)[np.asarray(self.offered, np.int64)]

    def destinations(self) -> list[int]:
        """How many SAs each destination has. Within one destination the kernel gives no SPI twice."""
        return sorted(Counter(self.survey.dst[i] for i in self.offered).values(), reverse=True)


def take_inventory(survey: Survey, local: Sequence[Prefix] = ()) -> Inventory:
    """Sort a survey's SAs. `undirected` counts those that are inbound only because nothing gave a direction."""
    result = Inventory(survey, array("I"))
    for proto, count in survey.ignored.items():
        result.left_out[f"protocol {proto}"] += count
    order = np.fromiter(survey.installing_order(), np.int64)
    stated = [_stated(template) for template in survey.templates]
    numbers = np.asarray(survey.template, np.int64)[order]
    for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
        reason = stated[number].left_out
        if reason is not None:
            result.left_out[reason] += int(count)
        result.sas += int(count) if reason in (None, "larval") else 0
    kept = np.array([reason.left_out is None for reason in stated], np.bool_)[numbers]
    order, numbers = order[kept], numbers[kept]
    direction = np.array([reason.direction for reason in stated], np.int8)[numbers]
    way = np.array([WAYS.index(reason.way) for reason in stated], np.int8)[numbers]
    _direct(result, local, order, direction, way)
    result.ways.update({WAYS[n]: int(count) for n, count in enumerate(np.bincount(way, minlength=len(WAYS)))})
    result.outbound = int((direction == OUT).sum())
    result.undirected = int((direction == NEITHER).sum())
    result.offered.extend(order[direction != OUT].tolist())
    return result


def _direct(result: Inventory, local: Sequence[Prefix], order: Ints, direction: Codes, way: Codes) -> None:
    """Fill in the directions that the SAs do not state, by --local or the pairs."""
    open_ = direction == NEITHER
    if local:
        own = {dst: IN if any(prefix.holds(dst) for prefix in local) else OUT for dst in set(result.survey.dst)}
        direction[open_] = [own[result.survey.dst[i]] for i in order[open_].tolist()]
        way[open_] = WAYS.index("local")
        result.own = [Own(str(prefix), "--local") for prefix in local]
    elif open_.any():
        pairs = Pairs(result.survey, order)
        direction[open_] = pairs.direction[open_]
        way[open_ & (direction != NEITHER)] = WAYS.index("pairs")
        result.own = list(pairs.own())


class _Stated(NamedTuple):
    """Why SAs of a form are not offered, or their direction and what decided it."""

    left_out: str | None
    direction: int = NEITHER
    way: str = "none"


def _stated(template: SaTemplate) -> _Stated:
    sa = template.sa
    if sa.proto != PROTO_ESP:
        return _Stated(PROTO_NAMES[sa.proto])
    if sa.keys is None and not template.hidden and not template.unmodelled:
        return _Stated("larval")
    if sa.direction is None:
        return _Stated(None)
    return _Stated(None, OUT if sa.direction is Direction.OUT else IN, "dir" if sa.dir is not None else "offload")


class Pairs:
    """Pairs of SAs with swapped addresses and one reqid, and which address of each pair is the host's own.

    `direction` of each SA is IN, OUT or NEITHER. An SA in a pair has it from the pair's own address, another SA from an
    own address of any pair. Addresses are numbered; `_of` counts the pairs of each.
    """

    def __init__(self, survey: Survey, indices: Ints) -> None:
        self._addresses, numbers = _numbered(survey.src + survey.dst)
        size = len(self._addresses)
        src, dst = numbers[: len(survey)][indices], numbers[len(survey) :][indices]
        ways, way = np.unique(src * size + dst, return_inverse=True)
        opposite = _place_of(ways % size * size + ways // size, ways)  # of each (source, destination); -1: none
        reqids, reqid = np.unique(np.asarray(survey.reqid, np.int64)[indices], return_inverse=True)
        kinds, kind, sas = np.unique(way * len(reqids) + reqid, return_inverse=True, return_counts=True)
        there = kinds // len(reqids) if len(reqids) else kinds
        back = _place_of(opposite[there] * len(reqids) + kinds % max(1, len(reqids)), kinds)
        a, b = ways[there] // size, ways[there] % size
        paired = (opposite[there] >= 0) & (back >= 0) & (a != b)
        once = paired & (a < b)
        pairs = np.minimum(sas, sas[back])[once]
        self._of = np.bincount(a[once], pairs, size) + np.bincount(b[once], pairs, size)
        self._peer = np.zeros(size)  # for each own address, the pairs of its busiest peer
        for mine, other in ((a[once], b[once]), (b[once], a[once])):
            more = self._of[mine] > self._of[other]
            np.maximum.at(self._peer, mine[more], self._of[other[more]])
        own = np.sign(self._peer)
        here = np.where(paired[kind], self._of[dst] - self._of[src], own[dst] - own[src])
        self.direction: Codes = np.select([here > 0, here < 0], [IN, OUT], NEITHER).astype(np.int8)

    def own(self) -> Iterator[Own]:
        """The addresses that count as the host's own, the most frequent first."""
        own = np.flatnonzero(self._peer).tolist()
        addresses = {n: bytes(self._addresses[n]) for n in own}
        for n in sorted(own, key=lambda n: (-self._of[n], addresses[n])):
            pairs = f"in {int(self._of[n])} pairs of SAs with swapped addresses and one reqid"
            yield Own(format_address(addresses[n]), f"{pairs}, its peers in at most {int(self._peer[n])} each")


def _numbered(addresses: list[Address]) -> tuple[Any, Ints]:
    """The different ones of some addresses (`bytes` of each is an address), and of each address its number in these."""
    packed = b"".join(addresses)
    if len(packed) == 4 * len(addresses):
        # All are IPv4. Of a million sorting is faster than a dictionary.
        found, numbers = np.unique(np.frombuffer(packed, ">u4").astype(np.uint32), return_inverse=True)
        return found.astype(">u4").view("V4"), numbers.astype(np.int64)
    different = {address: n for n, address in enumerate(dict.fromkeys(addresses))}
    return list(different), np.fromiter(map(different.__getitem__, addresses), np.int64)


def _place_of(wanted: Ints, among: Ints) -> Ints:
    """Where each number is among sorted ones; -1: it is not."""
    if not len(among):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return np.where(among[place] == wanted, place, -1)
