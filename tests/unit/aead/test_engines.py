"""Every engine against `cryptography`, row by row: bytes, answers, what is left of a row that did not open."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from espsim.aead.batch import Clear, SlotKeys
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engines import AUTO, ENGINES, engine_by_name
from espsim.aead.known_answers import PacketRows, suites
from espsim.aead.suites import Algorithm, pack_seq_hi, resolve
from espsim.core.numbers import DONE, INTEGRITY, TRUNCATED, WAITING
from tests.support import usable


def lengths(slots):
    """The IV's and the ICV's length of each slot in bytes, 0 where a slot is empty: where a row's plaintext lies."""
    iv = np.array([s.keys.suite.iv_length if s else 0 for s in slots], dtype=np.int64)
    icv = np.array([s.keys.icv_length if s else 0 for s in slots], dtype=np.int64)
    return iv, icv


GCM = (Algorithm("aead", "rfc4106(gcm(aes))", bytes(range(20)), 128),)
CHACHA = (Algorithm("aead", "rfc7539esp(chacha20,poly1305)", bytes(range(36)), 128),)
CCM = (Algorithm("aead", "rfc4309(ccm(aes))", bytes(range(19)), 128),)
CBC = (Algorithm("enc", "cbc(aes)", bytes(16)), Algorithm("auth-trunc", "hmac(sha256)", bytes(32), 128))
GMAC = (Algorithm("aead", "rfc4543(gcm(aes))", bytes(range(20)), 128),)


@pytest.fixture(params=[*ENGINES, AUTO])
def engine(request):
    return engine_by_name(AUTO) if request.param == AUTO else usable(request.param)


def slots_of(*algorithms, esn=False):
    return [SlotKeys(resolve(a), esn) for a in algorithms]


def random_rows(slots, sizes, seed):
    """Rows of random bytes with room for an ICV, one a size, in slots and epochs drawn at random."""
    rng = random.Random(seed)
    packets = []
    for size in sizes:
        number = rng.randrange(len(slots))
        suite, icv = slots[number].keys.suite, slots[number].keys.icv_length
        body = size - size % suite.block
        packets.append((number, rng.getrandbits(32), rng.randbytes(8 + suite.iv_length + body + icv)))
    return PacketRows.of(packets)


def sealed(slots, sizes, seed):
    rows = random_rows(slots, sizes, seed)
    CryptographyBatch().sealer(slots).seal(*rows.columns())
    assert (rows.result == DONE).all()
    return rows


def copy(rows):
    return PacketRows(*(c.copy() for c in (rows.arena, rows.esp, rows.end, rows.slot, rows.seq64, rows.result)))


ALL = [SlotKeys(k, esn) for k in map(resolve, suites()) for esn in (False, True)]


@pytest.mark.parametrize("seed", range(4))
def test_seals_and_opens_as_cryptography_does_at_any_size(engine, seed):
    sizes = random.Random(seed).sample(range(2049), 400)
    ours = random_rows(ALL, sizes, seed)
    clear, twin = copy(ours), copy(ours)
    engine.sealer(ALL).seal(*ours.columns())
    CryptographyBatch().sealer(ALL).seal(*twin.columns())
    assert (ours.result == DONE).all()
    assert np.array_equal(ours.arena, twin.arena)
    engine.opener(ALL).open(*ours.columns())
    assert (ours.result == DONE).all()
    _, icv = lengths(ALL)
    for esp, end, slot in zip(ours.esp, ours.end, ours.slot, strict=True):
        plain = slice(esp, end - icv[slot])
        assert np.array_equal(ours.arena[plain], clear.arena[plain])


def test_a_plaintext_elsewhere_gives_the_same_packet_and_stays_as_it_is(engine):
    rows = random_rows(ALL, range(0, 2048, 7), 11)
    twin, rng = copy(rows), np.random.default_rng(12)
    iv, icv = lengths(ALL)
    body, end = rows.esp + 8 + iv[rows.slot], rows.end - icv[rows.slot]
    first = body[1]  # so that the second row's plaintext begins at 0
    clear = Clear(rows.arena[first:].copy(), np.where(rng.random(len(body)) < 0.8, body - first, -1))
    clear.at[:2] = -1, 0
    for at, stop, place in zip(body, end, clear.at, strict=True):
        if place >= 0:
            rows.arena[at:stop] = 0xAA  # nothing of it may be in what is sealed
    before = clear.arena.copy()
    engine.sealer(ALL).seal(*rows.columns(), clear)
    engine.sealer(ALL).seal(*twin.columns())
    assert (rows.result == DONE).all()
    assert np.array_equal(rows.arena, twin.arena)
    assert np.array_equal(clear.arena, before)


def test_a_plaintext_that_would_leave_its_arena_is_not_read(engine):
    rows = random_rows(ALL, [64] * len(ALL), 13)
    before = rows.arena.copy()
    short = Clear(np.zeros(40, np.uint8), np.zeros(len(rows.esp), np.int64))
    engine.sealer(ALL).seal(*rows.columns(), short)
    assert (rows.result == TRUNCATED).all()
    assert np.array_equal(rows.arena, before)


