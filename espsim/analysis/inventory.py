"""Which SAs of a dump a device is offered: those of ESP that are inbound, oldest first, as the kernel got them.

An SA is inbound or outbound, in this order, by

    1. its `dir`
    2. the direction of its offload line
    3. --local: its destination is one of the host's own addresses, or it is not
    4. pairs: two SAs with swapped addresses and one reqid are the two directions of one connection. The address that
       is in more such pairs than its peer is this host's own, as a gateway's is. Where both are in as many, the pair
       says nothing.

An SA of which none of these says anything counts as inbound (`undirected`). AH, IPComp, other protocols and larval
states are counted and not offered.
"""

from __future__ import annotations

import ipaddress
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from espsim.core.address import Address, format_address, prefix_match
from espsim.core.errors import InputError
from espsim.sad.association import PROTO_ESP, PROTO_NAMES, Direction
from espsim.xfrm.survey import Survey, Template

WAYS = ("dir", "offload", "local", "pairs", "none")
"""What said the direction of an SA."""

Tuple = tuple[Address, Address, int]
"""(source, destination, reqid)."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network of the host's own addresses."""

    network: Address
    length: int

    def holds(self, address: Address) -> bool:
        """Whether an address lies in it."""
        return prefix_match(address, self.network, self.length)

    def __str__(self) -> str:
        whole = self.length == 8 * len(self.network)
        return format_address(self.network) + ("" if whole else f"/{self.length}")


def parse_prefix(text: str) -> Prefix:
    """ADDR[/PLEN]. InputError for anything else. Host bits may be set, as in `ip addr`."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise InputError(f"{text!r} is no address or prefix, such as 192.0.2.0/24", where="--local") from None
    return Prefix(interface.network.network_address.packed, interface.network.prefixlen)


@dataclass(frozen=True, slots=True)
class Own:
    """An address, or a prefix, that was taken for the host's own, and why."""

    address: str
    why: str


@dataclass(slots=True)
class Inventory:
    """Which SAs of a survey are offered, oldest first, and how many are not, by reason.

    `sas`: all of ESP. `ways`: for how many of them what said the direction. `own`: what --local or the pairs gave.
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
        """The lowest and the highest SPI of the offered SAs; None where none is offered."""
        spis = self.survey.spi
        if not self.offered:
            return None
        return min(spis[i] for i in self.offered), max(spis[i] for i in self.offered)

    def destinations(self) -> list[int]:
        """How many SAs each destination has: within one the kernel gives no SPI twice."""
        return sorted(Counter(self.survey.dst[i] for i in self.offered).values(), reverse=True)


def take_inventory(survey: Survey, local: Sequence[Prefix] = ()) -> Inventory:
    """Sort a survey's SAs. `undirected` counts those that are inbound only because nothing says otherwise."""
    result = Inventory(survey, array("I"))
    for proto, count in survey.ignored.items():
        result.left_out[f"protocol {proto}"] += count
    stated = [_stated(template) for template in survey.templates]
    order = array("I", survey.installing_order())
    undirected = any(way is None for _, _, way in stated)
    pairs = Pairs(survey, _candidates(order, survey, stated)) if undirected and not local else None
    own: dict[Address, Direction] = {}
    for index in order:
        reason, direction, way = stated[survey.template[index]]
        if reason is not None:
            result.left_out[reason] += 1
            result.sas += reason == "larval"
            continue
        result.sas += 1
        if way is None:
            if pairs is not None:
                direction = pairs.direction(index)
                way = "pairs" if direction is not None else "none"
            else:
                dst = survey.dst[index]
                if dst not in own:
                    own[dst] = Direction.IN if any(prefix.holds(dst) for prefix in local) else Direction.OUT
                direction, way = own[dst], "local"
        result.ways[way] += 1
        if direction is Direction.OUT:
            result.outbound += 1
            continue
        result.undirected += direction is None
        result.offered.append(index)
    result.own = [Own(str(p), "--local") for p in local] if local else list(pairs.own()) if pairs is not None else []
    return result


def _stated(template: Template) -> tuple[str | None, Direction | None, str | None]:
    """(why SAs of this template are not offered, their direction, what says it); None: nothing."""
    sa = template.sa
    if sa.proto != PROTO_ESP:
        return PROTO_NAMES[sa.proto], None, None
    if sa.keys is None and not template.hidden and not template.unmodelled:
        return "larval", None, None
    if sa.direction is None:
        return None, None, None
    return None, sa.direction, "dir" if sa.dir is not None else "offload"


def _candidates(
    order: array[int], survey: Survey, stated: Sequence[tuple[str | None, Direction | None, str | None]]
) -> Sequence[int]:
    """The SAs that may be of a pair: all that can be offered, those whose direction is known too."""
    if all(reason is None for reason, _, _ in stated):
        return order
    return [index for index in order if stated[survey.template[index]][0] is None]


class Pairs:
    """SAs with swapped addresses and one reqid, and which address of each pair is the host's own."""

    def __init__(self, survey: Survey, indices: Sequence[int]) -> None:
        self._survey = survey
        self._of: Counter[Address] = Counter()
        self._tuples: Counter[Tuple] = Counter()
        self._best: dict[Address, int] = {}
        sources = {survey.src[i] for i in indices}
        if not sources.isdisjoint(survey.dst[i] for i in indices):  # of SAs of one direction there is no pair
            self._count(indices)

    def _count(self, indices: Sequence[int]) -> None:
        src, dst, reqid = self._survey.src, self._survey.dst, self._survey.reqid
        self._tuples.update((src[i], dst[i], reqid[i]) for i in indices)
        pairs = [(a, b, n) for a, b, n in self._paired() if a < b]
        for a, b, count in pairs:
            self._of[a] += count
            self._of[b] += count
        for a, b, _ in pairs:
            for mine, other in ((a, b), (b, a)):
                if self._of[mine] > self._of[other]:
                    self._best[mine] = max(self._best.get(mine, 0), self._of[other])

    def _paired(self) -> Iterator[tuple[Address, Address, int]]:
        """(source, destination, pairs) of every tuple whose opposite is there: as many pairs as the fewer have SAs."""
        for (a, b, reqid), count in self._tuples.items():
            back = self._tuples.get((b, a, reqid), 0)
            if back and a != b:
                yield a, b, min(count, back)

    def direction(self, index: int) -> Direction | None:
        """Of an SA in a pair, by the pair's own address; of another, by whether one of its addresses is such a one."""
        survey = self._survey
        src, dst = survey.src[index], survey.dst[index]
        if (dst, src, survey.reqid[index]) in self._tuples and src != dst:
            here, there = self._of[dst], self._of[src]
        else:
            here, there = dst in self._best, src in self._best
        if here == there:
            return None
        return Direction.IN if here > there else Direction.OUT

    def own(self) -> Iterator[Own]:
        """The addresses taken for the host's own, the most frequent first."""
        for address, peer in sorted(self._best.items(), key=lambda item: (-self._of[item[0]], item[0])):
            why = (
                f"in {self._of[address]} pairs of SAs with swapped addresses and one reqid, each peer in at most {peer}"
            )
            yield Own(format_address(address), why)
