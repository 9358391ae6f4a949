"""The fields that a device's key is made of: of a packet, as hardware sees it, and of an SA, as a driver writes it.

Both sides give the same values for the same field, so that a key is a tuple that can be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import SecurityAssociation

Value = int | bytes | tuple[int, int] | None
FieldValues = tuple[Value, ...]


class PacketKey(NamedTuple):
    """What hardware can see of an ESP packet. Addresses are packed bytes; `port` is the device's ingress port.

    `spi` is ESP's, inside UDP too; `udp_ports` is (source, destination) of UDP-encapsulated ESP.
    """

    src: bytes
    dst: bytes
    spi: int
    proto: int = PROTO_ESP
    mark: int = 0
    port: int = 0
    udp_ports: tuple[int, int] | None = None


def of_packet(key: PacketKey, fields: Sequence[str], mark_mask: int = 0xFFFFFFFF) -> FieldValues:
    """The values of these fields in a packet, its mark under a rule's mask."""
    return tuple([key.mark & mark_mask if read is None else read(key) for read in _packet_readers(tuple(fields))])


def of_sa(sa: SecurityAssociation, port: int, fields: Sequence[str]) -> FieldValues:
    """The values of these fields in a rule made for an SA at a port: those of a packet of that SA."""
    return tuple([port if read is None else read(sa) for read in _sa_readers(tuple(fields))])


# Readers of a field of a packet or an SA, made once for each list of fields, because drivers need them for every SA.

_Reader = Callable[[Any], Value]

_SAME: dict[str, _Reader] = {  # attributes that both have under one name
    "spi": attrgetter("spi"),
    "spi24": lambda it: it.spi & 0xFFFFFF,
    "dst": attrgetter("dst"),
    "src": attrgetter("src"),
    "proto": attrgetter("proto"),
    "ipver": lambda it: 4 if len(it.dst) == 4 else 6,
    "esp": lambda it: int(it.proto == PROTO_ESP),
}
_OF_PACKET: dict[str, _Reader | None] = {
    **_SAME,
    "port": attrgetter("port"),
    "lf": attrgetter("port"),  # a port has one function, with one LF
    "udp_ports": attrgetter("udp_ports"),
    "mark": None,  # under the rule's mask
}
_OF_SA: dict[str, _Reader | None] = {
    **_SAME,
    "port": None,  # the SA's in the device
    "lf": None,
    "udp_ports": lambda sa: (sa.encap.sport, sa.encap.dport) if sa.encap is not None else None,
    "mark": lambda sa: sa.mark.value & sa.mark.mask,
    "reqid": attrgetter("reqid"),
}


def _nothing(_it: Any) -> Value:
    """match_id and profile: a driver uses one value, that of its own rules. frag0: fragments never get here."""
    return 0


@functools.cache
def _packet_readers(fields: tuple[str, ...]) -> list[_Reader | None]:
    return [_OF_PACKET.get(field, _nothing) for field in fields]


@functools.cache
def _sa_readers(fields: tuple[str, ...]) -> list[_Reader | None]:
    return [_OF_SA.get(field, _nothing) for field in fields]


def words(values: FieldValues) -> list[int]:
    """A key as 64-bit words, for hashing: a field is its number, or its bytes by eights, front first."""
    result: list[int] = []
    for value in values:
        if isinstance(value, bytes):
            result += [int.from_bytes(value[n : n + 8]) for n in range(0, len(value), 8)]
        elif isinstance(value, tuple):
            result.append(value[0] << 16 | value[1])
        else:
            result.append(0 if value is None else value)
    return result
