"""How likely SPIs drawn at random are to collide in a device: a duplicate, an alias, or no room.

Every SA has a peer and a destination of its own. That is the worst case: Linux before 6.17 only asks for an SPI that is
new to its destination. SPIs are uniform in a range and independent. If the model's table has a closed form
(occupancy.py), the chance is exact. Otherwise SAs are drawn and offered to the modelled device, and the chance has a
95 % interval.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espsim.aead.suites import AEADS, Algorithm
from espsim.analysis import occupancy
from espsim.core.counts import parse_count
from espsim.core.echo import shortened
from espsim.core.errors import InputError
from espsim.offload.caps import Refusal, need, refusal
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import Model
from espsim.sad.association import Mode, SecurityAssociation

EVENTS = ("duplicate", "alias", "overflow", "refused", "any")
"""Same SPI; another SPI with the same slot; no room; an SPI outside the driver's range; at least one of these."""

_SPREAD, _TELLS = 12, 0.02
"""How many places of a curve are at equal ratios, and from which change on a place is added between two."""

_BUDGET = 60_000
"""How many adds a Monte Carlo makes in all, unless the number of draws is given."""


@dataclass(frozen=True, slots=True)
class Chance:
    """A probability. `low` and `high` are its 95 % interval of `draws` draws, or equal to it where it is exact."""

    value: float
    low: float
    high: float
    draws: int = 0

    @property
    def how(self) -> str:
        """How it was found, in words."""
        return f"Monte Carlo, {self.draws} draws" if self.draws else "exact"

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {"chance": self.value, "low": self.low, "high": self.high, "how": self.how}


@dataclass(frozen=True, slots=True)
class Range:
    """The SPIs that are drawn from, both ends included."""

    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low + 1

    def __str__(self) -> str:
        return f"0x{self.low:x}-0x{self.high:x}"


def parse_range(text: str, where: str = "--range") -> Range:
    """MIN-MAX, decimal (1k, 1M) or 0x. InputError for anything else, and for more than 32 bits."""
    low, dash, high = text.partition("-")
    try:
        found = Range(_spi(low.strip()), _spi(high.strip()))
    except ValueError:
        raise InputError(f"give MIN-MAX, such as 0x100-0xffff, not {shortened(text)!r}", where=where) from None
    if not dash or not 0 <= found.low <= found.high <= 0xFFFFFFFF:
        raise InputError(f"{shortened(text)}: MIN must not be above MAX, and both have 32 bits", where=where)
    return found


