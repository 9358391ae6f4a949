"""Each branch of the causes alone: a packet's fate, as a path gives it, and its cause.

test_why_causes runs whole captures by both paths.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.core.address import parse_address
from espsim.core.answers import Received
from espsim.core.verdict import POLICED, DeviceOutcome, Verdict
from espsim.explain import causes
from espsim.explain.causes import CauseFinder
from espsim.explain.facts import CapturedPacket, Explanation, Failure, Top
from espsim.explain.integrity import Habit
from espsim.explain.known import MORE, Known, can_judge, top_of
from espsim.explain.trials import Trials
from espsim.sad.association import (
    ESPINTCP,
    Direction,
    Encap,
    Limits,
    Mark,
    Mode,
    ReplayState,
    SecurityAssociation,
    Selector,
)  # fmt: skip
from espsim.sad.entry import SadEntry
from espsim.sad.longest import LongestLookup
from espsim.sad.sad import Sad
from espsim.text.found import Unused
from tests.foreign import A, B, Sealer, around
from tests.support import gcm_sa, new_sad, suites

KEY = bytes([7]) * 20
PEER, STRANGER = Sealer(KEY), Sealer(bytes(20))
ELSEWHERE, THIRD = "192.0.2.77", "192.0.2.78"
PORTS = (4500, 4501)


def udp(dport: int, kind: str = "espinudp") -> Encap:
    return Encap(kind, 4500, dport, bytes(4))


class Run:
    """A run's SAs, and the causes of packets. `tops`: the stated top of each window."""

    def __init__(
        self, *sas: SecurityAssociation, mark: int | None = 0, unused: tuple[Unused, ...] = (), sad: Sad | None = None
    ) -> None:
        self.sad = new_sad() if sad is None else sad
        for sa in sas:
            self.sad.newsa(sa)
        self.entries = [*self.sad]
        self.known = Known(self.sad, unused, mark)
        self.trials = Trials(CryptographyBatch())
        self.finder = CauseFinder(self.known, self.trials, lambda entry: Top(1000 + entry.sa_index))

    def says(
        self, verdict: Verdict, packet: bytes, *, own: int | None = None, used: int | None = None, cut: int = 0,
        padded: int = 0, opened: bool | None = None, in_tcp: bool = False, device: DeviceOutcome | None = None,
        seq64: int | None = 1, spi: int | None = 0x1001, layers: int = 1,
    ) -> Explanation:  # fmt: skip
        """Of a packet whose SA is entry `own`; `cut` bytes of it were not captured, `padded` ones around it."""
        entry = None if own is None else self.entries[own]
        context = entry if used is None else self.entries[used] if used >= 0 else None
        kept = packet[: len(packet) - cut]
        fate = Received(verdict, None, spi, (seq64 or 0) & 0xFFFFFFFF, seq64, entry, context, device=device)
        outermost = fate
        for _ in range(layers - 1):
            outermost.around = Received(Verdict.DELIVERED, None, inner=packet)
            outermost = outermost.around
        seen = CapturedPacket(kept, 1, len(kept), len(packet) + padded, opened, in_tcp)
        return self.finder.cause(Failure.of(fate, seen, PORTS), Habit())


def said(answer: Explanation, cause: str | None, *words: str) -> None:
    assert answer.cause == cause, answer
    for word in words:
        assert word in answer.detail, answer


# -- the order of the first that holds ---------------------------------------------------------------------------------


def test_another_sas_context_comes_before_all():
    run = Run(gcm_sa(), gcm_sa(dst=ELSEWHERE))
    for verdict in (Verdict.INTEGRITY, Verdict.NO_SA, Verdict.TRUNCATED, Verdict.MODE):
        answer = run.says(verdict, PEER.packet(1), own=0, used=1, cut=9)
        said(answer, "other-sa", f"the keys of 0x00001001@{ELSEWHERE}", f"0x00001001@{B}")
    said(run.says(Verdict.INTEGRITY, PEER.packet(1), used=1), "other-sa", "no SA")
    said(run.says(Verdict.MODE, PEER.packet(1), own=0, used=0), "mode")


