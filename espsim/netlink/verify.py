"""The checks of NEWSA and UPDSA before their state is made, with the kernel's errno and extack text.

They are those of `verify_newsa_info` and `verify_replay` (net/xfrm/xfrm_user.c), in the kernel's order. construct.py
has the checks after them. Kernels before 6.10 ignore XFRMA_SA_DIR: errors that need it do not occur there.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from espsim.core.address import AF_INET, AF_INET6
from espsim.core.errors import XfrmError
from espsim.core.numbers import DIR_IN, DIR_OUT, MODE_IPTFS, PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.netlink.request import NO_IPTFS, EsnState, SaRequest
from espsim.sad.association import MOBILITY
from espsim.sad.linux import Kernel

MAX_ESN_WORDS = 128
MAX_TFCPAD = 65535
MTIMER_NEEDS_ENCAP = "MTIMER_THRESH requires encapsulation"
MTIMER_OF_OUTPUT = "MTIMER_THRESH should not be set on output SA"
_U32_MAX = 0xFFFFFFFF
_NOT_FOR_OUTPUT = (("decap-dscp", "DECAP_DSCP"), ("icmp", "ICMP"), ("wildrecv", "WILDRECV"))
_NOT_FOR_INPUT = (("dont-encap-dscp", "DONT_ENCAP_DSCP"), ("oseq-may-wrap", "OSEQ_MAY_WRAP"))
_IPTFS_OF_INPUT = (("drop_time", "drop time"), ("reorder_window", "reorder window"))
_IPTFS_OF_OUTPUT = (
    ("dont_frag", "don't fragment"), ("init_delay", "initial delay"), ("max_qsize", "max queue size"),
    ("pkt_size", "packet size"),
)  # fmt: skip


def direction_of(kernel: Kernel, number: int | None) -> int:
    """XFRMA_SA_DIR as this kernel reads it; 0: it is absent, or the kernel ignores it. ERANGE: neither in nor out."""
    if number is None or not kernel.sa_dir:
        return 0
    if number not in (DIR_IN, DIR_OUT):
        raise XfrmError(errno.ERANGE, "integer out of range")
    return number


def verify_newsa_info(kernel: Kernel, request: SaRequest, direction: int) -> None:
    """XfrmError, EINVAL: the first reason to refuse the request."""
    for text in _refusals(kernel, request, direction):
        raise XfrmError(errno.EINVAL, text)


def _refusals(kernel: Kernel, request: SaRequest, direction: int) -> Iterator[str]:
    if request.af not in (AF_INET, AF_INET6):
        yield "Invalid address family"
    yield from _selector(request)
    yield from _attributes(kernel, request)
    if request.esn is not None:
        yield from _esn(request, request.esn, direction)
    elif "esn" in request.flags:
        yield "Missing required attribute for ESN"
    yield from _mode(kernel, request, direction)
    if request.mtimer is not None:
        if request.encap is None:
            yield MTIMER_NEEDS_ENCAP if kernel.newest else "MTIMER_THRESH attribute can only be set on ENCAP states"
        if direction == DIR_OUT:
            yield MTIMER_OF_OUTPUT if kernel.newest else "MTIMER_THRESH attribute should not be set on output SA"
    yield from _directed(request, direction)
    if kernel.iptfs:
        yield from _iptfs(request, direction)
    if (
        direction == DIR_OUT
        and request.replay_val is not None
        and (request.replay_val.seq or request.replay_val.bitmap)
    ):
        yield "Replay seq and bitmap should be 0 for output SA"
    if kernel.sa_dir and request.pcpu is not None and not direction:
        yield "SA_PCPU only supported with SA_DIR"


def _selector(request: SaRequest) -> Iterator[str]:
    """Prefix lengths, for the selector's own family; for the state's where the selector has none."""
    selector = request.selector
    longest = max(selector.src_prefix, selector.dst_prefix)
    length = len(selector.src or selector.dst)
    unspecified = not length and "af-unspec" in request.flags
    family = {4: AF_INET, 16: AF_INET6}.get(length, 0 if unspecified else request.af)
    if family == AF_INET and longest > 32:
        yield "Invalid prefix length in selector (must be <= 32 for IPv4)"
    if family == AF_INET6 and longest > 128:
        yield "Invalid prefix length in selector (must be <= 128 for IPv6)"


def _attributes(kernel: Kernel, request: SaRequest) -> Iterator[str]:
    kinds = {algorithm.kind for algorithm in request.algorithms}
    if request.proto == PROTO_AH:
        if not kinds & {"auth", "auth-trunc"}:
            yield "Missing required attribute for AH: AUTH_TRUNC or AUTH"
        if kinds & {"aead", "enc", "comp"} or request.tfcpad is not None:
            yield "Invalid attributes for AH: AEAD, CRYPT, COMP, TFCPAD"
    elif request.proto == PROTO_ESP:
        yield from _esp_attributes(kernel, request, kinds)
    elif request.proto == PROTO_COMP:
        if "comp" not in kinds:
            yield "Missing required attribute for COMP: COMP"
        if len(kinds) > 1 or request.tfcpad is not None:
            yield "Invalid attributes for COMP: AEAD, AUTH, AUTH_TRUNC, CRYPT, TFCPAD"
        if request.spi >= 0x10000:
            yield "SPI is too large for COMP (must be < 0x10000)"
    elif request.proto in MOBILITY:
        if kinds or request.encap is not None or request.label or request.tfcpad is not None:
            yield "Invalid attributes for DSTOPTS/ROUTING"
        if request.coa is None:
            yield "Missing required COADDR attribute for DSTOPTS/ROUTING"
    else:
        yield "Unsupported protocol"


def _esp_attributes(kernel: Kernel, request: SaRequest, kinds: set[str]) -> Iterator[str]:
    if "comp" in kinds:
        yield "Invalid attribute for ESP: COMP"
    if not kinds:
        yield "Missing required attribute for ESP: at least one of AUTH, AUTH_TRUNC, CRYPT, AEAD"
    if "aead" in kinds and len(kinds) > 1:
        yield "Invalid attribute combination for ESP: AEAD can't be used with AUTH, AUTH_TRUNC, CRYPT"
    if request.tfcpad is not None and request.mode != 1:
        yield "TFC padding can only be used in tunnel mode"
    if kernel.newest and (request.tfcpad or 0) > MAX_TFCPAD:
        yield "Excessive TFC padding"
    if kernel.iptfs and request.iptfs != NO_IPTFS and request.mode != MODE_IPTFS:
        yield "IP-TFS options can only be used in IP-TFS mode"


def _mode(kernel: Kernel, request: SaRequest, direction: int) -> Iterator[str]:
    """The modes that an SA may have; mode 5 (IP-TFS, RFC 9347) only with ESP and a direction."""
    if request.mode == MODE_IPTFS and kernel.iptfs:
        if request.proto != PROTO_ESP:
            yield "IP-TFS mode only supported with ESP"
        if not direction:
            yield "IP-TFS mode requires in or out direction attribute"
    elif request.mode not in (0, 1, 2, 4):
        yield "Unsupported mode"


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
    if extended:
        if esn.oseq == esn.oseq_hi == _U32_MAX:
            yield "Replay oseq and oseq_hi should be less than 0xFFFFFFFF for output SA"
    elif esn.oseq_hi:
        yield "Replay oseq_hi should be 0 in non-ESN mode for output SA"
    elif esn.oseq == _U32_MAX:
        yield "Replay oseq should be less than 0xFFFFFFFF in non-ESN mode for output SA"
    if esn.bmp_len:
        yield "Replay bmp_len should 0 for output SA"


def _esn_in(esn: EsnState, extended: bool) -> Iterator[str]:
    if esn.oseq or esn.oseq_hi:
        yield "Replay oseq and oseq_hi should be 0 for input SA"
    if extended:
        if esn.seq == esn.seq_hi == _U32_MAX:
            yield "Replay seq and seq_hi should be less than 0xFFFFFFFF for input SA"
    elif esn.seq_hi:
        yield "Replay seq_hi should be 0 in non-ESN mode for input SA"
    elif esn.seq == _U32_MAX:
        yield "Replay seq should be less than 0xFFFFFFFF in non-ESN mode for input SA"


def _directed(request: SaRequest, direction: int) -> Iterator[str]:
    if direction == DIR_OUT:
        for flag, word in _NOT_FOR_OUTPUT:
            if flag in request.flags:
                yield f"Flag {word} should not be set for output SA"
        if request.replay_window:
            yield "Replay window should be 0 for output SA"
    elif direction == DIR_IN:
        if "nopmtudisc" in request.flags:
            yield "Flag NOPMTUDISC should not be set for input SA"
        for flag, word in _NOT_FOR_INPUT:
            if flag in request.extra_flags:
                yield f"Flag {word} should not be set for input SA"


def _iptfs(request: SaRequest, direction: int) -> Iterator[str]:
    """Options of IPTFS that belong to the other direction. An attribute counts whatever its value."""
    wrong, of = (_IPTFS_OF_INPUT, "output") if direction == DIR_OUT else (_IPTFS_OF_OUTPUT, "input")
    for name, words in wrong if direction else ():
        value = getattr(request.iptfs, name)
        if value is not None and value is not False:
            yield f"IP-TFS {words} should not be set for {of} SA"
