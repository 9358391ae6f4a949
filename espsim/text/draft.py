"""An SA while its words are read (`SaWords`), and the checks of a pasted SA that need all its words (`Draft`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from espsim.aead.suites import AEADS, ALIASES, CIPHERS, HASHES, Algorithm, resolve
from espsim.core.address import Address
from espsim.core.echo import hide_in_name
from espsim.core.errors import InputError
from espsim.core.numbers import PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.sad.association import (
    ANY_ENCAP,
    NO_MARK,
    PROTO_NAMES,
    Direction,
    Encap,
    IptfsOptions,
    Lifetime,
    Limits,
    Mark,
    Mode,
    Offload,
    ReplayState,
    SecurityAssociation,
    Selector,
)
from espsim.text.algorithms import Hidden, stand_ins
from espsim.text.bitmap import from_circular
from espsim.text.lexer import SaEntry, Style
from espsim.text.names import MAX_WINDOW, limit_of
from espsim.text.notes import Notes
from espsim.text.selector import SelectorWords
from espsim.wire.udp import PORT_NAT_T

_KNOWN = {"aead": AEADS.keys(), "enc": CIPHERS.keys(), "auth": HASHES.keys(), "auth-trunc": HASHES.keys()}

_RUN = (Mode.TRANSPORT.value, Mode.TUNNEL.value, Mode.BEET.value, Mode.IPTFS.value)
"""The modes of pasted SAs that espsim runs."""

_KINDS = {
    PROTO_ESP: ("aead", "enc", "auth", "auth-trunc"),
    PROTO_AH: ("auth", "auth-trunc"),
    PROTO_COMP: ("comp",),
}


@dataclass(slots=True, repr=False)
class SaWords:
    """What an SA's words say beside addresses, SPI and protocol, in any of the formats. No repr: it holds keys."""

    mode: str = "transport"
    algorithms: list[Algorithm] = field(default_factory=list)
    reqid: int = 0
    seq: int = 0
    mark: Mark = NO_MARK
    if_id: int = 0
    pcpu: int | None = None
    dir: Direction | None = None
    window: int = 0
    flags: set[str] = field(default_factory=set)
    extra_flags: set[str] = field(default_factory=set)
    encap: Encap | None = None
    coa: Address | None = None
    tfcpad: int = 0
    selector: SelectorWords | None = None
    limits: dict[str, int | None] = field(default_factory=dict)
    output_mark: Mark | None = None
    offload: Offload | None = None
    replay: dict[str, int] = field(default_factory=dict)
    label: str | None = None
    iptfs: IptfsOptions | None = None

    def limit(self, name: str, value: int) -> None:
        """Set one field of `Limits`."""
        self.limits[name] = limit_of(name, value)


