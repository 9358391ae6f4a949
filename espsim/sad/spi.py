"""Which SPIs may be allocated twice: the SPI rules of the netdev thread and of other stacks, one small class each.

Users know them as policies (`--policy`). A rule answers four questions: does a state that exists forbid this SPI to
ALLOCSPI (`taken`), does one forbid a NEWSA beyond the kernel's own checks (`refuses`), which SA an inbound packet
belongs to (`input`), and how SPIs are drawn (`draw`). It is chosen when the SAD is made, because rules are what people
come to compare.

What the thread leaves open is a parameter, with the choice and its reason at the class that has it.
"""

from __future__ import annotations

import abc
import errno
import random
from collections.abc import Callable

from espsim.core.address import Address
from espsim.core.errors import XfrmError
from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.index import StateIndex

Free = Callable[[int], bool]
Triple = tuple[Address, int, int]
"""(destination, SPI, protocol) of a packet."""


class SpiRule(abc.ABC):
    """What every rule does unless it says otherwise: Linux's NEWSA, input lookup and draws.

    `name` is what `--policy` takes, `summary` one line for people, `effect` a second one with what follows from it;
    `by` says who proposed or built it, `where`. `hands_out_zero`: SPI 0 is an SPI like any other;
    `names_the_taken`: ENOENT for one SPI has a text of its own (the code before 94f39804d891).
    """

    name = ""
    summary = ""
    effect = ""
    by = ""
    where = ""
    hands_out_zero = False
    drawn_zero_ends = False
    names_the_taken = False

    @abc.abstractmethod
    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """Whether a state forbids `spi` to the larval `entry` (protocol, daddr, mark) and the request's `dir`."""

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """Whether NEWSA or UPDSA of `sa` is refused beyond the triple; `replaced` is the state that it replaces."""
        return False

    def input(
        self, index: StateIndex, triple: Triple, mark: int | None, port: int | None, saddr: Address = b""
    ) -> SadEntry | None:
        """The SA of an inbound packet; `port` is its UDP destination port, None where it is plain ESP."""
        return index.lookup(triple, mark, port)

    def draw(self, rng: random.Random, low: int, high: int, free: Free) -> int | None:
        """An SPI of low..high that is free, or None (xfrm_alloc_spi).

        One try where low is high, else high-low+1 uniform draws with replacement, counted in 32 bits: 0..2^32-1 draws
        nothing. A drawn 0 costs a try; before 94f39804d891 it ended the loop (`drawn_zero_ends`).
        """
        if low == high:
            return low if (low or self.hands_out_zero) and free(low) else None
        for _ in range((high - low + 1) & 0xFFFFFFFF):
            spi = rng.randint(low, high)
            if spi == 0 and not self.hands_out_zero:
                if self.drawn_zero_ends:
                    return None
                continue
            if free(spi):
                return spi
        return None


class Rfc2401(SpiRule):
    """RFC 2401's triple: Linux before 94f39804d891 (xfrm_state_lookup), and what Android relies on."""

    name = "rfc2401"
    summary = "(SPI, protocol, destination), mark matching: Linux before 94f39804d891"
    effect = "One SPI may serve several destinations, and an inbound and an outbound SA at once."
    by = "Linux to 6.16; Android relies on it (Yan Yan, Nathan Harold)"
    where = "RFC 2401 4.1; net/xfrm/xfrm_state.c before 94f39804d891; netdev, 28 January 2026"
    drawn_zero_ends = True
    names_the_taken = True

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """Taken where a state has the triple and its mark matches."""
        return index.locate(entry.sa, spi, entry.af) is not None


class Rfc4301(SpiRule):
    """RFC 4301's SPI alone (with the protocol): Linux since 94f39804d891 (xfrm_state_lookup_spi_proto)."""

    name = "rfc4301"
    summary = "(SPI, protocol) anywhere, whatever destination, family, mark or direction: Linux since 94f39804d891"
    effect = "An SPI is given once in a network namespace, so a peer's SPI can block an own one."
    by = "Marvell, for NICs that look at the SPI alone"
    where = '94f39804d891, "xfrm: Duplicate SPI Handling" (2025); RFC 4301 4.1'

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """Taken where any state has the SPI and the protocol."""
        return any(e.sa.proto == entry.sa.proto for e in index.with_spi(spi))


