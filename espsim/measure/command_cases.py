"""The commands themselves: `espsim decap` and `encap` of a capture in memory, by workers, beside `cp` of the same file.

The time is that of a process, less the time of the same command line on a capture of a few packets in the same round.
So it has reading, parsing, opening or sealing, counting and writing, but not the start of Python, the loading of
kernels and the forking of workers. `cpu_ns` is the CPU time a packet of all its processes, measured in the same way; it
says what workers cost where other programs take the cores away.
"""

from __future__ import annotations

import functools
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espsim.aead.batch import BatchEngine
from espsim.batch.run.workers import cores
from espsim.measure.capture_cases import pcap_header
from espsim.measure.cases import BenchCase, BenchGroup, engine_facts, ready
from espsim.measure.peers import BenchPeer, Unavailable
from espsim.measure.traffic import Size

SAS = 100
PACKETS, FEW_PACKETS = 3_000_000, 500_000
_TINY = 2 * SAS
_MOST_BYTES, _FEW_BYTES = 480 << 20, 96 << 20
_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps files in memory; ours lie in a folder of their own
_LINE = (
    "ip xfrm state add src 198.18.0.1 dst 198.18.1.{n} proto esp spi {spi:#x} mode tunnel replay-window 64 flag esn"
    " aead 'rfc4106(gcm(aes))' 0x{key} 128 sel src 0.0.0.0/0 dst 198.19.0.{n}/32\n"
)


@dataclass(frozen=True, slots=True)
class Captures:
    """A folder with SAs, and with clear and sealed captures: one of `packets` packets of `size` bytes, one of a few."""

    folder: Path
    size: int
    packets: int

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return self.folder / name

    def seconds(self, command: str, which: str, *options: str) -> tuple[float, float]:
        """How long the command takes on one of the captures, and its CPU time. Its output is deleted."""
        source = {"decap": f"sealed-{which}", "encap": f"clear-{which}"}[command]
        out = self.path("out")
        start, used = time.perf_counter(), _used()
        _espsim(command, self.path(source), "--sad", self.path("sad"), "-o", out, "--json", "--batch", *options)
        spent = time.perf_counter() - start, _used() - used
        out.unlink(missing_ok=True)
        return spent


def make(folder: Path, size: int, packets: int, seed: int) -> Captures:
    """Write the files. Raises Unavailable where they can't be made."""
    of, rng = Captures(folder, size, packets), np.random.default_rng(seed)
    of.path("sad").write_text(
        "".join(_LINE.format(n=n + 1, spi=0x1000 + n, key=rng.bytes(20).hex()) for n in range(SAS))
    )
    for which, count in (("many", packets), ("few", _TINY)):
        _clear(of.path(f"clear-{which}"), size, count)
        _espsim(
            "encap", of.path(f"clear-{which}"), "--sad", of.path("sad"), "-o", of.path(f"sealed-{which}"), "--batch"
        )
    return of


