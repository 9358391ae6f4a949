"""Runs a scenario: one fresh namespace, one fresh device and one peer for every cell of policies by models.

A peer holds the keys of an SA and seals real packets under it. Draws (SPIs, IVs) come from a seed, so a cell's answer
depends on nothing but the scenario, the policy, the model, the assumptions and the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from espsim.batch.run.stats import InboundStats
from espsim.core.address import format_address
from espsim.core.answers import Received
from espsim.core.errors import InputError, XfrmError
from espsim.core.verdict import Surfacing
from espsim.io.arrivals import Arrivals
from espsim.io.linktype import RAW
from espsim.io.source import Record
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest, StateKey
from espsim.netlink.view import StateView
from espsim.offload.device import Device
from espsim.offload.model import Model
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.linux import DEFAULT_KERNEL, KernelHang
from espsim.sad.longest import LONGEST, TRIPLE, LongestLookup
from espsim.sad.sad import Sad
from espsim.sad.spi import SpiRule
from espsim.scenario.ask import ask
from espsim.scenario.cell import SOFTWARE, Cell, StepResult
from espsim.scenario.facts import NOBODY, Arrived, Facts, LocalHost, RequestFact, request_text, why_refused
from espsim.scenario.outcome import short_counter, short_result
from espsim.scenario.schema import PLAIN, Scenario, ScenarioStep, Variant
from espsim.scenario.tracing import Tracer
from espsim.scenario.traffic import clear_packet, direction_number, mode_number, on_the_wire, request_of


class CellRunner:
    """The state of one cell while its steps run. Requests go to `netns`, packets of `send` through `inbound`."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[SecurityAssociation]],
        netns: Netns,
        device: Device | None,
        *,
        variant: Variant = PLAIN,
        names: Mapping[str, int] | None = None,
        host: LocalHost = NOBODY,
        seed: int = 1,
        traced: bool = False,
        wire: Arrivals | None = None,
    ) -> None:
        self.wire = wire
        self.groups = groups
        self.netns = netns
        self.variant = variant
        self.names = names or {}
        self.host = host
        self.facts = Facts()
        self.tracer = Tracer(netns) if traced else None
        self.rng = random.Random(seed)
        self.inbound: Inbound = Inbound(netns.sad) if device is None else OffloadedInbound(netns.sad, device)
        # Each group's peers have a SAD of their own, so that equal triples of two groups do not collide there.
        self._peers: dict[str, list[tuple[Outbound, SadEntry]]] = {}
        for name, sas in groups.items():
            self._peers[name] = []
            for sa in sas:
                outbound = Outbound(Sad(), self.rng.randbytes)
                self._peers[name].append((outbound, outbound.sad.newsa(replace(sa, dir=None))))
        self._installed: dict[str, list[SadEntry | None]] = {name: [None] * len(sas) for name, sas in groups.items()}
        self._accepted: list[int] = []
        self._port = 0
        self._refusal = ""
        if device is not None:
            netns.offload = self._driver

    @property
    def assumptions(self) -> list[str]:
        """What the device's run assumed."""
        return list(self.inbound.device.assumptions) if isinstance(self.inbound, OffloadedInbound) else []

    def run(self, step: ScenarioStep, where: str = "") -> StepResult:
        """One step for every copy of its SA, or its lines of requests; `where` names it in errors."""
        if step.do == "ask":
            asked = ask(
                self.netns, step, self.rng, words=self.variant.words, names=self.names, where=where,
                facts=self.facts, host=self.host, tracer=self.tracer, wire=self.wire,
            )  # fmt: skip
            result = StepResult(step, asked.as_dict(), parts=asked.parts, outcomes=asked.outcomes)
        else:
            result = self._send(step) if step.do == "send" else self._request(step)
        self.inbound.refresh_ports()
        return result

    # -- requests for the SAs of the scenario -------------------------------------------------------------------

    def _request(self, step: ScenarioStep) -> StepResult:
        results: list[str] = []
        requests: list[RequestFact] = []
        offload: Counter[str] = Counter()
        notes: list[str] = []
        self._port = step.port
        for n, sa in enumerate(self._sas(step)):
            try:
                entry = self._ask(step, sa, n)
            except XfrmError as error:
                results.append(error.name)
                requests.append(self._asked(step, sa, error.name, error.extack))
                continue
            except KernelHang:
                results.append("HANG")
                requests.append(self._asked(step, sa, "HANG"))
                continue
            results.append("OK")
            driver = None
            if entry is not None and isinstance(self.inbound, OffloadedInbound) and _beside(step, entry, self.host):
                installed = self.inbound.offload(entry, step.port)
                driver = "0" if installed.errno is None else _errno(installed.errno)
                offload[driver] += 1
                if installed.errno is not None and len(notes) < 3:
                    notes.append(f"{sa.name}: {installed.note}")
            requests.append(replace(self._asked(step, sa), driver=driver and driver.removeprefix("-")))
        got: dict[str, Any] = {"result": dict(Counter(results))}
        self.facts.add(requests, setup=step.show == "nothing")
        if offload:
            got["offload"] = dict(offload)
        parts = [] if step.show == "nothing" else [short_result(result) for result in results]
        return StepResult(step, got, notes=notes, parts=parts)

    def _asked(
        self, step: ScenarioStep, sa: SecurityAssociation, errno: str | None = None, extack: str | None = None
    ) -> RequestFact:
        low, high = (sa.spi, sa.spi) if step.low is None or step.high is None else (step.low, step.high)
        text = request_text(step.do.upper(), sa, low, high)
        if errno is None:
            return RequestFact(text, None)
        why = self._refusal or why_refused(self.netns, text, errno, extack, self.host)
        return RequestFact(text, errno, why, extack)

    def _ask(self, step: ScenarioStep, sa: SecurityAssociation, n: int) -> SadEntry | None:
        self._refusal = ""
        installed = self._installed[step.sa or ""]
        if step.do == "allocspi":
            low, high = (sa.spi, sa.spi) if step.low is None or step.high is None else (step.low, step.high)
            request = SpiRequest(
                sa.src, sa.dst, sa.proto, low, high, mode=mode_number(sa), reqid=sa.reqid, mark=sa.mark,
                if_id=sa.if_id, pcpu=sa.pcpu, dir=direction_number(sa),
            )  # fmt: skip
            return self._entry(self.netns.allocspi(request))
        if step.do == "delsa":
            entry = self.netns.sad.getsa(sa.dst, sa.spi, sa.proto, sa.mark)
            self.netns.delsa(StateKey(sa.dst, sa.proto, sa.spi, sa.mark))
            if isinstance(self.inbound, OffloadedInbound):
                self.inbound.withdraw(entry)
            installed[n] = None
            return None
        installed[n] = self._install(step, sa)
        return installed[n]

    def _install(self, step: ScenarioStep, sa: SecurityAssociation) -> SadEntry:
        self._accepted.clear()
        request = request_of(sa)
        try:
            view = self.netns.newsa(request) if step.do == "newsa" else self.netns.updsa(request)
        except XfrmError:
            if self._accepted and isinstance(self.inbound, OffloadedInbound):
                self.inbound.device.delete(self._accepted[0])  # the SAD refused after the driver: xfrm_dev_state_delete
            raise
        entry = self._entry(view)
        if self._accepted and isinstance(self.inbound, OffloadedInbound):
            self.inbound.keep(entry)
        return entry

    def _driver(self, sa: SecurityAssociation) -> str | None:
        """xdo_dev_state_add: the device is asked before the SAD has the SA."""
        assert isinstance(self.inbound, OffloadedInbound)  # noqa: S101 - nothing else sets this hook
        index = self.netns.sad.index.next_index
        refused = self.inbound.device.add(index, sa, self._port).errno
        if refused is None:
            self._accepted.append(index)
            return None
        errno = self.variant.refusal or refused.removeprefix("-")
        self._refusal = "the device's driver refuses it"
        return errno

    def _entry(self, view: StateView) -> SadEntry:
        """The state that a reply was about."""
        newest = self.netns.sad.newest()
        if newest is not None and newest.sa_index == view.sa_index:
            return newest
        return next(entry for entry in self.netns.sad if entry.sa_index == view.sa_index)

    # -- packets of their peers ---------------------------------------------------------------------------------

    def _send(self, step: ScenarioStep) -> StepResult:
        stats = InboundStats()
        packets: list[Arrived] = []
        for sa, packet in self._arriving(self._sent(step)):
            if self.tracer is not None:
                self.tracer.before(sa.spi)
            received = self.inbound.receive(packet, self.netns.now, port=step.port)
            stats.count(received)
            packets.append(_arrival(step.to or format_address(sa.dst), received))
            if self.tracer is not None:
                last = packets[-1]
                self.tracer.after(last.to, packet, received, last.verdict, last.linux_counter)
        self.facts.add(packets=packets, setup=step.show == "nothing")
        got = stats.as_dict()
        for key in ("packets", "ignored", "ignored_by", "by_sa"):
            del got[key]
        return StepResult(step, got, parts=[] if step.show == "nothing" else [_arrived(got)])

    def _sent(self, step: ScenarioStep) -> Iterator[tuple[SecurityAssociation, bytes]]:
        """What the peers of a step's SAs send, each packet with its SA."""
        for outbound, entry in self._peers[step.sa or ""]:
            clear = clear_packet(entry.sa, step.size)
            for seq in step.seqs if step.seqs is not None else [None] * step.packets:
                if seq is not None:
                    entry.send_next(seq)
                sent = outbound.send_with(entry, clear)
                if sent.packet is None:
                    raise InputError(f"the peer of {entry.sa.name} cannot send: {sent.verdict.sentence}")
                yield entry.sa, on_the_wire(sent.packet, step)

    def _arriving(
        self, sent: Iterator[tuple[SecurityAssociation, bytes]]
    ) -> Iterator[tuple[SecurityAssociation, bytes]]:
        """The packets of a burst that arrive, in order of arrival: all, or what the faults of the wire leave."""
        if self.wire is None:
            yield from sent
            return
        burst = list(sent)
        frames = (Record(RAW, n, 0, packet, len(packet)) for n, (_sa, packet) in enumerate(burst))
        for frame in self.wire.of(frames):
            yield burst[frame.interface or 0]

    def _sas(self, step: ScenarioStep) -> Sequence[SecurityAssociation]:
        return self.groups[step.sa or ""]


