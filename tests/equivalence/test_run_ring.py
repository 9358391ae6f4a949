"""Several workers against the reference path, where order matters: ranges, windows around 2^32, what stops ranges."""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import struct
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run import ring as run_ring
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.workers import WorkerLost, shared_zeros
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.io import atomic
from espsim.io.batches import open_batches
from espsim.io.capture import CaptureWriter
from espsim.io.pcap import file_header, frame_header
from espsim.io.pcapng import packet_block, section_start
from espsim.reference.inbound import Inbound
from espsim.sad.association import ReplayState
from tests.equivalence.collecting import collect, cut
from tests.equivalence.inbound_traffic import WRAP, shown, state_of
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.fragments import fragments
from tests.support import Peer, engines_there, gcm_sa, ipv4, new_sad, udp

AROUND = [WRAP - 70, WRAP - 40, WRAP - 1, WRAP, WRAP + 5, 2 * WRAP - 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ring")


@pytest.fixture
def phases(monkeypatch):
    """How many ranges there were, each time."""
    found = []
    in_ranges = run_ring._First._in_ranges

    def spied(self):
        found.append(in_ranges(self))
        return found[-1]

    monkeypatch.setattr(run_ring._First, "_in_ranges", spied)
    return found


def some_sas(count=4, **facts):
    return [gcm_sa(spi=0x1000 + n, key_byte=n, **facts) for n in range(count)]


def written(path, packets):
    with CaptureWriter(str(path)) as writer:
        for n, packet in enumerate(packets):
            writer.write(packet, n * 10**7)
        writer.commit()
    return str(path)


@pytest.mark.parametrize("workers", [1, 2, 3])
@settings(deadline=None, max_examples=3 if UNJITTED else examples(6))
@given(
    starts=st.lists(st.sampled_from(AROUND), min_size=1, max_size=3), size=st.sampled_from([32, 64, 100]),
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(-90, 60), st.sampled_from("ggggfd")), min_size=60,
                   max_size=120),
    rows=st.sampled_from([1, 3, 10]), engine=st.sampled_from(engines_there()),
)  # fmt: skip
def test_windows_around_a_wrap_in_ranges(folder, workers, starts, size, steps, rows, engine):
    """ESN SAs just before and after 2^32: good, forged and duplicated numbers in any order, in small pieces."""
    sas = [
        gcm_sa(spi=0x2000 + n, key_byte=n, window=size, flags=frozenset({"esn"}),
               replay=ReplayState(start & (WRAP - 1), start >> 32))
        for n, start in enumerate(starts)
    ]  # fmt: skip
    numbers, packets = list(starts), []
    for which, step, harm in steps:
        n = which % len(sas)
        numbers[n] += max(step, 1) if step > 0 else 0
        packet = Peer(sas[n]).packet(max(numbers[n] + min(step, 0), 1), ipv4(udp(b"data")))
        packets += [packet[:-1] + bytes((packet[-1] ^ 1,)) if harm == "f" else packet] * (2 if harm == "d" else 1)
    path = written(folder / f"{workers}.pcap", packets)
    sad, other = (new_sad(*sas, keep_window=True) for _ in range(2))
    one = Inbound(sad)
    want = [shown(one.receive(packet, n / 100)) for n, packet in enumerate(packets)]
    lane = InboundLane(InboundPipeline(Inbound(other), engine))
    with pytest.MonkeyPatch.context() as patch, open_batches(path) as reader:
        cut(patch, rows)
        found = collect(reader, lane, workers, lambda piece: list(map(shown, lane.path.answers(piece.batch))))
    assert [answer for some in found for answer in some] == want
    assert state_of(other, list(other)) == state_of(sad, list(sad))


def test_a_file_is_handed_out_in_ranges(tmp_path, phases, monkeypatch):
    cut(monkeypatch, 10)
    sas = some_sas()
    path = written(tmp_path / "in.pcap", [Peer(sas[n % 4]).packet(n + 1, ipv4(bytes(40))) for n in range(200)])
    lane = InboundLane(InboundPipeline(Inbound(new_sad(*sas))))
    counts = InboundCounts(lane.entries, shared_zeros)

    def facts(piece):
        counts.count(piece.batch)
        return piece.frames.tolist()

    with open_batches(path) as reader:
        found = collect(reader, lane, 3, facts)
    assert [number for some in found for number in some] == list(range(1, 201))
    assert counts.stats().delivered == 200
    assert len(phases) == 1
    assert phases[0] > 20