def _used() -> float:
    """Seconds of CPU that ended processes of this one have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _espsim(command: str, *words: str | Path) -> None:
    """Run a command. Raises Unavailable where it fails."""
    line = [sys.executable, "-m", "espsim", command, *map(str, words)]
    done = subprocess.run(line, capture_output=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command}: {done.stderr.decode(errors='replace').strip()[-200:]}")


def _clear(path: Path, size: int, packets: int) -> None:
    """Write UDP in IPv4, raw IP, a microsecond apart, to the selectors of all SAs in turn."""
    one = np.zeros((SAS, size), np.uint8)
    for n in range(SAS):
        header = bytearray(20)
        header[0], header[8], header[9] = 0x45, 64, 17
        header[2:4], header[12:16], header[16:20] = size.to_bytes(2), bytes((198, 19, 1, 1)), bytes((198, 19, 0, n + 1))
        total = sum(int.from_bytes(header[at : at + 2]) for at in range(0, 20, 2))
        header[10:12] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2)
        one[n, :20] = np.frombuffer(bytes(header), np.uint8)
        one[n, 24:26] = (size - 20) >> 8, (size - 20) & 0xFF
    kind = np.dtype([*((name, "<u4") for name in ("seconds", "fraction", "kept", "length")), ("frame", "u1", (size,))])
    with path.open("wb") as file:
        file.write(pcap_header())
        for first in range(0, packets, 1 << 18):
            when = np.arange(first, min(first + (1 << 18), packets))
            records = np.zeros(len(when), kind)
            records["seconds"], records["fraction"] = when // 1_000_000 + 1, when % 1_000_000
            records["kept"] = records["length"] = size
            records["frame"] = one[when % SAS]
            records.tofile(file)


def command_groups(
    sizes: list[Size], workers: list[int], engine: BatchEngine, *, seed: int, peers: bool, quick: bool
) -> Iterator[BenchGroup]:
    """One group for each size and direction: every number of workers; the first one is the peer of the others."""
    for size in (size for size in sizes if isinstance(size, int)):
        room = min(_FEW_BYTES if quick else _MOST_BYTES, _free() // 5)
        packets = min(FEW_PACKETS if quick else PACKETS, room // (size + 16))
        if packets < 10 * _TINY:
            yield BenchGroup([], [f"command: no room in memory for captures of {size} B"])
            continue
        with tempfile.TemporaryDirectory(prefix="espsim-bench-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            try:
                of = make(Path(folder), size, packets, seed)
            except Unavailable as reason:
                yield BenchGroup([], [str(reason)])
                continue
            for command in ("decap", "encap"):
                yield _group(of, command, workers, engine, peers=peers)


def _group(of: Captures, command: str, workers: list[int], engine: BatchEngine, *, peers: bool) -> BenchGroup:
    cases = []
    for count in workers:
        cpu: list[float] = []
        once = functools.partial(_once, of, command, count, cpu)
        case = BenchCase("command", command, SAS, once, of.size, engine.name, workers=count, warms=False)
        case.close = functools.partial(_note_cpu, case, cpu)
        case.extra |= {"packets": of.packets, **engine_facts(engine)}
        cases.append(ready(functools.partial(_same, case)))
    for case in cases[1:]:
        case.peers.append(cases[0].as_peer(f"{workers[0]} worker" if workers[0] == 1 else f"{workers[0]} workers"))
    if peers:
        copy = _copy(of, command)
        for case in cases:
            case.peers.append(copy)
    return BenchGroup(cases)


def _same(case: BenchCase) -> BenchCase:
    return case


def _once(of: Captures, command: str, workers: int, cpu: list[float]) -> tuple[int, float]:
    """Packets, and the seconds that they took, less those of a few packets. `cpu` gets the CPU time a packet, in ns."""
    packets = of.packets - _TINY
    few, little = of.seconds(command, "few", "--workers", str(workers))
    many, much = of.seconds(command, "many", "--workers", str(workers))
    cpu.append((much - little) / packets * 1e9)
    return packets, max(many - few, 1e-3)


def _note_cpu(case: BenchCase, cpu: list[float]) -> None:
    case.extra["cpu_ns"] = round(statistics.median(cpu), 1)


def _copy(of: Captures, command: str) -> BenchPeer:
    source = of.path("sealed-many" if command == "decap" else "clear-many")

    def run() -> float:
        copied = of.path("copied")
        start = time.perf_counter()
        done = subprocess.run(["cp", source, copied], check=False)
        spent = time.perf_counter() - start
        copied.unlink(missing_ok=True)
        if done.returncode:
            raise Unavailable("cp: it failed")
        return of.packets / spent / 1e6

    return BenchPeer("cp", run, "cp of the capture, in memory too")


def _free() -> int:
    """Bytes free for files in memory."""
    return shutil.disk_usage(_MEMORY if _MEMORY.is_dir() else tempfile.gettempdir()).free


def powers_of_two() -> list[int]:
    """1, 2, 4, ... up to the number of usable cores, and that number."""
    many = cores()
    return sorted({many, *(1 << n for n in range(many.bit_length()) if 1 << n <= many)})
