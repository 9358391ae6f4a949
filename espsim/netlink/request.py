"""Requests as netlink carries them: what a user says, before anything is checked (include/uapi/linux/xfrm.h).

A `SecurityAssociation` is what became of a NEWSA that was accepted; an `SaRequest` may be nonsense, because refusing it
with the kernel's own errno and text is the point (verify.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.aead.suites import Algorithm
from espsim.core.address import Address, family
from espsim.sad.association import ANY, NO_LIMITS, NO_MARK, Encap, Limits, Mark, Offload, Selector


class _Addressed:
    """A request with a destination, and perhaps a family of its own, which netlink lets be any number."""

    __slots__ = ()
    dst: Address
    family: int | None

    @property
    def af(self) -> int:
        """The address family of the request: the one stated, or its address's."""
        return self.family if self.family is not None else family(self.dst)


@dataclass(frozen=True, slots=True)
class EsnState:
    """XFRMA_REPLAY_ESN_VAL (struct xfrm_replay_state_esn); `bitmap` as `ReplayState.bitmap`, bit i is seq-i."""

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
    """XFRMA_IPTFS_* that a request states; None, and `dont_frag` False: it does not. Microseconds and octets."""

    drop_time: int | None = None
    reorder_window: int | None = None
    dont_frag: bool = False
    init_delay: int | None = None
    max_qsize: int | None = None
    pkt_size: int | None = None


NO_IPTFS = IptfsRequest()


@dataclass(frozen=True, slots=True)
class SaRequest(_Addressed):
    """XFRM_MSG_NEWSA or UPDSA. `mode` and `dir` are the raw numbers; None: the attribute is not there.

    `unknown` are attributes by number that no kernel knows: none looks at them.
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
    """XFRM_MSG_ALLOCSPI: a range, and what the larval state will be. `seq` names an acquire."""

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
    """XFRM_MSG_GETSA and DELSA: which state. `srcaddr` counts for protocols that have no SPI; `dir` is refused."""

    dst: Address
    proto: int
    spi: int
    mark: Mark = NO_MARK
    family: int | None = None
    srcaddr: Address | None = None
    dir: int | None = None


@dataclass(frozen=True, slots=True)
class MigrateStateRequest(_Addressed):
    """XFRM_MSG_MIGRATE_STATE: which SA (`old_mark` is what it is looked up with), and what it is to be from now on.

    What follows `new_selector` are attributes, None: not there. An `encap` of kind "0" takes the encapsulation away.
    `selector_family` is the new selector's own, 0: it has none. `others` are attributes that the message may not have.
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
    """struct xfrm_user_migrate: the SAs and templates between two addresses, and the addresses that they get."""

    old_src: Address
    old_dst: Address
    new_src: Address
    new_dst: Address
    proto: int
    mode: int
    reqid: int


@dataclass(frozen=True, slots=True)
class MigrateRequest:
    """XFRM_MSG_MIGRATE: a policy by its selector, `dir` as XFRM_POLICY_* (0 in, 1 out, 2 fwd) and what moves."""

    dir: int
    selector: Selector
    entries: tuple[MigrateEntry, ...]
    encap: Encap | None = None
    if_id: int = 0
    ptype: str = "main"
