"""Runs a scenario: one fresh SAD, one fresh device and one peer for every cell of policies by models.

A peer holds the keys of an SA and seals real packets under it. Draws (SPIs, IVs) come from a seed, so a cell's answer
depends on nothing but the scenario, the policy, the model, the assumptions and the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.core.address import Address, parse_address
from espsim.core.errors import InputError, XfrmError
from espsim.offload.device import Device
from espsim.offload.model import Model
from espsim.pipeline.stats import InboundStats
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.spi import SpiPolicy
from espsim.scenario.schema import Expect, Scenario, Step
from espsim.wire import ipv4, ipv6, udp
from espsim.xfrm.parse import parse_sa_line

SOFTWARE = "software"
"""The name of the run without a hardware model, in expectations and in tables."""


@dataclass(slots=True)
class StepResult:
    """One step of one cell. `failures`: (key, expected, got) where an expectation was not met."""

    step: Step
    got: dict[str, Any]
    failures: list[tuple[str, Any, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        result: dict[str, Any] = {"do": self.step.do, "sa": self.step.sa, "got": self.got}
        if self.notes:
            result["notes"] = self.notes
        result["failures"] = [{"key": key, "expected": want, "got": got} for key, want, got in self.failures]
        return result


@dataclass(slots=True)
class Cell:
    """One scenario under one policy and one model."""

    policy: str
    model: str
    steps: list[StepResult]
    assumptions: list[str]

    @property
    def ok(self) -> bool:
        """Whether every expectation was met."""
        return not any(step.failures for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "policy": self.policy,
            "model": self.model,
            "ok": self.ok,
            "assumptions": self.assumptions,
            "steps": [step.as_dict() for step in self.steps],
        }


def expand(scenario: Scenario, where: str) -> dict[str, list[SecurityAssociation]]:
    """Every SA of a scenario with its copies, by name. InputError: the SA's line is wrong."""
    groups: dict[str, list[SecurityAssociation]] = {}
    for item in scenario.sa:
        try:
            first = parse_sa_line(item.line)
        except InputError as error:
            raise InputError(f"sa {item.name}: {error.what}", where=where) from None
        if first.keys is None:
            raise InputError(f"sa {item.name}: a scenario's SAs need keys", where=where)
        last_spi = first.spi + item.spi_step * (item.count - 1)
        if last_spi > 0xFFFFFFFF:
            raise InputError(f"sa {item.name}: the last copy's SPI would be beyond 32 bits", where=where)
        groups[item.name] = [
            replace(first, spi=first.spi + item.spi_step * n, dst=_further(first.dst, item.dst_step * n))
            for n in range(item.count)
        ]
    return groups


def _further(address: Address, by: int) -> Address:
    return ((int.from_bytes(address) + by) % (1 << 8 * len(address))).to_bytes(len(address))


class CellRunner:
    """The state of one cell while its steps run."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[SecurityAssociation]],
        policy: SpiPolicy,
        model: Model | None,
        assume: Mapping[str, object],
        seed: int,
    ) -> None:
        rng = random.Random(seed)
        engine = CryptographyEngine()
        self.groups = groups
        self.sad = Sad(engine, policy, rng)
        self.inbound: Inbound = (
            Inbound(self.sad) if model is None else OffloadedInbound(self.sad, Device(model, assume))
        )
        # Peers live in SADs of their own, one a group, so that equal triples of two groups don't meet there.
        self._peers: dict[str, list[tuple[Outbound, SadEntry]]] = {}
        for name, sas in groups.items():
            self._peers[name] = []
            for sa in sas:
                outbound = Outbound(Sad(engine), rng.randbytes)
                self._peers[name].append((outbound, outbound.sad.newsa(replace(sa, dir=None))))
        self._installed: dict[str, list[SadEntry | None]] = {name: [None] * len(sas) for name, sas in groups.items()}

    @property
    def assumptions(self) -> list[str]:
        """What the device's run assumed."""
        return list(self.inbound.device.assumptions) if isinstance(self.inbound, OffloadedInbound) else []

    def run(self, step: Step) -> StepResult:
        """One step for every copy of its SA."""
        result = self._send(step) if step.do == "send" else self._request(step)
        self.inbound.refresh_ports()
        return result

    def _request(self, step: Step) -> StepResult:
        results: Counter[str] = Counter()
        offload: Counter[str] = Counter()
        notes: list[str] = []
        for n, sa in enumerate(self.groups[step.sa]):
            try:
                entry = self._ask(step, sa, n)
            except XfrmError as error:
                results[error.name] += 1
                continue
            results["OK"] += 1
            if entry is not None and isinstance(self.inbound, OffloadedInbound) and _for_inbound(step, entry):
                installed = self.inbound.offload(entry, step.port)
                offload["0" if installed.errno is None else _errno(installed.errno)] += 1
                if installed.errno is not None and len(notes) < 3:
                    notes.append(f"{sa.name}: {installed.note}")
        got: dict[str, Any] = {"result": dict(results)}
        if offload:
            got["offload"] = dict(offload)
        return StepResult(step, got, notes=notes)

    def _ask(self, step: Step, sa: SecurityAssociation, n: int) -> SadEntry | None:
        installed = self._installed[step.sa]
        if step.do == "allocspi":
            low, high = (sa.spi, sa.spi) if step.low is None or step.high is None else (step.low, step.high)
            return self.sad.allocspi(
                sa.src, sa.dst, sa.proto, low, high, mode=sa.mode, reqid=sa.reqid, mark=sa.mark, dir=sa.dir
            )
        if step.do == "delsa":
            entry = self.sad.delsa(sa.dst, sa.spi, sa.proto, sa.mark)
            if isinstance(self.inbound, OffloadedInbound):
                self.inbound.withdraw(entry)
            installed[n] = None
            return None
        installed[n] = self.sad.newsa(sa) if step.do == "newsa" else self.sad.updsa(sa)
        return installed[n]

    def _send(self, step: Step) -> StepResult:
        stats = InboundStats()
        for outbound, entry in self._peers[step.sa]:
            clear = clear_packet(entry.sa, step.size)
            for seq in step.seqs if step.seqs is not None else [None] * step.packets:
                if seq is not None:
                    entry.oseq = seq - 1
                sent = outbound.send_with(entry, clear)
                if sent.packet is None:
                    raise InputError(f"the peer of {entry.sa.name} cannot send: {sent.verdict.sentence}")
                stats.count(self.inbound.receive(_on_the_wire(sent.packet, step), port=step.port))
        got = stats.as_dict()
        for key in ("packets", "ignored", "by_sa"):
            del got[key]
        return StepResult(step, got)


