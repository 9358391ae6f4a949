"""Rows opened and sealed by OpenSSL 3's libcrypto, from compiled code: one function a suite's kind.

A slot's ROUTINE is the address of its suite's table: the cipher's functions in its provider, and the hash's. `work` is
scratch memory with an OSSL_PARAM array that libcrypto.py has laid out.
"""

# ruff: noqa: PLR0917
# A batch is six columns, a row seven numbers, always in the same order.

from __future__ import annotations

from espsim.aead.native.loop import over_rows
from espsim.aead.native.row import aad, nonce
from espsim.aead.native.slots import AUTHENC, ESN, GMAC, HEADER, ICV, IV, KEY, KIND, MAC, ROUTINE
from espsim.core.arrays import Array
from espsim.core.numbers import BROKEN, DONE, INTEGRITY, TRUNCATED
from espsim.jit.addresses import call, copy_bytes, copy_words, differ, load64, move, store32_be, store64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import LINE
from espsim.jit.prefetch import prefetch_at

# A suite's table, offsets in bytes; OSSL_FUNC_cipher_* of OpenSSL's provider-cipher(7).
INIT, UPDATE, FINAL, GET_PARAMS, HASH_UPDATE, HASH_FINAL = range(0, 48, 8)
TABLE = 64
HASHES = (
    "SHA1_Update", "SHA1_Final", "SHA256_Update", "SHA256_Final",
    "SHA384_Update", "SHA384_Final", "SHA512_Update", "SHA512_Final",
)  # fmt: skip

# Scratch memory, offsets in bytes.
NONCE, AAD, LENGTH, DIGEST, INNER, STATE, SPARE, TAG_PARAM, TEXT = 0, 16, 32, 64, 128, 192, 448, 512, 896
WORK = 1024

# struct ossl_param_st: key, data_type, data, data_size, return_size.
PARAM_DATA, PARAM_SIZE = 16, 24
# A keyed hash of ESP: the state after the inner pad, then the one after the outer (SHA512_CTX, the largest, has 216).
HASH_STATE = 224
_CONTEXT = 768
"""Bytes of a cipher's context, whole cache lines: those of AES-GCM in 3.0, key schedule and all."""
BLOCK = CBC_IV = 16
"""Bytes of a CBC suite's IV. CTR's IV has 8: the length tells the two apart, because only CBC needs whole blocks."""


@helper
def _tag(line: int, work: int, icv: int) -> int:
    """Address of OSSL_PARAMs that say where a row's tag is, and how long."""
    params = work + TAG_PARAM
    store64(params + PARAM_DATA, icv)
    store64(params + PARAM_SIZE, load64(line + ICV))
    return params


@helper
def _start_aead(line: int, work: int, header: int, params: int, hi: int) -> int:
    """Give the cipher the row's nonce, its tag where `params` has one, and its AAD; 1 where it took them."""
    table, context = load64(line + ROUTINE), load64(line + KEY)
    number = nonce(line, work + NONCE, header, hi)
    good: int = call(load64(table + INIT), (context, 0, 0, number, 12, params))
    extra, extra_size = aad(line, work + AAD, header, hi)
    took: int = call(load64(table + UPDATE), (context, 0, work + LENGTH, extra_size, extra, extra_size))
    return good & took


@helper
def _update(line: int, work: int, target: int, source: int, size: int) -> int:
    """Run bytes through the cipher, or into its tag where `target` is 0; 1 where it took them."""
    update = load64(load64(line + ROUTINE) + UPDATE)
    took: int = call(update, (load64(line + KEY), target, work + LENGTH, size + BLOCK, source, size))
    return took


@helper
def _final(line: int, work: int) -> int:
    """1 where the cipher is content: of an opened row, where the tag is right."""
    final = load64(load64(line + ROUTINE) + FINAL)
    good: int = call(final, (load64(line + KEY), work + SPARE, work + LENGTH, BLOCK))
    return good


