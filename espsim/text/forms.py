"""A fast reader for the states of a dump: it reads a form once, then only its numbers.

A host's SAs differ in their numbers and hardly in form. A form is the text of one state with zeros for what varies:
addresses, SPI, reqid, key, counters, dates, mark, ports, a selector's addresses. The parser (reader.py) reads each new
form. Its answer holds for every SA of the form, because the patterns here take no number that the parser would refuse.

What this does not do: read a state that fits no pattern. The parser reads it.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
import socket
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from espsim.core.address import Address, packed
from espsim.core.errors import InputError
from espsim.sad.association import NO_MARK, Mark
from espsim.text.found import ParsedSa, Unmodelled, crypto_of
from espsim.text.notes import Notes
from espsim.text.pieces import Block
from espsim.text.reader import Reader
from espsim.text.survey import NO_PRINT, Columns, SaTemplate, template_of

_MAX_FORMS = 1 << 14
_MAX_NOTES = 8
_TRIED = 8
"""How many forms are tried by their own pattern, the latest first. Older forms are found by their text."""

_ADDRESS = {4: r"[0-9.]{7,15}", 16: r"[0-9a-f:.]{2,45}"}
_ANY_ADDRESS = "[0-9a-f:.]{2,45}"
_PREFIX = "(?:0|[1-9][0-9]{0,2})"
_HEX = "0x[0-9a-f]{1,8}"
_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
_IDENTITY = r"(?:\([0-9]{1,10}\))? reqid (0|[1-9][0-9]{0,9})(?:\(0x[0-9a-f]{8}\))?(?= mode )"
_HEAD = re.compile(
    rf"src ({_ANY_ADDRESS}) dst ({_ANY_ADDRESS}) ?\n"
    rf"(?P<indent>[ \t]*)proto (?P<proto>esp|ah) spi 0x([0-9a-f]{{8}}){_IDENTITY}"
)

# Rows that vary, by what follows their indentation: the pattern, and a text with zeros that fits it.
_AMOUNT = r"(?:\(INF\)|[0-9]{1,19})"
_PLAIN = {
    "replay": (f"anti-replay context: seq {_HEX}, oseq {_HEX}, bitmap {_HEX}(?=\n)",
               "anti-replay context: seq 0x0, oseq 0x0, bitmap 0x0"),
    "esn": (f"seq-hi {_HEX}, seq {_HEX}, oseq-hi {_HEX}, oseq {_HEX}(?=\n)",
            "seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0"),
    "interface": (f"if_id {_HEX}(?=\n)", "if_id 0x1"),
    "lastused": (f"lastused {_TIME}(?=\n)", "lastused -"),
    "bytes": (rf"limit: soft {_AMOUNT}\(bytes\), hard {_AMOUNT}\(bytes\)(?=\n)",
              "limit: soft (INF)(bytes), hard (INF)(bytes)"),
    "packets": (rf"limit: soft {_AMOUNT}\(packets\), hard {_AMOUNT}\(packets\)(?=\n)",
                "limit: soft (INF)(packets), hard (INF)(packets)"),
    "since_add": (r"expire add: soft [0-9]{1,19}\(sec\), hard [0-9]{1,19}\(sec\)(?=\n)",
                  "expire add: soft 0(sec), hard 0(sec)"),
    "since_use": (r"expire use: soft [0-9]{1,19}\(sec\), hard [0-9]{1,19}\(sec\)(?=\n)",
                  "expire use: soft 0(sec), hard 0(sec)"),
    "carried": (r"[0-9]{1,19}\(bytes\), [0-9]{1,19}\(packets\)(?=\n)", "0(bytes), 0(packets)"),
    "added": (f"add {_TIME} use (?:-|{_TIME})(?=\n)", "add - use -"),
    "stats": ("replay-window [0-9]{1,9} replay [0-9]{1,9} failed [0-9]{1,9}(?=\n)",
              "replay-window 0 replay 0 failed 0"),
}  # fmt: skip
_MARK = r"mark (?P<value>0|0x[0-9a-f]{1,8})/(?P<mask>0x[1-9a-f][0-9a-f]{0,7})"
_OUTPUT = f" ?output-mark {_HEX}/{_HEX}"
_PORTS = r" sport (?P<sport>0|[1-9][0-9]{0,4}) dport (?P<dport>0|[1-9][0-9]{0,4})(?= addr (?:0\.0\.0\.0|::)\n)"
_SEL = (
    rf"sel src (?P<src>{_ANY_ADDRESS})/(?P<src_len>{_PREFIX})"
    rf" dst (?P<dst>{_ANY_ADDRESS})/(?P<dst_len>{_PREFIX})(?=[ \n])"
)
_KEYED = r"(?:aead|auth-trunc|auth|enc) \S+"
_SHORT = r"[0-9a-f]*(?:\.{2,}|\u2026)[0-9a-f]*"
_VARYING = re.compile(
    rf"(?<=\n)(?P<indent>[ \t]*)(?:(?P<key>{_KEYED} 0x)(?P<digits>[0-9a-f]+)(?=[ \n])"
    rf"|(?P<hash>{_KEYED} \[hash:)[0-9a-f]+(?=\])|(?P<short>{_KEYED} 0x){_SHORT}(?=[ \n])"
    rf"|{_SEL}|{_MARK}(?P<output>{_OUTPUT})?(?=[ \n])|(?P<kind>encap type [a-z-]+){_PORTS}"
    r"|(?P<bitmap>[0-9a-f]{8}(?: [0-9a-f]{8})*)(?= ?\n)|(?P<window>replay-window [0-9]+ seq) 0x[0-9]{8}(?= )|"
    + "|".join(f"(?P<{name}>{pattern})" for name, (pattern, _) in _PLAIN.items())
    + ")"
)
_ZERO_SELECTORS = ("src 0.0.0.0/0 dst 0.0.0.0/0", "src ::/0 dst ::/0")


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form that the parser has read.

    `pattern` matches one whole text of the form; `run` matches one in a longer text, where another state follows it.
    `size`: bytes of an address; `inner`: those of a selector's address (0: none varies). `lines`: line feeds.
    `notes`: what was passed over, and how many lines after the first. `keys`: the names of the groups that are keys.
    """

    template: SaTemplate
    text: str
    pattern: re.Pattern[str]
    run: re.Pattern[str]
    size: int
    inner: int
    lines: int
    notes: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    plain: bool

    def columns(self, found: Sequence[tuple[str, ...]]) -> Columns | None:
        """The numbers of texts of this form, of each its `groups()`. None: one is out of range; the parser says so."""
        texts = list(zip(*found, strict=True))
        names = {name: texts[number - 1] for name, number in self.pattern.groupindex.items()}
        try:
            src, dst = _packed_all(texts[0], self.size), _packed_all(texts[1], self.size)
            numbers = array("I", map(int, texts[3]))
            if self.inner:
                for side in ("src", "dst"):
                    _packed_all(names[side], self.inner)
                    if max(map(int, names[f"{side}_len"])) > 8 * self.inner:
                        return None
        except (OSError, OverflowError):
            return None
        marks = list(map(_mark, names["value"], names["mask"])) if "value" in names else None
        ports = None
        if "sport" in names:
            ports = list(zip(map(int, names["sport"]), map(int, names["dport"]), strict=True))
            if max(map(max, ports)) > 0xFFFF:
                return None
        spis = array("I", bytes.fromhex("".join(texts[2])))
        if sys.byteorder == "little":
            spis.byteswap()
        keys = [names[key] for key in self.keys]
        prints = list(map(hash, keys[0])) if keys else [NO_PRINT] * len(found)
        for column in keys[1:]:
            prints = list(map(operator.xor, prints, map(hash, column)))
        return Columns(src, dst, spis, numbers, prints, marks, ports)

    def read(self, text: str) -> Columns | None:
        """The numbers of a text of this form. None: it has another form."""
        found = self.pattern.fullmatch(text)
        return self.columns([found.groups()]) if found is not None else None


