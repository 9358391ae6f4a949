"""pcapng in: sections, interfaces with clocks and link types of their own, all four packet blocks, damage."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.io.capture import CaptureCut, Frame, open_capture
from tests.examples import examples
from tests.support import CAPTURES, ethernet_frames

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
V6 = bytes.fromhex("6000000000003b40") + bytes(15) + b"\x01" + bytes(15) + b"\x02"
US = 1_700_000_000_123_456


class Writer:
    """Blocks in one byte order."""

    def __init__(self, order="<"):
        self.order = order

    def block(self, kind, body):
        body += bytes(-len(body) % 4)
        total = struct.pack(self.order + "I", len(body) + 12)
        return struct.pack(self.order + "I", kind) + total + body + total

    def section(self, *, version=(1, 0), options=b""):
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, *version, -1) + options)

    def option(self, code, value):
        return struct.pack(self.order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    def interface(self, linktype=101, *, snaplen=0, tsresol=None, tsoffset=None, name=b"eth0"):
        options = self.option(2, name)
        if tsresol is not None:
            options += self.option(9, bytes([tsresol]))
        if tsoffset is not None:
            options += self.option(14, struct.pack(self.order + "q", tsoffset))
        options += self.option(0, b"") + b"junk"
        return self.block(1, struct.pack(self.order + "HHI", linktype, 0, snaplen) + options)

    def enhanced(self, data, time, *, interface=0, length=None):
        head = struct.pack(
            self.order + "IIIII",
            interface,
            time >> 32,
            time & 0xFFFFFFFF,
            len(data),
            len(data) if length is None else length,
        )
        return self.block(6, head + data + bytes(-len(data) % 4) + self.option(2, b"\0\0\0\1"))

    def obsolete(self, data, time, *, interface=0):
        head = struct.pack(
            self.order + "HHIIII", interface, 0xFFFF, time >> 32, time & 0xFFFFFFFF, len(data), len(data)
        )
        return self.block(2, head + data)

    def simple(self, data, length):
        return self.block(3, struct.pack(self.order + "I", length) + data)


W = Writer()


def write(tmp_path, data):
    path = tmp_path / "in.pcapng"
    path.write_bytes(data)
    return str(path)


def read(path):
    with open_capture(path) as reader:
        return [(f.number, f.time_ns, f.ip, f.snapped) for f in reader]


def drain(path):
    """(the frames that came, the InputError that ended them or None)."""
    frames: list[Frame] = []
    try:
        with open_capture(path) as reader:
            frames.extend(reader)
    except InputError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_packet_blocks_among_unknown_ones(tmp_path, order):
    w = Writer(order)
    data = (
        w.section(options=w.option(4, b"a test"))
        + w.block(0x0BAD, b"who knows" * 10)
        + w.interface(snaplen=24)
        + w.enhanced(V4, US)
        + w.block(4, bytes(8))
        + w.enhanced(V6[:40], US + 1, length=1400)
        + w.obsolete(V4, US + 2)
        + w.simple(V4, 20)
        + w.simple(V6[:24], 40)
        + w.block(5, bytes(12))
    )
    assert read(write(tmp_path, data)) == [
        (1, US * 1000, V4, False),
        (2, US * 1000 + 1000, V6[:40], True),
        (3, US * 1000 + 2000, V4, False),
        (4, 0, V4, False),
        (5, 0, V6[:24], True),
    ]


def test_sections_start_anew_in_their_own_byte_order(tmp_path):
    big = Writer(">")
    ethernet = bytes(12) + b"\x08\x00" + V4 + bytes(26)
    data = W.section() + W.interface(101) + W.enhanced(V6, 5) + big.section(version=(1, 2)) + big.interface(1)
    data += big.enhanced(ethernet, 6) + W.section()
    assert read(write(tmp_path, data)) == [(1, 5000, V6, False), (2, 6000, V4 + bytes(26), False)]
    with pytest.raises(InputError, match="interface 0, but the section has 0") as caught:
        read(write(tmp_path, data + W.enhanced(V4, 7)))
    assert caught.value.frame == 3


@pytest.mark.parametrize(
    ("options", "ticks", "time_ns", "finer"),
    [
        ({}, 7, 7_000, False),
        ({"tsresol": 6}, 7, 7_000, False),
        ({"tsresol": 9}, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789, True),
        ({"tsresol": 3}, 7, 7_000_000, False),
        ({"tsresol": 0}, 7, 7_000_000_000, False),
        ({"tsresol": 12}, 7_999, 7, True),
        ({"tsresol": 0x80 | 1}, 3, 1_500_000_000, False),
        ({"tsresol": 0x80 | 10}, 1024 + 512, 1_500_000_000, True),
        ({"tsresol": 0x80 | 32}, (1_700_000_000 << 32) + (1 << 31), 1_700_000_000_500_000_000, True),
        ({"tsresol": 0xFF}, (1 << 64) - 1, 0, True),
        ({"tsresol": 127}, (1 << 64) - 1, 0, True),
        ({"tsoffset": 1_700_000_000}, 5, 1_700_000_000_000_005_000, False),
        ({"tsoffset": -10}, 5, -9_999_995_000, False),
        ({"tsresol": 9, "tsoffset": -(1 << 63)}, 5, -(1 << 63), True),
        ({"tsresol": 0}, (1 << 64) - 1, (1 << 63) - 1, False),
    ],
)
def test_clocks(tmp_path, options, ticks, time_ns, finer):
    path = write(tmp_path, W.section() + W.interface(**options) + W.enhanced(V4, ticks))
    with open_capture(path) as reader:
        assert reader.nanosecond is finer
        assert [f.time_ns for f in reader] == [time_ns]


@pytest.mark.parametrize(
    ("code", "value"),
    [(9, b"\x09\0"), (9, b""), (14, bytes(3) + b"\1"), (12, b"\x09"), (13, struct.pack("<q", 10))],
    ids=["a resolution of two bytes", "of none", "an offset of four bytes", "the system's name", "eight bytes"],
)
def test_what_is_no_clock_s_option_changes_no_time(tmp_path, code, value):
    interface = W.block(1, struct.pack("<HHI", 101, 0, 0) + W.option(code, value))
    with open_capture(write(tmp_path, W.section() + interface + W.enhanced(V4, US))) as reader:
        assert not reader.nanosecond
        assert [f.time_ns for f in reader] == [US * 1000]


def test_a_finer_clock_is_known_before_the_first_frame_wherever_it_is(tmp_path):
    coarse = W.section() + W.interface() + W.enhanced(V4, US)
    fine = W.block(99, bytes(40)) + W.interface(tsresol=9) + W.enhanced(V6, US * 1000 + 1, interface=1)
    big = Writer(">")
    later = big.section() + big.interface(tsresol=9)
    for data, finer in ((coarse, False), (coarse + fine, True), (coarse + later, True)):
        with open_capture(write(tmp_path, data)) as reader:
            assert reader.nanosecond is finer
            assert next(reader).time_ns == US * 1000
    path = write(tmp_path, coarse + fine)
    assert [time for _, time, _, _ in read(path)] == [US * 1000, US * 1000 + 1]


def test_link_types_belong_to_interfaces_and_are_refused_when_met(tmp_path):
    wifi = W.section() + W.interface(101) + W.interface(105) + W.enhanced(V4, 1)
    assert [ip for _, _, ip, _ in read(write(tmp_path, wifi))] == [V4]
    ethernet = W.interface(1) + W.enhanced(bytes(12) + b"\x86\xdd" + V6, 2, interface=2)
    assert [ip for _, _, ip, _ in read(write(tmp_path, wifi + ethernet))] == [V4, V6]
    with pytest.raises(InputError, match=r"frame 2: interface 1 has link type 105 \(IEEE 802.11\)") as caught:
        read(write(tmp_path, wifi + W.enhanced(V4, 3, interface=1)))
    assert not isinstance(caught.value, CaptureCut)


def test_every_cut_gives_the_whole_frames_and_names_the_next(tmp_path):
    start = W.section() + W.interface()
    blocks = [W.enhanced(V4, 1), W.block(99, b"skipped"), W.obsolete(V6, 2), W.simple(V4, 20), W.section()]
    data = start + b"".join(blocks)
    ends = [len(start) + sum(map(len, blocks[:n])) for n in range(len(blocks) + 1)]
    for size in range(len(start), len(data) + 1):
        path = write(tmp_path, data[:size])
        whole = sum(size >= ends[n] for n in (1, 3, 4))
        frames, error = drain(path)
        if size in ends:
            assert error is None
        else:
            assert isinstance(error, CaptureCut)
            assert error.frame == whole + 1
        assert [f.number for f in frames] == list(range(1, whole + 1))


HEAD = W.section() + W.interface() + W.enhanced(V4, 1)
GOOD = W.enhanced(V4, 2)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (struct.pack("<II", 6, 8) + bytes(40), "it is 8 bytes long"),
        (struct.pack("<II", 6, 33) + bytes(40), "it is 33 bytes long"),
        (struct.pack("<II", 6, (16 << 20) + 4) + bytes(40), "a block of 16777220 bytes"),
        (GOOD[:-4] + struct.pack("<I", 99 * 4), "at its start and 396 at its end"),
        (W.block(6, struct.pack("<IIIII", 0, 0, 0, 64, 64) + V4), "64 bytes in a block with room for 20"),
        (W.block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 64) + V4), "4294967295 bytes"),
        (W.block(6, bytes(16)), "too short"),
        (W.block(3, b""), "too short"),
        (W.block(3, struct.pack("<I", 64) + V4), "64 bytes in a block with room for 20"),
        (W.block(1, bytes(4)), "interface block is too short"),
        (W.block(1, struct.pack("<HHIHH", 101, 0, 0, 9, 400)), "option is longer"),
        (W.enhanced(V4, 2, interface=7), "interface 7, but the section has 1"),
        (struct.pack("<III", 0x0A0D0D0A, 28, 0x12345678) + bytes(16), "byte-order magic"),
    ],
)
def test_damage_names_the_frame_after_those_that_were_whole(tmp_path, block, words):
    path = write(tmp_path, HEAD + block + GOOD)
    with open_capture(path) as reader:
        assert next(reader).number == 1
        with pytest.raises(InputError, match=words) as caught:
            next(reader)
    assert (caught.value.where, caught.value.frame) == (path, 2)
    assert not isinstance(caught.value, CaptureCut)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (W.section()[:4], "cut"),
        (W.section()[:20], "cut"),
        (W.section(version=(2, 0)), "pcapng version 2.0"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "byte-order magic"),
    ],
)
def test_what_is_refused_at_opening(tmp_path, data, words):
    path = write(tmp_path, data)
    with pytest.raises(InputError, match=words) as caught:
        open_capture(path)
    assert (caught.value.where, caught.value.frame) == (path, None)


def test_a_large_block_that_nobody_wants_is_passed_over(tmp_path):
    size = (16 << 20) + 4096
    total = struct.pack("<I", size)
    path = write(
        tmp_path, W.section() + struct.pack("<I", 77) + total + bytes(size - 12) + total + W.interface() + GOOD
    )
    assert [ip for _, _, ip, _ in read(path)] == [V4]


def test_a_pipe_is_not_looked_through_and_keeps_nanoseconds(tmp_path):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)

    def feed():
        with open(path, "wb") as file:
            file.write(HEAD + GOOD)

    thread = threading.Thread(target=feed)
    thread.start()
    with open_capture(path) as reader:
        assert reader.nanosecond is True
        assert [f.time_ns for f in reader] == [1000, 2000]
    thread.join()


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap (wireshark-common) is not installed")
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda p: p.stem)
def test_what_editcap_writes(tmp_path, path):
    out = str(tmp_path / "out.pcapng")
    subprocess.run(["editcap", "-F", "pcapng", path, out], check=True, capture_output=True)
    assert read(out) == read(str(path))
    assert len(read(out)) == len(ethernet_frames(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(80))
@given(st.data())
def test_any_damage_gives_frames_or_an_input_error(tmp_path, data):
    whole = bytearray(HEAD + W.interface(1, tsresol=9) + W.obsolete(V6, 3) + W.simple(V4, 20) + W.section() + HEAD)
    for at, value in data.draw(st.lists(st.tuples(st.integers(4, len(whole) - 1), st.integers(0, 255)), max_size=6)):
        whole[at] = value
    raw = bytes(whole[: data.draw(st.integers(0, len(whole)))]) + data.draw(st.binary(max_size=40))
    path = write(tmp_path, raw)
    frames, error = drain(path)
    assert [f.number for f in frames] == list(range(1, len(frames) + 1))
    assert error is None or error.where == path
