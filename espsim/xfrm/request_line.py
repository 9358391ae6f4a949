"""One line of the request language: a verb, then `key=value` words, and the values that each may have.

    VERB key=value (an aside) key={name:number,...}    # comment

Numbers are decimal or 0x. Before a kernel is asked, every key is checked: the verb takes it, it is given once, and its
value is in range. What netlink can't carry is an InputError. What a kernel would refuse is left to the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from espsim.core.address import Address, family, parse_address
from espsim.core.echo import did_you_mean
from espsim.core.errors import InputError
from espsim.core.numbers import DIRECTIONS, MODE_IPTFS, MODE_OF
from espsim.netlink.request import EsnState, ReplayVal
from espsim.sad.association import ANY, NO_MARK, Limits, Mark, Selector
from espsim.text.cursor import up_to
from espsim.text.lexer import MAX_LINE, shown
from espsim.text.names import EXTRA_FLAGS, FLAGS, FULL_MASK, XFRM_PROTOCOLS, flags_of, limit_of

IPSEC_ANY = 255
PROTOCOLS = {**XFRM_PROTOCOLS, "any": IPSEC_ANY, "udp": 17}

_VERB = re.compile("[A-Z][A-Z_]{1,15}", re.ASCII)
_NUMBER = re.compile("0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_HEX = re.compile("(0[xX])?([0-9a-fA-F]{2}){0,512}", re.ASCII)
MODES = MODE_OF | {"iptfs": MODE_IPTFS}
_DIRECTIONS = {name: number for number, name in DIRECTIONS.items()}
_ESN = ("bmp_len", "replay_window", "seq", "seq_hi", "oseq", "oseq_hi")
_LIMITS = tuple(f"{hardness}_{unit}" for unit in ("bytes", "packets", "add", "use") for hardness in ("soft", "hard"))


def split_line(text: str, where: str | None, number: int) -> tuple[str, list[str]] | None:
    """(verb, the words after it). None: the line is empty or a comment. InputError where it can't be a request."""
    if len(text) > MAX_LINE:
        raise InputError(f"a line of {len(text)} characters; {MAX_LINE} is the limit", where=where, line=number)
    if "\0" in text:
        raise InputError("a NUL byte: this is not text", where=where, line=number)
    words: list[str] = []
    aside = False
    for word in text.split():
        if word.startswith("#"):
            break
        aside = aside or word.startswith("(")
        if not aside:
            words.append(word)
        aside = aside and not word.endswith(")")
    if not words:
        return None
    if not _VERB.fullmatch(words[0]):
        raise InputError(f"unknown request {shown(words[0])}", where=where, line=number)
    return words[0], words[1:]


