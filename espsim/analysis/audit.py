"""What a device would do with the SAs of a host: each is offered to the modelled driver, then a packet of each is sent.

The fate of an SA is what the driver did with it:

    installed   it is in the device, and its packets find it
    collides    an SA with the same SPI has its key or slot: it was refused, or shadowed, or overwritten
    aliases     an SA with another SPI has its slot
    overflows   there is no room for it
    refused     the driver does not take such an SA, or its SPI is outside the driver's range

One of WORKS says what its packets meet then:

    hardware    the device opens them with the SA's own context
    software    they go on to software, which has the SA (or the model is of software)
    lost        none arrives: the device drops or flags them, or the kernel refused the SA too (XfrmInNoStates)
    wrong_sa    they are opened with another SA's context, and fail
    unknown     the answer depends on something that is not public; the other SAs still get their answers

`decap --model` gives the same answers (reference/offloaded.py). Each packet is one that only its own SA opens. SAs are
added oldest first, as the kernel got them.

What this does not do: open packets, or move windows and lifetimes.
"""

from __future__ import annotations

import functools
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from espsim.analysis.doubts import Doubts
from espsim.analysis.inventory import Inventory
from espsim.analysis.odds import out_of_range
from espsim.analysis.offers import Offers
from espsim.analysis.shortcuts import finds_by_spi, has_room, mask_of, mask_of_vacant, rows_that_fill, turns_away
from espsim.core.address import Address
from espsim.core.errors import UnknownReached
from espsim.core.verdict import DeviceOutcome, Surfacing, Verdict
from espsim.offload import outcome
from espsim.offload.caps import Refusal, stays_in_software
from espsim.offload.device import Answer, Device, PacketKey
from espsim.offload.schema import UNKNOWN
from espsim.text.survey import Survey

FATES = ("installed", "collides", "aliases", "overflows", "refused")
WORKS = ("hardware", "software", "lost", "wrong_sa", "unknown")
SEVERITY = {works: n for n, works in enumerate(("lost", "wrong_sa", "unknown", "software", "hardware"))}

_UNKNOWN_FATE = "unknown"

_Kind: TypeAlias = tuple[int, str | None, int, bool]
"""What decides the answer for SAs whose SPI no entry has: template, errno, the refusal's id, whether it was written."""


class Met(NamedTuple):
    """What an SA's packets meet. `outcome`, `surfacing` None: not public. `other`: the SA that they meet, -1: none."""

    works: str
    outcome: DeviceOutcome | None
    surfacing: Surfacing | None
    other: int = -1


class TrafficFate(NamedTuple):
    """SAs with the same answer. `fate` is one of FATES, or "unknown". `errno` None: the add returns 0."""

    works: str
    fate: str
    errno: str | None
    outcome: DeviceOutcome | None
    surfacing: Surfacing | None


class Finding(NamedTuple):
    """One SA that is not simply installed. `other`: the SA whose context its packets meet, -1: none."""

    sa: int
    fate: str
    errno: str | None
    other: int
    outcome: DeviceOutcome | None
    surfacing: Surfacing | None
    works: str


class RefusedSas(NamedTuple):
    """SAs that are refused with the same sentence, and how many of them are lost or meet a wrong SA."""

    errno: str
    why: str
    sas: int
    first: int
    change: str
    lost: int


