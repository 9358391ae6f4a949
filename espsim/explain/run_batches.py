"""A capture through the batch path, by one worker or several: run.py in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from espsim.batch.device.order import BatchOffloaded
from espsim.batch.inbound.order import BatchInbound
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.stats import FrameFacts, ends_of, verdict_line
from espsim.batch.run.stream import Piece, stream
from espsim.core.address import format_address
from espsim.core.answers import Received
from espsim.core.batch import PacketBatch
from espsim.core.errors import InputError
from espsim.core.layers import Layer
from espsim.core.numbers import PART
from espsim.core.verdict import PASSED, Verdict
from espsim.explain.known import Known
from espsim.explain.lines import VerdictLines
from espsim.explain.parts import Parts
from espsim.explain.run import Begin, Files, Ran, fragments_of, settle
from espsim.explain.sift import Sift, seen_in
from espsim.explain.watch import Collector, Token, Watch
from espsim.io.batches import BatchWriter, open_batches
from espsim.io.capture import CaptureCut
from espsim.io.fragments import Fragments
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.entry import SadEntry

Advance = Callable[[int], None]


def in_batches(
    files: Files, inbound: Inbound, known: Known, begin: Begin, *, engine: str, workers: int, advance: Advance
) -> Ran:  # fmt: skip
    """The batch path by an engine and some workers. `advance` hears how many bytes of the capture are done."""
    path = _batch_path(inbound, engine, workers)
    lane = InboundLane(path)
    with (
        open_batches(files.capture, files.joiner(inbound)) as reader,
        files.writer(BatchWriter, nanosecond=reader.nanosecond) as writer,
        files.verdict_lines() as lines,
    ):
        run = _Batches(path, known, lines)
        try:
            for piece in stream(reader, lane, workers, begin):
                batch = piece.batch
                keep = (batch.verdict == Verdict.DELIVERED) | (batch.verdict == Verdict.SENT)
                writer.write_rows(batch.arena, batch.inner_at, batch.inner_length, piece.time_ns, keep)
                run.take(piece)
                settle(reader.joiner, run.parts)
                advance(reader.at)
        except CaptureCut as error:
            run.ran.cut = error
        settle(reader.joiner, run.parts)
        ran = run.end(lane, fragments_of(reader.joiner))
        ran.secrets, ran.late_secrets = reader.secrets, reader.late_secrets
        writer.commit()
    return ran


def _batch_path(inbound: Inbound, engine: str, workers: int) -> BatchInbound:
    if not isinstance(inbound, OffloadedInbound):
        return BatchInbound(inbound, engine)
    if workers > 1:
        raise InputError(
            "a device may open a packet with another SA's keys, so SAs cannot be shared out: --model runs one worker",
            where="--workers",
        )
    return BatchOffloaded(inbound, engine)


class _Batches:
    """Pieces as they come. What a device did is in no column, so then answers are counted row by row."""

    def __init__(self, path: BatchInbound, known: Known, lines: VerdictLines | None) -> None:
        self.ran = Ran()
        self._path, self._lines = path, lines
        self._counts = InboundCounts(path.columns.entries)
        self._sift = None if isinstance(path, BatchOffloaded) else Sift(known, path)
        self._watch = Watch(known, path.engine, path.one.ports) if self._sift is None else None
        self._collector: Collector = self._sift or self._watch  # type: ignore[assignment]
        self.parts = Parts(self._collector, lines)

    def take(self, piece: Piece[PacketBatch]) -> None:
        """A batch that has run."""
        batch = piece.batch
        answers: list[Received[SadEntry] | None] = []
        tokens: list[Token] = []
        if self._sift is not None:
            looked = self._sift.take(batch)
            self._counts.count(batch)
            if self._lines is not None:
                answers, tokens = self._path.answers(batch), self._sift.tokens(batch, looked)
        else:
            answers = self._path.answers(batch)
            tokens = [self._by_row(batch, row, answer) for row, answer in enumerate(answers)]
        if self._lines is not None:
            self._write(piece, answers, tokens, self._lines)
        elif PART in batch.verdict.tobytes():
            for row in (batch.verdict == PART).nonzero()[0].tolist():
                self.parts.part(int(batch.frame[row]), int(batch.captured[row]), int(batch.wire[row]), None)

    def _by_row(self, batch: PacketBatch, row: int, answer: Received[SadEntry] | None) -> Token:
        if batch.verdict[row] == PART:
            return None
        self.ran.stats.count(answer, Layer(batch.kind[row]))
        if answer is None or self._watch is None:
            return None
        if answer.verdict in PASSED:
            self._watch.passed(answer)
            return None
        return self._watch.failed(answer, seen_in(batch, row, answer))

    def _write(
        self, piece: Piece[PacketBatch], answers: list[Received[SadEntry] | None], tokens: list[Token],
        lines: VerdictLines,
    ) -> None:  # fmt: skip
        """A line for each row, or for a fragment one that waits."""
        batch = piece.batch
        columns = (piece.frames, piece.time_ns, batch.captured, batch.wire, batch.kind, batch.verdict == PART)
        facts = zip(*(column.tolist() for column in columns), _ends(batch), answers, tokens, strict=True)
        for number, time_ns, captured, wire, kind, part, ends, answer, token in facts:
            frame = FrameFacts(number, time_ns, captured, *ends)
            if part:
                self.parts.part(number, captured, wire, verdict_line(frame, None))
            else:
                modelled = isinstance(self._path, BatchOffloaded)
                lines.write(verdict_line(frame, answer, Layer(kind), modelled=modelled), token)

    def end(self, lane: InboundLane, fragments: Fragments | None) -> Ran:
        """The capture is over."""
        if self._sift is not None:
            self.ran.stats = self._counts.stats()
        self.ran.stats.add_fragments(fragments)
        self.ran.stats.ran_on(self._path.engine, lane.alone)
        self.ran.end(self._collector, self.parts, self._lines)
        return self.ran


def _ends(batch: PacketBatch) -> Iterator[tuple[str | None, str | None]]:
    """Source and destination of every row: as parsed, because where a packet was opened its headers may have moved."""
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
