"""Counts of a run, and the JSON that they become. Every path counts here, so its results have one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from espsim.core.address import format_address
from espsim.core.answers import Received, SaCount, Sent
from espsim.core.layers import Layer
from espsim.core.verdict import IPTFS_VERDICTS, PASSED, POLICED, OutboundVerdict, Surfacing, Verdict
from espsim.sad.entry import SadEntry

if TYPE_CHECKING:
    from espsim.aead.batch import BatchEngine

ENGINE_VERDICTS = (
    PASSED | POLICED | IPTFS_VERDICTS | {Verdict.INTEGRITY, Verdict.TRAILER, Verdict.MODE, Verdict.POLICY, Verdict.ECN}
)
"""Verdicts of inbound packets that an engine has opened, or refused by their ICV."""


class FragmentsLike(Protocol):
    """Counts of fragments (`espsim.io.fragments.Fragments`)."""

    incomplete: int
    ignored: Counter[Layer]

    def as_dict(self) -> dict[str, int]:
        """The JSON `fragments`."""


@dataclass(slots=True)
class EngineUse:
    """The engine that was chosen, and how many packets each engine opened, sealed or refused by the ICV.

    A suite that the chosen engine lacks runs on its fallback. The reference path runs on `cryptography`.
    """

    name: str
    version: str
    isa: str | None
    packets: Counter[str] = field(default_factory=Counter)

    @classmethod
    def count(cls, engine: BatchEngine, counts: Iterable[SaCount[SadEntry]], alone: Mapping[int, int]) -> EngineUse:
        """From each SA's packets (`passed`). `alone`: how many of them the reference path ran, by sa_index."""
        use = cls(engine.name, engine.version, engine.isa)
        for count in counts:
            keys, one_by_one = count.entry.sa.keys, alone.get(count.entry.sa_index, 0)
            if keys is not None:
                use.packets[engine.engine_for(keys).name] += count.passed - one_by_one
                use.packets["cryptography"] += one_by_one
        return use

    def as_dict(self) -> dict[str, Any]:
        """`{engine, engine_version, engine_isa}`, and `engines` (packets by name) where another one ran too."""
        result: dict[str, Any] = {
            "engine": self.name,
            "engine_version": self.version,
            "engine_isa": self.isa,
        }
        ran = _sorted(self.packets)
        if ran.keys() - {self.name}:
            result["engines"] = ran
        return result


