"""What a device would do with the SAs of a host: each is offered to the modelled driver, then a packet of each is sent.

    installed   it is in the device, and no other SA is in its way
    collides    an SA with the same SPI has its key or slot: it was refused, or shadowed, or overwritten
    aliases     an SA with another SPI has its slot
    overflows   there is no room for it
    refused     the driver does not take such an SA, or its SPI lies outside of the driver's range

An SA is inbound by its `dir`, or its destination is one of the host's own; where neither is known it counts as inbound.
AH, IPComp and larval states are counted and not offered. SAs go in oldest first, as the kernel got them.
"""

from __future__ import annotations

import ipaddress
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from espsim.analysis.odds import out_of_range
from espsim.core.address import Address, prefix_match
from espsim.core.errors import InputError
from espsim.core.verdict import DeviceOutcome, Surfacing
from espsim.offload.caps import refusal
from espsim.offload.device import Answer, Device, PacketKey, Reached
from espsim.offload.schema import UNKNOWN
from espsim.sad.association import PROTO_ESP, PROTO_NAMES, Direction, SecurityAssociation
from espsim.xfrm.algorithms import stand_ins
from espsim.xfrm.survey import Survey, Template

FATES = ("installed", "collides", "aliases", "overflows", "refused")

_ABSENT = {
    Reached.MISS: DeviceOutcome.DROPPED,
    Reached.EMPTY_SLOT: DeviceOutcome.EMPTY_SLOT,
    Reached.SA_MISMATCH: DeviceOutcome.SA_MISMATCH,
}


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network of the host's own addresses."""

    network: Address
    length: int

    def holds(self, address: Address) -> bool:
        """Whether an address lies in it."""
        return prefix_match(address, self.network, self.length)


def parse_prefix(text: str) -> Prefix:
    """ADDR[/PLEN]; InputError for what is none. Host bits may be set, as in `ip addr`."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise InputError(f"{text!r} is no address or prefix, such as 192.0.2.0/24", where="--local") from None
    return Prefix(interface.network.network_address.packed, interface.network.prefixlen)


@dataclass(slots=True)
class Inventory:
    """Which SAs of a survey are offered, oldest first, and how many are not, by reason."""

    survey: Survey
    offered: array[int]
    outbound: int = 0
    undirected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest SPI of the offered SAs."""
        spis = self.survey.spi
        return min(spis[i] for i in self.offered), max(spis[i] for i in self.offered)

    def destinations(self) -> list[int]:
        """How many SAs each destination has: within one the kernel gives no SPI twice."""
        return sorted(Counter(self.survey.dst[i] for i in self.offered).values(), reverse=True)


def take_inventory(survey: Survey, local: Sequence[Prefix] = ()) -> Inventory:
    """Sort a survey's SAs. `undirected` counts those that are inbound only because nothing says otherwise."""
    result = Inventory(survey, array("I"))
    for proto, count in survey.ignored.items():
        result.left_out[f"protocol {proto}"] += count
    reasons = [_not_offered(template) for template in survey.templates]
    own: dict[Address, bool] = {}
    for index in survey.installing_order():
        number = survey.template[index]
        if reasons[number] is not None:
            result.left_out[str(reasons[number])] += 1
            continue
        direction = survey.templates[number].sa.dir
        if direction is None and local:
            dst = survey.dst[index]
            if dst not in own:
                own[dst] = any(prefix.holds(dst) for prefix in local)
            direction = Direction.IN if own[dst] else Direction.OUT
        if direction is Direction.OUT:
            result.outbound += 1
            continue
        result.undirected += direction is None
        result.offered.append(index)
    return result


def _not_offered(template: Template) -> str | None:
    if template.sa.proto != PROTO_ESP:
        return PROTO_NAMES[template.sa.proto]
    if template.unmodelled:
        return f"not modelled: {template.unmodelled}"
    return "larval" if template.sa.keys is None and not template.hidden else None


