"""A capture through the batch path, with one worker or several. It gives the results of run.py."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.capture import Piece, Share, run
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.device_counts import CountedKind, count, kinds_of
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.stats import FrameFacts, ends_of, verdict_line
from espsim.batch.run.workers import shared_zeros
from espsim.core.address import format_address
from espsim.core.answers import Received
from espsim.core.inbound_batch import InboundBatch
from espsim.core.layers import Layer
from espsim.core.numbers import DELIVERED, PART, SENT
from espsim.explain.auditable import EVENT_OF, AuditEvent, AuditLog, Happened, happened, pick
from espsim.explain.known import Known
from espsim.explain.lines import VerdictLines
from espsim.explain.parts import Parts
from espsim.explain.run import Begin, Files, RanCapture, fragments_of, settle, write_late
from espsim.explain.sift import Look, Sift
from espsim.io.atomic import OutputPlace
from espsim.io.batches import BatchWriter, open_batches
from espsim.io.capture import CaptureCut, NoWriter
from espsim.io.fragments import Fragments, Joiner
from espsim.reference.inbound import Inbound
from espsim.sad.entry import SadEntry

if TYPE_CHECKING:
    from espsim.batch.device.order import OffloadedPipeline

Advance = Callable[[int], None]

_EVENTS = [int(verdict) for verdict in EVENT_OF]


def in_batches(
    files: Files, inbound: Inbound, known: Known, begin: Begin, way: _Way, *, advance: Advance = lambda at: None
) -> RanCapture:  # fmt: skip
    """Run a capture through the batch path. `advance` is called with how many bytes of the capture are done."""
    device = _device_for(inbound, way.engine)
    lane = InboundLane(device or InboundPipeline(inbound, way.engine))
    with (
        open_batches(files.capture, files.joiner(inbound)) as reader,
        files.writer(BatchWriter, nanosecond=reader.nanosecond) as writer,
        files.verdict_lines() as lines,
    ):
        several = way.workers > 1 and lane.shares
        memory = shared_zeros if several else np.zeros
        taker = _Taker(lane, device, known, lines, writer, reader.joiner, advance, files.audit, memory)
        try:
            run(reader, lane, taker, way, begin)
        except CaptureCut as error:
            taker.ran.cut = error
        lane.path.columns.forget_keys()
        settle(reader.joiner, taker.parts)
        write_late(inbound, writer, math.inf)
        ran = taker.end(lane, fragments_of(reader.joiner), inbound)
        ran.secrets, ran.late_secrets = reader.secrets, reader.late_secrets
        writer.commit()
    return ran


def _device_for(inbound: Inbound, engine: str) -> OffloadedPipeline | None:
    """The path after a modelled device, if there is one. Only then its room is imported, which takes a while."""
    if not inbound.modelled:
        return None
    from espsim.batch.device.order import OffloadedPipeline  # noqa: PLC0415
    from espsim.reference.offloaded import OffloadedInbound  # noqa: PLC0415

    assert isinstance(inbound, OffloadedInbound)  # noqa: S101 - `modelled` says so
    return OffloadedPipeline(inbound, engine)


class _Way(Share, Protocol):
    """An engine, and workers."""

    @property
    def engine(self) -> str:
        """The engine's name."""


class _Line(NamedTuple):
    """A row's line, and the code of its token."""

    text: str
    code: int


class _Part(NamedTuple):
    """A frame that completes no datagram, and its line."""

    frame: int
    captured: int
    wire: int
    line: dict[str, Any] | None


class _Note(NamedTuple):
    """A piece's results: lines and parts of datagrams, a device's counts, events for the audit log."""

    lines: list[_Line | _Part]
    kinds: list[CountedKind]
    events: list[AuditEvent]