@dataclass(slots=True)
class RequestWords:
    """The key=value words of one request. Its repr shows names only: values may be keys."""

    values: dict[str, str]
    where: str | None
    line: int

    def __repr__(self) -> str:
        return f"RequestWords({', '.join(self.values)})"

    @classmethod
    def parse(cls, words: list[str], known: Collection[str], where: str | None, line: int) -> RequestWords:
        """The words. Each key must be known and given once. A key without `=` is a flag, such as `dump`."""
        values: dict[str, str] = {}
        for word in words:
            key, _, value = word.partition("=")
            if key not in known:
                like = did_you_mean(key, known, f"known: {', '.join(sorted(known))}")
                raise InputError(f"unknown word {shown(key)}; {like}", where=where, line=line)
            if key in values:
                raise InputError(f"{key} is given twice", where=where, line=line)
            values[key] = value
        return cls(values, where, line)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, what: str) -> InputError:
        """An InputError at this line."""
        return InputError(what, where=self.where, line=self.line)

    def text(self, key: str) -> str:
        """A word's value. InputError where it is missing."""
        value = self.values.get(key)
        if value is None:
            raise self.error(f"{key}= is missing")
        return value

    # -- numbers and addresses ----------------------------------------------------------------------------------------

    def number(self, key: str, default: int | None = None, bits: int = 32) -> int:
        """A number of `bits` bits, decimal or 0x. `default` where the word is missing."""
        if default is not None and key not in self.values:
            return default
        return self.parse_number(key, self.text(key), bits)

    def optional(self, key: str, bits: int = 32) -> int | None:
        """A number. None where the word is missing."""
        return self.number(key, bits=bits) if key in self.values else None

    def parse_number(self, key: str, text: str, bits: int = 32) -> int:
        """A value's text as a number."""
        if not _NUMBER.fullmatch(text):
            raise self.error(f"the value of {key} is not a number (decimal or 0x)")
        value = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
        if value >> bits:
            raise self.error(f"{key} is not in 0 to {up_to(bits)}")
        return value

    def numbers(self, key: str, count: int, bits: int = 32) -> list[int]:
        """`A,B,...`: exactly `count` numbers."""
        parts = self.text(key).split(",")
        if len(parts) != count:
            raise self.error(f"{key} takes {count} numbers, not {len(parts)}")
        return [self.parse_number(key, part, bits) for part in parts]

    def list_of_numbers(self, key: str, bits: int = 32) -> list[int]:
        """`A,B,...`: numbers, as many as there are."""
        return [self.parse_number(key, part, bits) for part in self.text(key).split(",")]

    def seconds(self, key: str) -> float:
        """Seconds, with or without a fraction."""
        text = self.text(key)
        if not _SECONDS.fullmatch(text):
            raise self.error(f"the value of {key} is not a number of seconds")
        return float(text)

    def address(self, key: str) -> Address:
        """An IPv4 or IPv6 address."""
        text = self.text(key)
        try:
            return parse_address(text)
        except ValueError:
            raise self.error(f"{key} {shown(text)} is not an IP address") from None

    def addresses(self) -> tuple[Address, Address]:
        """`src=` and `dst=`, of one family."""
        src, dst = self.address("src"), self.address("dst")
        if len(src) != len(dst):
            raise self.error("src and dst are of different families")
        return src, dst

    # -- names --------------------------------------------------------------------------------------------------------

    def choice(self, key: str, names: Mapping[str, int], default: int | None = None) -> int:
        """A name of a list, or a number of 8 bits."""
        if default is not None and key not in self.values:
            return default
        text = self.text(key)
        if text in names:
            return names[text]
        if not _NUMBER.fullmatch(text):
            raise self.error(f"unknown {key} {shown(text)}; known: {', '.join(names)}, or a number")
        return self.parse_number(key, text, 8)

    def protocol(self, default: int | None = None) -> int:
        """`proto=`: esp, ah, comp, route2, hao, any (255), or a number."""
        return self.choice("proto", PROTOCOLS, default)

    def mode(self) -> int:
        """`mode=`: a name or a number; transport where it is missing."""
        return self.choice("mode", MODES, 0)

    def direction(self) -> int | None:
        """`dir=`: in, out or a number. None where it is missing."""
        return self.choice("dir", _DIRECTIONS) if "dir" in self.values else None

    def mark(self, key: str = "mark") -> Mark:
        """V/M, or V with a full mask. No mark where the word is missing."""
        if key not in self.values:
            return NO_MARK
        value, slash, mask = self.text(key).partition("/")
        return Mark(self.parse_number(key, value), self.parse_number(key, mask) if slash else FULL_MASK)

    def flags(self) -> frozenset[str]:
        """`flags=A,B`: names of XFRM_STATE_*, with - or _, or their bits as a number."""
        return self._flags("flags", FLAGS)

    def extra_flags(self) -> frozenset[str]:
        """`extra_flags=A,B`: names of XFRM_SA_XFLAG_*, with - or _, or their bits as a number."""
        return self._flags("extra_flags", EXTRA_FLAGS)

    def _flags(self, key: str, known: tuple[str, ...]) -> frozenset[str]:
        flags: set[str] = set()
        for word in self.values.get(key, "").split(",") if self.values.get(key) else ():
            name = word.replace("_", "-")
            if name in known:
                flags.add(name)
                continue
            if not _NUMBER.fullmatch(word):
                raise self.error(f"unknown {key} {shown(word)}; known: {', '.join(known)}, or their bits")
            flags |= flags_of(self.parse_number(key, word, len(known)), known)
        return frozenset(flags)

    def hexadecimal(self, key: str) -> bytes | None:
        """Bytes in hex. None where the word is missing. An error never shows them."""
        if key not in self.values:
            return None
        text = self.values[key]
        if not _HEX.fullmatch(text):
            raise self.error(f"{key} is not hex of whole bytes, at most 512 ({len(text)} characters)")
        return bytes.fromhex(text.removeprefix("0x").removeprefix("0X"))

    # -- lists --------------------------------------------------------------------------------------------------------

    def braces(self, key: str, known: Collection[str], bits: int = 32) -> dict[str, int]:
        """`{name:number,...}`."""
        result: dict[str, int] = {}
        for name, value in self._pairs(key, "number").items():
            if name not in known:
                raise self.error(f"{key}: unknown name {shown(name)}; known: {', '.join(known)}")
            result[name] = self.parse_number(f"{name} of {key}", value, bits)
        return result

    def selector(self, key: str) -> Selector:
        """`{src:A/N,dst:B/N}`, one of them or both. The empty selector where the word is missing."""
        if key not in self.values:
            return ANY
        found = {name: self._prefix(f"{name} of {key}", text) for name, text in self._sides(key).items()}
        src, dst = found.get("src", (b"", 0)), found.get("dst", (b"", 0))
        if src[0] and dst[0] and len(src[0]) != len(dst[0]):
            raise self.error(f"{key}: src and dst are of different families")
        return Selector(*src, *dst)

    def selector_with_family(self, key: str) -> tuple[Selector, int]:
        """The selector, and the family in the message: `family:N`, else that of its addresses, else 0."""
        if key not in self.values:
            return ANY, 0
        selector = self.selector(key)
        addresses = selector.src or selector.dst
        said = self._pairs(key, "address/prefix").get("family")
        if said is not None:
            return selector, self.parse_number(f"family of {key}", said, 16)
        return selector, family(addresses) if addresses else 0

    def _sides(self, key: str) -> dict[str, str]:
        """The prefixes of a selector as text."""
        sides = self._pairs(key, "address/prefix")
        for name in sides:
            if name not in ("src", "dst", "family"):
                raise self.error(f"{key}: unknown name {shown(name)}; known: src, dst, family")
        return {name: text for name, text in sides.items() if name != "family" and text}  # `src:` without a value: any

    def _prefix(self, key: str, text: str) -> tuple[Address, int]:
        """An address and a prefix length. Netlink takes any octet for the length."""
        address, slash, length = text.partition("/")
        try:
            packed = parse_address(address)
        except ValueError:
            raise self.error(f"{key}: {shown(address)} is not an IP address") from None
        return packed, self.parse_number(f"the prefix length of {key}", length, 8) if slash else 8 * len(packed)

    def _pairs(self, key: str, kind: str) -> dict[str, str]:
        """`{name:value,...}`, each name once. `kind` names the values in errors."""
        text = self.text(key)
        if len(text) < 2 or text[0] != "{" or text[-1] != "}":
            raise self.error(f"{key} takes {{name:{kind},...}}")
        result: dict[str, str] = {}
        for part in text[1:-1].split(",") if text != "{}" else ():
            name, _, value = part.partition(":")
            if name in result:
                raise self.error(f"{key}: {name} is given twice")
            result[name] = value
        return result

    def esn(self) -> EsnState | None:
        """`esn={bmp_len:N,replay_window:N,seq:N,seq_hi:N,oseq:N,oseq_hi:N}`: XFRMA_REPLAY_ESN_VAL."""
        return EsnState(**self.braces("esn", _ESN)) if "esn" in self.values else None

    def replay_val(self) -> ReplayVal | None:
        """`replay_val=OSEQ,SEQ,BITMAP`: XFRMA_REPLAY_VAL."""
        return ReplayVal(*self.numbers("replay_val", 3)) if "replay_val" in self.values else None

    def limits(self) -> Limits:
        """`limits={soft_packets:N,...}`. 2^64-1 (XFRM_INF) and 0 seconds are no limit."""
        if "limits" not in self.values:
            return Limits()
        said = self.braces("limits", _LIMITS, 64)
        return Limits(**{name: limit_of(name, value) for name, value in said.items()})
