"""Both `advance` kernels against one packet at a time, and what they leave in `opened`; what a device's SAs count.

The traffic is drawn once, by a fixed seed: the same in every run. test_kernel_replay draws anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from espsim.batch.device import replay as device_replay
from espsim.batch.device.replay import ICV_FIRST, NOBODY, WINDOW_FIRST
from espsim.batch.inbound import replay
from espsim.batch.inbound.count import BYTES, DUPLICATES, FORGED, PACKETS, SINCE, TOO_OLD, USED
from espsim.core.numbers import CUT, OTHERWISE, OWN, UNOPENED
from espsim.core.verdict import Verdict
from espsim.sad.window import Window, make_window, nearest
from tests.equivalence.kernel_settings import plain
from tests.equivalence.kernel_windows import M32, M64, Windows

DELIVERED, INTEGRITY, TRAILER, TRUNCATED = Verdict.DELIVERED, Verdict.INTEGRITY, Verdict.TRAILER, Verdict.TRUNCATED
HALF = 1 << 31


@dataclass(frozen=True)
class Arrival:
    """`number`: the one that the ICV covers. `fate`: the verdict under that number. `own`: this host sent it."""

    sa: int
    number: int
    fate: Verdict = DELIVERED
    own: bool = False
    order: int = int(WINDOW_FIRST)

    @property
    def seq(self) -> int:
        return self.number & M32

    def opens(self, seq64: int, esn: bool) -> Verdict:
        if esn and seq64 != self.number & M64 and self.fate is not TRUNCATED:
            return INTEGRITY
        return self.fate


class Host:
    """The windows of SAs, and the highest number that each sent: `hints` replace it until one was authentic."""

    def __init__(self, windows: list[Window], hints: list[int]) -> None:
        self.windows, self.hints = windows, hints
        self.highest: dict[int, int] = {}

    def receive(self, packet: Arrival) -> tuple[Verdict, int]:
        """As reference/inbound.py accept and reference/own.py: the verdict, and the number."""
        window = self.windows[packet.sa]
        if packet.own:
            return self.receive_own(packet, window.esn)
        seq64 = window.infer(packet.seq)
        asked = DELIVERED if packet.order == NOBODY else window.check(seq64, packet.seq)
        if packet.order == WINDOW_FIRST and asked is not DELIVERED:
            return asked, seq64
        verdict = packet.opens(seq64, window.esn)
        if verdict in (INTEGRITY, TRUNCATED):
            return verdict, seq64
        verdict = verdict if asked is DELIVERED else asked
        if verdict is DELIVERED and packet.order != NOBODY:
            window.advance(seq64)
        return verdict, seq64

    def receive_own(self, packet: Arrival, esn: bool) -> tuple[Verdict, int]:
        seq64 = nearest(self.highest.get(packet.sa, self.hints[packet.sa]), packet.seq) if esn else packet.seq
        verdict = packet.opens(seq64, esn)
        if verdict is DELIVERED and esn:
            self.highest[packet.sa] = max(self.highest.get(packet.sa, 0), seq64)
        return verdict, seq64


class Columns:
    """A batch's columns and the SAs', and the kernels over them."""

    def __init__(self, host: Host, *, device: bool) -> None:
        self.host, self.device = host, device
        self.windows = Windows(host.windows)
        self.sent = np.array([(hint, 0) for hint in host.hints], np.uint64)

    def run(self, batch: list[Arrival]) -> tuple[list[int], list[int], list[int]]:
        """Verdict, number and the final `opened` of each."""
        rows = len(batch)
        sa, seq = np.array([p.sa for p in batch], np.int32), np.array([p.seq for p in batch], np.uint32)
        flags, order = (
            np.array([OWN if p.own else CUT * (n % 2) for n, p in enumerate(batch)], np.uint8),
            np.array([p.order for p in batch], np.uint8),
        )
        verdict, passed = np.zeros(rows, np.uint8), np.zeros(rows, np.uint8)
        seq64 = np.zeros(rows, np.uint64)
        held = self.windows
        replay.check_rows(sa, seq, flags, verdict, held.shape, held.bits, self.sent, seq64, passed)
        passed[order != WINDOW_FIRST] = 0
        opened = np.array(
            [UNOPENED if passed[n] else self.opens(p, int(seq64[n])) for n, p in enumerate(batch)], np.uint8
        )
        row, before, go_on = 0, -1, self.advance(order)
        while (
            row := go_on(row, sa, seq, flags, opened, held.shape, held.bits, self.sent, seq64, passed, verdict)
        ) >= 0:
            assert row > before  # a row is opened once
            before = row
            assert passed[row] == DELIVERED
            opened[row] = self.opens(batch[row], int(seq64[row]))
        return verdict.tolist(), seq64.tolist(), opened.tolist()

    def advance(self, order: np.ndarray) -> Callable[..., int]:
        if not self.device:
            return replay.advance
        return lambda first, *columns: device_replay.advance(first, order, *columns)

    def opens(self, packet: Arrival, seq64: int) -> int:
        return int(packet.opens(seq64, self.host.windows[packet.sa].esn))


def host() -> Host:
    """Windows shortly before an edge; the numbers sent are not known, or only their high half."""
    windows = [
        Window(64, top=100, bitmap=0b1011), Window(64, esn=True, top=(5 << 32) - 40, bitmap=1),
        make_window(33, esn=True, ring=True, top=(1 << 32) - 9, bitmap=5), Window(0, esn=True, resume=7 << 32),
        Window(128, esn=True, resume=(7 << 32) + HALF), Window(32, top=M32 - 5),
        Window(64, esn=True, top=M64 - 70, bitmap=3),
    ]  # fmt: skip
    return Host(windows, [0, 5 << 32 | 9, 0, (3 << 32) - 3, HALF, 1, M64 - 80])


STARTS = [60, (5 << 32) - 100, (1 << 32) - 50, (7 << 32) - 60, 7 << 32 | 3, M32 - 60, M64 - 100]
FATES = [DELIVERED] * 6 + [INTEGRITY, TRAILER, TRUNCATED]


def traffic(orders: list[int]) -> list[Arrival]:
    """Displaced and doubled packets of all SAs, some sent from here, over the edges of their windows."""
    drawn = random.Random(7)
    places, made = [0] * 7, []
    for _ in range(500):
        sa = drawn.randrange(7)
        places[sa] += drawn.choice((0, 1, 1, 2, 3, 20))
        number = max(STARTS[sa] + places[sa] + drawn.choice((0, 0, -1, -40, -70, 1 - 64, 5)), 0)
        number = number if sa in (1, 2, 3, 4, 6) else min(number, M32)
        order = drawn.choice(orders)
        made.append(Arrival(sa, number, drawn.choice(FATES), drawn.random() < 0.1, order))
        if drawn.random() < 0.3:
            made.append(drawn.choice(made[-20:]))
    return made


def test_the_bits_that_are_prefetched_are_those_of_the_rows_to_come(monkeypatch):
    """A prefetch of a wrong place changes no answer, only the speed. A row without an SA has the first one's."""
    fetched: list[tuple[bool, int]] = []
    held = Windows([Window(64), Window(1024), Window(64)])
    monkeypatch.setattr(replay, "prefetch", lambda table, row: fetched.append((table is held.bits, int(row))))
    sas = [n % 4 - 1 for n in range(70)]
    want: list[tuple[bool, int]] = []
    ahead = plain(replay._prefetch_ahead)
    for row in range(70):
        ahead(row, 70, np.array(sas, np.int32), held.shape, held.bits)
        want += [(False, max(sa, 0)) for sa in sas[row + replay.FAR :][:1]]
        want += [(True, int(held.at[max(sa, 0)])) for sa in sas[row + replay.NEAR :][:1]]
    assert fetched == want


