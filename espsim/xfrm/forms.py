"""The SAs of a host differ in their numbers and hardly in form: a form is read once, then its numbers alone.

A form is the text of one state of a dump with zeros for what varies (addresses, SPI, reqid, key, counters, dates, mark,
ports, a selector's addresses). `parse` reads each new form, and its answer holds for every SA of that form, because the
patterns here take no number that the parser would refuse. What fits no pattern is the parser's.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import NamedTuple

from espsim.core.address import Address
from espsim.core.errors import InputError
from espsim.sad.association import NO_MARK, Mark
from espsim.xfrm.found import ParsedSa, Unmodelled, crypto_of, key_print
from espsim.xfrm.notes import Notes
from espsim.xfrm.parse import parse_entries
from espsim.xfrm.survey import NO_PRINT, Template, template_of

_MAX_FORMS = 1 << 14
_TRIED = 8
"""Forms that are tried by their own pattern, the latest first; further ones are found by their text."""

_ADDRESS = {4: r"[0-9.]{7,15}", 16: r"[0-9a-f:.]{2,45}"}
_ANY_ADDRESS = "[0-9a-f:.]{2,45}"
_PREFIX = "(?:0|[1-9][0-9]{0,2})"
_HEX = "0x[0-9a-f]{1,8}"
_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
_IDENTITY = r"(?:\([0-9]{1,10}\))? reqid (0|[1-9][0-9]{0,9})(?:\(0x[0-9a-f]{8}\))?(?= mode )"
_HEAD = re.compile(
    rf"src ({_ANY_ADDRESS}) dst ({_ANY_ADDRESS}) ?\n\tproto (?P<proto>esp|ah) spi 0x([0-9a-f]{{8}}){_IDENTITY}"
)

# What varies, as it starts a row (after a line feed and a tab): the pattern, and zeros of the same kind.
_PLAIN = {
    "replay": (f"anti-replay context: seq {_HEX}, oseq {_HEX}, bitmap {_HEX}(?=\n)",
               "anti-replay context: seq 0x0, oseq 0x0, bitmap 0x0"),
    "esn": (f" seq-hi {_HEX}, seq {_HEX}, oseq-hi {_HEX}, oseq {_HEX}(?=\n)",
            " seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0"),
    "interface": (f"if_id {_HEX}(?=\n)", "if_id 0x1"),
    "lastused": (f"lastused {_TIME}(?=\n)", "lastused -"),
    "carried": (r"  [0-9]{1,19}\(bytes\), [0-9]{1,19}\(packets\)(?=\n)", "  0(bytes), 0(packets)"),
    "added": (f"  add {_TIME} use (?:-|{_TIME})(?=\n)", "  add - use -"),
    "stats": ("  replay-window [0-9]{1,9} replay [0-9]{1,9} failed [0-9]{1,9}(?=\n)",
              "  replay-window 0 replay 0 failed 0"),
}  # fmt: skip
_MARK = r"mark (?P<value>0|0x[0-9a-f]{1,8})/(?P<mask>0x[1-9a-f][0-9a-f]{0,7})(?=[ \n])"
_PORTS = r" sport (?P<sport>0|[1-9][0-9]{0,4}) dport (?P<dport>0|[1-9][0-9]{0,4})(?= addr (?:0\.0\.0\.0|::)\n)"
_SEL = (
    rf"sel src (?P<src>{_ANY_ADDRESS})/(?P<src_len>{_PREFIX})"
    rf" dst (?P<dst>{_ANY_ADDRESS})/(?P<dst_len>{_PREFIX})(?=[ \n])"
)
_VARYING = re.compile(
    r"(?<=\n\t)(?:(?P<key>(?:aead|auth-trunc|auth|enc) \S+ 0x)(?P<digits>[0-9a-f]+)(?=[ \n])"
    r"|(?P<hash>(?:aead|auth-trunc|auth|enc) \S+ \[hash:)[0-9a-f]+(?=\])"
    + rf"|{_SEL}|{_MARK}|(?P<kind>encap type [a-z-]+){_PORTS}"
    + r"|(?P<bitmap>(?: [0-9a-f]{8})+)(?= ?\n)|(?P<window>replay-window [0-9]+ seq) 0x[0-9]{8}(?= )|"
    + "|".join(f"(?P<{name}>{pattern})" for name, (pattern, _) in _PLAIN.items())
    + ")"
)
_ZERO_SELECTORS = ("src 0.0.0.0/0 dst 0.0.0.0/0", "src ::/0 dst ::/0")


class Numbers(NamedTuple):
    """What one SA has for itself. `print` as Crypto's; NO_PRINT where the form shows no keys."""

    src: Address
    dst: Address
    spi: int
    reqid: int
    print: int
    mark: Mark
    ports: tuple[int, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form that the parser has read.

    `pattern` takes a whole text of it without its last line feed; `run` takes one where another state follows. `size`,
    `inner`: bytes of an address, of the selector's (0: none varies). `lines`: line feeds. `notes`: what was passed
    over, and how many lines below the first. `keys`: the names of the groups that are keys.
    """

    template: Template
    text: str
    pattern: re.Pattern[str]
    run: re.Pattern[str]
    size: int
    inner: int
    lines: int
    notes: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    plain: bool

    def read(self, text: str) -> Numbers | None:
        """The numbers of a text of this form; None: it is of another."""
        found = self.pattern.fullmatch(text)
        return self.numbers(found) if found is not None else None

    def numbers(self, found: re.Match[str]) -> Numbers | None:
        """The numbers of a match; None: it has a number that is none, and the parser may say so."""
        source, destination, spi, reqid = found.group(1, 2, 3, 4)
        src, dst, number = packed(source), packed(destination), int(reqid)
        if src is None or dst is None or len(src) != self.size or len(dst) != self.size or number >> 32:
            return None
        keys = (
            key_print(found.group(*self.keys) if len(self.keys) > 1 else (found[self.keys[0]],))
            if self.keys
            else NO_PRINT
        )
        if self.plain:
            return Numbers(src, dst, int(spi, 16), number, keys, NO_MARK, None)
        if self.inner and (self.inner != _inner(found, "src") or self.inner != _inner(found, "dst")):
            return None
        names = self.pattern.groupindex
        mark = Mark(int(found["value"], 16), int(found["mask"], 16)) if "value" in names else NO_MARK
        ports = (int(found["sport"]), int(found["dport"])) if "sport" in names else None
        return None if ports and max(ports) > 0xFFFF else Numbers(src, dst, int(spi, 16), number, keys, mark, ports)


class Forms:
    """The forms that were met."""

    def __init__(self) -> None:
        self._latest: list[Form] = []
        self._known: dict[str, Form] = {}

    @property
    def latest(self) -> Form | None:
        """The form that was met last."""
        return self._latest[0] if self._latest else None

    def read(self, text: str) -> tuple[Form, Numbers] | None:
        """A state's form and numbers. None: it is the parser's."""
        for n, form in enumerate(self._latest):
            numbers = form.read(text)
            if numbers is not None:
                if n:
                    self._latest.insert(0, self._latest.pop(n))
                return form, numbers
        form_of = self._find(text)
        numbers = form_of.read(text) if form_of is not None else None
        if form_of is None or numbers is None:
            return None
        self._latest = [form_of, *self._latest[: _TRIED - 1]]
        return form_of, numbers

    def _find(self, text: str) -> Form | None:
        head = _HEAD.match(text)
        size = len(packed(head[1]) or b"") if head is not None else 0
        if head is None or not size:
            return None
        zero = "0.0.0.0" if size == 4 else "::"  # noqa: S104 - an address of an SA, not of a socket
        start = f"src {zero} dst {zero}\n\tproto {head['proto']} spi 0x00000100 reqid 0"
        rest, pattern, inner = _blanked(text[head.end() :])
        known = self._known.get(start + rest)
        if known is not None or len(self._known) >= _MAX_FORMS:
            return known
        address = _ADDRESS[size]
        begin = rf"src ({address}) dst ({address}) ?\n\tproto {head['proto']} spi 0x([0-9a-f]{{8}}){_IDENTITY}"
        form = _judged(start + rest, begin + pattern, size, inner)
        if form is not None:
            self._known[form.text] = form
        return form


def _judged(text: str, pattern: str, size: int, inner: int) -> Form | None:
    """A form, as the parser reads its text; None where it is not one SA of a dump, or has what numbers can't say."""
    notes = Notes()
    try:
        (found,) = parse_entries(text, notes=notes)
        whole = re.compile(pattern)
    except (InputError, ValueError, re.error):  # a damaged key; no SA or two; a selector, mark or encapsulation twice
        return None
    if not isinstance(found, ParsedSa | Unmodelled) or found.verb != "dump":
        return None
    names = whole.groupindex
    if (found.sa.encap and "sport" not in names) or (found.sa.mark != NO_MARK and "value" not in names):
        return None  # ports beside an original address, a mark in decimal: rare, and the parser's
    keys = tuple(name for name in names if name.startswith("key")) if crypto_of(found).print is not None else ()
    remarks = tuple((note.what, note.first - 1) for note in notes for _ in range(note.count))
    return Form(
        template_of(found), text, whole, re.compile(rf"{pattern}\n(?=src [0-9a-f:.])"), size, inner,
        text.count("\n") + 1, remarks, keys, not names.keys() - {"proto"} - set(keys),
    )  # fmt: skip


def _blanked(text: str) -> tuple[str, str, int]:
    """A text with zeros in it, the pattern of all such texts, and the length of a varying selector's addresses."""
    blank, pattern, at, inner = "", "", 0, 0
    for number, found in enumerate(_VARYING.finditer(text)):
        literal = text[at : found.start()]
        at = found.end()
        zeros, part = _part(found, number)
        if part == _SEL:
            inner = len(packed(found["src"]) or b"")
        blank += literal + zeros
        pattern += re.escape(literal) + part
    return blank + text[at:], pattern + re.escape(text[at:]), inner


def _part(found: re.Match[str], number: int) -> tuple[str, str]:
    """Zeros for what varies, and its pattern; `number` tells one key from the other."""
    for name, (pattern, zeros) in _PLAIN.items():
        if found[name] is not None:
            return zeros, pattern
    if found["key"]:
        size = len(found["digits"])
        return found["key"] + "0" * size, re.escape(found["key"]) + f"(?P<key{number}>[0-9a-f]{{{size}}})"
    if found["hash"]:
        return found["hash"] + "0", re.escape(found["hash"]) + "[0-9a-f]+"
    if found["src"]:
        if found[0].removeprefix("sel ") in _ZERO_SELECTORS:
            return found[0], re.escape(found[0])
        return f"sel {_ZERO_SELECTORS[':' in found['src']]}", _SEL
    if found["mask"]:
        return "mark 0x1/0x1", _MARK
    if found["kind"]:
        return f"{found['kind']} sport 1 dport 1", re.escape(found["kind"]) + _PORTS
    if found["bitmap"]:
        count = len(found["bitmap"]) // 9
        return " 00000000" * count, f"(?: [0-9a-f]{{8}}){{{count}}}"
    return f"{found['window']} 0x00000000", re.escape(found["window"]) + " 0x[0-9]{8}"


def _inner(found: re.Match[str], side: str) -> int:
    """The length of a selector's address; 0 where address and prefix length are none."""
    address = packed(found[side])
    return len(address) if address is not None and int(found[f"{side}_len"]) <= 8 * len(address) else 0


def packed(text: str) -> Address | None:
    """An address, None where it is none: inet_pton takes nothing that `parse_address` does not."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return None