class Finding(NamedTuple):
    """One SA that is not simply installed. `other` is whose context its packets meet, -1: none."""

    sa: int
    fate: str
    errno: str | None
    other: int
    outcome: DeviceOutcome
    surfacing: Surfacing


class Refused(NamedTuple):
    """SAs that one sentence refuses."""

    errno: str
    why: str
    sas: int
    first: int


@dataclass(slots=True)
class Audit:
    """One model's answer. `traffic` counts SAs by (fate, errno, outcome, surfacing); `findings`: a fate's first.

    `places`: (place, SAs that wanted what it holds and lost) of every written row; `hidden`: what was assumed of keys.
    """

    device: Device
    fates: Counter[str] = field(default_factory=Counter)
    traffic: Counter[tuple[str, str | None, DeviceOutcome, Surfacing]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    @property
    def collides(self) -> bool:
        """Whether some SA's packets meet, or its add met, another SA."""
        met = (DeviceOutcome.WRONG_SA, DeviceOutcome.SHADOWED, DeviceOutcome.SA_MISMATCH)
        return bool(self.fates["collides"] or self.fates["aliases"] or any(t[2] in met for t in self.traffic))


def audit(inventory: Inventory, device: Device, *, most: int = 20) -> Audit:
    """Offer every inbound SA to a new device, then send a packet of each. At most `most` findings of a fate are listed.

    UnknownReached where an answer is not public.
    """
    return _Run(inventory, device, most).result


class _Run:
    """One audit while it runs."""

    def __init__(self, inventory: Inventory, device: Device, most: int) -> None:
        self.survey, self.offered, self.device, self.most = inventory.survey, inventory.offered, device, most
        self.result = Audit(device)
        self._reasons: dict[int, tuple[str, str]] = {}
        self._errnos: dict[int, str] = {}
        inbound = device.model.spec.inbound
        first = inbound.lookup[0]
        self._looks = inbound.classify.kind != "none" and first.kind != "none"
        fields = {name for part in first.key for name in ([part] if isinstance(part, str) else part)}
        self._addressed = bool(fields & {"src", "dst"})
        self._indexed = first.kind == "direct" and first.index is not None and first.index.fn == "mask"
        self._mask = _mask_of(device)
        self._mismatched: dict[int, Answer] = {}
        self._by_spi = _finds_by_spi(device)
        self._missed: dict[bool, Answer] = {}
        self._makers = [self._maker(template) for template in self.survey.templates]
        self._offer()
        places = {index: place for place, index in device.occupancy()}
        self._written = set(places)
        self._repeated = self._repeated_spis()
        lost: Counter[int] = Counter()
        for index in sorted(self.offered):
            other = self._judge(index)
            if other in places:
                lost[places[other]] += 1
        self.result.places = [(place, lost[place]) for place in sorted(places.values())]
        self.result.refused = list(self._grouped())

    # -- adding -------------------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        spis, numbers = self.survey.spi, self.survey.template
        mask = self._mask if _turns_away(self.device) else None
        away: dict[tuple[int, int], str] = {}  # a slot that is taken turns away whoever comes, with one errno
        for index in self.offered:
            number = numbers[index]
            make, refused, each = self._makers[number]
            errno = away.get((spis[index] & mask, number)) if mask is not None else None
            if errno is not None:
                self._errnos[index] = errno
                continue
            if refused is None:
                sa = make(index)
                refused = refusal(self.device.model, sa) if each else None
            if refused is not None:
                self._errnos[index], self._reasons[index] = refused[0], refused
                continue
            errno = self.device.add(index, sa).errno
            if errno is None:
                continue
            self._errnos[index] = errno
            if out_of_range(self.device.model, sa.spi):
                self._reasons[index] = (errno, self._range())
            elif mask is not None and not each:
                away[sa.spi & mask, number] = errno

    def _range(self) -> str:
        span = self.device.model.spec.inbound.program.spi_range
        return f"the SPI is outside of the driver's range, 0x{span.min:x} to 0x{span.max:x}" if span is not None else ""

    def _maker(self, template: Template) -> tuple[Callable[[int], SecurityAssociation], tuple[str, str] | None, bool]:
        """What makes the SAs of a template, why the driver refuses them all, and whether each one is to be asked.

        A hidden key may have any length: the shortest that the driver takes is assumed, and said.
        """
        sa, refused = template.sa, None
        if template.sa.proto != PROTO_ESP or (sa.keys is None and not template.hidden):
            return self.survey.maker(sa), None, False  # is never offered
        if template.hidden:
            sa, refused = self._with_key(template)
        elif sa.encap is None:
            refused = refusal(self.device.model, sa)
        return self.survey.maker(sa), refused, sa.encap is not None

    def _with_key(self, template: Template) -> tuple[SecurityAssociation, tuple[str, str] | None]:
        answers = []
        for algorithms in stand_ins(template.hidden):
            sa = _replaced(template.sa, algorithms)
            answers.append((sa, refusal(self.device.model, sa)))
        taken = [sa for sa, refused in answers if refused is None]
        if taken and len(taken) < len(answers):
            name, size = template.hidden[0].name, _key_bits(taken[0])
            no = sorted({_key_bits(sa) for sa, refused in answers if refused is not None})
            note = f"{name}: the keys are hidden; taken for {size} bits, {' and '.join(map(str, no))} would be refused"
            if note not in self.result.hidden:
                self.result.hidden.append(note)
        return (taken[0], None) if taken else answers[0]

    # -- packets ------------------------------------------------------------------------------------------------------

    def _repeated_spis(self) -> set[int]:
        seen: set[int] = set()
        repeated: set[int] = set()
        for index in self.offered:
            spi = self.survey.spi[index]
            (repeated if spi in seen else seen).add(spi)
        return repeated

    def _judge(self, index: int) -> int:
        """What became of an SA; the other SA that its packets meet, or -1."""
        result, errno = self.result, self._errnos.get(index)
        if self._looks and index in self._written and self.survey.spi[index] not in self._repeated:
            # It is in a table that packets are looked up in, and nobody else has its SPI: its packets reach it.
            result.fates["installed"] += 1
            result.traffic["installed", None, DeviceOutcome.HIT, Surfacing.NONE] += 1
            return -1
        answer = self._nobodys(index) or self._answer(index)
        outcome, surfacing = self._outcome(index, answer)
        other = answer.sa_index if answer.sa_index != index else -1
        fate = self._fate(index, outcome, errno, other)
        result.fates[fate] += 1
        result.traffic[fate, errno, outcome, surfacing] += 1
        if fate != "installed" and result.fates[fate] <= self.most:
            result.findings.append(Finding(index, fate, errno, other, outcome, surfacing))
        return other

    def _nobodys(self, index: int) -> Answer | None:
        """The answer to a packet whose SPI no entry has: where nothing else counts, one is asked for all of them."""
        spi = self.survey.spi[index]
        if not self._by_spi or spi in self._repeated:
            return None
        refused = index in self._errnos
        if refused not in self._missed:
            self._missed[refused] = self._answer(index)
        return self._missed[refused]

    def _answer(self, index: int) -> Answer:
        """The device's answer to a packet of an SA.

        Where the SPI alone names a slot and at most the SPI is compared, every other SPI meets what the first met.
        """
        if self._mask is None:
            return self.device.lookup(self._packet(index))
        spi = self.survey.spi[index]
        known = self._mismatched.get(spi & self._mask)
        if known is not None and self.survey.spi[known.sa_index] != spi:
            return known
        answer = self.device.lookup(self._packet(index))
        if answer.sa_index >= 0 and self.survey.spi[answer.sa_index] != spi:
            self._mismatched[spi & self._mask] = answer
        return answer

    def _packet(self, index: int) -> PacketKey:
        survey = self.survey
        return PacketKey(
            survey.src[index], survey.dst[index], survey.spi[index], mark=survey.mark(index).value,
            udp_ports=survey.ports(index),
        )  # fmt: skip

    def _outcome(self, index: int, answer: Answer) -> tuple[DeviceOutcome, Surfacing]:
        """As `reference.offloaded` has it, for a packet that only its own SA opens."""
        if answer.action == "use":
            if answer.sa_index == index:
                return DeviceOutcome.HIT, Surfacing.NONE
            wrong = DeviceOutcome.SHADOWED if answer.shadowed else DeviceOutcome.WRONG_SA
            return wrong, self.device.surfacing("integrity")
        if answer.action == "software":
            return (DeviceOutcome.MISS if answer.reached is Reached.MISS else _ABSENT[answer.reached]), Surfacing.NONE
        if self.device.mode == "":
            return _ABSENT[answer.reached], Surfacing.COUNTED
        return _ABSENT[answer.reached], Surfacing.DEVICE_DROP if answer.action == "drop" else Surfacing.FLAGGED

    def _fate(self, index: int, outcome: DeviceOutcome, errno: str | None, other: int) -> str:
        if index in self._reasons:
            return "refused"
        if outcome is DeviceOutcome.HIT:
            return "installed"
        if other >= 0:
            return "collides" if self.survey.spi[other] == self.survey.spi[index] else "aliases"
        if errno is not None:
            return self._unmet(index)
        return "installed" if index in self._written else "overflows"

    def _unmet(self, index: int) -> str:
        """Why an SA was refused whose packets meet no other: with a rule for each SA they never come to the table."""
        if self.survey.spi[index] in self._repeated and not self._addressed:
            return "collides"
        return "aliases" if self._indexed else "overflows"

    def _grouped(self) -> Iterator[Refused]:
        counts: Counter[tuple[str, str]] = Counter(self._reasons.values())
        first: dict[tuple[str, str], int] = {}
        for index in sorted(self._reasons):
            first.setdefault(self._reasons[index], index)
        for reason, count in counts.most_common():
            yield Refused(*reason, count, first[reason])


def _mask_of(device: Device) -> int | None:
    """The mask of a table that the SPI alone indexes; None: packets are told apart by more than that."""
    inbound = device.model.spec.inbound
    index = inbound.lookup[0].index
    plain = inbound.classify.rule == "any" and len(inbound.lookup) == 1 and inbound.verify.always in ([], ["spi"])
    plain = plain and inbound.lookup[0].per_family is False
    if not plain or index is None or index.fn != "mask" or index.subtract_min or not isinstance(index.bits, int):
        return None
    return (1 << index.bits) - 1


def _finds_by_spi(device: Device) -> bool:
    """Whether all packets meet the same whose SPI no entry has.

    They do where the SPI is in its key, and nothing but the SPI, and whether the SA was taken, brings packets to it.
    """
    inbound = device.model.spec.inbound
    first, classify = inbound.lookup[0], inbound.classify
    lists = first.key if first.kind == "longest" else [first.key]
    decides = "spi" in classify.key and "mark" not in classify.key
    comes = classify.rule == "any" or classify.kind == "none" or decides
    return comes and (first.kind == "none" or (first.kind != "direct" and all("spi" in fields for fields in lists)))


def _turns_away(device: Device) -> bool:
    """Whether the driver refuses with one errno whatever meets an SA in its slot, and looks at nothing else."""
    program = device.model.spec.inbound.program
    duplicate, alias = program.duplicate, program.alias
    same = duplicate.policy == alias.policy == "reject" and duplicate.errno == alias.errno != UNKNOWN
    return same and (program.spi_range is None or program.spi_range.outside == "ignore")


def _replaced(sa: SecurityAssociation, algorithms: Iterable[Any]) -> SecurityAssociation:
    return SecurityAssociation(
        sa.src, sa.dst, sa.spi, sa.proto, sa.mode, tuple(algorithms), dir=sa.dir, window=sa.window, flags=sa.flags,
        encap=sa.encap,
    )  # fmt: skip


def _key_bits(sa: SecurityAssociation) -> int:
    return 8 * len(sa.keys.key) if sa.keys is not None else 0
