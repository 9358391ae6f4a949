"""Why an ICV was wrong: with what the packet does open. At most one of these holds, because an ICV fits only one.

late        the high half below the inferred one: the packet is older than the window
esn-flag    with ESN where the SA has none, or without ESN
esn-high    another high half
icv-length  another ICV length
other-sa    another SA's keys
key         nothing; at the end of the run it becomes `damaged` if other packets of the SA were authentic
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from espsim.aead.suites import HASHES, SuiteKeys
from espsim.core.address import format_address
from espsim.core.arrays import U64
from espsim.explain.facts import Explanation, Failure, Top
from espsim.explain.known import Known
from espsim.explain.trials import Trials
from espsim.sad.entry import SadEntry

_LOW = 0xFFFFFFFF
_FLAG_HIGHS = 64
"""How many high halves are tried for an SA without ESN."""
_HIGHS, _NEAR = 1024, 1024
"""How many high halves are tried for an SA with ESN: from 0 on, and to each side of the one that its text states."""
_AEAD_ICVS = {"rfc4106(gcm(aes))": (8, 12, 16), "rfc4309(ccm(aes))": (8, 12, 16)}
_HMAC_ICVS = (10, 12, 16, 20, 24, 32, 48, 64)

Tops = Callable[[SadEntry], Top]


@dataclass(slots=True)
class Habit:
    """What explained earlier packets of a group. It is tried first on the next one."""

    last: int = 0
    high: int | None = None
    sa: SadEntry | None = None


class WrongIcv:
    """For a packet with a wrong ICV, finds what opens it. `tops` gives the tops of windows."""

    def __init__(self, known: Known, trials: Trials, tops: Tops) -> None:
        self._known, self._trials, self._tops = known, trials, tops

    def explain(self, failure: Failure, own: SadEntry, habit: Habit) -> Explanation | None:
        """The first cause that holds. None: nothing that is tried here opens it. `habit`: of the packet's group."""
        tries = (self._late, self._esn_flag, self._esn_high, self._icv_length, self._other_sa)
        for number in (habit.last, *(n for n in range(len(tries)) if n != habit.last)):
            answer = tries[number](failure, own, habit)
            if answer is not None:
                habit.last = number
                return answer
        return None

    def _late(self, failure: Failure, own: SadEntry, _habit: Habit) -> Explanation | None:
        """A number left of the window: RFC 4303 A2.2 takes it for one of the next 2^32."""
        seq64, top = failure.fate.seq64 or 0, self._tops(own)
        real = seq64 - (1 << 32)
        if failure.fate.own or not own.sa.esn or real < 0 or not top.known or top.number - real < own.window.size:
            return None
        if not self._trials.opens(own, failure.esp, real):
            return None
        return Explanation(
            "late",
            f"ESN: opens under high half {real >> 32}, one below the one inferred: number {real & _LOW} came"
            f" {top.number - real} after the highest, left of the window of {own.window.size}, and was taken for"
            " one of the next 2^32. Set a larger replay-window, or find what delays packets",
        )

    def _esn_flag(self, failure: Failure, own: SadEntry, habit: Habit) -> Explanation | None:
        if own.sa.esn:
            if self._trials.high_half(own, failure.esp, np.zeros(1, np.uint64), esn=False) is None:
                return None
            return Explanation(
                "esn-flag", "opens without ESN: the peer does not use ESN, so the SA must not have `flag esn`"
            )
        high = self._swept(failure, own, np.arange(_FLAG_HIGHS, dtype=np.uint64), habit)
        if high is None:
            return None
        return Explanation(
            "esn-flag", f"opens with ESN under high half {high}: the peer uses ESN, so the SA needs `flag esn`"
        )

    def _esn_high(self, failure: Failure, own: SadEntry, habit: Habit) -> Explanation | None:
        if not own.sa.esn:
            return None
        stated, inferred = stated_high(own), (failure.fate.seq64 or 0) >> 32
        highs = _near(stated)
        high = self._swept(failure, own, highs[highs != np.uint64(inferred)], habit)
        if high is None:
            return None
        return Explanation(
            "esn-high",
            f"ESN: opens under high half {high}, and {inferred} was inferred. Take a new dump of the SA with its"
            f" counters, or state replay-seq-hi {high}",
        )

    def _swept(self, failure: Failure, own: SadEntry, highs: U64, habit: Habit) -> int | None:
        """The high half under which it opens. It tries that of the packet before, then a few, then all."""
        before = [] if habit.high is None else [habit.high]
        for some in (np.array(before, np.uint64), highs[:_FLAG_HIGHS], highs[_FLAG_HIGHS:]):
            found = self._trials.high_half(own, failure.esp, some)
            if found is not None:
                habit.high = found
                return found
        return None

    def _icv_length(self, failure: Failure, own: SadEntry, _habit: Habit) -> Explanation | None:
        return icv_length(failure, own, self._trials)

    def _other_sa(self, failure: Failure, own: SadEntry, habit: Habit) -> Explanation | None:
        found = self._whose(failure, own, [] if habit.sa is None else [habit.sa])
        if found is None:
            return None
        habit.sa = found
        return Explanation("other-sa", f"opens with the keys of {_named(found)}, and {_named(own)} was found: {_MIXED}")

    def _whose(self, failure: Failure, own: SadEntry, first: list[SadEntry]) -> SadEntry | None:
        """The other SA whose keys open it. It tries those of the same SPI, then MORE others, then those between its
        addresses.
        """
        found = self._first(failure, first + self._known.of_spi(own, failure.fate.spi or 0))
        if found is None:
            some = self._known.some
            which = self._trials.keys_of(some, failure.esp, [self._number(other, failure) for other in some])
            found = some[which] if which is not None and some[which] is not own else None
        return found or self._first(failure, self._known.between(own, _ends(failure)))

    def _first(self, failure: Failure, others: list[SadEntry]) -> SadEntry | None:
        """The first of `others` whose keys open it."""
        for other in others:
            if self._trials.opens(other, failure.esp, self._number(other, failure)):
                return other
        return None

    def _number(self, other: SadEntry, failure: Failure) -> int:
        seq = failure.fate.seq or 0
        return self._known.number_under(other, self._tops(other), seq) if other.sa.esn else seq


