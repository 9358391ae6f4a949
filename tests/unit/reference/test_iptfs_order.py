"""The order of IP-TFS packets by itself: each edge of the window, of what is held, and of what is given up."""

from __future__ import annotations

import pytest

from espsim.reference import iptfs_order
from espsim.reference.iptfs_order import Held, Order


def came(number: int, size: int = 1, arrived: float = 0.0) -> Held:
    return Held(number, bytes(size), arrived)


def put(order: Order, *numbers: int) -> list[list[int] | None]:
    """The numbers that are in turn after each."""
    found = []
    for number in numbers:
        ready = order.put(came(number))
        found.append(None if ready is None else [held.number for held in ready])
    return found


def test_without_a_window_each_is_in_turn():
    order = Order(0)
    assert put(order, 5, 3, 5) == [[5], [3], [5]]
    assert (len(order), order.wanted, order.oldest) == (0, None, None)


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_as_many_wait_as_the_window_says(window):
    """The wanted number is 2. `window` numbers after it are the most that wait; one more gives it up."""
    order = Order(window)
    waits = list(range(3, 3 + window))
    assert put(order, 1, *waits) == [[1], *[[] for _ in waits]]
    assert (len(order), order.wanted, order.lost) == (window, 2, 0)
    assert put(order, 3 + window) == [[*waits, 3 + window]]
    assert (len(order), order.wanted, order.lost) == (0, 4 + window, 1)
    assert put(order, 2) == [None]


def test_what_was_missing_lets_the_others_go():
    order = Order(3)
    assert put(order, 7, 9, 10, 8, 11) == [[7], [], [], [8, 9, 10], [11]]
    assert (order.lost, order.wanted) == (0, 12)


def test_too_late_and_twice():
    order = Order(3)
    assert put(order, 7, 9, 9, 7, 6) == [[7], [], None, None, None]
    assert len(order) == 1
    assert put(order, 8) == [[8, 9]]


def test_a_jump_gives_up_all_that_is_too_far_behind_and_hands_on_what_is_held():
    order = Order(3)
    assert put(order, 1, 3, 5, 10) == [[1], [], [], [3, 5]]
    assert (order.wanted, order.lost, len(order)) == (7, 3, 1)  # 2, 4, 6
    assert put(order, 8, 7) == [[], [7, 8]]
    assert put(order, 100) == [[10]]
    assert (order.wanted, order.lost) == (97, 3 + 87)  # 9, and 11 to 96


def test_giving_up():
    order = Order(9)
    assert order.give_up() == []
    put(order, 1, 4, 5, 8)
    assert [held.number for held in order.give_up()] == [4, 5]
    assert (order.wanted, order.lost, len(order)) == (6, 2, 1)
    assert [held.number for held in order.give_up()] == [8]
    assert (order.wanted, order.lost, len(order)) == (9, 4, 0)
    assert order.give_up() == []
    assert (order.wanted, order.lost) == (9, 4)


def test_number_0_may_be_wanted():
    order = Order(2)
    assert put(order, 0, 2) == [[0], []]
    early = Order(1, wanted=0)
    assert put(early, 5) == [[]]
    assert (early.wanted, early.lost) == (4, 4)


def test_who_waits_longest():
    order = Order(5)
    assert order.oldest is None
    order.put(came(1, arrived=0.5))
    assert order.oldest is None
    for number, arrived in ((4, 1.5), (3, 2.5), (6, 3.5)):
        order.put(came(number, arrived=arrived))
        assert order.oldest == 1.5
    order.put(came(2, arrived=4.5))
    assert order.oldest == 3.5


def test_no_more_than_so_many_bytes_are_held(monkeypatch):
    monkeypatch.setattr(iptfs_order, "HELD", 10)
    order = Order(100)

    def sized(number: int, size: int) -> list[int]:
        return [held.number for held in order.put(came(number, size)) or []]

    assert [sized(1, 50), sized(3, 5), sized(4, 1), sized(7, 4)] == [[1], [], [], []]
    assert (order.lost, len(order)) == (0, 3)  # ten bytes
    assert sized(9, 1) == [3, 4]
    assert (order.lost, order.wanted) == (1, 5)
    assert sized(8, 5) == []  # ten again: what was handed on is held no more
    assert sized(11, 11) == [7, 8, 9, 11]
    assert (order.lost, order.wanted, len(order)) == (4, 12, 0)
    assert sized(13, 10) == []