@dataclass(slots=True)
class InboundStats:
    """Counts of an inbound run.

    `by_sa`: by sa_index, in the order in which the SAs came. `ignored`, `ignored_by`: packets that are not ESP, and
    what they are. `fragments`: as in the JSON. `opened`: packets that an engine opened or refused by their ICV, by
    sa_index of the SA whose keys were used. `nested`: packets that were ESP in ESP, by the number of layers that were
    opened; each layer counts for its SA.
    """

    packets: int = 0
    ignored: int = 0
    ignored_by: Counter[Layer] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    device: Counter[str] = field(default_factory=Counter)
    surfacing: Counter[str] = field(default_factory=Counter)
    wrong_keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_sa: dict[int, SaCount[SadEntry]] = field(default_factory=dict)
    opened: dict[int, SaCount[SadEntry]] = field(default_factory=dict)
    nested: Counter[int] = field(default_factory=Counter)
    fragments: dict[str, int] = field(default_factory=lambda: {"seen": 0, "datagrams": 0, "incomplete": 0})
    engine: EngineUse | None = None
    iptfs: dict[str, Any] | None = None

    @property
    def delivered(self) -> int:
        """Packets that were delivered."""
        return self.verdicts[Verdict.DELIVERED.name]

    @property
    def sent(self) -> int:
        """Packets that this host sent."""
        return self.verdicts[Verdict.SENT.name]

    @property
    def failed(self) -> int:
        """Packets that were neither delivered nor sent by this host."""
        return self.packets - self.delivered - self.sent

    @property
    def refused_inside(self) -> int:
        """Inner packets of IP-TFS that a selector or a policy refused; the ESP packets around them were delivered."""
        return int(self.iptfs["refused"]) if self.iptfs is not None else 0

    def count(self, received: Received[SadEntry] | None, layer: Layer = Layer.OTHER, times: int = 1) -> None:
        """Count `times` packets alike. None: they are not ESP, and `layer` says what they are."""
        if received is None:
            self.ignored += times
            self.ignored_by[layer] += times
            return
        self.packets += times
        self.verdicts[received.verdict.name] += times
        if received.counter is not None:
            self.counters[received.counter] += times
        if received.around is not None:
            self.nested[received.depth] += times
            for around in received.layers[:-1]:
                self._layer(around, times)
        self._layer(received, times)

    def _layer(self, received: Received[SadEntry], times: int) -> None:
        """Count one layer of ESP for its SA."""
        if received.device is not None:
            self._count_device(received, times)
        if received.entry is not None:
            self._of(received.entry, received.verdict, times)
        if received.used is not None and received.verdict in ENGINE_VERDICTS:
            self.opened.setdefault(received.used.sa_index, SaCount(received.used)).passed += times

    def add_fragments(self, joined: FragmentsLike | None) -> None:
        """Count fragments, at the end. None: none were joined, and each counted for itself (RFC 4303 3.4.1).

        Datagrams that were completed have been counted as packets already.
        """
        if joined is None:
            self.fragments["seen"] = self.verdicts[Verdict.FRAGMENT.name]
            return
        self.fragments = joined.as_dict()
        self.packets += joined.incomplete
        self.verdicts[Verdict.FRAGMENT.name] += joined.incomplete
        self.ignored += joined.ignored.total()
        self.ignored_by.update(joined.ignored)

    def add_iptfs(self, carried: dict[str, Any] | None, counters: Mapping[str, int]) -> None:
        """What SAs in mode IPTFS carried, at the end, and Linux's counters that are in no verdict."""
        self.iptfs = carried
        self.counters.update(counters)

    def ran_on(self, engine: BatchEngine, alone: Mapping[int, int]) -> None:
        """Name the engine that ran all this. `alone`: packets that the reference path ran, by sa_index."""
        self.engine = EngineUse.count(engine, self.opened.values(), alone)

    def of(self, entry: SadEntry) -> SaCount[SadEntry]:
        """One SA's counts; zeros where it had no packet."""
        return self.by_sa.get(entry.sa_index) or SaCount(entry)

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `espsim decap`. `device` is absent without a model, `engine` before `ran_on`."""
        result: dict[str, Any] = {
            "packets": self.packets,
            "ignored": self.ignored,
            "ignored_by": _sorted(Counter({layer.label: n for layer, n in self.ignored_by.items()})),
            "delivered": self.delivered,
            "sent": self.sent,
            "fragments": self.fragments,
            "verdicts": _sorted(self.verdicts),
            "linux_counters": _sorted(self.counters),
            **(self.engine.as_dict() if self.engine is not None else {}),
        }
        if self.nested:
            result["nested"] = {str(depth): self.nested[depth] for depth in sorted(self.nested)}
        if self.iptfs is not None:
            result["iptfs"] = self.iptfs
        if self.device:
            result["device"] = _sorted(self.device)
            result["surfacing"] = _sorted(self.surfacing)
            result["wrong_keys"] = [
                {"sa": own, "keys_of": used, "packets": n} for (own, used), n in sorted(self.wrong_keys.items())
            ]
        result["by_sa"] = [count.as_dict("delivered") for count in self.by_sa.values()]
        return result

    def _count_device(self, received: Received[SadEntry], times: int) -> None:
        self.device[received.device.name if received.device is not None else ""] += times
        if received.surfacing is not Surfacing.NONE:
            self.surfacing[received.surfacing.name] += times
        if received.used is not None and received.used is not received.entry:
            own = received.entry.sa.name if received.entry is not None else "no SA"
            self.wrong_keys[own, received.used.sa.name] += times

    def _of(self, entry: SadEntry, verdict: Verdict, times: int) -> None:
        count = self.by_sa.setdefault(entry.sa_index, SaCount(entry))
        if verdict is Verdict.DELIVERED:
            count.passed += times
        elif verdict is Verdict.SENT:
            count.sent += times
        else:
            count.dropped[verdict.name] += times


@dataclass(slots=True)
class OutboundStats:
    """Counts of an outbound run. `ignored`: frames that are not IP.

    `by_sa`: by sa_index, in the order in which the SAs came. `cut_inside`: datagrams that were cut before they were
    sealed. `fragmented`: ESP packets that left in fragments.
    """

    packets: int = 0
    ignored: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    by_sa: dict[int, SaCount[SadEntry]] = field(default_factory=dict)
    engine: EngineUse | None = None
    cut_inside: int = 0
    fragmented: int = 0
    iptfs: dict[str, Any] | None = None

    def add_iptfs(self, carried: dict[str, Any] | None, counters: Mapping[str, int]) -> None:
        """As `InboundStats.add_iptfs`, of packets that left."""
        self.iptfs = carried
        self.counters.update(counters)

    def ran_on(self, engine: BatchEngine, alone: Mapping[int, int]) -> None:
        """Name the engine that ran all this. `alone`: packets that the reference path sealed, by sa_index."""
        self.engine = EngineUse.count(engine, self.by_sa.values(), alone)

    def count(self, sent: Sent[SadEntry] | None) -> None:
        """Count one packet. None: the frame is not IP."""
        if sent is None:
            self.ignored += 1
            return
        self.packets += 1
        self.cut_inside += bool(sent.also)
        self.fragmented += sent.fragmented
        self.verdicts[sent.verdict.name] += 1
        if sent.counter is not None:
            self.counters[sent.counter] += 1
        if sent.entry is not None:
            count = self.by_sa.setdefault(sent.entry.sa_index, SaCount(sent.entry))
            if sent.verdict is OutboundVerdict.SEALED:
                count.passed += 1
            else:
                count.dropped[sent.verdict.name] += 1

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `espsim encap`; `engine` is absent before `ran_on`."""
        return {
            "packets": self.packets,
            "ignored": self.ignored,
            "sealed": self.verdicts[OutboundVerdict.SEALED.name],
            "no_sa": self.verdicts[OutboundVerdict.NO_SA.name],
            "verdicts": _sorted(self.verdicts),
            "linux_counters": _sorted(self.counters),
            **(self.engine.as_dict() if self.engine is not None else {}),
            **({"iptfs": self.iptfs} if self.iptfs is not None else {}),
            "by_sa": [count.as_dict("sealed") for count in self.by_sa.values()],
        }


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What a line of `--verdicts` says of a frame: its number, time, captured bytes, and IP addresses as text."""

    number: int
    time_ns: int
    captured: int
    src: str | None
    dst: str | None


def verdict_line(
    frame: FrameFacts, received: Received[SadEntry] | None, layer: Layer = Layer.OTHER, *, modelled: bool = False
) -> dict[str, Any]:  # fmt: skip
    """One frame's line of `--verdicts`.

    `sa`: the packet's own SA; `keys_of`: the SA that a device used instead. `kind`: what an ignored frame is (`layer`).
    `modelled`: a device ran; `device` is null then for what this host sent, which the device never saw.
    `inner_packets`: how many packets came out with one of IP-TFS. ESP in ESP: the line is about the last layer, `depth`
    says how many there were, and `device` is about the first. `cause`, the last key, is null here; `espsim.explain`
    fills it in.
    """
    line: dict[str, Any] = {"frame": frame.number}
    if received is None:
        line |= {"verdict": "ignored", "kind": layer.label}
    else:
        line |= {"verdict": received.verdict.name}
    spi = None if received is None else received.spi
    seconds, fraction = divmod(abs(frame.time_ns), 10**9)
    line |= {
        "linux_counter": None if received is None else received.counter,
        "spi": spi,
        "spi_hex": None if spi is None else f"0x{spi:08x}",
        "seq": None if received is None else received.seq,
        "seq64": None if received is None else received.seq64,
        "sa": received.entry.sa.name if received is not None and received.entry is not None else None,
        "src": frame.src,
        "dst": frame.dst,
        "time": f"{'-' if frame.time_ns < 0 else ''}{seconds}.{fraction:09d}",
        "length": frame.captured,
    }
    if received is not None and received.around is not None:
        line["depth"] = received.depth
    first = received.layers[0] if received is not None else None
    if first is not None and first.device is not None:
        line |= {"device": first.device.name, "surfacing": first.surfacing.name}
        if first.used is not None and first.used is not first.entry:
            line["keys_of"] = first.used.sa.name
    elif first is not None and first.own and modelled:
        line["device"] = None
    if received is not None and received.inners is not None:
        line["inner_packets"] = len(received.inners)
    line["cause"] = None
    return line


def ends_of(packet: bytes) -> tuple[str | None, str | None]:
    """Source and destination of an IP packet as text; (None, None): its header is not whole."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return format_address(packet[12:16]), format_address(packet[16:20])
    if version == 6 and len(packet) >= 40:
        return format_address(packet[8:24]), format_address(packet[24:40])
    return None, None


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: n for name, n in sorted(counter.items()) if n}
