"""What a scenario's words become: its SAs, the requests that install them, and their peers' packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from string import Template

from espsim.core.address import Address, parse_address
from espsim.core.errors import InputError
from espsim.core.numbers import DIR_IN, DIR_OUT, MODE_OF, PROTO_UDP
from espsim.netlink.request import EsnState, ReplayVal, SaRequest
from espsim.sad.association import Direction, Mode, SecurityAssociation
from espsim.scenario.schema import Scenario, ScenarioStep
from espsim.text.parse import parse_sa_line
from espsim.wire import ipv4, ipv6, udp

_DIRECTIONS = {Direction.IN: DIR_IN, Direction.OUT: DIR_OUT}


def direction_number(sa: SecurityAssociation) -> int | None:
    """XFRMA_SA_DIR of an SA, None where it states none."""
    return None if sa.dir is None else _DIRECTIONS[sa.dir]


def mode_number(sa: SecurityAssociation) -> int:
    """An SA's mode as netlink has it."""
    return MODE_OF[sa.mode.value]


def request_of(sa: SecurityAssociation) -> SaRequest:
    """The NEWSA or UPDSA that `ip xfrm state` would send for an SA: a window above 32, or ESN, as REPLAY_ESN_VAL."""
    esn = value = None
    replay = sa.replay
    if sa.esn or sa.window > 32:
        words = (sa.window + 31) // 32
        esn = EsnState(words, sa.window, replay.seq, replay.seq_hi, replay.oseq, replay.oseq_hi, replay.bitmap)
    elif replay.seq or replay.oseq:
        value = ReplayVal(replay.oseq, replay.seq, replay.bitmap)
    return SaRequest(
        sa.src, sa.dst, sa.proto, sa.spi,
        mode=mode_number(sa), reqid=sa.reqid, mark=sa.mark, if_id=sa.if_id, pcpu=sa.pcpu, dir=direction_number(sa),
        seq=sa.seq, flags=sa.flags, extra_flags=sa.extra_flags, replay_window=0 if esn else sa.window,
        replay_val=value, esn=esn, encap=sa.encap, offload=sa.offload, algorithms=sa.algorithms, limits=sa.limits,
        selector=sa.selector, tfcpad=sa.tfcpad or None, coa=sa.coa, output_mark=sa.output_mark, label=sa.label,
    )  # fmt: skip


def expand(
    scenario: Scenario, where: str, words: Mapping[str, str] | None = None
) -> dict[str, list[SecurityAssociation]]:
    """Every SA of a scenario with its copies, by name; `words` replace $word. InputError: a line is wrong."""
    groups: dict[str, list[SecurityAssociation]] = {}
    for item in scenario.sa:
        try:
            first = parse_sa_line(Template(item.line).substitute(words or {}))
        except InputError as error:
            raise InputError(f"sa {item.name}: {error.what}", where=where) from None
        if first.keys is None:
            raise InputError(f"sa {item.name}: a scenario's SAs need keys", where=where)
        last_spi = first.spi + item.spi_step * (item.count - 1)
        if last_spi > 0xFFFFFFFF:
            raise InputError(f"sa {item.name}: the last copy's SPI would be beyond 32 bits", where=where)
        groups[item.name] = [
            replace(first, spi=first.spi + item.spi_step * n, dst=_further(first.dst, item.dst_step * n))
            for n in range(item.count)
        ]
    return groups


def _further(address: Address, by: int) -> Address:
    return ((int.from_bytes(address) + by) % (1 << 8 * len(address))).to_bytes(len(address))


def on_the_wire(packet: bytes, step: ScenarioStep) -> bytes:
    """A peer's packet after the step's changes: forged, or sent to another address."""
    if step.forge:
        packet = packet[:-1] + bytes((packet[-1] ^ 1,))
    if step.to is not None:
        daddr = parse_address(step.to)
        at = 16 if len(daddr) == 4 else 24
        packet = packet[:at] + daddr + packet[at + len(daddr) :]
    return packet


def clear_packet(sa: SecurityAssociation, size: int) -> bytes:
    """A UDP datagram of `size` payload bytes that the SA's selector takes; in transport mode between the SA's ends."""
    selector = sa.selector
    if sa.mode is Mode.TRANSPORT:
        src, dst = sa.src, sa.dst
    else:
        v4 = len(selector.src or selector.dst or sa.dst) == 4
        src, dst = (bytes((10, 1, 0, 1)), bytes((10, 2, 0, 1))) if v4 else (_V6_INNER + b"\1", _V6_INNER + b"\2")
        src = selector.src if selector.src_prefix else src
        dst = selector.dst if selector.dst_prefix else dst
    datagram = udp.emit(
        selector.sport or 7777, selector.dport or 5555, bytes(size), (src, dst) if len(src) == 16 else None
    )
    if len(src) == 4:
        header = ipv4.emit(
            tos=0, payload_length=len(datagram), ident=0, flags=ipv4.DF, ttl=64, proto=PROTO_UDP, src=src, dst=dst
        )
    else:
        header = ipv6.emit(
            traffic_class=0, flow=0, payload_length=len(datagram), next_header=PROTO_UDP, hops=64, src=src, dst=dst
        )
    return header + datagram


_V6_INNER = bytes.fromhex("fd000000000000000000000000000000")[:15]
