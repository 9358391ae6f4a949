"""Captures in batches: the frames, times and errors of `open_capture`, whatever the slots however the bytes come."""

from __future__ import annotations

import io
import os
import struct
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.core.numbers import OUTGOING
from espsim.io.batches import BatchReader, BatchWriter, open_batches
from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
from espsim.io.formats import read_format
from espsim.io.intake import Intake
from espsim.io.rows.classic import LONGEST
from espsim.io.slots import COLUMNS, FrameSlot
from tests.examples import examples
from tests.support import CAPTURES

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
ETHERNET = bytes(12) + b"\x08\x00"
VLAN = bytes(12) + b"\x81\0\0\7\x88\xa8\0\5\x86\xdd"


def plain(path):
    """What `open_capture` says: (nanosecond, frames, error or None); packets within a row."""
    frames, error, nanosecond = [], None, None
    try:
        with open_capture(path) as reader:
            nanosecond = reader.nanosecond
            for frame in reader:
                ip = None if frame.ip is None else frame.ip[:LONGEST]
                link = frame.link | (OUTGOING if frame.outgoing else 0)
                frames.append((frame.number, frame.time_ns, ip, link, frame.captured, frame.wire))
    except InputError as caught:
        error = (type(caught), str(caught))
    return nanosecond, frames, error


def batches(reader, slots):
    """The same of a BatchReader, from slots in turn; each is wiped once it has been looked at."""
    frames, error, turn = [], None, 0
    try:
        while True:
            slot = slots[turn % len(slots)]
            rows = reader.read_into(slot)
            if not rows:
                assert reader.read_into(slot) == 0
                break
            for row in range(rows):
                at, size = int(slot.offset[row]), int(slot.length[row])
                assert 0 <= at <= len(slot.arena) - size
                ip = slot.arena[at : at + size].tobytes() or None
                facts = (slot.link, slot.captured, slot.wire)
                frames.append((slot.frame[row], slot.time_ns[row], ip, *(fact[row] for fact in facts)))
            for name in ("arena", *COLUMNS):
                getattr(slot, name)[:] = 0x45
            turn += 1
    except InputError as caught:
        error = (type(caught), str(caught))
    if error is not None:
        with pytest.raises(InputError) as again:
            reader.read_into(slots[0])
        assert str(again.value) == error[1]
    assert reader.frames == len(frames)
    return reader.nanosecond, frames, error


def outcome(opening, slots):
    """The same of what `opening` opens."""
    try:
        reader = opening()
    except InputError as caught:
        return None, [], (type(caught), str(caught))
    with reader:
        return batches(reader, slots)


def same(path, *slots):
    want = plain(path)
    assert outcome(lambda: open_batches(path), slots or (FrameSlot.of(),)) == want
    return want


class Trickle(io.FileIO):
    """A file that gives fewer bytes than were asked for, as a pipe does: so many in turn."""

    def __init__(self, path, sizes):
        super().__init__(path)
        self._sizes, self._turn = sizes, 0

    def readinto(self, memory):
        self._turn += 1
        return super().readinto(memoryview(memory)[: self._sizes[self._turn % len(self._sizes)]])


def trickling(path, sizes, waits):
    file = Trickle(path, sizes)
    try:
        source = Intake(file, path)
        return BatchReader(source, read_format(source), waits=waits)
    except InputError:
        file.close()
        raise


# -- files laid out here ----------------------------------------------------------------------------------------------


