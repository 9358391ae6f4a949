"""A request as the line of `ip xfrm` that sends the same message, where there is one.

Each line is checked: our own reader must turn it back into the same request. What `ip` has no words for (a family that
is not the address's, EXPIRE, a message cut short) stays a request.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from espsim.core.address import format_address
from espsim.core.errors import InputError
from espsim.core.numbers import DIRECTIONS, MODES
from espsim.netlink.request import SaRequest, SpiRequest, StateKey
from espsim.sad.association import MOBILITY, NO_MARK, Limits, Mark
from espsim.text.iproute import IpRefusal
from espsim.text.names import EXTRA_FLAGS, FLAGS, LIMIT_WORDS, XFRM_PROTOCOLS
from espsim.text.state_words import Get, Modify, parse_state
from espsim.xfrm.request_line import RequestWords, split_line
from espsim.xfrm.request_sa import sa_request, spi_request, state_key
from espsim.xfrm.requests import WORDS_OF

_R = TypeVar("_R", SaRequest, SpiRequest, StateKey)
_PROTOCOLS = {number: name for name, number in XFRM_PROTOCOLS.items()}
_UNSAID = frozenset({"cap", "length"})


def as_ip(line: str) -> str | None:
    """The line of `ip` for a request line. None: `ip` has no words for it."""
    split = split_line(line, None, 1)
    if split is None or split[0] not in _MAKERS:
        return None
    verb, words = split
    parsed = RequestWords.parse(words, WORDS_OF[verb], None, 1)
    if _UNSAID & parsed.values.keys():
        return None
    found = _MAKERS[verb](verb, parsed)
    return None if found is None else f"ip xfrm state {' '.join(map(shlex.quote, found))}"


def _changes(verb: str, parsed: RequestWords) -> list[str] | None:
    request = sa_request(parsed)
    words = ["update" if verb == "UPDSA" else "add", *_ends(request), "spi", f"0x{request.spi:x}", *_common(request)]
    words += _of_sa(request)
    return words if _reads_as(words, Modify(verb == "UPDSA", request)) else None


def _allocates(_verb: str, parsed: RequestWords) -> list[str] | None:
    request = spi_request(parsed)
    words = ["allocspi", *_ends(request), *_common(request), "min", f"0x{request.low:x}", "max", f"0x{request.high:x}"]
    return words if _reads_as(words, request) else None


def _asks(verb: str, parsed: RequestWords) -> list[str] | None:
    key = state_key(parsed)
    words = ["delete" if verb == "DELSA" else "get"]
    words += ["src", format_address(key.srcaddr)] if key.srcaddr is not None else []
    words += ["dst", format_address(key.dst), "proto", _PROTOCOLS.get(key.proto, str(key.proto))]
    words += ["spi", f"0x{key.spi:x}", *_mark("mark", key.mark)]
    return words if _reads_as(words, Get(verb == "DELSA", key)) else None


def _flushes(_verb: str, parsed: RequestWords) -> list[str] | None:
    proto = parsed.protocol(255)
    if proto == 255:
        return ["flush"]
    return ["flush", "proto", _PROTOCOLS[proto]] if proto in _PROTOCOLS else None


def _dumps(_verb: str, parsed: RequestWords) -> list[str] | None:
    return None if parsed.protocol(0) else ["list"]


_MAKERS = {"ALLOCSPI": _allocates, "NEWSA": _changes, "UPDSA": _changes, "GETSA": _asks, "DELSA": _asks,
           "FLUSHSA": _flushes, "DUMP": _dumps}  # fmt: skip


def _reads_as(words: list[str], wanted: object) -> bool:
    """Whether our reader turns the words into this request."""
    try:
        found = parse_state(words)
    except (IpRefusal, InputError):
        return False
    if isinstance(found, Get) and isinstance(wanted, Get):
        return found.delete == wanted.delete and _same_key(found.key, wanted.key)
    if isinstance(found, SpiRequest) and isinstance(wanted, SpiRequest):
        return _with_family(found) == _with_family(wanted)
    if isinstance(found, Modify) and isinstance(wanted, Modify):
        return found.update == wanted.update and _with_family(found.request) == _with_family(wanted.request)
    return False


def _with_family(request: _R) -> _R:
    """The request with its family stated, as `ip` always sends it."""
    return replace(request, family=request.af)


def _same_key(found: StateKey, wanted: StateKey) -> bool:
    """Whether two keys are equal, families apart. `ip` always sends a source; it counts only without an SPI."""
    found, wanted = (_with_family(replace(key, srcaddr=_source(key))) for key in (found, wanted))
    return found == wanted


def _source(key: StateKey) -> bytes | None:
    return key.srcaddr if key.proto in MOBILITY else None


def _ends(request: SaRequest | SpiRequest) -> list[str]:
    proto = _PROTOCOLS.get(request.proto, str(request.proto))
    return ["src", format_address(request.src), "dst", format_address(request.dst), "proto", proto]


def _common(request: SaRequest | SpiRequest) -> Iterator[str]:
    if request.mode:
        yield from ("mode", MODES.get(request.mode, str(request.mode)))
    if request.reqid:
        yield from ("reqid", str(request.reqid))
    if request.seq:
        yield from ("seq", str(request.seq))
    yield from _mark("mark", request.mark)
    if request.if_id:
        yield from ("if_id", str(request.if_id))
    if request.pcpu is not None:
        yield from ("pcpu-num", str(request.pcpu))
    if request.dir is not None:
        yield from ("dir", DIRECTIONS.get(request.dir, str(request.dir)))


def _mark(word: str, mark: Mark) -> list[str]:
    return [] if mark == NO_MARK else [word, f"0x{mark.value:x}", "mask", f"0x{mark.mask:x}"]


def _of_sa(request: SaRequest) -> Iterator[str]:
    for a in request.algorithms:
        key = f"0x{a.key.hex()}" if a.key else ""
        yield from (a.kind, a.name, key, *([str(a.bits)] if a.kind in ("aead", "auth-trunc") else []))
    for word, said, known in (("flag", request.flags, FLAGS), ("extra-flag", request.extra_flags, EXTRA_FLAGS)):
        if said:
            yield from (word, *(name for name in known if name in said))
    if request.replay_window:
        yield from ("replay-window", str(request.replay_window))
    if request.replay_val is not None:
        yield from ("replay-seq", str(request.replay_val.seq), "replay-oseq", str(request.replay_val.oseq))
    if request.encap is not None:
        ends = (str(request.encap.sport), str(request.encap.dport), format_address(request.encap.oaddr))
        yield from ("encap", request.encap.kind, *ends)
    yield from _of_lifetime(request.limits)
    if request.coa is not None:
        yield from ("coa", format_address(request.coa))
    if request.tfcpad is not None:
        yield from ("tfcpad", str(request.tfcpad))
    if request.output_mark is not None:
        yield from ("output-mark", f"0x{request.output_mark.value:x}", "mask", f"0x{request.output_mark.mask:x}")


def _of_lifetime(limits: Limits) -> Iterator[str]:
    for word, name in LIMIT_WORDS.items():
        value = getattr(limits, name)
        if value is not None:
            yield from ("limit", word, str(value))