class Forms:
    """The forms met so far."""

    def __init__(self) -> None:
        self._latest: list[Form] = []
        self._known: dict[str, Form] = {}

    @property
    def latest(self) -> list[Form]:
        """The last forms met, the latest first."""
        return self._latest

    def other(self, form: Form, text: str, at: int) -> tuple[Form | None, re.Match[str] | None]:
        """The form, other than this one, of the SA that starts at `at`, and its match. (None, None): no known form."""
        for number, other in enumerate(self._latest):
            match = other.run.match(text, at) if other is not form else None
            if match is not None:
                self._met(number)
                return other, match
        return None, None

    def _met(self, number: int) -> None:
        if number:
            self._latest.insert(0, self._latest.pop(number))

    def read(self, text: str) -> tuple[Form, Columns] | None:
        """A state's form and numbers. None: only the parser can read it."""
        for n, form in enumerate(self._latest):
            numbers = form.read(text)
            if numbers is not None:
                self._met(n)
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
        indent = head["indent"]
        start = f"src {zero} dst {zero}\n{indent}proto {head['proto']} spi 0x00000100 reqid 0"
        rest, pattern, inner = _blanked(text[head.end() :])
        known = self._known.get(start + pattern)
        if known is not None or len(self._known) >= _MAX_FORMS:
            return known
        address = _ADDRESS[size]
        begin = rf"src ({address}) dst ({address}) ?\n{indent}proto {head['proto']} spi 0x([0-9a-f]{{8}}){_IDENTITY}"
        form = _judged(start + rest, begin + pattern, size, inner)
        if form is not None:
            self._known[start + pattern] = form
        return form