class Rfc4301Spi0(Rfc4301):
    """The stable kernels between 94f39804d891 and cd8ae32e4e46 (CVE-2025-39965): SPI 0 is handed out."""

    name = "rfc4301-spi0"
    summary = "as rfc4301, and SPI 0 is handed out: 6.1.192, 6.6.103-108, 6.12.43-49, 6.16.2-9"
    effect = "A second larval state with SPI 0 is linked twice, and the third request hangs (CVE-2025-39965)."
    by = "the backports of 94f39804d891 before their fix cd8ae32e4e46"
    where = "stable kernels of 2025"
    hands_out_zero = True


class SaDir(SpiRule):
    """The opt-in proposed on netdev by Nathan Harold: a request with dir in wants RFC 4301, any other has RFC 2401.

    Open in the thread: do states without a direction count against dir in? `undirected_count` False (the default)
    follows the proposal's words: only states that opted in exclude each other, so old programs change nothing.
    """

    name = "sa-dir"
    summary = "dir in: (SPI, protocol) among states with dir in; any other request by the triple"
    effect = "Old programs change nothing; a key manager that serves such hardware says dir in."
    by = "Nathan Harold"
    where = "netdev, 9 February 2026"
    drawn_zero_ends = True

    def __init__(self, *, undirected_count: bool = False) -> None:
        self.undirected_count = undirected_count

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """With dir in among the states with dir in, else by the triple."""
        if direction is not Direction.IN:
            return index.locate(entry.sa, spi, entry.af) is not None
        counted = (Direction.IN, None) if self.undirected_count else (Direction.IN,)
        return any(e.sa.proto == entry.sa.proto and e.sa.dir in counted for e in index.with_spi(spi))


class Split(SpiRule):
    """Tobias Brunner's separate tables: inbound states by (SPI, protocol), outbound states by the triple.

    Open in the thread: what a request without a direction means. ALLOCSPI is for inbound SPIs that the kernel owns,
    so without one it means inbound. NEWSA without one may be a peer's outbound SPI: it goes by the triple alone, and
    the state is in the inbound table, because packets may come for it. `check_newsa` False leaves NEWSA with dir in
    to the triple too.
    """

    name = "split"
    summary = "two tables: inbound by (SPI, protocol), outbound by the triple; dir tells them apart"
    effect = "Inbound and outbound SAs never block each other once requests say their direction."
    by = "Tobias Brunner"
    where = "netdev, 10 and 18 February 2026"

    def __init__(self, *, check_newsa: bool = True) -> None:
        self.check_newsa = check_newsa

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """Outbound by the triple among outbound states, else (SPI, protocol) among the others."""
        states = [e for e in index.with_spi(spi) if e.sa.proto == entry.sa.proto]
        if direction is Direction.OUT:
            mark = entry.sa.mark.value & entry.sa.mark.mask
            return any(
                e.sa.dir is Direction.OUT and (e.sa.dst, e.af) == (entry.sa.dst, entry.af) and e.sa.mark.matches(mark)
                for e in states
            )
        return any(e.sa.dir is not Direction.OUT for e in states)

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """NEWSA with dir in: (SPI, protocol) among the inbound table."""
        return self.check_newsa and sa.dir is Direction.IN and _another_inbound(index, sa, replaced)

    def input(
        self, index: StateIndex, triple: Triple, mark: int | None, port: int | None, saddr: Address = b""
    ) -> SadEntry | None:
        """Outbound states are in the other table: they are not found."""
        entry = index.lookup(triple, mark, port)
        return None if entry is None or entry.sa.dir is Direction.OUT else entry


