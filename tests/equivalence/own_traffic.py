"""Captures of both directions: SAs of which this host sends some, and their packets, from here and from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from espsim.sad.association import Direction, Offload, ReplayState, SecurityAssociation
from espsim.sad.sad import Sad
from espsim.sad.sent import before
from tests.equivalence.inbound_traffic import M32, SENT, Sent, packets_of, sas

OUT = Offload("eth0", Direction.OUT)
DIRECTIONS = st.sampled_from(
    [(Direction.OUT, None)] * 4 + [(None, OUT), (None, OUT), (None, None), (Direction.IN, None), (Direction.OUT, OUT)]
)


@st.composite
def both_ways(draw: st.DrawFn) -> tuple[SecurityAssociation, bool]:
    """An SA that is mostly outbound, by its direction or by its offload, and whether its window goes on."""
    sa, keep = draw(sas())
    direction, offload = draw(DIRECTIONS)
    start, window = sa.replay.seq_hi << 32 | sa.replay.seq, sa.window
    state = sa.replay
    if direction is Direction.OUT or draw(st.booleans()):
        state = ReplayState(oseq=start & M32, oseq_hi=start >> 32)
    if direction is Direction.OUT and draw(st.booleans()):
        window = 0
    return replace(sa, dir=direction, offload=offload, replay=state, window=window), keep


WAYS = st.lists(both_ways(), min_size=1, max_size=6)


@dataclass(frozen=True)
class Shown:
    """A packet as a capture shows it. `foreign`: from another source; `outgoing`: the capture says it was sent."""

    sent: Sent
    foreign: bool
    outgoing: bool


RUNS = st.lists(
    st.builds(Shown, SENT, st.sampled_from([False] * 5 + [True]), st.sampled_from([False] * 4 + [True])),
    min_size=8, max_size=50,
)  # fmt: skip


def capture_of(sad: Sad, arrivals: list[Shown]) -> tuple[list[bytes], list[float], list[bool]]:
    """The bytes, the times, and what the capture says of each. Numbers continue from the dump's."""
    packets, times = packets_of(sad, [arrival.sent for arrival in arrivals], before)
    for n, arrival in enumerate(arrivals):
        if arrival.foreign:
            packets[n] = _from_elsewhere(packets[n])
    return packets, times, [arrival.outgoing for arrival in arrivals]


def _from_elsewhere(packet: bytes) -> bytes:
    """The last byte of the source is another."""
    last = 15 if packet[:1] < b"\x60" else 23
    return packet if len(packet) <= last else packet[:last] + bytes((packet[last] ^ 0x55,)) + packet[last + 1 :]
