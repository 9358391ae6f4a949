"""Makes the SA of a NEWSA or UPDSA, with the kernel's checks on the way, in its order. verify.py comes first.

    xfrm_state_construct    the algorithms by name (ENOSYS), the CPU
    __xfrm_init_state       the mode, for the families of selector and state; the protocol's type and its conditions
                            (esp_init_state, ah_init_state, ipcomp4_init_state, mip6_*_init_state); NAT keepalives
    xfrm_init_replay        the window
    xfrm_dev_state_add      an offload, as far as the request alone decides
    iptfs_user_init         the options of IPTFS

What this does not do: it puts no SA into the SAD (netns.py), and asks no driver (`Netns.offer`).
"""

from __future__ import annotations

import errno
from dataclasses import asdict, replace

from espsim.aead.linux_names import linux_aead_bits, linux_hash, linux_key_sizes, linux_name
from espsim.aead.suites import AEADS, Algorithm
from espsim.core.address import AF_INET, AF_INET6, in_family
from espsim.core.errors import XfrmError
from espsim.core.numbers import DIR_IN, DIR_OUT, PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.netlink.request import SaRequest
from espsim.netlink.verify import direction_of, verify_newsa_info
from espsim.sad.association import (
    ESPINUDP,
    MOBILITY,
    MODE_BY_NUMBER,
    Direction,
    IptfsOptions,
    Mode,
    ReplayState,
    SecurityAssociation,
)  # fmt: skip
from espsim.sad.linux import Kernel

POSSIBLE_CPUS = 4
_TUNNELS = (Mode.TUNNEL, Mode.BEET, Mode.IPTFS)
"""Modes whose inner packets may be of another family (XFRM_MODE_FLAG_TUNNEL)."""

_COMPRESSIONS = ("deflate",)
_KEY_WORDS = {"aead": "AEAD", "enc": "CRYPT", "auth": "AUTH", "auth-trunc": "AUTH_TRUNC", "comp": "COMP"}
_ORDER = ("aead", "auth-trunc", "auth", "enc", "comp")
_NON_IKE = "espinudp-nonike"
_LEAST_ESN_ICV = 4  # bytes: crypto_authenc_esn_setauthsize
_UNABLE = "Kernel was unable to initialize cryptographic operations"


def accept(kernel: Kernel, request: SaRequest) -> SecurityAssociation:
    """The SA of a NEWSA or UPDSA. XfrmError: the kernel refuses the request."""
    direction = direction_of(kernel, request.dir)
    verify_newsa_info(kernel, request, direction)
    _attach_algorithms(request)
    if kernel.sa_dir and request.pcpu is not None and request.pcpu >= POSSIBLE_CPUS:
        raise XfrmError(errno.ERANGE, "pCPU number too big")
    init_state(kernel, request, direction, _selector_family(request) or request.af)
    _init_replay(kernel, request, direction)
    check_offload(request, direction)
    return _with_iptfs(kernel, request, _build(kernel, request, direction))


# -- xfrm_state_construct ---------------------------------------------------------------------------------------------


def _attach_algorithms(request: SaRequest) -> None:
    """attach_aead, attach_crypt and so on: algorithms by name; an AEAD by its name and the length of its ICV."""
    for algorithm in sorted(request.algorithms, key=lambda a: _ORDER.index(a.kind)):
        name = linux_name(algorithm.name)
        mac = linux_hash(name)
        known = {
            "aead": algorithm.bits in linux_aead_bits(name), "enc": linux_key_sizes(name) is not None,
            "comp": name in _COMPRESSIONS,
        }.get(algorithm.kind, mac is not None)  # fmt: skip
        if not known:
            raise XfrmError(errno.ENOSYS, f"Requested {_KEY_WORDS[algorithm.kind]} algorithm not found")
        if algorithm.kind == "auth-trunc" and mac is not None and algorithm.bits > mac.full_bits:
            raise XfrmError(errno.EINVAL, "Invalid length requested for truncated ICV")


# -- __xfrm_init_state ------------------------------------------------------------------------------------------------


def init_state(kernel: Kernel, request: SaRequest, direction: int, inside: int) -> None:
    """Check mode, protocol and keepalives. `inside`: the family of inner packets. XfrmError: the kernel refuses."""
    mode = _mode_of(request, inside)
    if request.proto == PROTO_ESP:
        _init_esp(kernel, request)
    elif request.proto == PROTO_AH:
        _init_ah(request, mode)
    elif request.proto == PROTO_COMP:
        _init_ipcomp(request, mode)
    elif request.proto in MOBILITY:
        _init_mobility(request, mode)
    if request.nat_keepalive and kernel.sa_dir:
        if direction != DIR_OUT:
            raise XfrmError(errno.EINVAL, "NAT keepalive is only supported for outbound SAs")
        if request.encap is None or request.encap.kind != ESPINUDP:
            raise XfrmError(errno.EINVAL, "NAT keepalive is only supported for UDP encapsulation")


