"""One direction's configuration, frozen: what an operator or a key manager asked for.

What moves while packets flow (window, counters, state) is in `entry.py`; the two types are kept apart on purpose.
Field names follow `ip xfrm state` and struct xfrm_usersa_info (include/uapi/linux/xfrm.h).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from espsim.aead.suites import Algorithm, SuiteKeys, resolve
from espsim.core.address import Address, family, format_address, prefix_match
from espsim.core.numbers import MODE_IPTFS, MODES, PROTO_AH, PROTO_COMP, PROTO_DSTOPTS, PROTO_ESP, PROTO_ROUTING

PROTO_NAMES = {PROTO_ESP: "esp", PROTO_AH: "ah", PROTO_COMP: "comp"}
"""The protocols whose states have an SPI (IPSEC_PROTO_ANY)."""

MOBILITY = frozenset({PROTO_ROUTING, PROTO_DSTOPTS})
"""Mobile IPv6 (route2, hao): states by their two addresses, with a care-of address and no SPI."""

ESPINUDP = "espinudp"
ESPINTCP = "espintcp"
ANY_ENCAP = "any"
"""Kind of encapsulation of an SA whose text does not state one: its packets may come in UDP or not."""


class Mode(Enum):
    """RFC 4301 4.1: what an SA protects, a payload or a whole packet.

    BEET is the bound end-to-end tunnel: the payload under the outer header, the selector's addresses inside. IPTFS is a
    tunnel whose packets hold parts of inner packets, or several (RFC 9347). RO and IN_TRIGGER are Linux's
    (XFRM_MODE_*): states may have them, and they are kept apart, but no packet is run under them. ANY is KAME's
    (IPSEC_MODE_ANY), for an SA whose mode is not stated: each packet's next header decides, tunnel mode for 4 and 41,
    else transport mode. Inbound only.
    """

    TRANSPORT = "transport"
    TUNNEL = "tunnel"
    RO = "ro"
    IN_TRIGGER = "in_trigger"
    BEET = "beet"
    IPTFS = "iptfs"
    ANY = "any"


MODE_NUMBERS = {Mode(name): number for number, name in MODES.items()} | {Mode.IPTFS: MODE_IPTFS}
"""XFRM_MODE_*. ANY has none: -1."""
MODE_BY_NUMBER = {number: mode for mode, number in MODE_NUMBERS.items()}


class Direction(Enum):
    """XFRMA_SA_DIR (Linux 6.10 and later)."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Mark:
    """XFRMA_MARK: a packet matches where `(packet mark & mask) == value`."""

    value: int = 0
    mask: int = 0

    def matches(self, mark: int | None) -> bool:
        """Whether a packet's mark matches (__xfrm_state_lookup); None: any mark does."""
        return mark is None or mark & self.mask == self.value


NO_MARK = Mark()


@dataclass(frozen=True, slots=True)
class Encap:
    """XFRMA_ENCAP: ports in the SA's own direction; `kind` is espinudp, espinudp-nonike, espintcp, or ANY_ENCAP."""

    kind: str
    sport: int
    dport: int
    oaddr: Address


@dataclass(frozen=True, slots=True)
class Selector:
    """Which inner packets an SA takes. Masks are 16-bit port masks; `family` 0: none was stated."""

    src: Address = b""
    src_prefix: int = 0
    dst: Address = b""
    dst_prefix: int = 0
    proto: int = 0
    sport: int = 0
    sport_mask: int = 0
    dport: int = 0
    dport_mask: int = 0
    dev: str = ""

    @property
    def is_any(self) -> bool:
        """Whether it takes every packet of both families."""
        return not (self.src_prefix or self.dst_prefix or self.proto or self.sport_mask or self.dport_mask)

    def matches(self, src: Address, dst: Address, proto: int, sport: int, dport: int) -> bool:
        """xfrm_selector_match (net/xfrm/xfrm_policy.c): prefixes, protocol, and ports under their masks.

        For ICMP `sport` is the type and `dport` the code. A selector without prefixes takes both families.
        """
        if self.src_prefix and not prefix_match(src, self.src, self.src_prefix):
            return False
        if self.dst_prefix and not prefix_match(dst, self.dst, self.dst_prefix):
            return False
        if self.proto and self.proto != proto:
            return False
        return not ((sport ^ self.sport) & self.sport_mask or (dport ^ self.dport) & self.dport_mask)