def test_a_plaintext_in_its_place_may_be_longer_than_the_other_arena(engine):
    rows = random_rows(ALL, [64] * len(ALL), 14)
    twin = copy(rows)
    engine.sealer(ALL).seal(*rows.columns(), Clear(np.zeros(3, np.uint8), np.full(len(rows.esp), -1)))
    engine.sealer(ALL).seal(*twin.columns())
    assert (rows.result == DONE).all()
    assert np.array_equal(rows.arena, twin.arena)


def test_the_batch_twin_does_what_one_packet_transforms_do():
    """`cryptography` in batches, the standard for all engines, against the transforms of the reference path."""
    rows = random_rows(ALL, range(0, 2048, 5), 10)
    clear = rows.arena.copy()
    CryptographyBatch().sealer(ALL).seal(*rows.columns())
    for esp, end, number, seq64 in zip(rows.esp, rows.end, rows.slot, rows.seq64, strict=True):
        slot, packet = ALL[number], clear[esp:end].tobytes()
        body, icv = 8 + slot.keys.suite.iv_length, slot.keys.icv_length
        seq_hi = pack_seq_hi(int(seq64)) if slot.esn else b""
        transform = CryptographyEngine().transform(slot.keys)
        sealed_body = transform.seal(packet[:8], seq_hi, packet[8:body], packet[body : len(packet) - icv])
        assert rows.arena[esp:end].tobytes() == packet[:body] + sealed_body


@pytest.mark.parametrize("where", ["icv", "body", "iv", "spi", "seq", "seq64"])
def test_a_forged_row_is_refused_and_stays_as_it_came(engine, where):
    """Whatever is changed: the answer is INTEGRITY, and the arena has exactly the bytes that came, no plaintext."""
    slots = [s for s in ALL if s.esn and s.keys.icv_length]
    rows = sealed(slots, [64 + 16 * (n % 60) for n in range(300)], 1)
    iv, _ = lengths(slots)
    change = np.random.default_rng(2).integers(1, 256, len(rows.esp), dtype=np.uint8)
    at = {
        "icv": rows.end - 1, "body": rows.esp + 8 + iv[rows.slot], "iv": rows.esp + 8 + iv[rows.slot] // 2,
        "spi": rows.esp, "seq": rows.esp + 7,
    }  # fmt: skip
    if where == "seq64":
        rows.seq64 += np.uint64(1 << 32)
    else:
        rows.arena[at[where]] ^= change
    came = rows.arena.copy()
    opener = engine.opener(slots)
    opener.open(*rows.columns())
    assert (rows.result == INTEGRITY).all()
    assert np.array_equal(rows.arena, came)
    if where == "seq64":  # and so a row can be tried again with another guess
        rows.seq64 -= np.uint64(1 << 32)
        opener.open(*rows.columns())
        assert (rows.result == DONE).all()


def test_a_libcrypto_without_camellia_leaves_it_to_another_engine():
    keys = resolve((Algorithm("enc", "cbc(camellia)", bytes(16)), Algorithm("auth", "hmac(sha1)", b"k")))
    engine = usable("libcrypto").with_fallback(CryptographyBatch)
    assert engine.engine_for(keys) is engine
    engine._camellia = False  # type: ignore[attr-defined]
    assert engine.engine_for(keys).name == "cryptography"


def test_no_plaintext_of_a_forged_row_is_in_the_arena(engine):
    text = b"unverified plaintext must not be here"
    for algorithms in (GCM, CHACHA, CCM, CBC, GMAC):
        slots = slots_of(algorithms)
        suite, icv = slots[0].keys.suite, slots[0].keys.icv_length
        body = text.ljust(48, b".")
        rows = PacketRows.of([(0, 0, bytes(8 + suite.iv_length) + body + bytes(icv))])
        engine.sealer(slots).seal(*rows.columns())
        rows.arena[int(rows.end[0]) - 1] ^= 1
        engine.opener(slots).open(*rows.columns())
        assert rows.result[0] == INTEGRITY
        assert (text in rows.arena.tobytes()) == (algorithms is GMAC)  # GMAC encrypts nothing


def test_rows_among_others_are_judged_for_themselves(engine):
    """Good, forged, cut, past the arena and not waiting, in one batch: each gets its answer, only its bytes change."""
    slots = slots_of(GCM, CHACHA, CCM, CBC, GMAC)
    rows = sealed(slots, [128] * 60, 3)
    iv, icv = lengths(slots)
    came = rows.arena.copy()
    expected = np.array([DONE, INTEGRITY, TRUNCATED, TRUNCATED, 7, TRUNCATED] * 10, dtype=np.uint8)
    rows.arena[rows.end[1::6] - 1] ^= 1
    rows.end[2::6] = rows.esp[2::6] + 8 + (iv + icv)[rows.slot[2::6]] - 1
    rows.end[3::6] = len(rows.arena) + 1
    rows.esp[5::6] = -1
    columns = rows.columns()
    rows.result[4::6] = 7
    engine.opener(slots).open(*columns)
    assert rows.result.tolist() == expected.tolist()
    for n in range(0, 60, 6):
        body = slice(rows.esp[n] + 8 + iv[rows.slot[n]], rows.end[n] - icv[rows.slot[n]])
        if slots[rows.slot[n]].keys.suite.name != "rfc4543(gcm(aes))":
            assert not np.array_equal(rows.arena[body], came[body])
        came[body] = rows.arena[body]
    came[rows.end[1::6] - 1] ^= 1
    assert np.array_equal(rows.arena, came)