def test_a_device_that_drops_has_its_own_sentence():
    run = Run(gcm_sa())
    answer = run.says(Verdict.NO_SA, PEER.packet(1), own=0, used=-1, cut=9, device=DeviceOutcome.EMPTY_SLOT)
    said(answer, None, DeviceOutcome.EMPTY_SLOT.sentence, f"software finds 0x00001001@{B}")
    said(run.says(Verdict.NO_SA, PEER.packet(1), own=0), None, "the device dropped the packet; software finds")


NEEDS_BYTES = {Verdict.HEADER, Verdict.TRUNCATED, Verdict.INTEGRITY, Verdict.FRAGMENT, Verdict.REPLAY_DUPLICATE,
               Verdict.REPLAY_TOO_OLD, Verdict.REPLAY_ZERO}  # fmt: skip


@pytest.mark.parametrize("verdict", [*Verdict][1:])
def test_a_cut_packet_is_snap_where_the_verdict_needs_its_bytes(verdict):
    """And where the capture itself is cut: not where an IP header lies, nor where padding alone is missing."""
    run, packet = Run(gcm_sa()), PEER.packet(1)
    own = None if verdict is Verdict.NO_SA else 0
    cut = run.says(verdict, packet, own=own, cut=9)
    assert (cut.cause == "snap") == (verdict in NEEDS_BYTES)
    if cut.cause == "snap":
        assert f"captured {len(packet) - 9} of {len(packet)} bytes" in cut.detail
    assert run.says(verdict, packet, own=own, cut=9, padded=-9).cause != "snap"
    assert run.says(verdict, packet, own=own, padded=9).cause != "snap"


@pytest.mark.parametrize("verdict", sorted(POLICED))
def test_policies_and_depth_need_no_sa(verdict):
    run = Run(gcm_sa())
    with_sa, clear = run.says(verdict, PEER.packet(1), own=0), run.says(verdict, PEER.packet(1))
    assert {with_sa.cause, clear.cause} <= {"no-policy", "template", "blocked"}


def test_depth():
    run = Run(gcm_sa())
    for own in (None, 0):
        said(run.says(Verdict.DEPTH, PEER.packet(1), own=own, layers=7), "depth", "7 layers", "opens 6")


def test_what_came_to_no_sa():
    run = Run(gcm_sa())
    said(run.says(Verdict.FRAGMENT, around(PEER.esp(1), fragment=0x2000)), "fragment")
    said(run.says(Verdict.HEADER, around(b"\0\0\x10\x01")), "header")
    assert run.says(Verdict.FRAGMENT, PEER.packet(1)) is causes.FRAGMENT


# -- NO_SA ------------------------------------------------------------------------------------------------------------


def no_sa(*sas, packet=None, sad=None, **options) -> Explanation:
    spi = options.pop("spi", 0x1001)
    more = {name: options.pop(name) for name in ("in_tcp", "cut") if name in options}
    run = Run(*sas, sad=sad, **options)
    return run.says(Verdict.NO_SA, PEER.packet(1) if packet is None else packet, spi=spi, **more)


def test_a_mark_that_the_packet_does_not_have():
    first, second = gcm_sa(mark=Mark(0xD00, 0xF00)), gcm_sa(mark=Mark(0x5, 0xFFFFFFFF))
    said(no_sa(first), "mark", "wants mark 0xd00/0xf00", "--mark 0xd00")
    said(no_sa(first, second), "mark", "wants mark 0x5,", "--mark 0x5,")  # the newest
    said(no_sa(first, mark=0xD01), None, "was there when the run began")
    said(no_sa(first, mark=None), None)
    # The newest that its mark keeps from being found, not the newest.
    said(no_sa(first, gcm_sa(mark=Mark(1, 1)), mark=0x1), "mark", "0xd00/0xf00")


def test_an_sa_that_is_gone():
    limited = Limits(hard_packets=1)
    said(no_sa(gcm_sa()), None, f"0x00001001@{B} was there when the run began")
    said(no_sa(gcm_sa(limits=limited)), "expired", "and is gone")
    said(no_sa(gcm_sa(mark=Mark(1, 1)), gcm_sa(limits=limited, mark=Mark(0, 2)), mark=1), "expired")


def with_ports(*sas: SecurityAssociation) -> Sad:
    sad = Sad(port_key=True)
    for sa in sas:
        sad.newsa(sa)
    return sad


