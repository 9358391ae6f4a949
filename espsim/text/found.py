"""What a text holds: SAs, SAs that espsim can't run, states of other protocols, and notes on what was passed over."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, TypeAlias

from espsim.aead.linux_names import linux_hash, linux_name
from espsim.aead.suites import Algorithm
from espsim.core.address import Address
from espsim.sad.association import ANY, Mark, Mode, SecurityAssociation
from espsim.text.algorithms import Hidden
from espsim.text.notes import Notes

Verb: TypeAlias = Literal["add", "update", "dump"]

Identity: TypeAlias = tuple[Address, int, int, Mark]
"""(daddr, SPI, protocol, mark): what no two SAs of a kernel share, but for larval ones with SPI 0."""


class Crypto(NamedTuple):
    """What tells whether two SAs have one key. `print` is a number made of the keys; None: they are not in the text."""

    names: tuple[str, ...]
    print: int | None


NO_CRYPTO = Crypto((), None)


@dataclass(frozen=True, slots=True)
class ParsedSa:
    """An SA with the line that it starts on. `verb` is dump where a system printed it.

    A dump's SA without algorithms is larval. `hidden` names the algorithms of an SA whose keys the text does not show:
    then `sa` has no keys, and can't be used. A dump lists the newest SA first (xfrm_state_walk).
    """

    sa: SecurityAssociation
    line: int
    verb: Verb
    hidden: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """An SA of ESP, AH or IPComp that espsim can't run, and `what` is why (`mode ro`, `auth hmac(rmd160)`).

    `sa` is a stand-in: addresses, SPI, protocol, reqid, mark, dir, offload, window and flags as far as they make an SA,
    without algorithms, in transport mode. `mode` is the text's own word.
    """

    sa: SecurityAssociation
    mode: str
    what: str
    line: int
    verb: Verb
    crypto: Crypto = NO_CRYPTO

    @property
    def name(self) -> str:
        """As `SecurityAssociation.name`."""
        return self.sa.name


@dataclass(frozen=True, slots=True)
class Ignored:
    """A state that is no SA of IPsec: IP in IP beside IPComp (4, 41), Mobile IPv6 (43, 60). A name: of no number."""

    proto: int | str
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: a state of protocol {self.proto}, ignored"


class Unused(NamedTuple):
    """An SA that can't be used, with its line and the reason."""

    name: str
    line: int
    why: str


@dataclass(slots=True)
class SadText:
    """What a text holds, in the order of the text.

    `sas`: the SAs that can be used, larval ones too. `hidden`: SAs whose keys the text does not show (no use to decap).
    `unmodelled`: SAs that espsim can't run. `ignored`: states of other protocols. `notes`: what was passed over.
    """

    sas: list[ParsedSa] = field(default_factory=list)
    hidden: list[ParsedSa] = field(default_factory=list)
    unmodelled: list[Unmodelled] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def unused(self) -> Iterator[Unused]:
        """The SAs that can't be used, in the order of the text."""
        found = [Unused(u.name, u.line, f"{u.what}: not modelled") for u in self.unmodelled]
        found += [Unused(p.sa.name, p.line, "its key is hidden") for p in self.hidden]
        yield from sorted(found, key=lambda unused: unused.line)


def cut_off(item: ParsedSa | Unmodelled, what: str) -> Unmodelled:
    """An SA that is not all there."""
    sa = replace(item.sa, algorithms=(), mode=Mode.TRANSPORT, iptfs=None, tfcpad=0, selector=ANY)
    mode = item.mode if isinstance(item, Unmodelled) else item.sa.mode.value
    return Unmodelled(sa, mode, what, item.line, item.verb, crypto_of(item))


def crypto_of(item: ParsedSa | Unmodelled) -> Crypto:
    """What of an SA is compared with another of its name."""
    if isinstance(item, Unmodelled):
        return item.crypto
    return crypto(item.sa.algorithms, item.hidden)


def crypto(algorithms: Iterable[Algorithm], hidden: Iterable[Hidden] = ()) -> Crypto:
    """The same of algorithms; `hidden` are those whose keys are not shown, or all where one is."""
    shown, unknown = tuple(algorithms), tuple(hidden)
    keys = None if unknown or not shown else key_print(a.key for a in shown)
    names = [_name(a) for a in shown] + [_name(h) for h in unknown]
    return Crypto(tuple(sorted(names)), keys)


def _name(algorithm: Algorithm | Hidden) -> str:
    """Kind, name and length in the kernel's own words: `auth` has a length too, its name's usual one."""
    kind, bits = algorithm.kind, algorithm.bits
    name = linux_name(algorithm.name)
    if kind == "auth" and (mac := linux_hash(name)) is not None:
        kind, bits = "auth-trunc", mac.default_bits
    return f"{kind} {name} {bits}"


def key_print(keys: Iterable[bytes | str]) -> int:
    """A number for some keys (bytes, or hex in lower case), in any order; of this process alone, and no key in it."""
    return functools.reduce(operator.xor, (hash(key if isinstance(key, str) else key.hex()) for key in keys), 0)


class Rows(Protocol):
    """All SAs of a text by index, as `settle` looks at them."""

    def __len__(self) -> int: ...
    def identity(self, index: int) -> Identity:
        """(daddr, SPI, protocol, mark)."""
        ...

    def source(self, index: int) -> Address:
        """saddr."""
        ...

    def reqid_of(self, index: int) -> int:
        """The reqid."""
        ...

    def mode_of(self, index: int) -> str:
        """The mode, in the text's own word."""
        ...

    def line_of(self, index: int) -> int:
        """The line that it starts on."""
        ...

    def verb_of(self, index: int) -> Verb:
        """As ParsedSa's."""
        ...

    def name(self, index: int) -> str:
        """As SecurityAssociation's."""
        ...

    def crypto(self, index: int) -> Crypto:
        """What is compared with another SA of the same name."""
        ...

    def repeated(self) -> Iterable[int]:
        """In order, the SAs whose SPI another one has too, SPI 0 left out: few, so that only these are compared."""
        ...

    def end_in_the_middle(self, index: int, what: str) -> None:
        """The text ends in the middle of this SA: from now on it is unmodelled."""
        ...