def _beside(step: ScenarioStep, entry: SadEntry, host: LocalHost) -> bool:
    """Whether the device is offered an SA although the SA does not ask for offload: inbound SAs are."""
    return step.do in ("newsa", "updsa") and host.direction(entry.sa) != "outbound" and entry.sa.offload is None


def _arrival(to: str, received: Received[SadEntry] | None) -> Arrived:
    """One packet's fate; a packet that is not ESP cannot come from a peer."""
    assert received is not None  # noqa: S101
    device = received.device.name if received.device is not None else None
    surfacing = received.surfacing.name if received.surfacing is not Surfacing.NONE else None
    return Arrived(to, received.verdict.name, received.counter, device, surfacing)


def _errno(name: str) -> str:
    return name if name.startswith("-") else f"-{name}"


def _arrived(got: Mapping[str, Any]) -> str:
    """What became of a burst, in a word: the first thing that went wrong, if anything did."""
    if set(got["verdicts"]) == {"DELIVERED"}:
        return "OK"
    if not got["verdicts"]:
        return "nothing came"  # the wire lost all of it
    surfacing = got.get("surfacing", {})
    if "SILENT" in surfacing:
        return "silent"
    return "devdrop" if "DEVICE_DROP" in surfacing else short_counter(got["linux_counters"])