def init_state_of(kernel: Kernel, sa: SecurityAssociation, mode: int, af: int, inside: int) -> None:
    """The same check, and that of the offload, for an SA that a migration would make."""
    request = SaRequest(
        sa.src, sa.dst, sa.proto, sa.spi, mode, flags=sa.flags, encap=sa.encap, algorithms=sa.algorithms,
        selector=sa.selector, nat_keepalive=sa.nat_keepalive, offload=sa.offload, tfcpad=sa.tfcpad or None, family=af,
    )  # fmt: skip
    direction = {None: 0, Direction.IN: DIR_IN, Direction.OUT: DIR_OUT}[sa.dir]
    init_state(kernel, request, direction, inside)
    check_offload(request, direction)


def _mode_of(request: SaRequest, inside: int) -> Mode:
    """The mode. It must exist for the inner family (xfrm_get_mode), and allow an inner family that differs."""
    mode = MODE_BY_NUMBER.get(request.mode)
    if mode in (None, Mode.IN_TRIGGER) or (
        mode is Mode.RO and inside == AF_INET
    ):  # xfrm4_mode_map has no route optimisation
        raise XfrmError(errno.EPROTONOSUPPORT, "Requested mode not found")
    if inside != request.af and mode not in _TUNNELS:
        raise XfrmError(errno.EPROTONOSUPPORT, "Only tunnel modes can accommodate a change of family")
    return mode


def _selector_family(request: SaRequest) -> int:
    """The family of the selector: its own, else the state's; 0 with the flag af-unspec."""
    length = len(request.selector.src or request.selector.dst)
    if length:
        return AF_INET if length == 4 else AF_INET6
    return 0 if "af-unspec" in request.flags else request.af


def _init_esp(kernel: Kernel, request: SaRequest) -> None:
    """esp_init_state, with esp_init_aead and esp_init_authenc."""
    kinds = {algorithm.kind for algorithm in request.algorithms}
    if not kinds & {"aead", "enc"}:
        raise XfrmError(errno.EINVAL, "ESP: AEAD or CRYPT must be provided")
    _check_keys(request)
    encap = request.encap.kind if request.encap is not None else ESPINUDP
    if encap != ESPINUDP and not (encap == _NON_IKE and kernel.non_ike):
        # espintcp needs CONFIG_INET_ESPINTCP, which the recorded kernels do not have.
        raise XfrmError(errno.EINVAL, "Unsupported encapsulation type for ESP")


def _check_keys(request: SaRequest) -> None:
    """The checks of the ciphers: an ICV has at least one byte, and keys have a length that the cipher knows."""
    for algorithm in _attached(request):
        name, size = linux_name(algorithm.name), len(algorithm.key)
        mac = linux_hash(name) if algorithm.kind in ("auth", "auth-trunc") else None
        if algorithm.kind == "aead" and size not in AEADS[name].key_sizes:
            raise XfrmError(errno.EINVAL, _UNABLE)
        if algorithm.kind == "enc" and size not in (linux_key_sizes(name) or ()):
            raise XfrmError(errno.EINVAL)  # crypto_authenc_setkey sets no extack text
        if algorithm.kind == "auth-trunc" and algorithm.bits and mac is not None and mac.full_bits:
            length = algorithm.bits // 8
            if not length or ("esn" in request.flags and length < _LEAST_ESN_ICV):
                raise XfrmError(errno.EINVAL, _UNABLE)
        if mac is not None and mac.key_lengths and size not in mac.key_lengths:
            raise XfrmError(errno.EINVAL)  # the same setkey: crypto/xcbc.c and crypto/cmac.c take AES keys


def _attached(request: SaRequest) -> tuple[Algorithm, ...]:
    """The algorithms in the order in which ESP sets them up. Of two for authentication the truncated one counts."""
    truncated = any(a.kind == "auth-trunc" for a in request.algorithms)
    kept = (a for a in request.algorithms if not (truncated and a.kind == "auth"))
    return tuple(sorted(kept, key=lambda a: _ORDER.index(a.kind)))


def _init_ah(request: SaRequest, mode: Mode) -> None:
    """ah_init_state; in IPv6 the mode is looked at too, and last."""
    if request.encap is not None:
        raise XfrmError(errno.EINVAL, "AH is not compatible with encapsulation")
    if mode is Mode.RO:
        text = "Invalid mode requested for AH, must be one of TRANSPORT, TUNNEL, BEET"
        raise XfrmError(errno.EINVAL, text)
    for algorithm in _attached(request):
        mac = linux_hash(linux_name(algorithm.name))
        if mac is not None and mac.key_lengths and len(algorithm.key) not in mac.key_lengths:
            raise XfrmError(errno.EINVAL, _UNABLE)