def _for_inbound(step: Step, entry: SadEntry) -> bool:
    return step.do in ("newsa", "updsa") and entry.sa.dir is not Direction.OUT


def _errno(name: str) -> str:
    return name if name.startswith("-") else f"-{name}"


def _on_the_wire(packet: bytes, step: Step) -> bytes:
    if step.forge:
        packet = packet[:-1] + bytes((packet[-1] ^ 1,))
    if step.to is not None:
        daddr = parse_address(step.to)
        at = 16 if len(daddr) == 4 else 24
        packet = packet[:at] + daddr + packet[at + len(daddr) :]
    return packet


def clear_packet(sa: SecurityAssociation, size: int) -> bytes:
    """A UDP datagram of `size` payload bytes that the SA's selector takes; in transport mode between its own ends."""
    selector = sa.selector
    if sa.mode is Mode.TRANSPORT:
        src, dst = sa.src, sa.dst
    else:
        v4 = len(selector.src or selector.dst or sa.dst) == 4
        src, dst = (bytes((10, 1, 0, 1)), bytes((10, 2, 0, 1))) if v4 else (_V6_INNER + b"\1", _V6_INNER + b"\2")
        src = selector.src if selector.src_prefix else src
        dst = selector.dst if selector.dst_prefix else dst
    datagram = udp.emit(
        selector.sport or 7777, selector.dport or 5555, bytes(size), (src, dst) if len(src) == 16 else None
    )
    if len(src) == 4:
        header = ipv4.emit(
            tos=0, payload_length=len(datagram), ident=0, flags=ipv4.DF, ttl=64, proto=udp.PROTO_UDP, src=src, dst=dst
        )
    else:
        header = ipv6.emit(
            traffic_class=0, flow=0, payload_length=len(datagram), next_header=udp.PROTO_UDP, hops=64, src=src, dst=dst
        )
    return header + datagram


_V6_INNER = bytes.fromhex("fd000000000000000000000000000000")[:15]


def run_cell(
    scenario: Scenario,
    groups: Mapping[str, Sequence[SecurityAssociation]],
    policy: SpiPolicy,
    *,
    model: Model | None = None,
    assume: Mapping[str, object] | None = None,
    seed: int = 1,
) -> Cell:
    """Run every step under one policy and one model (None: software alone), and compare with what is expected."""
    runner = CellRunner(groups, policy, model, assume or {}, seed)
    model_name = model.id if model is not None else SOFTWARE
    steps = []
    for step in scenario.step:
        result = runner.run(step)
        expect = next((e for e in step.expect if e.fits(policy.name, model_name)), None)
        if expect is not None:
            result.failures = _compare(expect, result.got, len(groups[step.sa]))
        steps.append(result)
    return Cell(policy.name, model_name, steps, runner.assumptions)


def _compare(expect: Expect, got: Mapping[str, Any], copies: int) -> list[tuple[str, Any, Any]]:
    failures = []
    for key in ("result", "offload", "delivered", "verdicts", "linux_counters", "device", "surfacing"):
        want = getattr(expect, key)
        if want is None:
            continue
        if isinstance(want, str):
            want = {want: copies}
        have = got.get(key, {})
        if want != have:
            failures.append((key, want, have))
    return failures
