"""What ALLOCSPI costs as a SAD fills: draws, failures, and how far the kernel walks.

The namespace has `fill` times as many states as the range has SPIs. Half of them are inbound, with the host's one
address and an SPI of their own. Half are outbound, each to another peer, with an SPI that the peer drew from the same
range. Then an SPI is requested `asks` times, always in this same state.

`walked` is the mean number of buckets and states that a request's lookups pass. An SPI rule that looks the triple up
passes one bucket of the table for each draw: 1 + states / buckets. A rule that looks at the SPI alone passes every
bucket until it finds a state (94f39804d891, xfrm_state_lookup_spi_proto): buckets + states where the SPI is free, half
of that where it is taken. FreeBSD hashes by the SPI, so its lookup passes one bucket too. `split`, `sa-dir` and
`full-4301` are proposals; they are assumed to walk as the code that they build on.
"""

from __future__ import annotations

import contextlib
import random

from espsim.analysis.odds import Range
from espsim.analysis.sweep.questions.kind import (
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    number,
    range_of,
    spi_range,
    spi_rule,
    whole,
)
from espsim.core.errors import InputError, XfrmError
from espsim.core.numbers import DIR_IN, PROTO_ESP
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest
from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.index import StateIndex
from espsim.sad.sad import Sad
from espsim.sad.spi import Free, SpiRule

OWN, PEER = bytes((10, 0, 0, 1)), bytes((10, 9, 0, 1))
_MOST = 1 << 20
_ONE_BUCKET = frozenset({"rfc2401", "openbsd", "freebsd"})


class _Counted(SpiRule):
    """An SPI rule whose draws are counted: the `free` and `taken_` SPIs that it tried since the last `reset`."""

    def __init__(self, inner: SpiRule) -> None:
        self._inner = inner
        self.name, self.hands_out_zero = inner.name, inner.hands_out_zero
        self.drawn_zero_ends, self.names_the_taken = inner.drawn_zero_ends, inner.names_the_taken
        self.reset()

    def reset(self) -> None:
        """Count from 0."""
        self.free = self.taken_ = 0

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """As the rule says."""
        return self._inner.taken(index, spi, entry, direction)

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """As the rule says."""
        return self._inner.refuses(index, sa, replaced)

    def draw(self, rng: random.Random, low: int, high: int, free: Free) -> int | None:
        """As the rule says, counted."""

        def counted(spi: int) -> bool:
            found = free(spi)
            self.free, self.taken_ = self.free + found, self.taken_ + (not found)
            return found

        return self._inner.draw(rng, low, high, counted)


def run(params: Params, seed: int, _given: Given) -> TaskResult:
    """Fill the SAD, then request SPIs."""
    rng = random.Random(seed)
    span = range_of(params["range"])
    netns = Netns(params["policy"], seed=rng.getrandbits(64))
    counted = netns.sad.policy = _Counted(netns.sad.policy)
    states = _fill(netns.sad, round(params["fill"] * len(span)), span, rng)
    asks, failed, draws, worst, walked = params["asks"], 0, 0, 0, 0.0
    one_bucket, whole_table = 1 + states / netns.buckets(), netns.buckets() + states
    direction = DIR_IN if netns.kernel.sa_dir else None
    for _ in range(asks):
        counted.reset()
        try:
            view = netns.allocspi(SpiRequest(PEER, OWN, PROTO_ESP, span.low, span.high, dir=direction))
            netns.sad.kill(next(e for e in netns.sad.with_spi(view.sa.spi) if e.sa_index == view.sa_index))
        except XfrmError:
            failed += 1
        tries = counted.free + counted.taken_
        draws, worst = draws + tries, max(worst, tries)
        if counted.name in _ONE_BUCKET:
            walked += tries * one_bucket
        else:
            walked += counted.free * whole_table + counted.taken_ * whole_table / 2
    answer = "always finds one" if not failed else "never finds one" if failed == asks else "fails at times"
    return TaskResult(answer, {
        "states": states, "tries": draws / asks, "most_tries": worst, "failed_share": failed / asks,
        "walked": walked / asks,
    })  # fmt: skip


def _fill(sad: Sad, states: int, span: Range, rng: random.Random) -> int:
    """Add states, half inbound, half outbound. Returns how many there are."""
    if states > _MOST:
        raise InputError(f"{states:,} states; a namespace of more than {_MOST:,} is not filled")
    inbound = min(states // 2 + states % 2, len(span))
    for spi in rng.sample(range(span.low, span.high + 1), inbound):
        sad.newsa(SecurityAssociation(PEER, OWN, spi, dir=Direction.IN))
    for n in range(states - inbound):
        peer = (10 << 24 | 1 << 20 | n).to_bytes(4)
        spi = rng.randint(span.low, span.high)
        with contextlib.suppress(XfrmError):  # FreeBSD refuses a peer's SPI that is there already
            sad.newsa(SecurityAssociation(OWN, peer, spi, dir=Direction.OUT))
    return len(sad)


KIND = QuestionKind(
    "allocspi", "tries and cost of ALLOCSPI as the SAD fills", {
        "policy": Axis("an SPI rule, or a kernel", spi_rule),
        "fill": Axis("states, as a share of the range's SPIs", number(0, 64)),
        "range": Axis("the range of the requested SPIs, MIN-MAX", spi_range, "0x1000-0x13ff"),
        "asks": Axis("requests", whole(1, 1_000_000), 64),
    }, run, headline="tries", shown=("tries", "failed_share", "walked"), along="fill",
)  # fmt: skip
