"""What the inbound path does after each of its answers: the trace, the order of window and ICV, what is delivered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.numbers import PROTO_AH
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.policies import Policies
from espsim.reference.trace import InboundTrace
from espsim.sad.association import Mode, SecurityAssociation, Selector
from espsim.xfrm.policy_file import policies_of
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp

V4 = ipv4(udp(b"hello"))
ESN = frozenset({"esn"})
GOOD = Verdict.DELIVERED


class Heard(InboundTrace):
    """Every call of the trace: its name and arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []


def _heard(name: str) -> Any:
    return lambda self, *told: self.calls.append((name, *told))


for _name in [name for name in vars(InboundTrace) if not name.startswith("_")]:
    setattr(Heard, _name, _heard(_name))


class Bench:
    """A receiver that holds one SA, its peer, and what was heard."""

    def __init__(self, sa: SecurityAssociation, **options: Any) -> None:
        self.peer, self.heard, sad = Peer(sa), Heard(), new_sad(sa)
        (self.entry,) = sad
        self.inbound = Inbound(sad, trace=self.heard, **options)

    def arrival(self, packet: bytes) -> Any:
        """A packet up to its lookup, as a path with a device in it has it."""
        self.heard.calls.clear()
        self.inbound.receive(packet)
        return self.heard.calls[0][1]


def accepting() -> Policies:
    return Policies(policies_of("ip xfrm policy add dir in tmpl proto esp mode tunnel\n").spd)


def test_the_trace_hears_each_step_with_what_the_path_goes_on_with():
    bench = Bench(gcm_sa(flags=ESN), policies=accepting())
    entry = bench.entry
    entry.window.advance(7 << 32 | 100)
    number, plaintext = 7 << 32 | 105, V4 + b"\1\2\2\4"
    packet = bench.peer.packet(number, b"", 0, plaintext=plaintext)
    received = bench.inbound.receive(packet)
    assert received is not None
    *calls, (judged, path, said) = bench.heard.calls
    arrival = calls[0][1]
    assert (arrival.spi, arrival.seq, arrival.packet) == (0x1001, 105, packet)
    assert calls == [
        ("parsed", arrival),
        ("looked_up", arrival, entry),
        ("usable", entry, arrival, GOOD),
        ("inferred", entry, arrival, number),
        ("checked", entry, number, GOOD),
        ("opening", entry, packet[20:28], b"\0\0\0\7", packet[28:36], packet[36:]),
        ("opened", entry, plaintext),
        ("trailer", plaintext, (len(V4), 4)),
        ("advanced", entry, number),
        ("decapsulated", entry, arrival, V4),
    ]
    assert (judged, path, said.verdict) == ("judged", (entry.sa,), GOOD)
    assert (received.verdict, received.counter, received.inner, received.inners) == (GOOD, None, V4, None)
    assert (received.spi, received.seq, received.seq64) == (0x1001, 105, number)
    assert received.entry is received.used is entry


@pytest.mark.parametrize(("size", "more"), [(7, []), (8, ["parsed", "looked_up"])])
def test_the_trace_hears_that_esp_was_inside(size, more):
    """And its SPI, where there is one to read."""
    bench, inner = Bench(gcm_sa()), ipv4(bytes(size), dst="192.0.2.2", proto=50)
    bench.inbound.receive(bench.peer.packet(1, inner))
    names = [name for name, *_ in bench.heard.calls]
    layer = names.index("decapsulated") + 1
    assert names[layer:] == ["again", *more]
    assert all(call[1].packet == inner for call in bench.heard.calls[layer:])


@pytest.mark.parametrize(("tail", "odd"), [(b"\1\2\2\4", False), (b"\7\7\2\4", True)])
def test_odd_padding_is_said(tail, odd):
    bench = Bench(gcm_sa())
    received = bench.inbound.receive(bench.peer.packet(1, b"", 0, plaintext=V4 + tail))
    assert received is not None
    assert received.odd_padding is odd


def test_a_packet_that_the_capture_cut_moves_no_counter_and_is_not_opened():
    bench = Bench(gcm_sa())
    packet = bench.peer.packet(5, V4)
    for cut in (1, 60):  # with and without room for the ICV
        received = bench.inbound.receive(packet[:-cut])
        assert received is not None
        assert (received.verdict, received.counter) == (Verdict.TRUNCATED, None)
    assert bench.inbound.receive(packet) is not None
    received = bench.inbound.receive(packet[:-1])  # but what is judged before the ICV counts as ever
    assert received is not None
    assert (received.verdict, received.counter) == (Verdict.REPLAY_DUPLICATE, "XfrmInStateSeqError")


