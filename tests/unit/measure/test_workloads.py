"""The benchmarks' workloads: columns of arrays equal those of objects, packets are good, and cycles have a source."""

from __future__ import annotations

import random

import numpy as np
import pytest

from espsim.aead.batch import SlotKeys
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.suites import Algorithm
from espsim.batch.inbound.columns import InboundColumns
from espsim.batch.outbound.columns import OutboundColumns
from espsim.core.inbound_batch import InboundBatch
from espsim.core.verdict import Verdict
from espsim.measure.cases import BenchCase, BenchGroup, Clocked
from espsim.measure.clock import clock
from espsim.measure.inbound_work import InboundWork
from espsim.measure.keys import keys
from espsim.measure.outbound_work import OutboundWork, out_columns_for
from espsim.measure.peers import BenchPeer, Unavailable
from espsim.measure.spi_tables import fill
from espsim.measure.traffic import IMIX, clear_chunks, mean_size, sealed_chunks, sizes_of
from espsim.measure.tunnels import SOURCE, columns_for, slots_for
from espsim.reference.inbound import Inbound
from espsim.sad.association import Mode, SecurityAssociation, Selector
from espsim.sad.sad import Sad

SAS = 37
FLAGS = {False: frozenset[str](), True: frozenset({"esn"})}


@pytest.fixture(scope="module")
def tunnels():
    rng = np.random.default_rng(5)
    of = keys(SAS, hit=0.8, packets=300, seed=5)
    return of, slots_for(SAS, rng), rng


def sad_of(of, slots, *, selectors=False, window=64) -> Sad:
    sad = Sad()
    for (spi, daddr), slot in zip(zip(of.spi.tolist(), of.daddr[:, 1].tolist(), strict=True), slots, strict=True):
        key = (Algorithm("aead", "rfc4106(gcm(aes))", slot.keys.key + slot.keys.salt, 128),)
        selector = Selector(dst=spi.to_bytes(4), dst_prefix=32) if selectors else Selector()
        sad.newsa(
            SecurityAssociation(
                SOURCE,
                daddr.to_bytes(4),
                spi,
                mode=Mode.TUNNEL,
                window=window,
                flags=FLAGS[slot.esn],
                algorithms=key,
                selector=selector,
            )
        )
    return sad


