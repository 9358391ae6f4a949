"""The reader for a command to a kernel, model or live: `ip xfrm state COMMAND ...` becomes a request.

What it refuses, iproute2 6.1 refuses in the same words (ip/xfrm_state.c).

It also takes `dir in|out` (iproute2 6.11), `offload packet` (6.2), and `dir`, `if_id` and `pcpu-num` of `allocspi`,
which SPI rules look at.

What this does not do: read what people paste (parse.py does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from espsim.core.address import Address, prefix_match
from espsim.core.numbers import DIR_IN, DIR_OUT, MODE_OF
from espsim.netlink.request import EsnState, ReplayVal, SaRequest, SpiRequest, StateKey
from espsim.sad.association import NO_MARK, Direction, Encap, Limits, Mark, Selector
from espsim.text.algorithms import KINDS
from espsim.text.draft import SaWords
from espsim.text.id_words import (
    ROUTE_OPTIMIZATION,
    Id,
    read_algorithm,
    read_direction,
    read_encap,
    read_extra_flags,
    read_id,
    read_limit,
    read_mode,
    read_offload,
    read_state_flags,
    read_xfrm_proto,
)  # fmt: skip
from espsim.text.iproute import INCOMPLETE, Args, IpRefusal, matches
from espsim.text.names import FULL_MASK, MAX_WINDOW, NUMBER_WORDS, REPLAY_WORDS, proto_name, swapped
from espsim.text.selector import read_selector

SPI_LOW, SPI_HIGH, COMP_HIGH = 0x100, 0x0FFFFFFF, 0xFFFF
"""The range of `allocspi` where none is given; also PF_KEY's (net/key/af_key.c pfkey_getspi)."""

_IPSEC = (50, 51, 108)
_ESP, _AH, _COMP = _IPSEC
_DIRECTIONS = {None: None, Direction.IN: DIR_IN, Direction.OUT: DIR_OUT}
_NO_ID = "Not enough information: ID is required"


@dataclass(frozen=True, slots=True)
class Modify:
    """`add` (XFRM_MSG_NEWSA) or `update` (UPDSA)."""

    update: bool
    request: SaRequest


@dataclass(frozen=True, slots=True)
class Get:
    """`get` or `delete`."""

    delete: bool
    key: StateKey


@dataclass(slots=True)
class Filter:
    """Which states `list` and `deleteall` take. None: any."""

    id: Id = field(default_factory=Id)
    family: int = 0
    mode: str | None = None
    reqid: int | None = None
    flags: set[str] | None = None
    nokeys: bool = False

    def takes(self, src: Address, dst: Address, *, proto: int, spi: int, mode: str, reqid: int) -> bool:
        """xfrm_state_filter_match() and the kernel's address filter, which asks the same. It does not check flags."""
        ident = self.id
        for address, known, plen in ((src, ident.src, ident.src_prefix), (dst, ident.dst, ident.dst_prefix)):
            if plen and not (len(address) == len(known) and prefix_match(address, known, plen)):
                return False
        if (ident.proto and ident.proto != proto) or (ident.spi is not None and ident.spi != spi):
            return False
        return (self.mode is None or self.mode == mode) and (self.reqid is None or self.reqid == reqid)


@dataclass(frozen=True, slots=True)
class Listing:
    """`list` or `deleteall`."""

    deleteall: bool
    filter: Filter


@dataclass(frozen=True, slots=True)
class Flush:
    """`flush [proto XFRM-PROTO]`."""

    proto: int


@dataclass(frozen=True, slots=True)
class Count:
    """`count`."""


StateCommand: TypeAlias = Modify | SpiRequest | Get | Listing | Flush | Count


def parse_state(words: list[str], family: int = 0) -> StateCommand:
    """The request of the words after `xfrm state`. IpRefusal where `ip` refuses them."""
    args = Args(words[1:], family)
    if not words:
        return Listing(False, Filter(family=family))
    for name, make in _VERBS:
        if matches(words[0], name):
            return make(args)
    raise IpRefusal(f'Command "{args.seen(words[0])}" is unknown, try "ip xfrm state help".')


# -- add, update ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, repr=False)
class _Said(SaWords):
    """The variables of xfrm_state_modify() and xfrm_state_allocspi()."""

    id: Id | None = None
    low: int | None = None
    high: int | None = None

    @property
    def kinds(self) -> set[str]:
        """The kinds of its algorithms."""
        return {algorithm.kind for algorithm in self.algorithms}


