"""Captures in batches: frames read straight into memory that the batch path works on in place, kept rows written.

    with open_batches(path) as reader, BatchWriter(out, nanosecond=reader.nanosecond) as writer:
        slot = FrameSlot.of()
        while rows := reader.read_into(slot): ...
        writer.commit()

The same frames, times and errors as `capture`. A kernel walks the bytes. What it leaves (an unusual block, the last
frame of a cut capture) goes to the plain code, a record at a time. Memory is that of the slots.
"""

from __future__ import annotations

import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from espsim.core.arrays import I32, I64, U8
from espsim.core.closing import Closing
from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD, open_input
from espsim.core.numbers import MAY_JOIN, OUTGOING
from espsim.io.capture import CaptureWriter
from espsim.io.formats import read_format
from espsim.io.fragments import Joiner
from espsim.io.intake import NOTHING, Intake
from espsim.io.linktype import ip_packet, link_layer, outgoing, supported, supported_linktypes
from espsim.io.pcap import ClassicPcap
from espsim.io.pcapng import Interface, Pcapng, interface_of
from espsim.io.ranges import MOST_INTERFACES, Ranges
from espsim.io.rows.blocks import (
    BIG,
    COUNT,
    FINER,
    LINKTYPE,
    MOST_SECONDS,
    MOST_UNITS,
    OFFSET,
    SECTIONS,
    SNAPLEN,
    UNITS,
    blocks,
    gather_ng,
    hop_ng,
    skim,
)
from espsim.io.rows.classic import FULL, LONGEST, MORE, ODD, classic, hop
from espsim.io.rows.records import gather, head, room
from espsim.io.secrets_writer import SecretsWriter
from espsim.io.slots import FrameSlot, WaitingRow, give, join
from espsim.io.source import Record

_LEAST_READ = 1 << 16
_BUFFER = 1 << 17  # fits a core's cache together with its source
_AROUND = 64  # bytes; at least what a format puts around a frame
_FIRST_LOOK, _LOOK = 1 << 12, 1 << 20


class _Filling:
    """A slot that is being filled: rows below `row` are done; bytes from `at` to `end` of the arena are read, not used.

    `frames` of the capture were read before it.
    """

    def __init__(self, slot: FrameSlot, frames: int) -> None:
        self.slot = slot
        self.memory = slot.arena.data
        self.row = self.at = self.end = 0
        self.frames = frames

    def number(self, rows: int) -> None:
        """Number the rows up to `rows`, each a frame of its own."""
        new = rows - self.row
        self.slot.frame[self.row : rows] = np.arange(self.frames + 1, self.frames + new + 1)
        self.row, self.frames = rows, self.frames + new


class _ClassicWalk:
    """The frames of a classic pcap. `joins` as rows.classic.put_row has it."""

    def __init__(self, form: ClassicPcap, joins: U8) -> None:
        self._facts = form.order == ">", form.unit, form.linktype
        self.joins = joins

    def __call__(self, to: _Filling) -> tuple[int, int, int]:
        """As rows.classic says."""
        slot = to.slot
        return classic(
            slot.arena, to.at, to.end, *self._facts, self.joins,
            slot.offset, slot.length, slot.time_ns, slot.link, slot.captured, slot.wire, to.row,
        )  # fmt: skip

    def hop(self, arena: U8, at: int, end: int, limit: int) -> tuple[int, int, int]:
        """As io.ranges.Walk, like the next three."""
        return hop(arena, at, end, limit, self._facts[0])

    def rows(self, slot: FrameSlot, first: int, last: int, at: int, end: int) -> tuple[int, int]:
        """As Walk."""
        offset, length, time_ns, link, captured, wire = _columns(slot, first, last)
        return classic(
            slot.arena, at, end, *self._facts, self.joins, offset, length, time_ns, link, captured, wire, 0
        )[:2]  # fmt: skip

    def save(self, state: I64) -> bool:
        """As Walk. Records depend on the file's header alone: nothing to save."""
        return True

    def load(self, state: I64) -> None:
        """As Walk."""

    def tell(self) -> None:
        """As _NgWalk: there is nothing to pass on."""

    def learn(self) -> None:
        """As _NgWalk: there is nothing to pass on."""


