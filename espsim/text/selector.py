"""SELECTOR := [ src ADDR[/PLEN] ] [ dst ADDR[/PLEN] ] [ dev DEV ] [ UPSPEC ] (xfrm_selector_parse in ip/ipxfrm.c)."""

from __future__ import annotations

from dataclasses import dataclass

from espsim.core.address import Address
from espsim.sad.association import Selector
from espsim.text.cursor import Cursor
from espsim.text.lexer import Form
from espsim.text.names import GRE, PORTED, PROTOCOL_ALIASES, PROTOCOLS, TYPED

_UPSPEC = ("proto", "sport", "dport", "type", "code", "key")
_PROTO_WORDS = {**PROTOCOLS, **PROTOCOL_ALIASES, "any": 0}
_FULL = 0xFFFF


@dataclass(slots=True)
class SelectorWords:
    """A selector as it was said, before its SA is known. Addresses are empty where nobody said one."""

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

    def build(self, outer_length: int) -> Selector:
        """The Selector. An address of prefix length 0 says nothing but its family, and is kept only where that differs
        from the SA's own (`outer_length` bytes), so that a dump's `sel src 0.0.0.0/0 dst 0.0.0.0/0` is `Selector()`.
        """
        src = self.src if self.src_prefix else b""
        dst = self.dst if self.dst_prefix else b""
        length = len(self.src or self.dst)
        if not src and not dst and length not in (0, outer_length):
            src = dst = bytes(length)
        return Selector(
            src, self.src_prefix, dst, self.dst_prefix, self.proto,
            self.sport, self.sport_mask, self.dport, self.dport_mask, self.dev,
        )  # fmt: skip


def read_selector(cursor: Cursor) -> SelectorWords:
    """What follows `sel`. It reads on as far as iproute2 does: one UPSPEC, and any src, dst, dev around it."""
    sel = SelectorWords()
    upspec_done = False
    count = 0
    while (word := cursor.peek()) is not None:
        if word.text in ("src", "dst"):
            _network(cursor, sel)
        elif word.text == "dev":
            cursor.skip()
            sel.dev = read_device(cursor, "sel dev")
        elif word.text == "uid" and cursor.form is not Form.COMMAND:
            cursor.skip()
            cursor.number("uid")
        elif word.text in _UPSPEC and not upspec_done:
            _upspec(cursor, sel)
            upspec_done = True
        else:
            break
        count += 1
    if not count:
        raise cursor.error("sel without a selector")
    if sel.src and sel.dst and len(sel.src) != len(sel.dst):
        raise cursor.error("src and dst of the selector are of different families")
    return sel


def read_device(cursor: Cursor, what: str) -> str:
    """A network device's name; `none` is none."""
    name = cursor.take(f"the device of {what}").text
    if not 0 < len(name) < 16 or "/" in name or not name.isprintable():
        raise cursor.error(f"{what}: no device has a name like that")
    return "" if name == "none" else name


def _network(cursor: Cursor, sel: SelectorWords) -> None:
    if cursor.take("sel").text == "src":
        sel.src, sel.src_prefix = cursor.prefix("sel src")
    else:
        sel.dst, sel.dst_prefix = cursor.prefix("sel dst")


def _upspec(cursor: Cursor, sel: SelectorWords) -> None:
    said = set()
    while (word := cursor.peek()) is not None and word.text in _UPSPEC:
        cursor.skip()
        said.add(word.text)
        if word.text == "proto":
            sel.proto = cursor.choice("sel proto", _PROTO_WORDS)
        elif word.text == "key":
            _gre_key(cursor, sel)
        else:
            _port(cursor, sel, word.text)
    if cursor.form is Form.DUMP:
        return  # what the kernel holds is printed as it is
    for words, protos in (({"sport", "dport"}, PORTED), ({"type", "code"}, TYPED), ({"key"}, {GRE})):
        if said & words and sel.proto not in protos:
            raise cursor.error(f"sel {sorted(said & words)[0]} makes no sense with protocol {sel.proto}")


def _port(cursor: Cursor, sel: SelectorWords, word: str) -> None:
    value = cursor.number(f"sel {word}", 8 if word in ("type", "code") else 16)
    # iproute2 takes `sport 0` for any port; what a dump prints always has a mask.
    mask = _FULL if value or word in ("type", "code") or cursor.form is Form.DUMP else 0
    if word in ("sport", "type"):
        sel.sport, sel.sport_mask = value, mask
    else:
        sel.dport, sel.dport_mask = value, mask


def _gre_key(cursor: Cursor, sel: SelectorWords) -> None:
    word = cursor.peek()
    dotted = word is not None and "." in word.text
    value = int.from_bytes(cursor.address("sel key")) if dotted else cursor.number("sel key")
    if value >> 32:
        raise cursor.error("sel key is not of 32 bits")
    sel.sport, sel.dport = value >> 16, value & _FULL
    sel.sport_mask = sel.dport_mask = _FULL
