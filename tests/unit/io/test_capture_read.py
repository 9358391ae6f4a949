"""Classic pcap in: both byte orders, both clocks, cuts and garbage. The bytes are laid out here, not by the writer."""

from __future__ import annotations

import os
import struct
import threading
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.io.capture import CaptureCut, Frame, open_capture
from tests.support import CAPTURES, ethernet_frames

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
V6 = bytes.fromhex("6000000000003b40") + bytes(15) + b"\x01" + bytes(15) + b"\x02"


def classic(frames, *, order="<", magic=0xA1B2C3D4, linktype=101, version=(2, 4)):
    """frames: (seconds, fraction, data, length on the wire or None)."""
    out = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, linktype)
    for seconds, fraction, data, length in frames:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), len(data) if length is None else length) + data
    return out


def write(tmp_path, data, name="in.pcap"):
    path = tmp_path / name
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
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)], ids=["us", "ns"])
def test_byte_orders_and_clocks(tmp_path, order, magic, unit):
    frames = [(1_700_000_000, 123_456, V4, None), (0xFFFFFFFF, 999_999, V6, 1500), (0, 0, b"", None)]
    path = write(tmp_path, classic(frames, order=order, magic=magic))
    with open_capture(path) as reader:
        assert reader.nanosecond is (unit == 1)
        assert [(f.number, f.time_ns, f.ip, f.snapped) for f in reader] == [
            (1, 1_700_000_000 * 10**9 + 123_456 * unit, V4, False),
            (2, 0xFFFFFFFF * 10**9 + 999_999 * unit, V6, True),
            (3, 0, None, False),
        ]


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda p: p.stem)
def test_captures_of_others(path):
    """Every capture of the vectors, against the tests' own small reader."""
    ips = [ip for _, _, ip, _ in read(str(path))]
    raw = ethernet_frames(path)
    assert len(ips) == len(raw)
    # ARP and the like are None, and nothing that starts like IP is.
    assert all(
        ip == frame if ip is not None else frame[0] >> 4 not in (4, 6) for ip, frame in zip(ips, raw, strict=True)
    )
    assert sum(ip is not None for ip in ips) > 5


def test_every_cut_names_the_frame_that_is_not_whole(tmp_path):
    data = classic([(1, 0, V4, None), (2, 0, V6, None), (3, 0, V4, None)])
    ends = [24, 24 + 16 + len(V4), 24 + 32 + len(V4) + len(V6), len(data)]
    for size in range(24, len(data)):
        path = write(tmp_path, data[:size])
        whole = sum(size >= end for end in ends[1:])
        frames, error = drain(path)
        if size in ends:
            assert error is None
        else:
            assert isinstance(error, CaptureCut)
            assert (error.where, error.frame) == (path, whole + 1)
            assert "capture is cut" in str(error)
        assert [f.time_ns // 10**9 for f in frames] == list(range(1, whole + 1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xd4", "neither pcap nor pcapng"),
        (
            b"src 192.0.2.1 dst",
            "neither pcap nor pcapng: it starts with 73726320, the text 'src ': is it a file of SAs",
        ),
        (b"\x00hello, no capture", "neither pcap nor pcapng: it starts with 0068656c$"),
        (b"\x1f\x8b\x08\x00abcdef", "gzip"),
        (classic([])[:10], "cut at byte 10: the file header"),
        (classic([], version=(2, 3)), "pcap version 2.3"),
        (classic([], version=(3, 0)), "pcap version 3.0"),
        (classic([], magic=0xA1B2CD34), "a1b2cd34"),
        (classic([], linktype=105), r"link type 105 \(IEEE 802.11\)"),
        (classic([], linktype=4242), "the capture has link type 4242, which"),
    ],
)
def test_what_is_refused_at_opening(tmp_path, data, words):
    path = write(tmp_path, data)
    with pytest.raises(InputError, match=words) as caught:
        open_capture(path)
    assert (caught.value.where, caught.value.frame) == (path, None)


def test_fcs_bits_above_the_link_type(tmp_path):
    path = write(tmp_path, classic([(1, 0, bytes(12) + b"\x08\x00" + V4, None)], linktype=4 << 28 | 1 << 26 | 1))
    assert [ip for _, _, ip, _ in read(path)] == [V4]


@pytest.mark.parametrize("length", [(16 << 20) + 1, 0xFFFFFFFF])
def test_an_absurd_record_is_damage_after_the_frames_before_it(tmp_path, length):
    data = classic([(1, 0, V4, None)]) + struct.pack("<IIII", 2, 0, length, length) + b"x" * 100
    with open_capture(write(tmp_path, data)) as reader:
        assert next(reader).ip == V4
        with pytest.raises(InputError, match=f"damaged.*a frame of {length} bytes") as caught:
            next(reader)
    assert caught.value.frame == 2
    assert not isinstance(caught.value, CaptureCut)


def test_a_lying_snaplen_and_a_captured_length_above_the_wire_s_are_let_pass(tmp_path):
    big = V4 + bytes(300_000)
    assert read(write(tmp_path, classic([(1, 0, big, 20)]))) == [(1, 10**9, big, False)]


def test_paths_that_cannot_be_read(tmp_path):
    for path, words in (
        (str(tmp_path / "none.pcap"), "No such file"),
        (str(tmp_path), "directory"),
        ("a\0b", "no file has such a name"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            open_capture(path)
        assert caught.value.where == path


def test_a_pipe(tmp_path):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    data = classic([(7, 0, V4, None)])

    def feed():
        with open(path, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    assert read(path) == [(1, 7 * 10**9, V4, False)]
    thread.join()


def test_memory_is_bounded(tmp_path):
    frame = struct.pack("<IIII", 1, 0, 1500, 1500) + V4 + bytes(1480)
    path = write(tmp_path, classic([]) + frame * 8000)
    tracemalloc.start()
    with open_capture(path) as reader:
        assert sum(1 for _ in reader) == 8000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < 8000 * 1516


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.sampled_from([b"", classic([]), classic([(1, 0, V4, None)], order=">"), classic([], linktype=1)]),
    rest=st.binary(max_size=200),
    cut=st.integers(0, 300),
)
def test_any_bytes_give_frames_or_an_input_error(tmp_path, start, rest, cut):
    path = write(tmp_path, (start + rest)[:cut])
    frames, error = drain(path)
    assert [f.number for f in frames] == list(range(1, len(frames) + 1))
    if error is not None:
        assert error.where == path
        assert "\n" not in str(error)
        assert not frames or error.frame == len(frames) + 1