def test_both_prefetch_for_each_row(monkeypatch):
    called: list[Any] = []
    monkeypatch.setattr(replay, "_prefetch_ahead", lambda *columns: called.append(columns))
    held, zeros, sent = Windows([Window(64)]), np.zeros(3, np.uint8), np.zeros((1, 2), np.uint64)
    sa, seq, seq64 = np.array([0, -1, 0], np.int32), np.zeros(3, np.uint32), np.zeros(3, np.uint64)
    verdict = np.array([0, 0, INTEGRITY], np.uint8)
    kernels: list[Any] = [replay.check_rows, replay.advance]
    check, advance = map(plain, kernels)
    check(sa, seq, zeros, verdict, held.shape, held.bits, sent, seq64, zeros.copy())
    advance(1, sa, seq, zeros, zeros, held.shape, held.bits, sent, seq64, zeros, verdict)
    assert [columns[:2] for columns in called] == [(0, 3), (1, 3), (2, 3), (1, 3), (2, 3)]
    for columns in called:
        assert all(column is known for column, known in zip(columns[2:], (sa, held.shape, held.bits), strict=True))


def test_a_packet_of_this_host_has_a_number_and_asks_no_window():
    """Its number is nearest to what was sent. The window would refuse it. Other flags change nothing."""
    window, hint = Window(64, esn=True, top=(9 << 32) + 70, bitmap=M64 >> 1), (3 << 32) + 9
    held, sent = Windows([Window(64, top=70, bitmap=M64 >> 1), window]), np.array([(5, 0), (hint, 1)], np.uint64)
    rows = [(sa, seq, flag) for sa in (0, 1) for seq in (8, 60, 70, 71, M32) for flag in (0, OWN, CUT, OWN | CUT)]
    sa, seq = np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], np.uint32)
    flags, verdict = np.array([row[2] for row in rows], np.uint8), np.zeros(len(rows), np.uint8)
    seq64, passed = np.full(len(rows), 7, np.uint64), np.full(len(rows), 7, np.uint8)
    replay.check_rows(sa, seq, flags, verdict, held.shape, held.bits, sent, seq64, passed)
    for n, (at, low, flag) in enumerate(rows):
        twin = held.twins[at]
        number = (nearest(hint, low) if at else low) if flag & OWN else twin.infer(low)
        assert seq64[n] == number
        assert passed[n] == (DELIVERED if flag & OWN else twin.check(number, low))
    assert passed.any()


