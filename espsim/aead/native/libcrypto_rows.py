"""Rows opened and sealed by OpenSSL 3's libcrypto, from compiled code: one function a suite's kind.

`f` is the address of a table of the library's functions; the constants below are offsets in it. `work` is scratch
memory with OSSL_PARAM arrays that libcrypto.py has laid out. GCM contexts for opening hold the salt as the fixed part
of a TLS IV, so that one call ("tlsivinv") sets IV and ICV: a small packet takes a third less time.
"""

# ruff: noqa: PLR0917
# A batch is six columns, a row seven numbers, always in the same order.

from __future__ import annotations

from espsim.aead.native.loop import over_rows
from espsim.aead.native.row import aad, nonce
from espsim.aead.native.slots import AUTHENC, CHACHA, ESN, GCM, GMAC, HEADER, ICV, IV, KEY, KIND, MAC, ROUTINE
from espsim.core.arrays import Array
from espsim.core.numbers import BROKEN, DONE, INTEGRITY, TRUNCATED
from espsim.jit.addresses import call, copy_bytes, copy_words, differ, load64, move, store32_be, store64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import LINE
from espsim.jit.prefetch import prefetch_at

# Offsets in `f`, in bytes; FUNCTIONS is in this order.
OPEN_INIT, OPEN_UPDATE, OPEN_FINAL, SEAL_INIT, SEAL_UPDATE, SEAL_FINAL, SET_PARAMS, GET_PARAMS, HASHES = range(0, 72, 8)
FUNCTIONS = (
    "EVP_DecryptInit_ex", "EVP_DecryptUpdate", "EVP_DecryptFinal_ex",
    "EVP_EncryptInit_ex", "EVP_EncryptUpdate", "EVP_EncryptFinal_ex",
    "EVP_CIPHER_CTX_set_params", "EVP_CIPHER_CTX_get_params",
    "SHA1_Update", "SHA1_Final", "SHA256_Update", "SHA256_Final",
    "SHA384_Update", "SHA384_Final", "SHA512_Update", "SHA512_Final",
)  # fmt: skip

# Scratch memory, offsets in bytes.
NONCE, AAD, LENGTH, DIGEST, INNER, STATE, SPARE, TAG_PARAM, GCM_PARAMS, TEXT = (
    0,
    16,
    32,
    64,
    128,
    192,
    448,
    512,
    640,
    896,
)
WORK = 1024

# struct ossl_param_st: key, data_type, data, data_size, return_size.
PARAM, PARAM_DATA, PARAM_SIZE = 40, 16, 24
# A keyed hash of ESP: the state after the inner pad, then the one after the outer (SHA512_CTX, the largest, has 216).
HASH_STATE = 224
_CONTEXT = 192
"""Bytes of an EVP_CIPHER_CTX, whole cache lines."""
BLOCK = CBC_IV = 16
"""Bytes of a CBC suite's IV. CTR's IV has 8: the length tells the two apart, because only CBC needs whole blocks."""