def same(ours, theirs, names):
    for name in names:
        one, other = getattr(ours, name), getattr(theirs, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert np.array_equal(one, other), name


def test_inbound_columns_are_those_of_a_sad(tunnels):
    of, slots, _ = tunnels
    names = ("standing", "form", "extent", "table4", "table6", "chain", "shape", "bits", "counts", "ports")
    same(columns_for(of, slots, CryptographyBatch()), InboundColumns.of(sad_of(of, slots), CryptographyBatch()), names)


@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("window", [64, 1024])
def test_windows_and_esn_are_those_of_a_sad(tunnels, window, esn):
    of, slots, rng = tunnels
    slots, engine = [SlotKeys(slot.keys, esn) for slot in slots], CryptographyBatch()
    sad = sad_of(of, slots, selectors=True, window=window)
    same(columns_for(of, slots, engine, window), InboundColumns.of(sad, engine), ("shape", "bits"))
    out = OutboundColumns.of(sad, engine, random.Random(1).randbytes, {})
    same(out_columns_for(of, slots, engine, rng), out, ("counts",))


def test_outbound_columns_are_those_of_a_sad(tunnels):
    of, slots, rng = tunnels
    ours = out_columns_for(of, slots, CryptographyBatch(), rng)
    masks = {n: int(ours.facts[n, 6]) & 0xFFFFFFFFFFFFFFFF for n in range(SAS)}
    sad = sad_of(of, slots, selectors=True)
    theirs = OutboundColumns.of(sad, CryptographyBatch(), random.Random(1).randbytes, dict(enumerate(masks.values())))
    same(ours, theirs, ("standing", "groups", "table", "facts", "counts"))


@pytest.mark.parametrize("size", [28, 64, 65, 66, 67, "imix"])
def test_the_reference_path_opens_the_packets(tunnels, size):
    of, slots, rng = tunnels
    sizes = sizes_of(size, 300, rng)
    inbound = Inbound(sad_of(of, slots))
    row = 0
    for chunk in sealed_chunks(of, slots, sizes, CryptographyBatch(), batch=128):
        rows = len(chunk.offset)
        batch = InboundBatch(chunk.arena, chunk.offset, chunk.length, np.zeros(rows), np.zeros(rows, np.uint32))
        for n in range(rows):
            found = inbound.receive(batch.packet(n))
            assert found is not None
            sa = int(of.pick[row])
            assert found.verdict is (Verdict.DELIVERED if sa >= 0 else Verdict.NO_SA)
            if sa >= 0:
                assert found.inner is not None
                assert len(found.inner) == sizes[row]
                assert found.entry is not None
                assert found.entry.sa.spi == of.spi[sa]
            row += 1
    assert row == 300


def test_clear_packets_have_right_headers():
    (chunk,) = clear_chunks(np.array([0x0A000001, 0xFFFFFFFF], np.uint32), np.array([28, 1424], np.int64))
    for at, length, last in zip(chunk.offset.tolist(), chunk.length.tolist(), (1, 255), strict=True):
        header = chunk.arena[at : at + 20]
        total = int(header.view(">u2").astype(np.int64).sum())
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert int(header[2]) << 8 | int(header[3]) == length
        assert header[19] == last


def test_imix_is_what_it_says():
    sizes = sizes_of("imix", 60_000, np.random.default_rng(1))
    shares = {int(size): float(np.mean(sizes == size)) for size in np.unique(sizes)}
    assert shares == pytest.approx({size: share / 12 for size, share in IMIX.items()}, abs=0.02)
    assert mean_size("imix") == pytest.approx(348, abs=1)


@pytest.mark.parametrize("work", [InboundWork, OutboundWork])
def test_a_pass_can_be_repeated(work):
    path = work(5, 64, 0.7, CryptographyBatch(), 1)
    assert path.once()[0] == path.rows
    before = path.batch.verdict.copy()
    assert set(path.staged()) == {stage.__name__ for stage in path.stages}
    path.once()
    assert np.array_equal(path.batch.verdict, before)
    assert 0.1 < np.mean(before != 0) < 0.5


def test_work_that_goes_wrong_is_noticed():
    path = InboundWork(5, 64, 1.0, CryptographyBatch(), 1)
    chunk = path._made[0]
    chunk.arena[chunk.offset[-1] + chunk.length[-1] - 1] ^= 1
    with pytest.raises(AssertionError, match="other verdicts"):
        path.prove(np.zeros(path.rows, np.int64))


def test_first_free_ways():
    places = np.array([[0, 3], [0, 3], [0, 3], [1, 2]], np.int64)
    taken, where = fill(places, 4, 3)
    assert taken.tolist() == [0, 1, 3]
    assert where.tolist() == [0, 3, 1]
    with pytest.raises(ValueError, match="4 SAs find no room in 4 cells"):
        fill(places, 4, 4)


def test_a_peer_that_breaks_off_is_told_and_the_rest_goes_on():
    def fails() -> float:
        raise Unavailable("it broke")

    peer = BenchPeer("other", fails, "a note")
    case = BenchCase("lookup", "x", 1, Clocked(lambda: 1000))
    case.peers.append(peer)
    other = BenchCase("lookup", "y", 1, Clocked(lambda: 2000))
    other.peers.append(case.as_peer("x"))
    group = BenchGroup([case, other])
    group.run(2, 60)
    rows = list(group.rows())
    assert [row["peer"] for row in rows] == [None, "x"]
    assert rows[1]["rounds"] == 2
    assert group.notes() == ["it broke"]


def test_cycles_are_of_the_time_stamp_counter(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("cpu MHz\t\t: 1800.0\nflags\t\t: fpu constant_tsc sse\nbogomips\t: 5000.00\n")
    assert clock(str(path)).cycles(100) == pytest.approx(250)
    path.write_text("cpu MHz\t\t: 1800.0\nflags\t\t: fpu\nbogomips\t: 5000.00\n")
    clock.cache_clear()
    assert clock(str(path)).cycles(100) == pytest.approx(180)
    assert clock(str(tmp_path / "none")).cycles(100) is None
