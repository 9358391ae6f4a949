"""The batch path inbound against the reference path: any SAs, any packets, any cut into batches, every engine."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engines import survey
from espsim.core.address import parse_address
from espsim.core.batch import COLUMNS, NOT_ESP, PacketBatch
from espsim.core.errors import InputError, XfrmError
from espsim.core.verdict import Verdict
from espsim.kernels import codes, decap
from espsim.pipeline.inbound import STAGES, BatchInbound, checked
from espsim.reference.inbound import Inbound
from espsim.sad.association import Direction, Encap, Limits, Mark, Mode, ReplayState, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.spi import POLICIES
from tests.equivalence.kernel_settings import UNJITTED
from tests.support import Peer, extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, suites, udp

ENGINES = [found.name for found in survey() if found.engine is not None]
CUTS = (1, 2, 3, 7, 1000)
SUITES = suites()
NAMES = [
    "rfc4106(gcm(aes))-128-128", "rfc4106(gcm(aes))-256-64", "rfc4543(gcm(aes))-128-128", "rfc4309(ccm(aes))-128-96",
    "rfc7539esp(chacha20,poly1305)-256-128", "cbc(aes)-hmac(sha1)-96", "cbc(aes)-digest_null-0",
    "ecb(cipher_null)-hmac(sha256)-128",
]  # fmt: skip
DATA = udp(b"what is inside, whatever it may be")
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
M32, WRAP = 0xFFFFFFFF, 1 << 32


def state_of(sad: Sad, entries: list[SadEntry]) -> list[Any]:
    """Everything that packets may move, SA by SA."""
    return [
        (
            entry in sad, entry.state, entry.packets, entry.bytes, entry.used, entry.dying,
            (entry.stats.replay, entry.stats.replay_window, entry.stats.integrity_failed),
            (entry.window.top, entry.window.bitmap, entry.window.resume),
        )
        for entry in entries
    ]  # fmt: skip


def shown(received: Any) -> Any:
    if received is None:
        return None
    sa = None if received.entry is None else received.entry.sa_index
    used = None if received.used is None else received.used.sa_index
    facts = received.verdict, received.counter, received.spi, received.seq, received.seq64, sa, used, received.inner
    return *facts, received.device, received.surfacing


def both(make_sad, packets, times, *, cut=1000, engine="cryptography", mark=0, write_back=False) -> list[Any]:
    """Run both paths, compare all that can be seen, and return the reference's answers."""
    sad, other = make_sad(), make_sad()
    events, other_events = [], []
    sad.listener = lambda *event: events.append((event[1].sa_index, event[0], event[2]))
    other.listener = lambda *event: other_events.append((event[1].sa_index, event[0], event[2]))
    entries, others = list(sad), list(other)
    reference = Inbound(sad, mark=mark)
    want = [reference.receive(packet, now) for packet, now in zip(packets, times, strict=True)]
    found = []
    with BatchInbound(Inbound(other, mark=mark), engine, debug=True) as batches:
        for at in range(0, len(packets), cut):
            found += batches.receive(packets[at : at + cut], times[at : at + cut])
            if write_back:
                batches.close()
    assert [shown(r) for r in found] == [shown(r) for r in want]
    assert state_of(other, others) == state_of(sad, entries)
    # Only between SAs may the order of what a listener hears differ.
    assert sorted(other_events, key=lambda e: e[0]) == sorted(events, key=lambda e: e[0])
    return want


