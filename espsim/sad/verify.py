"""What NEWSA and UPDSA are refused for before the SAD is asked: errno and extack text as the kernel has them.

`verify_newsa_info`, `verify_replay` and `xfrm_state_construct` (net/xfrm/xfrm_user.c), `__xfrm_init_state` and
`xfrm_init_replay` (xfrm_state.c, xfrm_replay.c), in their order. Kernels before 6.10 ignore XFRMA_SA_DIR, and what only
it makes an error passes there.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator

from espsim.aead.suites import AEADS, ALIASES, CIPHERS, HASHES, resolve
from espsim.core.address import AF_INET, AF_INET6
from espsim.core.errors import XfrmError
from espsim.sad.association import (
    PROTO_AH,
    PROTO_COMP,
    PROTO_ESP,
    Direction,
    Mode,
    ReplayState,
    SecurityAssociation,
)
from espsim.sad.kernel import Kernel
from espsim.sad.request import DIR_IN, DIR_OUT, EsnState, SaRequest

MAX_ESN_WORDS = 128
POSSIBLE_CPUS = 4
_U32_MAX = 0xFFFFFFFF
_MODES = {0: Mode.TRANSPORT, 1: Mode.TUNNEL, 2: Mode.RO, 4: Mode.BEET}
_COMPRESSIONS = ("deflate", "lzs", "lzjh")
_NOT_FOR_OUTPUT = (("decap-dscp", "DECAP_DSCP"), ("icmp", "ICMP"), ("wildrecv", "WILDRECV"))
_NOT_FOR_INPUT = (("dont-encap-dscp", "DONT_ENCAP_DSCP"), ("oseq-may-wrap", "OSEQ_MAY_WRAP"))
_KNOWN: dict[str, Collection[str]] = {"aead": AEADS, "enc": CIPHERS, "comp": _COMPRESSIONS}
_KEY_WORDS = {"aead": "AEAD", "enc": "CRYPT", "auth": "AUTH", "auth-trunc": "AUTH_TRUNC", "comp": "COMP"}


def direction_of(kernel: Kernel, number: int | None) -> int:
    """XFRMA_SA_DIR as this kernel sees it: 0 where it isn't there or isn't known. ERANGE: neither in nor out."""
    if number is None or not kernel.sa_dir:
        return 0
    if number not in (DIR_IN, DIR_OUT):
        raise XfrmError(errno.ERANGE, "integer out of range")
    return number


def accept(kernel: Kernel, request: SaRequest) -> SecurityAssociation:
    """The SA that a NEWSA or UPDSA asks for. Raises XfrmError where the kernel refuses the request itself."""
    direction = direction_of(kernel, request.dir)
    for text in _refusals(request, direction):
        raise XfrmError(errno.EINVAL, text)
    if kernel.sa_dir and request.pcpu is not None and not direction:
        raise XfrmError(errno.EINVAL, "SA_PCPU only supported with SA_DIR")
    _known_algorithms(request)
    if kernel.sa_dir and request.pcpu is not None and request.pcpu >= POSSIBLE_CPUS:
        raise XfrmError(errno.ERANGE, "pCPU number too big")
    _init_state(request, direction)
    _init_replay(kernel, request, direction)
    _offload(request, direction)
    return _build(kernel, request, direction)


# -- verify_newsa_info --------------------------------------------------------------------------------------------


def _refusals(request: SaRequest, direction: int) -> Iterator[str]:
    """Why a request is refused with EINVAL; the first reason is the kernel's."""
    if request.af not in (AF_INET, AF_INET6):
        yield "Invalid address family"
    yield from _selector(request)
    yield from _attributes(request)
    if request.esn is not None:
        yield from _esn(request, request.esn, direction)
    elif "esn" in request.flags:
        yield "Missing required attribute for ESN"
    if request.mode not in (0, 1, 2, 4):
        yield "Unsupported mode"
    if request.mtimer is not None:
        if request.encap is None:
            yield "MTIMER_THRESH attribute can only be set on ENCAP states"
        if direction == DIR_OUT:
            yield "MTIMER_THRESH attribute should not be set on output SA"
    yield from _directed(request, direction)


