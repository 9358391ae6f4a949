"""Inner packets out of payloads in their order, by itself: what each byte of a payload was, and what is awaited."""

from __future__ import annotations

import pytest

from espsim.core.verdict import Verdict
from espsim.reference.iptfs_assembly import (
    BAD,
    BEGINS,
    ENDS,
    GOES_ON,
    PADDING,
    SKIPPED,
    WHOLE,
    Assembly,
    Inner,
    TakenPayload,
)  # fmt: skip
from espsim.reference.iptfs_order import Held
from tests.aggfrag import cut, payload
from tests.support import ipv4, ipv6, udp

A, B = ipv4(udp(b"first"), ident=1), ipv6(udp(b"the second one"))
BIG, BIG6 = ipv4(udp(bytes(range(200)))), ipv6(udp(bytes(150)))
BUFFER, HEADER, LOST = Verdict.IPTFS_BUFFER, Verdict.IPTFS_HEADER, Verdict.IPTFS_LOST


class Receiver:
    """An assembly, to which payloads come at the time that is their number; a turn comes half a second later."""

    def __init__(self) -> None:
        self.assembly = Assembly()

    def take(self, number: int, data: bytes) -> TakenPayload:
        before = self.assembly.padding
        taken = self.assembly.take(Held(number, data, float(number)), number + 0.5)
        if taken.header is not None and not set(taken.errors) & {HEADER} - {LOST}:
            at = taken.header.length
            for piece in taken.pieces:  # they cover the payload, and none twice
                assert piece.at == at
                assert piece.size > 0
                at += piece.size
            assert at == len(data) or taken.errors
        assert self.assembly.padding - before == sum(p.size for p in taken.pieces if p.what == PADDING)
        return taken

    def packets(self, number: int, data: bytes) -> list[bytes]:
        return [inner.packet for inner in self.take(number, data).inners]


def pieces(taken: TakenPayload) -> list[tuple[str, int, int, int]]:
    return [(piece.what, piece.at, piece.size, piece.inner) for piece in taken.pieces]


# -- the header, and blocks that begin in a payload --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\0\0", BUFFER),
        (b"\1" + bytes(22), BUFFER),
        (payload(A, flags=1), HEADER),
        (payload(A, sub_type=2), HEADER),
        (payload(A, sub_type=1, flags=1), HEADER),
    ],
)
def test_a_header_that_is_wrong(data, error):
    """What began before goes on in the next payload, as if this one were lost."""
    receiver = Receiver()
    receiver.take(1, payload(BIG[:50]))
    taken = receiver.take(2, data)
    assert (taken.errors, taken.inners, taken.pieces) == ([error], [], [])
    assert (taken.header is None) == (error is BUFFER)
    assert receiver.assembly.since == 1.5
    assert receiver.take(3, payload(BIG[50:], len(BIG) - 50)).errors == [LOST]


@pytest.mark.parametrize("sub_type", [0, 1])
def test_whole_packets_and_padding(sub_type):
    taken = Receiver().take(7, payload(A + B + bytes(5), sub_type=sub_type))
    at = 24 if sub_type else 4
    assert taken.inners == [Inner(A, 7.0, 1), Inner(B, 7.0, 1)]
    assert pieces(taken) == [
        (WHOLE, at, len(A), len(A)), (WHOLE, at + len(A), len(B), len(B)), (PADDING, at + len(A) + len(B), 5, 0),
    ]  # fmt: skip
    assert taken.errors == []


@pytest.mark.parametrize(
    ("block", "error"),
    [(b"\x50abc", BUFFER), (b"\xf0", BUFFER), (ipv4(b"", total=19), HEADER), (b"\x4f" + A[1:], HEADER)],
)
def test_a_block_that_cannot_be_read_takes_its_payload_with_it(block, error):
    receiver = Receiver()
    receiver.take(1, payload(BIG[:50]))
    taken = receiver.take(2, payload(BIG[50:] + A + block, len(BIG) - 50))
    assert (taken.inners, taken.errors) == ([], [error])
    at = 4 + len(BIG) - 50
    assert pieces(taken)[1:] == [(WHOLE, at, len(A), len(A)), (BAD, at + len(A), len(block), 0)]
    assert receiver.assembly.since is None
    assert receiver.packets(3, payload(B)) == [B]