def _add(args: Args) -> Modify:
    return Modify(False, _modify(args))


def _update(args: Args) -> Modify:
    return Modify(True, _modify(args))


def _modify(args: Args) -> SaRequest:
    said = _Said()
    while args.left:
        reader = _READERS.get(args.word)
        if reader is not None:
            reader(args, said)
        elif args.word in KINDS:
            _algorithm(args, said)
        else:
            _id(args, said)
        args.skip()
    _check_window(said)
    if said.id is None:
        raise IpRefusal(_NO_ID)
    _check_algorithms(said, said.id.proto)
    _check_route_optimization(said, said.id.proto)
    return _request(args, said, said.id)


def _request(args: Args, said: _Said, ident: Id) -> SaRequest:
    src, dst = ident.addresses(args)
    esn = replay = None
    if "esn" in said.flags or said.window > 32:
        esn = EsnState((said.window + 31) // 32, said.window, **said.replay)
    elif said.replay.get("seq") or said.replay.get("oseq"):
        replay = ReplayVal(said.replay.get("oseq", 0), said.replay.get("seq", 0))
    encap = said.encap
    if encap is not None:
        encap = Encap(encap.kind, encap.sport, encap.dport, (encap.oaddr + bytes(16))[: len(dst)])
    output = said.output_mark
    output = Mark(output.value, output.mask or FULL_MASK) if output is not None and output.value else None
    return SaRequest(
        src, dst, ident.proto, ident.spi or 0, mode=MODE_OF[said.mode], reqid=said.reqid, mark=said.mark,
        if_id=said.if_id, pcpu=said.pcpu, dir=_DIRECTIONS[said.dir], seq=said.seq, flags=frozenset(said.flags),
        extra_flags=frozenset(said.extra_flags), replay_window=0 if esn else said.window, replay_val=replay, esn=esn,
        encap=encap, offload=said.offload, algorithms=tuple(said.algorithms), limits=Limits(**said.limits),
        selector=said.selector.build(len(dst)) if said.selector else Selector(),
        tfcpad=said.tfcpad or None, coa=said.coa, output_mark=output, label=said.label or "",
    )  # fmt: skip


def _check_window(said: _Said) -> None:
    if "esn" in said.flags and not said.window and said.dir is not Direction.OUT:  # iproute2 6.11 lets `dir out` pass
        raise IpRefusal("Error: esn flag set without replay-window.")
    if said.window > MAX_WINDOW:
        raise IpRefusal(f"Error: replay-window ({said.window}) > XFRMA_REPLAY_ESN_MAX ({MAX_WINDOW}).")


def _check_algorithms(said: _Said, proto: int) -> None:
    """Check the mode, then the ALGO-TYPEs, against the protocol."""
    name, kinds = proto_name(proto), said.kinds
    if proto not in _IPSEC:
        if kinds:
            raise IpRefusal(f'ALGO is invalid with XFRM-PROTO value "{name}"')
        return
    if said.mode not in ("transport", "tunnel") and not (said.mode == "beet" and proto == _ESP):
        raise IpRefusal(f'MODE value is invalid with XFRM-PROTO value "{name}"')
    authenticated = kinds & {"auth", "auth-trunc"}
    suffix = f'with XFRM-PROTO value "{name}"'
    if proto == _ESP:
        if "comp" in kinds:
            raise IpRefusal(f'ALGO-TYPE value "comp" is invalid {suffix}')
        if not kinds & {"enc", "aead"}:
            raise IpRefusal(f'ALGO-TYPE value "enc" or "aead" is required {suffix}')
    elif proto == _AH:
        if kinds & {"enc", "aead", "comp"}:
            raise IpRefusal(f'ALGO-TYPE values "enc", "aead", and "comp" are invalid {suffix}')
        if not authenticated:
            raise IpRefusal(f'ALGO-TYPE value "auth" or "auth-trunc" is required {suffix}')
    else:
        if kinds - {"comp"}:
            raise IpRefusal(f'ALGO-TYPE values "enc", "auth", "auth-trunc", and "aead" are invalid {suffix}')
        if not kinds:
            raise IpRefusal(f'ALGO-TYPE value "comp" is required {suffix}')


def _check_route_optimization(said: _Said, proto: int) -> None:
    suffix = f'with XFRM-PROTO value "{proto_name(proto)}"'
    if proto not in ROUTE_OPTIMIZATION:
        if said.coa is not None:
            raise IpRefusal(f'"coa" is invalid {suffix}')
        return
    if said.mode == "transport":
        raise IpRefusal(f'"mode" is required {suffix}')
    if said.mode not in ("ro", "in_trigger"):
        raise IpRefusal(f"MODE value is invalid {suffix}")
    if said.coa is None:
        raise IpRefusal(f'"coa" is required {suffix}')


# -- the words --------------------------------------------------------------------------------------------------------


_EXCLUDE = {
    "aead": {"aead", "enc", "auth", "auth-trunc"}, "enc": {"enc", "aead"}, "auth": {"auth", "auth-trunc", "aead"},
    "auth-trunc": {"auth", "auth-trunc", "aead"}, "comp": {"comp"},
}  # fmt: skip


def _algorithm(args: Args, said: _Said) -> None:
    kind = args.word
    if _EXCLUDE[kind] & said.kinds:
        raise args.duplicate("ALGO-TYPE")
    said.algorithms.append(read_algorithm(args, kind))


def _id(args: Args, said: _Said) -> None:
    if said.id is not None:
        raise args.wrong("unknown")
    said.id = read_id(args)


def _selector(args: Args, said: _Said) -> None:
    if not args.more:
        raise IpRefusal(INCOMPLETE)
    args.family = 0
    said.selector = read_selector(args)
    length = len(said.selector.src or said.selector.dst)
    args.family = {0: 0, 4: 2, 16: 10}[length]


def _seq(args: Args, said: _Said) -> None:
    # iproute2 sends it in network order, the kernel's km.seq is in host order: 5 becomes 0x05000000 on x86.
    said.seq = swapped(args.number("SEQ value is invalid"))


def _coa(args: Args, said: _Said) -> None:
    if said.coa is not None:
        raise args.duplicate("coa")
    said.coa = args.prefix(f'value after "{args.word}" has an unrecognized address family')[0]


def _context(args: Args, said: _Said) -> None:
    if said.label is not None:
        raise args.duplicate("ctx")
    said.label = args.next()


def _output_mark(args: Args, said: _Said) -> None:
    value = args.number('value after "output-mark" is invalid')
    mask = 0
    if args.more:
        if args.next() == "mask":
            mask = args.number("mask value is invalid\n")
        else:
            args.back()
    said.output_mark = Mark(value, mask)


def _number(name: str, word: str) -> Callable[[Args, _Said], None]:
    why = "REQID value is invalid" if word == "reqid" else f'value after "{word}" is invalid'

    def reader(args: Args, said: _Said) -> None:
        setattr(said, name, args.number(why))

    return reader


def _replay(name: str, word: str) -> Callable[[Args, _Said], None]:
    def reader(args: Args, said: _Said) -> None:
        said.replay[name] = args.number(f'value after "{word}" is invalid')

    return reader


def _set(name: str, read: Callable[[Args], object]) -> Callable[[Args, _Said], None]:
    def reader(args: Args, said: _Said) -> None:
        setattr(said, name, read(args))

    return reader


def _bound(name: str, word: str) -> Callable[[Args, _Said], None]:
    def reader(args: Args, said: _Said) -> None:
        if getattr(said, name) is not None:
            raise args.duplicate(word)
        setattr(said, name, args.number(f'value after "{word}" is invalid'))

    return reader


_SPI_READERS: dict[str, Callable[[Args, _Said], None]] = {
    "mode": _set("mode", read_mode), "mark": _set("mark", Args.mark), "seq": _seq, "dir": _set("dir", read_direction),
    **{word: _number(NUMBER_WORDS[word], word) for word in ("reqid", "if_id", "pcpu-num")},
}  # fmt: skip
_READERS: dict[str, Callable[[Args, _Said], None]] = _SPI_READERS | {
    **{word: _number(name, word) for word, name in NUMBER_WORDS.items()},
    **{word: _replay(name, word) for word, name in REPLAY_WORDS.items()},
    "flag": _set("flags", read_state_flags), "extra-flag": _set("extra_flags", read_extra_flags), "sel": _selector,
    "limit": lambda args, said: read_limit(args, said.limits), "encap": _set("encap", read_encap), "coa": _coa,
    "ctx": _context, "offload": _set("offload", read_offload), "output-mark": _output_mark,
}  # fmt: skip
_RANGE_READERS = _SPI_READERS | {"min": _bound("low", "min"), "max": _bound("high", "max")}


# -- the other commands -----------------------------------------------------------------------------------------------


def _allocspi(args: Args) -> SpiRequest:
    said = _Said()
    while args.left:
        reader = _RANGE_READERS.get(args.word)
        if reader is not None:
            reader(args, said)
        else:
            _id(args, said)
            if said.id is not None and said.id.spi:
                raise IpRefusal('"spi" is invalid')
        args.skip()
    if said.id is None:
        raise IpRefusal(_NO_ID)
    low, high = _range(said, said.id.proto)
    src, dst = said.id.addresses(args)
    return SpiRequest(
        src, dst, said.id.proto, low, high, mode=MODE_OF[said.mode], reqid=said.reqid, mark=_sent(said.mark),
        if_id=said.if_id, pcpu=said.pcpu, dir=_DIRECTIONS[said.dir], seq=said.seq,
    )  # fmt: skip


def _range(said: _Said, proto: int) -> tuple[int, int]:
    low, high = said.low, said.high
    if low is None and high is None:
        return SPI_LOW, COMP_HIGH if proto == _COMP else SPI_HIGH
    if low is None or high is None:
        raise IpRefusal(f'"{"min" if low is None else "max"}" is missing')
    if low > high:
        raise IpRefusal('value after "min" is larger than value after "max"')
    return low, high


def _sent(mark: Mark) -> Mark:
    """`allocspi`, `get` and `delete` send XFRMA_MARK only where value and mask share a bit."""
    return mark if mark.value & mark.mask else NO_MARK


def _get(args: Args) -> Get:
    return Get(False, _key_of(args))


def _delete(args: Args) -> Get:
    return Get(True, _key_of(args))


def _key_of(args: Args) -> StateKey:
    ident: Id | None = None
    mark = NO_MARK
    while args.left:
        if args.word == "mark":
            mark = args.mark()
        elif ident is not None:
            raise args.wrong("unknown")
        else:
            ident = read_id(args)
        args.skip()
    if ident is None:
        return StateKey(bytes(16 if args.family == 10 else 4), 0, 0, _sent(mark))
    src, dst = ident.addresses(args)
    return StateKey(dst, ident.proto, ident.spi or 0, _sent(mark), srcaddr=src)


def _list(args: Args) -> Listing:
    return Listing(False, _filter(args, deleteall=False))


def _deleteall(args: Args) -> Listing:
    return Listing(True, _filter(args, deleteall=True))


def _filter(args: Args, *, deleteall: bool) -> Filter:
    found = Filter(family=args.family)
    said = False
    while args.left:
        match args.word:
            case "nokeys":
                found.nokeys = True
            case "mode":
                found.mode = read_mode(args)
            case "reqid":
                found.reqid = args.number("REQID value is invalid")
            case "flag":
                found.flags = read_state_flags(args)
            case _:
                if said:
                    raise args.wrong("unknown")
                said = True
                found.id = read_id(args, loose=True)
                found.family = args.family
        args.skip()
    return found


def _flush(args: Args) -> Flush:
    proto: int | None = None
    while args.left:
        if args.word != "proto":
            raise args.wrong("unknown")
        if proto is not None:
            raise args.duplicate("proto")
        proto = read_xfrm_proto(args)
        args.skip()
    return Flush(proto or 0)


def _count(args: Args) -> Count:
    return Count()


def _help(args: Args) -> StateCommand:
    raise IpRefusal(
        "Usage: ip xfrm state { add | update | allocspi | delete | get | deleteall | list | flush | count }"
    )


_VERBS: tuple[tuple[str, Callable[[Args], StateCommand]], ...] = (
    ("add", _add), ("update", _update), ("allocspi", _allocspi), ("delete", _delete), ("deleteall", _deleteall),
    ("delall", _deleteall), ("list", _list), ("show", _list), ("lst", _list), ("get", _get), ("flush", _flush),
    ("count", _count), ("help", _help),
)  # fmt: skip
