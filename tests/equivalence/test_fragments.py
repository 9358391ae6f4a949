"""Captures with outer fragments: both readers reassemble alike, and the verdict is that of the whole packet."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.stats import InboundStats
from espsim.batch.run.workers import shared_zeros
from espsim.core.numbers import LINK_PART, MAY_JOIN, PART
from espsim.io.batches import open_batches
from espsim.io.capture import CaptureWriter, open_capture
from espsim.io.fragments import Joiner
from espsim.io.rows.classic import LONGEST, classic
from espsim.io.slots import FrameSlot
from espsim.reference.inbound import Inbound
from espsim.reference.layers import judge, layer_of
from espsim.sad.association import Encap
from espsim.wire.fragments import parse
from tests.equivalence.any_traffic import harmed, with_extensions
from tests.equivalence.collecting import collect, cut
from tests.equivalence.inbound_traffic import shown
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.fragments import fragment, fragments
from tests.support import VECTORS, Peer, gcm_sa, ipv4, ipv6, new_sad, sa_of, udp
from tests.unit.io.test_capture_batches import enhanced, interface, section

FOLDER = VECTORS / "fragments"
SAS = (
    gcm_sa(spi=0x1001, key_byte=1), gcm_sa(spi=0x1002, key_byte=2, src="2001:db8::1", dst="2001:db8::2"),
    gcm_sa(spi=0x1003, key_byte=3, encap=Encap("espinudp", 4500, 4500, bytes(16))),
)  # fmt: skip


def laid_out(path, packets, *, linktype=101, nanosecond=True):
    with CaptureWriter(str(path), nanosecond=nanosecond, linktype=linktype) as writer:
        for n, packet in enumerate(packets):
            writer.write(packet, n * 1_000_000)
        writer.commit()
    return str(path)


def by_reference(path, sad):
    """Answers, counts and the joiner's results, one packet at a time."""
    one, stats, answers = Inbound(sad), InboundStats(), []
    joiner = Joiner(judge(one.ports))
    with open_capture(path, joiner) as reader:
        for frame in reader:
            received = one.receive(frame.ip, frame.time_ns / 1e9) if frame.ip is not None else None
            if not frame.part:
                stats.count(received, frame.link if frame.ip is None else layer_of(frame.ip, one.ports))
                answers.append((frame.number, shown(received)))
    stats.add_fragments(joiner.fragments)
    return answers, stats.as_dict(), joiner.settled()


def in_batches(path, sad, workers):
    path_ = InboundPipeline(Inbound(sad), "cryptography")
    joiner = Joiner(judge(path_.one.ports))
    counts = InboundCounts(path_.columns.entries, shared_zeros)

    def facts(piece):
        counts.count(piece.batch, path_.nested_in(piece.batch))
        rows = zip(piece.frames.tolist(), path_.answers(piece.batch), piece.batch.verdict, strict=True)
        return [(frame, shown(answer)) for frame, answer, verdict in rows if verdict != PART]

    with open_batches(path, joiner) as reader:
        answers = [answer for some in collect(reader, InboundLane(path_), workers, facts) for answer in some]
    stats = counts.stats()
    stats.add_fragments(joiner.fragments)
    return answers, stats.as_dict(), joiner.settled()