@dataclass(slots=True, repr=False)
class Draft(SaWords):
    """A pasted SA. A field that the text does not state has its default.

    `circular` is an ESN context's bitmap in the kernel's order. `fault` is the first thing that can't be read.
    `remarks` are notes on what was passed over. `unsaid`: the text states no mode and no encapsulation; each packet
    shows them.
    """

    src: Address | None = None
    dst: Address | None = None
    spi: int | None = None
    proto: int | None = None
    unsaid: bool = False
    hidden: list[Hidden] = field(default_factory=list)
    algorithm_line: int = 0
    context_window: int | None = None
    circular: int | None = None
    current: Lifetime = field(default_factory=Lifetime)
    other_proto: str = ""
    fault: InputError | None = None
    remarks: list[str] = field(default_factory=list)

    def add(self, kind: str, name: str, key: bytes | None, bits: int) -> None:
        """Add an algorithm. `key` None: its key is hidden."""
        if key is None:
            self.hidden.append(Hidden(kind, name, bits))
        else:
            self.algorithms.append(Algorithm(kind, name, key, bits))

    def fail(self, error: InputError) -> None:
        """Note what can't be read. Only the first error is kept."""
        self.fault = self.fault or error

    @property
    def ignored(self) -> bool:
        """Whether it is a state of another protocol than ESP, AH and IPComp (IP in IP, Mobile IPv6)."""
        return self.proto is not None and self.proto not in PROTO_NAMES

    @property
    def kinds(self) -> list[str]:
        """The kinds of all algorithms (`aead`, `enc`, ...), with keys and hidden."""
        return [a.kind for a in self.algorithms] + [h.kind for h in self.hidden]

    @property
    def all_hidden(self) -> tuple[Hidden, ...]:
        """All algorithms if one key is hidden, else none. An SA with one hidden key can't be used at all."""
        shown = (Hidden(a.kind, a.name, a.bits, 8 * len(a.key)) for a in self.algorithms)
        return (*shown, *self.hidden) if self.hidden else ()

    @property
    def no_identity(self) -> str:
        """What is missing or wrong in the SA's identity; "" where nothing is."""
        for word, value in (("src", self.src), ("dst", self.dst), ("proto", self.proto), ("spi", self.spi)):
            if value is None:
                return f"{word} is missing"
        if len(self.src or b"") != len(self.dst or b""):
            return "src and dst are of different families"
        return ""

    def hide_damaged_keys(self, notes: Notes) -> None:
        """Count a key as hidden where its algorithm does not take keys of that length."""
        for algorithm in list(self.algorithms) if self.proto == PROTO_ESP else ():
            name, size = ALIASES.get(algorithm.name, algorithm.name), len(algorithm.key)
            known = {"aead": AEADS.get(name), "enc": CIPHERS.get(name)}.get(algorithm.kind)
            if known is not None:
                sizes = known.key_sizes
            else:
                mac = HASHES.get(name) if algorithm.kind in ("auth", "auth-trunc") else None
                sizes = mac.key_lengths if mac is not None else ()
            if sizes and size not in sizes:  # an HMAC takes any key
                self.algorithms.remove(algorithm)
                self.hidden.append(Hidden(algorithm.kind, algorithm.name, algorithm.bits))
                notes.add(
                    f"{name} takes a key of {' or '.join(str(8 * n) for n in sizes)} bits (salt included), not"
                    f" {8 * size}: it counts as hidden",
                    self.algorithm_line,
                )

    def note_empty_keys(self, notes: Notes) -> None:
        """Add a note for each MAC with an empty key. Such an SA runs."""
        for algorithm in self.algorithms if self.proto == PROTO_ESP else ():
            name = ALIASES.get(algorithm.name, algorithm.name)
            if algorithm.kind in ("auth", "auth-trunc") and not algorithm.key and name != "digest_null":
                notes.add(f"{name} has an empty key, with which anyone can forge packets", self.algorithm_line)

    @property
    def unmodelled(self) -> str:
        """Why espsim can't run such an SA: its mode, or its first unknown algorithm. "" where it can."""
        if self.mode not in _RUN:
            return f"mode {self.mode}"
        named = [(a.kind, a.name) for a in self.algorithms] + [(h.kind, h.name) for h in self.hidden]
        for kind, name in named if self.proto == PROTO_ESP else ():
            if kind in _KNOWN and ALIASES.get(name, name) not in _KNOWN[kind]:
                return f"{kind} {hide_in_name(name)}"
        return ""

    def stand_in(self) -> SecurityAssociation:
        """What is known of an SA that espsim can't run. It has no algorithms and is in transport mode."""
        window = self.window if self.context_window is None else self.context_window
        flags = self.flags if window else self.flags - {"esn"}
        return SecurityAssociation(
            self.src or b"", self.dst or b"", self.spi or 0, self.proto or 0, reqid=self.reqid,
            mark=self.mark if self.mark.mask else NO_MARK, if_id=self.if_id, dir=self.dir,
            window=window if window <= MAX_WINDOW else 0, flags=frozenset(flags), encap=self.encap,
            offload=self.offload,
        )  # fmt: skip

    def build(self, entry: SaEntry, where: str | None) -> SecurityAssociation:
        """The SA. InputError where it can't be one, with the line of the entry or of its algorithms."""
        complaint = self._complaint(entry.style)
        if complaint:
            raise InputError(complaint, where=where, line=entry.line)
        try:
            if self.hidden and self.proto == PROTO_ESP:
                resolve((*self.algorithms, *next(stand_ins(self.hidden))))
            return self._association()
        except ValueError as error:
            raise InputError(str(error), where=where, line=self._line_of(entry)) from None

    def _line_of(self, entry: SaEntry) -> int:
        try:
            if self.proto == PROTO_ESP and (self.algorithms or self.hidden):
                resolve((*self.algorithms, *next(stand_ins(self.hidden))))
        except ValueError:
            return self.algorithm_line
        return entry.line

    def _complaint(self, style: Style) -> str | None:
        if missing := self.no_identity:
            return missing
        if self.mode not in _RUN:
            return f"mode {self.mode} is not supported ({', '.join(_RUN[:-1])} and {_RUN[-1]} are)"
        proto = self.proto or 0
        name = PROTO_NAMES[proto]
        if self.mode == "iptfs" and proto != PROTO_ESP:
            return "mode iptfs goes with proto esp only"
        if proto == PROTO_COMP and (self.spi or 0) >> 16:
            return "the SPI of proto comp has 16 bits"
        for kind in self.kinds:
            if kind not in _KINDS[proto]:
                return f"{kind} does not go with proto {name}"
        if not self.algorithms and not self.hidden and not style.printed:
            return f"an SA of proto {name} needs {' or '.join(_KINDS[proto])}"
        return self._selector_complaint()

    def _selector_complaint(self) -> str | None:
        sel = self.selector
        inner = len(sel.src or sel.dst) if sel else 0
        if self.mode == "transport" and self.dst is not None and inner not in (0, len(self.dst)):
            return "the selector is of the other family: only tunnel and beet mode can change the family"
        return None

    def _association(self) -> SecurityAssociation:
        src, dst = self.src or b"", self.dst or b""
        window = self.window if self.context_window is None else self.context_window
        mode, encap = Mode(self.mode), self.encap
        if self.unsaid:
            mode, encap = Mode.ANY, Encap(ANY_ENCAP, PORT_NAT_T, PORT_NAT_T, b"")
        return SecurityAssociation(
            src, dst, self.spi or 0, self.proto or 0, mode, () if self.hidden else tuple(self.algorithms),
            reqid=self.reqid, mark=self.mark if self.mark.mask else NO_MARK, if_id=self.if_id, pcpu=self.pcpu,
            dir=self.dir, window=window, flags=frozenset(self.flags), extra_flags=frozenset(self.extra_flags),
            encap=_fit(encap, len(dst)), coa=self.coa, tfcpad=self.tfcpad,
            selector=self.selector.build(len(dst)) if self.selector else Selector(),
            limits=Limits(**self.limits), output_mark=self.output_mark, offload=self.offload,
            replay=self._replay(window), current=self.current, seq=self.seq, label=self.label or "",
            iptfs=self.iptfs,
        )  # fmt: skip

    def _replay(self, window: int) -> ReplayState:
        if not self.replay and self.circular is None:
            return ReplayState()
        fields = dict(self.replay)
        bitmap = fields.pop("bitmap", 0) & (1 << min(max(0, window), MAX_WINDOW)) - 1
        if self.circular is not None and 0 < window <= MAX_WINDOW:
            bitmap = from_circular(self.circular, fields.get("seq", 0), window)
        return ReplayState(**fields, bitmap=bitmap, stated=True, context=self.circular is not None)


def _fit(encap: Encap | None, length: int) -> Encap | None:
    """The encapsulation with its original address in the SA's family: the kernel reads `::` and 0.0.0.0 as zeros."""
    if encap is None or len(encap.oaddr) == length:
        return encap
    if any(encap.oaddr):
        raise ValueError("the address of encap is of another family than src and dst")
    return Encap(encap.kind, encap.sport, encap.dport, bytes(length))
