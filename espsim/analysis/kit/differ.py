"""The first difference between what a program delivered and what it should have, in words."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from espsim.analysis.kit.answers import WRITTEN
from espsim.core.echo import shortened
from espsim.core.errors import InputError
from espsim.core.inputs import read_whole
from espsim.core.verdict import Verdict
from espsim.io.capture import open_capture
from espsim.wire import ipv4, ipv6

_COMPARED = ("verdict", "linux_counter", "spi", "seq64", "device", "surfacing")
"""The keys of a verdict line that are compared if the program's line has them. A program may name SAs as it likes."""

_MOST = 64 << 20
_PACKETS = 1 << 16

_V4_FIELDS = (
    (0, 1, "version and header length"),
    (1, 2, "TOS: DSCP and ECN"),
    (2, 4, "total length"),
    (4, 6, "identification"),
    (6, 8, "flags and fragment offset"),
    (8, 9, "TTL"),
    (9, 10, "protocol"),
    (10, 12, "header checksum"),
    (12, 16, "source address"),
    (16, 20, "destination address"),
)
_V6_FIELDS = (
    (0, 2, "version and traffic class"),
    (2, 4, "flow label"),
    (4, 6, "payload length"),
    (6, 7, "next header"),
    (7, 8, "hop limit"),
    (8, 24, "source address"),
    (24, 40, "destination address"),
)


def difference(right: str, got: str, lines: Sequence[dict[str, Any]]) -> str | None:
    """The first difference between two captures of packets. None: there is none.

    `lines` are the right verdicts, by frame. They name a frame's packet.
    """
    wanted = _packets(right)
    if not os.path.lexists(got):
        return "the program wrote no {out}"
    try:
        found = _packets(got) if os.path.getsize(got) else []
    except InputError as error:
        return f"{{out}} can't be read: {shortened(error.what, 200)}"
    frames = [line for line in lines if line["verdict"] in WRITTEN]
    if len(frames) != len(wanted):
        raise InputError(f"has {len(wanted)} packets, and its verdicts say {len(frames)}", where=right)
    for n, (packet, line) in enumerate(zip(wanted, frames, strict=True)):
        if n >= len(found):
            more = f" ({len(found)} of {len(wanted)} packets are there)"
            return f"{_frame(line)} should be delivered, and {{out}} ends before it{more}"
        if not _same(packet, found[n]):
            return _first(n, wanted, found, frames, lines)
    if len(found) > len(wanted):
        return _extra(len(wanted), wanted, found, frames, lines)
    return None


def _packets(path: str) -> list[bytes]:
    """The IP packets of a capture; an empty one for what is not IP. InputError: it can't be read, or never ends."""
    packets = []
    with open_capture(path) as reader:
        for frame in reader:
            packets.append(frame.ip or b"")
            if len(packets) > _PACKETS:
                raise InputError(f"more than {_PACKETS} packets")
    return packets


def _same(packet: bytes, found: bytes) -> bool:
    """Whether two packets are equal, apart from the padding of a short frame."""
    return packet == found or (len(found) <= 60 and found.startswith(packet) and not any(found[len(packet) :]))


def _frame(line: dict[str, Any]) -> str:
    return f"frame {line['frame']}{_number(line)}"


def _number(line: dict[str, Any]) -> str:
    if line.get("spi") is None:
        return ""
    number = "" if line.get("seq64") is None else f", sequence number {line['seq64']}"
    return f" (SPI 0x{line['spi']:08x}{number})"


def _first(
    n: int,
    wanted: Sequence[bytes],
    found: Sequence[bytes],
    frames: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
) -> str:
    """What is wrong with packet `n`: it is a later one, one too many, out of order, or changed."""
    late = any(_same(wanted[n], one) for one in found[n + 1 :])
    later = next((k for k in range(n + 1, len(wanted)) if _same(wanted[k], found[n])), None)
    if late and later is not None:
        order = f"what is in {_frame(frames[later])} comes before what is in {_frame(frames[n])}"
        return f"packet {n + 1} of {{out}} is out of order: {order}"
    if late:
        return _extra(n, wanted, found, frames, lines)
    lost = f"{_frame(frames[n])} should be delivered, and is not"
    if later is not None:
        more = "" if later == n + 1 else f", nor the next {later - n - 1}"
        return f"{lost}{more}: {{out}} goes on with {_frame(frames[later])}"
    twice = next((k for k in range(n) if _same(wanted[k], found[n])), None)
    if twice is not None:
        return f"{lost}: {{out}} has what was in {_frame(frames[twice])} a second time there"
    return f"packet {n + 1} of {{out}} should be what is in {_frame(frames[n])}: {_bytes(wanted[n], found[n])}"


def _extra(
    n: int,
    wanted: Sequence[bytes],
    found: Sequence[bytes],
    frames: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
) -> str:
    """Packet `n` of what was found should not be there. The sentence names the frames that are refused there."""
    twice = next((k for k, one in enumerate(wanted[:n]) if _same(one, found[n])), None)
    again = "" if twice is None else f", what was in {_frame(frames[twice])} a second time"
    after = frames[n - 1]["frame"] if n else 0
    before = frames[n]["frame"] if n < len(frames) else len(lines) + 1
    refused = [line for line in lines if after < line["frame"] < before and line["verdict"] in Verdict.__members__]
    named = [f"{_frame(line)}: {line['verdict']}, {Verdict[line['verdict']].sentence}" for line in refused[:2]]
    more = f" and {len(refused) - 2} more" if len(refused) > 2 else ""
    which = f"; refused there: {'; '.join(named)}{more}" if named else ""
    return f"packet {n + 1} of {{out}} is one too many{again}{which}"


def _bytes(wanted: bytes, found: bytes) -> str:
    """The first difference between two packets."""
    at = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found)))
    if at >= len(wanted) or at >= len(found):
        return f"it has {len(found)} bytes, not {len(wanted)}"
    return f"{_field(wanted, at)} is 0x{found[at]:02x}, not 0x{wanted[at]:02x} (byte {at} of the IP packet)"


def _field(packet: bytes, at: int) -> str:
    fields = _V4_FIELDS if packet[0] >> 4 == 4 else _V6_FIELDS
    named = next((name for start, end, name in fields if start <= at < end), None)
    head = ipv4.HEADER_LENGTH if packet[0] >> 4 == 4 else ipv6.HEADER_LENGTH
    return named or f"byte {at - head} after the IP header"


# -- verdicts ---------------------------------------------------------------------------------------------------------


def of_lines(right: Sequence[dict[str, Any]], path: str) -> str | None:
    """The first frame whose verdict line differs in a key that it has. None: none does."""
    if not os.path.lexists(path):
        return "the program wrote no {verdicts}"
    try:
        text = read_whole(path, most=_MOST).decode("utf-8", "replace")
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
        by_frame = {line["frame"]: line for line in found}
    except InputError as error:
        return f"{{verdicts}} can't be read: {error.what}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return "{verdicts} is not one JSON object a line, each with its frame's number as `frame`"
    for line in right:
        got = by_frame.get(line["frame"])
        if got is None:
            return f"{{verdicts}} has no line of {_frame(line)}, which is {line['verdict']}"
        if got.get("verdict") is None:
            return f"{{verdicts}}: the line of {_frame(line)} has no `verdict`"
        for key in _COMPARED:
            if key in got and got[key] != line.get(key):
                said, wanted = shortened(repr(got[key])), line.get(key)
                return f"{{verdicts}}: {key} of {_frame(line)} is {said}, not {wanted!r}"
    return None