@st.composite
def frames(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Whole packets, and their frames, of which some may be missing, twice, or of another packet."""
    whole: list[bytes] = []
    parts: list[bytes] = []
    peers = [Peer(sa) for sa in SAS]
    for ident in range(draw(st.integers(1, 12))):
        which = draw(st.integers(0, 4))
        inner = ipv4(udp(bytes(draw(st.sampled_from([8, 200, 1400, 30_000])))))
        packet = peers[which].packet(ident + 1, inner) if which < 3 else ipv4(udp(bytes(300), 500 * which, 4500))
        size = len(packet) - (40 if packet[0] >> 4 == 6 else 20)
        cuts = sorted(draw(st.sets(st.integers(1, (size - 1) // 8), max_size=4)))
        new = fragments(packet, [8 * cut for cut in cuts], ident=ident) if cuts else [packet]
        random.Random(draw(st.integers(0, 9))).shuffle(new)
        harm = draw(st.sampled_from([None] * 4 + ["less", "twice", "overlap"]))
        if harm == "less":
            new.pop()
        elif harm == "twice":
            new.insert(draw(st.integers(0, len(new) - 1)), new[0])
        elif harm == "overlap" and cuts:
            new.insert(1, fragment(packet, 8 * cuts[0] - 8, 8 * cuts[0] + 8, ident=ident))
        whole.append(packet)
        parts += new
    if draw(st.booleans()):
        random.Random(draw(st.integers(0, 99))).shuffle(parts)
    return whole, parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fragments")


@pytest.mark.parametrize("workers", [1, 2, 3])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8), suppress_health_check=list(HealthCheck))
@given(drawn=frames(), rows=st.sampled_from([1, 3, 64]), arena=st.sampled_from([LONGEST, 1 << 17, 1 << 22]))
def test_both_paths_join_alike(folder, workers, drawn, rows, arena):
    path = laid_out(folder / f"{workers}.pcap", drawn[1])
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows, arena)
        want, found = by_reference(path, new_sad(*SAS)), in_batches(path, new_sad(*SAS), workers)
    assert found == want
    stats = want[1]
    lines = sorted([number for number, _ in want[0]] + [number for settled in want[2] for number in settled.frames])
    assert lines == list(range(1, len(drawn[1]) + 1))  # every frame once
    assert stats["ignored"] == sum(stats["ignored_by"].values())
    assert stats["packets"] + stats["ignored"] == len(want[0]) + sum(
        1 if settled.layer is None else len(settled.frames)
        for settled in want[2] if settled.layer is not None or settled.datagram is None
    )  # fmt: skip


@settings(deadline=None, max_examples=5 if UNJITTED else examples(15), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_joined_packets_fare_as_whole_ones(folder, data):
    """In the order in which they were completed; every datagram has all its fragments, some twice before the last."""
    whole, parts = [], []
    peers = [Peer(sa) for sa in SAS]
    for n in range(data.draw(st.integers(1, 8))):
        packet = peers[n % 3].packet(n + 1, ipv4(udp(random.Random(n).randbytes(500))))
        cuts = sorted(data.draw(st.sets(st.integers(1, 60), max_size=5)))
        new = fragments(packet, [8 * cut for cut in cuts], ident=n) if cuts else [packet]
        random.Random(data.draw(st.integers(0, 9))).shuffle(new)
        if len(new) > 1 and data.draw(st.booleans()):
            new.insert(0, new[0])
        whole.append(packet)
        parts += new
    joined = laid_out(folder / "joined.pcap", parts)
    alone = laid_out(folder / "alone.pcap", whole)
    found, want = in_batches(joined, new_sad(*SAS), 1), by_reference(alone, new_sad(*SAS))
    assert [answer for _, answer in found[0]] == [answer for _, answer in want[0]]
    assert {**found[1], "fragments": None} == {**want[1], "fragments": None}


MANIFEST = json.loads((FOLDER / "manifest.json").read_text())["captures"]


@pytest.mark.parametrize("item", MANIFEST, ids=lambda item: item["name"])
def test_captures_of_linux(item):
    """ESP that left in outer fragments, IPv4 in UDP and IPv6: every inner packet is what the kernel delivered."""

    want = [(packet["frames"][-1], packet["inner_hex"]) for packet in item["packets"]]
    many = sum(len(packet["frames"]) for packet in item["packets"] if len(packet["frames"]) > 1)
    for workers in (0, 1, 2):
        path, sad = str(FOLDER / item["file"]), new_sad(*map(sa_of, item["sas"]))
        answers, stats, settled = in_batches(path, sad, workers) if workers else by_reference(path, sad)
        assert [(frame, answer[7].hex()) for frame, answer in answers] == want
        joined = [packet for packet in item["packets"] if len(packet["frames"]) > 1]
        assert stats["fragments"] == {"seen": many, "datagrams": len(joined), "incomplete": 0}
        assert [(*one.frames, one.datagram) for one in settled] == [tuple(packet["frames"]) for packet in joined]


def test_datagrams_for_which_the_arena_has_no_room(tmp_path):
    """They are larger than the record of their last fragment: the batch ends, and no later packet is lost."""
    packets: list[bytes] = []
    for n in range(9):
        big = ipv4(bytes([n]) * 65_000, proto=50)
        small = ipv6(bytes([n]) * 40, next_header=50)
        *first, last = fragments(big, range(1400, 65_000, 1400), ident=n)
        packets += [*first, small, last, small]
    path = laid_out(tmp_path / "in.pcap", packets)
    with open_capture(path, Joiner(judge({4500}))) as reader:
        want: list[Any] = [(frame.number, frame.time_ns, frame.ip) for frame in reader if frame.ip is not None]
    for rows in (1, 2, 3, 64, 4096):
        for size in (LONGEST, LONGEST + 1500, 3 * LONGEST, 1 << 22):
            found, slot = [], FrameSlot.of(rows, size)
            with open_batches(path, Joiner(judge({4500}))) as batches:
                while got := batches.read_into(slot):
                    for row in range(got):
                        at, length = int(slot.offset[row]), int(slot.length[row])
                        if length:
                            found.append((slot.frame[row], slot.time_ns[row], slot.arena[at : at + length].tobytes()))
                assert batches.read_into(slot) == 0
            assert found == want
    assert len(want) == 27


@settings(deadline=None, max_examples=20 if UNJITTED else examples(300))
@given(with_extensions(50, bytes(range(40))), st.sampled_from([17, 50, 6]), st.integers(0, 0xFFFF), st.data())
def test_the_walk_marks_what_the_joiner_takes(extended, proto, flags, data):
    """For any bytes: the joiner takes no packet that is not marked, and leaves other packets alone."""
    kind, payload = extended
    packet = data.draw(st.sampled_from([ipv6(payload, next_header=kind), ipv4(payload, proto=proto, flags=flags)]))
    packet = data.draw(harmed(packet))
    for joins in (np.zeros(0, np.uint8), np.zeros(1 << 16, np.uint8)):
        record = struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
        arena = np.frombuffer(bytearray(record + packet), np.uint8)
        slot = FrameSlot.of(1, LONGEST)
        columns = (slot.offset, slot.length, slot.time_ns, slot.link, slot.captured, slot.wire)
        classic(arena, 0, len(record), False, 1, 101, joins, *columns, 0)
        if len(joins) and slot.length[0] and parse(packet) is not None:
            assert slot.link[0] == MAY_JOIN
        if not len(joins) or (flags & 0x3FFF == 0 and packet[:1] == b"\x45" and packet[6:8] == flags.to_bytes(2)):
            assert slot.link[0] == 0


def test_a_pcapng_whose_blocks_the_plain_code_reads(tmp_path):
    """A clock that only the plain code reads: its frames are reassembled like the walk's."""
    whole = ipv4(bytes(range(200)), proto=50)
    data = section("<") + interface("<", 101, 6) + interface("<", 101, 60)
    for which in (0, 1):
        for part in fragments(whole, [8, 64]):
            data += enhanced("<", part, 10**6, which)
    (tmp_path / "in.pcapng").write_bytes(data)
    found, slot = [], FrameSlot.of()
    with open_batches(str(tmp_path / "in.pcapng"), Joiner(judge({4500}))) as reader:
        while rows := reader.read_into(slot):
            found += [(int(slot.link[row]), int(slot.length[row])) for row in range(rows)]
    assert found == 2 * [(LINK_PART, 0), (LINK_PART, 0), (0, len(whole))]
