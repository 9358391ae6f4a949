"""What happened in a cell, as structures: requests with their errno, packets with their verdict, states that are left.

    asked     one request: its words without keys, the errno's whole name (None: it succeeded), and why it was refused
    arrived   one packet, or a burst of equal ones: where it went, the verdict, Linux's counter, what a device did

The reason of a refusal is read from the namespace at that moment: which state holds the SPI, or what the kernel says.
meaning.py turns these structures into sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from espsim.core.address import Address, format_address, parse_address
from espsim.core.numbers import PROTO_ESP
from espsim.netlink.netns import Netns
from espsim.sad.association import PROTO_NAMES, Direction, SecurityAssociation
from espsim.sad.entry import SadEntry, State

_SECRET = ("key", "auth_key", "crypt_key")
_ALONE = 20
"""Most requests of one step that are listed one by one; more are folded."""


@dataclass(frozen=True, slots=True)
class RequestFact:
    """One request, or `count` of a step with equal answers. `errno`: a name such as ENOENT, HANG, None for success.

    `driver`: the errno of a driver that was offered the SA, `0` where it took it, None without a driver.
    `extack`: the kernel's text. `setup`: the request sets the scene and is not part of the outcome.
    """

    request: str
    errno: str | None
    why: str = ""
    extack: str | None = None
    driver: str | None = None
    setup: bool = False
    count: int = 1

    @property
    def verb(self) -> str:
        """ALLOCSPI, NEWSA and so on."""
        return self.request.split(None, 1)[0]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "request": self.request, "errno": self.errno, "why": self.why or None, "extack": self.extack,
            "driver": self.driver, "setup": self.setup, "count": self.count,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrived:
    """`count` packets in a row with one fate. `sent`: this host sent them (TX), and `verdict` is an errno's name."""

    to: str
    verdict: str
    linux_counter: str | None
    device: str | None = None
    surfacing: str | None = None
    count: int = 1
    sent: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "to": self.to, "verdict": self.verdict, "linux_counter": self.linux_counter, "device": self.device,
            "surfacing": self.surfacing, "count": self.count,
        }  # fmt: skip

    @property
    def good(self) -> bool:
        """Whether it came through."""
        return self.verdict in ("DELIVERED", "SENT")


@dataclass(slots=True)
class Facts:
    """Everything that a cell's steps did.

    `states`: how many there are at the end. `spi0`: how many of these are larval with SPI 0. `counted`: what the steps
    counted, as (`zeros` or `states`, how many).
    """

    requests: list[RequestFact] = field(default_factory=list)
    packets: list[Arrived] = field(default_factory=list)
    states: int = 0
    spi0: int = 0
    counted: list[tuple[str, int]] = field(default_factory=list)

    def add(
        self, requests: Iterable[RequestFact] = (), packets: Iterable[Arrived] = (), *, setup: bool = False
    ) -> None:
        """Add what one more step did. Of a step that sets the scene only the requests are kept."""
        self.requests += [replace(asked, setup=setup) for asked in folded(requests)]
        for packet in () if setup else packets:
            if self.packets and replace(self.packets[-1], count=1) == replace(packet, count=1):
                packet = replace(packet, count=packet.count + self.packets.pop().count)  # noqa: PLW2901
            self.packets.append(packet)

    def close(self, netns: Netns) -> None:
        """Count the states that are there now."""
        self.states = len(netns.sad)
        self.spi0 = sum(not e.sa.spi and e.state is State.LARVAL for e in netns.sad)


def folded(requests: Iterable[RequestFact]) -> list[RequestFact]:
    """A step's requests, one by one; more than twenty are folded into one for each run of equal answers."""
    listed = list(requests)
    if len(listed) <= _ALONE:
        return listed
    result: list[RequestFact] = []
    for asked in listed:
        if result and (result[-1].errno, result[-1].driver) == (asked.errno, asked.driver):
            result[-1] = replace(result[-1], count=result[-1].count + 1)
        else:
            result.append(asked)
    return result


def words_of(line: str) -> dict[str, str]:
    """The key=value words of a request."""
    return dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)


def without_keys(line: str) -> str:
    """A request as it may be shown."""
    return " ".join(word for word in line.split() if word.split("=", 1)[0] not in _SECRET)