@helper
def _open_gcm(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """AES-GCM.

    1. Set IV and ICV by one call: the IV in the packet, or the implicit one after the salt in the nonce.
    2. AAD, then decrypt in place.
    3. Compare the ICV. Where it is wrong, run the key stream again: that puts the ciphertext back.
    """
    context, length = load64(line + KEY), work + LENGTH
    params = work + GCM_PARAMS
    store64(params + PARAM_DATA, icv)
    store64(params + PARAM_SIZE, load64(line + ICV))
    implicit = load64(line + IV) == 0
    store64(params + PARAM + PARAM_DATA, nonce(line, work + NONCE, header, hi) + 4 if implicit else header + HEADER)
    if call(load64(f + SET_PARAMS), (context, params)) != 1:
        return BROKEN
    extra, extra_size = aad(line, work + AAD, header, hi)
    call(load64(f + OPEN_UPDATE), (context, 0, length, extra, extra_size))
    call(load64(f + OPEN_UPDATE), (context, body, length, body, icv - body))
    if call(load64(f + OPEN_FINAL), (context, work + SPARE, length)) == 1:
        return DONE
    call(load64(f + SET_PARAMS), (context, params))
    call(load64(f + OPEN_UPDATE), (context, body, length, body, icv - body))
    return INTEGRITY


@helper
def _open_chacha(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """ChaCha20-Poly1305: nonce, ICV, AAD, decrypt, compare; where the ICV is wrong, the ciphertext is put back."""
    context, length = load64(line + KEY), work + LENGTH
    number, params = nonce(line, work + NONCE, header, hi), work + TAG_PARAM
    store64(params + PARAM_DATA, icv)
    store64(params + PARAM_SIZE, load64(line + ICV))
    if (
        call(load64(f + OPEN_INIT), (context, 0, 0, 0, number)) != 1
        or call(load64(f + SET_PARAMS), (context, params)) != 1
    ):
        return BROKEN
    extra, extra_size = aad(line, work + AAD, header, hi)
    call(load64(f + OPEN_UPDATE), (context, 0, length, extra, extra_size))
    call(load64(f + OPEN_UPDATE), (context, body, length, body, icv - body))
    if call(load64(f + OPEN_FINAL), (context, work + SPARE, length)) == 1:
        return DONE
    call(load64(f + OPEN_INIT), (context, 0, 0, 0, number))
    call(load64(f + OPEN_UPDATE), (context, body, length, body, icv - body))
    return INTEGRITY


@helper
def _open_gmac(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """AES-GMAC (RFC 4543): nothing is decrypted; AAD, then IV and payload as more AAD, and the ICV is compared."""
    context, length, params = load64(line + KEY), work + LENGTH, work + GCM_PARAMS
    store64(params + PARAM_DATA, icv)
    store64(params + PARAM_SIZE, load64(line + ICV))
    store64(params + PARAM + PARAM_DATA, header + HEADER)
    if call(load64(f + SET_PARAMS), (context, params)) != 1:
        return BROKEN
    extra, extra_size = aad(line, work + AAD, header, hi)
    call(load64(f + OPEN_UPDATE), (context, 0, length, extra, extra_size))
    call(load64(f + OPEN_UPDATE), (context, 0, length, header + HEADER, icv - header - HEADER))
    return DONE if call(load64(f + OPEN_FINAL), (context, work + SPARE, length)) == 1 else INTEGRITY


@helper
def _seal_aead(f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    """GCM and ChaCha20-Poly1305 encrypt the body; GMAC takes IV and body as more AAD."""
    context, length, params = load64(line + KEY), work + LENGTH, work + TAG_PARAM
    good = call(load64(f + SEAL_INIT), (context, 0, 0, 0, nonce(line, work + NONCE, header, hi)))
    extra, extra_size = aad(line, work + AAD, header, hi)
    good &= call(load64(f + SEAL_UPDATE), (context, 0, length, extra, extra_size))
    if load64(line + KIND) == GMAC:
        move(body, text, icv - body)
        good &= call(load64(f + SEAL_UPDATE), (context, 0, length, header + HEADER, icv - header - HEADER))
    else:
        good &= call(load64(f + SEAL_UPDATE), (context, body, length, text, icv - body))
    good &= call(load64(f + SEAL_FINAL), (context, work + SPARE, length))
    store64(params + PARAM_DATA, icv)
    store64(params + PARAM_SIZE, load64(line + ICV))
    good &= call(load64(f + GET_PARAMS), (context, params))
    return DONE if good == 1 else BROKEN


@helper
def _mac(f: int, line: int, work: int, header: int, icv: int, hi: int) -> None:
    """HMAC (RFC 2104) over header, IV, ciphertext [, seq_hi] into DIGEST, from the states that the key left."""
    routine = HASHES + 16 * load64(line + ROUTINE)
    update, final = load64(f + routine), load64(f + routine + 8)
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
def _open_authenc(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    """A cipher and a MAC (RFC 4303 3.4.4).

    1. The ICV, before anything is decrypted.
    2. The NULL cipher, or an empty body: nothing to decrypt.
    3. CBC decrypts whole blocks only.
    4. Decrypt in place.
    """
    context, length, size = load64(line + KEY), work + LENGTH, icv - body
    if load64(line + MAC) != 0:
        _mac(f, line, work, header, icv, hi)
        if differ(work + DIGEST, icv, load64(line + ICV)) != 0:
            return INTEGRITY
    if context == 0 or size == 0:
        return DONE
    if size % BLOCK != 0 and load64(line + IV) == CBC_IV:
        return TRUNCATED
    if call(load64(f + OPEN_INIT), (context, 0, 0, 0, _start(line, work, header, hi))) != 1:
        return BROKEN
    return DONE if call(load64(f + OPEN_UPDATE), (context, body, length, body, size)) == 1 else BROKEN


@helper
def _seal_authenc(f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    """A cipher and a MAC (RFC 4303 3.3.2): encrypt in place, then the ICV over header, IV and ciphertext."""
    context, length, size = load64(line + KEY), work + LENGTH, icv - body
    if context != 0 and size != 0:
        if size % BLOCK != 0 and load64(line + IV) == CBC_IV:
            return TRUNCATED
        if call(load64(f + SEAL_INIT), (context, 0, 0, 0, _start(line, work, header, hi))) != 1:
            return BROKEN
        if call(load64(f + SEAL_UPDATE), (context, body, length, text, size)) != 1:
            return BROKEN
    else:
        move(body, text, size)
    if load64(line + MAC) != 0:
        _mac(f, line, work, header, icv, hi)
        copy_bytes(icv, work + DIGEST, load64(line + ICV))
    return DONE


@helper
def _open_row(f: int, line: int, work: int, header: int, body: int, icv: int, hi: int) -> int:
    kind = load64(line + KIND)
    if kind == GCM:
        return _open_gcm(f, line, work, header, body, icv, hi)
    if kind == CHACHA:
        return _open_chacha(f, line, work, header, body, icv, hi)
    if kind == GMAC:
        return _open_gmac(f, line, work, header, body, icv, hi)
    return _open_authenc(f, line, work, header, body, icv, hi)


@helper
def _seal_row(f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int) -> int:
    kind = load64(line + KIND)
    if kind == AUTHENC:
        return _seal_authenc(f, line, work, header, text, body, icv, hi)
    return _seal_aead(f, line, work, header, text, body, icv, hi)


@inlined
def _prefetch_key(f: int, key: int, size: int) -> None:
    """The context; what it points to is the library's own."""
    for at in range(0, _CONTEXT, LINE):
        prefetch_at(key + at)


@inlined
def _run_row(
    opening: bool, f: int, line: int, work: int, header: int, text: int, body: int, icv: int, hi: int
) -> int:  # fmt: skip
    if opening:
        return _open_row(f, line, work, header, body, icv, hi)
    return _seal_row(f, line, work, header, text, body, icv, hi)


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