def test_what_belongs_together_across_pieces_stops_ranges(tmp_path, phases, monkeypatch):
    """A fragmented packet among many others: the first process joins it, and ranges go on after it."""
    cut(monkeypatch, 4)
    sas = some_sas()
    packets = [Peer(sas[n % 4]).packet(n + 1, ipv4(bytes(40))) for n in range(200)]
    frames = [*packets[:90], *fragments(packets[90], [48]), *packets[91:]]
    path = written(tmp_path / "in.pcap", frames)
    sad = tmp_path / "sad"
    sad.write_text("".join(_line(n) for n in range(4)))
    told = _decap(path, sad, "--workers", "3")
    assert (told["delivered"], told["fragments"]) == (200, {"seen": 2, "datagrams": 1, "incomplete": 0})
    assert len([phase for phase in phases if phase]) >= 2


@pytest.mark.parametrize("limit", ["packet-hard 30", "time-hard 1"])
def test_an_sa_near_its_end_stops_ranges(tmp_path, monkeypatch, limit):
    cut(monkeypatch, 5)
    sas = some_sas()
    path = written(tmp_path / "in.pcap", [Peer(sas[n % 4]).packet(n + 1, ipv4(bytes(40))) for n in range(300)])
    sad = tmp_path / "sad"
    sad.write_text("".join(_line(n, f" limit {limit}" if n < 2 else "") for n in range(4)))
    want = _decap(path, sad, "--reference", "--verdicts", tmp_path / "v1")
    assert _decap(path, sad, "--workers", "3", "--verdicts", tmp_path / "v2") == want
    assert (tmp_path / "v1").read_bytes() == (tmp_path / "v2").read_bytes()
    assert "EXPIRED" in want["verdicts"] or "NO_SA" in want["verdicts"]