def request_text(verb: str, sa: SecurityAssociation, low: int, high: int) -> str:
    """An SA of a scenario in the words of the request language, without its keys."""
    text = f"{verb} src={format_address(sa.src)} dst={format_address(sa.dst)} proto={PROTO_NAMES[sa.proto]}"
    text += f" min=0x{low:x} max=0x{high:x}" if verb == "ALLOCSPI" else f" spi=0x{sa.spi:x}"
    if sa.encap is not None:
        text += f" encap={sa.encap.kind},{sa.encap.sport},{sa.encap.dport}"
    if sa.mark.mask:
        text += f" mark=0x{sa.mark.value:x}/0x{sa.mark.mask:x}"
    return text + (f" dir={sa.dir.value}" if sa.dir is not None else "")


# -- why a request was refused ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalHost:
    """The host that makes the calls: the prefixes (as text) of its own addresses, and its name."""

    local: tuple[str, ...] = ()
    party: str = ""

    def direction(self, sa: SecurityAssociation) -> str:
        """`inbound`, `outbound`, or "" where neither `dir` nor the host's addresses decide it."""
        if sa.dir is not None:
            return "inbound" if sa.dir is Direction.IN else "outbound"
        if not self.local:
            return ""
        return "inbound" if self.owns(sa.dst) else "outbound"

    def owns(self, address: Address) -> bool:
        """Whether an address is the host's."""
        return format_address(address).startswith(self.local)


NOBODY = LocalHost()
"""A host of which nothing is known."""


def why_refused(netns: Netns, line: str, errno: str, extack: str | None, host: LocalHost) -> str:
    """Why a request was refused, as a clause, from what the namespace holds at this moment."""
    verb, words = line.split(None, 1)[0], words_of(line)
    text = f'the kernel says "{extack}"' if extack else ""
    if errno == "HANG":
        return "the kernel never answers: a state with SPI 0 was linked twice into its hash chain"
    if verb == "ALLOCSPI" and errno == "ENOENT":
        return _no_spi(netns, words, host) or text
    if verb in ("NEWSA", "UPDSA") and errno == "EEXIST":
        holder = _holder(netns, words, host)
        return f"SPI {_spi(words.get('spi', '0'))} is taken by {holder}" if holder else text
    if verb == "MIGRATE_STATE" and errno == "EINVAL" and not netns.kernel.newest:
        return "this kernel does not know the message"
    if verb == "MIGRATE_STATE" and errno == "EEXIST":
        holder = _holder(netns, {**words, "dst": words.get("new_dst", "")}, host)
        return f"its new tuple is that of {holder}" if holder else text
    if verb == "UPDSA" and errno == "ESRCH" and not text:
        return "no state is there to update"
    if verb in ("GETSA", "DELSA") and errno == "ESRCH" and int(words.get("spi", "0"), 0) == 0:
        return "no message finds a state by SPI 0"
    return text


def _no_spi(netns: Netns, words: Mapping[str, str], host: LocalHost) -> str:
    low, high = int(words.get("min", "0"), 0), int(words.get("max", "0"), 0)
    if high != low:
        size = high - low + 1
        return (
            f"no draw from its {size} SPIs met a free one" if size <= 0xFFFFFFFF else "the number of draws wraps to 0"
        )
    if low == 0:
        return "SPI 0 is never handed out"
    holder = _holder(netns, {**words, "spi": str(low)}, host)
    return f"SPI 0x{low:08x} is taken by {holder}" if holder else ""


def _holder(netns: Netns, words: Mapping[str, str], host: LocalHost) -> str:
    """The state that has the SPI: first one with the same destination, then one with the same protocol, then any."""
    spi = int(words.get("spi", "0"), 0)
    proto = next((n for n, name in PROTO_NAMES.items() if name == words.get("proto", "esp")), PROTO_ESP)
    try:
        dst = parse_address(words.get("dst", ""))
    except ValueError:
        dst = b""
    states = [entry for entry in netns.sad.with_spi(spi) if entry.sa.spi]
    ranked = sorted(states, key=lambda e: ((e.sa.dst, e.sa.proto) != (dst, proto), e.sa.proto != proto, e.sa_index))
    return name_of(ranked[0], host) if ranked else ""


def name_of(entry: SadEntry, host: LocalHost) -> str:
    """`its own inbound SA 0x00005000@10.0.0.1`, as much as is known."""
    kind = f"{'' if entry.sa.proto == PROTO_ESP else PROTO_NAMES[entry.sa.proto].upper() + ' '}SA"
    direction = host.direction(entry.sa)
    own = "its own" if host.party and direction else "the"
    return f"{own} {direction} {kind} {entry.sa.name}".replace("  ", " ")


def _spi(text: str) -> str:
    return f"0x{int(text, 0):08x}"