def test_an_sa_that_wants_another_port_where_ports_are_part_of_the_key():
    in_udp = PEER.packet(1, port=4501)
    in_udp = in_udp[:20] + b"\x11\x94" + in_udp[22:]  # from port 4500
    said(no_sa(sad=with_ports(gcm_sa(encap=udp(4500)))), "encap", "wants UDP port 4500", "came without UDP")
    said(no_sa(sad=with_ports(gcm_sa(encap=udp(4500))), packet=in_udp), "encap", "came to UDP port 4501")
    said(no_sa(sad=with_ports(gcm_sa()), packet=in_udp), "encap", "wants no UDP", "to UDP port 4501")
    tcp = gcm_sa(encap=udp(4500, ESPINTCP))
    said(no_sa(sad=with_ports(tcp)), "encap", "wants TCP port 4500", "came without UDP")
    said(no_sa(sad=with_ports(gcm_sa(encap=udp(4500))), in_tcp=True), "encap", "wants UDP port 4500", "came in TCP")
    # Of several the newest is named; with the right port it is there.
    two = with_ports(gcm_sa(encap=udp(4500)), gcm_sa(encap=udp(4502)))
    said(no_sa(sad=two, packet=in_udp), "encap", "wants UDP port 4502")
    said(no_sa(sad=with_ports(gcm_sa(encap=udp(4501))), packet=in_udp), None, "was there when the run began")
    said(no_sa(sad=with_ports(gcm_sa())), None, "was there when the run began")
    # Without ports in the key they are not asked here.
    said(no_sa(gcm_sa(encap=udp(4500)), packet=in_udp), None, "was there when the run began")


def test_another_destination():
    others = [gcm_sa(dst=f"192.0.2.{n}") for n in (77, 78, 79, 80)]
    said(no_sa(*others[:3]), "other-destination", "192.0.2.77, 192.0.2.78, 192.0.2.79 ", f"went to {B}")
    said(no_sa(*others), "other-destination", "192.0.2.77, 192.0.2.78, 192.0.2.79 and others")
    said(no_sa(others[0]), "other-destination", "SPI 0x00001001", "192.0.2.77")
    assert "others" not in no_sa(*others[:3]).detail


def test_an_spi_that_no_one_has():
    passed_over = Unused(f"0x00001001@{B}", 7, "its key is hidden")
    said(no_sa(gcm_sa(spi=5), unused=(passed_over,)), "unusable", "(line 7)", "because its key is hidden")
    said(no_sa(gcm_sa(spi=5)), "unknown-spi", "no SA has SPI 0x00001001")
    said(no_sa(gcm_sa(spi=5), spi=None), "unknown-spi", "0x00000000")


# -- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "cause", "words"),
    [
        (Verdict.REPLAY_DUPLICATE, "duplicate", "number 7 came before"),
        (Verdict.REPLAY_TOO_OLD, "too-old", "number 7 came 993 after the highest, left of the window of 64"),
        (Verdict.REPLAY_ZERO, "too-old", "number 0 is never sent"),
    ],
)
def test_what_a_window_refused(verdict, cause, words):
    run, packet = Run(gcm_sa()), PEER.packet(7)
    said(run.says(verdict, packet, own=0, seq64=7), cause, words)
    said(run.says(verdict, STRANGER.packet(7), own=0, seq64=7), "rekeyed", "the window refused number 7")
    said(run.says(verdict, packet, own=0, seq64=7, opened=False), "rekeyed")
    said(run.says(verdict, STRANGER.packet(7), own=0, seq64=7, opened=True), cause)
    # One without room for an ICV is not judged.
    said(run.says(verdict, around(PEER.esp(7)[:20]), own=0, seq64=7), cause)


def test_a_number_that_is_not_known_counts_from_the_top():
    run = Run(gcm_sa())
    said(run.says(Verdict.REPLAY_TOO_OLD, PEER.packet(7), own=0, seq64=None, opened=True), "too-old", "came 1000 after")


