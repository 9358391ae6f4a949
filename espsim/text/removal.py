"""Commands in a paste that remove SAs: `flush`, `delete` and `deleteall` of `ip xfrm state` and of setkey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from espsim.core.address import Address, parse_address
from espsim.core.numbers import PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.text.found import Identity, SaRows
from espsim.text.iproute import IpRefusal
from espsim.text.state_words import Filter, Flush, Get, Listing, parse_state

SETKEY_PROTOCOLS = {"esp": PROTO_ESP, "esp-udp": PROTO_ESP, "esp-old": PROTO_ESP, "ah": PROTO_AH, "ah-old": PROTO_AH,
                    "ipcomp": PROTO_COMP}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Removal:
    """Which rows above are removed. `key` is the (daddr, SPI, protocol) of the only candidate. None: there are many."""

    key: tuple[Address, int, int] | None
    takes: Callable[[Identity, SaRows, int], bool]
    """(identity, rows, index): whether the row is removed, given that `key` matches."""


def removal_of(words: list[str], *, setkey: bool = False) -> Removal | None:
    """What a command, from its verb on, removes. None: the command is not understood."""
    if setkey:
        return _of_setkey(words)
    try:
        command = parse_state(words)
    except IpRefusal:
        return None
    match command:
        case Flush(proto):
            return _flush(proto)
        case Get(delete=True, key=key):
            value = key.mark.value & key.mark.mask
            return Removal((key.dst, key.spi, key.proto), lambda identity, _r, _i: identity[3].matches(value))
        case Listing(deleteall=True, filter=wanted) if wanted.flags is None:
            return Removal(None, partial(_passes, wanted))
        case _:
            return None


def _flush(proto: int) -> Removal:
    return Removal(None, lambda identity, _rows, _index: proto in (0, 255, identity[2]))


def _passes(wanted: Filter, identity: Identity, rows: SaRows, index: int) -> bool:
    dst, spi, proto, _ = identity
    source, mode, reqid = rows.source(index), rows.mode_of(index), rows.reqid_of(index)
    return wanted.takes(source, dst, proto=proto, spi=spi, mode=mode, reqid=reqid)


def _of_setkey(words: list[str]) -> Removal | None:
    """`flush [proto]`, `delete [-46n] src dst proto spi`, `deleteall [-46n] src dst proto`."""
    verb, *rest = [word for word in words if not (word.startswith("-") and word[1:].strip("46n") == "")]
    if verb == "flush":
        proto = SETKEY_PROTOCOLS.get(rest[0]) if rest else 0
        return None if proto is None else _flush(proto)
    try:
        src, dst = (parse_address(word.partition("[")[0]) for word in rest[:2])
        proto = SETKEY_PROTOCOLS[rest[2]]
        spi = int(rest[3], 0) if verb == "delete" else 0
    except (ValueError, IndexError, KeyError):
        return None
    if verb == "delete":
        return Removal((dst, spi, proto), lambda _identity, rows, index: rows.source(index) == src)
    return Removal(None, lambda its, rows, index: (its[0], its[2], rows.source(index)) == (dst, proto, src))
