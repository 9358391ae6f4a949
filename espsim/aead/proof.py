"""How an engine proves itself before it is used: what it seals, what it opens, and what it must refuse.

1. Published packets (known_answers.py): opened to their plaintext, sealed to their bytes.
2. Every suite with every key and ICV length, with and without ESN, at sizes around the places where libraries change
   their loops: sealed as `cryptography` seals them (where the engine is another), and opened again.
3. Forgeries of all of these: each byte of the ICV of every published packet and of one packet a suite and ICV length;
   first, last and one more byte of the ICV, and bytes of header and body, under every key. Each must be refused, and
   its row must be as it came, byte for byte.

That takes some hundredths of a second.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import numpy as np

from espsim.aead.batch import BatchEngine, SlotKeys
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.engine import WrongEngineError
from espsim.aead.known_answers import KNOWN_ANSWERS, PacketRows, suites
from espsim.aead.suites import resolve
from espsim.core.arrays import U8
from espsim.core.numbers import DONE, INTEGRITY

# Whole blocks, because CBC takes nothing else.
_SIZES = (0, 16, 32, 48, 64, 112, 128, 144, 256, 272, 512, 784, 1424, 2048)


def prove(engine: BatchEngine) -> int:
    """How many rows the engine got right. Raises WrongEngineError at the first that it got wrong, naming it."""
    return _published(engine) + _every_suite(engine)


def _published(engine: BatchEngine) -> int:
    answers = [(a, SlotKeys(resolve(a.algorithms), a.seq_hi is not None)) for a in KNOWN_ANSWERS]
    answers = [(a, slot) for a, slot in answers if engine.supports(slot.keys)]
    slots = [slot for _, slot in answers]
    packets = [(n, a.seq_hi or 0, a.packet) for n, (a, _) in enumerate(answers)]
    icvs = [len(a.packet) - slot.keys.icv_length for a, slot in answers]
    opened = [a.packet[: icv - len(a.plaintext)] + a.plaintext + a.packet[icv:]
              for (a, _), icv in zip(answers, icvs, strict=True)]  # fmt: skip
    sealed, clear = (
        PacketRows.of(packets),
        PacketRows.of([(n, hi, data) for (n, hi, _), data in zip(packets, opened, strict=True)]),
    )
    rows = PacketRows.of(packets)
    engine.opener(slots).open(*rows.columns())
    for n, (answer, _) in enumerate(answers):
        if rows.result[n] != DONE or rows.arena[rows.esp[n] : rows.end[n]].tobytes() != opened[n]:
            raise WrongEngineError(f"{engine.version} opens {answer.source} wrongly")
    if not np.array_equal(rows.arena, clear.arena):
        raise WrongEngineError(f"{engine.version} writes past its rows")
    engine.sealer(slots).seal(*rows.columns())
    if not (rows.result == DONE).all() or not np.array_equal(rows.arena, sealed.arena):
        raise WrongEngineError(f"{engine.version} seals a published packet wrongly")
    forged = [_flipped(p, at) for p, icv in zip(packets, icvs, strict=True) for at in range(icv, len(p[2]))]
    return 2 * len(answers) + _refuses(engine, slots, forged)


def _every_suite(engine: BatchEngine) -> int:
    keys = [k for k in map(resolve, suites()) if engine.supports(k)]
    slots = [SlotKeys(k, esn) for k in keys for esn in (False, True)]
    rng = random.Random(4106)
    packets = []
    for number, slot in enumerate(slots):
        rest = slot.keys.suite.iv_length + slot.keys.icv_length + 8
        packets += [(number, rng.getrandbits(32), rng.randbytes(rest + size)) for size in rng.sample(_SIZES, 5)]
    rows = PacketRows.of(packets)
    clear = rows.arena.copy()
    engine.sealer(slots).seal(*rows.columns())
    _check_sealed(engine, slots, rows, clear)
    sealed = [
        (number, hi, rows.arena[esp:end].tobytes())
        for (number, hi, _), esp, end in zip(packets, rows.esp, rows.end, strict=True)
    ]
    engine.opener(slots).open(*rows.columns())
    _check_opened(engine, slots, rows, clear)
    return 2 * len(packets) + _refuses(engine, slots, [*_forgeries(slots, sealed)])


def _check_sealed(engine: BatchEngine, slots: list[SlotKeys], rows: PacketRows, clear: U8) -> None:
    """Compare with `cryptography`, which seals the same rows; published packets alone prove that engine itself."""
    want = PacketRows(clear.copy(), rows.esp, rows.end, rows.slot, rows.seq64, rows.result.copy())
    if type(engine) is CryptographyBatch:
        want.arena, want.result[:] = rows.arena, DONE
    else:
        CryptographyBatch().sealer(slots).seal(*want.columns())
    _same(engine, slots, rows, want, "seals {suite} unlike cryptography ({size} bytes)")


def _check_opened(engine: BatchEngine, slots: list[SlotKeys], rows: PacketRows, clear: U8) -> None:
    """Open the sealed rows: all bytes are as before sealing, but for the ICVs."""
    want = PacketRows(clear.copy(), rows.esp, rows.end, rows.slot, rows.seq64, np.full_like(rows.result, DONE))
    for end, number in zip(rows.end, rows.slot, strict=True):
        icv = slice(int(end) - slots[number].keys.icv_length, int(end))
        want.arena[icv] = rows.arena[icv]
    _same(engine, slots, rows, want, "does not open what it sealed: {suite} ({size} bytes)")


_Packet = tuple[int, int, bytes]
"""Slot, high half of the sequence number, bytes from the ESP header to the ICV."""


def _forgeries(slots: list[SlotKeys], sealed: Iterable[_Packet]) -> Iterator[_Packet]:
    """Every packet with one byte changed, by turns at five places; of the first one a suite and ICV length, all."""
    seen = set()
    for n, packet in enumerate(sealed):
        number, _, data = packet
        keys = slots[number].keys
        if not keys.icv_length:
            continue
        icv = len(data) - keys.icv_length
        yield _flipped(packet, (icv, len(data) - 1, icv + number % keys.icv_length, 8, number % 8)[n % 5])
        if (keys.suite.name, keys.icv_length) not in seen:
            seen.add((keys.suite.name, keys.icv_length))
            yield from (_flipped(packet, at) for at in range(icv, len(data)))


def _flipped(packet: _Packet, at: int) -> _Packet:
    """With another bit of the byte `at` for every place."""
    number, hi, data = packet
    return number, hi, data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]


def _refuses(engine: BatchEngine, slots: list[SlotKeys], forged: list[_Packet]) -> int:
    """How many there are. WrongEngineError where one opens, or its bytes change."""
    rows = PacketRows.of(forged)
    came = PacketRows(
        rows.arena.copy(), rows.esp, rows.end, rows.slot, rows.seq64, np.full_like(rows.result, INTEGRITY)
    )
    engine.opener(slots).open(*rows.columns())
    for n in np.flatnonzero(rows.result != INTEGRITY).tolist():
        keys = slots[int(rows.slot[n])].keys
        what = "accepts" if rows.result[n] == DONE else "does not say INTEGRITY of"
        raise WrongEngineError(f"{engine.version} {what} a forged packet of {keys.suite.name}, {_icv(keys.icv_length)}")
    _same(engine, slots, rows, came, "does not put back a forged packet of {suite} ({size} bytes)")
    return len(forged)


def _icv(length: int) -> str:
    return f"ICV of {8 * length} bits"


def _same(engine: BatchEngine, slots: list[SlotKeys], rows: PacketRows, want: PacketRows, what: str) -> None:
    """WrongEngineError with `what` for the first row whose bytes or result differ; then for bytes between rows."""
    for n, (esp, end, number) in enumerate(zip(rows.esp, rows.end, rows.slot, strict=True)):
        if not np.array_equal(rows.arena[esp:end], want.arena[esp:end]) or rows.result[n] != want.result[n]:
            suite = slots[int(number)].keys.suite.name
            raise WrongEngineError(f"{engine.version} {what.format(suite=suite, size=end - esp)}")
    if not np.array_equal(rows.arena, want.arena):
        raise WrongEngineError(f"{engine.version} writes past its rows")