@pytest.mark.parametrize("start", [-(2**63), -1, 2**40, 2**63 - 1])
@pytest.mark.parametrize("stop", [-(2**63), -1, 0, 2**40, 2**63 - 1])
def test_offsets_out_of_this_world_touch_nothing(engine, start, stop):
    slots = slots_of(GCM)
    rows = sealed(slots, [64], 4)
    came = rows.arena.copy()
    rows.esp[:], rows.end[:] = start, stop
    for run in (engine.opener(slots).open, engine.sealer(slots).seal):
        run(*rows.columns())
        assert rows.result[0] == TRUNCATED
        assert np.array_equal(rows.arena, came)


def test_no_rows_and_the_largest_packet(engine):
    slots = slots_of(GCM, CBC, CHACHA, CCM)
    empty = PacketRows.of([])
    engine.opener(slots).open(*empty.columns())
    rows = sealed(slots, [65504] * 8, 5)
    clear = random_rows(slots, [65504] * 8, 5)
    engine.opener(slots).open(*rows.columns())
    assert (rows.result == DONE).all()
    _, icv = lengths(slots)
    for n, slot in enumerate(rows.slot):
        body = slice(rows.esp[n], rows.end[n] - icv[slot])
        assert np.array_equal(rows.arena[body], clear.arena[body])


def test_cbc_that_is_not_whole_blocks(engine):
    """Sealing refuses; opening says so only where the ICV is right."""
    slots = slots_of(CBC)
    rows = PacketRows.of([(0, 0, bytes(8 + 16 + 15 + 16))])
    engine.sealer(slots).seal(*rows.columns())
    assert rows.result[0] == TRUNCATED
    null = [SlotKeys(resolve((Algorithm("enc", "ecb(cipher_null)", b""), CBC[1])))]
    engine.sealer(null).seal(*rows.columns())  # the same MAC over the same bytes
    assert rows.result[0] == DONE
    engine.opener(slots).open(*rows.columns())
    assert rows.result[0] == TRUNCATED
    rows.arena[int(rows.end[0]) - 1] ^= 1
    engine.opener(slots).open(*rows.columns())
    assert rows.result[0] == INTEGRITY


@pytest.mark.parametrize("number", [-1, 3, 1, 2**31 - 1])
def test_a_slot_without_keys_is_an_error_of_the_caller(engine, number):
    slots = [*slots_of(GCM), None, *slots_of(CBC)]
    rows = sealed(slots_of(GCM), [64] * 3, 6)
    rows.slot[1] = number
    with pytest.raises(IndexError, match=f"row 1: there are no keys in slot {number}$"):
        engine.opener(slots).open(*rows.columns())


def test_columns_that_are_not_what_they_should_be(engine):
    if engine.name == "cryptography":
        pytest.skip("plain Python checks as it goes")
    rows, opener = sealed(slots_of(GCM), [64] * 3, 7), engine.opener(slots_of(GCM))
    arena, esp, end, slot, seq64, result = rows.columns()
    for wrong in (
        (arena, esp[:2], end, slot, seq64, result),
        (arena, esp, end, slot.astype(np.int64), seq64, result),
        (arena[::2], esp, end, slot, seq64, result),
    ):
        with pytest.raises(ValueError, match=r"column|arena"):
            opener.open(*wrong)
    for clear in (
        Clear(arena.view(np.int8), esp),
        Clear(arena, esp.astype(np.int32)),
        Clear(arena[::2], esp),
        Clear(arena, esp[:2]),
    ):
        with pytest.raises(ValueError, match=r"plaintexts|columns"):
            engine.sealer(slots_of(GCM)).seal(*rows.columns(), clear)


def test_two_threads_with_openers_of_their_own(engine):
    slots = ALL[::7]
    batches = [sealed(slots, [n % 1500 for n in range(0, 3000, 7)], seed) for seed in (8, 9)]
    clear = [copy(b) for b in batches]
    for rows in clear:
        CryptographyBatch().opener(slots).open(*rows.columns())
    wrong = []

    def work(rows, expected):
        opener = engine.opener(slots)
        for _ in range(5):
            mine = copy(rows)
            opener.open(*mine.columns())
            if not ((mine.result == DONE).all() and np.array_equal(mine.arena, expected.arena)):
                wrong.append(mine.result)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(batches, clear, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_waiting_is_no_answer():
    assert WAITING not in {DONE, INTEGRITY, TRUNCATED}
