"""PF_KEY messages and Android calls as the netlink requests that they become, in the request language's words.

    pfkey getspi ID [mode MODE] [reqid N] [seq N] [min N max N]      SADB_GETSPI  -> ALLOCSPI
    pfkey add|update WORDS of `ip xfrm state add`                    SADB_ADD, SADB_UPDATE -> NEWSA, UPDSA
    pfkey get|delete ID                                              SADB_GET, SADB_DELETE -> GETSA, DELSA
    pfkey flush [proto PROTO]                                        SADB_FLUSH -> FLUSHSA
    android allocate ADDR                  IpSecManager.allocateSecurityParameterIndex(destinationAddress)
    android allocate ADDR SPI              ...allocateSecurityParameterIndex(destinationAddress, requestedSpi)

PF_KEY (RFC 2367, net/key/af_key.c) has no word for a mark, an interface, a direction, ESN or a window above 32. Its
sequence number is that of the ACQUIRE.

Android's netd never lets the kernel draw. It starts at a random SPI of 256..2^32-2 and asks for that one (min = max);
at ENOENT it asks for the next. The source is 0.0.0.0 or ::. The reqid is the resource that IpSecService made
(system/netd/server/XfrmController.cpp, class RandomSpi).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from espsim.core.address import format_address
from espsim.core.echo import HIDDEN, hide_keys
from espsim.core.errors import InputError
from espsim.core.numbers import MODES
from espsim.netlink.request import SaRequest, SpiRequest, StateKey
from espsim.sad.association import Mark
from espsim.text.iproute import AF_UNSPEC, Args, IpRefusal, parse_number
from espsim.text.names import proto_name, swapped
from espsim.text.state_words import Flush, Get, Modify, StateCommand, parse_state

ANDROID_LOW, ANDROID_HIGH = 256, 0xFFFFFFFE
_TRIES = 100_000
_VERBS = {"getspi": "allocspi", "add": "add", "update": "update", "get": "get", "delete": "delete", "flush": "flush"}
_UNSAYABLE = ("mark", "if_id", "dir", "pcpu-num", "offload", "output-mark", "replay-seq-hi", "replay-oseq-hi")


def pfkey(words: list[str]) -> tuple[str, StateCommand]:
    """A PF_KEY message as a request's text and as a command. IpRefusal where PF_KEY can't say it."""
    verb = _VERBS.get(words[0]) if words else None
    if verb is None:
        raise IpRefusal(f"pfkey: give one of {', '.join(_VERBS)}")
    for word in words[1:]:
        if word in _UNSAYABLE:
            raise IpRefusal(f"pfkey: PF_KEY has no word for {word}")
    command = parse_state([verb, *words[1:]])
    if isinstance(command, SpiRequest):
        command = replace(command, seq=swapped(command.seq))  # sadb_msg_seq is km.seq with its bytes unchanged
    elif isinstance(command, Modify):
        command = Modify(command.update, _without_esn(command.request))
    return request_text(command), command


def _without_esn(request: SaRequest) -> SaRequest:
    if "esn" in request.flags:
        raise IpRefusal("pfkey: PF_KEY has no word for esn")
    if request.esn is not None:  # the window of sadb_sa_replay is cut to the 32 bits of the legacy bitmap
        request = replace(request, esn=None, replay_window=32)
    return replace(request, seq=swapped(request.seq))


class AndroidRequests:
    """The requests that netd sends, each as (text, request), until one is not refused with ENOENT. `last` ends them."""

    def __init__(self, request: SpiRequest, spis: Iterator[int]) -> None:
        self._request = request
        self._spis = spis
        self._next: int | None = next(spis, None)
        self.last: SpiRequest | None = None

    def __iter__(self) -> Iterator[tuple[str, SpiRequest]]:
        while self._next is not None:
            request = replace(self._request, low=self._next, high=self._next)
            self._next = next(self._spis, None)
            if self._next is None:
                self.last = request
            yield request_text(request), request


def android(words: list[str], resource: int) -> AndroidRequests:
    """The requests of `android allocate ADDR [SPI]`. `resource` is IpSecService's number; it seeds netd's first SPI."""
    if len(words) not in (2, 3) or words[0] != "allocate":
        raise IpRefusal("android: give allocate ADDR [SPI]")
    address = Args(["", words[1]], AF_UNSPEC).address()
    if not address:
        raise IpRefusal(f'android: "{words[1]}" is not an address')
    request = SpiRequest(bytes(len(address)), address, 50, 0, 0, reqid=resource)
    if len(words) == 2:
        return AndroidRequests(request, _netd_draws(resource))
    spi = parse_number(words[2], 32)
    if spi is None:
        raise IpRefusal(f'android: "{words[2]}" is not an SPI')
    if 0 < spi < ANDROID_LOW:
        raise IpRefusal("IllegalArgumentException: ESP SPI must not be in the range of 0-255.")
    return AndroidRequests(request, iter((spi,)) if spi else _netd_draws(resource))


def _netd_draws(resource: int) -> Iterator[int]:
    size = ANDROID_HIGH - ANDROID_LOW + 1
    start = random.Random(resource).randint(1, 0x7FFFFFFF)
    return ((start + i) % size + ANDROID_LOW for i in range(_TRIES))


# -- text -------------------------------------------------------------------------------------------------------------


def request_text(command: StateCommand) -> str:
    """A command as a line of the request language, without keys."""
    match command:
        case SpiRequest():
            words = _ends(command.src, command.dst, command.proto)
            words += [f"min=0x{command.low:x}", f"max=0x{command.high:x}", *_common(command)]
            return " ".join(["ALLOCSPI", *words])
        case Modify(update, request):
            return " ".join(["UPDSA" if update else "NEWSA", *_association(request)])
        case Get(delete, key):
            return " ".join(["DELSA" if delete else "GETSA", *_key(key)])
        case Flush(proto):
            return "FLUSHSA" + (f" proto={proto_name(proto)}" if proto else "")
        case _:
            raise InputError("the request language has no request for this command")


def _ends(src: bytes, dst: bytes, proto: int) -> list[str]:
    return [f"src={format_address(src)}", f"dst={format_address(dst)}", f"proto={proto_name(proto)}"]


def _common(request: SaRequest | SpiRequest) -> list[str]:
    words = [f"mode={MODES[request.mode]}"] if request.mode else []
    words += [f"{name}={value}" for name in ("reqid", "if_id", "seq") if (value := getattr(request, name))]
    if request.mark != Mark():
        words.append(f"mark=0x{request.mark.value:x}/0x{request.mark.mask:x}")
    return words


def _key(key: StateKey) -> list[str]:
    return [f"dst={format_address(key.dst)}", f"proto={proto_name(key.proto)}", f"spi=0x{key.spi:x}"]


def _association(request: SaRequest) -> list[str]:
    words = [*_ends(request.src, request.dst, request.proto), f"spi=0x{request.spi:x}", *_common(request)]
    if request.replay_window:
        words.append(f"replay_window={request.replay_window}")
    if request.flags:
        words.append(f"flags={','.join(sorted(request.flags))}")
    if request.encap is not None:
        words.append(f"encap={request.encap.kind},{request.encap.sport},{request.encap.dport}")
    for algorithm in request.algorithms:
        kind = {"enc": "crypt", "auth-trunc": "auth"}.get(algorithm.kind, algorithm.kind)
        words.append(f"{kind}={hide_keys(algorithm.name)}")
        if kind != "comp":
            words.append(f"{'key' if kind == 'aead' else kind + '_key'}={HIDDEN}")
        if algorithm.bits:
            words.append(f"{'icv' if kind == 'aead' else 'trunc'}={algorithm.bits}")
    return words