def _init_ipcomp(request: SaRequest, mode: Mode) -> None:
    """ipcomp4_init_state and ipcomp_init_state."""
    if mode not in (Mode.TRANSPORT, Mode.TUNNEL):
        raise XfrmError(errno.EINVAL, "Unsupported XFRM mode for IPcomp")
    if request.encap is not None:
        raise XfrmError(errno.EINVAL, "IPComp is not compatible with encapsulation")


def _init_mobility(request: SaRequest, mode: Mode) -> None:
    """mip6_destopt_init_state and mip6_rthdr_init_state, types that only IPv6 has."""
    if request.af != AF_INET6:
        raise XfrmError(errno.EPROTONOSUPPORT, "Requested type not found")
    if request.spi:
        raise XfrmError(errno.EINVAL, "SPI must be 0")
    if mode is not Mode.RO:
        raise XfrmError(errno.EINVAL, "XFRM mode must be XFRM_MODE_ROUTEOPTIMIZATION")


# -- xfrm_init_replay and after ---------------------------------------------------------------------------------------


def _init_replay(kernel: Kernel, request: SaRequest, direction: int) -> None:
    esn = request.esn
    if esn is None:
        return
    if esn.replay_window > 32 * esn.bmp_len:
        raise XfrmError(errno.EINVAL, "ESN replay window is too large for the chosen bitmap size")
    may_be_zero = kernel.sa_dir and direction == DIR_OUT
    if "esn" in request.flags and esn.replay_window == 0 and not may_be_zero:
        raise XfrmError(errno.EINVAL, "ESN replay window must be > 0")


def check_offload(request: SaRequest, direction: int) -> None:
    """xfrm_dev_state_add, as far as the request alone decides. Only the type of ESP has offload."""
    offload = request.offload
    if offload is None:
        return
    if request.proto != PROTO_ESP:
        raise XfrmError(errno.EINVAL, "Type doesn't support offload")
    if direction and (offload.dir is Direction.IN) is not (direction == DIR_IN):
        raise XfrmError(errno.EINVAL, "Mismatched SA and offload direction")
    if request.tfcpad:
        raise XfrmError(errno.EINVAL, "TFC padding can't be offloaded")


def _with_iptfs(kernel: Kernel, request: SaRequest, sa: SecurityAssociation) -> SecurityAssociation:
    """iptfs_user_init (net/xfrm/xfrm_iptfs.c): the stated options, else defaults. Without the module: none."""
    if sa.mode is not Mode.IPTFS or not kernel.iptfs_module:
        return sa
    options = IptfsOptions(**{name: value for name, value in asdict(request.iptfs).items() if value is not None})
    if options.pkt_size and options.pkt_size <= sa.iptfs_header_length:
        raise XfrmError(errno.EINVAL, "Packet size must be 0 or greater than IPTFS/ESP header length")
    return replace(sa, iptfs=options)


def _build(kernel: Kernel, request: SaRequest, direction: int) -> SecurityAssociation:
    esn, val = request.esn, request.replay_val
    if esn is not None:
        window = esn.replay_window
        replay = ReplayState(esn.seq, esn.seq_hi, esn.oseq, esn.oseq_hi, esn.bitmap, True)
    else:
        window = min(request.replay_window, 32)  # the legacy bitmap has 32 bits
        replay = ReplayState(val.seq, 0, val.oseq, 0, val.bitmap, True) if val is not None else ReplayState()
    return SecurityAssociation(
        in_family(request.src, request.af), in_family(request.dst, request.af), request.spi, request.proto,
        MODE_BY_NUMBER[request.mode], algorithms=request.algorithms, reqid=request.reqid, mark=request.mark,
        if_id=request.if_id, pcpu=request.pcpu if kernel.sa_dir else None,
        dir=Direction.IN if direction == DIR_IN else Direction.OUT if direction == DIR_OUT else None,
        window=window, flags=request.flags, extra_flags=request.extra_flags, encap=request.encap, coa=request.coa,
        tfcpad=request.tfcpad or 0, selector=request.selector, limits=request.limits,
        output_mark=request.output_mark, offload=request.offload, replay=replay, seq=request.seq, label=request.label,
        mtimer=request.mtimer or 0, nat_keepalive=(request.nat_keepalive or 0) if kernel.sa_dir else 0,
        as_kernel=True,
    )  # fmt: skip