@dataclass(frozen=True, slots=True)
class Limits:
    """Lifetimes: bytes, packets, seconds since the SA was added, seconds since its first use. None is infinite."""

    soft_bytes: int | None = None
    hard_bytes: int | None = None
    soft_packets: int | None = None
    hard_packets: int | None = None
    soft_add: int | None = None
    hard_add: int | None = None
    soft_use: int | None = None
    hard_use: int | None = None

    @property
    def from_use(self) -> bool:
        """Whether one counts from the first use."""
        return self.soft_use is not None or self.hard_use is not None


ANY = Selector()
NO_LIMITS = Limits()
MOST_WINDOW = 4096
"""Most numbers that a replay window can have (XFRMA_REPLAY_ESN_MAX)."""

_RUN = (Mode.TRANSPORT, Mode.TUNNEL, Mode.BEET, Mode.IPTFS, Mode.ANY)
"""Modes under which packets are run."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`lifetime current` of a dump: what the SA had carried when it was printed."""

    bytes: int = 0
    packets: int = 0


@dataclass(frozen=True, slots=True)
class ReplayState:
    """The replay context as text states it: last sequence numbers seen (seq) and sent (oseq), and the bitmap.

    `bitmap` is an integer whose bit i stands for the sequence number top-i; `stated` is False where the text has none.
    `context`: the text has an ESN context (XFRMA_REPLAY_ESN_VAL), which an SA without ESN may have too.
    """

    seq: int = 0
    seq_hi: int = 0
    oseq: int = 0
    oseq_hi: int = 0
    bitmap: int = 0
    stated: bool = False
    context: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Offload:
    """`offload [packet] dev DEV dir in|out`."""

    dev: str
    dir: Direction
    packet: bool = False


@dataclass(frozen=True, slots=True)
class IptfsOptions:
    """XFRMA_IPTFS_*: the first two are the receiver's, the others the sender's. Defaults are Linux's.

    `drop_time`: microseconds that a missing packet, or the rest of an inner packet, is waited for. `reorder_window`:
    packets that may wait for a missing one. `init_delay`: microseconds in which inner packets are collected.
    `max_qsize`: bytes of inner packets that may wait. `pkt_size`: the outer IP packet without ESP's padding, trailer
    and ICV; 0 is what the path's MTU allows. `dont_frag`: no inner packet is cut.
    """

    drop_time: int = 1_000_000
    reorder_window: int = 3
    init_delay: int = 0
    max_qsize: int = 10_485_760
    pkt_size: int = 0
    dont_frag: bool = False