# -- any SAs ----------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 7, 32, 33, 64, 100, 128])
STARTS = st.sampled_from([0, 1, 40, 1000, WRAP // 2, WRAP - 40, WRAP - 1, WRAP, WRAP + 20, 5 * WRAP - 3])


@st.composite
def sas(draw: st.DrawFn) -> tuple[SecurityAssociation, bool]:
    """An SA and whether its window goes on where it says."""
    esn = draw(st.booleans())
    window = draw(SIZES)
    if esn and window == 0:
        window = 33
    start = draw(STARTS)
    start = start if esn else start & M32
    mode = draw(st.sampled_from([Mode.TUNNEL, Mode.TUNNEL, Mode.TRANSPORT]))
    flags = ({"esn"} if esn else set()) | draw(st.sampled_from([set(), set(), {"decap-dscp"}, {"noecn"}]))
    src, dst = ENDS[draw(st.sampled_from([4, 4, 6]))]
    sa = SecurityAssociation(
        parse_address(src), parse_address(dst), draw(st.sampled_from([1, 1, 7, 0x1001, 0xFFFFFFFF])), mode=mode,
        algorithms=SUITES[draw(st.sampled_from(NAMES))] if draw(st.integers(0, 19)) < 19 else (),
        dir=draw(st.sampled_from([None] * 6 + [Direction.IN, Direction.OUT])),
        mark=draw(st.sampled_from([Mark()] * 9 + [Mark(5, 7), Mark(4, 4), Mark(9, 3)])),
        window=window, flags=frozenset(flags),
        encap=draw(st.sampled_from([None] * 4 + [Encap("espinudp", 4500, 4500, bytes(16)),
                                    Encap("espinudp", 1000, 2000, bytes(16)), Encap("espintcp", 9, 9, bytes(16))])),
        limits=draw(st.sampled_from([Limits()] * 5 + [Limits(hard_packets=3, soft_packets=2), Limits(hard_bytes=99),
                                                      Limits(hard_add=4), Limits(hard_use=2)])),
        selector=draw(st.sampled_from([Selector()] * 5 + [Selector(proto=17, dport=2000, dport_mask=0xFFFF),
                                                          Selector(src=parse_address("10.1.0.0"), src_prefix=16)])),
        replay=ReplayState(start & M32, start >> 32, bitmap=draw(st.integers(0, 2**100)) & (1 << window) - 1),
    )  # fmt: skip
    return sa, draw(st.booleans())


def make(chosen: list[tuple[SecurityAssociation, bool]], policy: str = "rfc4301", port_key: bool = False) -> Sad:
    """The same SAD every time; a triple that is there already is left out."""
    sad = Sad(CryptographyEngine(), POLICIES[policy](), random.Random(1), port_key=port_key)
    for sa, keep in chosen:
        if (
            sad.lookup(sa.dst, sa.spi, sa.proto, sa.mark.value & sa.mark.mask, sa.encap.dport if sa.encap else None)
            is None
        ):
            with contextlib.suppress(XfrmError):
                sad.newsa(sa, keep_window=keep)
    return sad


# -- any packets ------------------------------------------------------------------------------------------------------

INNERS = (
    ipv4(DATA), ipv4(DATA, tos=2), ipv4(DATA, tos=0xB9, options=b"\x01" * 4), ipv4(DATA) + bytes(9), ipv4(DATA)[:19],
    ipv4(DATA, total=3), ipv4(DATA, total=900), b"\x4f" + ipv4(DATA, tos=1)[1:], ipv6(DATA),
    ipv6(DATA, traffic_class=1),
    ipv6(extension(17) + DATA, next_header=0) + bytes(5), ipv6(DATA, length=9), ipv6(DATA)[:39], b"\x45", DATA,
    b"\x4f" + ipv4(b"", tos=1)[1:], b"\x44" + ipv4(DATA, tos=2)[1:], b"\x46" + ipv4(DATA, tos=1)[1:],
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One packet: `step` from the last number of its SA, `harm` what is done to it."""

    sa: int
    step: int
    inner: int
    following: int | None
    tos: int
    harm: str
    at: int
    wait: float


STEPS = st.one_of(
    st.sampled_from([1, 1, 1, 1, 1, 1, 0, -1, 2, -5, 31, -33, 64, -64, 130]),
    st.sampled_from([1, 1, 1, 2, 3, -1]),
    st.integers(-200, 200),
    st.sampled_from([WRAP // 2, WRAP, -WRAP, WRAP - 10, WRAP // 2 + 7, 50 - WRAP]),
)
HARMS = [""] * 12 + [
    "flip", "flip", "pad", "dummy", "short", "cut", "fragment", "garbage", "spi", "bare", "udp", "options", "bytes",
]  # fmt: skip
SENT = st.builds(
    Sent, st.integers(0, 5), STEPS, st.integers(0, len(INNERS) - 1), st.sampled_from([None] * 6 + [4, 41, 17, 59]),
    st.sampled_from([0, 0, 3, 0xBB]), st.sampled_from(HARMS), st.integers(0, 200), st.sampled_from([0.0, 0.25, 1.5]),
)  # fmt: skip


def harmed(packet: bytes, sent: Sent) -> bytes:
    """What happens to the bytes on their way."""
    at = sent.at % max(len(packet), 1)
    if sent.harm == "flip":
        return packet[:-1] + bytes((packet[-1] ^ 1,))
    if sent.harm == "bytes":
        return packet[:at] + bytes((packet[at] ^ sent.at | 1,)) + packet[at + 1 :]
    if sent.harm == "cut":
        return packet[: len(packet) - at % 60]
    if sent.harm == "garbage":
        return random.Random(sent.at).randbytes(sent.at)
    return packet


def outer_fields(sent: Sent, v4: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"tos": sent.tos} if v4 else {"traffic_class": sent.tos}
    if sent.harm == "fragment" and v4:
        fields["flags"] = (0x2000, 0x0001, 0x4000)[sent.at % 3]
    if sent.harm == "options" and v4:
        fields["options"] = b"\x01" * (4 * (sent.at % 3 + 1))
    return fields


def sealed(peer: Peer, sent: Sent, seq64: int) -> bytes:
    inner = INNERS[sent.inner]
    following = sent.following or (4 if inner[0] >> 4 == 4 else 41)
    if sent.harm == "pad":
        plaintext = bytes(14) + bytes((sent.at, following))
    else:
        pad = -(len(inner) + 2) % peer.sa.aligned
        plaintext = inner + bytes(pad) + bytes((pad, 59 if sent.harm == "dummy" else following))
    esp = peer.esp(seq64, plaintext)
    if sent.harm == "short":
        esp = esp[: len(esp) - sent.at % len(esp)]
    if sent.harm == "spi":
        esp = bytes(4) + esp[4:]
    v4 = len(peer.sa.dst) == 4
    fields = outer_fields(sent, v4)
    if sent.harm in ("bare", "udp"):  # the encapsulation is another than the SA's
        ends: dict[str, Any] = {"src": ENDS[4 if v4 else 6][0], "dst": ENDS[4 if v4 else 6][1]}
        proto = 50 if sent.harm == "bare" else 17
        esp = esp if sent.harm == "bare" else udp(esp, 4500, 4500)
        return ipv4(esp, proto=proto, **ends, **fields) if v4 else ipv6(esp, next_header=proto, **ends, **fields)
    if not v4 and sent.harm in ("options", "fragment"):
        encap = peer.sa.encap
        kind, body = (50, esp) if encap is None else (17, udp(esp, encap.sport, encap.dport))
        first = fragment_header(kind, sent.at % 3, more=True) if sent.harm == "fragment" else extension(kind)
        return ipv6(first + body, src=ENDS[6][0], dst=ENDS[6][1], next_header=44 if sent.harm == "fragment" else 0)
    return peer.around(esp, **fields)


def packets_of(sad: Sad, arrivals: list[Sent]) -> tuple[list[bytes], list[float]]:
    """The bytes, each SA's numbers starting at its own window."""
    entries = list(sad)
    packets, times, now = [], [], 0.0
    peers = {e.sa_index: Peer(e.sa) for e in entries if e.sa.keys is not None}
    numbers = {e.sa_index: e.window.resume or e.window.top for e in entries}
    for sent in arrivals:
        entry = entries[sent.sa % len(entries)]
        now += sent.wait
        times.append(now)
        numbers[entry.sa_index] = seq64 = max(numbers[entry.sa_index] + sent.step, 0)
        if entry.sa_index in peers:
            packet = sealed(peers[entry.sa_index], sent, seq64)
        else:
            packet = ipv4(entry.sa.spi.to_bytes(4) + (seq64 & M32).to_bytes(4) + DATA, dst=ENDS[4][1], proto=50)
        packets.append(harmed(packet, sent))
    return packets, times


EXAMPLES = settings(deadline=None, max_examples=25 if UNJITTED else 250)
RUNS = st.lists(SENT, min_size=8, max_size=50)


@pytest.mark.parametrize("engine", ENGINES)
@EXAMPLES
@given(st.lists(sas(), min_size=1, max_size=6), RUNS, st.sampled_from(CUTS), st.sampled_from([0, 0, 5]), st.booleans())
def test_equal_for_any_sas_and_packets(engine, chosen, arrivals, cut, mark, write_back):
    packets, times = packets_of(make(chosen), arrivals)
    both(lambda: make(chosen), packets, times, cut=cut, engine=engine, mark=mark, write_back=write_back)


@EXAMPLES
@given(sas().filter(lambda s: s[0].keys is not None and s[0].window and s[0].dir is not Direction.OUT), RUNS,
       st.sampled_from(CUTS))  # fmt: skip
def test_equal_for_one_sa_and_all_of_its_packets(one, arrivals, cut):
    """Every packet is one SA's, so the window has much to say."""
    sa = one[0]
    sa = SecurityAssociation(
        sa.src, sa.dst, sa.spi, mode=sa.mode, algorithms=sa.algorithms, window=sa.window, flags=sa.flags,
        replay=sa.replay,
    )  # fmt: skip
    packets, times = packets_of(make([(sa, one[1])]), arrivals)
    both(lambda: make([(sa, one[1])]), packets, times, cut=cut)


@pytest.mark.parametrize(("policy", "port_key"), [*product(POLICIES, [False]), ("rfc4301", True)])
@settings(deadline=None, max_examples=5 if UNJITTED else 25)
@given(st.lists(sas(), min_size=1, max_size=6), RUNS, st.sampled_from(CUTS))
def test_equal_under_every_policy(policy, port_key, chosen, arrivals, cut):
    packets, times = packets_of(make(chosen, policy, port_key), arrivals)
    both(lambda: make(chosen, policy, port_key), packets, times, cut=cut)


@EXAMPLES
@given(st.lists(st.binary(max_size=90), max_size=9), st.sampled_from(CUTS))
def test_equal_for_any_bytes(packets, cut):
    sa = gcm_sa()
    both(lambda: new_sad(sa), packets, [0.0] * len(packets), cut=cut)


# -- within one batch -------------------------------------------------------------------------------------------------


def esn_sa(**options) -> SecurityAssociation:
    return gcm_sa(flags=frozenset({"esn"}), **options)


def verdicts(
    sa: SecurityAssociation, numbers: list[int], *, engine: str = "cryptography", cut: int = 1000
) -> list[str]:
    packets = [Peer(sa).packet(n, ipv4(DATA)) for n in numbers]
    answers = both(lambda: new_sad(sa, keep_window=True), packets, [0.0] * len(packets), cut=cut, engine=engine)
    return [answer.verdict.name for answer in answers]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", CUTS)
class TestWithinABatch:
    def test_across_the_wrap(self, engine, cut):
        numbers = [*range(WRAP - 70, WRAP + 70), WRAP + 3, WRAP - 2]
        sa = esn_sa(replay=ReplayState(seq=WRAP - 71))
        found = verdicts(sa, numbers, engine=engine, cut=cut)
        # a number left of the window is taken for one of the next 2^32
        assert found == ["DELIVERED"] * 140 + ["INTEGRITY", "INTEGRITY"]

    def test_the_same_number_twice(self, engine, cut):
        assert verdicts(gcm_sa(), [1, 1, 3, 2, 3, 2], engine=engine, cut=cut) == [
            "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED", "DELIVERED", "REPLAY_DUPLICATE", "REPLAY_DUPLICATE"
        ]  # fmt: skip

    def test_another_high_half_by_then(self, engine, cut):
        """With the window at 10 the second number would be one before the first 2^32."""
        sa = esn_sa(replay=ReplayState(seq=10))
        assert verdicts(sa, [1 << 31, WRAP - 10], engine=engine, cut=cut) == ["DELIVERED", "DELIVERED"]

    def test_another_high_half_of_a_packet_that_was_cut(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=10))
        packets = [Peer(sa).packet(1 << 31, ipv4(DATA)), Peer(sa).packet(WRAP - 10, ipv4(DATA))[:-1]]
        answers = both(lambda: new_sad(sa, keep_window=True), packets, [0.0, 0.0], cut=cut, engine=engine)
        assert [(a.verdict, a.counter) for a in answers] == [(Verdict.DELIVERED, None), (Verdict.TRUNCATED, None)]

    def test_refused_at_first_and_not_by_then(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=1000, bitmap=1 << 10))
        numbers = [1 << 31, WRAP - 10, WRAP + 990]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == ["DELIVERED"] * 3

    def test_opened_at_first_and_not_authentic_by_then(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=1000))
        numbers = [1 << 31, WRAP - 1, WRAP + 2000, 1001]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == [*["DELIVERED"] * 3, "INTEGRITY"]

    def test_without_an_icv_every_number_opens(self, engine, cut):
        sa = SecurityAssociation(
            parse_address("192.0.2.1"), parse_address("192.0.2.2"), 7, mode=Mode.TUNNEL, window=64,
            algorithms=SUITES["cbc(aes)-digest_null-0"], flags=frozenset({"esn"}), replay=ReplayState(seq=1000),
        )  # fmt: skip
        numbers = [1 << 31, WRAP - 1, WRAP + 2000, 1001]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == ["DELIVERED"] * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_no_plaintext_of_a_packet_that_failed_its_icv_stays(engine):
    """Forged ones, and one that was opened under a number which turned out to be another."""
    sa, secret = esn_sa(replay=ReplayState(seq=1000)), b"never to be seen"
    plain, hidden = ipv4(udp(b"for everyone to see")), ipv4(udp(secret * 3))
    packets = [Peer(sa).packet(n, plain) for n in (1 << 31, WRAP - 1, WRAP + 2000)]
    packets += [Peer(sa).packet(1001, hidden), Peer(sa).packet(1002, hidden)[:-1] + b"?"]
    path = BatchInbound(Inbound(new_sad(sa, keep_window=True)), engine)
    batch = PacketBatch.of(packets)
    path.run(batch)
    assert batch.verdict.tolist() == [0, 0, 0, Verdict.INTEGRITY, Verdict.INTEGRITY]
    assert b"for everyone to see" in batch.arena.tobytes()
    assert secret not in batch.arena.tobytes()


