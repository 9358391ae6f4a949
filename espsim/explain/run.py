"""A capture through the reference path, with its results: counts, causes, notes, lines, inner packets.

run_batches.py does the same with the batch path. This file loads no kernel.

What this does not do: judge a packet (reference/inbound.py), or say why one failed (watch.py collects, causes.py
answers).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from espsim.aead.engines import engine_by_name
from espsim.batch.run.stats import FrameFacts, InboundStats, ends_of, verdict_line
from espsim.core.answers import Received
from espsim.core.layers import Layer
from espsim.core.verdict import Verdict
from espsim.explain.auditable import EVENT_OF, AuditLog, happened, pick
from espsim.explain.entries import notes, why
from espsim.explain.facts import CapturedPacket
from espsim.explain.joining import joiner_for
from espsim.explain.known import Known
from espsim.explain.lines import VerdictLines
from espsim.explain.parts import Parts
from espsim.explain.watch import Collector, Watch
from espsim.io.atomic import Outputs
from espsim.io.capture import CaptureCut, CaptureWriter, Frame, NoWriter, open_capture
from espsim.io.fragments import Fragments, Joiner
from espsim.reference.inbound import Inbound
from espsim.reference.layers import layer_of
from espsim.sad.entry import SadEntry

_W = TypeVar("_W", bound=CaptureWriter)

Begin = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Files:
    """The capture, and the outputs: inner packets, a line for every packet, auditable events (auditable.py).

    `reassemble`: outer fragments are put together.
    """

    capture: str
    output: str | None
    verdicts: str | None
    lines: IO[str] | None
    outputs: Outputs
    reassemble: bool = True
    audit: AuditLog | None = None

    def joiner(self, inbound: Inbound) -> Joiner:
        """What puts outer fragments and TCP streams together."""
        return joiner_for(inbound, reassemble=self.reassemble)

    def writer(self, kind: type[_W], *, nanosecond: bool) -> _W | NoWriter:
        """The writer of inner packets."""
        if self.output is None:
            return NoWriter(self.outputs)
        return kind(self.output, nanosecond=nanosecond, outputs=self.outputs)

    def verdict_lines(self) -> AbstractContextManager[VerdictLines | None]:
        """The writer of lines, None where none are wanted."""
        return nullcontext() if self.lines is None else VerdictLines(self.lines, self.verdicts or "")


@dataclass(slots=True)
class RanCapture:
    """The results of a capture. `cut`: it ends in the middle of a frame; the frames before it are counted.

    `secrets` counts blocks of ESP's secrets, `late_secrets` those of them that come after a frame.
    """

    stats: InboundStats = field(default_factory=InboundStats)
    cut: CaptureCut | None = None
    why: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    secrets: int = 0
    late_secrets: int = 0

    def end(
        self, collector: Collector, parts: Parts, lines: VerdictLines | None, audit: AuditLog | None = None
    ) -> None:  # fmt: skip
        """The results at the end of the capture."""
        collector.end()
        if audit is not None:
            audit.finish()
        self.why, self.notes = why(collector, self.stats), notes(collector, self.stats)
        if lines is not None:
            lines.finish()


def one_by_one(files: Files, inbound: Inbound, known: Known, begin: Begin) -> RanCapture:
    """Run a capture through the reference path. `begin` is called with the first frame's time in seconds."""
    engine, ran = engine_by_name("cryptography"), RanCapture()
    watch = Watch(known, engine, inbound.ports)
    with (
        open_capture(files.capture, files.joiner(inbound)) as reader,
        files.writer(CaptureWriter, nanosecond=reader.nanosecond) as writer,
        files.verdict_lines() as lines,
    ):
        parts = Parts(watch, lines)
        try:
            for frame in reader:
                if frame.number == 1:
                    begin(frame.time_ns / 1e9)
                write_late(inbound, writer, frame.time_ns / 1e9)
                if frame.part:
                    parts.part(frame.number, frame.captured, frame.wire, _line(frame, None, Layer.OTHER))
                else:
                    received = _one(frame, inbound, watch, ran.stats, lines)
                    if files.audit is not None:
                        _audit(files.audit, frame, received, inbound.ports)
                    for packet in received.packets if received is not None else ():
                        writer.write(packet, frame.time_ns)
                settle(reader.joiner, parts)
        except CaptureCut as error:
            ran.cut = error
        settle(reader.joiner, parts)
        ran.stats.add_fragments(fragments_of(reader.joiner))
        ran.secrets, ran.late_secrets = reader.secrets, reader.late_secrets
        write_late(inbound, writer, math.inf)
        ran.stats.add_iptfs(inbound.tunnels.as_dict(), inbound.tunnels.counters)
        ran.stats.ran_on(engine, {})
        ran.end(watch, parts, lines, files.audit)
        writer.commit()
    return ran


def _one(
    frame: Frame, inbound: Inbound, watch: Watch, stats: InboundStats, lines: VerdictLines | None
) -> Received[SadEntry] | None:
    """Run one frame: count it, explain it, write its line."""
    received = None
    if frame.ip is not None:
        received = inbound.receive(frame.ip, frame.time_ns / 1e9, outgoing=frame.outgoing, in_tcp=frame.in_tcp)
    layer, token = frame.link, None
    if received is None and frame.ip is not None:
        layer = layer_of(frame.ip, inbound.ports)
    stats.count(received, layer)
    if received is not None and frame.ip is not None:
        if received.verdict is Verdict.DELIVERED or received.verdict is Verdict.SENT:
            watch.passed(received)
        else:
            token = watch.failed(
                received, CapturedPacket(frame.ip, frame.number, frame.captured, frame.wire, in_tcp=frame.in_tcp)
            )
    if lines is not None:
        lines.write(_line(frame, received, layer, modelled=inbound.modelled), token)
    return received


def _audit(audit: AuditLog, frame: Frame, received: Received[SadEntry] | None, ports: frozenset[int]) -> None:
    """Write a frame to the audit log if it is an auditable event."""
    if received is not None and received.verdict in EVENT_OF:
        audit.take(pick(happened(received, lambda: frame.ip or b"", frame.number, frame.time_ns, ports)))


def write_late(inbound: Inbound, writer: CaptureWriter | NoWriter, now: float) -> None:
    """Write what IP-TFS's receivers give up to `now` (seconds), each packet at the time when its waiting ends."""
    for late in inbound.tunnels.elapse(now):
        for packet in late.packets:
            writer.write(packet, late.time_ns)


def _line(frame: Frame, received: Received[SadEntry] | None, layer: Layer, *, modelled: bool = False) -> dict[str, Any]:
    facts = FrameFacts(frame.number, frame.time_ns, frame.captured, *ends_of(frame.ip or frame.fragment or b""))
    return verdict_line(facts, received, layer, modelled=modelled)


def settle(joiner: Joiner | None, parts: Parts) -> None:
    """Pass the outcomes of the reader's joiner to `parts`."""
    if joiner is not None:
        parts.settle(joiner.settled())


def fragments_of(joiner: Joiner | None) -> Fragments | None:
    """The counts of the reader's joiner. None: fragments stayed apart."""
    return joiner.fragments if joiner is not None and joiner.reassembles else None