IPTFS_DEFAULTS = IptfsOptions()


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """One SA of RFC 4301 4.4.2, one direction. Addresses are packed bytes; every other number is a host integer.

    Raises ValueError at construction where the algorithms, the window or the mode can't work: dangerous configuration
    is refused when it is given. `keys` is None for a larval state and for what espsim does not run: AH, IPComp.
    `as_kernel`: a kernel has taken these algorithms, so none of them is an error; `keys` is None where espsim cannot
    run them.
    `mtimer` (XFRMA_MTIMER_THRESH) and `nat_keepalive` are seconds, 0 is none.
    What every packet needs is computed here once: `esn`, `aligned` (padding goes to a multiple of it), `limited` (some
    lifetime is finite), `selective` (the selector refuses something).
    """

    src: Address
    dst: Address
    spi: int
    proto: int = PROTO_ESP
    mode: Mode = Mode.TRANSPORT
    algorithms: tuple[Algorithm, ...] = ()
    reqid: int = 0
    mark: Mark = NO_MARK
    if_id: int = 0
    pcpu: int | None = None
    dir: Direction | None = None
    window: int = 0
    flags: frozenset[str] = frozenset()
    extra_flags: frozenset[str] = frozenset()
    encap: Encap | None = None
    coa: Address | None = None
    tfcpad: int = 0
    selector: Selector = ANY
    limits: Limits = NO_LIMITS
    output_mark: Mark | None = None
    offload: Offload | None = None
    replay: ReplayState = ReplayState()
    current: Lifetime = Lifetime()
    seq: int = 0
    label: str = ""
    mtimer: int = 0
    nat_keepalive: int = 0
    iptfs: IptfsOptions | None = None
    as_kernel: bool = field(default=False, repr=False, compare=False)
    keys: SuiteKeys | None = field(init=False, repr=False, default=None)
    esn: bool = field(init=False, default=False)
    aligned: int = field(init=False, repr=False, default=4)
    limited: bool = field(init=False, repr=False, default=False)
    selective: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        if len(self.src) != len(self.dst):
            raise ValueError("src and dst are of different families")
        if not 0 <= self.window <= MOST_WINDOW:
            raise ValueError(f"a replay window of {self.window} is not in 0 to {MOST_WINDOW}")
        object.__setattr__(self, "esn", "esn" in self.flags)
        object.__setattr__(self, "limited", self.limits is not NO_LIMITS and self.limits != NO_LIMITS)
        object.__setattr__(self, "selective", self.selector is not ANY and not self.selector.is_any)
        if self.esn and self.window == 0 and self.dir is not Direction.OUT and self.mode is not Mode.ANY:
            raise ValueError("ESN replay window must be > 0")
        if self.tfcpad and self.mode is not Mode.TUNNEL:
            raise ValueError("TFC padding can only be used in tunnel mode")
        if self.iptfs is not None and self.mode is not Mode.IPTFS:
            raise ValueError("options of IPTFS can only be used in mode iptfs")
        if self.proto == PROTO_ESP and self.algorithms and self.mode in _RUN:
            self._set_keys()
            self._check_packet_size()

    def _set_keys(self) -> None:
        try:
            keys = resolve(self.algorithms)
        except ValueError:
            if not self.as_kernel:
                raise
            return
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "aligned", max(4, keys.suite.block))

    def _check_packet_size(self) -> None:
        """iptfs_user_init (net/xfrm/xfrm_iptfs.c)."""
        size = self.aggregation.pkt_size
        if size and size <= self.iptfs_header_length:
            least = self.iptfs_header_length
            raise ValueError(f"pkt-size {size} leaves no room: it must be 0, or more than the headers' {least} bytes")

    @property
    def aggregation(self) -> IptfsOptions:
        """The options of IPTFS, where none were given their defaults."""
        return self.iptfs or IPTFS_DEFAULTS

    @property
    def iptfs_header_length(self) -> int:
        """Bytes before the first data block of an IPTFS packet: outer IP, UDP, ESP, IV, and the header of AGGFRAG."""
        iv = self.keys.suite.iv_length if self.keys is not None else 0
        return (20 if len(self.dst) == 4 else 40) + 8 * (self.encap is not None) + 8 + iv + 4

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6 of the outer addresses."""
        return family(self.dst)

    @property
    def inner_ends(self) -> tuple[Address, Address] | None:
        """BEET: source and destination of inner packets, the selector's, zeros where it states none.

        Without a selector they are of the SA's family, as xfrm_user sets it. None: flag af-unspec, so none.
        """
        length = len(self.selector.src or self.selector.dst)
        if not length and "af-unspec" in self.flags:
            return None
        nothing = bytes(length or len(self.dst))
        return self.selector.src or nothing, self.selector.dst or nothing

    @property
    def direction(self) -> Direction | None:
        """The direction that the SA states: `dir`, else that of its offload. None: it states none."""
        if self.dir is None and self.offload is not None:
            return self.offload.dir
        return self.dir

    @property
    def triple(self) -> tuple[Address, int, int]:
        """(daddr, spi, proto): what Linux's input lookup hashes."""
        return (self.dst, self.spi, self.proto)

    @property
    def name(self) -> str:
        """`0x00001001@192.0.2.1`: how results name an SA."""
        return f"0x{self.spi:08x}@{format_address(self.dst)}"
