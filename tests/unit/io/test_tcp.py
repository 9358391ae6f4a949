"""ESP in TCP: streams put together and cut into messages, whatever the segments; what is held is bounded."""

from __future__ import annotations

import itertools
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.io import tcp as streams
from espsim.io.tcp import TcpStreams
from tests.support import ipv4, ipv6

SPI = 0x11110001
SYN, RST, ACK = 2, 4, 16


def esp(n, size=40):
    return struct.pack("!II", SPI, n) + random.Random(n).randbytes(size)


def message(data):
    return struct.pack("!H", len(data) + 2) + data


def segment(seq, data=b"", *, src="192.0.2.1", dst="192.0.2.2", ports=(40_000, 4500), flags=ACK, ack=0):
    body = struct.pack("!HHIIBBHHH", *ports, seq % 2**32, ack % 2**32, 5 << 4, flags, 100, 0, 0) + data
    return ipv6(body, src=src, dst=dst, next_header=6) if ":" in src else ipv4(body, src=src, dst=dst, proto=6)


def back(seq, data=b"", **facts):
    return segment(seq, data, **{"src": "192.0.2.2", "dst": "192.0.2.1", "ports": (4500, 40_000), **facts})


def packets_in(taken):
    """The ESP in packets that came out; their headers are the segment's."""
    for packet in taken:
        if packet[0] >> 4 == 4:
            assert packet == ipv4(packet[20:], src="192.0.2.1", dst="192.0.2.2", proto=50)
        else:
            assert packet == ipv6(packet[40:], src="2001:db8::1", dst="2001:db8::2", next_header=50)
    return [packet[20 if packet[0] >> 4 == 4 else 40 :] for packet in taken]


def run(segments, found=None, at=0.0):
    found = TcpStreams() if found is None else found
    return [one for packet in segments for one in packets_in(found.take(packet, round(at * 1e9)))]


PACKETS = [esp(n, 10 + 7 * n) for n in range(12)]
TEXT = b"IKETCP" + message(bytes(4) + b"IKE") + b"".join(map(message, PACKETS[:6])) + b"\0\3\xff" + b"".join(
    map(message, PACKETS[6:])
)  # fmt: skip


@settings(deadline=None)
@given(st.sets(st.integers(1, len(TEXT) - 1)), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False), st.data())
def test_any_segments_in_any_order(cuts, isn, shuffled, data):
    """Some come twice, some longer than they were; every message comes out once, in its order."""
    ends = [0, *sorted(cuts), len(TEXT)]
    parts = [(start, TEXT[start:end]) for start, end in itertools.pairwise(ends)]
    parts += data.draw(st.lists(st.sampled_from(parts), max_size=5))
    longer = data.draw(st.lists(st.integers(0, len(TEXT) - 1), max_size=3))
    parts += [(start, TEXT[start : start + 60]) for start in longer]
    if data.draw(st.booleans()):
        shuffled.shuffle(parts)
    segments = [segment(isn, flags=SYN)] + [segment(isn + 1 + start, part) for start, part in parts]
    found = TcpStreams()
    assert run(segments, found) == PACKETS
    (stream,) = found._streams.values()
    assert found._memory == stream.memory
    assert not stream._waiting
    assert not stream._data


def test_ipv6_and_both_directions():
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"}
    assert run([segment(1, flags=SYN, **ends), segment(2, TEXT, **ends)]) == PACKETS
    found = TcpStreams()
    assert run([segment(9, flags=SYN), segment(10, TEXT)], found) == PACKETS
    taken = [found.take(packet, 0) for packet in (back(5, flags=SYN | ACK), back(6, message(esp(1))))]
    assert [packet[20:] for packet in taken[1]] == [esp(1)]
    assert taken[1][0][12:20] == parse_address("192.0.2.2") + parse_address("192.0.2.1")


def test_other_ports_are_looked_at_where_the_stream_begins_with_iketcp():
    web = {"ports": (40_000, 443)}
    assert run([segment(1, flags=SYN, **web), segment(2, message(esp(1)), **web)]) == []
    found = TcpStreams()
    assert run([segment(1, flags=SYN, **web), segment(2, TEXT, **web)], found) == PACKETS
    assert found.marked[443]
    answer = found.take(back(77, message(esp(2)), ports=(443, 40_000)), 0)
    assert [packet[20:] for packet in answer] == [esp(2)]
    assert found.take(back(77, message(esp(2)), ports=(443, 40_001)), 0) == []  # another connection of that port
    assert run([segment(1, message(esp(1)), ports=(9, 10_000))], TcpStreams({10_000})) == [esp(1)]


def test_a_gap_that_is_filled_is_waited_for():
    one, two = message(esp(1)), message(esp(2))
    start = [segment(1, flags=SYN), segment(2, one[:20])]
    assert run([*start, segment(2 + len(one), two), segment(22, one[20:])]) == [esp(1), esp(2)]


