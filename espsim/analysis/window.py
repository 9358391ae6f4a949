"""Which replay window a capture needs: reordering, gaps and duplicates of each SPI, from the numbers on the wire.

No keys are needed. Each number is extended to the one nearest to the highest so far, as a receiver with ESN does, so a
stream may cross 2^32. A late packet of distance d (the highest number so far minus its own) passes a window of W if
d < W. Duplicates are counted separately, and never as lost.

What this does not do: check ICVs, so a forged number counts as the sender's. A duplicate that is more than 65,535
numbers late counts as late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espsim.core.address import Address, format_address
from espsim.offload.model import load_model, shipped_models
from espsim.offload.schema import Replay

WINDOWS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
MOST_STREAMS = 1 << 20
"""How many streams (SPI and destination) are followed. Packets of others are only counted."""

_MODULUS = 1 << 32
_HALF = 1 << 31
_SEEN = 1 << 16
_SEEN_MASK = (1 << _SEEN) - 1
"""The bits of the numbers below the highest one that are remembered as seen."""
_BEGINNING = 64
"""A sender that restarts begins with a number up to this one."""
_RESTART = 64
"""A low number may be a restart if it is at least so far below the highest."""

Key = tuple[int, Address]


@dataclass(slots=True)
class EspStream:
    """The counts of one SPI and destination. `late[n]`: packets whose number was n below `top`, the highest so far.

    A low number far below the highest is held until the next one. If that one rises from it, the sender restarted.
    """

    spi: int
    dst: Address
    packets: int = 0
    duplicates: int = 0
    restarts: int = 0
    late: Counter[int] = field(default_factory=Counter)
    top: int = -1
    _low: int = 0
    _unique: int = 0
    _seen: int = 0
    _gaps: int = 0
    _held: int | None = None

    def add(self, seq: int) -> None:
        """Count a packet with this number on the wire."""
        self.packets += 1
        if self.top < 0:
            self._begin(seq)
            return
        first, self._held = self._held, None
        if first is not None:
            if first < seq <= first + _BEGINNING:
                self._gaps = self.gaps
                self.restarts += 1
                self._begin(first)
            else:
                self._place(first)
        if 1 <= seq <= _BEGINNING and self.top - self._number(seq) >= _RESTART:
            self._held = seq
        else:
            self._place(seq)

    def finish(self) -> None:
        """No more packets come."""
        if self._held is not None:
            self._place(self._held)
            self._held = None

    @property
    def gaps(self) -> int:
        """How many numbers between the lowest and the highest of a run never came."""
        return self._gaps + self.top - self._low + 1 - self._unique

    @property
    def smallest(self) -> int:
        """The smallest window that loses no packet."""
        return max(self.late, default=0) + 1

    def lost(self, window: int) -> int:
        """How many packets a window of this size refuses as too old. Without a window (0) it is none."""
        return sum(n for below, n in self.late.items() if below >= window) if window else 0

    def distance(self, share: float) -> int:
        """The distance that this share of the late packets does not exceed. 0: none was late."""
        wanted, total = share * self.late.total(), 0
        for below in sorted(self.late):
            total += self.late[below]
            if total >= wanted:
                return below
        return 0

    def _begin(self, seq: int) -> None:
        self._low = self.top = seq
        self._seen = self._unique = 1

    def _number(self, seq: int) -> int:
        """The number with these low 32 bits that is nearest to the highest one."""
        ahead = (seq - self.top) % _MODULUS
        return self.top + ahead - (0 if ahead < _HALF else _MODULUS)

    def _place(self, seq: int) -> None:
        number = self._number(seq)
        below = self.top - number
        if below < 0:
            self._seen = (self._seen << -below | 1) & _SEEN_MASK if -below < _SEEN else 1
            self.top = number
        elif below < _SEEN and self._seen >> below & 1:
            self.duplicates += 1
            return
        else:
            self._seen |= 1 << below if below < _SEEN else 0
            self.late[below] += 1
            self._low = min(self._low, number)
        self._unique += 1


@dataclass(slots=True)
class EspStreams:
    """Every stream of a capture, in order of arrival. `unfollowed` counts the packets of streams beyond the limit."""

    by_key: dict[Key, EspStream] = field(default_factory=dict)
    unfollowed: int = 0

    def add(self, spi: int, dst: Address, seq: int) -> None:
        """Count a packet."""
        stream = self.by_key.get((spi, dst))
        if stream is None:
            if len(self.by_key) >= MOST_STREAMS:
                self.unfollowed += 1
                return
            stream = self.by_key[spi, dst] = EspStream(spi, dst)
        stream.add(seq)

    def finish(self) -> None:
        """No more packets come."""
        for stream in self.by_key.values():
            stream.finish()


@dataclass(frozen=True, slots=True)
class Configured:
    """The window and ESN of a stream's SA, from a SAD."""

    window: int
    esn: bool


def device_windows() -> dict[str, int]:
    """The largest window of each shipped model whose device or driver checks replays, by id."""
    found = {}
    for ident in shipped_models():
        largest = _largest(load_model(ident).spec.caps.replay)
        if largest:
            found[ident] = largest
    return found


def _largest(replay: Replay) -> int:
    """The largest window of a device; 0 where none is known."""
    if replay.where not in ("hw", "driver"):
        return 0
    sizes = [size for size in (replay.pow2_max, replay.max) if isinstance(size, int)]
    return max([*sizes, *(replay.windows if isinstance(replay.windows, list) else ())], default=0)


def summary(streams: EspStreams, configured: Mapping[Key, Configured], devices: Mapping[str, int]) -> dict[str, Any]:
    """For JSON and for people: totals, and a row for each stream, first those that lose most at a window of 32."""
    rows = sorted(streams.by_key.values(), key=lambda s: (-s.lost(WINDOWS[0]), -s.packets))
    sizes = sorted(set(devices.values()))
    return {
        "packets": sum(stream.packets for stream in rows) + streams.unfollowed,
        "unfollowed": streams.unfollowed,
        "streams": [_row(stream, configured.get((stream.spi, stream.dst)), devices, sizes) for stream in rows],
        "smallest": max((stream.smallest for stream in rows), default=None),
    }


def _row(
    stream: EspStream, configured: Configured | None, devices: Mapping[str, int], sizes: Sequence[int]
) -> dict[str, Any]:
    lost = {size: stream.lost(size) for size in {*WINDOWS, *sizes}}
    late = stream.late.total()
    return {
        "spi": stream.spi,
        "spi_hex": f"0x{stream.spi:08x}",
        "dst": format_address(stream.dst),
        "packets": stream.packets,
        "gaps": stream.gaps,
        "duplicates": stream.duplicates,
        "restarts": stream.restarts,
        "late": late,
        "reorder": {
            "median": stream.distance(0.5),
            "p99": stream.distance(0.99),
            "largest": max(stream.late, default=0),
        },
        "lost": {str(size): lost[size] for size in WINDOWS},
        "devices": {ident: {"window": size, "lost": lost[size]} for ident, size in devices.items()},
        "smallest": stream.smallest,
        "esn": configured.esn if configured else None,
        "configured": {"window": configured.window, "lost": stream.lost(configured.window)} if configured else None,
        "linux_counter": _counter(configured),
    }


def _counter(configured: Configured | None) -> str | None:
    """The counter of /proc/net/xfrm_stat that moves for a packet left of the window. None: it depends on ESN."""
    if configured is None:
        return None
    return "XfrmInStateProtoError" if configured.esn else "XfrmInStateSeqError"