def _selector(request: SaRequest) -> Iterator[str]:
    selector = request.selector
    longest = max(selector.src_prefix, selector.dst_prefix)
    if request.af == AF_INET and longest > 32 and len(selector.src or selector.dst) == 4:
        yield "Invalid prefix length in selector (must be <= 32 for IPv4)"
    if longest > 128:
        yield "Invalid prefix length in selector (must be <= 128 for IPv6)"


def _attributes(request: SaRequest) -> Iterator[str]:
    kinds = {algorithm.kind for algorithm in request.algorithms}
    if request.proto == PROTO_AH:
        if not kinds & {"auth", "auth-trunc"}:
            yield "Missing required attribute for AH: AUTH_TRUNC or AUTH"
        if kinds & {"aead", "enc", "comp"} or request.tfcpad is not None:
            yield "Invalid attributes for AH: AEAD, CRYPT, COMP, TFCPAD"
    elif request.proto == PROTO_ESP:
        yield from _esp_attributes(request, kinds)
    elif request.proto == PROTO_COMP:
        if "comp" not in kinds:
            yield "Missing required attribute for COMP: COMP"
        if len(kinds) > 1 or request.tfcpad is not None:
            yield "Invalid attributes for COMP: AEAD, AUTH, AUTH_TRUNC, CRYPT, TFCPAD"
        if request.spi >= 0x10000:
            yield "SPI is too large for COMP (must be < 0x10000)"
    else:
        yield "Unsupported protocol"


def _esp_attributes(request: SaRequest, kinds: set[str]) -> Iterator[str]:
    if "comp" in kinds:
        yield "Invalid attribute for ESP: COMP"
    if not kinds:
        yield "Missing required attribute for ESP: at least one of AUTH, AUTH_TRUNC, CRYPT, AEAD"
    if "aead" in kinds and len(kinds) > 1:
        yield "Invalid attribute combination for ESP: AEAD can't be used with AUTH, AUTH_TRUNC, CRYPT"
    if request.tfcpad is not None and request.mode != 1:
        yield "TFC padding can only be used in tunnel mode"


def _esn(request: SaRequest, esn: EsnState, direction: int) -> Iterator[str]:
    """verify_replay."""
    if esn.bmp_len > MAX_ESN_WORDS:
        yield "ESN bitmap length must be <= 128"
    if request.proto not in (PROTO_ESP, PROTO_AH):
        yield "ESN only supported for ESP and AH"
    if request.replay_window:
        yield "ESN not compatible with legacy replay_window"
    if direction == DIR_OUT:
        yield from _esn_out(esn, "esn" in request.flags)
    elif direction == DIR_IN:
        yield from _esn_in(esn, "esn" in request.flags)


def _esn_out(esn: EsnState, extended: bool) -> Iterator[str]:
    if esn.replay_window:
        yield "Replay window should be 0 for output SA"
    if esn.seq or esn.seq_hi:
        yield "Replay seq and seq_hi should be 0 for output SA"
    if esn.bmp_len:
        yield "Replay bmp_len should 0 for output SA"
    if not extended and esn.oseq_hi:
        yield "Replay oseq_hi should be 0 in non-ESN mode for output SA"
    if not extended and esn.oseq == _U32_MAX:
        yield "Replay oseq should be less than 0xFFFFFFFF in non-ESN mode for output SA"


def _esn_in(esn: EsnState, extended: bool) -> Iterator[str]:
    if esn.oseq or esn.oseq_hi:
        yield "Replay oseq and oseq_hi should be 0 for input SA"
    if not extended and esn.seq_hi:
        yield "Replay seq_hi should be 0 in non-ESN mode for input SA"
    if not extended and esn.seq == _U32_MAX:
        yield "Replay seq should be less than 0xFFFFFFFF in non-ESN mode for input SA"