class _NgWalk:
    """The blocks of a pcapng, with its section and interfaces in columns (rows.blocks)."""

    def __init__(self, form: Pcapng, joins: U8) -> None:
        self._form = form
        self.joins = joins
        self._interfaces: list[Interface] = []
        self._sections = 0
        self._section: I64 = np.zeros(3, np.int64)
        self._table: I64 = np.zeros((4, 4), np.int64)
        self._linktypes: I64 = np.array(supported_linktypes(), np.int64)
        self.learn()

    def __call__(self, to: _Filling) -> tuple[int, int, int]:
        """As rows.classic says."""
        slot = to.slot
        return blocks(
            slot.arena, to.at, to.end, self._section, self._table, self._linktypes, self.joins,
            slot.offset, slot.length, slot.time_ns, slot.link, slot.captured, slot.wire, to.row,
        )  # fmt: skip

    def hop(self, arena: U8, at: int, end: int, limit: int) -> tuple[int, int, int]:
        """As io.ranges.Walk, like the next three."""
        return hop_ng(arena, at, end, limit, self._section, self._table, self._linktypes)

    def rows(self, slot: FrameSlot, first: int, last: int, at: int, end: int) -> tuple[int, int]:
        """As Walk. A section header or an interface after the last row is walked over by `hop` alone."""
        offset, length, time_ns, link, captured, wire = _columns(slot, first, last)
        return blocks(
            slot.arena, at, end, self._section, self._table, self._linktypes, self.joins,
            offset, length, time_ns, link, captured, wire, 0,
        )[:2]  # fmt: skip

    def save(self, state: I64) -> bool:
        """As Walk: the section, and its interfaces."""
        count = int(self._section[COUNT])
        if count > MOST_INTERFACES:
            return False
        state[:3], state[3 : 3 + 4 * count] = self._section, self._table[:count].ravel()
        return True

    def load(self, state: I64) -> None:
        """As Walk."""
        count = int(state[COUNT])
        self._make_room(MOST_INTERFACES)
        self._section[:], self._table[:count] = state[:3], state[3 : 3 + 4 * count].reshape(count, 4)

    def tell(self) -> None:
        """Pass on what the kernel walked over to the plain code."""
        form, section = self._form, self._section
        if section[SECTIONS] != self._sections:
            self._sections = int(section[SECTIONS])
            form.order, form.interfaces = ">" if section[BIG] else "<", []
            self._interfaces = form.interfaces
        for row in self._table[len(self._interfaces) : section[COUNT]].tolist():
            self._interfaces.append(interface_of(row[LINKTYPE], row[SNAPLEN], row[UNITS], row[OFFSET]))

    def learn(self) -> None:
        """Pass on what the plain code read to the kernel."""
        form, section = self._form, self._section
        if form.interfaces is not self._interfaces:  # a new section
            self._interfaces = form.interfaces
            section[BIG], section[COUNT] = form.order == ">", 0
        for row in range(section[COUNT], len(self._interfaces)):
            found = self._interfaces[row]
            usual = found.units <= MOST_UNITS and abs(found.offset) <= MOST_SECONDS and supported(found.linktype)
            units, offset = (found.units, found.offset) if usual else (0, 0)
            self._make_room(row)
            self._table[row] = found.linktype if usual else ~found.linktype, units, offset, found.snaplen
        section[COUNT] = len(self._interfaces)
        self._make_room(len(self._interfaces))

    def _make_room(self, row: int) -> None:
        if row >= len(self._table):
            larger = np.zeros((row + row // 2 + 1, 4), np.int64)
            larger[: len(self._table)] = self._table
            self._table = larger


def _columns(slot: FrameSlot, first: int, last: int) -> tuple[I64, I32, I64, U8, I32, I32]:
    """The columns that a walk fills, some rows of them."""
    rows = slice(first, last)
    return (
        slot.offset[rows], slot.length[rows], slot.time_ns[rows], slot.link[rows], slot.captured[rows],
        slot.wire[rows],
    )  # fmt: skip


class BatchReader(Closing):
    """A capture, batch by batch. `nanosecond`: some times may fall between microseconds."""

    def __init__(
        self, source: Intake, form: ClassicPcap | Pcapng, joiner: Joiner | None = None, *, waits: bool
    ) -> None:
        """`waits`: reading may wait for a writer, so frames that have come are delivered at once."""
        self.path = source.path
        self.nanosecond = form.nanosecond
        self.joiner = joiner
        """Puts fragments together, and is finished at the end; None: they come as they are."""
        self.frames = 0
        """Frames read so far."""
        self._source = source
        self._waits = waits
        joins = np.zeros(0, np.uint8) if joiner is None else np.frombuffer(joiner.tcp_ports, np.uint8)
        self._walk = _ClassicWalk(form, joins) if isinstance(form, ClassicPcap) else _NgWalk(form, joins)
        self._held: deque[WaitingRow] = deque()
        self._steps: Iterator[Record | None] = form.steps()
        self._failure: InputError | None = None
        self._size = 128  # estimated bytes of a row in the file

    @property
    def at(self) -> int:
        """Bytes of the file up to the end of the last frame delivered."""
        return self._source.at

    @property
    def secrets(self) -> int:
        """As CaptureReader."""
        return self._source.secrets

    @property
    def late_secrets(self) -> int:
        """As CaptureReader."""
        return self._source.late_secrets

    @property
    def waits_on(self) -> int | None:
        """The descriptor of a file that is read as it comes; None: all of it is there."""
        if not self._waits:
            return None
        try:
            return self._source.file.fileno()
        except io.UnsupportedOperation:  # a test's standard input, in memory
            return None

    def left(self) -> int:
        """Bytes that are left of a regular file; 0 of what can't be read in ranges."""
        return self._source.left() if self._in_ranges and self._failure is None else 0

    @property
    def _in_ranges(self) -> bool:
        return not self._waits and self.path != STANDARD

    def ranges(self, memory: Callable[..., Any]) -> Ranges | None:
        """The file in ranges; `memory(shape, dtype)` makes what processes share. None: it is not a regular file."""
        if not self._in_ranges:
            return None
        return Ranges(self._walk, self._source.file.fileno(), self._source.base(), self.path, memory)

    def begin(self, ranges: Ranges) -> bool:
        """Ranges begin here; `resume` goes on where they end. False: they can't."""
        return not self._held and ranges.begin(self._source.at, self.frames)

    def resume(self, ranges: Ranges) -> None:
        """Go on where ranges ended."""
        self.frames = ranges.frames
        self._source.move(ranges.at, ranges.frames)
        ranges.end()
        self._walk.tell()

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._source.file.close()

    def read_into(self, slot: FrameSlot) -> int:
        """Fill rows from 0 on with the next frames. Returns how many, 0 at the end only; other rows are not defined.

        Raises what CaptureReader raises, after the last whole frame: if there are frames before it, the next call does.
        """
        to, before = _Filling(slot, self.frames), self._source.at
        to.row, to.at = give(self._held, slot)
        to.end, held = to.at, to.row
        try:
            if self._failure is not None:
                raise self._failure
            if not to.row:
                self._more(to)
            while not self._held and self._step(to):
                pass
        except InputError as error:
            self._failure = error.with_traceback(None)  # a traceback would keep the slot's memory
        self._source.put_back(to.memory[to.at : to.end])
        self.frames = to.frames
        if to.row > held:
            self._size = -(-(self._source.at - before) // (to.row - held))
            return to.row if self.joiner is None else join(self.joiner, slot, to.row, to.at, self._held)
        if not to.row:
            if self.joiner is not None:
                self.joiner.finish()
            if self._failure is not None:
                raise self._failure
        return to.row

    def _step(self, to: _Filling) -> bool:
        """Whole frames, then one step about what comes after them; False: the batch is done."""
        row, at, why = self._walk(to)
        self._source.passed(row - to.row)
        self._source.at += at - to.at
        to.number(row)
        to.at = at
        if why == FULL:
            return False
        if why == ODD:
            return self._plain(to)
        if to.row:
            return not self._waits and self._more(to)
        to.memory[: to.end - to.at] = bytes(to.memory[to.at : to.end])
        to.at, to.end = 0, to.end - to.at
        # Else a record that the arena can't hold, or the capture ends inside it.
        return self._more(to) or self._plain(to)

    def _more(self, to: _Filling) -> bool:
        """More bytes, as many as the rest of the rows may need; False: no room for any, or the end."""
        size = self._size * (len(to.slot.offset) - to.row)
        want = max(size + size // 32 - (to.end - to.at), _LEAST_READ)
        memory = to.memory[to.end : to.end + want]
        got = self._source.fill(memory) if memory else 0
        if 0 < got < len(memory) and not self._waits:  # it was what had been put back
            got += self._source.fill(memory[got:])
        to.end += got
        return got > 0

    def _plain(self, to: _Filling) -> bool:
        """One record by the plain code; False: the end. In the arena a frame replaces its record."""
        self._walk.tell()
        start, self._source.window = to.at, to.memory[to.at : to.end]
        try:
            record = next(self._steps, _END)
        finally:
            to.at = to.end - len(self._source.window)
            self._source.window = NOTHING
        self._walk.learn()
        if record is None or record is _END:
            return record is None
        ip = (ip_packet(record.linktype, record.data) or b"")[:LONGEST]
        to.memory[start : start + len(ip)] = ip
        slot, row = to.slot, to.row
        slot.offset[row], slot.length[row] = start, len(ip)
        slot.link[row] = link_layer(record.linktype, record.data)
        if ip:
            if self.joiner is not None:
                self.joiner.see(ip)
            slot.link[row] = (OUTGOING if outgoing(record.linktype, record.data) else 0) | (
                MAY_JOIN if self.joiner is not None else 0
            )
        slot.time_ns[row] = record.time_ns
        slot.captured[row], slot.wire[row] = len(record.data), record.wire
        to.number(row + 1)
        return True


_END = Record(-1, None, 0, b"", 0)


def open_batches(path: str, joiner: Joiner | None = None) -> BatchReader:
    """Open a classic pcap or a pcapng, or standard input for `-`. Without `joiner` fragments come as they are.

    InputError: it can't be read, is empty, or is not a capture of a known format.
    """
    file = cast(io.FileIO, open_input(path, buffering=0))
    try:
        source = Intake(file, path)
        waits = not _is_regular(file)
        return BatchReader(source, read_format(source, _skim), joiner, waits=waits)
    except BaseException:
        file.close()
        raise


def _is_regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except io.UnsupportedOperation:  # a test's standard input, in memory
        return True


def _skim(file: BinaryIO, order: str) -> tuple[str, bool]:
    """Go on to a block of a pcapng that the plain code has to read, to a clock with finer ticks, or to the end."""
    at, size, big, row = file.tell(), _FIRST_LOOK, order == ">", np.zeros(4, np.int64)
    while True:
        data = np.frombuffer(file.read(size), np.uint8)
        passed, big, why = skim(data, len(data), big, row)
        at += passed
        file.seek(at)
        stuck = not passed and (len(data) < size or size == _LOOK)
        if why != MORE or stuck:
            return ">" if big else "<", why == FINER
        size = min(2 * size, _LOOK)


class BatchWriter(CaptureWriter):
    """A CaptureWriter that takes columns too; the bytes are the same."""

    _buffer: U8 = np.empty(0, np.uint8)
    _gather = staticmethod(gather)
    _around = 16, 1
    """Bytes around a frame, and the multiple that its own are padded to."""
    before = 16
    """Bytes that have to be free before each packet for `records` to make records where they lie; 0: it can't."""

    def write_rows(self, arena: U8, at: I64, length: I32, time_ns: I64, keep: U8 | npt.NDArray[np.bool_]) -> None:
        """Frames of the rows whose `keep` is not 0: `length` bytes from `at` in `arena`, at `time_ns`, in their order.

        ValueError where such a row leaves the arena, or the columns differ in length.
        """
        if self._frames is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        for piece in self.records(arena, at, length, time_ns, keep):
            self._frames.write(piece)

    def records(
        self, arena: U8, at: I64, length: I32, time_ns: I64, keep: U8 | npt.NDArray[np.bool_], *, before: int = 0
    ) -> Iterator[memoryview]:
        """The bytes that `write_rows` writes, in pieces; use each before taking the next one.

        With `before` bytes free before each packet, as many as this writer needs, and packets that lie end to end from
        the arena's first byte on, nothing is copied: the piece is the arena, with headers written into it.
        """
        if not len(at) == len(length) == len(time_ns) == len(keep):
            raise ValueError("columns must have one length")
        row, kept = 0, keep.view(np.uint8)
        if before and before == self.before:
            size = head(arena, at, length, time_ns, kept, self.nanosecond)
            if size >= 0:
                yield arena[:size].data
                return
        while row < len(at):
            row, size = self._gather(arena, at, length, time_ns, kept, self.nanosecond, row, self._buffer)
            if size:
                yield self._buffer[:size].data
            elif row < len(at):
                self._make_room(len(arena), int(at[row]), int(length[row]))

    def room(self, length: I32, keep: U8 | npt.NDArray[np.bool_]) -> int:
        """How many bytes `write_rows` writes."""
        return room(length, keep.view(np.uint8), *self._around)

    def _make_room(self, arena: int, at: int, length: int) -> None:
        """Make the buffer large enough for this row, at which the kernel stopped."""
        if at < 0 or length < 0 or at > arena - length:
            raise ValueError(f"a row of {length} bytes at {at} in an arena of {arena}")
        self._buffer = np.empty(max(_BUFFER, length + _AROUND), np.uint8)


class SecretsBatchWriter(SecretsWriter, BatchWriter):
    """A SecretsWriter that takes columns too; the bytes are the same."""

    _gather = staticmethod(gather_ng)
    _around = 32, 4
    before = 0