@helper
def _open_aead(line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """GCM and ChaCha20-Poly1305.

    1. The nonce and the ICV to compare with, by one call, then the AAD.
    2. Decrypt in place.
    3. Compare the ICV. Where it is wrong, run the key stream again: that puts the ciphertext back.
    """
    params = _tag(line, work, icv)
    if _start_aead(line, work, header, params, hi) != 1:
        return BROKEN
    _update(line, work, body, body, icv - body)
    if _final(line, work) == 1:
        return DONE
    _start_aead(line, work, header, params, hi)
    _update(line, work, body, body, icv - body)
    return INTEGRITY


@helper
def _open_gmac(line: int, work: int, header: int, icv: int, hi: int) -> int:
    """AES-GMAC (RFC 4543): nothing is decrypted; AAD, then IV and payload as more AAD, and the ICV is compared."""
    if _start_aead(line, work, header, _tag(line, work, icv), hi) != 1:
        return BROKEN
    _update(line, work, 0, header + HEADER, icv - header - HEADER)
    return DONE if _final(line, work) == 1 else INTEGRITY


@helper
def _seal_aead(line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    """GCM and ChaCha20-Poly1305 encrypt `text` into the body; GMAC takes IV and body as more AAD."""
    good = _start_aead(line, work, header, 0, hi)
    if load64(line + KIND) == GMAC:
        move(body, text, icv - body)
        good &= _update(line, work, 0, header + HEADER, icv - header - HEADER)
    else:
        good &= _update(line, work, body, text, icv - body)
    good &= _final(line, work)
    good &= call(load64(load64(line + ROUTINE) + GET_PARAMS), (load64(line + KEY), _tag(line, work, icv)))
    return DONE if good == 1 else BROKEN


@helper
def _mac(line: int, work: int, header: int, icv: int, hi: int) -> None:
    """HMAC (RFC 2104) over header, IV, ciphertext [, seq_hi] into DIGEST, from the states that the key left."""
    table = load64(line + ROUTINE)
    update, final = load64(table + HASH_UPDATE), load64(table + HASH_FINAL)
    state, keyed = work + STATE, load64(line + MAC)
    copy_words(state, keyed, HASH_STATE)
    call(update, (state, header, icv - header))
    if load64(line + ESN) != 0:
        store32_be(work + AAD, hi)
        call(update, (state, work + AAD, 4))
    call(final, (work + INNER, state))
    copy_words(state, keyed + HASH_STATE, HASH_STATE)
    digest_size = load64(keyed + 2 * HASH_STATE)
    call(update, (state, work + INNER, digest_size))
    call(final, (work + DIGEST, state))


@helper
def _start(line: int, work: int, header: int, hi: int) -> int:
    """Address of a cipher's start: CBC's IV in the packet, CTR's first counter block (RFC 3686 4) in scratch memory."""
    if load64(line + IV) == CBC_IV:
        return header + HEADER
    block = nonce(line, work + NONCE, header, hi)
    store32_be(block + 12, 1)
    return block


@helper
def _run_cipher(line: int, work: int, header: int, text: int, body: int, size: int, hi: int) -> int:
    """Run `text` through CBC, whole blocks only, or CTR into the body."""
    if size % BLOCK != 0 and load64(line + IV) == CBC_IV:
        return TRUNCATED
    init = load64(load64(line + ROUTINE) + INIT)
    if call(init, (load64(line + KEY), 0, 0, _start(line, work, header, hi), BLOCK, 0)) != 1:
        return BROKEN
    return DONE if _update(line, work, body, text, size) == 1 else BROKEN


@helper
def _open_authenc(line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """A cipher and a MAC (RFC 4303 3.4.4).

    1. The ICV, before anything is decrypted.
    2. The NULL cipher, or an empty body: nothing to decrypt.
    3. Decrypt in place.
    """
    if load64(line + MAC) != 0:
        _mac(line, work, header, icv, hi)
        if differ(work + DIGEST, icv, load64(line + ICV)) != 0:
            return INTEGRITY
    if load64(line + KEY) == 0 or icv == body:
        return DONE
    return _run_cipher(line, work, header, body, body, icv - body, hi)


@helper
def _seal_authenc(line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    """A cipher and a MAC (RFC 4303 3.3.2): encrypt, then the ICV over header, IV and ciphertext."""
    if load64(line + KEY) != 0 and icv != body:
        done = _run_cipher(line, work, header, text, body, icv - body, hi)
        if done != DONE:
            return done
    else:
        move(body, text, icv - body)
    if load64(line + MAC) != 0:
        _mac(line, work, header, icv, hi)
        copy_bytes(icv, work + DIGEST, load64(line + ICV))
    return DONE


@helper
def _open_row(line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    kind = load64(line + KIND)
    if kind == AUTHENC:
        return _open_authenc(line, work, header, body, icv, hi)
    if kind == GMAC:
        return _open_gmac(line, work, header, icv, hi)
    return _open_aead(line, work, header, body, icv, hi)


@helper
def _seal_row(line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    if load64(line + KIND) == AUTHENC:
        return _seal_authenc(line, work, header, text, body, icv, hi)
    return _seal_aead(line, work, header, text, body, icv, hi)


@inlined
def _prefetch_key(f: int, key: int, size: int) -> None:
    for at in range(0, _CONTEXT, LINE):
        prefetch_at(key + at)


@inlined
def _run_row(
    opening: bool, f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int
) -> int:  # fmt: skip
    if opening:
        return _open_row(line, work, header, body, icv, hi)
    return _seal_row(line, work, header, text, body, icv, hi)


@kernel
def run_libcrypto(
    opening: bool, functions: Array, lines: Array, scratch: Array,
    arena: Array, esp: Array, end: Array, slot: Array, seq64: Array, result: Array, clear: Array, clear_at: Array,
) -> int:  # fmt: skip
    """Open or seal the waiting rows (batch.py); answers as over_rows."""
    return over_rows(
        _run_row, _prefetch_key, opening, functions, lines, scratch, arena, esp, end, slot, seq64, result, clear,
        clear_at,
    )  # fmt: skip
