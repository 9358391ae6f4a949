"""ID, MODE, LIMIT, ENCAP, ALGO and SELECTOR as iproute2 reads them in a command (ip/ipxfrm.c, ip/xfrm_state.c of 6.1).

Reading stops at the word before the first that is not its own, so that `step` leads on to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.aead.suites import Algorithm
from espsim.core.address import Address
from espsim.core.echo import HIDDEN
from espsim.sad.association import Direction, Encap, Offload
from espsim.text.algorithms import MAX_KEY
from espsim.text.iproute import INCOMPLETE, Args, IpRefusal, matches, parse_number
from espsim.text.names import (
    ENCAP_TYPES,
    EXTRA_FLAGS,
    FLAGS,
    GRE,
    INFINITE,
    LIMIT_WORDS,
    PORTED,
    PROTOCOL_ALIASES,
    PROTOCOLS,
    TYPED,
    XFRM_PROTOCOLS,
)  # fmt: skip
from espsim.text.selector import SelectorWords

MODE_WORDS = {"transport": 0, "tunnel": 1, "ro": 2, "in_trigger": 3, "beet": 4}
FAMILIES_DIFFER = 'the same address family is required between values after "src" and "dst"'
NO_FAMILY = 'value after "{}" has an unrecognized address family'
ROUTE_OPTIMIZATION = (43, 60)

_PROTO_WORDS = {**PROTOCOLS, **PROTOCOL_ALIASES, "any": 0, "ip": 0}
_PROTO_NAMES = {number: name for name, number in PROTOCOLS.items()} | {0: "ip"}
_XFRM_NAMES = {number: name for name, number in XFRM_PROTOCOLS.items()}
_FULL = 0xFFFF
_COMP = XFRM_PROTOCOLS["comp"]


def proto_name(proto: int) -> str:
    """strxf_xfrmproto()."""
    return _XFRM_NAMES.get(proto, str(proto))


@dataclass(slots=True)
class Id:
    """`src ADDR dst ADDR proto XFRM-PROTO spi SPI`; what was not said is empty, and 0. Prefix lengths for filters."""

    src: Address = b""
    src_prefix: int = 0
    dst: Address = b""
    dst_prefix: int = 0
    proto: int = 0
    spi: int | None = None

    @property
    def family_length(self) -> int:
        """Bytes of its addresses, 0 where it has none."""
        return len(self.dst or self.src)

    def addresses(self, args: Args) -> tuple[Address, Address]:
        """(src, dst) of one family: zeros for what was not said, IPv4 where nothing says a family."""
        length = self.family_length or (16 if args.family == 10 else 4)
        return self.src or bytes(length), self.dst or bytes(length)


def read_id(args: Args, *, loose: bool = False) -> Id:
    """xfrm_id_parse(): from this word on. `loose`: a filter, which may say any part of it."""
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
    """XFRM-PROTO of the word that follows, by name."""
    name = args.next()
    if name not in XFRM_PROTOCOLS:
        raise args.wrong("XFRM-PROTO value is invalid")
    return XFRM_PROTOCOLS[name]


def read_mode(args: Args) -> int:
    """MODE of the word that follows, abbreviated or not."""
    word = args.next()
    for name, number in MODE_WORDS.items():
        if matches(word, name):
            return number
    raise args.wrong("MODE value is invalid")


def read_direction(args: Args) -> int:
    """`in` or `out` of the word that follows, as XFRM_SA_DIR_*."""
    word = args.next()
    if word not in ("in", "out"):
        raise args.wrong('value after "dir" is not "in" or "out"')
    return 1 if word == "in" else 2


def read_flags(args: Args, known: tuple[str, ...], bits: int, why: str) -> frozenset[str]:
    """FLAG-LIST as names (`read_flag_bits`). Bits without a name are dropped."""
    value = read_flag_bits(args, known, bits, why)
    return frozenset(name for i, name in enumerate(known) if value >> i & 1)


def read_flag_bits(args: Args, known: tuple[str, ...], bits: int, why: str) -> int:
    """FLAG-LIST of the words that follow: names, or one number of `bits` bits in hex. A foreign word is left.

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


def read_state_flags(args: Args) -> frozenset[str]:
    """`flag FLAG-LIST` (xfrm_state_flag_parse)."""
    return read_flags(args, FLAGS, 8, "FLAG value is invalid")


def read_extra_flags(args: Args) -> frozenset[str]:
    """`extra-flag EXTRA-FLAG-LIST` (xfrm_state_extra_flag_parse)."""
    return read_flags(args, EXTRA_FLAGS, 32, '"EXTRA-FLAG" is invalid')


def read_limit(args: Args, limits: dict[str, int | None]) -> None:
    """`limit LIMIT NUMBER`: XFRM_INF is no limit, and neither are 0 seconds."""
    word = args.next()
    if word not in LIMIT_WORDS:
        raise args.wrong("LIMIT value is invalid")
    name = LIMIT_WORDS[word]
    value = args.number(f'value after "{word}" is invalid', 64)
    unlimited = value == INFINITE or (value == 0 and name.endswith(("add", "use")))
    limits[name] = None if unlimited else value


