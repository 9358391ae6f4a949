"""`ip xfrm state COMMAND ...` to the request that it makes of the kernel (ip/xfrm_state.c of iproute2 6.1).

Beyond 6.1: `dir in|out` (iproute2 6.11), `offload packet` (6.2), and `dir`, `if_id`, `pcpu-num` of `allocspi` too,
because policies that look at them could not be asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from espsim.aead.suites import Algorithm
from espsim.core.address import Address
from espsim.netlink.request import EsnState, ReplayVal, SaRequest, SpiRequest, StateKey
from espsim.sad.association import NO_MARK, Encap, Limits, Mark, Selector
from espsim.text.id_words import (
    ROUTE_OPTIMIZATION,
    Id,
    offload_of,
    proto_name,
    read_algorithm,
    read_direction,
    read_encap,
    read_extra_flags,
    read_id,
    read_limit,
    read_mode,
    read_offload,
    read_selector,
    read_state_flags,
    read_xfrm_proto,
)  # fmt: skip
from espsim.text.iproute import ALL, Args, IpRefusal, matches
from espsim.text.selector import SelectorWords

SPI_LOW, SPI_HIGH, COMP_HIGH = 0x100, 0x0FFFFFFF, 0xFFFF
"""The range of `allocspi` where none is said; PF_KEY's too (net/key/af_key.c pfkey_getspi)."""

MAX_WINDOW = 4096
_IPSEC = (50, 51, 108)
_ESP, _AH, _COMP = _IPSEC
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
    """Which states `list` and `deleteall` take; None: any."""

    id: Id = field(default_factory=Id)
    family: int = 0
    mode: int | None = None
    reqid: int | None = None
    flags: frozenset[str] | None = None
    nokeys: bool = False


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
    """The words after `xfrm state`. IpRefusal where `ip` refuses them."""
    args = Args(words[1:], family)
    if not words:
        return Listing(False, Filter(family=family))
    for name, make in _VERBS:
        if matches(words[0], name):
            return make(args)
    raise IpRefusal(f'Command "{args.seen(words[0])}" is unknown, try "ip xfrm state help".')


# -- add, update ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, repr=False)
class _Draft:
    """xfrm_state_modify()'s variables."""

    id: Id | None = None
    mode: int = 0
    mark: Mark = NO_MARK
    reqid: int = 0
    seq: int = 0
    window: int = 0
    replay: dict[str, int] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    extra_flags: frozenset[str] = frozenset()
    selector: SelectorWords | None = None
    limits: dict[str, int | None] = field(default_factory=dict)
    encap: Encap | None = None
    coa: Address | None = None
    label: str | None = None
    offload: tuple[str, int, bool] | None = None
    output: Mark = NO_MARK
    if_id: int = 0
    tfcpad: int = 0
    dir: int | None = None
    pcpu: int | None = None
    algorithms: dict[str, Algorithm] = field(default_factory=dict)
    low: int | None = None
    high: int | None = None


def _add(args: Args) -> Modify:
    return Modify(False, _modify(args))


def _update(args: Args) -> Modify:
    return Modify(True, _modify(args))


def _modify(args: Args) -> SaRequest:
    draft = _Draft()
    while args.left:
        reader = _READERS.get(args.word)
        if reader is not None:
            reader(args, draft)
        elif args.word in _ALGORITHMS:
            _algorithm(args, draft)
        else:
            _id(args, draft)
        args.step()
    _check_window(draft)
    if draft.id is None:
        raise IpRefusal(_NO_ID)
    _check_algorithms(draft, draft.id.proto)
    _check_route_optimization(draft, draft.id.proto)
    return _request(args, draft, draft.id)


