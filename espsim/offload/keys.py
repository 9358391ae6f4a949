"""The fields that a device's key is made of: of a packet, as hardware sees it, and of an SA, as a driver writes it.

Both sides give the same values for the same field, so that a key is a tuple that can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espsim.sad.association import SecurityAssociation

Value = int | bytes | tuple[int, int] | None
FieldValues = tuple[Value, ...]

PROTO_ESP = 50


@dataclass(frozen=True, slots=True)
class PacketKey:
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
    return tuple(key.mark & mark_mask if field == "mark" else _value(field, key) for field in fields)


def of_sa(sa: SecurityAssociation, port: int, fields: Sequence[str]) -> FieldValues:
    """The values of these fields in a rule made for an SA at a port: those of a packet of that SA."""
    ports = (sa.encap.sport, sa.encap.dport) if sa.encap is not None else None
    packet = PacketKey(sa.src, sa.dst, sa.spi, sa.proto, sa.mark.value & sa.mark.mask, port, ports)
    return tuple(sa.reqid if field == "reqid" else _value(field, packet) for field in fields)


def _value(field: str, key: PacketKey) -> Value:
    match field:
        case "spi":
            return key.spi
        case "spi24":
            return key.spi & 0xFFFFFF
        case "dst":
            return key.dst
        case "src":
            return key.src
        case "proto":
            return key.proto
        case "ipver":
            return 4 if len(key.dst) == 4 else 6
        case "port" | "lf":  # a port has one function, with one LF
            return key.port
        case "mark":
            return key.mark
        case "udp_ports":
            return key.udp_ports
        case "esp":
            return int(key.proto == PROTO_ESP)
    # match_id and profile: a driver uses one value, that of its own rules. frag0: fragments never come this far.
    return 0


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
