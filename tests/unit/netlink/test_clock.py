"""Timers: one a state, in order of time, and no more of them however often the clock moves."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.core.errors import XfrmError
from espsim.netlink.clock import next_timer
from espsim.netlink.netns import Netns
from espsim.netlink.request import SaRequest, StateKey
from espsim.sad.association import Limits
from espsim.sad.sad import Sad
from tests.examples import examples

GCM = (Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),)


def request(spi: int, **limits: int) -> SaRequest:
    return SaRequest(bytes(4), bytes(4), 50, spi, algorithms=GCM, limits=Limits(**limits))


def timers(netns: Netns) -> int:
    return len(netns.timers)


def test_the_heap_does_not_grow_with_the_clock():
    netns = Netns()
    for spi in range(256, 266):
        netns.newsa(request(spi, soft_add=900, hard_add=1000, hard_use=500))
    for entry in netns.sad:
        entry.used = 0.0
    for _ in range(3000):
        netns.advance(0.1)
    assert timers(netns) <= 20
    assert netns.count() == 10
    netns.advance(201)
    assert netns.count() == 0
    assert timers(netns) <= 10


def test_states_that_are_gone_leave_it():
    netns = Netns()
    for n in range(2000):
        spi = 256 + n % 5
        netns.newsa(request(spi, hard_add=1000))
        netns.delsa(StateKey(bytes(4), 50, spi))
    assert timers(netns) <= 130
    assert not netns.sad.index.timed


def test_a_state_that_is_renewed_again_and_again_has_few():
    netns = Netns()
    netns.newsa(request(256, hard_add=1000))
    for n in range(2000):
        netns.updsa(request(256, hard_add=1000 - n % 900))
    assert timers(netns) <= 130
    netns.advance(2000 - 1999 % 900)
    assert netns.count() == 0


def test_a_step_of_the_clock_looks_at_no_state_of_which_nothing_is_due():
    netns = Netns()
    for spi in range(256, 356):
        netns.newsa(request(spi, **({"hard_add": 1000} if spi % 2 else {})))
    netns.advance(1)
    whole = mock.patch.object(Sad, "__iter__", side_effect=AssertionError("every state"))
    with whole, mock.patch("espsim.netlink.clock.next_timer", wraps=next_timer) as asked:
        netns.advance(1)
        assert asked.call_count == 0
        netns.newsa(request(400, hard_add=5, hard_use=3))
        netns.advance(1)
        (newest,) = netns.sad.with_spi(400)
        assert asked.call_count == 2  # when it came, and because its first use may have been
        newest.used = netns.now
        netns.advance(2)
        assert netns.count() == 101
        netns.advance(1)
        assert netns.count() == 100
    assert [event.time for event in netns.events() if event.kind == "EXPIRE"] == [6]


def test_a_state_that_gets_limits_has_a_timer():
    netns = Netns()
    netns.newsa(request(256))
    netns.advance(5)
    (entry,) = netns.sad.with_spi(256)
    netns.sad.updsa(replace(entry.sa, limits=Limits(hard_add=7)), now=5)
    netns.advance(3)
    assert netns.count() == 0
    assert [(event.kind, event.time) for event in netns.events() if event.kind == "EXPIRE"] == [("EXPIRE", 7)]


class Plain:
    """The slow twin: at each step every state's next timer is worked out anew, and the earliest of all fires."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns

    def advance(self, seconds: float) -> None:
        end = self.netns.now + seconds
        while True:
            due = [
                (at, entry.sa_index, entry, hard)
                for entry in self.netns.sad
                for at, hard in [next_timer(entry) or (end + 1, 0)]
            ]
            first = min(due, key=lambda d: d[:2], default=None)
            if first is None or first[0] > end:
                break
            self.netns._fire(first[2], first[0], first[3])
        self.netns.now = end


LIMIT = st.sampled_from([None, 0, 1, 2, 3, 5, 9])
STEPS = st.one_of(
    st.tuples(
        st.just("new"),
        st.integers(256, 259),
        st.fixed_dictionaries(dict.fromkeys(("soft_add", "hard_add", "soft_use", "hard_use"), LIMIT)),
    ),
    st.tuples(
        st.just("renew"), st.integers(256, 259), st.fixed_dictionaries(dict.fromkeys(("soft_add", "hard_add"), LIMIT))
    ),
    st.tuples(st.just("use"), st.integers(256, 259), st.none()),
    st.tuples(st.just("delete"), st.integers(256, 259), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0, 0.5, 1, 2.5, 4]), st.none()),
)


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=examples(60), deadline=None)
def test_what_fires_when_is_as_of_a_search_of_all_states(steps):
    fast, slow = Netns(), Netns()
    for netns, advance in ((fast, fast.advance), (slow, Plain(slow).advance)):
        for kind, what, limits in [*steps, ("wait", 30, None)]:
            try:
                if kind == "wait":
                    advance(what)
                elif kind == "use":
                    for entry in netns.sad.with_spi(what):
                        entry.used = netns.now if entry.used is None else entry.used
                elif kind == "delete":
                    netns.delsa(StateKey(bytes(4), 50, what))
                else:
                    given_limits = {name: value for name, value in limits.items() if value is not None}
                    (netns.newsa if kind == "new" else netns.updsa)(request(what, **given_limits))
            except XfrmError:
                pass
    told = [(e.kind, e.time, e.hard, e.view and e.view.sa_index) for e in fast.events()]
    assert told == [(e.kind, e.time, e.hard, e.view and e.view.sa_index) for e in slow.events()]
    assert [time for _, time, *_ in told] == sorted(time for _, time, *_ in told)
