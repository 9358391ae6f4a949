"""One packet explained: run through the reference path, with every step of the run kept.

    steps: list[Step] = []
    received = open_packet(sad, packet, trace=steps.append)

`explain_packet` does the same for a frame, and gives what `espsim explain --json` prints.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.explain.facts import CapturedPacket as Facts
from espsim.explain.frames import SeenFrame
from espsim.explain.inbound import InboundSteps, header_steps, verdict_step
from espsim.explain.link import link_step
from espsim.explain.steps import Places, Step, Tell
from espsim.explain.why import why_one
from espsim.io.linktype import ip_packet
from espsim.io.source import Record
from espsim.reference.inbound import Inbound
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad


@dataclass(slots=True)
class Explained:
    """One ESP packet explained. Bytes are None where the run did not reach them, or the suite does not have them.

    `frames`: the frames with the packet's fragments; empty where it came whole. `datagram`: for an outer fragment, the
    frame that completes its datagram. `icv` is as received, `icv_expected` as computed. `plaintext` is all that was
    decrypted, if the ICV is right. With ESP in ESP these are the last layer's.
    """

    frame: int
    record: Record
    received: Received[SadEntry]
    steps: list[Step]
    nonce: bytes | None = None
    aad: bytes | None = None
    icv: bytes | None = None
    icv_expected: bytes | None = None
    plaintext: bytes | None = None
    cause: str | None = None
    detail: str | None = None
    frames: list[int] = field(default_factory=list)
    datagram: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `espsim explain`, the engine left out. `bytes` is the frame."""
        received = self.received
        result: dict[str, Any] = {
            "frame": self.frame,
            "frames": self.frames or [self.frame],
            "verdict": received.verdict.name,
            "linux_counter": received.counter,
            "cause": self.cause,
            "detail": self.detail,
            "sa": received.entry.sa.name if received.entry is not None else None,
            "spi": received.spi,
            "spi_hex": f"0x{received.spi:08x}" if received.spi is not None else None,
            "seq": received.seq,
            "seq64": received.seq64,
            "nonce": _hex(self.nonce),
            "aad": _hex(self.aad),
            "icv": _hex(self.icv),
            "icv_expected": _hex(self.icv_expected),
            "plaintext": _hex(self.plaintext),
            "inner": _hex(received.inner),
            **({"inners": [inner.hex() for inner in received.inners]} if received.inners is not None else {}),
            "steps": [step.as_dict() for step in self.steps],
            "bytes": self.record.data.hex(),
            "wire_length": self.record.wire,
        }
        if received.around is not None:
            result["depth"] = received.depth
        if received.verdict is Verdict.FRAGMENT:
            result["datagram"] = self.datagram
        if received.device is not None:
            result["device"] = received.device.name
            result["surfacing"] = received.surfacing.name
            if received.used is not None and received.used is not received.entry:
                result["keys_of"] = received.used.sa.name
        return result


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def open_packet(
    sad: Sad, packet: bytes, *, mark: int | None = 0, now: float = 0.0, trace: Tell | None = None,
    show_keys: bool = False,
) -> Received[SadEntry] | None:  # fmt: skip
    """Open one IP packet under a SAD's SAs. Their windows and counters move. None: it is not ESP.

    `now` in seconds. `mark` None: marks are not asked. `trace` is called with every `Step` of the run, the verdict
    last. The steps have keys as fingerprints unless `show_keys`.
    """
    inbound = Inbound(sad, mark=mark)
    if trace is None:
        return inbound.receive(packet, now)
    _, received = _run(inbound, (packet, now, False, False), trace, Places(), show_keys)
    if received is not None:
        answer = why_one(inbound, received, Facts(packet, captured=len(packet), wire=len(packet)))
        trace(verdict_step(received, answer.cause if answer else None, answer.detail if answer else None))
    return received


def explain_packet(inbound: Inbound, seen: SeenFrame, *, show_keys: bool = False) -> Explained | None:
    """Run a frame's packet through `inbound`, with its steps from the link layer on. None: it is not ESP.

    `finish` adds the verdict, the last step.
    """
    record, packet = seen.record, seen.frame.ip
    if packet is None:
        return None
    steps: list[Step] = []
    link = link_step(record.linktype, record.data)
    if link is not None:
        steps.append(link)
    arrived = packet, record.time_ns / 1e9, seen.frame.outgoing, seen.frame.in_tcp
    told, received = _run(inbound, arrived, steps.append, seen.places, show_keys)
    if received is None:
        return None
    return Explained(
        seen.frame.number, record, received, steps, told.nonce, told.aad, told.icv, told.expected, told.plaintext
    )


def explain_part(seen: SeenFrame, ports: Collection[int]) -> Explained:
    """An outer fragment that completes no datagram: its headers."""
    record = seen.record
    link = link_step(record.linktype, record.data)
    packet = ip_packet(record.linktype, record.data) or b""
    places = Places(((0, len(record.data) - len(packet), len(packet)),))
    steps = [*([link] if link is not None else []), *header_steps(packet, ports, places)]
    return Explained(seen.frame.number, record, Received(Verdict.FRAGMENT, None), steps)


def finish(explained: Explained, cause: str | None, detail: str | None) -> None:
    """Add the verdict as the last step, with the cause and its sentence if the packet failed."""
    explained.cause, explained.detail = cause, detail
    sentence = None
    if explained.datagram is not None:
        sentence = f"an outer fragment; frame {explained.datagram} completes its datagram"
    explained.steps.append(verdict_step(explained.received, cause, detail, sentence))


def _run(
    inbound: Inbound, arrived: tuple[bytes, float, bool, bool], tell: Tell, places: Places, show_keys: bool
) -> tuple[InboundSteps, Received[SadEntry] | None]:
    """Run a packet through the path. `arrived`: packet, time, outgoing, in TCP. Only ESP's steps go to `tell`."""
    packet, now, outgoing, in_tcp = arrived
    heard: list[Step] = []
    told = InboundSteps(inbound, heard.append, places, show_keys=show_keys)
    before, inbound.trace = inbound.trace, told
    headers = header_steps(packet, inbound.ports, places)  # before the run, which may change the ports
    try:
        received = inbound.receive(packet, now, outgoing=outgoing, in_tcp=in_tcp)
    finally:
        inbound.trace = before
    if received is not None:
        for step in [*headers, *heard]:
            tell(step)
    return told, received
