"""From a line's words to what netlink carries: SaRequest, SpiRequest, StateKey.

    aead=NAME key=HEX icv=BITS      crypt=NAME crypt_key=HEX      auth=NAME auth_key=HEX trunc=BITS      comp=NAME

A key that is not given is zeros of the algorithm's length. An ICV length that is not given is the suite's longest.
`auth` without `trunc` is XFRMA_ALG_AUTH, for which the kernel takes its own length. An unknown algorithm gets no key:
the kernel answers ENOSYS before it looks at one.
"""

from __future__ import annotations

from espsim.aead.linux_names import linux_hash, linux_key_sizes, linux_name
from espsim.aead.suites import AEADS, Algorithm
from espsim.netlink.request import IptfsRequest, SaRequest, SpiRequest, StateKey
from espsim.sad.association import Direction, Encap, Mark, Offload
from espsim.text.names import ENCAP_TYPES
from espsim.xfrm.request_line import PROTOCOLS, RequestWords

_TUPLE = ("src", "dst", "proto", "mode", "reqid", "mark", "if_id", "pcpu", "dir", "seq", "family")
SPI_WORDS = frozenset({*_TUPLE, "min", "max"})
SA_WORDS = frozenset(
    {
        *_TUPLE, "spi", "flags", "extra_flags", "replay_window", "replay_val", "esn", "encap", "mtimer", "offload",
        "aead", "key", "icv", "crypt", "crypt_key", "auth", "auth_key", "trunc", "comp", "limits",
        "nat_keepalive", "tfcpad", "coa", "output_mark", "set_mark", "sel", "attr",
        "drop_time", "reorder_window", "dont_frag", "init_delay", "max_qsize", "pkt_size",
    }
)  # fmt: skip
ACQUIRE_WORDS = frozenset({"src", "dst", "proto", "mode", "reqid", "mark", "pcpu", "family", "seq"})
KEY_WORDS = frozenset({"src", "dst", "proto", "spi", "mark", "dir", "family", "srcaddr"})

_ESP = PROTOCOLS["esp"]
_OFFLOADS = ("crypto", "packet")
_HIGHEST = 41  # XFRMA_IPTFS_PKT_SIZE
_INBOUND, _PACKET = 2, 4  # XFRM_OFFLOAD_*


def spi_request(words: RequestWords) -> SpiRequest:
    """ALLOCSPI."""
    src, dst = words.addresses()
    return SpiRequest(
        src, dst, words.protocol(), words.number("min"), words.number("max"),
        mode=words.mode(), reqid=words.number("reqid", 0), mark=words.mark(), if_id=words.number("if_id", 0),
        pcpu=words.optional("pcpu"), dir=words.direction(), seq=words.number("seq", 0),
        family=words.optional("family", 16),
    )  # fmt: skip


def acquire_request(words: RequestWords) -> SpiRequest:
    """GETACQ, DELACQ: a state with SPI 0, by `seq`, or by its tuple."""
    any_address = bytes(4)
    src, dst = words.addresses() if "seq" not in words or "dst" in words else (any_address, any_address)
    return SpiRequest(
        src, dst, words.protocol(_ESP), 0, 0,
        mode=words.mode(), reqid=words.number("reqid", 0), mark=words.mark(), pcpu=words.optional("pcpu"),
        seq=words.number("seq", 0), family=words.optional("family", 16),
    )  # fmt: skip


def sa_request(words: RequestWords) -> SaRequest:
    """NEWSA, UPDSA."""
    src, dst = words.addresses()
    return SaRequest(
        src, dst, words.protocol(), words.number("spi"),
        mode=words.mode(), reqid=words.number("reqid", 0), mark=words.mark(), if_id=words.number("if_id", 0),
        pcpu=words.optional("pcpu"), dir=words.direction(), seq=words.number("seq", 0),
        flags=words.flags(), extra_flags=words.extra_flags(), replay_window=words.number("replay_window", 0, 8),
        replay_val=words.replay_val(), esn=words.esn(), encap=encap_of(words), mtimer=words.optional("mtimer"),
        nat_keepalive=words.optional("nat_keepalive"), offload=offload_of(words), algorithms=_algorithms(words),
        limits=words.limits(), tfcpad=words.optional("tfcpad"),
        coa=words.address("coa") if "coa" in words else None,
        output_mark=set_mark(words), selector=words.selector("sel"), iptfs=_iptfs(words),
        unknown=_unknown(words), family=words.optional("family", 16),
    )  # fmt: skip


def _unknown(words: RequestWords) -> tuple[int, ...]:
    """`attr=N,...`: attributes above the highest that 7.3 knows (XFRMA_IPTFS_PKT_SIZE). The kernel passes them over."""
    numbers = tuple(words.list_of_numbers("attr", 14)) if "attr" in words else ()
    if any(number <= _HIGHEST for number in numbers):
        raise words.error(f"attr takes attributes above {_HIGHEST}; use its own word for one that a kernel knows")
    return numbers


