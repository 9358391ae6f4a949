"""Requests as netlink carries them, before anything is checked (include/uapi/linux/xfrm.h).

An `SaRequest` may be nonsense: verify.py refuses it then, with the kernel's errno and text. A `SecurityAssociation` is
made from a NEWSA that was accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.aead.suites import Algorithm
from espsim.core.address import Address, family
from espsim.sad.association import ANY, NO_LIMITS, NO_MARK, Encap, Limits, Mark, Offload, Selector


class _Addressed:
    """A request with a destination, and perhaps a stated family, which may be any number in netlink."""

    __slots__ = ()
    dst: Address
    family: int | None

    @property
    def af(self) -> int:
        """The address family of the request: the stated one, else that of its address."""
        return self.family if self.family is not None else family(self.dst)


@dataclass(frozen=True, slots=True)
class EsnState:
    """XFRMA_REPLAY_ESN_VAL (struct xfrm_replay_state_esn). `bitmap`: bit i is seq-i, as in `ReplayState.bitmap`."""

    bmp_len: int = 0
    replay_window: int = 0
    seq: int = 0
    seq_hi: int = 0
    oseq: int = 0
    oseq_hi: int = 0
    bitmap: int = 0


@dataclass(frozen=True, slots=True)
class ReplayVal:
    """XFRMA_REPLAY_VAL (struct xfrm_replay_state)."""

    oseq: int = 0
    seq: int = 0
    bitmap: int = 0


@dataclass(frozen=True, slots=True)
class IptfsRequest:
    """XFRMA_IPTFS_* of a request, in microseconds and octets. None, or `dont_frag` False: not stated."""

    drop_time: int | None = None
    reorder_window: int | None = None
    dont_frag: bool = False
    init_delay: int | None = None
    max_qsize: int | None = None
    pkt_size: int | None = None


NO_IPTFS = IptfsRequest()


@dataclass(frozen=True, slots=True)
class SaRequest(_Addressed):
    """XFRM_MSG_NEWSA or UPDSA. `mode`, `dir`: raw numbers. None: the attribute is absent.

    `unknown`: numbers of attributes that no kernel knows, and that every kernel ignores.
    """

    src: Address
    dst: Address
    proto: int
    spi: int
    mode: int = 0
    reqid: int = 0
    mark: Mark = NO_MARK
    if_id: int = 0
    pcpu: int | None = None
    dir: int | None = None
    seq: int = 0
    flags: frozenset[str] = frozenset()
    extra_flags: frozenset[str] = frozenset()
    replay_window: int = 0
    replay_val: ReplayVal | None = None
    esn: EsnState | None = None
    encap: Encap | None = None
    mtimer: int | None = None
    nat_keepalive: int | None = None
    offload: Offload | None = None
    algorithms: tuple[Algorithm, ...] = ()
    limits: Limits = NO_LIMITS
    selector: Selector = ANY
    tfcpad: int | None = None
    coa: Address | None = None
    output_mark: Mark | None = None
    label: str = ""
    iptfs: IptfsRequest = NO_IPTFS
    unknown: tuple[int, ...] = ()
    family: int | None = None


@dataclass(frozen=True, slots=True)
class SpiRequest(_Addressed):
    """XFRM_MSG_ALLOCSPI: a range of SPIs, and the fields of the larval state. `seq`: of the ACQUIRE that it answers."""

    src: Address
    dst: Address
    proto: int
    low: int
    high: int
    mode: int = 0
    reqid: int = 0
    mark: Mark = NO_MARK
    if_id: int = 0
    pcpu: int | None = None
    dir: int | None = None
    seq: int = 0
    family: int | None = None


@dataclass(frozen=True, slots=True)
class StateKey(_Addressed):
    """XFRM_MSG_GETSA and DELSA: which state. `srcaddr` is for protocols without SPIs. `dir` is refused if present."""

    dst: Address
    proto: int
    spi: int
    mark: Mark = NO_MARK
    family: int | None = None
    srcaddr: Address | None = None
    dir: int | None = None


@dataclass(frozen=True, slots=True)
class MigrateStateRequest(_Addressed):
    """XFRM_MSG_MIGRATE_STATE: which SA (looked up with `old_mark`), and what it will be.

    The fields after `selector_family` are attributes; None: absent. An `encap` of kind "0" removes the encapsulation.
    `selector_family`: of the new selector; 0: it has none. `others`: attributes that this message may not have.
    """

    dst: Address
    proto: int
    spi: int
    new_src: Address
    new_dst: Address
    new_reqid: int
    new_family: int
    family: int | None = None
    old_mark: Mark = NO_MARK
    flags: int = 0
    reserved: int = 0
    new_selector: Selector = ANY
    selector_family: int = 0
    mark: Mark | None = None
    encap: Encap | None = None
    set_mark: Mark | None = None
    mtimer: int | None = None
    nat_keepalive: int | None = None
    offload: Offload | None = None
    others: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MigrateEntry:
    """struct xfrm_user_migrate: SAs and templates between two addresses, and the addresses that they get."""

    old_src: Address
    old_dst: Address
    new_src: Address
    new_dst: Address
    proto: int
    mode: int
    reqid: int


@dataclass(frozen=True, slots=True)
class MigrateRequest:
    """XFRM_MSG_MIGRATE: a policy, by its selector and `dir` (XFRM_POLICY_*: 0 in, 1 out, 2 fwd), and what moves."""

    dir: int
    selector: Selector
    entries: tuple[MigrateEntry, ...]
    encap: Encap | None = None
    if_id: int = 0
    ptype: str = "main"
