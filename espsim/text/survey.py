"""Many SAs at a few dozen bytes each: what differs from SA to SA is in columns, the rest is in shared templates.

A survey holds what decides where an SA goes in a device: addresses, SPI, protocol, mode, direction, algorithms, window,
ESN, encapsulation, mark, reqid.

What this does not do: keep keys (only their lengths), selectors, lifetimes or replay state.
"""

from __future__ import annotations

import operator
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from espsim.aead.suites import Algorithm
from espsim.core.address import Address, format_address
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import NO_MARK, Encap, Mark, SecurityAssociation, Selector
from espsim.text.algorithms import Hidden
from espsim.text.found import Identity, KeyFingerprint, ParsedSa, Unmodelled, Verb, crypto_of, cut_off
from espsim.text.notes import Notes

_FIELDS = [field.name for field in fields(SecurityAssociation)]
NO_PRINT = -1 << 63
"""In the column of key prints: the text does not show the keys."""

_MOST_SHARED = 4096
"""Destinations that are looked for. With many different ones the table would be larger than what sharing saves."""

_VARYING = ("src", "dst", "spi", "reqid", "mark", "encap")


@dataclass(frozen=True, slots=True)
class SaTemplate:
    """What many SAs have in common.

    `sa` has zeros for addresses, SPI, ports and keys. `sa` of an unmodelled SA is its stand-in, which has no algorithms
    and is in transport mode. `sa.dir`, `sa.offload` (dev, dir, packet) and `mode` are as the text states them.
    `unmodelled` is `Unmodelled.what`; "" for an SA that espsim can run. `hidden` as in ParsedSa, `names` as in Crypto.
    """

    sa: SecurityAssociation
    hidden: tuple[Hidden, ...] = ()
    dump: bool = True
    update: bool = False
    unmodelled: str = ""
    mode: str = ""
    names: tuple[str, ...] = ()

    @property
    def verb(self) -> Verb:
        """As in ParsedSa."""
        return "dump" if self.dump else "update" if self.update else "add"


def template_of(parsed: ParsedSa | Unmodelled) -> SaTemplate:
    """The template of an SA."""
    sa = parsed.sa
    encap = Encap(sa.encap.kind, 0, 0, bytes(len(sa.encap.oaddr))) if sa.encap is not None else None
    algorithms = tuple(Algorithm(a.kind, a.name, bytes(len(a.key)), a.bits) for a in sa.algorithms)
    bare = SecurityAssociation(
        bytes(len(sa.src)), bytes(len(sa.dst)), 0, sa.proto, sa.mode, algorithms if sa.proto == PROTO_ESP else (),
        dir=sa.dir, window=sa.window, flags=sa.flags & {"esn"}, encap=encap, selector=Selector(), offload=sa.offload,
    )  # fmt: skip
    dump, update, names = parsed.verb == "dump", parsed.verb == "update", crypto_of(parsed).names
    if isinstance(parsed, Unmodelled):
        return SaTemplate(bare, (), dump, update, parsed.what, parsed.mode, names)
    return SaTemplate(bare, parsed.hidden, dump, update, "", sa.mode.value, names)


class Columns(NamedTuple):
    """What differs between SAs of one form, a list a field.

    `print` as in Crypto; NO_PRINT where the form shows no keys. `marks`, `ports`: None where the form has none.
    """

    src: list[Address]
    dst: list[Address]
    spi: array[int]
    reqid: array[int]
    print: list[int]
    marks: list[Mark] | None
    ports: list[tuple[int, int]] | None


def _places(start: int, rows: Sequence[int], more: int) -> slice | list[int]:
    """Where rows of the `more` SAs from `start` on lie."""
    if isinstance(rows, range) or len(rows) == more:
        return slice(start + rows[0], None, rows[1] - rows[0] if len(rows) > 1 else None)
    return [start + row for row in rows]


def _place(column: Any, places: slice | list[int], values: Any) -> None:
    if isinstance(places, slice):
        column[places] = values
        return
    for place, value in zip(places, values, strict=True):
        column[place] = value