@pytest.mark.parametrize("cut", CUTS)
def test_an_sa_behind_one_that_expires(cut):
    """full-4301 finds by SPI alone: when the newer SA is gone, the older one gets its packets, in mid-batch too."""
    older, newer = gcm_sa(dst="192.0.2.3"), gcm_sa(limits=Limits(hard_packets=2))
    packets = [Peer(newer).packet(n, ipv4(DATA)) for n in (1, 2, 3, 4, 4, 5, 4)]
    answers = both(lambda: make([(older, False), (newer, False)], "full-4301"), packets, [0.0] * 7, cut=cut)
    assert [a.verdict.name for a in answers] == [
        "DELIVERED", "DELIVERED", "EXPIRED", "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED", "REPLAY_DUPLICATE"
    ]  # fmt: skip


def test_an_sa_of_an_odd_family_is_not_found():
    def odd() -> Sad:
        sad = new_sad()
        sad.newsa(gcm_sa(), af=10)
        return sad

    (answer,) = both(odd, [Peer(gcm_sa()).packet(1, ipv4(DATA))], [0.0])
    assert answer.verdict is Verdict.NO_SA


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_largest_packets_and_none():
    sa = gcm_sa(mode=Mode.TUNNEL)
    inner = ipv4(udp(bytes(65535 - 20 - 8 - 84)))
    packets = [Peer(sa).packet(n, inner) for n in (1, 2)]
    assert len(packets[0]) > 65500
    both(lambda: new_sad(sa), packets, [0.0, 1.0])
    assert BatchInbound(Inbound(new_sad())).receive([]) == []
    assert shown(BatchInbound(Inbound(new_sad())).receive(packets[:1])[0])[0] is Verdict.NO_SA