def stated_high(own: SadEntry) -> int:
    """The high half that the SA's text states; for an outbound SA, that of the last number sent."""
    replay = own.sa.replay
    return replay.seq_hi if replay.seq_hi or replay.seq else replay.oseq_hi


@functools.lru_cache(maxsize=64)
def _near(stated: int) -> U64:
    """The high halves to try, those nearest to the stated one first."""
    highs = {*range(_HIGHS), *range(max(stated - _NEAR, 0), min(stated + _NEAR, _LOW) + 1)}
    return np.array(sorted(highs, key=lambda high: (abs(high - stated), high)), np.uint64)


def icv_length(failure: Failure, own: SadEntry, trials: Trials) -> Explanation | None:
    """Whether it opens with another length of the suite's ICV, such as SHA-256 cut to 96 bits, a common mistake."""
    keys = own.sa.keys
    if keys is None:
        return None
    found = trials.icv_of(own, failure.esp, failure.fate.seq64 or 0, _lengths(keys))
    if found is None:
        return None
    set_to = (
        f"auth-trunc {keys.suite.auth} KEY {8 * found}"
        if keys.suite.auth
        else f"aead {keys.suite.name} KEY {8 * found}"
    )
    return Explanation(
        "icv-length",
        f"opens with an ICV of {8 * found} bits, and the SA has {8 * keys.icv_length}: the peer cuts it"
        f" elsewhere. Set {set_to}",
    )


def _lengths(keys: SuiteKeys) -> Iterator[int]:
    """The other lengths in bytes of a suite's ICV, the most likely first."""
    lengths: tuple[int, ...] = _AEAD_ICVS.get(keys.suite.name, ())
    if keys.suite.auth:
        most = HASHES[keys.suite.auth].full_bits // 8
        lengths = tuple(n for n in (12, *_HMAC_ICVS) if n <= most)
    return (length for length in dict.fromkeys(lengths) if length != keys.icv_length)


_MIXED = "the keys of the two are mixed up, or the peer seals with an SA that this one replaced"


def _named(entry: SadEntry) -> str:
    return f"{entry.sa.name} (from {format_address(entry.sa.src)}, reqid {entry.sa.reqid})"


def _ends(failure: Failure) -> frozenset[bytes]:
    return frozenset() if failure.outer is None else frozenset((failure.outer.src, failure.outer.dst))