@pytest.mark.parametrize(("packet", "knows"), [(BIG, 4), (BIG6, 6)])
def test_a_packet_cut_after_each_byte(packet, knows):
    """Its length is known from the fourth byte of IPv4 on, and the sixth of IPv6."""
    for first in range(1, len(packet)):
        receiver = Receiver()
        size = len(packet) if first >= knows else 0
        assert pieces(receiver.take(3, payload(A + packet[:first])))[1:] == [(BEGINS, 4 + len(A), first, size)]
        assert receiver.assembly.since == 3.5
        taken = receiver.take(4, payload(packet[first:] + B, len(packet) - first))
        assert (taken.inners, taken.errors) == ([Inner(packet, 3.0, 2), Inner(B, 4.0, 1)], [])
        assert pieces(taken)[0] == (ENDS, 4, len(packet) - first, len(packet))
        assert pieces(receiver.take(6, payload(B, 1)))[0] == (SKIPPED, 4, 1, 0)  # nothing is awaited
        assert receiver.assembly.incomplete == 0


@pytest.mark.parametrize("sizes", [[1], [2, 3], [5, 1], [7, 64], [100], [6, 1, 1, 90]])
def test_any_number_of_parts(sizes):
    for inners in ([BIG, A, BIG6, B], [BIG6, BIG], [B]):
        for sub_type in (0, 1):
            receiver, found = Receiver(), []
            parts = cut(inners, sizes, sub_type=sub_type)
            for number, (data, _) in enumerate(parts, 1):
                taken = receiver.take(number, data)
                assert taken.errors == []
                found += taken.inners
            assert [inner.packet for inner in found] == inners
            having = [sum(n in parts_of for _, parts_of in parts) for n in range(len(inners))]
            assert [inner.parts for inner in found] == having
            first = [next(n for n, (_, of) in enumerate(parts, 1) if inner in of) for inner in range(len(inners))]
            assert [inner.begun for inner in found] == first
            assert receiver.assembly.since is None


def test_a_middle_part_with_and_without_a_known_length():
    receiver = Receiver()
    assert pieces(receiver.take(1, payload(BIG6[:3]))) == [(BEGINS, 4, 3, 0)]
    assert pieces(receiver.take(2, payload(BIG6[3:5], len(BIG6) - 3))) == [(GOES_ON, 4, 2, 0)]
    assert pieces(receiver.take(3, payload(BIG6[5:6], len(BIG6) - 5))) == [(GOES_ON, 4, 1, len(BIG6))]
    assert pieces(receiver.take(4, payload(BIG6[6:50], len(BIG6) - 6))) == [(GOES_ON, 4, 44, len(BIG6))]
    taken = receiver.take(5, payload(BIG6[50:], len(BIG6) - 50))
    assert pieces(taken) == [(ENDS, 4, len(BIG6) - 50, len(BIG6))]
    assert taken.inners == [Inner(BIG6, 1.0, 5)]


# -- what is awaited, and does not come --------------------------------------------------------------------------------


def begun(number: int = 1, data: bytes = BIG[:50]) -> Receiver:
    receiver = Receiver()
    receiver.take(number, payload(data))
    return receiver


def test_padding_may_come_between():
    receiver = begun()
    for number, data in ((2, b""), (3, bytes(9)), (4, b"\0" + A)):
        taken = receiver.take(number, payload(data))
        assert (taken.errors, taken.inners) == ([], [])
        assert receiver.assembly.since == 1.5
    assert receiver.packets(5, payload(BIG[50:], len(BIG) - 50)) == [BIG]


@pytest.mark.parametrize("offset", [0, 1])
def test_padding_with_an_offset_or_packets_without_one_are_not_the_rest(offset):
    receiver = begun()
    taken = receiver.take(2, payload((b"\0" if offset else b"") + A, offset))
    assert (taken.errors, [inner.packet for inner in taken.inners]) == ([LOST], [A])
    assert (receiver.assembly.incomplete, receiver.assembly.since) == (1, None)
    assert [piece[:3] for piece in pieces(taken)][:1] == [(SKIPPED, 4, 1) if offset else (WHOLE, 4, len(A))]


