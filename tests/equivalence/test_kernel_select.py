"""kernels.select against reference/inner.py (flow) and reference/outbound.py (_choose)."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.batch.outbound import policy as select
from espsim.batch.outbound.columns import OutboundColumns
from espsim.batch.outbound.policy import policy
from espsim.core.arrays import U64
from espsim.core.errors import XfrmError
from espsim.core.numbers import NOT_IP, ONE_BY_ONE
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict
from espsim.reference.inner import flow
from espsim.reference.outbound import Outbound
from espsim.sad.association import Mode, SecurityAssociation, Selector
from espsim.sad.sad import Sad
from tests.equivalence.kernel_settings import UNJITTED, quick
from tests.equivalence.outbound_traffic import PACKETS, constant, make, sads
from tests.examples import examples
from tests.support import extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, udp


def flowed(batch: OutboundBatch) -> None:
    select.flow(
        batch.arena, batch.offset, batch.length, batch.verdict, batch.family, batch.proto, batch.sport, batch.dport,
        batch.saddr, batch.daddr,
    )  # fmt: skip


def address(family: int, words: U64) -> bytes:
    high, low = map(int, words)
    return low.to_bytes(4) if family == 4 else (high << 64 | low).to_bytes(16)


FIRST = st.sampled_from([b"\x45", b"\x46", b"\x4f", b"\x44", b"\x60", b"\x6f", b""])


@quick
@given(st.lists(PACKETS | st.builds(bytes.__add__, FIRST, st.binary(max_size=90)), max_size=12))
@example(
    [ipv6(extension(0) + extension(60) + fragment_header(17) + udp(b""), next_header=0), ipv6(b"", next_header=60)]
)
@example(
    [ipv6(fragment_header(17, 1) + udp(b""), next_header=44), ipv6(udp(b"")[:3]), ipv6(udp(b"")[:4]), ipv6(b"\0" * 7)]
)
@example(
    [ipv4(b"\x08\x00", proto=1), ipv4(b"\x08", proto=1), ipv6(b"\x80\x00", next_header=58), ipv4(b"abcd", proto=136)]
)
@example([ipv6(b"\x11\xff" + bytes(6), next_header=0), ipv6(b"\x3c\x00" + bytes(6) + b"\x11", next_header=43)])
def test_flow(packets):
    batch = OutboundBatch.of(packets)
    flowed(batch)
    for row, packet in enumerate(packets):
        want = flow(packet)
        family = int(batch.family[row])
        if want is None:
            assert (batch.verdict[row], family, batch.proto[row]) == (NOT_IP, 0, 0)
            assert not batch.saddr[row].any()
            assert not batch.daddr[row].any()
            continue
        found = address(family, batch.saddr[row]), address(family, batch.daddr[row])
        facts = batch.proto[row], batch.sport[row], batch.dport[row]
        assert (*found, *map(int, facts)) == want
        assert (batch.verdict[row], family) == (0, packet[0] >> 4)


def both(chosen: list[SecurityAssociation], packets: list[bytes]) -> list[int | None]:
    """The SPI of the SA that each packet chooses, checked to be the same in both; None: no SA, or not IP."""
    sad = make(chosen)
    columns = OutboundColumns.of(sad, CryptographyBatch(), constant)
    batch = OutboundBatch.of(packets)
    policy(batch, columns)
    found = []
    for row, packet in enumerate(packets):
        reference = Outbound(sad, constant)
        facts = flow(packet)
        want = reference._choose(facts) if facts is not None else None
        assert columns.entries[batch.sa_index[row]] is want if want is not None else batch.sa_index[row] == -1
        found.append(None if want is None else want.sa.spi)
        if facts is None:
            assert batch.verdict[row] == NOT_IP
        elif want is None:
            assert batch.verdict[row] == OutboundVerdict.NO_SA
        elif batch.verdict[row] != ONE_BY_ONE:
            assert bool(batch.tied[row]) == reference.ambiguous
        else:
            assert not batch.tied[row]
    return found


@settings(deadline=None, max_examples=10 if UNJITTED else examples(60))
@given(sads(most=9, limited=30), st.lists(PACKETS, min_size=3, max_size=30))
def test_choose(chosen, packets):
    both(chosen, packets)


def test_the_most_specific_then_the_newest():
    wide, narrow = Selector(dst=bytes((10, 0, 0, 0)), dst_prefix=8), Selector(dst=bytes((10, 2, 0, 0)), dst_prefix=16)
    chosen = [
        gcm_sa(spi=1), gcm_sa(spi=2, selector=narrow), gcm_sa(spi=3, selector=wide), gcm_sa(spi=4),
        gcm_sa(spi=5, selector=Selector(proto=17, dport=2000, dport_mask=0xFFFF)),
        gcm_sa("10.1.0.1", "10.2.0.1", spi=6, mode=Mode.TRANSPORT, selector=Selector(proto=6)),
    ]  # fmt: skip
    packets = [
        ipv4(b"", proto=99), ipv4(b"", proto=99, dst="10.3.0.1"), ipv4(b"", dst="11.0.0.1"), ipv4(udp(b"")),
        ipv4(bytes(4), proto=6), ipv6(b""), ipv6(udp(b"")),
    ]  # fmt: skip
    assert both(chosen, packets) == [2, 3, 4, 5, 6, 4, 5]


def test_equally_specific_ones_of_different_shapes_are_tied():
    by_src = Selector(src=bytes((10, 1, 0, 0)), src_prefix=16)
    by_dst = Selector(dst=bytes((10, 2, 0, 0)), dst_prefix=16)
    by_port = Selector(dport=2000, dport_mask=0xFFFF)
    for order in ([by_src, by_dst, by_port], [by_port, by_dst, by_src]):
        chosen = [gcm_sa(spi=n, selector=selector) for n, selector in enumerate(order, 1)]
        assert both(chosen, [ipv4(udp(b"")), ipv4(b"", dst="11.0.0.1"), ipv4(b"", src="11.0.0.1")]) == [
            3, 1 + order.index(by_src), 1 + order.index(by_dst)
        ]  # fmt: skip


def test_selectors_that_take_nothing():
    mixed = Selector(bytes((10, 1, 0, 1)), 8, bytes(16), 8)
    elsewhere = Selector(src=bytes((11, 0, 0, 0)), src_prefix=8)
    chosen = [
        gcm_sa(spi=1, selector=mixed), gcm_sa("10.1.0.1", "10.2.0.1", spi=2, mode=Mode.TRANSPORT, selector=elsewhere),
        gcm_sa(spi=3, selector=Selector(src_prefix=8)),
    ]  # fmt: skip
    assert both(chosen, [ipv4(b""), ipv6(b""), ipv4(b"", src="11.0.0.1")]) == [None] * 3


def test_both_families_have_one_value_of_an_address():
    """An IPv4 address and an IPv6 address of the same number are not the same."""
    sa = gcm_sa(selector=Selector(dst=bytes((0, 0, 0, 9)), dst_prefix=32))
    other = gcm_sa(spi=8, selector=Selector(dst=(9).to_bytes(16), dst_prefix=128))
    assert both([sa], [ipv4(b"", dst="0.0.0.9"), ipv6(b"", dst="::9")]) == [0x1001, None]
    assert both([other], [ipv4(b"", dst="0.0.0.9"), ipv6(b"", dst="::9")]) == [None, 8]


@pytest.mark.parametrize("count", [1, 2, 3, 50, 1500])
def test_a_table_holds_every_key(count):
    """Each SA by a destination of its own, twice; in random order."""
    numbers = random.Random(count).sample(range(1 << 32), count)
    sas = [gcm_sa(spi=n + 1, selector=Selector(dst=a.to_bytes(4), dst_prefix=32)) for n, a in enumerate(numbers)]
    sad: Sad = new_sad(*sas)
    with contextlib.suppress(XfrmError):
        sad.newsa(gcm_sa(spi=0x5000, selector=Selector(dst=numbers[0].to_bytes(4), dst_prefix=32)))
    columns = OutboundColumns.of(sad, CryptographyBatch(), constant)
    packets = [ipv4(b"")[:16] + a.to_bytes(4) for a in numbers] + [ipv4(b"", dst="192.0.2.77")]
    batch = OutboundBatch.of(packets)
    policy(batch, columns)
    assert batch.sa_index.tolist() == [count, *range(1, count), -1]
    assert batch.tied.tolist() == [1] + [0] * count
    assert len(columns.table) > count  # some row is always free