@pytest.mark.parametrize("cut", [1000, 40, 1])
@pytest.mark.parametrize("orders", [None, [0], [1], [2], [0, 1, 2]])
def test_both_say_what_one_packet_after_another_gets(orders, cut):
    one_by_one, arrivals = host(), traffic(orders or [int(WINDOW_FIRST)])
    columns = Columns(host(), device=orders is not None)
    for start in range(0, len(arrivals), cut):
        batch = arrivals[start : start + cut]
        want = [one_by_one.receive(packet) for packet in batch]
        verdicts, numbers, _ = columns.run(batch)
        assert list(zip(verdicts, numbers, strict=True)) == want
    columns.windows.twins = one_by_one.windows
    columns.windows.same()
    for sa, hint in enumerate(one_by_one.hints):
        assert columns.sent[sa].tolist() == [one_by_one.highest.get(sa, hint), sa in one_by_one.highest]


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("fate", [DELIVERED, TRAILER, INTEGRITY])
def test_what_was_opened_under_another_number_than_the_one_refused_is_marked(fate, device):
    """The window reaches below 5 * 2^32 at first. Once it has left that, the low half is one of the next 2^32."""
    early, low = (5 << 32) + 100, M32 - 5
    batch = [Arrival(0, number) for number in (early, early, 5 << 32 | low)] + [Arrival(0, 4 << 32 | low, fate)]
    columns = Columns(Host([Window(64, esn=True, top=(5 << 32) + 10, bitmap=1)], [0]), device=device)
    verdicts, numbers, opened = columns.run(batch)
    assert verdicts == [DELIVERED, Verdict.REPLAY_DUPLICATE] * 2
    assert numbers == [early, early, 5 << 32 | low, 5 << 32 | low]
    assert opened == [DELIVERED, DELIVERED, DELIVERED, INTEGRITY if fate is INTEGRITY else OTHERWISE]


@pytest.mark.parametrize("device", [False, True])
def test_what_a_rings_jump_lets_pass_is_opened_although_it_was_refused_at_first(device):
    """Its number stays the same. Linux's ring clears other places than those that it looks at, past 2^32."""
    ring = make_window(33, esn=True, ring=True, top=M32 - 2, bitmap=1)
    batch = [Arrival(0, (1 << 32) + 0x15), Arrival(0, M32 - 2)]
    one_by_one = Host([make_window(33, esn=True, ring=True, top=M32 - 2, bitmap=1)], [0])
    assert ring.check(M32 - 2, M32 - 2) is Verdict.REPLAY_DUPLICATE
    assert [one_by_one.receive(packet)[0] for packet in batch] == [DELIVERED, DELIVERED]
    assert Columns(Host([ring], [0]), device=device).run(batch)[0] == [DELIVERED, DELIVERED]


