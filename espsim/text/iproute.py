"""Reads a command's words as iproute2 does: one argument after the other, refused in iproute2's own sentences.

The sentences are `ip`'s to the letter (lib/utils.c, ip/ipxfrm.c of 6.1): a batch fails here as it does with `ip`. A
word that may be a key is never shown.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from espsim.core.address import AF_INET, AF_INET6, Address
from espsim.core.echo import HIDDEN, KEYED, hide_keys, hide_words, names_algorithm, printable
from espsim.core.errors import EspsimError
from espsim.sad.association import Mark
from espsim.text.names import FULL_MASK, PROTOCOL_ALIASES, PROTOCOL_NAMES, PROTOCOLS, is_device

AF_UNSPEC = 0
INCOMPLETE = 'Command line is not complete. Try option "help"'
FAMILIES_DIFFER = 'the same address family is required between values after "src" and "dst"'
NO_FAMILY = 'value after "{}" has an unrecognized address family'

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
_MOST_DIGITS = 20  # of 2^64-1
_FAMILY_NAMES = {AF_UNSPEC: "any valid", AF_INET: "inet", AF_INET6: "inet6"}
_LENGTHS = {AF_UNSPEC: 0, AF_INET: 4, AF_INET6: 16}
_SEL_PROTOCOLS = {**PROTOCOLS, **PROTOCOL_ALIASES, "any": 0, "ip": 0}
_SEL_NAMES = PROTOCOL_NAMES | {0: "ip"}


class IpRefusal(EspsimError):  # noqa: N818 - it is an answer of `ip`, not a fault
    """`ip` itself refuses a line before any kernel sees it. `text` is what it prints, without the last line feed."""

    def __init__(self, text: str) -> None:
        self.text = printable(hide_keys(text), keep="\n")
        super().__init__(self.text)


class Args:
    """A place in the words of one command, as iproute2's argc and argv. It has no repr: it may hold keys.

    `family` is preferred_family: that of `-4` or `-6`, or of the command's first addresses.
    """

    def __init__(self, words: Iterable[str], family: int = AF_UNSPEC) -> None:
        self.words = list(words)
        self.family = family
        self._at = 0
        self._hidden: dict[str, str] | None = None  # made for the first error

    @property
    def left(self) -> bool:
        """Whether there is a word here."""
        return self._at < len(self.words)

    @property
    def more(self) -> bool:
        """NEXT_ARG_OK: whether another word follows this one."""
        return self._at + 1 < len(self.words)

    @property
    def word(self) -> str:
        """The word here."""
        return self.words[self._at]

    @property
    def ahead(self) -> str:
        """The word that follows this one; "" where there is none."""
        return self.words[self._at + 1] if self.more else ""

    def skip(self) -> None:
        """Go to the next word, or to the end."""
        self._at += 1

    def back(self) -> None:
        """PREV_ARG: go back one word."""
        self._at -= 1

    def next(self) -> str:
        """NEXT_ARG: the word that follows; IpRefusal where there is none."""
        self._at += 1
        if not self.left:
            raise IpRefusal(INCOMPLETE)
        return self.word

    # -- refusals ------------------------------------------------------------------------------------------------------

    def seen(self, word: str) -> str:
        """A word as an error may show it. A word that may be a key, or a part of one, is not shown."""
        if self._hidden is None:
            both = zip(self.words, hide_words(self.words), strict=True)
            self._hidden = {word: shown for word, shown in both if shown != word}
        if word in self._hidden:
            return self._hidden[word]
        keyed = self._hidden or any(word in KEYED for word in self.words)
        return HIDDEN if keyed and _doubtful(word) and not _plain(word) else hide_keys(word)

    def wrong(self, why: str, word: str | None = None) -> IpRefusal:
        """The refusal of iproute2's invarg()."""
        return IpRefusal(f'Error: argument "{self.seen(self.word if word is None else word)}" is wrong: {why}')

    def duplicate(self, key: str) -> IpRefusal:
        """The refusal of iproute2's duparg()."""
        return IpRefusal(f'Error: duplicate "{key}": "{self.seen(self.word)}" is the second value.')

    # -- values --------------------------------------------------------------------------------------------------------

    def number(self, why: str, bits: int = 32) -> int:
        """The number that follows, as get_u8, get_u32 and so on read it with base 0. IpRefusal with `why`: none."""
        value = parse_number(self.next(), bits)
        if value is None:
            raise self.wrong(why)
        return value

    def prefix(self, why: str) -> tuple[Address, int]:
        """get_prefix(): the ADDR[/PLEN] that follows, of the preferred family. IpRefusal with `why`: no family."""
        text = self.next()
        found = _prefix(text, self.family)
        if found is None:
            raise IpRefusal(f'Error: {_FAMILY_NAMES[self.family]} prefix is expected rather than "{self.seen(text)}".')
        if not found[0]:
            raise self.wrong(why)
        return found

    def address(self) -> Address:
        """get_addr(): the address that follows, of any family."""
        text = self.next()
        found = None if "/" in text else _prefix(text, AF_UNSPEC)
        if found is None:
            raise IpRefusal(f'Error: any valid address is expected rather than "{self.seen(text)}".')
        return found[0]

    def mark(self) -> Mark:
        """`mark MARK [mask MASK]`, from this word, `mark` (xfrm_parse_mark)."""
        value = self.number("MARK value is invalid\n")
        if not self.more:
            return Mark(value, FULL_MASK)
        if self.next() == "mask":
            return Mark(value, self.number("MASK value is invalid\n"))
        self.back()
        return Mark(value, FULL_MASK)

    def device(self, why: str) -> str:
        """The device's name that follows. IpRefusal with `why` where no device can have it."""
        name = self.next()
        if not is_device(name):
            raise self.wrong(why)
        return name

    # -- for selector.read_selector ------------------------------------------------------------------------------------

    from_kernel = False

    def next_word(self) -> str | None:
        """The word that follows this one; None at the end."""
        return self.words[self._at + 1] if self.more else None

    def skip_uid(self) -> bool:
        """False: no command has `uid`."""
        return False

    def sel_prefix(self, side: str) -> tuple[Address, int]:
        """The network that follows src or dst."""
        return self.prefix(NO_FAMILY.format(side))

    def sel_number(self, word: str, bits: int) -> int:
        """The number that follows a word."""
        return self.number(f'value after "{word}" is invalid', bits)

    def sel_device(self) -> str:
        """The device that follows dev. `none` gives ""."""
        name = self.device("DEV value is invalid")
        return "" if name == "none" else name

    def sel_protocol(self) -> int:
        """The protocol that follows proto, by name or number."""
        word = self.next()
        value = _SEL_PROTOCOLS.get(word, _SEL_PROTOCOLS.get(word.lower()))
        if value is None:
            value = parse_number(word, 8)
        if value is None:
            raise self.wrong("PROTO value is invalid")
        return value

    def sel_key(self) -> int:
        """GRE's key."""
        word = self.next()
        if "." in word:
            self.back()
            return int.from_bytes(self.address()[:4])
        value = parse_number(word, 32)
        if value is None:
            raise IpRefusal('value after "key" is invalid')
        return value

    def misplaced(self, words: Sequence[str], said: set[str], proto: int) -> IpRefusal:
        """The refusal of words that mean nothing with this protocol."""
        what = " and ".join(f'"{word}"' for word in words) + (" are" if len(words) > 1 else " is")
        return IpRefusal(f'{what} invalid with PROTO value "{_SEL_NAMES.get(proto, str(proto))}"')

    def families_differ(self) -> IpRefusal:
        """The refusal of src and dst of two families."""
        return self.wrong(FAMILIES_DIFFER)