def run_cell(
    scenario: Scenario,
    groups: Mapping[str, Sequence[SecurityAssociation]],
    policy: SpiRule | str,
    *,
    model: Model | None = None,
    assume: Mapping[str, object] | None = None,
    seed: int = 1,
    options: Collection[str] = (),
    variant: Variant = PLAIN,
    where: str | None = None,
    traced: bool = False,
    lookup: str | None = None,
    wire: Arrivals | None = None,
) -> Cell:
    """Run every step under one policy (or kernel, by name) and one model, and compare with what is expected.

    `groups`: the SAs of this variant (traffic.expand). `model` None: software alone. `options` are added to those of
    the variant. `traced` keeps a line for each packet. With a `wire` that has faults nothing is compared, because
    expectations assume that all packets arrive, in order. InputError: a line that is not a request, or an unknown
    policy or option.
    """
    all_options = {*options, *variant.options}
    netns = Netns(
        policy if isinstance(policy, str) else DEFAULT_KERNEL,
        options=all_options, seed=seed, policy=None if isinstance(policy, str) else policy,
    )  # fmt: skip
    own = netns.sad.policy.name
    lookup = lookup or variant.lookup or TRIPLE
    if lookup == LONGEST:
        netns.sad.policy = LongestLookup(netns.sad.policy)
    names = (policy, own) if isinstance(policy, str) else (own,)
    device = None if model is None else Device(model, assume or {})
    host = LocalHost(tuple(scenario.local), scenario.party)
    runner = CellRunner(
        groups, netns, device, variant=variant, names=scenario.names, host=host, seed=seed, traced=traced,
        wire=None if wire is None else wire.anew(),
    )  # fmt: skip
    model_name = model.id if model is not None else SOFTWARE
    steps = []
    for number, step in enumerate(scenario.step, 1):
        result = runner.run(step, f"{where or scenario.name}: step {number}")
        expect = next((e for e in step.expect if e.fits(names, model_name, all_options)), None)
        if expect is not None and wire is None:
            result.compare(expect, sum(result.got["result"].values()) if step.sa is None else len(groups[step.sa]))
        steps.append(result)
    runner.facts.close(netns)
    expected = None
    as_written = all_options - {"ring-windows"} <= set(variant.options) and lookup == (variant.lookup or TRIPLE)
    if wire is None and as_written and model_name == (variant.model or SOFTWARE):
        expected = next((variant.expect[name] for name in names if name in variant.expect), None)
    return Cell(
        names[0], model_name, steps, runner.assumptions, variant.name, expected,
        scenario=scenario.name, source=scenario.source, party=scenario.party, facts=runner.facts,
        traced=runner.tracer.packets if runner.tracer is not None else None,
        wire=None if runner.wire is None else runner.wire.as_dict(),
    )  # fmt: skip
