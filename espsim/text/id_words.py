"""ID, MODE, LIMIT, ENCAP and ALGO as iproute2 reads them in a command (ip/ipxfrm.c, ip/xfrm_state.c of 6.1).

Each reader stops at the last word that is its own, so that `skip` leads to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.aead.suites import Algorithm
from espsim.core.address import Address
from espsim.core.echo import HIDDEN
from espsim.core.numbers import MODES
from espsim.sad.association import Direction, Encap, Offload
from espsim.text.algorithms import MAX_KEY
from espsim.text.iproute import FAMILIES_DIFFER, NO_FAMILY, Args, IpRefusal, matches, parse_number
from espsim.text.names import (
    ENCAP_TYPES,
    EXTRA_FLAGS,
    FLAGS,
    LIMIT_WORDS,
    XFRM_PROTOCOLS,
    flags_of,
    limit_of,
    proto_name,
)  # fmt: skip

ROUTE_OPTIMIZATION = (43, 60)
_COMP = XFRM_PROTOCOLS["comp"]


@dataclass(slots=True)
class Id:
    """`src ADDR dst ADDR proto XFRM-PROTO spi SPI`. What was not given is empty, or 0. Filters have prefix lengths."""

    src: Address = b""
    src_prefix: int = 0
    dst: Address = b""
    dst_prefix: int = 0
    proto: int = 0
    spi: int | None = None

    @property
    def family_length(self) -> int:
        """Bytes of an address; 0 where it has none."""
        return len(self.dst or self.src)

    def addresses(self, args: Args) -> tuple[Address, Address]:
        """(src, dst) of one family: zeros for what was not given, IPv4 where nothing gives a family."""
        length = self.family_length or (16 if args.family == 10 else 4)
        return self.src or bytes(length), self.dst or bytes(length)


def read_id(args: Args, *, loose: bool = False) -> Id:
    """xfrm_id_parse(), from this word on. `loose`: a filter, which may give any part of an ID."""
    found = Id()
    while True:
        match args.word:
            case "src":
                found.src, found.src_prefix = args.prefix(NO_FAMILY.format("src"))
            case "dst":
                found.dst, found.dst_prefix = args.prefix(NO_FAMILY.format("dst"))
            case "proto":
                found.proto = read_xfrm_proto(args)
            case "spi":
                found.spi = args.number("SPI value is invalid")
            case _:
                args.back()
                break
        if not args.more:
            break
        args.next()
    _check_id(args, found)
    if not loose and not found.proto:
        raise IpRefusal('Error: argument "XFRM-PROTO" is required')
    if not args.family and found.family_length:
        args.family = 2 if found.family_length == 4 else 10
    return found


def _check_id(args: Args, found: Id) -> None:
    if found.src and found.dst and len(found.src) != len(found.dst):
        raise args.wrong(FAMILIES_DIFFER)
    if not found.spi or not found.proto:
        return
    if found.proto in ROUTE_OPTIMIZATION:
        raise IpRefusal(f'"spi" is invalid with XFRM-PROTO value "{proto_name(found.proto)}"')
    if found.proto == _COMP and found.spi >> 16:
        raise IpRefusal('SPI value is too large with XFRM-PROTO value "comp"')


def read_xfrm_proto(args: Args) -> int:
    """The number of the XFRM-PROTO that the next word names."""
    name = args.next()
    if name not in XFRM_PROTOCOLS:
        raise args.wrong("XFRM-PROTO value is invalid")
    return XFRM_PROTOCOLS[name]


def read_mode(args: Args) -> str:
    """The whole name of the MODE that the next word gives or abbreviates."""
    word = args.next()
    for name in MODES.values():
        if matches(word, name):
            return name
    raise args.wrong("MODE value is invalid")


def read_direction(args: Args) -> Direction:
    """The next word, `in` or `out`."""
    word = args.next()
    if word not in ("in", "out"):
        raise args.wrong('value after "dir" is not "in" or "out"')
    return Direction(word)


def read_flag_bits(args: Args, known: tuple[str, ...], bits: int, why: str) -> int:
    """The FLAG-LIST that follows: names, or one number of `bits` bits in hex. Any other word is not read.

    The name with index i is bit i.
    """
    word = args.next()
    if len(word) > 2 and word.startswith("0x"):
        value = parse_number(word, bits)
        if value is None:
            raise args.wrong(why)
        return value
    found = 0
    while args.word in known:
        found |= 1 << known.index(args.word)
        if not args.more:
            return found
        args.next()
    args.back()
    return found


def read_state_flags(args: Args) -> set[str]:
    """`flag FLAG-LIST` (xfrm_state_flag_parse)."""
    return flags_of(read_flag_bits(args, FLAGS, 8, "FLAG value is invalid"), FLAGS)


def read_extra_flags(args: Args) -> set[str]:
    """`extra-flag EXTRA-FLAG-LIST` (xfrm_state_extra_flag_parse)."""
    return flags_of(read_flag_bits(args, EXTRA_FLAGS, 32, '"EXTRA-FLAG" is invalid'), EXTRA_FLAGS)


def read_limit(args: Args, limits: dict[str, int | None]) -> None:
    """`limit LIMIT NUMBER`."""
    word = args.next()
    if word not in LIMIT_WORDS:
        raise args.wrong("LIMIT value is invalid")
    name = LIMIT_WORDS[word]
    limits[name] = limit_of(name, args.number(f'value after "{word}" is invalid', 64))


def read_encap(args: Args) -> Encap:
    """`encap TYPE SPORT DPORT OADDR`."""
    kind = args.next()
    if kind not in ENCAP_TYPES.values():
        raise args.wrong("ENCAP-TYPE value is invalid")
    sport = args.number('SPORT value after "encap" is invalid', 16)
    dport = args.number('DPORT value after "encap" is invalid', 16)
    return Encap(kind, sport, dport, args.address())


def read_offload(args: Args) -> Offload:
    """`offload [crypto|packet] [dev DEV] dir in|out`."""
    word = args.next()
    packet = word == "packet"
    if word in ("crypto", "packet"):
        word = args.next()
    device = ""
    if word == "dev":
        device = args.device('value after "offload dev" is invalid')
        word = args.next()
    if word != "dir":
        raise args.wrong('value after "offload dir" is invalid')
    if args.next() not in ("in", "out"):
        raise args.wrong("DIR value is invalid")
    if not device:
        raise args.wrong('value after "offload dev" is invalid')
    return Offload(device, Direction(args.word), packet)


def read_algorithm(args: Args, kind: str) -> Algorithm:
    """ALGO, from this word, its type. A refusal never shows the key."""
    name = _required(args, "ALGO-NAME")
    if kind == "comp":
        return Algorithm(kind, name, b"")
    text = _required(args, "ALGO-KEYMAT")
    bits = 0
    if kind in ("aead", "auth-trunc"):
        what = "ALGO-ICV-LEN" if kind == "aead" else "ALGO-TRUNC-LEN"
        _required(args, what)
        args.back()
        bits = args.number(f"{what} value is invalid")
    return Algorithm(kind, name, _key(text), bits)


def _required(args: Args, what: str) -> str:
    if not args.more:
        raise IpRefusal(f'Error: argument "{what}" is required')
    return args.next()


def _key(text: str) -> bytes:
    """xfrm_algo_parse(): hex after 0x, a zero before an odd number of digits; anything else is the key itself."""
    key: bytes | None
    if len(text) <= 2 or not text.startswith("0x"):
        key = text.encode("utf-8", "surrogateescape")
    else:
        digits = text[2:]
        try:
            key = bytes.fromhex("0" * (len(digits) % 2) + digits) if not any(c.isspace() for c in digits) else None
        except ValueError:
            key = None
    if key is None:
        raise IpRefusal(f'Error: argument "{HIDDEN}" is wrong: ALGO-KEYMAT value is invalid')
    if len(key) > MAX_KEY:
        raise IpRefusal(f'Error: argument "{HIDDEN}" is wrong: ALGO-KEYMAT value makes buffer overflow\n')
    return key