@pytest.mark.parametrize("way", ["pcap", "pcapng", "damaged", "late interface", "to a pipe"])
def test_outputs_are_the_same(tmp_path, monkeypatch, way):
    cut(monkeypatch, 5)
    sas = some_sas()
    packets = [Peer(sas[n % 4]).packet(n + 1, ipv4(bytes(n))) for n in range(200)]
    if way in ("pcap", "damaged", "to a pipe"):
        data = file_header(101, False) + b"".join(frame_header(n, len(p), False) + p for n, p in enumerate(packets))
    else:
        blocks = [packet_block(packet, n, False) for n, packet in enumerate(packets)]
        if way == "late interface":
            blocks[100] = struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20) + blocks[100]
            for n in range(101, 200):
                blocks[n] = blocks[n][:8] + struct.pack("<I", 1) + blocks[n][12:]
        data = section_start(101, False) + b"".join(blocks)
    path, sad = tmp_path / "in", tmp_path / "sad"
    path.write_bytes(data[:-9] if way == "damaged" else data)
    sad.write_text("".join(_line(n) for n in range(4)))
    outputs = []
    for options in (("--reference",), ("--workers", "1"), ("--workers", "2"), ("--workers", "3")):
        out = "-" if way == "to a pipe" else str(tmp_path / "out")
        args = ["decap", str(path), "-o", out, "--sad", str(sad), *options]
        done = CliRunner().invoke(main, args)
        outputs.append((str(done.exception), done.stdout_bytes if out == "-" else (tmp_path / "out").read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2] == outputs[3]
    assert len(outputs[0][1]) > 5000


@pytest.mark.parametrize("options", [("--secrets",), ("--esp-sa", "rows")])
def test_encap_writes_the_same(tmp_path, monkeypatch, options):
    """Numbers, and the epochs of an SA that crosses 2^32. Each run draws its own mask for IVs."""
    cut(monkeypatch, 5)
    path = written(tmp_path / "in.pcap", [ipv4(udp(bytes(n % 60), 5, 6)) for n in range(200)])
    sad = tmp_path / "sad"
    sad.write_text(_line(1).rstrip() + " flag esn replay-oseq 0xffffffc0\n")
    rows = []
    for workers in ("1", "2", "3"):
        words = ["encap", path, "-o", str(tmp_path / "out"), "--sad", str(sad), "--json", "--workers", workers]
        done = CliRunner().invoke(main, [*words, *(str(tmp_path / w) if w == "rows" else w for w in options)])
        assert done.exit_code == 0, done.exception
        back = _decap(tmp_path / "out", sad, "--keep-window") if options[0] != "--secrets" else None
        lines = (tmp_path / "rows").read_text() if options[0] != "--secrets" else ""
        rows.append((done.stdout, (tmp_path / "out").stat().st_size, back, lines))
    assert rows[0] == rows[1] == rows[2]


@pytest.fixture
def mapped(monkeypatch):
    """Any number of workers map the output, on any file system; a write at an offset fails."""

    def pwrite(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_ring, "MAPPING", 2)
    monkeypatch.setattr(atomic, "_in_memory", lambda _fd: True)
    monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.mark.parametrize("options", [(), ("--secrets",)])
def test_workers_that_map_the_output_write_the_same(tmp_path, monkeypatch, mapped, options):
    cut(monkeypatch, 5)
    clear = written(tmp_path / "clear.pcap", [ipv4(udp(bytes(n * 7 % 900), 5, 6)) for n in range(300)])
    sad, outs = tmp_path / "sad", []
    sad.write_text(_line(1))
    for workers in (1, 2, 3):
        esp, out = tmp_path / f"esp{workers}", tmp_path / f"out{workers}"
        for command, path, to, more in (("encap", clear, esp, options), ("decap", esp, out, ())):
            words = [command, str(path), "-o", str(to), "--sad", str(sad), "--workers", str(workers)]
            done = CliRunner().invoke(main, [*words, *more])
            assert done.exit_code == 0, done.exception
        outs.append((esp.stat().st_size, out.read_bytes()))
    assert outs[0] == outs[1] == outs[2]
    assert len(outs[0][1]) > 100_000


@pytest.mark.parametrize("command", ["decap", "encap"])
def test_no_room_for_an_output_that_workers_map(tmp_path, monkeypatch, mapped, command):
    class Full(mmap.mmap):
        def madvise(self, *_advice):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    cut(monkeypatch, 5)
    sas = some_sas()
    clear = ipv4(bytes(40))
    packets = [clear if command == "encap" else Peer(sas[0]).packet(n + 1, clear) for n in range(99)]
    path, sad, out = written(tmp_path / "in.pcap", packets), tmp_path / "sad", str(tmp_path / "out")
    sad.write_text(_line(0))
    monkeypatch.setattr(mmap, "mmap", Full)
    done = CliRunner().invoke(main, [command, path, "-o", out, "--sad", str(sad), "--workers", "2"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == f"{out}: cannot be written: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pcap", "sad"]


@pytest.mark.parametrize("model", ["marvell-cn10k-dpdk", "nvidia-mlx5-linux-packet"])
def test_a_device_gives_the_same_with_workers(tmp_path, monkeypatch, model):
    cut(monkeypatch, 5)
    sas = [*some_sas(), replace(gcm_sa(spi=0x1000, key_byte=7), dst=bytes((192, 0, 2, 9)))]
    packets = [Peer(sas[n % 5]).packet(n + 1, ipv4(bytes(40))) for n in range(250)]
    packets = [p[:-1] + bytes((p[-1] ^ 1,)) if n % 7 == 0 else p for n, p in enumerate(packets)]
    path, sad = written(tmp_path / "in.pcap", packets), tmp_path / "sad"
    sad.write_text("".join(_line(n) for n in range(4)) + _line(0, key=7).replace("192.0.2.2", "192.0.2.9"))
    told = []
    for options in (("--reference",), ("--workers", "1"), ("--workers", "3")):
        found = _decap(path, sad, "--model", model, "--verdicts", tmp_path / "v", *options)
        told.append((found, (tmp_path / "v").read_text()))
    assert told[0] == told[1] == told[2]
    assert sum(told[0][0]["device"].values()) == 250


def test_a_worker_that_is_killed_in_a_range(tmp_path, monkeypatch):
    cut(monkeypatch, 10)
    sas = some_sas()
    path = written(tmp_path / "in.pcap", [Peer(sas[n % 4]).packet(n + 1, ipv4(bytes(40))) for n in range(300)])

    def facts(piece):
        if piece.frames[0] > 150:
            os.kill(os.getpid(), signal.SIGKILL)

    lane = InboundLane(InboundPipeline(Inbound(new_sad(*sas))))
    with open_batches(path) as reader, pytest.raises(WorkerLost, match="was killed by signal 9 before its work"):
        collect(reader, lane, 3, facts)


def _line(n, rest="", key=None):
    key = bytes([n if key is None else key]).hex() * 20
    return (
        f"src 192.0.2.1 dst 192.0.2.2 proto esp spi {0x1000 + n} mode tunnel replay-window 64"
        f" aead rfc4106(gcm(aes)) 0x{key} 128{rest}\n"
    )


def _decap(path, sad, *options):
    """The result of decap, without its path and engine."""
    words = ["decap", str(path), "--sad", str(sad), "--json", *map(str, options)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0
    return {key: value for key, value in json.loads(done.stdout).items() if not key.startswith(("engine", "path"))}