class Survey:
    """The SAs of a text in its order, by index from 0: all of ESP, AH and IPComp, also those that espsim can't run.

    `where` is the text's name. `ignored` counts the states of other protocols by protocol number. `notes` says what was
    passed over.
    """

    def __init__(self, where: str | None = None) -> None:
        self.where = where
        self.templates: list[SaTemplate] = []
        self.ignored: Counter[int | str] = Counter()
        self.notes = Notes()
        self.src: list[Address] = []
        self.dst: list[Address] = []
        self.spi = array("I")
        self.reqid = array("I")
        self.line = array("I")
        self.template = array("I")
        self.key_print = array("q")
        self._marks: dict[int, Mark] = {}
        self._ports: dict[int, tuple[int, int]] = {}
        self._known: dict[SaTemplate, int] = {}
        self._destinations: dict[Address, Address] = {}

    def __len__(self) -> int:
        return len(self.spi)

    def number_of(self, template: SaTemplate) -> int:
        """The number of a template. Equal templates have the same."""
        number = self._known.setdefault(template, len(self.templates))
        if number == len(self.templates):
            self.templates.append(template)
        return number

    def add(  # noqa: PLR0917 - the columns in their order; once an SA
        self, template: int, line: int, src: Address, dst: Address, spi: int, reqid: int, key_print: int = NO_PRINT,
        mark: Mark = NO_MARK, ports: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Add an SA."""
        if mark is not NO_MARK:
            self._marks[len(self.spi)] = mark
        if ports is not None:
            self._ports[len(self.spi)] = ports
        self.src.append(src)
        self.dst.append(self._destinations.setdefault(dst, dst))  # equal destinations share one object: many do
        self.spi.append(spi)
        self.reqid.append(reqid)
        self.line.append(line)
        self.template.append(template)
        self.key_print.append(key_print)

    def extend(
        self, templates: list[int], rows: list[Sequence[int]], lines: list[int], columns: Sequence[Columns]
    ) -> None:  # fmt: skip
        """Add one SA for each of `lines`. Those of `templates[n]` are at `rows[n]`, their values in `columns[n]`."""
        start, more = len(self), len(lines)
        self.line.extend(lines)
        for column in (self.spi, self.reqid, self.template, self.key_print):
            column.frombytes(bytes(column.itemsize * more))
        self.src += [b""] * more
        self.dst += [b""] * more
        for template, at, of in zip(templates, rows, columns, strict=True):
            places = _places(start, at, more)
            if len(self._destinations) > _MOST_SHARED:
                self._destinations.clear()
            dst = list(map(self._destinations.setdefault, of.dst, of.dst))  # equal destinations share one object
            put = (
                (self.src, of.src), (self.dst, dst), (self.spi, of.spi), (self.reqid, of.reqid),
                (self.template, array("I", [template]) * len(at)), (self.key_print, array("q", of.print)),
            )  # fmt: skip
            for where, values in put:
                _place(where, places, values)
            if of.marks is not None:
                self._marks.update(zip((start + row for row in at), of.marks, strict=True))
            if of.ports is not None:
                self._ports.update(zip((start + row for row in at), of.ports, strict=True))

    def add_parsed(self, parsed: ParsedSa | Unmodelled, line: int) -> None:
        """Add an SA that the parser has read."""
        sa = parsed.sa
        ports = (sa.encap.sport, sa.encap.dport) if sa.encap is not None else None
        keys = crypto_of(parsed).print
        self.add(
            self.number_of(template_of(parsed)), line, sa.src, sa.dst, sa.spi, sa.reqid,
            NO_PRINT if keys is None else keys, sa.mark, ports,
        )  # fmt: skip

    def mark(self, index: int) -> Mark:
        """The mark of an SA."""
        return self._marks.get(index, NO_MARK)

    def ports(self, index: int) -> tuple[int, int] | None:
        """(sport, dport) of an SA's encapsulation."""
        return self._ports.get(index)

    def name(self, index: int) -> str:
        """As `SecurityAssociation.name`."""
        return f"0x{self.spi[index]:08x}@{format_address(self.dst[index])}"

    def maker(self, template: SecurityAssociation) -> Callable[[int], SecurityAssociation]:
        """A function from index to SA, for indices that have this template, its keys apart.

        It skips the constructor, whose checks the template has passed. That is three times as fast as `replace`.
        """
        setters = {name: getattr(SecurityAssociation, name).__set__ for name in _FIELDS}
        shared = [(setters[name], getattr(template, name)) for name in _FIELDS if name not in _VARYING]
        get = operator.attrgetter(*_VARYING[:4])(self)
        columns = [(setters[name], column) for name, column in zip(_VARYING[:4], get, strict=True)]
        set_mark, set_encap, encap = setters["mark"], setters["encap"], template.encap

        def make(index: int) -> SecurityAssociation:
            sa = object.__new__(SecurityAssociation)
            for setter, value in shared:
                setter(sa, value)
            for setter, column in columns:
                setter(sa, column[index])
            set_mark(sa, self.mark(index))
            set_encap(sa, encap if encap is None else Encap(encap.kind, *self._ports[index], encap.oaddr))
            return sa

        return make

    def installing_order(self) -> Iterator[int]:
        """Indices in the order in which installing gives the kernel's SAD: a dump from its end, then what was added.

        An `update` of an SA that is there already adds no SA; it is left out.
        """
        everyone = range(len(self))
        dump = [t.dump for t in self.templates]
        if all(dump):
            yield from reversed(everyone)
            return
        yield from (i for i in reversed(everyone) if dump[self.template[i]])
        updates = any(t.update for t in self.templates)
        seen = {self.identity(i) for i in everyone if dump[self.template[i]]} if updates else set()
        for index in everyone:
            template = self.templates[self.template[index]]
            if template.dump or (template.update and self.identity(index) in seen):
                continue
            if updates:
                seen.add(self.identity(index))
            yield index

    def drop(self, gone: set[int]) -> None:
        """Take out the rows that `settle` found not to count."""
        if not gone:
            return
        kept = [index for index in range(len(self)) if index not in gone]
        self.src, self.dst = [self.src[i] for i in kept], [self.dst[i] for i in kept]
        for name, code in (("spi", "I"), ("reqid", "I"), ("line", "I"), ("template", "I"), ("key_print", "q")):
            column = getattr(self, name)
            setattr(self, name, array(code, (column[i] for i in kept)))
        self._marks = {new: self._marks[old] for new, old in enumerate(kept) if old in self._marks}
        self._ports = {new: self._ports[old] for new, old in enumerate(kept) if old in self._ports}

    # -- as found.SaRows -----------------------------------------------------------------------------------------------

    def identity(self, index: int) -> Identity:
        """(daddr, SPI, protocol, mark). No two SAs of a kernel share it, except larval ones with SPI 0."""
        return self.dst[index], self.spi[index], self.templates[self.template[index]].sa.proto, self.mark(index)

    def source(self, index: int) -> Address:
        """saddr."""
        return self.src[index]

    def reqid_of(self, index: int) -> int:
        """The reqid."""
        return self.reqid[index]

    def mode_of(self, index: int) -> str:
        """The mode as the text states it."""
        return self.templates[self.template[index]].mode

    def line_of(self, index: int) -> int:
        """The line on which the SA starts."""
        return self.line[index]

    def verb_of(self, index: int) -> Verb:
        """As in ParsedSa."""
        return self.templates[self.template[index]].verb

    def crypto(self, index: int) -> KeyFingerprint:
        """What is compared with another SA of the same identity."""
        keys = self.key_print[index]
        return KeyFingerprint(self.templates[self.template[index]].names, None if keys == NO_PRINT else keys)

    def repeated(self) -> Iterator[int]:
        """In order, the SAs that share their SPI with another one. SPI 0 is left out."""
        if len(set(self.spi)) == len(self):
            return
        seen: set[int] = set()
        again = {spi for spi in self.spi if spi in seen or seen.add(spi)}  # type: ignore[func-returns-value]
        for index, spi in enumerate(self.spi):
            if spi and spi in again:
                yield index

    def end_in_the_middle(self, index: int, what: str) -> None:
        """Mark this SA as unmodelled because the text ends in the middle of it; `what` says so."""
        template = self.templates[self.template[index]]
        parsed = ParsedSa(template.sa, self.line[index], template.verb, template.hidden)
        cut = cut_off(parsed, what)
        self.template[index] = self.number_of(replace(template_of(cut), mode=template.mode, names=template.names))