def not_modelled(what: str) -> IpRefusal:
    """The refusal of what `ip` knows and espsim does not. It names espsim, because `ip` would not refuse."""
    return IpRefusal(f"espsim does not model {what}")


def matches(word: str, name: str) -> bool:
    """iproute2's matches(): whether a word abbreviates a name."""
    return bool(word) and name.startswith(word)


def parse_number(text: str, bits: int) -> int | None:
    """The whole text as strtoull reads it with base 0. None: it is not a number, or has more than `bits` bits."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    digits = found[2]
    if digits[0] != "0" and len(digits) > _MOST_DIGITS:
        return None  # int() itself refuses thousands of digits
    value = int(digits, 0) if digits[:2] in ("0x", "0X") else int(digits, 8 if digits[0] == "0" else 10)
    if value >> 64:
        return None
    if found[1] == "-":
        value = -value & (1 << 64) - 1
    return None if value >> bits else value


def _prefix(text: str, family: int) -> tuple[Address, int] | None:
    """An address and its prefix length. The address is empty for `any` without a family. None: not an address."""
    if text in ("default", "any", "all"):
        return bytes(_LENGTHS[family]), 0
    name, slash, length = text.partition("/")
    address = _ipv6(name) if ":" in name else _ipv4(name)
    if address is None or (family and len(address) != _LENGTHS[family]):
        return None
    full = 8 * len(address)
    if not slash:
        return address, full
    plen = _prefix_length(length)
    return None if plen is None or plen > full else (address, plen)


def _prefix_length(text: str) -> int | None:
    """get_netmask(): a number, or an IPv4 mask without holes."""
    plen = parse_number(text, 32)
    if plen is not None or "." not in text:
        return plen
    mask = _ipv4(text)
    bits = "" if mask is None else f"{int.from_bytes(mask):032b}"
    return bits.count("1") if bits and "01" not in bits else None


def _ipv4(text: str) -> Address | None:
    """get_addr_ipv4(): up to four numbers; those left out are 0."""
    parts = text.split(".")
    if len(parts) > 4:
        return None
    numbers = [parse_number(part, 8) for part in parts]
    if None in numbers:
        return None
    return bytes(n or 0 for n in numbers).ljust(4, b"\0")


def _ipv6(text: str) -> Address | None:
    try:
        return None if "%" in text else ipaddress.IPv6Address(text).packed
    except ValueError:
        return None


def _doubtful(word: str) -> bool:
    """Whether a word next to a key may be a part of it: it is hex digits, or long and not an algorithm's name."""
    return (len(word) > 15 and not names_algorithm(word)) or re.fullmatch(r"(0[xX])?[0-9a-fA-F]{6,}", word) is not None


def _plain(word: str) -> bool:
    """Whether it is an address or a decimal number: not a key, although it may be long."""
    return word.isdecimal() or parse_number(word, 32) is not None or _prefix(word, AF_UNSPEC) is not None
