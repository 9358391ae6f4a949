"""Rows opened and sealed by Intel's multi-buffer library, from compiled code: one function a suite.

`f` is the address of a table of the library's functions; the constants below are offsets in it. All of them but the key
set-up depend on their arguments alone, so threads with scratch memory (`work`) of their own share nothing.
"""

# ruff: noqa: PLR0917
# A batch is six columns, a row seven numbers, always in the same order.

from __future__ import annotations

from espsim.aead.native.loop import over_rows
from espsim.aead.native.row import aad, nonce
from espsim.aead.native.slots import CHACHA, GCM, HEADER, ICV, KEY, KIND, NONCE_SIZE, ROUTINE
from espsim.core.arrays import Array
from espsim.core.numbers import DONE, INTEGRITY
from espsim.jit.addresses import call, differ, load64, move
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import LINE
from espsim.jit.prefetch import prefetch_at

# Offsets in `f`, in bytes; three a name: AES-128, 192, 256 (a slot's ROUTINE is 0, 1 or 2).
SEAL_GCM, OPEN_GCM, GMAC_INIT, GMAC_UPDATE, GMAC_FINAL, SET_GCM_KEY = range(0, 144, 24)
CHACHA_INIT, SEAL_CHACHA, OPEN_CHACHA, CHACHA_FINAL = range(144, 176, 8)
# After the functions: four places in struct gcm_key_data that small packets need, and the struct's size.
SMALL, KEY_SIZE = 176, 208
_ROUND_KEYS, _LARGE = 256, 256
"""Bytes of the round keys, whole cache lines; packets from this size on need more of the hash keys, in the end all."""

# Scratch memory, offsets in bytes: struct gcm_context_data has 88, chacha20_poly1305_context_data 192.
NONCE, AAD, TAG, CONTEXT, WORK = 0, 16, 64, 128, 1024


@helper
def _gcm(routine: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int, tag: int) -> None:
    """Run `text` through GCM into `body`; the tag goes to the address `tag`."""
    number = nonce(line, work + NONCE, header, hi)
    extra, extra_size = aad(line, work + AAD, header, hi)
    key, tag_size = load64(line + KEY), load64(line + ICV)
    call(routine, (key, work + CONTEXT, body, text, icv - body, number, extra, extra_size, tag, tag_size))


@helper
def _gmac(f: int, line: int, work: int, header: int, icv: int, hi: int, tag: int) -> None:
    """RFC 4543: the tag over SPI, [seq_hi,] seq, IV, payload goes to the address `tag`."""
    key, context, size = load64(line + KEY), work + CONTEXT, load64(line + ROUTINE)
    extra, extra_size = aad(line, work + AAD, header, hi)
    call(load64(f + GMAC_INIT + 8 * size), (key, context, nonce(line, work + NONCE, header, hi), NONCE_SIZE))
    call(load64(f + GMAC_UPDATE + 8 * size), (key, context, extra, extra_size))
    call(load64(f + GMAC_UPDATE + 8 * size), (key, context, header + HEADER, icv - header - HEADER))
    call(load64(f + GMAC_FINAL + 8 * size), (key, context, tag, load64(line + ICV)))


@helper
def _chacha(
    f: int, update: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int, tag: int
) -> None:  # fmt: skip
    """Run `text` through ChaCha20-Poly1305 into `body`; the tag goes to the address `tag`."""
    key, context = load64(line + KEY), work + CONTEXT
    extra, extra_size = aad(line, work + AAD, header, hi)
    call(load64(f + CHACHA_INIT), (key, context, nonce(line, work + NONCE, header, hi), extra, extra_size))
    call(update, (key, context, body, text, icv - body))
    call(load64(f + CHACHA_FINAL), (context, tag, load64(line + ICV)))


@helper
def _open_row(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """Both ciphers are their own inverse: the same again puts the ciphertext back."""
    kind, tag = load64(line + KIND), work + TAG
    if kind == GCM:
        routine = load64(f + OPEN_GCM + 8 * load64(line + ROUTINE))
        _gcm(routine, line, work, header, body, body, icv, hi, tag)
        if differ(tag, icv, load64(line + ICV)) == 0:
            return DONE
        _gcm(routine, line, work, header, body, body, icv, hi, tag)
        return INTEGRITY
    if kind == CHACHA:
        _chacha(f, load64(f + OPEN_CHACHA), line, work, header, body, body, icv, hi, tag)
        if differ(tag, icv, load64(line + ICV)) == 0:
            return DONE
        _chacha(f, load64(f + OPEN_CHACHA), line, work, header, body, body, icv, hi, tag)
        return INTEGRITY
    _gmac(f, line, work, header, icv, hi, tag)
    return DONE if differ(tag, icv, load64(line + ICV)) == 0 else INTEGRITY


@helper
def _seal_row(f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    """The library writes the tag where the ICV lies. GMAC encrypts nothing, so its text is copied."""
    kind = load64(line + KIND)
    if kind == GCM:
        _gcm(load64(f + SEAL_GCM + 8 * load64(line + ROUTINE)), line, work, header, text, body, icv, hi, icv)
    elif kind == CHACHA:
        _chacha(f, load64(f + SEAL_CHACHA), line, work, header, text, body, icv, hi, icv)
    else:
        move(body, text, icv - body)
        _gmac(f, line, work, header, icv, hi, icv)
    return DONE


@inlined
def _prefetch_key(f: int, key: int, size: int) -> None:
    stop = load64(f + KEY_SIZE) if size >= _LARGE else _ROUND_KEYS
    for at in range(0, stop, LINE):
        prefetch_at(key + at)
    if size < _LARGE:
        for at in range(SMALL, KEY_SIZE, 8):
            prefetch_at(key + load64(f + at))


@inlined
def _run_row(
    opening: bool, f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int
) -> int:  # fmt: skip
    if opening:
        return _open_row(f, line, work, header, body, icv, hi)
    return _seal_row(f, line, work, header, text, body, icv, hi)


@kernel
def run_ipsec_mb(
    opening: bool, functions: Array, lines: Array, scratch: Array,
    arena: Array, esp: Array, end: Array, slot: Array, seq64: Array, result: Array, clear: Array, clear_at: Array,
) -> int:  # fmt: skip
    """Open or seal the waiting rows (batch.py); answers as over_rows."""
    return over_rows(
        _run_row, _prefetch_key, opening, functions, lines, scratch, arena, esp, end, slot, seq64, result, clear,
        clear_at,
    )  # fmt: skip