def _spi(text: str) -> int:
    return int(text[2:], 16) if re.fullmatch("0[xX][0-9a-fA-F]{1,16}", text) else parse_count(text)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What decides a model's odds. `slots`: index bits of a table that the SPI indexes. `limit`: rows for any SPIs.

    `hash`: (ways, sets, skewed). `addressed`: addresses are in the key, so equal SPIs do not meet.
    """

    slots: int | None = None
    limit: int | None = None
    hash: tuple[int, int, bool] | None = None
    addressed: bool = False


def chances(
    model: Model, sas: int, spis: Range, *, seed: int = 0, draws: int | None = None, draw: bool = True
) -> dict[str, Chance] | None:
    """The chance of each of EVENTS among `sas` SAs. None: there is no closed form, and `draw` is False.

    `model` has its assumptions filled in (`Model.assuming`). InputError: it takes no inbound SAs. UnknownReached: the
    answer is not public.
    """
    acceptable(model)
    shape = _shape(model, spis)
    exact = _exact(shape, sas, spis) if shape is not None else None
    if exact is not None or not draw:
        return exact
    return curve(model, [sas], spis, seed=seed, draws=draws)[0]


def curve(
    model: Model, sizes: Sequence[int], spis: Range, *, seed: int = 0, draws: int | None = None
) -> list[dict[str, Chance]]:
    """`chances` for several numbers of SAs. A Monte Carlo draws once for all of them."""
    acceptable(model)
    shape = _shape(model, spis)
    exact = [None if shape is None else _exact(shape, size, spis) for size in sizes]
    if all(found is not None for found in exact):
        return [found for found in exact if found is not None]
    return _simulated(model, sizes, spis, seed, draws)


def curve_where_it_changes(
    model: Model, most: int, spis: Range, *, points: int, seed: int = 0, draws: int | None = None
) -> dict[int, dict[str, Chance]]:
    """`curve` from one SA to `most`, by number of SAs: at equal ratios, then between the places that differ most.

    Places at equal ratios alone would miss the step where a table is full. With a Monte Carlo no places are added.
    """
    found = _spread_curve(model, most, spis, min(points, _SPREAD), seed=seed, draws=draws)
    if any(chance.draws for row in found.values() for chance in row.values()):
        return _spread_curve(model, most, spis, points, seed=seed, draws=draws)
    while len(found) < points:
        sizes = sorted(found)
        steps = [
            (max(abs(found[low][event].value - found[high][event].value) for event in found[low]), low, high)
            for low, high in itertools.pairwise(sizes)
            if high - low > 1
        ]
        most_changed, low, high = max(steps, default=(0.0, 0, 0))
        if most_changed < _TELLS:
            break
        middle = (low + high) // 2
        found[middle] = curve(model, [middle], spis)[0]
    return dict(sorted(found.items()))


def _spread_curve(
    model: Model, most: int, spis: Range, points: int, *, seed: int, draws: int | None
) -> dict[int, dict[str, Chance]]:
    sizes = sorted({max(1, round(most ** (n / (points - 1)))) for n in range(points)})
    return dict(zip(sizes, curve(model, sizes, spis, seed=seed, draws=draws), strict=True))


def sas_for(chance: float, spis: Range) -> int:
    """The fewest SAs with at least this chance that two have the same SPI."""
    return occupancy.balls_for(chance, len(spis))


@dataclass(frozen=True, slots=True)
class Losses:
    """SAs that find no place in a hash: the mean, exact where there is a closed form, and the Monte Carlo interval."""

    ways: int
    sets: int
    expected: float | None
    drawn: tuple[float, float, float]
    expected_shared: float
    draws: int

    def as_dict(self) -> dict[str, object]:
        """For --json. `shared_index` is the same table with one row index for all ways."""
        mean, low, high = self.drawn
        return {
            "ways": self.ways, "sets": self.sets, "expected": self.expected,
            "monte_carlo": {"mean": mean, "low": low, "high": high, "draws": self.draws},
            "shared_index": self.expected_shared,
        }  # fmt: skip


def losses(model: Model, sas: int, *, seed: int = 0, draws: int | None = None) -> Losses | None:
    """How many of `sas` SAs with different SPIs find no place. None: the model has no hash of known shape."""
    lookup = model.spec.inbound.lookup[0]
    ways, sets = lookup.ways, lookup.sets
    if lookup.kind != "hash" or not isinstance(ways, int) or not isinstance(sets, int):
        return None
    skewed = bool(need(model, "inbound.lookup.0.per_way_index", lookup.per_way_index))
    shared = occupancy.expected_loss_shared(sas, ways, sets)
    expected = _mean_left(sas, ways, sets) if skewed else shared
    draws = draws or min(200, max(10, 2_000_000 // max(1, sas)))
    drawn = occupancy.draw_losses(sas, ways, sets, draws, np.random.default_rng(seed), skewed=skewed)
    return Losses(ways, sets, expected, occupancy.mean_interval(drawn), shared, draws)


def _mean_left(sas: int, ways: int, sets: int) -> float | None:
    if sas > occupancy.LARGEST:
        return None
    left = occupancy.skewed_left_over(_certain(sas), ways, sets)
    return float((np.arange(len(left)) * left).sum())


def _certain(sas: int) -> occupancy.Floats:
    arrivals = np.zeros(sas + 1)
    arrivals[sas] = 1.0
    return arrivals


# -- closed forms -----------------------------------------------------------------------------------------------------


def _shape(model: Model, spis: Range) -> _Shape | None:
    """The kind of table. None: it has no closed form."""
    inbound = model.spec.inbound
    first, program = inbound.lookup[0], inbound.program
    if out_of_range(model, spis.low) or out_of_range(model, spis.high):
        return None
    addressed = bool({"src", "dst"} & set(_fields(model)))
    limit = _limit(model)
    if inbound.classify.rule != "any" and isinstance(inbound.classify.capacity, int):
        return None
    if first.kind == "none":
        return _Shape(limit=limit, addressed=True)  # no packet is looked up, so SAs do not meet
    second_bits = 24 if len(inbound.lookup) > 1 and program.slot == "spi_low24" else None
    index = first.index
    if first.kind == "direct" and index is not None and index.fn == "mask" and isinstance(index.bits, int):
        return _Shape(slots=index.bits) if limit is None or limit >= 1 << index.bits else None
    if first.kind == "hash" and index is not None and index.fn == "vendor_hash" and index.chained is False:
        ways, sets = need(model, "inbound.lookup.0.ways", first.ways), need(model, "inbound.lookup.0.sets", first.sets)
        skewed = need(model, "inbound.lookup.0.per_way_index", first.per_way_index)
        kept = addressed or program.duplicate.policy in ("keep_first", "reject", "overwrite", "software")
        return _Shape(hash=(ways, sets, skewed), limit=limit, addressed=addressed) if kept and not second_bits else None
    if first.kind in ("exact", "longest", "firmware"):
        return _Shape(slots=second_bits, limit=limit, addressed=addressed)
    return None


def _fields(model: Model) -> list[str]:
    """The fields of the key; of the longest where there are several."""
    key: list[Any] = need(model, "inbound.lookup.0.key", model.spec.inbound.lookup[0].key)
    return [name for part in key for name in (part if isinstance(part, list) else [part])]


def _limit(model: Model) -> int | None:
    """How many SAs find room whatever their SPIs: rows, array slots, auxiliary rows, one for each SA. None: all do."""
    inbound = model.spec.inbound
    numbers: list[int | str] = [aux.capacity for aux in inbound.lookup[0].aux]
    if inbound.lookup[0].kind != "hash":
        numbers.append(inbound.lookup[0].capacity)
    if len(inbound.lookup) > 1 and inbound.program.slot == "first_free":
        numbers.append(inbound.lookup[1].capacity)
    return min((n for n in numbers if isinstance(n, int)), default=None)


def _exact(shape: _Shape, sas: int, spis: Range) -> dict[str, Chance] | None:
    """The chances, each from a closed form or a recurrence. None: they cost too much, or have no such form."""
    beyond = 1.0 if shape.limit is not None and sas > shape.limit else 0.0
    if shape.slots is not None:
        found = _slots(sas, spis, shape.slots)
        return _sure(*found[:2], beyond, 1 - (1 - found[2]) * (1 - beyond)) if found is not None else None
    duplicate = 0.0 if shape.addressed else occupancy.shared(sas, len(spis))
    if shape.hash is None:
        if beyond and not shape.addressed:
            return None  # duplicates take no room, and their number is not known
        return _sure(duplicate, 0.0, beyond, 1 - (1 - duplicate) * (1 - beyond))
    ways, sets, skewed = shape.hash
    if sas > 2 * ways * sets and (shape.addressed or len(spis) > 4 * sas * ways):
        return _sure(duplicate, 0.0, 1.0, 1.0)
    if sas > occupancy.LARGEST:
        return None
    again = np.ones(1) if shape.addressed else occupancy.repeats(sas, len(spis))
    arrivals = np.zeros(sas + 1)
    arrivals[sas - len(again) + 1 :] = again[::-1]
    fits = _fits(arrivals, ways, sets, skewed) * (1 - beyond)
    whole = _fits(_certain(sas), ways, sets, skewed) * (1 - duplicate) * (1 - beyond)
    return _sure(duplicate, 0.0, 1 - fits, 1 - whole)


def _fits(arrivals: occupancy.Floats, ways: int, sets: int, skewed: bool) -> float:
    """The chance that every SA finds a place."""
    if skewed:
        return float(occupancy.skewed_left_over(arrivals, ways, sets)[0])
    some = np.flatnonzero(arrivals > 1e-15)
    return float(sum(arrivals[t] * occupancy.fits_shared(int(t), ways, sets) for t in some))


def _sure(duplicate: float, alias: float, overflow: float, either: float) -> dict[str, Chance]:
    values = (min(1.0, max(0.0, value)) for value in (duplicate, alias, overflow, 0.0, either))
    return {name: Chance(value, value, value) for name, value in zip(EVENTS, values, strict=True)}


def _slots(sas: int, spis: Range, bits: int) -> tuple[float, float, float] | None:
    """(duplicate, alias, either) in a table that the SPI's low bits index. The start of the range does not matter."""
    bins, slots = len(spis), 1 << bits
    per, rest = divmod(bins, slots)
    either = 0.0 - math.expm1(_slots_differ(sas, per, slots, rest))
    duplicate = occupancy.shared(sas, bins)
    if not per or (per == 1 and not rest):
        return duplicate, 0.0, duplicate
    # No alias among all implies none among the first few: a bound that is cheap and mostly enough.
    for size in (min(sas, 256), min(sas, 4096), min(sas, occupancy.LARGEST)):
        none = _no_alias(size, bins, per, slots, rest)
        if none < 1e-16:
            return duplicate, 1.0, either
    return None if sas > occupancy.LARGEST else (duplicate, 1 - none, either)


