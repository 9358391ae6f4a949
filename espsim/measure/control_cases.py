"""The control plane: SAs added, allocated, deleted and expired among many states, and the longest single pause.

One namespace (`netlink.netns`) holds the states, as after a key manager's NEWSA for each. A round adds, allocates,
deletes or expires a few thousand more. What it did is undone off the clock, so that every round meets as many states.
`longest_ms` is the longest single call of all rounds, the time that a key manager would have to wait; Python's garbage
collector and the growth of tables are in it. For expiry a call is one step of the clock.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espsim.aead.suites import Algorithm
from espsim.core.numbers import PROTO_ESP
from espsim.measure.cases import BenchCase, BenchGroup
from espsim.measure.peers import Unavailable
from espsim.measure.tunnels import memory_for
from espsim.netlink.netns import Netns
from espsim.netlink.request import SaRequest, SpiRequest, StateKey
from espsim.sad.association import MODE_NUMBERS, NO_LIMITS, Limits, Mode
from espsim.sad.linux import DEFAULT_KERNEL

SAS = [1000, 100_000, 1_000_000]
FEW = [1000, 10_000]
CALLS = 2_000
"""Calls of a round."""
_STATE_BYTES = 2_500
_FIRST_SPI = 0x1000
_LASTS = 100.0
"""Hard lifetime, in seconds, of the SAs that expire."""
_US = bytes((198, 18, 0, 1))
_PEERS = int.from_bytes(bytes((10, 0, 0, 0)))
WHATS = ("add", "allocate", "delete", "expire")


@dataclass(slots=True)
class Control:
    """A namespace with `sas` states, and its rounds. `longest`: the longest call of each kind, in seconds."""

    netns: Netns
    sas: int
    key: Algorithm
    longest: dict[str, float]

    def request(self, number: int, limits: Limits = NO_LIMITS) -> SaRequest:
        """The NEWSA of SA `number`: a tunnel to a peer of its own."""
        return SaRequest(
            _US, (_PEERS + number).to_bytes(4), PROTO_ESP, _FIRST_SPI + number, mode=MODE_NUMBERS[Mode.TUNNEL],
            algorithms=(self.key,), limits=limits, replay_window=32,
        )  # fmt: skip

    def fill(self) -> None:
        """Add all the states."""
        for number in range(self.sas):
            self.netns.newsa(self.request(number))
        self.netns.events()

    def add(self) -> float:
        """NEWSA of some more SAs. Returns the seconds of all calls."""
        requests = [self.request(self.sas + n) for n in range(CALLS)]
        spent = self._each("add", requests, self.netns.newsa)
        self._remove([StateKey(request.dst, PROTO_ESP, request.spi) for request in requests])
        return spent

    def allocate(self) -> float:
        """ALLOCSPI from the whole range. Returns the seconds of all calls."""
        made: list[StateKey] = []
        requests = [
            SpiRequest((_PEERS + n).to_bytes(4), _US, PROTO_ESP, 0x100, 0xFFFFFFFF, reqid=n) for n in range(CALLS)
        ]

        def call(request: SpiRequest) -> None:
            made.append(StateKey(_US, PROTO_ESP, self.netns.allocspi(request).sa.spi))

        spent = self._each("allocate", requests, call)
        self._remove(made)
        return spent

    def delete(self) -> float:
        """DELSA of SAs that were added for it. Returns the seconds of all calls."""
        requests = [self.request(self.sas + n) for n in range(CALLS)]
        for request in requests:
            self.netns.newsa(request)
        spent = self._each(
            "delete", [StateKey(request.dst, PROTO_ESP, request.spi) for request in requests], self.netns.delsa
        )
        self.netns.events()
        return spent

    def expire(self) -> float:
        """One step of the clock that brings a round's SAs to their hard limit. Returns its seconds."""
        limits = Limits(hard_add=int(_LASTS))
        for n in range(CALLS):
            self.netns.newsa(self.request(self.sas + n, limits))
        spent = self._each("expire", [_LASTS], self.netns.advance)
        self.netns.events()
        if len(self.netns.sad) != self.sas:
            raise AssertionError("other SAs expired than should have")
        return spent

    def _each(self, what: str, requests: Sequence[Any], call: Callable[[Any], object]) -> float:
        """Make a call for each request. Returns the seconds of all, and keeps the longest."""
        clock, longest, begun = time.perf_counter, self.longest.get(what, 0.0), time.perf_counter()
        start = begun
        for request in requests:
            call(request)
            end = clock()
            longest, start = max(longest, end - start), end
        self.longest[what] = longest
        return start - begun

    def _remove(self, keys: list[StateKey]) -> None:
        for key in keys:
            self.netns.delsa(key)
        self.netns.events()


def control_groups(sas: list[int], seed: int, *, peers: bool) -> Iterator[BenchGroup]:
    """One group for each number of states. No other program keeps a kernel's rules, so there is no peer."""
    for count in sas:
        try:
            memory_for(f"{count:,} states", count * _STATE_BYTES)
        except Unavailable as reason:
            yield BenchGroup([], [str(reason)])
            continue
        yield _group(count, seed, peers=peers)
        gc.collect()


def _group(count: int, seed: int, *, peers: bool) -> BenchGroup:
    rng, start = np.random.default_rng(seed), time.perf_counter()
    key = Algorithm("aead", "rfc4106(gcm(aes))", rng.bytes(20), 128)
    of = Control(Netns(seed=seed), count, key, {})
    of.fill()
    spent = time.perf_counter() - start
    cases = []
    for what in WHATS:
        case = BenchCase("control", what, count, functools.partial(_once, of, what), setup_s=spent)
        case.extra["rule"] = DEFAULT_KERNEL
        case.rate = functools.partial(_rate, case, of, what)
        cases.append(case)
    return BenchGroup(cases, ["control: no other program is measured on this work"] if peers else [])


def _once(of: Control, what: str) -> tuple[int, float]:
    return CALLS, getattr(of, what)()


def _rate(case: BenchCase, of: Control, what: str) -> float:
    """Millions a second of one round."""
    done, spent = _once(of, what)
    case.extra["longest_ms"] = round(of.longest[what] * 1e3, 3)
    return done / spent / 1e6
