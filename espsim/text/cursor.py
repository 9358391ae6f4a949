"""Reads one pasted SA's words in order: numbers, addresses; its errors have file and line, and no keys.

What this does not do: read a command for a kernel. `iproute.Args` does, and refuses in iproute2's own sentences.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from espsim.core.address import Address, parse_address
from espsim.core.echo import hide_keys
from espsim.core.errors import InputError
from espsim.text.lexer import SaEntry, Style, Word, shown
from espsim.text.names import PROTOCOL_ALIASES, PROTOCOLS, is_device

_SEL_PROTOCOLS = {**PROTOCOLS, **PROTOCOL_ALIASES, "any": 0}
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]{1,32}|[0-9]{1,40})(\([0-9a-fA-FxX]+\))?", re.ASCII)


class Contradiction(InputError):  # noqa: N818 - the text itself is wrong, and no reader can know what was meant
    """What stops a reader that passes other mistakes over: a damaged key, one SA with two keys."""


class Cursor:
    """A place in an entry's words. `raw_key`: a key was given as a string, so a stray word may be a part of it."""

    def __init__(self, entry: SaEntry, where: str | None) -> None:
        self.entry = entry
        self.style = entry.style
        self.where = where
        self.raw_key = False
        self._words = entry.words
        self._at = 0

    def peek(self, ahead: int = 0) -> Word | None:
        """The word that comes next, or `ahead` words after it; None at the end."""
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else None

    def sees(self, *texts: str) -> bool:
        """Whether these words come next."""
        return all((word := self.peek(i)) is not None and word.text == text for i, text in enumerate(texts))

    def skip(self, count: int = 1) -> None:
        """Go past `count` words."""
        self._at += count

    def accept(self, *texts: str) -> bool:
        """Go past these words if they come next; whether they did."""
        seen = self.sees(*texts)
        if seen:
            self.skip(len(texts))
        return seen

    def take(self, what: str) -> Word:
        """The next word. InputError where there is none, with `what` as the missing thing."""
        word = self.peek()
        if word is None:
            raise self.error(f"{what} is missing")
        self._at += 1
        return word

    def leave_row(self, row: int, known: Container[str]) -> None:
        """Go to the next known word, or to the end of the row."""
        while (word := self.peek()) is not None and word.row == row and word.text not in known:
            self._at += 1

    @property
    def line(self) -> int:
        """The line of the last word read."""
        at = min(self._at, len(self._words)) - 1
        return self._words[at].line if at >= 0 else self.entry.line

    def error(self, what: str) -> InputError:
        """An InputError at the line of the last word read."""
        return InputError(what, where=self.where, line=self.line)

    def contradiction(self, what: str) -> Contradiction:
        """A Contradiction at the line of the last word read."""
        return Contradiction(what, where=self.where, line=self.line)

    def unknown(self, what: str, word: Word) -> InputError:
        """An InputError that names a word; only the word's length where it may belong to a key."""
        name = (
            f"of {len(word.text)} characters (not shown: it may be a part of a key)"
            if self.raw_key
            else shown(word.text)
        )
        return InputError(f"unknown {what} {name}", where=self.where, line=word.line)

    def number(self, what: str, bits: int = 32) -> int:
        """A number as strtoul reads it with base 0 (decimal, 0x, octal after a 0), or `4096(0x1000)` of `-s`."""
        text = self.take(f"the value of {what}").text
        if self.style is not Style.COMMAND:
            text = text.removesuffix(",")
        match = _NUMBER.fullmatch(text)
        try:
            value = _strtoul(match[1]) if match else None
        except ValueError:
            value = None
        if value is None:
            raise self.error(f"the value of {what} is not a number")
        if value >> bits:
            raise self.error(f"{what} {_short(text)} is not in 0 to {up_to(bits)}")
        return value

    def address(self, what: str) -> Address:
        """An IPv4 or IPv6 address, with no prefix length or with that of a whole address."""
        address, prefix = self.prefix(what)
        if prefix != 8 * len(address):
            raise self.error(f"{what} is a network, not an address (is this a policy?)")
        return address

    def prefix(self, what: str) -> tuple[Address, int]:
        """ADDR[/PLEN]: the address as written, host bits too, and its prefix length."""
        text = self.take(f"the address of {what}").text
        name, slash, length = text.partition("/")
        try:
            address = parse_address(name)
        except ValueError:
            raise self.error(f"{what} {shown(text)} is not an IP address") from None
        full = 8 * len(address)
        if not slash:
            return address, full
        if not re.fullmatch("[0-9]{1,3}", length) or int(length) > full:
            raise self.error(f"the prefix length of {what} is not in 0 to {full}")
        return address, int(length)

    def choice(self, what: str, choices: dict[str, int]) -> int:
        """The number of a name in `choices`, or a number of 8 bits."""
        word = self.peek()
        if word is not None and word.text in choices:
            self.skip()
            return choices[word.text]
        if word is not None and not _NUMBER.fullmatch(word.text):
            raise self.unknown(what, word)
        return self.number(what, 8)

    def device(self, what: str) -> str:
        """A network device's name. `none` gives ""."""
        name = self.take(f"the device of {what}").text
        if not is_device(name):
            raise self.error(f"{what}: no device can have this name")
        return "" if name == "none" else name

    # -- for selector.read_selector -----------------------------------------------------------------------------------

    @property
    def from_kernel(self) -> bool:
        """Whether the words are a dump's."""
        return self.style is Style.DUMP

    def next_word(self) -> str | None:
        """The word that comes next; None at the end."""
        word = self.peek()
        return None if word is None else word.text

    def skip_uid(self) -> bool:
        """Go past `uid N`; whether it was there."""
        if self.style is Style.COMMAND or not self.accept("uid"):
            return False
        self.number("uid")
        return True

    def sel_prefix(self, side: str) -> tuple[Address, int]:
        """The network that follows src or dst."""
        return self.prefix(f"sel {side}")

    def sel_number(self, word: str, bits: int) -> int:
        """The number that follows a word."""
        return self.number(f"sel {word}", bits)

    def sel_device(self) -> str:
        """The device that follows dev."""
        return self.device("sel dev")

    def sel_protocol(self) -> int:
        """The protocol that follows proto."""
        return self.choice("sel proto", _SEL_PROTOCOLS)

    def sel_key(self) -> int:
        """GRE's key."""
        dotted = "." in (self.next_word() or "")
        value = int.from_bytes(self.address("sel key")) if dotted else self.number("sel key")
        if value >> 32:
            raise self.error("sel key has more than 32 bits")
        return value

    def misplaced(self, words: Sequence[str], said: set[str], proto: int) -> InputError:
        """The error for a word that means nothing with this protocol."""
        return self.error(f"sel {min(said.intersection(words))} does not go with protocol {proto}")

    def families_differ(self) -> InputError:
        """The error for src and dst of two families."""
        return self.error("src and dst of the selector are of different families")


def _strtoul(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8) if text[0] == "0" else int(text)


def up_to(bits: int) -> str:
    """The highest number of `bits` bits, as a message shows it."""
    return str((1 << bits) - 1) if bits <= 32 else f"2^{bits}-1"


def _short(text: str) -> str:
    return text if len(text) <= 20 and hide_keys(text) == text else f"of {len(text)} characters"