def test_a_number_that_is_missing():
    receiver = begun()
    taken = receiver.take(3, payload(BIG[120:] + A, len(BIG) - 120))
    assert (taken.errors, [inner.packet for inner in taken.inners]) == ([LOST], [A])
    assert pieces(taken)[0] == (SKIPPED, 4, len(BIG) - 120, 0)
    assert receiver.assembly.incomplete == 1
    assert receiver.packets(4, payload(B)) == [B]


def test_an_earlier_number_changes_nothing():
    receiver = begun(5)
    taken = receiver.take(4, payload(A))
    assert (taken.errors, taken.inners, pieces(taken)) == ([], [], [(SKIPPED, 4, len(A), 0)])
    assert receiver.packets(6, payload(BIG[50:], len(BIG) - 50)) == [BIG]


@pytest.mark.parametrize(("short", "error"), [(0, False), (1, True), (100, True)])
def test_an_offset_that_says_less_than_the_rest(short, error):
    receiver = begun()
    rest = len(BIG) - 50
    taken = receiver.take(2, payload(BIG[50:] + A, rest - short))
    assert (taken.errors[:1] == [LOST]) == error
    assert (receiver.assembly.incomplete == 1) == error


def test_an_offset_that_says_more_than_the_rest_skips_what_is_between():
    receiver = begun()
    rest = len(BIG) - 50
    taken = receiver.take(2, payload(BIG[50:] + b"xyz" + A, rest + 3))
    assert [inner.packet for inner in taken.inners] == [BIG, A]
    assert pieces(taken)[:2] == [(ENDS, 4, rest, len(BIG)), (SKIPPED, 4 + rest, 3, 0)]


def test_an_offset_past_the_end_where_nothing_was_begun():
    receiver = Receiver()
    assert pieces(receiver.take(1, payload(b"abcdef", 7))) == [(SKIPPED, 4, 6, 0)]
    assert pieces(receiver.take(2, payload(b"abcdef", 6))) == [(SKIPPED, 4, 6, 0)]
    assert pieces(receiver.take(3, payload(b"abc" + A, 3))) == [(SKIPPED, 4, 3, 0), (WHOLE, 7, len(A), len(A))]
    assert receiver.assembly.incomplete == 0


def test_a_rest_whose_length_is_shorter_than_its_header():
    receiver = begun(data=b"\x45\0")
    taken = receiver.take(2, payload(b"\0\x13" + bytes(40), 42))
    assert (taken.errors, taken.inners) == ([LOST], [])
    assert receiver.assembly.incomplete == 1


def test_a_length_that_never_comes():
    receiver = begun(data=b"\x60\0\0\0")
    taken = receiver.take(2, payload(b"\0", 1))
    assert (taken.errors, receiver.assembly.incomplete) == ([LOST], 1)
    receiver = begun(data=b"\x60\0\0\0")
    assert receiver.take(2, payload(b"\0", 2)).errors == []


def test_the_largest_offset_says_no_more_than_that_it_is_large():
    huge = ipv6(bytes(65535))
    receiver = begun(data=huge[:10])
    assert receiver.take(2, payload(huge[10:20], 0xFFFF)).errors == []
    assert receiver.take(3, payload(huge[20:30], len(huge) - 20)).errors == []
    assert receiver.take(4, payload(huge[30:40], 0xFFFE)).errors == [LOST]


def test_before_the_first_payload():
    new = Assembly()
    assert (new.padding, new.incomplete) == (0, 0)
    assert new.since is None


def test_what_is_waited_for_no_more():
    receiver = begun()
    receiver.assembly.drop()
    receiver.assembly.drop()
    assert (receiver.assembly.incomplete, receiver.assembly.since) == (1, None)
    assert pieces(receiver.take(2, payload(BIG[50:] + A, len(BIG) - 50)))[0] == (SKIPPED, 4, len(BIG) - 50, 0)