def test_a_device_opens_before_the_window_is_asked():
    bench = Bench(gcm_sa(flags=ESN))
    bench.entry.window.advance(7 << 32 | 100)
    good = bench.peer.packet(7 << 32 | 100, V4)
    again = bench.arrival(good)
    forged = bench.arrival(good[:-1] + bytes((good[-1] ^ 1,)))
    before = bench.entry.stats.replay
    number = 7 << 32 | 100
    accept, entry = bench.inbound.accept, bench.entry
    assert accept(entry, forged) == (Verdict.REPLAY_DUPLICATE, number, None)
    assert accept(entry, again) == (Verdict.REPLAY_DUPLICATE, number, None)
    assert accept(entry, forged, icv_first=True) == (Verdict.INTEGRITY, number, None)
    assert accept(entry, again, icv_first=True) == (Verdict.REPLAY_DUPLICATE, number, None)
    assert bench.entry.stats.replay == before + 3
    new = bench.arrival(bench.peer.packet(7 << 32 | 99, V4))  # its window was moved by `arrival`
    assert accept(entry, new, icv_first=True) == (Verdict.REPLAY_DUPLICATE, 7 << 32 | 99, None)


@pytest.mark.parametrize("icv_first", [False, True])
def test_where_no_one_asks_the_window_it_stays_as_it_is(icv_first):
    bench = Bench(gcm_sa())
    arrivals = [bench.arrival(bench.peer.packet(seq, V4)) for seq in (5, 6)]
    bench.entry.window.set_numbers(5, 1)
    before = bench.entry.packets
    for arrival in arrivals:
        got = bench.inbound.accept(bench.entry, arrival, check_replay=False, icv_first=icv_first)
        assert got == (GOOD, arrival.seq, V4)
    assert (bench.entry.window.top, bench.entry.window.bitmap, bench.entry.packets) == (5, 1, before + 2)


def test_a_device_lets_a_new_number_pass_after_the_icv():
    bench = Bench(gcm_sa())
    arrival = bench.arrival(bench.peer.packet(9, V4))
    bench.entry.window.set_numbers(5, 1)
    assert bench.inbound.accept(bench.entry, arrival, icv_first=True) == (GOOD, 9, V4)
    assert (bench.entry.window.top, bench.entry.window.bitmap) == (9, 0b10001)


def test_the_policies_are_not_asked_about_a_packet_that_fits_no_mode():
    bench = Bench(gcm_sa(), policies=accepting())
    received = bench.inbound.receive(bench.peer.packet(5, b"x" * 30, 41))
    assert received is not None
    assert received.verdict is Verdict.MODE
    assert "judged" not in {name for name, *_ in bench.heard.calls}


def test_a_packet_that_the_policies_refuse_is_not_handed_on():
    bench = Bench(gcm_sa(), policies=Policies(policies_of("ip xfrm policy add dir in action block\n").spd))
    received = bench.inbound.receive(bench.peer.packet(5, V4))
    assert received is not None
    assert (received.verdict, received.inner) == (Verdict.BLOCKED, None)


def test_an_sa_without_keys_is_not_usable():
    sa = gcm_sa()
    bench = Bench(sa)
    arrival = bench.arrival(bench.peer.packet(5, V4))
    bare = replace(sa, proto=PROTO_AH, algorithms=(Algorithm("auth-trunc", "hmac(sha256)", bytes(32), 128),))
    (entry,) = new_sad(bare)
    assert bench.inbound.accept(entry, arrival) == (Verdict.SA_INVALID, None, None)


@pytest.mark.parametrize("mode", [Mode.TUNNEL, Mode.ANY])
def test_the_policies_are_asked_once_about_esp_in_esp_with_every_sa_that_it_came_under(mode):
    """An SA without a stated mode is reported with the mode in which it opened the packet."""
    outer, inner = gcm_sa("192.0.2.1", "192.0.2.2", 0x1, mode=mode), gcm_sa("10.0.0.1", "10.0.0.2", 0x2)
    words = " tmpl src {} dst {} proto esp mode tunnel"
    both = words.format("10.0.0.1", "10.0.0.2") + words.format("192.0.2.1", "192.0.2.2")
    heard = Heard()
    policies = Policies(policies_of(f"ip xfrm policy add dir in{both}\n").spd)
    inbound = Inbound(new_sad(outer, inner), trace=heard, policies=policies)
    received = inbound.receive(Peer(outer).packet(1, Peer(inner).packet(1, V4)))
    assert received is not None
    assert (received.verdict, received.inner) == (GOOD, V4)
    ((_, path, _),) = [call for call in heard.calls if call[0] == "judged"]
    assert [(sa.spi, sa.mode) for sa in path] == [(1, Mode.TUNNEL), (2, Mode.TUNNEL)]


def test_a_selector_that_takes_udp_alone_is_not_asked_about_the_esp_inside():
    outer, inner = gcm_sa(selector=Selector(proto=17)), gcm_sa("10.0.0.1", "10.0.0.2", 0x2)
    received = Inbound(new_sad(outer, inner)).receive(Peer(outer).packet(1, Peer(inner).packet(1, V4)))
    assert received is not None
    assert [layer.verdict for layer in received.layers] == [GOOD, GOOD]


def test_without_a_selector_no_one_looks_into_the_packet():
    bench = Bench(gcm_sa())
    received = bench.inbound.receive(bench.peer.packet(5, b"x" * 40, 41))  # version 7
    assert received is not None
    assert (received.verdict, received.inner) == (GOOD, b"x" * 40)
