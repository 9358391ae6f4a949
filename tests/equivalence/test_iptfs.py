"""IP-TFS: the batch path gives the reference path's packets, lines, counts and SAs, for any cut, engine and workers."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.cli import encap
from espsim.cli import packets as packets_of
from espsim.explain.known import Known
from espsim.explain.run import Files, one_by_one
from espsim.explain.run_batches import in_batches
from espsim.io.atomic import Outputs
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, IptfsOptions, Limits, Mode, ReplayState, Selector
from tests import aggfrag
from tests.equivalence.collecting import Way, cut
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import constant
from tests.equivalence.test_stream_inbound import capture
from tests.examples import examples
from tests.support import Peer, engines_there, gcm_sa, ipv4, ipv6, new_sad, udp

AGGFRAG = 144


@st.composite
def tunnels(draw: st.DrawFn):
    """An SA in mode IPTFS: its window and drop time, ESN, selector, limit, direction."""
    options = IptfsOptions(draw(st.sampled_from([0, 2_000_000, 5_000_000])), draw(st.integers(0, 3)))
    flags = frozenset(draw(st.sampled_from([[], ["esn"]])))
    selector = draw(st.sampled_from([Selector(), Selector(proto=17, dport=9, dport_mask=0xFFFF)]))
    limits = draw(st.sampled_from([Limits(), Limits(), Limits(hard_packets=5)]))
    direction = draw(st.sampled_from([None, None, Direction.OUT]))
    dst, spi = draw(st.sampled_from(["192.0.2.2", "192.0.2.3", "2001:db8::2"])), draw(st.integers(0x1001, 0x1002))
    src = "2001:db8::1" if ":" in dst else "192.0.2.1"
    return gcm_sa(
        src, dst, spi, mode=Mode.IPTFS, iptfs=options, flags=flags, selector=selector, limits=limits, dir=direction
    )


@st.composite
def arrivals(draw: st.DrawFn, sas):
    """Packets and their times: of each SA a stream of payloads, odd ones among them, lost, twice, early, forged."""
    streams = []
    for sa in sas:
        peer, parts = Peer(sa), aggfrag.cut(draw(aggfrag.INNERS), draw(st.lists(st.integers(1, 90), min_size=1)))
        stream = []
        for seq, (whole, _) in enumerate(parts[:20], 1):
            payload = draw(st.sampled_from([whole] * 8 + [b"\0\0", whole[:4] + b"\x90" + whole[4:]]))
            packet = peer.packet(seq, payload, draw(st.sampled_from([AGGFRAG] * 9 + [4])))
            forged = packet[:-1] + bytes((packet[-1] ^ 1,))
            stream += draw(st.sampled_from([[packet]] * 8 + [[], [packet] * 2, [forged, packet]]))
        for at in draw(st.sets(st.integers(1, 30), max_size=4)):
            if at < len(stream):
                stream.insert(max(at - 3, 0), stream.pop(at))
        streams.append(stream)
    plain, packets, times, now = Peer(gcm_sa(spi=0x2001)), [], [], 100.0
    streams.append([plain.packet(n, ipv4(udp(b"plain"))) for n in range(1, 9)] + [ipv4(udp(b"clear"))])
    while any(streams):
        stream = draw(st.sampled_from([s for s in streams if s]))
        packets.append(stream.pop(0))
        now += draw(st.sampled_from([0.0, 0.25, 1.0, 1.0, 3.0]))
        times.append(now)
    return packets, times


def told(folder, path, sas, run):
    """Everything that is said of a run, and the SAs after it."""
    out, lines, sad = folder / "out.pcap", folder / "lines", new_sad(*sas, gcm_sa(spi=0x2001))
    inbound = Inbound(sad, own_traffic=True)
    with Outputs() as outputs:
        ran = run(Files(path, str(out), str(lines), outputs.text(str(lines)), outputs), inbound)
    said = ran.stats.as_dict()
    for name in ("engine", "engine_version", "engine_isa", "engines"):
        said.pop(name, None)
    states = [(e.sa_index, e.state, e.bytes, e.packets, e.used, asdict(e.stats), e.window.top) for e in sad]
    return out.read_bytes(), [json.loads(line) for line in lines.read_text().splitlines()], said, ran.why, states


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("iptfs")


@pytest.mark.parametrize(("engine", "workers"), [*((name, 1) for name in engines_there()), ("cryptography", 3)])
@settings(
    deadline=None,
    max_examples=5 if UNJITTED else examples(12),
)
@given(
    sas=st.lists(tunnels(), min_size=1, max_size=3, unique_by=lambda sa: (sa.dst, sa.spi)),
    data=st.data(),
    rows=st.sampled_from([1, 3, 64]),
)
def test_both_paths_say_the_same(folder, engine, workers, sas, data, rows):
    packets, times = data.draw(arrivals(sas))
    path = capture(folder / "in.pcap", packets, times)

    def batches(files, inbound):
        return in_batches(files, inbound, Known(inbound.sad, (), 0), lambda now: None, Way(workers, engine))

    def reference(files, inbound):
        return one_by_one(files, inbound, Known(inbound.sad, (), 0), lambda now: None)

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        want = told(folder, path, sas, reference)
        assert told(folder, path, sas, batches) == want


# -- out --------------------------------------------------------------------------------------------------------------


@st.composite
def senders(draw: st.DrawFn):
    """An outbound SA in mode IPTFS: its delay, packet size and queue, a limit, few numbers left."""
    options = IptfsOptions(
        init_delay=draw(st.sampled_from([0, 500_000, 3_000_000])), pkt_size=draw(st.sampled_from([0, 61, 200])),
        max_qsize=draw(st.sampled_from([10_485_760, 200])), dont_frag=draw(st.sampled_from([False, False, True])),
    )  # fmt: skip
    dport = draw(st.sampled_from([0, 9, 10]))
    selector = Selector(proto=17 * (dport > 0), dport=dport, dport_mask=0xFFFF * (dport > 0))
    limits = draw(st.sampled_from([Limits(), Limits(), Limits(hard_packets=5), Limits(hard_add=4)]))
    oseq = draw(st.sampled_from([0, 0, 0xFFFFFFF8]))
    flags = frozenset(draw(st.sampled_from([[], ["esn"]])))
    return gcm_sa(
        spi=draw(st.integers(0x1001, 0x1003)), mode=Mode.IPTFS, iptfs=options, selector=selector, limits=limits,
        flags=flags, replay=ReplayState(oseq=oseq, stated=True),
    )  # fmt: skip


def left(folder, path, sas, run):
    """Everything that is said of a run, and the SAs after it."""
    out, rows = folder / "out.pcap", folder / "rows"
    sad = new_sad(*sas, gcm_sa(spi=0x2001, selector=Selector(proto=1)), keep_window=True)
    with Outputs() as outputs:
        files = encap._Files(path, str(out), outputs.text(str(rows)), False, outputs)
        stats, _, ambiguous = run(files, Outbound(sad, constant))
    said = stats.as_dict()
    for name in ("engine", "engine_version", "engine_isa", "engines"):
        said.pop(name, None)
    states = [(e.sa_index, e.state, e.bytes, e.packets, e.used, e.oseq) for e in sad]
    return out.read_bytes(), rows.read_text(), said, ambiguous, states


@pytest.mark.parametrize(("engine", "workers"), [*((name, 1) for name in engines_there()), ("cryptography", 3)])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(12))
@given(
    sas=st.lists(senders(), min_size=1, max_size=3, unique_by=lambda sa: sa.spi), data=st.data(),
    rows=st.sampled_from([1, 3, 64]),
)  # fmt: skip
def test_both_paths_seal_the_same(folder, engine, workers, sas, data, rows):
    sizes, ports = st.integers(0, 200), st.sampled_from([9, 10, 11])
    clear = st.one_of(
        st.builds(lambda size, port: ipv4(udp(bytes(size), 7, port), tos=1), sizes, ports),
        st.builds(lambda size, port: ipv6(udp(bytes(size), 7, port)), sizes, ports),
        st.builds(lambda size: ipv4(bytes(size), proto=1), sizes), st.just(b"no packet"),
    )  # fmt: skip
    packets = data.draw(st.lists(clear, min_size=1, max_size=20))
    gaps = data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 2.0]), min_size=len(packets), max_size=len(packets)))
    path = capture(folder / "in.pcap", packets, [100.0 + sum(gaps[:n]) for n in range(len(packets))])

    def batches(files, outbound):
        return encap._in_batches(files, outbound, packets_of.PathChoice(False, engine, workers, True))

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        want = left(folder, path, sas, encap._one_by_one)
        assert left(folder, path, sas, batches) == want