def state_key(words: RequestWords, proto: int | None = None) -> StateKey:
    """GETSA, DELSA, EXPIRE. `proto` is the protocol where the line gives none (GETAE and NEWAE take ESP).

    `src` may be given, because the message has room for it. No kernel looks at it.
    """
    if "src" in words:
        words.addresses()
    return StateKey(
        words.address("dst"), words.protocol(proto), words.number("spi"), words.mark(),
        family=words.optional("family", 16), dir=words.direction(),
        srcaddr=words.address("srcaddr") if "srcaddr" in words else None,
    )  # fmt: skip


def ae_key(words: RequestWords) -> StateKey:
    """GETAE, NEWAE."""
    return state_key(words, _ESP)


def encap_of(words: RequestWords) -> Encap | None:
    """`encap=TYPE,SPORT,DPORT`: the type by number or name. The original address is 0.0.0.0."""
    if "encap" not in words:
        return None
    kind, _, ports = words.text("encap").partition(",")
    if kind not in ENCAP_TYPES.values():
        number = str(words.parse_number("the type of encap", kind, 16))
        kind = ENCAP_TYPES.get(number, number)
    parts = ports.split(",")
    if len(parts) != 2:
        raise words.error("encap takes TYPE,SPORT,DPORT")
    sport, dport = (words.parse_number("a port of encap", part, 16) for part in parts)
    return Encap(kind, sport, dport, bytes(4))


def set_mark(words: RequestWords) -> Mark | None:
    """`set_mark=V[/M]`, or its older name `output_mark=`: XFRMA_SET_MARK and its mask."""
    if "set_mark" in words and "output_mark" in words:
        raise words.error("set_mark and output_mark are two names of one thing: give one of them")
    key = "set_mark" if "set_mark" in words else "output_mark"
    return words.mark(key) if key in words else None


def _iptfs(words: RequestWords) -> IptfsRequest:
    """XFRMA_IPTFS_*. `dont_frag` is a flag; `dont_frag=True` is the same."""
    flag = words.values.get("dont_frag", "0")
    if flag not in ("", "0", "1", "True", "False"):
        raise words.error("dont_frag takes True or False")
    return IptfsRequest(
        words.optional("drop_time"), words.optional("reorder_window", 16), flag not in ("0", "False"),
        words.optional("init_delay"), words.optional("max_qsize"), words.optional("pkt_size"),
    )  # fmt: skip


def offload_of(words: RequestWords) -> Offload | None:
    """`offload=DEV,in|out,crypto|packet`, or `offload=IFINDEX,FLAGS` with XFRM_OFFLOAD_INBOUND (2) and _PACKET (4)."""
    if "offload" not in words:
        return None
    parts = words.text("offload").split(",")
    if len(parts) == 2 and all(part[:1].isdecimal() for part in parts):
        flags = words.parse_number("the flags of offload", parts[1], 3)
        dev = f"if{words.parse_number('the ifindex of offload', parts[0])}"
        return Offload(dev, Direction.IN if flags & _INBOUND else Direction.OUT, bool(flags & _PACKET))
    if len(parts) != 3 or parts[1] not in ("in", "out") or parts[2] not in _OFFLOADS or not 0 < len(parts[0]) < 16:
        raise words.error("offload takes DEV,in|out,crypto|packet, or IFINDEX,FLAGS")
    return Offload(parts[0], Direction(parts[1]), parts[2] == "packet")


def _algorithms(words: RequestWords) -> tuple[Algorithm, ...]:
    for name, of in (("key", "aead"), ("icv", "aead"), ("crypt_key", "crypt"), ("auth_key", "auth"), ("trunc", "auth")):
        if name in words and of not in words:
            raise words.error(f"{name} without {of}")
    algorithms = []
    if "aead" in words:
        name = words.text("aead")
        suite = AEADS.get(linux_name(name))
        zeros = bytes(suite.key_sizes[0]) if suite else b""
        icv = words.number("icv", max(suite.icv_bits) if suite else 0)
        algorithms.append(Algorithm("aead", name, _key(words, "key", zeros), icv))
    if "crypt" in words:
        name = words.text("crypt")
        zeros = bytes(min(linux_key_sizes(linux_name(name)) or (0,)))
        algorithms.append(Algorithm("enc", name, _key(words, "crypt_key", zeros)))
    if "auth" in words:
        name = words.text("auth")
        mac = linux_hash(linux_name(name))
        key = _key(words, "auth_key", bytes(mac.full_bits // 8) if mac else b"")
        algorithms.append(Algorithm("auth-trunc" if "trunc" in words else "auth", name, key, words.number("trunc", 0)))
    if "comp" in words:
        algorithms.append(Algorithm("comp", words.text("comp"), b""))
    return tuple(algorithms)


def _key(words: RequestWords, word: str, zeros: bytes) -> bytes:
    key = words.hexadecimal(word)
    return zeros if key is None else key