def test_with_esn_a_packet_may_be_of_the_high_half_below():
    esn = frozenset({"esn"})
    run, plain = Run(gcm_sa(flags=esn)), Run(gcm_sa())
    below, same, above = (Sealer(KEY, hi=high).packet(9) for high in (3, 4, 5))
    for packet, cause in ((below, "duplicate"), (same, "duplicate"), (above, "rekeyed")):
        said(run.says(Verdict.REPLAY_DUPLICATE, packet, own=0, seq64=4 << 32 | 9), cause)
    half = (1 << 31) + 9  # of a low half that is large
    said(run.says(Verdict.REPLAY_DUPLICATE, Sealer(KEY, hi=3).packet(half), own=0, seq64=4 << 32 | half), "duplicate")
    said(run.says(Verdict.REPLAY_DUPLICATE, Sealer(KEY, hi=0xFFFFFFFF).packet(half), own=0, seq64=half), "rekeyed")
    first = Sealer(KEY, hi=0xFFFFFFFF).packet(9)
    said(run.says(Verdict.REPLAY_DUPLICATE, first, own=0, seq64=9), "rekeyed")  # there is none below
    said(run.says(Verdict.REPLAY_DUPLICATE, Sealer(KEY, hi=0).packet(9), own=0, seq64=1 << 32 | 9), "duplicate")
    said(plain.says(Verdict.REPLAY_DUPLICATE, below, own=0, seq64=9), "rekeyed")


def test_what_is_known_already_costs_what_trying_does():
    tried, known = Run(gcm_sa()), Run(gcm_sa())
    tried.says(Verdict.REPLAY_DUPLICATE, PEER.packet(7), own=0, seq64=7)
    known.says(Verdict.REPLAY_DUPLICATE, PEER.packet(7), own=0, seq64=7, opened=True)
    assert tried.trials.spent == known.trials.spent > 0


# -- an ICV that is wrong, and packets that are short ------------------------------------------------------------------


def test_an_icv_that_is_wrong():
    run = Run(gcm_sa(), gcm_sa(spi=5, key_byte=9))
    said(run.says(Verdict.INTEGRITY, STRANGER.packet(1), own=0), "key", f"no packet of 0x00001001@{B} opened")
    said(run.says(Verdict.INTEGRITY, Sealer(bytes([9]) * 20).packet(1), own=0), "other-sa")


def test_a_packet_that_is_short():
    run = Run(gcm_sa())
    said(run.says(Verdict.TRUNCATED, Sealer(KEY, icv=8).packet(1, b""), own=0), "icv-length", "64 bits")
    short = around(PEER.esp(1)[: 8 + 23])
    said(run.says(Verdict.TRUNCATED, short, own=0), None, "23 bytes follow the ESP header, and IV and ICV take 24")
    room = around(PEER.esp(1)[: 8 + 24])
    said(run.says(Verdict.TRUNCATED, room, own=0), None, "not whole blocks")
    said(run.says(Verdict.TRUNCATED, room, own=0, cut=2, padded=-2), None, "states more bytes than the frame had")
    run.entries[0].sa = replace(run.entries[0].sa, algorithms=())
    said(run.says(Verdict.TRUNCATED, room, own=0), None, "the SA has no keys")


# -- verdicts whose cause is in their name -----------------------------------------------------------------------------

NAMED = {
    Verdict.SA_LARVAL: ("larval", "is larval"), Verdict.DIRECTION: ("direction", "an outbound SA"),
    Verdict.EXPIRED: ("expired", "its hard lifetime"), Verdict.SA_INVALID: ("expired", "no longer valid (valid)"),
    Verdict.MODE: ("mode", "is in tunnel mode, and what is inside is not an IP packet"),
    Verdict.POLICY: ("selector", "takes"), Verdict.IPTFS_BUFFER: ("iptfs", "cut short"),
    Verdict.IPTFS_HEADER: ("iptfs", "sub-type"), Verdict.IPTFS_LOST: ("fragment-lost", f"0x00001001@{B}"),
    Verdict.IPTFS_LATE: ("reordered", "waits for"), Verdict.ECN: ("ecn", "Not-ECT"),
    Verdict.TRAILER: ("trailer", "trailer"), Verdict.ENCAP_MISMATCH: ("encap", "wants no UDP"),
}  # fmt: skip


@pytest.mark.parametrize("verdict", NAMED)
def test_a_verdict_that_says_its_cause(verdict):
    said(Run(gcm_sa()).says(verdict, PEER.packet(1, port=4500), own=0), *NAMED[verdict])