@pytest.mark.parametrize("device", [False, True])
def test_the_first_number_that_this_host_was_seen_to_send_takes_the_hints_place(device):
    """It may be lower than the hint; of those after it the highest stays."""
    hint = (3 << 32) + 9
    columns = Columns(Host([Window(64, esn=True)], [hint]), device=device)
    for number, highest in ((5, 5), (3, 5), (7, 7), (8, 7)):
        packet = Arrival(0, (3 << 32) + number, INTEGRITY if number == 8 else DELIVERED, own=True)
        verdicts, numbers, _ = columns.run([packet])
        assert (verdicts, numbers) == ([packet.fate], [(3 << 32) + number])
        assert columns.sent.tolist() == [[(3 << 32) + highest, 1]]
    plain = Columns(Host([Window(64)], [hint]), device=device)
    plain.run([Arrival(0, 5, own=True)])
    assert plain.sent.tolist() == [[hint, 0]]


@pytest.mark.parametrize("device", [False, True])
def test_rows_that_have_a_verdict_or_no_sa_are_left_alone(device):
    columns = Columns(Host([Window(64, top=9)], [0]), device=device)
    held, order = columns.windows, np.zeros(4, np.uint8)
    before = held.bits.copy()
    sa, seq = np.array([-1, 0, 0, -1], np.int32), np.array([20, 21, 9, 9], np.uint32)
    verdict = np.array([0, Verdict.FRAGMENT, INTEGRITY, Verdict.NO_SA], np.uint8)
    seq64, passed, opened = np.full(4, 3, np.uint64), np.full(4, 2, np.uint8), np.full(4, 9, np.uint8)
    for flags in (np.zeros(4, np.uint8), np.full(4, OWN, np.uint8)):
        row = columns.advance(order)(
            0, sa, seq, flags, opened, held.shape, held.bits, columns.sent, seq64, passed, verdict
        )
        assert row == -1
        assert verdict.tolist() == [0, Verdict.FRAGMENT, INTEGRITY, Verdict.NO_SA]
        assert (seq64.tolist(), passed.tolist(), opened.tolist()) == ([3] * 4, [2] * 4, [9] * 4)
        assert (held.bits == before).all()
        assert not columns.sent.any()


COUNTED = {
    Verdict.REPLAY_DUPLICATE: DUPLICATES, Verdict.REPLAY_TOO_OLD: TOO_OLD, INTEGRITY: FORGED,
    **dict.fromkeys((DELIVERED, Verdict.MODE, Verdict.POLICY, Verdict.NO_POLICY, Verdict.TEMPLATE, Verdict.BLOCKED,
                     Verdict.TEMPLATES, Verdict.ECN), PACKETS),
}  # fmt: skip
REPLAYS = (Verdict.REPLAY_DUPLICATE, Verdict.REPLAY_TOO_OLD, Verdict.REPLAY_ZERO)


@pytest.mark.parametrize("order", [WINDOW_FIRST, ICV_FIRST, NOBODY])
@pytest.mark.parametrize("used", [0, 1])
def test_what_a_device_leaves_to_count(order, used):
    """One SA for each verdict. A decrypted packet is its first use; with a device also one that the window refuses."""
    rows = len(Verdict)
    counts, own = np.zeros((rows, 8), np.int64), np.zeros((rows, 8), np.int64)
    counts[:, USED], counts[:, SINCE] = used, 7
    verdict, sa = np.array([*Verdict], np.uint8), np.arange(rows, dtype=np.int32)
    payload, time = np.arange(100, 100 + rows, dtype=np.int32), np.arange(500, 500 + rows)
    orders, flags = np.full(rows, order, np.uint8), np.full(rows, CUT, np.uint8)
    for _ in range(2):
        device_replay.tally(verdict, orders, flags, sa, payload, time, counts)
    for row, found in enumerate(Verdict):
        want = [0] * 8
        if found in COUNTED:
            want[COUNTED[found]] = 2
            want[BYTES] = 2 * (100 + row) if COUNTED[found] == PACKETS else 0
        decrypted = found in COUNTED or found in (TRUNCATED, TRAILER, Verdict.REPLAY_ZERO)
        first = decrypted and not (found in REPLAYS and order == WINDOW_FIRST) and not used
        want[USED], want[SINCE] = (2, 500 + row) if first else (used, 7)
        assert counts[row].tolist() == want, found
    device_replay.tally(verdict, orders, np.full(rows, OWN, np.uint8), sa, payload, time, own)
    device_replay.tally(verdict, orders, flags, np.full(rows, -1, np.int32), payload, time, own)
    assert not own.any()
