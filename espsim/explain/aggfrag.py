"""AGGFRAG payloads of IP-TFS as steps: the header, and each data block with its start and end.

Offsets count from the start of the payload. It is plaintext, so no field has a place in the frame. A payload that still
waits is described without its order: whether a part at its start will be used is not known yet.
"""

from __future__ import annotations

from collections.abc import Iterator

from espsim.core.address import format_address
from espsim.core.verdict import Verdict
from espsim.explain.headers import ip_steps
from espsim.explain.steps import Bytes, Field, Step, fact
from espsim.reference.iptfs_assembly import BAD, BEGINS, ENDS, GOES_ON, PADDING, SKIPPED, WHOLE, Assembly, PayloadPiece
from espsim.reference.iptfs_in import Opened
from espsim.reference.iptfs_order import Held
from espsim.sad.association import SecurityAssociation
from espsim.wire import iptfs

_MOST = 16
"""How many inner packets are shown with their headers."""
_SAYS = {
    WHOLE: "a whole inner packet",
    BEGINS: "begins here and continues in the next packet",
    GOES_ON: "continues: neither its first nor its last part",
    ENDS: "the last part: the inner packet is complete",
    PADDING: "padding to the end",
    SKIPPED: "not used: no inner packet waits for it",
    BAD: "not a data block that can be read; nothing of this payload is used",
}
_AT_START = "a part of an inner packet that began in an earlier packet"


def payload_steps(payload: bytes, pieces: list[PayloadPiece] | None = None) -> list[Step]:
    """The header and the blocks. `pieces` as the receiver cut them; None: no receiver has cut the payload."""
    header = iptfs.parse(payload)
    if header is None:
        return [Step("AGGFRAG header", "RFC 9347 6.1", f"{len(payload)} bytes: the header is cut short")]
    alone = pieces is None
    found = Assembly().take(Held(1, payload, 0.0), 0.0).pieces if pieces is None else pieces
    blocks = [field for n, piece in enumerate(found, 1) for field in [_block(payload, n, piece, alone=alone)]]
    size = len(payload) - header.length
    says = f"{len(found)} in {size} bytes" if found else f"none was read, in {size} bytes"
    return [_header(payload, header), Step("data blocks", "RFC 9347 6.1.3", says, tuple(blocks))]


def _header(payload: bytes, header: iptfs.IptfsHeader) -> Step:
    it = Bytes(payload)
    names = {iptfs.BASIC: "0, no congestion control", iptfs.CONGESTION: "1, congestion control"}
    fields = [
        it.field("sub-type", 0, 1, names.get(header.sub_type, f"{header.sub_type}, not known")),
        it.field("flags", 1, 1, "none" if not header.flags else f"0x{header.flags:02x}"),
        it.field("block offset", 2, 2),
    ]
    if header.sub_type == iptfs.CONGESTION:
        fields += [
            it.field("loss event rate", 4, 4), it.field("RTT, echo delay, transmit delay", 8, 8),
            it.field("TVal", 16, 4), it.field("TEcho", 20, 4),
        ]  # fmt: skip
    left = len(payload) - header.length
    if not header.block_offset:
        says = "a data block begins right after it"
    elif header.block_offset < left:
        says = f"the first block that begins here is after {header.block_offset} bytes"
    else:
        says = f"no block begins here: {header.block_offset} bytes of one are left, and {left} are here"
    return Step("AGGFRAG header", "RFC 9347 6.1", f"{header.length} bytes; {says}", tuple(fields))


def _block(payload: bytes, number: int, piece: PayloadPiece, *, alone: bool) -> Field:
    """One block: its start and end in the payload, its bytes, and what it is."""
    says = _AT_START if alone and piece.what == SKIPPED else _SAYS[piece.what]
    if piece.what in (WHOLE, BEGINS):
        says += _which(payload, piece)
    elif piece.inner:
        says += f" (of {piece.inner} bytes)"
    data = payload[piece.at : piece.at + piece.size]
    return Field(f"block {number}, {piece.at} to {piece.at + piece.size}", None, piece.size, data.hex(), says)


def _which(payload: bytes, piece: PayloadPiece) -> str:
    """`: IPv4, 84 bytes, 10.1.0.1 > 10.2.0.1`, as far as it is there."""
    v4 = iptfs.block_kind(payload, piece.at) == iptfs.IPV4
    size = f"{piece.inner} bytes" if piece.inner else "its length is not here"
    start, width = (piece.at + 12, 4) if v4 else (piece.at + 8, 16)
    ends = payload[start : start + 2 * width] if piece.size >= start - piece.at + 2 * width else b""
    pair = f", {format_address(ends[:width])} > {format_address(ends[width:])}" if ends else ""
    return f": IPv{4 if v4 else 6}, {size}{pair}"


def opened_steps(sa: SecurityAssociation, payload: bytes, opened: Opened) -> Iterator[Step]:
    """A payload of an opened packet, its turn, and the inner packets that went out with it."""
    yield from payload_steps(payload, opened.taken.pieces if opened.taken is not None else None)
    yield Step("reorder window", "RFC 9347 2.2.3", _turn(sa, opened), (fact("window", sa.aggregation.reorder_window),))
    count = len(opened.packets)
    for n, inner in enumerate(opened.packets[:_MOST], 1):
        whole = Field("inner packet", None, len(inner), inner.hex(), f"{len(inner)} bytes")
        says = f"{len(inner)} bytes, complete with this packet"
        yield Step(f"inner packet {n} of {count}", "RFC 9347 2.2", says, (whole,))
        yield from ip_steps(inner, None, "inner ")
    if count > _MOST:
        yield Step("inner packets", "RFC 9347 2.2", f"{count - _MOST} more, which are not shown")


def _turn(sa: SecurityAssociation, opened: Opened) -> str:
    if opened.verdict is Verdict.IPTFS_LATE:
        return "it is too late: the packets after it have been handed on"
    if opened.held:
        wait = sa.aggregation.drop_time / 1000
        return f"it waits: a packet before it is missing, for {wait:g} ms more at most"
    if not sa.aggregation.reorder_window:
        return "there is none: each packet is taken at once"
    return "it is next" if opened.packets or opened.taken is None else "it is next; no inner packet is complete"