def read_encap(args: Args) -> Encap:
    """`encap TYPE SPORT DPORT OADDR`."""
    kind = args.next()
    if kind not in ENCAP_TYPES.values():
        raise args.wrong("ENCAP-TYPE value is invalid")
    sport = args.number('SPORT value after "encap" is invalid', 16)
    dport = args.number('DPORT value after "encap" is invalid', 16)
    return Encap(kind, sport, dport, args.address())


def read_offload(args: Args) -> tuple[str, int, bool]:
    """`offload [crypto|packet] [dev DEV] dir in|out`: device, direction as XFRM_SA_DIR_*, whether packet offload."""
    word = args.next()
    packet = word == "packet"
    if word in ("crypto", "packet"):
        word = args.next()
    device = ""
    if word == "dev":
        device = read_device(args, 'value after "offload dev" is invalid')
        word = args.next()
    if word != "dir":
        raise args.wrong('value after "offload dir" is invalid')
    if args.next() not in ("in", "out"):
        raise args.wrong("DIR value is invalid")
    if not device:
        raise args.wrong('value after "offload dev" is invalid')
    return device, 1 if args.word == "in" else 2, packet


def read_device(args: Args, why: str) -> str:
    """A device's name: any that a device could have, because nobody here knows which there are."""
    name = args.next()
    if not 0 < len(name) < 16 or "/" in name or not name.isprintable():
        raise args.wrong(why)
    return name


def read_algorithm(args: Args, kind: str) -> Algorithm:
    """ALGO, this word being its type. What is refused never shows the key."""
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


def offload_of(found: tuple[str, int, bool]) -> Offload:
    """The Offload of what `read_offload` found."""
    device, direction, packet = found
    return Offload(device, Direction.IN if direction == 1 else Direction.OUT, packet)


# -- SELECTOR ---------------------------------------------------------------------------------------------------------


def read_selector(args: Args) -> SelectorWords:
    """xfrm_selector_parse(), this word being its first: src, dst, dev, and one UPSPEC among them."""
    sel = SelectorWords()
    upspec = False
    while True:
        if args.word == "src":
            sel.src, sel.src_prefix = args.prefix(NO_FAMILY.format("src"))
        elif args.word == "dst":
            sel.dst, sel.dst_prefix = args.prefix(NO_FAMILY.format("dst"))
        elif args.word == "dev":
            device = read_device(args, "DEV value is invalid")
            sel.dev = "" if device == "none" else device
        elif upspec:
            args.back()
            break
        else:
            upspec = True
            _upspec(args, sel)
        if not args.more:
            break
        args.next()
    if sel.src and sel.dst and len(sel.src) != len(sel.dst):
        raise args.wrong(FAMILIES_DIFFER)
    return sel


def _upspec(args: Args, sel: SelectorWords) -> None:
    said = set()
    while True:
        word = args.word
        if word == "proto":
            sel.proto = _proto(args)
        elif word in ("sport", "dport", "type", "code"):
            _port(args, sel, word)
        elif word == "key":
            _gre_key(args, sel)
        else:
            args.back()
            break
        said.add(word)
        if not args.more:
            break
        args.next()
    name = _PROTO_NAMES.get(sel.proto, str(sel.proto))
    for words, protos, what in (
        ({"sport", "dport"}, PORTED, '"sport" and "dport" are'), ({"type", "code"}, TYPED, '"type" and "code" are'),
        ({"key"}, {GRE}, '"key" is'),
    ):  # fmt: skip
        if said & words and sel.proto not in protos:
            raise IpRefusal(f'{what} invalid with PROTO value "{name}"')


def _proto(args: Args) -> int:
    word = args.next()
    value = _PROTO_WORDS.get(word, _PROTO_WORDS.get(word.lower()))
    if value is None:
        value = parse_number(word, 8)
    if value is None:
        raise args.wrong("PROTO value is invalid")
    return value


def _port(args: Args, sel: SelectorWords, word: str) -> None:
    typed = word in ("type", "code")
    value = args.number(f'value after "{word}" is invalid', 8 if typed else 16)
    mask = _FULL if value or typed else 0  # `sport 0` is any port
    if word in ("sport", "type"):
        sel.sport, sel.sport_mask = value, mask
    else:
        sel.dport, sel.dport_mask = value, mask


def _gre_key(args: Args, sel: SelectorWords) -> None:
    if not args.more:
        raise IpRefusal(INCOMPLETE)
    word = args.next()
    if "." in word:
        args.back()
        value: int | None = int.from_bytes(args.address()[:4])
    else:
        value = parse_number(word, 32)
    if value is None:
        raise IpRefusal('value after "key" is invalid')
    sel.sport, sel.dport = value >> 16, value & _FULL
    sel.sport_mask = sel.dport_mask = _FULL