def classic(frames, *, order="<", magic=0xA1B2C3D4, linktype=101):
    """frames: (seconds, fraction, data)."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)
    for seconds, fraction, data in frames:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), len(data)) + data
    return out


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order, linktype, tsresol=None, tsoffset=None, snaplen=0):
    options = b"" if tsresol is None else struct.pack(order + "HHBxxx", 9, 1, tsresol)
    options += b"" if tsoffset is None else struct.pack(order + "HHq", 14, 8, tsoffset)
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + options)


def enhanced(order, data, ticks, number=0):
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data)


def simple(order, data):
    return block(order, 3, struct.pack(order + "I", len(data)) + data)


def obsolete(order, data, ticks):
    head = struct.pack(order + "HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 2, head + data)


# -- any capture ------------------------------------------------------------------------------------------------------

LINKTYPES = st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276])
HEADS = [
    b"", ETHERNET, VLAN, b"\2\0\0\0", bytes(14) + b"\x08\0", b"\x86\xdd" + bytes(18),
    b"\0\4" + bytes(12) + b"\x08\0", b"\x86\xdd" + bytes(8) + b"\4" + bytes(9),
]  # fmt: skip
DATA = st.one_of(
    st.binary(max_size=50),
    st.builds(
        lambda head, size, seed: head + bytes([seed]) * size,
        st.sampled_from(HEADS),
        st.integers(0, 90) | st.sampled_from([1500, 9000, 33_000, LONGEST - 17, LONGEST, LONGEST + 1, 70_000, 140_000]),
        st.sampled_from([0x45, 0x60, 0x4F, 0]),
    ),
)
ORDERS = st.sampled_from("<>")
U32S = st.integers(0, 2**32 - 1)
CLASSIC = st.builds(
    lambda frames, order, magic, linktype: classic(frames, order=order, magic=magic, linktype=linktype),
    st.lists(st.tuples(U32S, U32S, DATA), max_size=8),
    ORDERS, st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]), LINKTYPES,
)  # fmt: skip


@st.composite
def ng(draw: st.DrawFn) -> bytes:
    out = b""
    ticks = st.integers(0, 2**64 - 1) | st.integers(0, 2**51)
    for _ in range(draw(st.integers(1, 2))):
        order = draw(ORDERS)
        out += section(order)
        count = draw(st.sampled_from([0, 1, 1, 2, 5]))
        kinds = LINKTYPES | st.sampled_from([101, 101, 105])
        resolutions = st.sampled_from([None, 0, 3, 6, 9, 12, 0x80 | 20, 0x80 | 40])
        offsets = st.sampled_from([None, None, 5, -7, 2**40, -(2**40)])
        interfaces = [interface(order, draw(kinds), draw(resolutions), draw(offsets)) for _ in range(count)]
        out += b"".join(interfaces[: count or 1])
        for _ in range(draw(st.integers(0, 8))):
            kind, data = draw(st.sampled_from("eeeeeesoui")), draw(DATA)
            if kind == "e":
                out += enhanced(order, data, draw(ticks), draw(st.integers(0, max(count - 1, 0))))
            elif kind == "s":
                out += simple(order, data)
            elif kind == "o":
                out += obsolete(order, data, draw(ticks))
            else:
                out += block(order, 0xBAD, data) if kind == "u" else interface(order, 101)
    return out


CAPTURE = CLASSIC | ng()
CUTS = st.none() | st.integers(0, 400) | st.integers(0, 200_000)
HARM = st.none() | st.tuples(st.integers(0, 300), st.integers(0, 255))
SLOTS = st.lists(
    st.builds(FrameSlot.of, st.sampled_from([1, 2, 3, 7, 4096]), st.integers(LONGEST, LONGEST + 9000)),
    min_size=1, max_size=3,
)  # fmt: skip
any_capture = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None, max_examples=examples(60),
)  # fmt: skip


def harmed(data, cut, harm):
    if harm is not None and harm[0] < len(data):
        data = data[: harm[0]] + bytes([harm[1]]) + data[harm[0] + 1 :]
    return data if cut is None else data[:cut]


@any_capture
@given(data=CAPTURE, cut=CUTS, harm=HARM, slots=SLOTS)
def test_any_capture_is_what_the_plain_reader_says(tmp_path, data, cut, harm, slots):
    path = tmp_path / "in.pcap"
    path.write_bytes(harmed(data, cut, harm))
    same(str(path), *slots)


@any_capture
@given(
    data=CAPTURE, cut=CUTS, harm=HARM, slots=SLOTS, waits=st.booleans(),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4) | st.lists(st.integers(500, 70_000), min_size=1),
)  # fmt: skip
@example(classic([(1, 2, V4)]), None, None, [FrameSlot.of()], True, [1])
def test_however_the_bytes_come(tmp_path, data, cut, harm, slots, waits, sizes):
    path = tmp_path / "in.pcap"
    path.write_bytes(harmed(data[:3000] if min(sizes) < 60 else data, cut, harm))
    assert outcome(lambda: trickling(str(path), sizes, waits), slots) == plain(str(path))


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda p: p.stem)
def test_captures_of_others(path):
    for slot in (FrameSlot.of(), FrameSlot.of(3, LONGEST)):
        _, frames, error = same(str(path), slot)
        assert error is None
        assert sum(ip is not None for _, _, ip, *_ in frames) > 5


@pytest.mark.parametrize("data", [
    classic([(n, n, V4 + bytes(n)) for n in range(6)]),
    section("<") + interface("<", 101) + b"".join(enhanced("<", V4 + bytes(n), n) for n in range(5)),
    section(">") + interface(">", 101) + simple(">", V4) + section("<") + interface("<", 1) + obsolete("<", V4, 3),
], ids=["classic", "enhanced", "sections"])  # fmt: skip
def test_every_cut(tmp_path, data):
    path = tmp_path / "in.pcap"
    cuts = 0
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        _, _, error = same(str(path))
        cuts += error is not None and error[0] is CaptureCut
    assert cuts > len(data) * 0.8


def test_the_next_call_raises_what_came_behind_whole_frames(tmp_path):
    path = tmp_path / "in.pcap"
    path.write_bytes(classic([(1, 0, V4), (2, 0, V4)]) + struct.pack("<IIII", 2, 0, 1 << 30, 0))
    slot = FrameSlot.of()
    with open_batches(str(path)) as reader:
        assert (reader.path, reader.frames, reader.at) == (str(path), 0, 24)
        assert reader.read_into(slot) == 2
        assert reader.frames == 2
        with pytest.raises(InputError, match="damaged before byte 112: a frame of 1073741824 bytes") as caught:
            reader.read_into(slot)
        assert caught.value.frame == 3
        assert reader.frames == 2


def test_rows_are_bounded_by_both_rows_and_bytes(tmp_path):
    path = tmp_path / "in.pcap"
    path.write_bytes(classic([(n, 0, V4 + bytes(1000)) for n in range(1000)]))
    for rows, size, most in ((10, 1 << 20, 10), (4096, LONGEST, LONGEST // 1036)):
        slot = FrameSlot.of(rows, size)
        with open_batches(str(path)) as reader:
            found = []
            while got := reader.read_into(slot):
                found.append(got)
        assert sum(found) == 1000
        assert set(found[:-1]) == {most}


def test_a_frame_larger_than_the_arena(tmp_path):
    """16 MiB, the most that is read, with other frames before and after it."""
    path = tmp_path / "in.pcap"
    path.write_bytes(classic([(1, 0, V4), (2, 0, V4 + bytes((16 << 20) - 20)), (3, 0, V4)]))
    _, frames, error = same(str(path), FrameSlot.of(8, LONGEST))
    assert error is None
    assert [len(ip) for _, _, ip, *_ in frames] == [20, LONGEST, 20]


def test_blocks_that_are_no_frames_are_passed_over_whatever_their_size(tmp_path):
    path = tmp_path / "in.pcapng"
    with path.open("wb") as file:
        file.write(section("<") + block("<", 0xBAD, bytes(200_000)) + interface("<", 101) + enhanced("<", V4, 1))
        file.write(block("<", 0xBAD, bytes(40 << 20)) + enhanced("<", V4, 2) + interface("<", 101, 9))
    nanosecond, frames, error = same(str(path), FrameSlot.of(8, LONGEST))
    assert nanosecond  # stated by an interface after the last frame
    assert (len(frames), error) == (2, None)


def test_a_link_type_that_is_not_supported_is_refused_when_it_is_met(tmp_path):
    path = tmp_path / "in.pcapng"
    frames = enhanced("<", V4, 1) + enhanced("<", V4, 2, 1) + enhanced("<", V4, 3)
    path.write_bytes(section("<") + interface("<", 101) + interface("<", 105) + frames)
    _, found, error = same(str(path))
    assert len(found) == 1
    assert "frame 2: interface 1 has link type 105 (IEEE 802.11)" in error[1]


def test_a_pipe_gives_what_is_there(tmp_path):
    """A frame is delivered before the next one is written: else this waits for ever."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    got = threading.Semaphore(0)

    def feed():
        with open(path, "wb", buffering=0) as file:
            file.write(section("<") + interface("<", 101))
            for n in range(5):
                record = enhanced("<", V4, n)
                file.write(record + record[:11])  # and a bit of the next, which must not hold it back
                assert got.acquire(timeout=20)
                file.write(record[11:])
                assert got.acquire(timeout=20)

    thread = threading.Thread(target=feed)
    thread.start()
    slot = FrameSlot.of()
    with open_batches(path) as reader:
        assert reader.nanosecond
        for n in range(10):
            assert reader.read_into(slot) == 1
            assert (reader.frames, slot.length[0]) == (n + 1, 20)
            got.release()
        assert reader.read_into(slot) == 0
    thread.join()