def _no_alias(sas: int, bins: int, per: int, slots: int, rest: int) -> float:
    """The chance of no alias: the different SPIs among `sas` draws are all in different slots."""
    if sas < 2:
        return 1.0
    none = 0.0
    for again, chance in enumerate(occupancy.repeats(sas, bins)):
        distinct = sas - again
        if chance > 1e-18 and distinct:
            apart = _slots_differ(distinct, per, slots, rest) - occupancy.log_all_differ(distinct, bins)
            none += float(chance) * math.exp(min(0.0, apart))
    return none


def _slots_differ(sas: int, per: int, slots: int, rest: int) -> float:
    if rest:
        return occupancy.log_slots_differ(sas, per, slots - rest, per + 1, rest)
    return occupancy.log_slots_differ(sas, 0, 0, per, slots)


def out_of_range(model: Model, spi: int) -> bool:
    """Whether a driver refuses this SPI for its number. False where an end of the range is not public."""
    span = model.spec.inbound.program.spi_range
    if span is None or span.outside == "ignore" or not isinstance(span.min, int) or not isinstance(span.max, int):
        return False
    return not span.min <= spi <= span.max


# -- drawing ----------------------------------------------------------------------------------------------------------


def acceptable(model: Model) -> SecurityAssociation:
    """An SA that the model takes, with the smallest window. The caller replaces its addresses and SPI."""
    first: Refusal | None = None
    for mode in (Mode.TRANSPORT, Mode.TUNNEL):
        for window in (0, 32, 64, 128, 1024):
            for suite in AEADS.values():
                for size in suite.key_sizes:
                    key = bytes(size)
                    algorithms = (Algorithm("aead", suite.name, key, suite.icv_bits[-1]),)
                    sa = SecurityAssociation(bytes(4), bytes(4), 0, mode=mode, algorithms=algorithms, window=window)
                    refused = refusal(model, sa)
                    if refused is None:
                        return sa
                    first = first or refused
    raise InputError(f"takes no inbound SA that could be tried: {first.why if first else ''}", where=model.id)


