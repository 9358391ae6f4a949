"""SELECTOR := [ src ADDR[/PLEN] ] [ dst ADDR[/PLEN] ] [ dev DEV ] [ UPSPEC ] (xfrm_selector_parse in ip/ipxfrm.c)."""

from __future__ import annotations

from dataclasses import dataclass

from espsim.core.address import Address
from espsim.sad.association import Selector
from espsim.text.cursor import Cursor
from espsim.text.iproute import Args
from espsim.text.names import GRE, PORTED, TYPED

_UPSPEC = ("proto", "sport", "dport", "type", "code", "key")
_TYPED = ("type", "code")
_PLACES = ((("sport", "dport"), PORTED), (_TYPED, TYPED), (("key",), {GRE}))
_FULL = 0xFFFF


@dataclass(slots=True)
class SelectorWords:
    """A selector as the text states it, before its SA is known. An address that is not given is empty."""

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
        """The Selector. `outer_length`: bytes of an address of the SA.

        An address with prefix length 0 states only its family. It is kept only if that is not the SA's family, so that
        a dump's `sel src 0.0.0.0/0 dst 0.0.0.0/0` is `Selector()`.
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


def read_selector(source: Cursor | Args) -> SelectorWords:
    """What follows `sel`, as far as iproute2 reads: one UPSPEC, with src, dst and dev before or after. May be empty.

    `source` raises its own error for a wrong value: `Cursor` InputError, `Args` iproute2's sentence.
    """
    sel = SelectorWords()
    upspec = False
    while (word := source.next_word()) is not None:
        if word == "src":
            source.skip()
            sel.src, sel.src_prefix = source.sel_prefix(word)
        elif word == "dst":
            source.skip()
            sel.dst, sel.dst_prefix = source.sel_prefix(word)
        elif word == "dev":
            source.skip()
            sel.dev = source.sel_device()
        elif word in _UPSPEC and not upspec:
            upspec = True
            _upspec(source, sel)
        elif not source.skip_uid():
            break
    if sel.src and sel.dst and len(sel.src) != len(sel.dst):
        raise source.families_differ()
    return sel


def _upspec(source: Cursor | Args, sel: SelectorWords) -> None:
    said: set[str] = set()
    while (word := source.next_word()) is not None and word in _UPSPEC:
        source.skip()
        said.add(word)
        if word == "proto":
            sel.proto = source.sel_protocol()
        elif word == "key":
            value = source.sel_key()
            sel.sport, sel.dport = value >> 16, value & _FULL
            sel.sport_mask = sel.dport_mask = _FULL
        else:
            _port(source, sel, word)
    for words, protos in _PLACES if not source.from_kernel else ():
        if not said.isdisjoint(words) and sel.proto not in protos:
            raise source.misplaced(words, said, sel.proto)


def _port(source: Cursor | Args, sel: SelectorWords, word: str) -> None:
    value = source.sel_number(word, 8 if word in _TYPED else 16)
    # In a command `sport 0` is any port. A dump prints only ports that have a mask.
    mask = _FULL if value or word in _TYPED or source.from_kernel else 0
    if word in ("sport", "type"):
        sel.sport, sel.sport_mask = value, mask
    else:
        sel.dport, sel.dport_mask = value, mask