def test_blocks_of_all_kinds_in_one_batch(tmp_path):
    """What the plain code makes of one must not disturb the rows around it."""
    path = tmp_path / "in.pcapng"
    packets = [V4 + bytes([n]) * 200 for n in range(12)]
    w = (lambda p: enhanced("<", p, 7), lambda p: simple("<", p), lambda p: obsolete("<", p, 8))
    path.write_bytes(section("<") + interface("<", 101) + b"".join(w[n % 3](p) for n, p in enumerate(packets)))
    slot = FrameSlot.of()
    with open_batches(str(path)) as reader:
        assert reader.read_into(slot) == 12
    found = [slot.arena[at : at + size].tobytes() for at, size in zip(slot.offset[:12], slot.length[:12], strict=True)]
    assert found == packets


def test_usual_frames_are_the_kernel_s(tmp_path, monkeypatch):
    """In every section, however the frames lie in the slots; the plain code would be right, but slow."""
    monkeypatch.setattr("espsim.io.batches.ip_packet", None)
    path = tmp_path / "in.pcapng"
    frames = [enhanced("<", V4, n, 1) for n in range(5000)]
    path.write_bytes((section("<") + interface("<", 1) + interface("<", 101, 9) + b"".join(frames)) * 2)
    slot = FrameSlot.of(999, LONGEST)
    with open_batches(str(path)) as reader:
        while rows := reader.read_into(slot):
            assert set(slot.length[:rows]) == {20}
        assert reader.frames == 10_000


