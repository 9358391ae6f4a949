"""Ranges of any size have the same frames as reading the capture; the plain code reads what is unusual."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.io import ranges
from espsim.io.batches import open_batches
from espsim.io.pcap import file_header, frame_header
from espsim.io.pcapng import packet_block, section_start
from espsim.io.slots import FrameSlot
from tests.examples import examples
from tests.support import ipv4

PACKETS = st.lists(st.integers(0, 2000), max_size=30)


def row_of(slot, row):
    at, length = int(slot.offset[row]), int(slot.length[row])
    facts = (slot.time_ns[row], slot.link[row], slot.frame[row], slot.captured[row], slot.wire[row])
    return slot.arena[at : at + length].tobytes(), *map(int, facts)


def read(reader, slot):
    """The rest, and the error at its end."""
    found = []
    try:
        while rows := reader.read_into(slot):
            found += [row_of(slot, row) for row in range(rows)]
    except InputError as error:
        return found, str(error)
    return found, None


def in_ranges(path, size, first):
    """The first rows by the reader, then ranges, then the rest by the reader."""
    with pytest.MonkeyPatch.context() as patch, open_batches(path) as reader:
        patch.setattr(ranges, "SIZE", size)
        found, slot = [], FrameSlot.of(first)
        found += [row_of(slot, row) for row in range(reader.read_into(slot))]
        parts = reader.ranges(np.zeros)
        assert parts is not None
        assert reader.begin(parts)
        for number in range(10**6):
            parts.load(number)
            rows = parts.find()
            if rows is None:
                break
            if not all(parts.fill(n, min(n + 3, rows)) for n in range(0, rows, 3)):
                parts.back()
                break
            found += [row_of(parts.slot, row) for row in range(rows)]
        reader.resume(parts)
        rest, error = read(reader, FrameSlot.of(64))
        return found + rest, error


@settings(deadline=None, max_examples=examples(60))
@given(
    lengths=PACKETS, ng=st.booleans(), size=st.sampled_from([32, 100, 1000, 70_000]), first=st.integers(1, 3),
    harm=st.sampled_from([""] * 4 + ["cut", "long", "interfaces", "section", "unsupported"]), place=st.integers(0, 29),
)  # fmt: skip
def test_the_same_frames(tmp_path_factory, lengths, ng, size, first, harm, place):
    packets = [ipv4(bytes(length)) for length in lengths]
    if ng:
        parts = [section_start(101, False), *(packet_block(p, n * 1000, False) for n, p in enumerate(packets))]
        other = {
            "interfaces": struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20), "section": section_start(228, True),
            "unsupported": struct.pack("<IIHHII", 1, 20, 147, 0, 0, 20), "long": packet_block(bytes(200_000), 1, False),
        }  # fmt: skip
    else:
        parts = [file_header(101, False)]
        parts += [frame_header(n * 1000, len(p), False) + p for n, p in enumerate(packets)]
        other = {"long": frame_header(1, 200_000, False) + bytes(200_000)}
    parts.insert(1 + place % len(parts), other.get(harm, b""))
    data = b"".join(parts)
    path = tmp_path_factory.mktemp("ranges") / "in"
    path.write_bytes(data[:-3] if harm == "cut" and len(data) > 100 else data)
    with open_batches(str(path)) as reader:
        want = read(reader, FrameSlot.of(64))
    if want[0]:
        assert in_ranges(str(path), size, first) == want


def test_a_pipe_has_none(tmp_path, monkeypatch):
    path = tmp_path / "in.pcap"
    path.write_bytes(file_header(101, False))
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", file)
        with open_batches("-") as reader:
            assert reader.ranges(np.zeros) is None
            assert reader.left() == 0
