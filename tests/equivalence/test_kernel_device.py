"""batch/device against Device.lookup: every shipped model and other shapes of tables, any SAs, any packets."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.device.hardware import (
    DROP,
    FAIL_FLAG,
    GONE,
    SOFTWARE,
    USE,
    DeviceRows,
    PacketColumns,
    ask_device,
    hardware,
)
from espsim.batch.device.snapshot import device_columns, packet_key
from espsim.batch.device.steps import ASK, HIT
from espsim.core.address import parse_address
from espsim.core.arrays import U64
from espsim.core.errors import UnknownReached
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import Model, shipped_models
from espsim.sad.association import Encap, Mark, Mode, SecurityAssociation
from tests.equivalence.device_models import SHAPES, filled, load, twin
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.support import gcm_sa

ACTIONS = {"use": USE, "software": SOFTWARE, "drop": DROP, "fail_flag": FAIL_FLAG}
NO_PORT = 0xFFFFFFFF

# -- SAs and packets --------------------------------------------------------------------------------------------------

SPIS = [1, 2, 3, 5, 9, 0x1000001, 0xFFFFFFFF]
SOURCES = ["1.1.1.1", "1.1.1.2", "0.0.0.0", "2001:db8::1", "::"]  # noqa: S104 - the SA's source is any
TARGETS = ["9.9.9.1", "9.9.9.2", "0.0.0.0", "2001:db8::9", "2001:db8:0:1::9"]  # noqa: S104
MARKS = [Mark(), Mark(), Mark(5, 7), Mark(1, 1), Mark(12, 3)]
ENCAPS = [None, None, (4500, 4500), (4500, 7), (0, 0)]


@functools.cache
def sa_of(spi: int, src: str, dst: str, mark: Mark, ports: tuple[int, int] | None, tunnel: bool) -> SecurityAssociation:
    encap = Encap("espinudp", *ports, bytes(4)) if ports is not None else None
    mode = Mode.TUNNEL if tunnel else Mode.TRANSPORT
    return gcm_sa(src, dst, spi, mark=mark, encap=encap, mode=mode, window=0 if tunnel else 64, reqid=spi & 1)


def ends(draw: st.DrawFn) -> tuple[str, str]:
    src = draw(st.sampled_from(SOURCES))
    return src, draw(st.sampled_from([dst for dst in TARGETS if (":" in dst) == (":" in src)]))


@st.composite
def ops(draw: st.DrawFn) -> tuple[bool, SecurityAssociation, int]:
    """Add this SA at a port, or delete one of those before."""
    sa = sa_of(
        draw(st.sampled_from(SPIS)), *ends(draw), draw(st.sampled_from(MARKS)), draw(st.sampled_from(ENCAPS)),
        draw(st.booleans()),
    )  # fmt: skip
    return draw(st.sampled_from([True, True, True, False])), sa, draw(st.sampled_from([0, 0, 1]))


@st.composite
def keys(draw: st.DrawFn) -> PacketKey:
    src, dst = map(parse_address, ends(draw))
    mark = draw(st.sampled_from([0, 0, 5, 13, 1]))
    return PacketKey(src, dst, draw(st.sampled_from(SPIS)), mark=mark, udp_ports=draw(st.sampled_from(ENCAPS)))


def of_each(sa: SecurityAssociation) -> PacketKey:
    ports = (sa.encap.sport, sa.encap.dport) if sa.encap is not None else None
    return PacketKey(sa.src, sa.dst, sa.spi, mark=sa.mark.value, udp_ports=ports)


def address_words(addresses: list[bytes]) -> U64:
    return np.frombuffer(b"".join(a.rjust(16, b"\0") for a in addresses), ">u8").astype(np.uint64).reshape(-1, 2)


def columns_of(packets: list[PacketKey]) -> PacketColumns:
    ports = [key.udp_ports or (NO_PORT, NO_PORT) for key in packets]
    return PacketColumns(
        np.array([key.spi for key in packets], np.uint32),
        np.array([4 if len(key.dst) == 4 else 6 for key in packets], np.uint8),
        address_words([key.dst for key in packets]),
        address_words([key.src for key in packets]),
        np.array([sport for sport, _ in ports], np.uint32),
        np.array([dport for _, dport in ports], np.uint32),
        np.array([key.mark for key in packets], np.uint32),
    )


Ops = list[tuple[bool, SecurityAssociation, int]]


def play(model: Model, history: Ops, packets: list[PacketKey], seed: int, *, asks: bool) -> None:
    """Fill a device, and compare what it answers to every packet at both ports."""
    device = Device(model, seed=seed)
    for n, (adding, sa, port) in enumerate(history):
        if adding:
            device.add(n, sa, port)
        elif n:
            device.delete((sa.spi + port) % n)
    for port in (0, 1):
        here = [key._replace(port=port) for key in packets]
        want = [device.lookup(key) for key in here]
        seen = columns_of(here)
        assert [packet_key(seen, n, port) for n in range(len(here))] == here
        for gone, fast in ((2, True), (-1, True), (-1, False)):
            columns = device_columns(device, {n: n + 100 for n in range(len(history)) if n != gone}, port)
            columns.by_spi = columns.by_spi if fast else None
            rows = DeviceRows.of(len(here))
            hardware(seen, columns, rows)
            which = np.flatnonzero(rows.step == ASK)
            assert asks or not len(which)
            ask_device(seen, columns, rows, which.tolist())
            known = {-1: -1, gone: GONE} if gone >= 0 else {-1: -1}
            assert rows.sa_index.tolist() == [known.get(a.sa_index, a.sa_index + 100) for a in want]
            assert rows.reached.tolist() == [a.reached for a in want]
            assert rows.action.tolist() == [ACTIONS[a.action] for a in want]
            assert rows.shadowed.tolist() == [a.shadowed for a in want]


HISTORY = st.lists(ops(), max_size=14)
EXAMPLES = settings(deadline=None, max_examples=2 if UNJITTED else examples(8))


@pytest.mark.parametrize("ident", shipped_models())
@EXAMPLES
@given(HISTORY, st.lists(keys(), max_size=20), st.integers(0, 1 << 30), st.integers(0, 3))
def test_every_shipped_model(ident, history, packets, pick, seed):
    packets += [of_each(sa) for _, sa, _ in history]
    filled(load(ident), pick, lambda model: play(model, history, packets, seed, asks=True))


@pytest.mark.parametrize("shape", SHAPES)
@EXAMPLES
@given(HISTORY, st.lists(keys(), max_size=20), st.integers(0, 3))
def test_every_shape_of_table(shape, history, packets, seed):
    packets += [of_each(sa) for _, sa, _ in history]
    filled(SHAPES[shape](), 0, lambda model: play(model, history, packets, seed, asks=False))


def test_what_is_not_public_is_the_devices_to_say():
    model = twin("exact", 'key = ["spi"]', multi_match="unknown")
    sas = [sa_of(spi, "1.1.1.1", "9.9.9.1", Mark(), None, True) for spi in (1, 2, 2)]
    device = Device(model)
    for n, sa in enumerate(sas):
        device.add(n, sa)
    columns = device_columns(device, {0: 0, 1: 1, 2: 2})
    seen, rows = columns_of([of_each(sa) for sa in sas]), DeviceRows.of(3)
    hardware(seen, columns, rows)
    assert rows.step.tolist() == [HIT, ASK, ASK]
    assert rows.sa_index.tolist() == [0, -1, -1]
    with pytest.raises(UnknownReached, match="multi_match"):
        ask_device(seen, columns, rows, [1])


@pytest.mark.parametrize(("model", "fast"), [
    ("marvell-cn10k-dpdk", True), ("marvell-cn10k-vpp", True), ("marvell-cn9k-dpdk", True),
    ("marvell-cn10k-linux-v5", True), ("marvell-cn10k-dpdk-alg1", False), ("sw-vpp-tun-protect", False),
])  # fmt: skip
def test_whose_tables_are_spis_alone(model, fast):
    assert by_spi_alone(load(model)) == fast


@pytest.mark.parametrize("shape", ["hash", "hash, first, rules", "crc of the SPI", "crc, one way"])
def test_which_hashes_are_of_spis_alone(shape):
    assert by_spi_alone(SHAPES[shape]()) == (shape in ("hash", "crc of the SPI"))


def by_spi_alone(model: Model) -> bool:
    device = Device(model)
    device.add(0, sa_of(5, "1.1.1.1", "9.9.9.1", Mark(), None, True))
    return device_columns(device, {0: 0}).by_spi is not None
