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
"""(daddr, SPI, protocol, mark). No two SAs of a kernel share it, except larval ones with SPI 0."""


class KeyFingerprint(NamedTuple):
    """Shows whether two SAs have the same algorithms and keys. `print` is a hash of the keys; None: they are hidden."""

    names: tuple[str, ...]
    print: int | None


NO_CRYPTO = KeyFingerprint((), None)


@dataclass(frozen=True, slots=True)
class ParsedSa:
    """An SA and the line on which it starts. `verb` is dump where a system printed it.

    A dump's SA without algorithms is larval. `hidden` has the algorithms of an SA whose keys the text does not show;
    then `sa` has no keys and can't be used. A dump lists the newest SA first (xfrm_state_walk).
    """

    sa: SecurityAssociation
    line: int
    verb: Verb
    hidden: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """An SA of ESP, AH or IPComp that espsim can't run. `what` says why (`mode ro`, `auth hmac(rmd160)`).

    `sa` is a stand-in with the text's addresses, SPI, protocol, reqid, mark, dir, offload, window and flags. It has no
    algorithms and is in transport mode. `mode` is as the text states it.
    """

    sa: SecurityAssociation
    mode: str
    what: str
    line: int
    verb: Verb
    crypto: KeyFingerprint = NO_CRYPTO

    @property
    def name(self) -> str:
        """As `SecurityAssociation.name`."""
        return self.sa.name


@dataclass(frozen=True, slots=True)
class Ignored:
    """A state of another protocol: IP in IP beside IPComp (4, 41), Mobile IPv6 (43, 60). An unknown one has a name."""

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
    """What a text holds, in the text's order.

    `sas`: usable SAs, larval ones too. `hidden`: SAs whose keys the text does not show; decap can't use them.
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
    """An SA with an incomplete text, as an `Unmodelled`."""
    sa = replace(item.sa, algorithms=(), mode=Mode.TRANSPORT, iptfs=None, tfcpad=0, selector=ANY)
    mode = item.mode if isinstance(item, Unmodelled) else item.sa.mode.value
    return Unmodelled(sa, mode, what, item.line, item.verb, crypto_of(item))


def crypto_of(item: ParsedSa | Unmodelled) -> KeyFingerprint:
    """What is compared with another SA of the same identity."""
    if isinstance(item, Unmodelled):
        return item.crypto
    return crypto(item.sa.algorithms, item.hidden)


def crypto(algorithms: Iterable[Algorithm], hidden: Iterable[Hidden] = ()) -> KeyFingerprint:
    """The `KeyFingerprint` of algorithms. `hidden`: all of them where the key of one is not shown."""
    shown, unknown = tuple(algorithms), tuple(hidden)
    keys = None if unknown or not shown else key_print(a.key for a in shown)
    names = [_name(a) for a in shown] + [_name(h) for h in unknown]
    return KeyFingerprint(tuple(sorted(names)), keys)


def _name(algorithm: Algorithm | Hidden) -> str:
    """Kind, name and length as the kernel reports them: `auth` has a length too, the usual one of its algorithm."""
    kind, bits = algorithm.kind, algorithm.bits
    name = linux_name(algorithm.name)
    if kind == "auth" and (mac := linux_hash(name)) is not None:
        kind, bits = "auth-trunc", mac.default_bits
    return f"{kind} {name} {bits}"


def key_print(keys: Iterable[bytes | str]) -> int:
    """A hash of keys (bytes, or hex in lower case) in any order. It holds in this process only and shows no key."""
    return functools.reduce(operator.xor, (hash(key if isinstance(key, str) else key.hex()) for key in keys), 0)


class SaRows(Protocol):
    """All SAs of a text by index, as `Reader.settle` reads them."""

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
        """The mode as the text states it."""
        ...

    def line_of(self, index: int) -> int:
        """The line on which the SA starts."""
        ...

    def verb_of(self, index: int) -> Verb:
        """As in ParsedSa."""
        ...

    def name(self, index: int) -> str:
        """As `SecurityAssociation.name`."""
        ...

    def crypto(self, index: int) -> KeyFingerprint:
        """What is compared with another SA of the same identity."""
        ...

    def repeated(self) -> Iterable[int]:
        """In order, the SAs that share their SPI with another one, SPI 0 left out. Only these are compared."""
        ...

    def end_in_the_middle(self, index: int, what: str) -> None:
        """Mark this SA as unmodelled because the text ends in the middle of it; `what` says so."""
        ...
