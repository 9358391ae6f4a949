"""Reading a capture into batches, from the page cache, beside dpkt's reader."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import itertools
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from espsim.io.batches import open_batches
from espsim.io.slots import FrameSlot
from espsim.measure.cases import BenchCase, BenchGroup, Clocked, ready
from espsim.measure.peers import BenchPeer, Unavailable

PACKETS = 1_000_000
SIZE = 120
"""Bytes of a frame: ESP in tunnel mode around 64 bytes."""
_RAW_IP = 101
_EPOCH = 1_700_000_000


def pcap_header() -> bytes:
    """The file header of a classic pcap of raw IP, microseconds."""
    return struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP)


def write_pcap(path: Path, packets: int) -> None:
    """Write a classic pcap of IPv4 packets, raw IP, a microsecond apart."""
    head = [(name, "<u4") for name in ("seconds", "fraction", "kept", "length")]
    kind = np.dtype([*head, ("frame", "u1", SIZE)])
    records = np.zeros(packets, kind)
    when = np.arange(packets)
    records["seconds"], records["fraction"] = _EPOCH + when // 1_000_000, when % 1_000_000
    records["kept"] = records["length"] = SIZE
    records["frame"][:, :4] = np.frombuffer(struct.pack("!BBH", 0x45, 0, SIZE), np.uint8)
    with path.open("wb") as file:
        file.write(pcap_header())
        records.tofile(file)


def capture_groups(peers: bool, *, quick: bool) -> Iterator[BenchGroup]:
    """One group with one case, `read`. The file is deleted afterwards. `quick`: dpkt reads a part of it."""
    with tempfile.TemporaryDirectory(prefix="espsim-bench-") as folder:
        path = Path(folder, "packets.pcap")
        write_pcap(path, PACKETS)
        slot = FrameSlot.of()

        def work() -> int:
            with open_batches(str(path)) as reader:
                while reader.read_into(slot):
                    pass
                return reader.frames

        case = ready(lambda: BenchCase("capture", "read", None, Clocked(work), size=SIZE))
        case.extra["packets"] = PACKETS
        if peers:
            case.against(functools.partial(_dpkt, path, PACKETS // 5 if quick else PACKETS))
        yield BenchGroup([case])


def _dpkt(path: Path, packets: int) -> BenchPeer:
    try:
        reader, version = importlib.import_module("dpkt.pcap").Reader, importlib.metadata.version("dpkt")
    except ImportError:
        raise Unavailable("dpkt is not installed (pip install dpkt)") from None

    def run() -> float:
        start = time.perf_counter()
        with path.open("rb") as file:
            done = sum(1 for _ in itertools.islice(reader(file), packets))
        return done / (time.perf_counter() - start) / 1e6

    return BenchPeer("dpkt", run, f"dpkt {version}, pcap.Reader over {packets:,} packets, nothing done with them")
