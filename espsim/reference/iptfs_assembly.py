"""Inner packets from IP-TFS payloads, which come in their order.

1. The header. If it is cut short, has a sub-type above 1, or has flags, nothing of the payload is used.
2. The rest of an inner packet that began in an earlier payload. It must come in the next number; only payloads of
   nothing but padding may come between (RFC 9347 2.2.3).
3. The data blocks that begin here, from Block Offset on. The rest of the last one may come later, even the part with
   its length.
4. Padding ends the payload. A block of an unknown kind ends it too, and then all packets of this payload are lost.

At most one inner packet, of up to 65575 bytes, is kept for an SA.

Linux 7.3.4 loses two things that this does not lose. While a rest is awaited, a payload with block offset 0 whose first
block is not padding begins new packets. And the first six bytes of an inner packet may lie in any number of payloads.

What this does not do: nothing of the outer header, ECN or DSCP, is written into inner packets (RFC 9347 2.2.5).

Sources: RFC 9347 2.2 and 6.1; Linux's iptfs_input_ordered and iptfs_reassem_cont (net/xfrm/xfrm_iptfs.c).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from espsim.core.verdict import Verdict
from espsim.reference.iptfs_order import Held
from espsim.wire import iptfs

WHOLE, BEGINS, GOES_ON, ENDS, PADDING, SKIPPED, BAD = (
    "whole", "begins", "goes on", "ends", "padding", "skipped", "bad",
)  # fmt: skip
"""What a piece of a payload is: a whole inner packet; its first, a middle, its last part; padding; unused bytes; a
block that cannot be read."""


class PayloadPiece(NamedTuple):
    """A piece of a payload: `size` bytes at offset `at`. `inner`: its inner packet's length; 0: none, or unknown."""

    what: str
    at: int
    size: int
    inner: int = 0


class Inner(NamedTuple):
    """An inner packet. `begun`: when the packet in which it begins came (seconds). `parts`: in how many it lay."""

    packet: bytes
    begun: float
    parts: int


@dataclass(slots=True)
class TakenPayload:
    """What a payload held: inner packets that are complete now, and verdicts that Linux counts, in its order."""

    header: iptfs.IptfsHeader | None
    inners: list[Inner] = field(default_factory=list)
    errors: list[Verdict] = field(default_factory=list)
    pieces: list[PayloadPiece] = field(default_factory=list)


@dataclass(slots=True)
class _Begun:
    """An inner packet whose rest must come in number `wanted`. `size` is 0 until its length has come."""

    data: bytearray
    size: int
    wanted: int
    since: float
    arrived: float
    parts: int = 1


@dataclass(slots=True)
class Assembly:
    """The inner packets of one SA. `incomplete`: how many were never completed. `padding`: bytes of padding."""

    incomplete: int = 0
    padding: int = 0
    _begun: _Begun | None = None

    @property
    def since(self) -> float | None:
        """When the inner packet whose rest is awaited began; None: no rest is awaited."""
        return self._begun.since if self._begun is not None else None

    def drop(self) -> None:
        """Give up the rest."""
        self.incomplete += self._begun is not None
        self._begun = None

    def take(self, held: Held, now: float) -> TakenPayload:
        """Read the payload of a packet whose turn it is at `now` (seconds)."""
        header = iptfs.parse(held.payload)
        taken = TakenPayload(header)
        if header is None:
            taken.errors.append(Verdict.IPTFS_BUFFER)
            return taken
        if header.sub_type > iptfs.CONGESTION or header.flags:
            taken.errors.append(Verdict.IPTFS_HEADER)
            return taken
        at = self._continue(header, held.number, held.payload, taken)
        self._blocks(at, held, now, taken)
        return taken

    # -- what began before --------------------------------------------------------------------------------------

    def _continue(self, header: iptfs.IptfsHeader, number: int, payload: bytes, taken: TakenPayload) -> int:
        """Step 2: the rest of what began before. Returns where the first block of this payload begins."""
        at, begun = header.length, self._begun
        after = min(at + header.block_offset, len(payload))
        if begun is not None and number < begun.wanted:  # only without a reorder window
            taken.pieces.append(PayloadPiece(SKIPPED, at, len(payload) - at))
            return len(payload)
        if begun is not None and number == begun.wanted:
            if not header.block_offset and (at == len(payload) or iptfs.block_kind(payload, at) == iptfs.PADDING):
                begun.wanted += 1
                return at
            if self._append(begun, payload[at:after], header.block_offset, at, taken):
                return after
        if begun is not None:
            taken.errors.append(Verdict.IPTFS_LOST)
            self.drop()
        if after > at:
            taken.pieces.append(PayloadPiece(SKIPPED, at, after - at))
        return after

    def _append(self, begun: _Begun, part: bytes, offset: int, at: int, taken: TakenPayload) -> bool:
        """Add a part. `offset` (Block Offset): bytes of the rest, later ones included. False: it is not the rest."""
        if not begun.size:
            head = bytes(begun.data) + part[: iptfs.BLOCK_LENGTH_END - len(begun.data)]
            size = iptfs.block_length(head, 0)
            if size is None and offset > len(part):
                begun.data += part
                begun.parts += 1
                begun.wanted += 1
                taken.pieces.append(PayloadPiece(GOES_ON, at, len(part)))
                return True
            if size is None or iptfs.block_too_short(head, 0, size):
                return False
            begun.size = size
        rest = begun.size - len(begun.data)
        if offset < min(rest, iptfs.MOST_OFFSET):
            return False
        begun.data += part[:rest]
        begun.parts += 1
        if len(begun.data) < begun.size:
            begun.wanted += 1
            taken.pieces.append(PayloadPiece(GOES_ON, at, len(part), begun.size))
            return True
        self._begun = None
        taken.inners.append(Inner(bytes(begun.data), begun.arrived, begun.parts))
        taken.pieces.append(PayloadPiece(ENDS, at, min(rest, len(part)), begun.size))
        if len(part) > rest:
            taken.pieces.append(PayloadPiece(SKIPPED, at + rest, len(part) - rest))
        return True

    # -- what begins here ---------------------------------------------------------------------------------------

    def _blocks(self, at: int, held: Held, now: float, taken: TakenPayload) -> None:
        payload = held.payload
        while at < len(payload):
            left, kind = len(payload) - at, iptfs.block_kind(payload, at)
            if kind == iptfs.PADDING:
                self.padding += left
                taken.pieces.append(PayloadPiece(PADDING, at, left))
                return
            known = kind in (iptfs.IPV4, iptfs.IPV6)
            size = iptfs.block_length(payload, at) if known else 0
            if not known or (size is not None and iptfs.block_too_short(payload, at, size)):
                bad = Verdict.IPTFS_HEADER if known else Verdict.IPTFS_BUFFER
                taken.errors.append(bad)
                taken.pieces.append(PayloadPiece(BAD, at, left))
                taken.inners.clear()
                return
            if size is None or size > left:
                self._begun = _Begun(bytearray(payload[at:]), size or 0, held.number + 1, now, held.arrived)
                taken.pieces.append(PayloadPiece(BEGINS, at, left, size or 0))
                return
            taken.inners.append(Inner(payload[at : at + size], held.arrived, 1))
            taken.pieces.append(PayloadPiece(WHOLE, at, size, size))
            at += size