def _judged(text: str, pattern: str, size: int, inner: int) -> Form | None:
    """The form of a text that the parser reads. None: it is not one SA of a dump, or a form can't hold all of it."""
    notes = Notes()
    reader = Reader(None, notes)
    try:
        (found,) = reader.read(Block(text, 1))
        whole = re.compile(pattern)
    except (InputError, ValueError, re.error):  # a damaged key; no SA or two; a selector, mark or encapsulation twice
        return None
    if not isinstance(found, ParsedSa | Unmodelled) or found.verb != "dump" or not reader.inert:
        return None
    if len(notes) > _MAX_NOTES or any(note.count > 2 for note in notes):
        return None
    names = whole.groupindex
    if (found.sa.encap and "sport" not in names) or (found.sa.mark != NO_MARK and "value" not in names):
        return None  # ports with an original address, a mark in decimal: rare, so the parser reads them
    keys = tuple(name for name in names if name.startswith("key")) if crypto_of(found).print is not None else ()
    remarks = tuple((note.what, at - 1) for note in notes for at in (note.first, note.last)[: note.count])
    return Form(
        template_of(found), text, whole, re.compile(rf"{pattern}(?<=\n)(?=src [0-9a-f:.])"), size, inner,
        max(1, text.count("\n")), remarks, keys, not names.keys() - {"proto"} - set(keys),
    )  # fmt: skip


def _blanked(text: str) -> tuple[str, str, int]:
    """A text with zeros for what varies, the pattern of such texts, and the bytes of a varying selector's address."""
    blank, pattern, at, inner = "", "", 0, 0
    for number, found in enumerate(_VARYING.finditer(text)):
        literal = text[at : found.start()]
        at = found.end()
        zeros, part = _part(found, number)
        literal += found["indent"]
        if part == _SEL:
            inner = len(packed(found["src"]) or b"")
        blank += literal + zeros
        pattern += re.escape(literal) + part
    return blank + text[at:], pattern + re.escape(text[at:]), inner


def _part(found: re.Match[str], number: int) -> tuple[str, str]:
    """A text with zeros for one thing that varies, and its pattern. `number` makes the names of key groups unique."""
    for name, (pattern, zeros) in _PLAIN.items():
        if found[name] is not None:
            return zeros, pattern
    if found["key"]:
        size = len(found["digits"])
        return found["key"] + "0" * size, re.escape(found["key"]) + f"(?P<key{number}>[0-9a-f]{{{size}}})"
    if found["hash"]:
        return found["hash"] + "0", re.escape(found["hash"]) + "[0-9a-f]+"
    if found["short"]:
        return found["short"] + "0...0", re.escape(found["short"]) + _SHORT
    if found["src"]:
        row = found[0].lstrip()
        if row.removeprefix("sel ") in _ZERO_SELECTORS:
            return row, re.escape(row)
        return f"sel {_ZERO_SELECTORS[':' in found['src']]}", _SEL
    if found["mask"]:
        output = found["output"]
        zeros = "mark 0x1/0x1" + (" output-mark 0x1/0x1" if output else "")
        return zeros, f"{_MARK}{_OUTPUT if output else ''}(?=[ \\n])"
    if found["kind"]:
        return f"{found['kind']} sport 1 dport 1", re.escape(found["kind"]) + _PORTS
    if found["bitmap"]:
        more = len(found["bitmap"]) // 9
        return "00000000" + " 00000000" * more, f"[0-9a-f]{{8}}(?: [0-9a-f]{{8}}){{{more}}}"
    return f"{found['window']} 0x00000000", re.escape(found["window"]) + " 0x[0-9]{8}"


@functools.lru_cache(maxsize=4096)
def _mark(value: str, mask: str) -> Mark:
    return Mark(int(value, 16), int(mask, 16))


def _packed_all(texts: Iterable[str], size: int) -> list[Address]:
    """Addresses of `size` bytes each. OSError where a text is not an address."""
    return list(map(socket.inet_pton, itertools.repeat(socket.AF_INET6 if size == 16 else socket.AF_INET), texts))
