"""batch/outbound against reference/outbound.py, step by step, and wire/udp.py."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.batch.outbound import encap, measure, policy, seal, seqno
from espsim.batch.outbound.columns import OutboundColumns, largest_inner
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict
from espsim.reference.fitting import state_mtu
from espsim.reference.outbound import Outbound, _payload_of, _wrapped_length, trimmed
from espsim.sad.association import NO_LIMITS, Encap, Mode, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.wire import esp, udp
from tests.equivalence.kernel_settings import UNJITTED, quick
from tests.equivalence.outbound_traffic import PACKETS, SUITES, constant, make, sas
from tests.examples import examples
from tests.support import extension, gcm_sa, ipv4, ipv6, new_sad, sealed_packet

KERNELS = {Mode.TRANSPORT, Mode.TUNNEL}
"""Modes that kernels seal; packets of other modes take the reference path."""
OPEN = sas().filter(
    lambda sa: sa.mode in KERNELS and sa.keys is not None and (sa.encap is None or sa.encap.kind == "espinudp")
).map(lambda sa: replace(sa, limits=NO_LIMITS, selector=Selector(), dir=None))  # fmt: skip
"""SAs whose selectors are wide."""
MANY = settings(deadline=None, max_examples=10 if UNJITTED else examples(60))


def prepared(
    sa: SecurityAssociation, packets: list[bytes], *, mtu: int = 1500
) -> tuple[OutboundBatch, OutboundColumns]:
    """A batch after `policy` and `measure`."""
    columns = OutboundColumns.of(make([sa]), CryptographyBatch(), constant, mtu=mtu)
    batch = OutboundBatch.of(packets)
    policy.policy(batch, columns)
    measure.measure(batch, columns)
    return batch, columns


@MANY
@given(OPEN, st.lists(PACKETS, max_size=12), st.sampled_from([68, 576, 1500]))
def test_measure(sa, packets, mtu):
    batch, _columns = prepared(sa, packets, mtu=mtu)
    for row, packet in enumerate(packets):
        if batch.verdict[row] not in (0, OutboundVerdict.FRAGMENT, OutboundVerdict.TOO_BIG):
            assert batch.out_length[row] == batch.payload[row] == 0
            continue
        split = _payload_of(sa, trimmed(packet))
        if split is None:
            assert batch.verdict[row] == OutboundVerdict.FRAGMENT
            continue
        payload, next_header = split
        padded = len(payload) + Outbound(make([]), constant, mtu=mtu)._tfc_length(sa, len(payload))
        plain = padded + len(esp.emit_trailer(padded, next_header, sa.aligned))
        assert batch.verdict[row] == 0
        assert (batch.payload[row], batch.next_header[row]) == (len(payload), next_header)
        assert batch.plain_length[row] == plain
        says = _wrapped_length(
            sa, trimmed(packet), plain
        )  # the outer header's length field: of IPv6 without the header
        assert batch.out_length[row] == says + (0 if len(sa.dst) == 4 else 40)
        if sa.mode is Mode.TRANSPORT:
            assert packet[batch.pointer[row]] == next_header
            assert batch.headers[row] == len(trimmed(packet)) - len(payload)


@given(OPEN, st.integers(0, 70000))
def test_the_largest_packet_inside(sa, mtu):
    if sa.mode is Mode.TUNNEL:
        assert largest_inner(sa, mtu) == state_mtu(sa, mtu)


@MANY
@given(OPEN, st.lists(PACKETS, max_size=12))
def test_all_but_the_cipher(sa, packets):
    """With the NULL cipher and no ICV sealing only moves bytes; what is left is UDP's checksum over IPv6."""
    sa = replace(sa, algorithms=SUITES["ecb(cipher_null)-digest_null-0"])
    batch, columns = prepared(sa, packets)
    seqno.seqno(batch, columns)
    encap.encap(batch, columns)
    seal.seal(batch, columns)
    seal.checksum_rows(batch.verdict, batch.sa_index, columns.facts, batch.esp_at, batch.end_at, batch.out)
    reference = Outbound(make([sa]), constant)
    for row, packet in enumerate(packets):
        want = reference.send(packet)
        if want is not None and want.packet is not None:
            assert batch.verdict[row] == 0
            assert (sealed_packet(batch, row), int(batch.seq64[row])) == (want.packet, want.seq64)
            at = int(batch.esp_at[row])
            assert batch.out[at : at + 4].tobytes() == sa.spi.to_bytes(4)
            assert batch.end_at[row] == batch.out_at[row] + batch.out_length[row]
        else:
            assert batch.verdict[row] != 0


@quick
@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=40), st.booleans(),
       st.booleans(), st.sampled_from([0, (1 << 32) - 4, (1 << 32) - 1, (1 << 64) - 3]))  # fmt: skip