def test_rows_past_the_arena_and_rows_that_overlap():
    sa = gcm_sa()
    packet = Peer(sa).packet(1, ipv4(DATA))
    path = BatchInbound(Inbound(new_sad(sa)))
    arena = np.frombuffer(bytearray(packet), np.uint8)
    offset = np.array([0, 1, -1, 1 << 62, len(packet), 0], np.int64)
    length = np.array([len(packet), len(packet), 20, 20, 0, len(packet) - 1], np.int32)
    batch = PacketBatch(arena, offset, length, np.zeros(6), np.zeros(6, np.uint32))
    path.run(batch)
    header = Verdict.HEADER
    assert batch.verdict[:5].tolist() == [Verdict.DELIVERED, header, header, header, NOT_ESP]
    with pytest.raises(ValueError, match="one length"):
        PacketBatch(arena, offset, length[:3], np.zeros(6), np.zeros(6, np.uint32))


def test_an_engine_that_is_not_there():
    with pytest.raises(InputError, match="no such engine"):
        BatchInbound(Inbound(new_sad()), "abacus")


# -- the stages' contract ---------------------------------------------------------------------------------------------


def test_every_column_has_its_writers():
    written = [name for _, writes in STAGES for name in writes]
    assert set(written) == set(COLUMNS) | {"arena"}


def test_a_stage_that_writes_what_is_not_its_own_is_caught():
    batch = PacketBatch.of([ipv4(DATA)])

    def meddling(batch, _columns):
        batch.spi[0] += 1

    with pytest.raises(AssertionError, match="meddling wrote spi"):
        checked(meddling, frozenset({"seq"}), batch, BatchInbound(Inbound(new_sad())).columns)


def test_the_kernels_numbers_are_the_verdicts():
    numbers = [int(n) for n in (decap.TRUNCATED, decap.INTEGRITY, decap.MODE)]
    assert numbers == [Verdict.TRUNCATED, Verdict.INTEGRITY, Verdict.MODE]
    assert int(codes.NOT_ESP) == NOT_ESP