def _directed(request: SaRequest, direction: int) -> Iterator[str]:
    if direction == DIR_OUT:
        for flag, word in _NOT_FOR_OUTPUT:
            if flag in request.flags:
                yield f"Flag {word} should not be set for output SA"
        if request.replay_window:
            yield "Replay window should be 0 for output SA"
        if request.replay_val is not None and (request.replay_val.seq or request.replay_val.bitmap):
            yield "Replay seq and bitmap should be 0 for output SA"
    elif direction == DIR_IN:
        if "nopmtudisc" in request.flags:
            yield "Flag NOPMTUDISC should not be set for input SA"
        for flag, word in _NOT_FOR_INPUT:
            if flag in request.extra_flags:
                yield f"Flag {word} should not be set for input SA"


# -- xfrm_state_construct and after -------------------------------------------------------------------------------


def _known_algorithms(request: SaRequest) -> None:
    for algorithm in request.algorithms:
        name = ALIASES.get(algorithm.name, algorithm.name)
        known: Collection[str] = _KNOWN.get(algorithm.kind, HASHES)
        if name not in known:
            raise XfrmError(errno.ENOSYS, f"Requested {_KEY_WORDS[algorithm.kind]} algorithm not found")


def _init_state(request: SaRequest, direction: int) -> None:
    if request.nat_keepalive:
        if direction != DIR_OUT:
            raise XfrmError(errno.EINVAL, "NAT keepalive is only supported for outbound SAs")
        if request.encap is None or request.encap.kind != "espinudp":
            raise XfrmError(errno.EINVAL, "NAT keepalive is only supported for UDP encapsulation")
    if request.proto == PROTO_ESP and request.mode in _MODES:
        try:
            resolve(request.algorithms)
        except ValueError:
            raise XfrmError(errno.EINVAL, "Kernel was unable to initialize cryptographic operations") from None


def _init_replay(kernel: Kernel, request: SaRequest, direction: int) -> None:
    esn = request.esn
    if esn is None:
        return
    if esn.replay_window > 32 * esn.bmp_len:
        raise XfrmError(errno.EINVAL, "ESN replay window is too large for the chosen bitmap size")
    may_be_zero = kernel.sa_dir and direction == DIR_OUT
    if "esn" in request.flags and esn.replay_window == 0 and not may_be_zero:
        raise XfrmError(errno.EINVAL, "ESN replay window must be > 0")


def _offload(request: SaRequest, direction: int) -> None:
    """xfrm_dev_state_add, as far as the request alone decides."""
    offload = request.offload
    if offload is None:
        return
    if direction and (offload.dir is Direction.IN) is not (direction == DIR_IN):
        raise XfrmError(errno.EINVAL, "Mismatched SA and offload direction")
    if request.tfcpad:
        raise XfrmError(errno.EINVAL, "TFC padding can't be offloaded")


def _build(kernel: Kernel, request: SaRequest, direction: int) -> SecurityAssociation:
    esn, val = request.esn, request.replay_val
    if esn is not None:
        window = esn.replay_window
        replay = ReplayState(esn.seq, esn.seq_hi, esn.oseq, esn.oseq_hi, esn.bitmap, True)
    else:
        window = min(request.replay_window, 32)  # the legacy bitmap has 32 bits
        replay = ReplayState(val.seq, 0, val.oseq, 0, val.bitmap, True) if val is not None else ReplayState()
    mode = _MODES.get(request.mode)
    if mode is None or (mode is Mode.RO and request.af == AF_INET):  # xfrm4_mode_map has no route optimisation
        raise XfrmError(errno.EPROTONOSUPPORT, "Requested mode not found")
    return SecurityAssociation(
        request.src, request.dst, request.spi, request.proto, mode,
        algorithms=request.algorithms, reqid=request.reqid, mark=request.mark, if_id=request.if_id,
        pcpu=request.pcpu if kernel.sa_dir else None,
        dir=Direction.IN if direction == DIR_IN else Direction.OUT if direction == DIR_OUT else None,
        window=window, flags=request.flags, extra_flags=request.extra_flags, encap=request.encap, coa=request.coa,
        tfcpad=request.tfcpad or 0, selector=request.selector, limits=request.limits,
        output_mark=request.output_mark, offload=request.offload, replay=replay, seq=request.seq, label=request.label,
    )  # fmt: skip
