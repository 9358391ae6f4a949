"""Thousands of blocks without a frame: the plain code looks at only a few, and memory stays small.

Its steps are counted, because times depend on the machine.
"""

from __future__ import annotations

import struct

import pytest

from espsim.io.batches import BatchReader, open_batches
from espsim.io.capture import open_capture
from espsim.io.pcapng import Pcapng, interface_of
from espsim.io.slots import FrameSlot

MANY = 20_000
V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")


def block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = block(1, struct.pack("<HHI", 101, 0, 0))
FINE = block(1, struct.pack("<HHIHHBxxx", 101, 0, 0, 9, 1, 9))
ENHANCED = block(6, struct.pack("<IIIII", 0, 1, 5, 20, 20) + V4)
SIMPLE = block(3, struct.pack("<I", 20) + V4)
OBSOLETE = block(2, struct.pack("<HHIIII", 0, 0, 1, 5, 20, 20) + V4)
CAPTURES = {
    "unknown": SECTION + INTERFACE + block(0xBAD, b"") * MANY + ENHANCED,
    "unknown and packets": SECTION + INTERFACE + (block(0xBAD, bytes(40)) + ENHANCED) * MANY,
    "sections": SECTION * MANY + INTERFACE + ENHANCED,
    "interfaces": SECTION + INTERFACE * MANY + ENHANCED,
    "a fine clock at last": SECTION + INTERFACE * MANY + FINE + ENHANCED,
    "all in turn": (SECTION + INTERFACE + ENHANCED + block(5, bytes(99)) + SIMPLE + OBSOLETE) * (MANY // 4),
}


@pytest.mark.parametrize("name", CAPTURES)
def test_the_plain_code_sees_few_blocks(tmp_path, monkeypatch, name):
    path = tmp_path / "in.pcapng"
    path.write_bytes(CAPTURES[name])
    with open_capture(str(path)) as reader:
        fine, frames = reader.nanosecond, [(frame.time_ns, frame.ip) for frame in reader]

    steps = {"plain": 0, "interfaces": 0}
    plain, interface = BatchReader._plain, Pcapng._interface

    def counted_plain(self, to):
        steps["plain"] += 1
        return plain(self, to)

    def counted_interface(self, body):
        steps["interfaces"] += 1
        return interface(self, body)

    monkeypatch.setattr(BatchReader, "_plain", counted_plain)
    monkeypatch.setattr(Pcapng, "_interface", counted_interface)
    slot, found = FrameSlot.of(), []
    with open_batches(str(path)) as batches:
        assert batches.nanosecond == fine
        while rows := batches.read_into(slot):
            for at, size, time in zip(slot.offset[:rows], slot.length[:rows], slot.time_ns[:rows], strict=True):
                found.append((int(time), slot.arena[at : at + size].tobytes()))
    assert found == frames
    # One a doubling of the columns of interfaces, one a piece that ends within a block, one at the end.
    assert steps["plain"] < 60
    assert steps["interfaces"] < 60


def test_equal_interfaces_are_one_object():
    assert interface_of(101, 0, 10**6, 0) is interface_of(101, 0, 10**6, 0)
    assert interface_of(101, 0, 10**6, 0) != interface_of(101, 0, 10**6, 1)
