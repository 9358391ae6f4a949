"""Captures into batches and out of them, in the page cache, beside dpkt: `pytest bench/test_capture.py`.

dpkt only yields frames; ours are in columns for the batch path, with the IP packet found. Prints ratios
and asserts none: how fast a shared machine is on one day is no property of the code.
"""

from __future__ import annotations

import importlib.metadata
import struct
from pathlib import Path

import numpy as np
import pytest

from espsim.io.batches import BatchWriter, open_batches
from espsim.io.slots import FrameSlot
from espsim.measure.interleave import interleave, machine

SIZES = [(134, 1_000_000), (1494, 200_000)]
"""Bytes of an Ethernet frame (ESP in a tunnel around 64, and 1424), and how many."""
EPOCH = 1_700_000_000


def frame(size: int) -> bytes:
    """An IPv4 packet in Ethernet."""
    return bytes(12) + struct.pack("!HBBH", 0x0800, 0x45, 0, size - 14) + bytes(size - 18)


def write_capture(path: Path, form: str, size: int, count: int) -> None:
    """`count` equal frames as a pcap or a pcapng."""
    head, record = (
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1),
        struct.pack("<IIII", EPOCH, 5, size, size),
    )
    record += frame(size)
    if form == "pcapng":
        total, ticks = 32 + size + -size % 4, EPOCH * 1_000_000
        head = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        head += struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
        record = struct.pack("<IIIIIII", 6, total, 0, ticks >> 32, ticks & 0xFFFFFFFF, size, size) + frame(size)
        record += bytes(-size % 4) + struct.pack("<I", total)
    with path.open("wb") as file:
        file.write(head)
        for _ in range(count // 1000):
            file.write(record * 1000)


@pytest.mark.parametrize(("size", "count"), SIZES)
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_read(form: str, size: int, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dpkt = pytest.importorskip(f"dpkt.{form}", reason="dpkt is not installed (pip install dpkt)")
    path, slot = tmp_path / f"in.{form}", FrameSlot.of()
    write_capture(path, form, size, count)

    def ours() -> int:
        with open_batches(str(path)) as reader:
            while reader.read_into(slot):
                pass
            assert reader.frames == count
        assert slot.length[0] == size - 14
        return count

    def peer() -> int:
        with path.open("rb") as file:
            assert sum(1 for _ in dpkt.Reader(file)) == count
        return count

    report(capsys, f"reading a {form} of {count:,} frames of {size} bytes", interleave(ours, peer, rounds=7))
    path.unlink()


def test_write(tmp_path, capsys):
    dpkt = pytest.importorskip("dpkt.pcap", reason="dpkt is not installed (pip install dpkt)")
    size, rows, batches = 100, 2048, 100
    packet, path = frame(size), str(tmp_path / "out.pcap")
    arena = np.frombuffer(packet * rows, np.uint8)
    at, length = np.arange(rows, dtype=np.int64) * size, np.full(rows, size, np.int32)
    time_ns, keep = np.full(rows, EPOCH * 10**9, np.int64), np.ones(rows, np.uint8)

    def ours() -> int:
        with BatchWriter(path) as writer:
            for _ in range(batches):
                writer.write_rows(arena, at, length, time_ns, keep)
            writer.commit()
        return rows * batches

    def peer() -> int:
        with open(path, "wb") as file:
            writer = dpkt.Writer(file)
            for _ in range(rows * batches):
                writer.writepkt(packet, EPOCH)
        return rows * batches

    report(capsys, f"writing {rows * batches:,} frames of {size} bytes", interleave(ours, peer, rounds=7))


def report(capsys, what, ratio):
    with capsys.disabled():
        print(
            f"\n{what}: espsim {ratio.ours / 1e6:.1f} M/s, dpkt {importlib.metadata.version('dpkt')}"
            f" {ratio.peer / 1e6:.2f} M/s, ratio {ratio.median:.0f}x ({ratio.low:.0f} to {ratio.high:.0f}); {machine()}"
        )