def _simulated(
    model: Model, sizes: Sequence[int], spis: Range, seed: int, draws: int | None
) -> list[dict[str, Chance]]:
    most = max(sizes)
    count = draws or min(1000, max(30, _BUDGET // max(1, most)))
    template, rng = acceptable(model), random.Random(seed)
    firsts = [_first_events(model, template, most, spis, rng) for _ in range(count)]
    result = []
    for size in sizes:
        hits = {name: sum(first[name] <= size for first in firsts) for name in EVENTS}
        result.append({name: Chance(n / count, *occupancy.wilson(n, count), count) for name, n in hits.items()})
    return result


def _first_events(
    model: Model, template: SecurityAssociation, most: int, spis: Range, rng: random.Random
) -> dict[str, float]:
    """The number of the SA (from 1) with which each event comes first; infinity where it does not come."""
    device = Device(model, seed=rng.getrandbits(32))
    first = dict.fromkeys(EVENTS, math.inf)
    owners: dict[int, int] = {}
    seen: set[int] = set()
    for number in range(1, most + 1):
        spi, host = rng.randint(spis.low, spis.high), number.to_bytes(4)
        sa = SecurityAssociation(
            host, host, spi, mode=template.mode, algorithms=template.algorithms, window=template.window
        )
        event = _event(device, number, sa, owners, spi in seen)
        seen.add(spi)
        if event is not None:
            first[event] = min(first[event], number)
            first["any"] = min(first["any"], number)
    return first


def _event(device: Device, number: int, sa: SecurityAssociation, owners: dict[int, int], drawn: bool) -> str | None:
    """The event that one more SA brings. None: it finds a place of its own."""
    installed = device.add(number, sa)
    if installed.errno is None and installed.in_table and installed.slot is not None:
        taken = installed.slot in owners
        owners[installed.slot] = number
        if not taken:
            return None
        return "duplicate" if drawn else "alias"
    if out_of_range(device.model, sa.spi):
        return "refused"
    answer = device.lookup(PacketKey(sa.src, sa.dst, sa.spi))
    if answer.sa_index in (-1, number):
        return "overflow"
    return "duplicate" if drawn else "alias"
