"""The closed lists of words and numbers that readers and writer share (include/uapi/linux/xfrm.h, ip/xfrm_state.c)."""

from __future__ import annotations

from collections.abc import Set

FLAGS = ("noecn", "decap-dscp", "nopmtudisc", "wildrecv", "icmp", "af-unspec", "align4", "esn")
"""XFRM_STATE_*: the flag with index i is bit i."""

EXTRA_FLAGS = ("dont-encap-dscp", "oseq-may-wrap")
"""XFRM_SA_XFLAG_*: the flag with index i is bit i."""

ENCAP_TYPES = {"1": "espinudp-nonike", "2": "espinudp", "7": "espintcp"}
"""UDP_ENCAP_*, TCP_ENCAP_ESPINTCP (include/uapi/linux/udp.h)."""

LIMIT_WORDS = {
    "time-soft": "soft_add", "time-hard": "hard_add", "time-use-soft": "soft_use", "time-use-hard": "hard_use",
    "byte-soft": "soft_bytes", "byte-hard": "hard_bytes", "packet-soft": "soft_packets", "packet-hard": "hard_packets",
}  # fmt: skip
"""The words after `limit`, and the field of `Limits` that each sets."""

INFINITE = 2**64 - 1
"""XFRM_INF."""

NUMBER_WORDS = {
    "reqid": "reqid", "if_id": "if_id", "tfcpad": "tfcpad", "pcpu-num": "pcpu", "replay-window": "window",
}  # fmt: skip
"""The words of an SA that take one 32-bit number, and the field of `SaWords` that each sets."""

REPLAY_WORDS = {
    "replay-seq": "seq", "replay-seq-hi": "seq_hi", "replay-oseq": "oseq", "replay-oseq-hi": "oseq_hi",
}  # fmt: skip
"""The words that state a part of the replay context, and the field of `ReplayState` that each sets."""

MAX_WINDOW = 4096
"""Packets: XFRMA_REPLAY_ESN_MAX."""

FULL_MASK = 0xFFFFFFFF
"""The mask of a mark that is given without one."""

XFRM_PROTOCOLS = {"esp": 50, "ah": 51, "comp": 108, "route2": 43, "hao": 60, "ipsec-any": 255}
"""The names that an SA's `proto` takes. iproute2 prints a number for every other, such as 4 for IP in IP."""

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "rdp": 27,
    "dccp": 33, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51,
    "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "ipip": 94, "etherip": 97,
    "encap": 98, "pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133,
    "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137, "manet": 138, "hip": 139, "shim6": 140, "wesp": 141,
    "rohc": 142, "ethernet": 143,
}  # fmt: skip
"""A selector's protocols by name, as in Debian's /etc/protocols; no file is read, so answers are the same anywhere."""

PROTOCOL_ALIASES = {"icmp6": 58, "icmpv6": 58, "ospfigp": 89, "ipv6-mh": 135, "mh": 135}
TYPED = frozenset({1, 58, 135})
"""Protocols whose selector has `type` and `code`: ICMP, ICMPv6, Mobility Header."""

PORTED = frozenset({0, 6, 17, 33, 132})
"""Protocols whose selector has `sport` and `dport`; 0 is any protocol."""

GRE = 47


PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_XFRM_NAMES = {number: name for name, number in XFRM_PROTOCOLS.items()}


def proto_name(proto: int) -> str:
    """The protocol of an SA as iproute2 prints it (strxf_xfrmproto): a number where it has no name."""
    return _XFRM_NAMES.get(proto, str(proto))


def limit_of(field: str, value: int) -> int | None:
    """A number as a field of `Limits`. None, no limit, for XFRM_INF and for 0 seconds. 0 bytes is a limit."""
    return None if value == INFINITE or (value == 0 and field.endswith(("add", "use"))) else value


def swapped(seq: int) -> int:
    """km.seq with its bytes reversed: iproute2 sends and prints it in network order, the kernel keeps host order."""
    return int.from_bytes(seq.to_bytes(4), "little")


def flags_of(bits: int, known: tuple[str, ...]) -> set[str]:
    """The kernel's bits as flags; bits without a name are dropped."""
    return {name for i, name in enumerate(known) if bits >> i & 1}


def bits_of(names: Set[str], known: tuple[str, ...]) -> int:
    """Flags as the kernel's bits."""
    return sum(1 << i for i, name in enumerate(known) if name in names)


def is_device(name: str) -> bool:
    """Whether a network device could have this name. Which devices exist is not known here."""
    return 0 < len(name) < 16 and "/" not in name and name.isprintable()