@pytest.mark.parametrize("how", ["acknowledged", "time", "bytes", "far"])
def test_a_gap_that_is_never_filled(how, monkeypatch):
    """The message with the hole is lost, and those after it are found by where a segment ends, or by their SPI."""
    monkeypatch.setattr(streams, "MOST_WAITING", 3000)
    one, two, three = (message(esp(n, 800)) for n in (1, 2, 3))
    for spis, split in (((), False), ((SPI,), True)):
        found = TcpStreams(spis=spis)
        far = 1 << 25 if how == "far" else 0
        text = three + two + three
        parts = [text[:500], text[500:]] if split else [text]
        assert run([segment(1, flags=SYN), segment(2, one)], found) == [esp(1, 800)]
        at = 2 + len(one) + 900 + far  # 900 bytes are missing
        taken = []
        for n, part in enumerate(parts):
            if how == "acknowledged":
                run([back(1, ack=at + len(text))], found)
            taken += run([segment(at, part)], found, at=n * 11 if how == "time" else 0)
            at += len(part)
        for n in range(4):  # more, so that the bytes that wait become too many
            taken += run([segment(at, message(esp(10 + n, 900)))], found, at=12 if how == "time" else 0)
            at += 910
        assert taken == [esp(3, 800), esp(2, 800), esp(3, 800), *(esp(10 + n, 900) for n in range(4))]


def test_a_capture_that_begins_in_the_middle():
    """Without SPIs the first segment with whole messages is taken; with them, a message anywhere."""
    text = b"".join(map(message, PACKETS))
    middle = [segment(1, text[5:100]), segment(96, text[100:])]
    assert run([*middle, segment(96 + len(text) - 100, message(esp(50)) + message(esp(51)))]) == [esp(50), esp(51)]
    assert run(middle, TcpStreams(spis=[SPI])) == PACKETS[1:]


@pytest.mark.parametrize("length", [0, 1, 2, 4, 5])
def test_a_length_that_cannot_be(length):
    """Linux ends the stream; here what follows in that segment is lost, and the next one is looked at anew."""
    good = message(esp(1))
    start = [segment(1, flags=SYN), segment(2, good + length.to_bytes(2) + b"abc" + good)]
    after = 2 + 2 * len(good) + 5
    assert run([*start, segment(after, message(esp(2)))]) == [esp(1), esp(2)]


def test_a_length_that_promises_more_than_comes():
    found = TcpStreams()
    assert run([segment(1, flags=SYN), segment(2, b"\xff\xff" + b"x" * 60_000)], found) == []
    (stream,) = found._streams.values()
    assert stream.memory < 61_000
    assert run([segment(2 + 60_002, b"x" * 10_000)], found) == []  # longer than an IPv4 packet can be


def test_a_new_connection_of_the_same_ports():
    found = TcpStreams()
    assert run([segment(1, flags=SYN), segment(2, message(esp(1))[:9])], found) == []
    assert run([segment(1, flags=SYN), segment(11, message(esp(1))[9:])], found) == [esp(1)]  # its SYN again
    assert run([segment(7000, flags=SYN), segment(7001, message(esp(2)))], found) == [esp(2)]
    run([segment(9000, flags=RST)], found)
    assert not found._streams


@settings(deadline=None)
@given(st.binary(max_size=90), st.integers(0, 1))
def test_any_bytes(data, kind):
    packet = ipv6(data, next_header=6) if kind else ipv4(data, proto=6)
    TcpStreams(spis=[SPI]).take(packet, 0)
    TcpStreams().take(data, 0)
    TcpStreams().take(segment(5, data)[: 20 + len(data)], 0)


def test_streams_are_bounded(monkeypatch):
    """Many streams, streams that wait at gaps, and long messages that never end."""
    monkeypatch.setattr(streams, "MOST_MEMORY", 1 << 18)
    monkeypatch.setattr(streams, "MOST_STREAMS", 300)
    monkeypatch.setattr(streams, "MOST_WAITING", 1 << 14)
    found = TcpStreams()
    tracemalloc.start()
    for n in range(3000):
        ports = (10_000 + n // 3, 4500)
        for part in (
            segment(1, flags=SYN, ports=ports),
            segment(2 + n % 3 * 900, b"\xff\xf0" + bytes(800), ports=ports),
        ):
            found.take(part, 0)
            assert len(found._streams) <= 300
            assert found._memory <= 1 << 18
        if n % 10 == 0:
            assert found._memory == sum(one.memory for one in found._streams.values())
    for n in range(2000):
        found.take(segment(5 + 2 * n, b"x", ports=(9, 4500)), 0)
        assert found._memory <= 1 << 18
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