def _request(args: Args, draft: _Draft, ident: Id) -> SaRequest:
    src, dst = ident.addresses(args)
    esn = replay = None
    if "esn" in draft.flags or draft.window > 32:
        esn = EsnState((draft.window + 31) // 32, draft.window, **draft.replay)
    elif draft.replay.get("seq") or draft.replay.get("oseq"):
        replay = ReplayVal(draft.replay.get("oseq", 0), draft.replay.get("seq", 0))
    encap = draft.encap
    if encap is not None:
        encap = Encap(encap.kind, encap.sport, encap.dport, (encap.oaddr + bytes(16))[: len(dst)])
    output = Mark(draft.output.value, draft.output.mask or ALL) if draft.output.value else None
    return SaRequest(
        src, dst, ident.proto, ident.spi or 0, mode=draft.mode, reqid=draft.reqid, mark=draft.mark, if_id=draft.if_id,
        pcpu=draft.pcpu, dir=draft.dir, seq=draft.seq, flags=draft.flags, extra_flags=draft.extra_flags,
        replay_window=0 if esn else draft.window, replay_val=replay, esn=esn, encap=encap,
        offload=None if draft.offload is None else offload_of(draft.offload),
        algorithms=tuple(draft.algorithms.values()), limits=Limits(**draft.limits),
        selector=draft.selector.build(len(dst)) if draft.selector else Selector(),
        tfcpad=draft.tfcpad or None, coa=draft.coa, output_mark=output, label=draft.label or "",
    )  # fmt: skip


def _check_window(draft: _Draft) -> None:
    if "esn" in draft.flags and not draft.window and draft.dir != 2:  # iproute2 6.11 lets `dir out` pass
        raise IpRefusal("Error: esn flag set without replay-window.")
    if draft.window > MAX_WINDOW:
        raise IpRefusal(f"Error: replay-window ({draft.window}) > XFRMA_REPLAY_ESN_MAX ({MAX_WINDOW}).")


def _check_algorithms(draft: _Draft, proto: int) -> None:
    """Which ALGO-TYPE goes with which protocol; before it the modes."""
    name, kinds = proto_name(proto), draft.algorithms.keys()
    if proto not in _IPSEC:
        if kinds:
            raise IpRefusal(f'ALGO is invalid with XFRM-PROTO value "{name}"')
        return
    if draft.mode not in (0, 1) and not (draft.mode == 4 and proto == _ESP):
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


def _check_route_optimization(draft: _Draft, proto: int) -> None:
    suffix = f'with XFRM-PROTO value "{proto_name(proto)}"'
    if proto not in ROUTE_OPTIMIZATION:
        if draft.coa is not None:
            raise IpRefusal(f'"coa" is invalid {suffix}')
        return
    if draft.mode == 0:
        raise IpRefusal(f'"mode" is required {suffix}')
    if draft.mode not in (2, 3):
        raise IpRefusal(f"MODE value is invalid {suffix}")
    if draft.coa is None:
        raise IpRefusal(f'"coa" is required {suffix}')


# -- the words --------------------------------------------------------------------------------------------------------


_ALGORITHMS = ("aead", "enc", "auth", "auth-trunc", "comp")
_EXCLUDE = {
    "aead": {"aead", "enc", "auth", "auth-trunc"}, "enc": {"enc", "aead"}, "auth": {"auth", "auth-trunc", "aead"},
    "auth-trunc": {"auth", "auth-trunc", "aead"}, "comp": {"comp"},
}  # fmt: skip


def _algorithm(args: Args, draft: _Draft) -> None:
    kind = args.word
    if _EXCLUDE[kind] & draft.algorithms.keys():
        raise args.duplicate("ALGO-TYPE")
    draft.algorithms[kind] = read_algorithm(args, kind)


def _id(args: Args, draft: _Draft) -> None:
    if draft.id is not None:
        raise args.wrong("unknown")
    draft.id = read_id(args)


def _selector(args: Args, draft: _Draft) -> None:
    args.next()
    args.family = 0
    draft.selector = read_selector(args)
    length = len(draft.selector.src or draft.selector.dst)
    args.family = {0: 0, 4: 2, 16: 10}[length]


def _seq(args: Args, draft: _Draft) -> None:
    # iproute2 sends it in network order, the kernel's km.seq is in host order: x86 turns 5 into 0x05000000.
    draft.seq = int.from_bytes(args.number("SEQ value is invalid").to_bytes(4, "little"))


def _coa(args: Args, draft: _Draft) -> None:
    if draft.coa is not None:
        raise args.duplicate("coa")
    draft.coa = args.prefix(f'value after "{args.word}" has an unrecognized address family')[0]


def _context(args: Args, draft: _Draft) -> None:
    if draft.label is not None:
        raise args.duplicate("ctx")
    draft.label = args.next()


def _output_mark(args: Args, draft: _Draft) -> None:
    value = args.number('value after "output-mark" is invalid')
    mask = 0
    if args.more:
        if args.next() == "mask":
            mask = args.number("mask value is invalid\n")
        else:
            args.back()
    draft.output = Mark(value, mask)


def _number(name: str, why: str) -> Callable[[Args, _Draft], None]:
    def reader(args: Args, draft: _Draft) -> None:
        setattr(draft, name, args.number(why))

    return reader


def _after(name: str, word: str) -> Callable[[Args, _Draft], None]:
    return _number(name, f'value after "{word}" is invalid')


def _replay(name: str, word: str) -> Callable[[Args, _Draft], None]:
    def reader(args: Args, draft: _Draft) -> None:
        draft.replay[name] = args.number(f'value after "{word}" is invalid')

    return reader


def _set(name: str, read: Callable[[Args], object]) -> Callable[[Args, _Draft], None]:
    def reader(args: Args, draft: _Draft) -> None:
        setattr(draft, name, read(args))

    return reader


def _bound(name: str, word: str) -> Callable[[Args, _Draft], None]:
    def reader(args: Args, draft: _Draft) -> None:
        if getattr(draft, name) is not None:
            raise args.duplicate(word)
        setattr(draft, name, args.number(f'value after "{word}" is invalid'))

    return reader


_SPI_READERS: dict[str, Callable[[Args, _Draft], None]] = {
    "mode": _set("mode", read_mode), "mark": _set("mark", Args.mark), "seq": _seq, "dir": _set("dir", read_direction),
    "reqid": _number("reqid", "REQID value is invalid"), "if_id": _after("if_id", "if_id"),
    "pcpu-num": _after("pcpu", "pcpu-num"),
}  # fmt: skip
_READERS: dict[str, Callable[[Args, _Draft], None]] = _SPI_READERS | {
    "replay-window": _after("window", "replay-window"), "replay-seq": _replay("seq", "replay-seq"),
    "replay-seq-hi": _replay("seq_hi", "replay-seq-hi"), "replay-oseq": _replay("oseq", "replay-oseq"),
    "replay-oseq-hi": _replay("oseq_hi", "replay-oseq-hi"), "flag": _set("flags", read_state_flags),
    "extra-flag": _set("extra_flags", read_extra_flags), "sel": _selector,
    "limit": lambda args, draft: read_limit(args, draft.limits), "encap": _set("encap", read_encap), "coa": _coa,
    "ctx": _context, "offload": _set("offload", read_offload), "output-mark": _output_mark,
    "tfcpad": _after("tfcpad", "tfcpad"),
}  # fmt: skip
_RANGE_READERS = _SPI_READERS | {"min": _bound("low", "min"), "max": _bound("high", "max")}


# -- the other commands -----------------------------------------------------------------------------------------------


def _allocspi(args: Args) -> SpiRequest:
    draft = _Draft()
    while args.left:
        reader = _RANGE_READERS.get(args.word)
        if reader is not None:
            reader(args, draft)
        else:
            _id(args, draft)
            if draft.id is not None and draft.id.spi:
                raise IpRefusal('"spi" is invalid')
        args.step()
    if draft.id is None:
        raise IpRefusal(_NO_ID)
    low, high = _range(draft, draft.id.proto)
    src, dst = draft.id.addresses(args)
    return SpiRequest(
        src, dst, draft.id.proto, low, high, mode=draft.mode, reqid=draft.reqid, mark=_sent(draft.mark),
        if_id=draft.if_id, pcpu=draft.pcpu, dir=draft.dir, seq=draft.seq,
    )  # fmt: skip


def _range(draft: _Draft, proto: int) -> tuple[int, int]:
    low, high = draft.low, draft.high
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
        args.step()
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
        args.step()
    return found


def _flush(args: Args) -> Flush:
    proto: int | None = None
    while args.left:
        if args.word != "proto":
            raise args.wrong("unknown")
        if proto is not None:
            raise args.duplicate("proto")
        proto = read_xfrm_proto(args)
        args.step()
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