class Full4301(Rfc4301):
    """RFC 4301 throughout: ALLOCSPI as rfc4301, inbound NEWSA and UPDSA refuse a taken (SPI, protocol) too.

    Input looks (SPI, protocol) up alone. Which states are inbound is known from XFRMA_SA_DIR only: states without a
    direction are found by input, and refused nothing.
    """

    name = "full-4301"
    summary = "as rfc4301, and inbound NEWSA and UPDSA refuse (SPI, protocol) too; input looks at nothing else"
    effect = "Two inbound SAs with one SPI cannot exist at all, where they say dir in."
    by = "the letter of RFC 4301; no one proposes it for outbound SAs"
    where = "RFC 4301 4.1 and 4.4.2.1"

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """NEWSA or UPDSA with dir in of an SPI that another inbound state has."""
        return sa.dir is Direction.IN and _another_inbound(index, sa, replaced)

    def input(
        self, index: StateIndex, triple: Triple, mark: int | None, port: int | None, saddr: Address = b""
    ) -> SadEntry | None:
        """(SPI, protocol), the newest; an outbound state is no candidate."""
        _daddr, spi, proto = triple
        found = [e for e in index.with_spi(spi) if e.sa.proto == proto and e.sa.dir is not Direction.OUT]
        return next((e for e in reversed(found) if e.sa.mark.matches(mark)), None)


class FreeBsd(SpiRule):
    """FreeBSD 12 and later (sys/netipsec/key.c): one name space of SPIs for all protocols, NEWSA included."""

    name = "freebsd"
    summary = "the SPI alone, any protocol, NEWSA too: FreeBSD 12 and later"
    effect = "A peer's choice of SPI can be refused, for any protocol."
    by = "FreeBSD 12 and later"
    where = "sys/netipsec/key.c, key_checkspidup"
    tries = 1000  # net.key.spi_trycnt

    def taken(self, index: StateIndex, spi: int, entry: SadEntry, direction: Direction | None) -> bool:
        """key_checkspidup: any state with the SPI."""
        return any(True for _ in index.with_spi(spi))

    def refuses(self, index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
        """ADD of an SPI that any other state has."""
        return any(e is not replaced for e in index.with_spi(sa.spi))

    def input(
        self, index: StateIndex, triple: Triple, mark: int | None, port: int | None, saddr: Address = b""
    ) -> SadEntry | None:
        """key_allocsa: the one SA with the SPI, if it isn't larval and has the packet's protocol and destination."""
        daddr, spi, proto = triple
        entry = next(iter(index.with_spi(spi)), None)
        if entry is None or entry.state is State.LARVAL or (entry.sa.proto, entry.sa.dst) != (proto, daddr):
            return None
        return entry

    def draw(self, rng: random.Random, low: int, high: int, free: Free) -> int | None:
        """key_do_getnewspi: `tries` random draws, one where low is high."""
        for _ in range(1 if low == high else self.tries):
            spi = rng.randint(low, high)
            if spi and free(spi):
                return spi
        return None


class OpenBsd(Rfc2401):
    """OpenBSD (sys/netinet/ip_ipsp.c reserve_spi): the triple, SPIs from 256 on, 100 tries, the top is never drawn."""

    name = "openbsd"
    summary = "(SPI, protocol, destination), SPI >= 256, 100 tries: OpenBSD"
    effect = "One SPI may serve several destinations; reserved SPIs are never given."
    by = "OpenBSD"
    where = "sys/netinet/ip_ipsp.c, reserve_spi"
    tries = 100

    def draw(self, rng: random.Random, low: int, high: int, free: Free) -> int | None:
        """EINVAL for a range of reserved SPIs alone; arc4random_uniform(high - low) leaves the top out."""
        if high < 256:
            raise XfrmError(errno.EINVAL)
        low = max(low, 256)
        for _ in range(1 if low == high else self.tries):
            spi = low + (rng.randrange(high - low) if high > low else 0)
            if free(spi):
                return spi
        return None


def _another_inbound(index: StateIndex, sa: SecurityAssociation, replaced: SadEntry | None) -> bool:
    return any(
        e is not replaced and e.sa.proto == sa.proto and e.sa.dir is Direction.IN for e in index.with_spi(sa.spi)
    )


SPI_RULES: dict[str, Callable[[], SpiRule]] = {
    p.name: p for p in (Rfc2401, Rfc4301, Rfc4301Spi0, SaDir, Split, Full4301, FreeBsd, OpenBsd)
}
DEFAULT_SPI_RULE = "rfc4301"