def test_a_verdict_of_no_cause_has_its_own_sentence():
    said(Run(gcm_sa()).says(Verdict.DELIVERED, PEER.packet(1), own=0), None, Verdict.DELIVERED.sentence)


@pytest.mark.parametrize(
    ("encap", "packet", "in_tcp", "words"),
    [
        (None, PEER.packet(1, port=4500), False, ("wants no UDP", "came to UDP port 4500")),
        (None, PEER.packet(1), True, ("wants no TCP", "came in TCP")),
        (udp(4500), PEER.packet(1), False, ("wants UDP port 4500", "came without UDP")),
        (udp(4500), PEER.packet(1), True, ("wants UDP port 4500", "came in TCP")),
        (udp(443, ESPINTCP), PEER.packet(1, port=4500), False, ("wants TCP port 443", "came to UDP port 4500")),
        (udp(4500), b"\x45", False, ("wants UDP port 4500", "came without UDP")),
    ],
)
def test_encapsulation(encap, packet, in_tcp, words):
    said(Run(gcm_sa(encap=encap)).says(Verdict.ENCAP_MISMATCH, packet, own=0, in_tcp=in_tcp), "encap", *words)


@pytest.mark.parametrize(
    ("mode", "options", "words"),
    [
        (Mode.ANY, {}, "is not an IP packet: state"), (Mode.TUNNEL, {}, "is in tunnel mode"),
        (Mode.TRANSPORT, {}, "is in transport mode, and what is inside is not a payload"),
        (Mode.IPTFS, {}, "is in iptfs mode, and what is inside is not an AGGFRAG payload"),
        (Mode.BEET, {}, "is in beet mode, and what is inside is not a whole payload"),
        (Mode.BEET, {"flags": frozenset({"af-unspec"})}, "is in beet mode and has no selector"),
        (Mode.TUNNEL, {"flags": frozenset({"af-unspec"})}, "is in tunnel mode, and what is inside"),
        (Mode.BEET, {"flags": frozenset({"af-unspec"}), "selector": Selector(src=bytes(4), src_prefix=1)},
         "what is inside is not a whole payload"),
    ],
)  # fmt: skip
def test_mode(mode, options, words):
    run = Run(gcm_sa())
    run.entries[0].sa = gcm_sa(mode=mode, **options)
    said(run.says(Verdict.MODE, PEER.packet(1), own=0), "mode", words)


def test_a_mark_is_shown_with_its_mask_unless_it_is_whole():
    assert causes.shown_mark(Mark(0xD00, 0xF00)) == "0xd00/0xf00"
    assert causes.shown_mark(Mark(0xD, 0xFFFFFFFF)) == "0xd"


def test_sentences_that_a_run_ends_with():
    (entry,) = new_sad(gcm_sa())
    assert re.search(r"begin again at 3 after 500:", causes.restart_detail(3, 500))
    assert entry.sa.name in causes.damaged_detail(entry)
    assert entry.sa.name in causes.key_detail(entry)


# -- what is known of the SAs ------------------------------------------------------------------------------------------


def names(entries: list[SadEntry]) -> list[tuple[int, int]]:
    return [(entry.sa.spi, entry.sa.dst[-1]) for entry in entries]


def test_sas_by_spi_and_by_ends():
    run = Run(gcm_sa(), gcm_sa(dst=ELSEWHERE), gcm_sa(B, A, 5), gcm_sa(A, ELSEWHERE, 6))
    known = run.known
    assert {spi: names(entries) for spi, entries in known.by_spi.items()} == {
        0x1001: [(0x1001, 2), (0x1001, 77)], 5: [(5, 1)], 6: [(6, 77)],
    }  # fmt: skip
    ends = {tuple(sorted(e[-1] for e in both)): names(entries) for both, entries in known.by_ends.items()}
    assert ends == {(1, 2): [(0x1001, 2), (5, 1)], (1, 77): [(0x1001, 77), (6, 77)]}
    first, second, back, third = run.entries
    assert known.of_spi(first, 0x1001) == [second]
    assert known.of_spi(first, 6) == [third]
    assert known.of_spi(first, 77) == []
    assert known.some == run.entries
    second.sa = replace(second.sa, algorithms=())  # without keys it judges nothing
    assert known.of_spi(first, 0x1001) == []
    assert Known(run.sad).some == [first, back, third]
    assert known.between(first, frozenset((first.sa.src, first.sa.dst))) == []


