"""The batch path inbound, stage by stage: AES-128-GCM, 100 SAs: `pytest bench/test_pipeline.py -n0 -s`.

Batches of 1024 packets. Prints nanoseconds a packet and asserts no time: how fast a shared machine is on one day is no
property of the code.
"""

from __future__ import annotations

import random
import statistics
import time

import numpy as np
import pytest

from bench.interleave import machine
from espsim.aead.batch import SlotKeys
from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engines import AUTO, engine_by_name
from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.batch import PacketBatch
from espsim.pipeline.inbound import STAGES, BatchInbound
from espsim.reference.inbound import Inbound
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.sad import Sad
from espsim.wire import esp, ipv4

SAS, ROWS, BATCH, ROUNDS = 100, 4096, 1024, 60
SIZES = (64, 256, 1024, 1424)
OVERHEAD = ipv4.HEADER_LENGTH + 8 + 8 + 2 + 16  # outer header, ESP, IV, trailer, ICV


def tunnel_sad(rng: random.Random, sas: int) -> Sad:
    """AES-128-GCM tunnels with a window of 64 to one destination."""
    sad = Sad(CryptographyEngine())
    src, dst = parse_address("192.0.2.1"), parse_address("192.0.2.2")
    for n in range(sas):
        keys = (Algorithm("aead", "rfc4106(gcm(aes))", rng.randbytes(20), 128),)
        sad.newsa(SecurityAssociation(src, dst, 0x1000 + n, mode=Mode.TUNNEL, window=64, algorithms=keys))
    return sad


def sealed_batches(sad: Sad, size: int, rows: int, rng: random.Random) -> list[PacketBatch]:
    """Good packets, each around an IPv4 packet of `size` bytes (padded to whole words), of the SAs in random order."""
    inner = -(-(size + 2) // 4) * 4 - 2
    clear = ipv4.emit(
        tos=0, payload_length=inner - 20, ident=0, flags=ipv4.DF, ttl=64, proto=17,
        src=parse_address("10.1.0.1"), dst=parse_address("10.2.0.1"),
    ) + bytes(inner - 20) + bytes((0, ipv4.PROTO_IPIP))  # fmt: skip
    entries = list(sad)
    numbers = dict.fromkeys(range(len(entries)), 0)
    slot = np.array([rng.randrange(len(entries)) for _ in range(rows)], np.int32)
    packets = []
    for n in slot.tolist():
        sa = entries[n].sa
        numbers[n] += 1
        outer = ipv4.emit(
            tos=0, payload_length=inner + OVERHEAD - 20, ident=0, flags=0, ttl=64, proto=esp.PROTO_ESP,
            src=sa.src, dst=sa.dst,
        )  # fmt: skip
        packets.append(outer + esp.emit(sa.spi, numbers[n]) + numbers[n].to_bytes(8) + clear + bytes(16))
    batch = PacketBatch.of(packets)
    keys = [SlotKeys(e.sa.keys) if e.sa.keys else None for e in entries]
    result = np.full(rows, 255, np.uint8)
    starts = batch.offset + ipv4.HEADER_LENGTH
    ends = batch.offset + batch.length
    engine_by_name(AUTO).sealer(keys).seal(batch.arena, starts, ends, slot, np.zeros(rows, np.uint64), result)
    assert not result.any()
    packets = [batch.packet(row) for row in range(rows)]
    return [PacketBatch.of(packets[at : at + BATCH]) for at in range(0, rows, BATCH)]


@pytest.mark.parametrize("size", SIZES)
def test_inbound_by_stage(size, capsys):
    report(capsys, *by_stage(size, SAS, ROWS))


@pytest.mark.parametrize("sas", [1, 100_000])
def test_inbound_with_few_and_many_sas(sas, capsys):
    report(capsys, *by_stage(64, sas, max(ROWS, min(sas, 32768))))


def by_stage(size: int, sas: int, rows: int) -> tuple[str, dict[str, float]]:
    """What was run, and nanoseconds a packet by stage (medians)."""
    rng = random.Random(4303)
    sad = tunnel_sad(rng, sas)
    batches = sealed_batches(sad, size, rows, rng)
    path = BatchInbound(Inbound(sad))
    arenas, windows = [batch.arena.copy() for batch in batches], path.columns.bits.copy()
    spent: dict[str, list[float]] = {stage.__name__: [] for stage, _ in STAGES}
    for _ in range(ROUNDS):
        path.columns.bits[:] = windows
        took = dict.fromkeys(spent, 0)
        for batch, arena in zip(batches, arenas, strict=True):
            batch.arena[:] = arena
            for stage, _writes in STAGES:
                start = time.perf_counter_ns()
                stage(batch, path.columns)
                took[stage.__name__] += time.perf_counter_ns() - start
            assert not batch.verdict.any()
        for name, ns in took.items():
            spent[name].append(ns / rows)
    medians = {name: statistics.median(times[5:]) for name, times in spent.items()}
    return f"inbound, AES-128-GCM, {size} bytes, {sas:,} SAs", medians


def report(capsys: pytest.CaptureFixture[str], what: str, medians: dict[str, float]) -> None:
    total = sum(medians.values())
    with capsys.disabled():
        print(
            f"\n{what}: {total:.0f} ns a packet ({1e3 / total:.2f} M/s),"
            f" {total - medians['open_rows']:.0f} around the engine;",
            ", ".join(f"{name} {ns:.1f}" for name, ns in medians.items()),
            f"; {machine()}",
        )