def test_interfaces_are_the_section_s(tmp_path):
    path = tmp_path / "in.pcapng"
    one = section("<") + interface("<", 101, 6) + enhanced("<", V4, 10**6)
    two = section(">") + interface(">", 1, 9, 5) + interface(">", 101) + enhanced(">", ETHERNET + V4, 10**9)
    path.write_bytes(one + two + one)
    _, frames, _ = same(str(path))
    assert [(time, ip) for _, time, ip, *_ in frames] == [(10**9, V4), (6 * 10**9, V4), (10**9, V4)]


@pytest.mark.parametrize("path", ["none.pcap", ".", "a\0b"])
def test_paths_that_cannot_be_read(tmp_path, path):
    path = str(tmp_path / path)
    with pytest.raises(InputError) as caught:
        open_batches(path)
    with pytest.raises(InputError) as other:
        open_capture(path)
    assert str(caught.value) == str(other.value)


def test_slots_that_do_not_fit():
    good = FrameSlot.of(4, LONGEST)
    for change in (
        {"arena": good.arena[1:]},
        {"arena": np.empty(2 * LONGEST, np.uint8)[::2]},
        {"arena": np.empty(LONGEST, np.int8)},
        {"offset": good.offset[1:]},
        {"length": good.length.astype(np.int64)},
        {"captured": good.captured.astype(np.int64)},
        {"wire": good.wire[:3]},
        {"frame": good.frame.astype(np.int32)},
        {name: getattr(good, name)[:0] for name in COLUMNS},
    ):
        columns = {name: getattr(good, name) for name in ("arena", *COLUMNS)} | change
        with pytest.raises(ValueError, match=r"slot|arena"):
            FrameSlot(**columns)