def test_numbers(count, arrivals, esn, wrap, start):
    """Every row gets its SA's next number; rows with a verdict use none."""
    base = gcm_sa(flags=frozenset({"esn"} if esn else ()), extra_flags=frozenset({"oseq-may-wrap"} if wrap else ()))
    sad = new_sad(*(replace(base, spi=n + 1, algorithms=SUITES["cbc(aes)-hmac(sha1)-96"]) for n in range(count)))
    for entry in sad:
        entry.oseq = start if esn else start & 0xFFFFFFFF
    columns = OutboundColumns.of(sad, CryptographyBatch(), constant)
    chosen = np.array([sa % count for sa, _ in arrivals], np.int32)
    dropped = np.array([size == 0 for _, size in arrivals])
    verdict = np.where(dropped, np.uint8(OutboundVerdict.FRAGMENT), np.uint8(0))
    payload = np.array([size for _, size in arrivals], np.int32)
    time = np.arange(len(arrivals), dtype=np.float64)
    seq64 = np.full(len(arrivals), 77, np.uint64)
    seqno.number(chosen, payload, time.view(np.uint64), columns.counts, seq64, verdict)
    entries = list(sad)
    want, counted = [], dict.fromkeys(range(count), (0, 0))
    used: dict[int, float] = {}
    for row, (sa, size) in enumerate(arrivals):
        number = None if size == 0 else entries[sa % count].next_number()
        want.append(number)
        if number is not None:
            packets, octets = counted[sa % count]
            counted[sa % count] = packets + 1, octets + size
            used.setdefault(sa % count, float(row))
    assert [None if verdict[row] else int(seq64[row]) for row in range(len(arrivals))] == want
    assert set(verdict.tolist()) <= {0, OutboundVerdict.FRAGMENT, OutboundVerdict.SEQ_OVERFLOW}
    after: list[SadEntry] = entries
    last = [entry.oseq for entry in after]
    columns.write_back()
    assert [entry.oseq for entry in after] == last
    assert [(entry.packets, entry.bytes) for entry in after] == list(counted.values())
    assert {n: entry.used for n, entry in enumerate(after) if entry.used is not None} == used


@quick
@given(st.lists(st.binary(min_size=8, max_size=80), max_size=8), st.booleans())
def test_checksum(payloads, v4):
    """Any bytes after the UDP header; those whose checksum would be 0 are in the test below."""
    ends = ("192.0.2.1", "192.0.2.2") if v4 else ("2001:db8::1", "2001:db8::2")
    sa = gcm_sa(*ends, encap=Encap("espinudp", 4500, 4501, bytes(16)))
    for payload, datagram in zip(payloads, summed(sa, payloads), strict=True):
        assert datagram == udp.emit(4500, 4501, payload, None if v4 else (sa.src, sa.dst))


def summed(sa: SecurityAssociation, payloads: list[bytes]) -> list[bytes]:
    """UDP datagrams with their checksums."""
    columns = OutboundColumns.of(new_sad(sa), CryptographyBatch(), constant)
    datagrams = [struct.pack("!HHHH", 4500, 4501, 8 + len(payload), 0) + payload for payload in payloads]
    ends = np.cumsum([len(d) for d in datagrams], dtype=np.int64) if datagrams else np.zeros(0, np.int64)
    starts = ends - np.array([len(p) for p in payloads], np.int64)
    out = np.frombuffer(bytearray(b"".join(datagrams)), np.uint8)
    rows = len(payloads)
    seal.checksum_rows(np.zeros(rows, np.uint8), np.zeros(rows, np.int32), columns.facts, starts, ends, out)
    return [out[start - 8 : end].tobytes() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def test_a_checksum_of_0_is_sent_as_ffff():
    sa = gcm_sa("2001:db8::1", "2001:db8::2", encap=Encap("espinudp", 4500, 4501, bytes(16)))
    (first,) = summed(sa, [bytes(8)])
    (second,) = summed(sa, [first[6:8] + bytes(6)])
    assert second[6:8] == b"\xff\xff"


def test_random_ivs_are_dealt_out_in_order():
    """Each CBC row draws 16 bytes; rows of other suites draw none."""
    cbc = replace(gcm_sa(spi=1), algorithms=SUITES["cbc(aes)-hmac(sha1)-96"])
    other = gcm_sa(spi=2, selector=Selector(proto=1))
    asked = []

    def counting(size: int) -> bytes:
        asked.append(size)
        return bytes(n // 16 + 1 for n in range(size)) if size != 8 else bytes(8)

    columns = OutboundColumns.of(new_sad(cbc, other), CryptographyBatch(), counting)
    batch = OutboundBatch.of([ipv4(b"ab"), ipv4(b"ab", proto=1), ipv6(extension(17) + b"cd", next_header=0), b"?"])
    for stage in (policy.policy, measure.measure, seqno.seqno, encap.encap):
        stage(batch, columns)
    assert asked == [8, 32]
    assert [sealed_packet(batch, row)[28:44] for row in (0, 2)] == [b"\x01" * 16, b"\x02" * 16]
    assert sealed_packet(batch, 1)[28:36] == (1).to_bytes(8)