@dataclass(slots=True)
class Audit:
    """One model's answer. `traffic` counts SAs with the same answer. `findings`: the most severe of each fate.

    `works` counts SAs by WORKS. `unmet` counts SAs whose packets meet no SA, by outcome. `conflicts` counts SAs whose
    packets meet another SA, by what differs: "mark", "source", "destination" or "slot". `unknown`: (number of SAs, the
    first) by the key that is not public. `places`: (place, how many SAs lost it to the one there) of every written row.
    `hidden`: what was assumed of hidden keys.
    """

    device: Device
    fates: Counter[str] = field(default_factory=Counter)
    works: Counter[str] = field(default_factory=Counter)
    traffic: Counter[TrafficFate] = field(default_factory=Counter)
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    refused: list[RefusedSas] = field(default_factory=list)
    unknown: dict[str, list[int]] = field(default_factory=dict)
    places: list[tuple[int, int]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    @property
    def collides(self) -> bool:
        """Whether an SA's packets, or its add, meet another SA."""
        met = (DeviceOutcome.WRONG_SA, DeviceOutcome.SHADOWED, DeviceOutcome.SA_MISMATCH)
        return bool(self.fates["collides"] or self.fates["aliases"] or any(t.outcome in met for t in self.traffic))

    @property
    def lost(self) -> int:
        """How many SAs have packets that are lost or meet a wrong SA."""
        return self.works["lost"] + self.works["wrong_sa"]


def audit(inventory: Inventory, device: Device, *, most: int = 20) -> Audit:
    """Offer every inbound SA to a new device, then send a packet of each. At most `most` findings of a fate are listed.

    A value that is not public stops nothing: the SAs that need it are `unknown`.
    """
    return _Run(inventory, device, most).result


class _Run:
    """One audit while it runs."""

    def __init__(self, inventory: Inventory, device: Device, most: int) -> None:
        self.survey, self.offered, self.device, self.most = inventory.survey, inventory.offered, device, most
        self._inventory = inventory
        self.result = Audit(device)
        self._offers = Offers(self.survey, device.model)
        self._doubts = Doubts(device.model, self.survey.spi)
        self._reasons: dict[int, Refusal] = {}
        self._errnos: dict[int, str] = {}
        inbound = device.model.spec.inbound
        first = inbound.lookup[0]
        self._software = device.model.spec.caps.offload == []
        self._looks = inbound.classify.kind != "none" and first.kind != "none"
        fields = {name for part in first.key for name in ([part] if isinstance(part, str) else part)}
        self._addressed = bool(fields & {"src", "dst"})
        self._indexed = first.kind == "direct" and first.index is not None and first.index.fn == "mask"
        self._mask = mask_of(device)
        self._marked = "mark" in fields or "mark" in inbound.classify.key
        self._mismatched: dict[int, Answer] = {}
        self._by_spi = finds_by_spi(device)
        self._vacant = mask_of_vacant(device)
        self._missed: dict[bool, Answer] = {}
        self._range = functools.cache(self._out_of_range)
        self._found: dict[tuple[str, str, _Kind | None], list[Finding]] = {}
        self._answered: dict[PacketKey, Answer] = {}
        self._newest: _Newest | None = None
        self._refused_lost: Counter[Refusal] = Counter()
        self._tally: Counter[tuple[str, str, str | None, DeviceOutcome | None, Surfacing | None]] = Counter()
        # 1: the table has room for all SAs, and no other SA has this one's SPI. So it is installed without a try.
        self._alone = bytearray(len(self.survey))
        self._repeated = self._repeated_spis()
        self._offer()
        places = {index: place for place, index in device.occupancy()}
        self._written = set(places)
        self._slots = {self.survey.spi[index] & (self._vacant or 0) for index in places}
        self._judge_all(places)

    # -- adding -------------------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        spis, numbers, doubts = self.survey.spi, self.survey.template, self._doubts
        mask = self._mask if turns_away(self.device) else None
        away: dict[tuple[int, int], str] = {}  # taken slots: each refuses every further SA with this errno
        full: dict[int, str] = {}  # full tables, by their addresses' length: each refuses every further SA
        fills, roomy = rows_that_fill(self.device), has_room(self.device, len(self.offered))
        for position, index in enumerate(self.offered):
            errno = away.get((spis[index] & mask, numbers[index])) if mask is not None else None
            if errno is not None:
                self._errnos[index] = errno
                continue
            offer = self._offers.of(index)
            if offer.refused is not None:
                self._errnos[index], self._reasons[index] = offer.refused.errno, offer.refused
                continue
            if offer.unknown is not None or doubts.closed is not None:
                doubts.leave_open(position, index, offer.unknown or doubts.closed or "")
                continue
            if roomy and spis[index] not in self._repeated:
                self._alone[index] = 1
                continue
            size = len(self.survey.dst[index])
            if size in full:
                self._errnos[index] = full[size]
                continue
            sa = offer.make(index)
            try:
                errno = self.device.add(index, sa).errno
            except UnknownReached as reached:
                errno = doubts.reached(position, index, reached.key)
            if errno is None:
                continue
            self._errnos[index] = errno
            if out_of_range(self.device.model, sa.spi):
                self._reasons[index] = self._range(errno)
            elif mask is not None and self._offers.alike(numbers[index]):
                away[sa.spi & mask, numbers[index]] = errno
            elif fills is not None and len(self.device.hardware.table(0, sa.dst).rows) >= fills:
                full[size] = errno
        doubts.settle(self.device.counts().accepted, self.offered)
        self.result.hidden = self._offers.hidden

    def _out_of_range(self, errno: str) -> Refusal:
        span = self.device.model.spec.inbound.program.spi_range
        low, high = (span.min, span.max) if span is not None else (0, 0)
        return Refusal(
            errno, f"the SPI is outside the driver's range, 0x{low:x} to 0x{high:x}",
            f"keep SPIs within 0x{low:x}-0x{high:x}, or configure the driver for the range in use",
        )  # fmt: skip

    # -- packets ------------------------------------------------------------------------------------------------------

    def _repeated_spis(self) -> set[int]:
        """The SPIs that several of the offered SAs have."""
        spis = np.sort(self._inventory.spis())
        return set(spis[1:][spis[1:] == spis[:-1]].tolist())

    def _judge_all(self, places: dict[int, int]) -> None:
        spis, written, repeated = self.survey.spi, self._written, self._repeated
        works = "software" if self._software else "hardware"
        plain, wanted = self._alone.count(1), Counter[int]()
        free = range(len(places), len(places) + plain)  # rows are taken in turn; which SA has which does not matter
        alike: defaultdict[_Kind, array[int]] = defaultdict(lambda: array("I"))
        for index in sorted(self.offered):
            if self._alone[index]:
                continue
            if self._looks and index in written and spis[index] not in repeated and not self._doubts.about(index):
                plain += 1  # packets are looked up in its table, and no other SA has its SPI
                continue
            kind = self._kind(index)
            if kind is not None:
                alike[kind].append(index)
                continue
            other = self._judge([index])
            if other in places:
                wanted[places[other]] += 1
        for kind, sas in alike.items():
            self._judge(sas, kind)
        if plain:
            self.result.fates["installed"] += plain
            self.result.works[works] += plain
            self.result.traffic[TrafficFate(works, "installed", None, DeviceOutcome.HIT, Surfacing.NONE)] += plain
        for row, count in self._tally.items():
            self.result.traffic[TrafficFate(*row)] += count
        self.result.places = [(place, wanted[place]) for place in (*sorted(places.values()), *free)]
        self.result.refused = list(self._grouped())
        self._list_findings()

    def _kind(self, index: int) -> _Kind | None:
        """The kind of an SA: all SAs of a kind have the same answer and meet no other SA. None: judge it alone."""
        if self.survey.spi[index] in self._repeated or not self._finds_no_entry(index) or self._doubts.about(index):
            return None
        reason = self._reasons.get(index)
        return self.survey.template[index], self._errnos.get(index), id(reason), index in self._written

    def _judge(self, sas: Sequence[int], kind: _Kind | None = None) -> int:
        """Count SAs that all have the first one's answer. Returns the other SA that its packets meet, or -1."""
        result, index, errno = self.result, sas[0], self._errnos.get(sas[0])
        met = self._meet(index)
        if met.works == "unknown" and len(sas) > 1:  # each must count the key that it needs
            for one in sas[1:]:
                self._judge([one], kind)
            sas = sas[:1]
        fate = self._fate(index, met, errno)
        result.fates[fate] += len(sas)
        result.works[met.works] += len(sas)
        if index in self._reasons and met.works in ("lost", "wrong_sa"):
            self._refused_lost[self._reasons[index]] += len(sas)
        self._tally[met.works, fate, errno, met.outcome, met.surfacing] += len(sas)
        if met.other >= 0:
            result.conflicts[self._apart(index, met.other), met.works] += len(sas)
        if fate != "installed" or met.works in ("lost", "wrong_sa", "unknown"):
            kept = self._found.setdefault((fate, met.works, kind), [])
            for one in sas[: self.most - len(kept)]:
                kept.append(Finding(one, fate, errno, met.other, met.outcome, met.surfacing, met.works))
        return met.other

    def _meet(self, index: int) -> Met:
        doubt = self._doubts.about(index)
        if doubt is None and self._software and self.survey.templates[self.survey.template[index]].unmodelled:
            return Met("unknown", None, None)  # the kernel may run what espsim does not model
        if doubt is None:
            try:
                return self._met(index, self._shared_miss(index) or self._answer(index))
            except UnknownReached as reached:
                doubt = reached.key
        self._needed(doubt, index)
        return Met("unknown", None, None)

    def _needed(self, key: str, index: int) -> None:
        """Count an SA that needs a key that is not public."""
        found = self.result.unknown.setdefault(key, [0, index])
        found[0] += 1

    def _finds_no_entry(self, index: int) -> bool:
        """Whether an SA was not written, no entry has its SPI or row, and nothing else finds an entry."""
        spi = self.survey.spi[index]
        if self._by_spi and spi not in self._repeated:
            return True
        return self._vacant is not None and spi & self._vacant not in self._slots

    def _shared_miss(self, index: int) -> Answer | None:
        """The answer to a packet whose SPI no entry has. All such packets share it. None: entries may be found."""
        if not self._finds_no_entry(index):
            return None
        refused = index in self._errnos
        if refused not in self._missed:
            self._missed[refused] = self._answer(index)
        return self._missed[refused]

    def _answer(self, index: int) -> Answer:
        """The device's answer to a packet of an SA.

        Where the SPI alone gives the slot, and at most the SPI is compared, all SPIs that mismatch in a slot share one
        answer.
        """
        spi = self.survey.spi[index]
        if self._mask is None:
            if spi not in self._repeated:
                return self.device.lookup(self._packet(index))
            packet = self._packet(index)
            if packet not in self._answered:
                self._answered[packet] = self.device.lookup(packet)
            return self._answered[packet]
        known = self._mismatched.get(spi & self._mask)
        if known is not None and self.survey.spi[known.sa_index] != spi:
            return known
        answer = self.device.lookup(self._packet(index))
        if answer.sa_index >= 0 and self.survey.spi[answer.sa_index] != spi:
            self._mismatched[spi & self._mask] = answer
        return answer

    def _packet(self, index: int) -> PacketKey:
        survey = self.survey
        mark = survey.mark(index).value if self._marked else 0
        ports = survey.ports(index)
        return PacketKey(survey.src[index], survey.dst[index], survey.spi[index], mark=mark, udp_ports=ports)

    def _met(self, index: int, answer: Answer) -> Met:
        """What a packet that only its own SA opens meets, as in `reference.offloaded`."""
        if answer.action == "use":
            if answer.sa_index == index:
                return Met("hardware" if self.device.mode else "software", DeviceOutcome.HIT, Surfacing.NONE)
            wrong = outcome.with_context(own=False, shadowed=answer.shadowed)
            return Met("wrong_sa", wrong, self._failing(index), answer.sa_index)
        other = answer.sa_index if answer.sa_index != index else -1
        software = answer.action == "software"
        absent = outcome.without_context(answer.reached, software=software)
        if software:
            return self._in_software(index, absent, other)
        return Met("lost", absent, outcome.refused(self.device, dropped=answer.action == "drop")[0], other)

    def _failing(self, index: int) -> Surfacing | None:
        """How the host sees a wrong key. None: it is not public; where the packets go is known all the same."""
        try:
            return outcome.opened(self.device, Verdict.INTEGRITY)[0]
        except UnknownReached as reached:
            self._needed(reached.key, index)
            return None

    def _in_software(self, index: int, outcome: DeviceOutcome, other: int) -> Met:
        """The packet goes to the kernel. It may not have the SA, or may find another one first."""
        gone = self._gone(index)
        if gone is None:
            self._needed("inbound.program.full.errno", index)
            return Met("unknown", outcome, None, other)
        found = self._first_of(index)
        if found == index:
            return Met("software", outcome, Surfacing.NONE, other)
        if found < 0:
            return Met("lost", outcome, Surfacing.COUNTED, other)
        return Met("wrong_sa", outcome, Surfacing.COUNTED, found)

    def _gone(self, index: int) -> bool | None:
        """Whether the kernel refused the SA because the driver did. None: the deciding errno is not public."""
        errno = self._errnos.get(index)
        sa = self.survey.templates[self.survey.template[index]].sa
        if errno is None or sa.offload is None:
            return False
        return None if errno == UNKNOWN and not sa.offload.packet else not stays_in_software(sa, errno)

    def _first_of(self, index: int) -> int:
        """The SA that the kernel's lookup finds for this one's packet: the newest that takes its mark. -1: none."""
        if self.survey.spi[index] not in self._repeated:
            return -1 if self._gone(index) else index
        if self._newest is None:
            there = (i for i in self.offered if self.survey.spi[i] in self._repeated and not self._gone(i))
            self._newest = _Newest(self.survey, there)
        return self._newest.find(index)

    # -- results ------------------------------------------------------------------------------------------------------

    def _fate(self, index: int, met: Met, errno: str | None) -> str:
        if index in self._reasons:
            return "refused"
        if met.works == "unknown" and (errno is None or index in self._doubts.open):
            return _UNKNOWN_FATE
        if met.outcome is DeviceOutcome.HIT:
            return "installed"
        if met.other >= 0:
            return "collides" if self.survey.spi[met.other] == self.survey.spi[index] else "aliases"
        if errno is not None:
            return self._unmet(index)
        return "installed" if index in self._written else "overflows"

    def _unmet(self, index: int) -> str:
        """Why an SA was refused whose packets meet no other SA."""
        if self.survey.spi[index] in self._repeated and not self._addressed:
            return "collides"
        return "aliases" if self._indexed else "overflows"

    def _apart(self, index: int, other: int) -> str:
        """What differs between an SA and the one that its packets meet."""
        survey = self.survey
        if survey.spi[index] != survey.spi[other]:
            return "slot"
        if survey.dst[index] != survey.dst[other]:
            return "destination"
        return "source" if survey.src[index] != survey.src[other] else "mark"

    def _grouped(self) -> Iterator[RefusedSas]:
        counts: Counter[Refusal] = Counter(self._reasons.values())
        first: dict[Refusal, int] = {}
        for index in sorted(self._reasons):
            first.setdefault(self._reasons[index], index)
        for reason, count in counts.most_common():
            lost = self._refused_lost[reason]
            yield RefusedSas(reason.errno, reason.why, count, first[reason], reason.change, lost)

    def _list_findings(self) -> None:
        """List the most severe findings of each fate, by severity, then in the dump's order."""
        listed: list[Finding] = []
        for fate in dict.fromkeys(fate for fate, *_ in self._found):
            mine = [f for (of, *_), found in self._found.items() if of == fate for f in found]
            listed += sorted(mine, key=_severity)[: self.most]
        self.result.findings = sorted(listed, key=_severity)


class _Newest:
    """The kernel's lookup among SAs with one destination and SPI: the newest that takes the packet's mark."""

    def __init__(self, survey: Survey, oldest_first: Iterable[int]) -> None:
        self._survey = survey
        self._by_mask: dict[tuple[Address, int], dict[int, dict[int, tuple[int, int]]]] = {}
        for rank, index in enumerate(oldest_first):
            mark = survey.mark(index)
            masks = self._by_mask.setdefault((survey.dst[index], survey.spi[index]), {})
            masks.setdefault(mark.mask, {})[mark.value] = (rank, index)

    def find(self, index: int) -> int:
        """The SA that a packet of this one finds; -1: none."""
        survey = self._survey
        masks = self._by_mask.get((survey.dst[index], survey.spi[index]), {})
        value = survey.mark(index).value
        found = [values[value & mask] for mask, values in masks.items() if value & mask in values]
        return max(found)[1] if found else -1


def _severity(finding: Finding) -> tuple[int, int]:
    return SEVERITY[finding.works], finding.sa