def test_an_sa_that_judges_has_keys_and_an_icv():
    judges, larval, without = Run(gcm_sa(), gcm_sa(spi=5), gcm_sa(spi=6)).entries
    larval.sa = replace(larval.sa, algorithms=())
    without.sa = replace(without.sa, algorithms=suites()["cbc(aes)-digest_null-0"])
    assert [can_judge(entry) for entry in (judges, larval, without)] == [True, False, False]


def test_no_more_than_some_are_tried_and_then_those_between_the_same_ends():
    many = [gcm_sa(THIRD, ELSEWHERE, spi) for spi in range(1, MORE)]
    near = [gcm_sa(spi=0x5000), gcm_sa(spi=0x5001), gcm_sa(B, A, 0x5002), gcm_sa(spi=0x5003)]
    run = Run(*many, *near)
    one, two, back, last = run.entries[-4:]
    last.sa = replace(last.sa, algorithms=())
    assert run.known.some == run.entries[:MORE]
    assert one in run.known.some
    ends = frozenset((one.sa.src, one.sa.dst))
    assert run.known.between(one, ends) == [two, back]
    assert run.known.between(two, ends) == [back]
    assert run.known.between(two, frozenset((parse_address(A), parse_address(THIRD)))) == []


def test_of_what_is_not_used_the_first_of_a_name_is_meant():
    one, two = Unused(f"0x00000005@{B}", 3, "first"), Unused(f"0x00000005@{B}", 9, "second")
    known = Run(unused=(one, two)).known
    assert known.unusable(5, parse_address(B)) is one
    assert known.unusable(6, parse_address(B)) is None
    assert known.unusable(5, parse_address(A)) is None


def test_which_sas_ask_for_a_packet():
    group, any_source = "224.0.0.9", gcm_sa("0.0.0.0", "224.0.0.9", 7)  # noqa: S104 - the SA's source is any
    sad = Sad(LongestLookup(Sad().policy))
    for sa in (gcm_sa(), gcm_sa(A, group, 6), any_source):
        sad.newsa(sa)
    known, ours = Known(sad), [parse_address(a) for a in (A, B, group)]
    unicast, with_source, without = sad
    assert known.asks(unicast, ours[1], ours[0])
    assert [known.asks(with_source, src, dst) for src in ours[:2] for dst in ours[1:]] == [False, True, False, False]
    assert [known.asks(without, src, dst) for src in ours[:2] for dst in ours[1:]] == [False, True, False, True]
    run = Run(gcm_sa())
    (entry,) = run.entries
    assert run.known.asks(entry, ours[2], ours[1])
    assert not run.known.asks(entry, ours[0], ours[0])


def test_the_number_that_an_sa_would_infer():
    esn = frozenset({"esn"})
    out = ReplayState(oseq=5, oseq_hi=3)
    sas = [
        gcm_sa(spi=1), gcm_sa(spi=2, flags=esn), gcm_sa(spi=3, dir=Direction.OUT),
        gcm_sa(spi=4, flags=esn, dir=Direction.OUT, replay=out),
    ]  # fmt: skip
    run = Run(*sas)
    plain, high, sends, sends_high = run.entries
    sends.oseq = 3 << 32 | 5
    under = run.known.number_under
    assert under(plain, Top(9 << 32), 7) == 7
    assert under(high, Top((9 << 32) + 100), 101) == 9 << 32 | 101
    assert under(high, Top((9 << 32) + 100), 9) == 10 << 32 | 9
    assert under(sends, Top(9 << 32), 7) == 7
    assert under(sends_high, Top(9 << 32), 7) == 3 << 32 | 7
    assert [top_of(entry) for entry in run.entries[:1]] == [Top(0, known=True)]
    assert set(run.known.tops()) == {entry.sa_index for entry in run.entries}


def test_larval_states_and_other_protocols_are_not_known():
    sad = new_sad(gcm_sa(), gcm_sa(spi=5), gcm_sa(spi=6))
    ours, larval, other = sad
    larval.sa, other.sa = replace(larval.sa, spi=0), replace(other.sa, proto=51)
    assert Known(sad).entries == [ours]