class _Taker:
    """Takes pieces in order: counts and explains their packets, writes lines and inner packets."""

    def __init__(  # noqa: PLR0917
        self, lane: InboundLane, device: OffloadedPipeline | None, known: Known, lines: VerdictLines | None,
        writer: BatchWriter | NoWriter, joiner: Joiner | None, advance: Advance, audit: AuditLog | None,
        memory: Callable[..., Any],
    ) -> None:  # fmt: skip
        """`device`: the path once more, if a modelled device comes first."""
        self.ran = RanCapture()
        self._audit, self._device = audit, device
        self._lane, path = lane, lane.path
        self._path, self._lines, self._writer, self._joiner, self._advance = path, lines, writer, joiner, advance
        self._counts = InboundCounts(path.columns.entries, memory)
        self._sift = Sift(known, path, memory)
        self.parts = Parts(self._sift, lines)

    def order(self, piece: Piece[InboundBatch], ask: Callable[[Any], Any]) -> _Note | None:
        """As batch.run.capture.Taker, and so are the other methods."""
        batch, path = piece.batch, self._path
        sums = self._lane.sums
        looked = self._sift.take(batch, ask, sums if self._lines is None else None)
        events = self._events(piece) if self._audit is not None else []
        if self._device is not None:
            return _Note(self._lines_of(piece, looked), kinds_of(self._device, batch), events)
        self._counts.count(batch, path.nested_in(batch), sums)
        lines = self._lines_of(piece, looked)
        return _Note(lines, [], events) if lines or events else None

    def _events(self, piece: Piece[InboundBatch]) -> list[AuditEvent]:
        """The auditable events of a piece."""
        return pick(self._happened(piece, np.flatnonzero(np.isin(piece.batch.verdict, _EVENTS)).tolist()))

    def _happened(self, piece: Piece[InboundBatch], rows: list[int]) -> Iterator[Happened]:
        batch, ports = piece.batch, self._path.one.ports
        for row in rows:
            (answer,) = self._path.answers(batch, slice(row, row + 1))
            if answer is not None:
                packet = functools.partial(batch.packet, row)
                yield from happened(answer, packet, int(piece.frames[row]), int(piece.time_ns[row]), ports)

    def _lines_of(self, piece: Piece[InboundBatch], looked: dict[int, int]) -> list[_Line | _Part]:
        batch = piece.batch
        if self._lines is not None:
            return self._all_lines(piece, self._path.answers(batch), self._sift.codes(batch, looked))
        if PART not in batch.verdict.tobytes():
            return []
        rows = (batch.verdict == PART).nonzero()[0]
        facts = batch.frame[rows].tolist(), batch.captured[rows].tolist(), batch.wire[rows].tolist()
        return [_Part(frame, captured, wire, None) for frame, captured, wire in zip(*facts, strict=True)]

    def place(self) -> OutputPlace | None:
        """The place of the inner packets in the output."""
        return self._writer.place()

    def room(self, piece: Piece[InboundBatch]) -> int:
        """As Taker."""
        return self._writer.room(piece.batch.inner_length, _passed(piece.batch))

    def records(self, piece: Piece[InboundBatch]) -> Iterator[memoryview]:
        """As Taker."""
        if self._path.aggregated is None:
            yield from self._of_rows(piece, slice(None))
            return
        passed = _passed(piece.batch)
        passed[list(self._path.aggregated.inners)] = False
        for rows, out in self._path.aggregated.pieces(len(piece.batch)):
            yield from self._of_rows(piece, rows, passed)
            if out is None:
                continue
            time_ns = int(piece.time_ns[out.row]) if out.time_ns is None else out.time_ns
            for packet in out.packets:
                self._writer.write(packet, time_ns)  # it keeps its place: all that was yielded has been written

    def _of_rows(
        self, piece: Piece[InboundBatch], rows: slice, passed: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[memoryview]:
        batch = piece.batch
        passed = _passed(batch) if passed is None else passed
        columns = (batch.inner_at[rows], batch.inner_length[rows], piece.time_ns[rows], passed[rows])
        return self._writer.records(batch.arena, *columns)

    def write(self, data: memoryview) -> None:
        """As Taker."""
        self._writer.append(data)

    def answer(self, request: Look) -> int:
        """Look at a row that failed."""
        return self._sift.look(request)

    def heard(self, note: _Note | None, at: int) -> None:
        """As Taker."""
        for one in note.lines if note is not None else ():
            if isinstance(one, _Part):
                self.parts.part(*one)
            elif self._lines is not None:
                self._lines.put(one.text, self._sift.token(one.code))
        if note is not None and self._audit is not None:
            self._audit.take(note.events)
        if note is not None and self._device is not None:
            count(note.kinds, self._device, self.ran.stats)
        settle(self._joiner, self.parts)
        self._advance(at)

    def _all_lines(
        self, piece: Piece[InboundBatch], answers: list[Received[SadEntry] | None], codes: list[int]
    ) -> list[_Line | _Part]:
        """A line for each row; a waiting one for a fragment."""
        batch, modelled = piece.batch, self._device is not None
        columns = (piece.frames, piece.time_ns, batch.captured, batch.wire, batch.kind, batch.verdict == PART)
        facts = zip(*(column.tolist() for column in columns), _ends(batch), answers, codes, strict=True)
        found: list[_Line | _Part] = []
        for number, time_ns, captured, wire, kind, part, ends, answer, code in facts:
            frame = FrameFacts(number, time_ns, captured, *ends)
            if part:
                found.append(_Part(number, captured, wire, verdict_line(frame, None)))
            else:
                found.append(_Line(json.dumps(verdict_line(frame, answer, Layer(kind), modelled=modelled)), code))
        return found

    def end(self, lane: InboundLane, fragments: Fragments | None, inbound: Inbound) -> RanCapture:
        """The results at the end of the capture."""
        if self._device is None:
            self.ran.stats = self._counts.stats()
        self.ran.stats.add_fragments(fragments)
        self.ran.stats.add_iptfs(inbound.tunnels.as_dict(), inbound.tunnels.counters)
        self.ran.stats.ran_on(self._path.engine, lane.alone)
        self.ran.end(self._sift, self.parts, self._lines, self._audit)
        return self.ran


def _passed(batch: InboundBatch) -> npt.NDArray[np.bool_]:
    """The rows whose inner packets are written."""
    passed: npt.NDArray[np.bool_] = (batch.verdict == DELIVERED) | (batch.verdict == SENT)
    return passed


def _ends(batch: InboundBatch) -> Iterator[tuple[str | None, str | None]]:
    """Source and destination of every row, from the columns: opening a packet may have moved its headers."""
    words = zip(*(column.tolist() for column in (batch.family, batch.saddr, batch.daddr)), strict=True)
    for row, (family, saddr, daddr) in enumerate(words):
        if family:
            size = 4 if family == 4 else 16
            src, dst = (int(high << 64 | low).to_bytes(size) for high, low in (saddr, daddr))
            yield format_address(src), format_address(dst)
        else:
            at = int(batch.offset[row])
            size = 40 if batch.verdict[row] == PART else min(int(batch.length[row]), 40)
            yield ends_of(batch.arena[at : at + size].tobytes())