# -- out --------------------------------------------------------------------------------------------------------------


def columns(rows):
    """(at, length, time_ns, keep) of rows of those four."""
    kinds = (np.int64, np.int32, np.int64, np.bool_)
    return [np.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds)]


ROWS = st.tuples(
    st.integers(0, 1000), st.integers(0, 500) | st.just(199_000),
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**32 * 10**9), st.booleans(),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(40))
@given(
    cuts=st.lists(st.lists(ROWS, max_size=12), max_size=3), nanosecond=st.booleans(), linktype=st.sampled_from([1, 101])
)
@example([[(0, 199_000, n, True) for n in range(20)], [(5, 1, 1, True)]], False, 101)
def test_columns_are_written_as_frames_are(tmp_path, cuts, nanosecond, linktype):
    arena = np.random.default_rng(1).integers(0, 256, 200_000, np.uint8)
    one, many = tmp_path / "one.pcap", tmp_path / "many.pcap"
    with CaptureWriter(str(one), nanosecond=nanosecond, linktype=linktype) as writer:
        for at, length, time_ns, keep in (row for cut in cuts for row in cut):
            if keep:
                writer.write(arena[at : at + length].tobytes(), time_ns)
        writer.commit()
    with BatchWriter(str(many), nanosecond=nanosecond, linktype=linktype) as batch:
        for cut in cuts:
            batch.write_rows(arena, *columns(cut))
        batch.commit()
    assert many.read_bytes() == one.read_bytes()


def test_columns_and_frames_in_one_capture(tmp_path):
    path = tmp_path / "out.pcap"
    arena = np.frombuffer(V4 * 3, np.uint8)
    with BatchWriter(str(path)) as writer:
        writer.write(V4, 1000)
        writer.write_rows(arena, *columns([(20, 20, 2000, 1), (0, 60, 3000, 0), (0, 60, 4000, 1)]))
        writer.write(V4, 5000)
        assert not path.exists()
        writer.commit()
    with open_capture(str(path)) as reader:
        assert [(f.time_ns, f.ip) for f in reader] == [(1000, V4), (2000, V4), (4000, V4 * 3), (5000, V4)]


def test_a_frame_larger_than_the_buffer(tmp_path):
    path = tmp_path / "out.pcap"
    arena = np.zeros(5 << 20, np.uint8)
    with BatchWriter(str(path)) as writer:
        writer.write_rows(arena, *columns([(0, 20, 1, 1), (1, (5 << 20) - 1, 2, 1), (0, 20, 3, 1)]))
        writer.commit()
    assert path.stat().st_size == 24 + 3 * 16 + 40 + (5 << 20) - 1


@pytest.mark.parametrize(("at", "length"), [(-1, 1), (0, -1), (60, 1), (59, 2), (2**63 - 1, 2**31 - 1)])
def test_a_row_outside_the_arena_leaves_no_capture(tmp_path, at, length):
    path = tmp_path / "out.pcap"
    arena = np.frombuffer(V4 * 3, np.uint8)
    with pytest.raises(ValueError, match=f"a row of {length} bytes at {at} in an arena of 60"):  # noqa: SIM117
        with BatchWriter(str(path)) as writer:
            writer.write_rows(arena, *columns([(0, 20, 1, 1), (at, length, 1, 1)]))
    assert list(tmp_path.iterdir()) == []
    with BatchWriter(str(path)) as writer:  # one that is not kept may be anywhere
        writer.write_rows(arena, *columns([(0, 20, 1, 1), (at, length, 1, 0)]))
        writer.commit()
    assert path.stat().st_size == 60


def test_what_a_writer_refuses(tmp_path):
    writer = BatchWriter(str(tmp_path / "out.pcap"))
    at, length, time_ns, keep = columns([(0, 20, 1, 1)])
    with pytest.raises(RuntimeError):
        writer.write_rows(np.zeros(20, np.uint8), at, length, time_ns, keep)
    with writer, pytest.raises(ValueError, match="one length"):
        writer.write_rows(np.zeros(20, np.uint8), at, length, time_ns, keep[:0])
