"""The `libcrypto` engine: OpenSSL 3's ciphers, called from compiled kernels with no interpreter in between.

EVP fetches a cipher once. Kernels call the functions of its provider (provider-cipher(7)): EVP's own part of a packet,
above all setting an IV, costs a third of a small packet's time.

AES-GCM, AES-GMAC, ChaCha20-Poly1305, also with implicit IVs; AES-CBC, AES-CTR, Camellia-CBC (where the library has it)
and NULL, with HMAC-SHA or without a MAC. The others are left to `cryptography`.
HMAC uses the SHAx_Update and SHAx_Final functions on copies of states that hold the key, made once for each SA.
"""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from typing import NamedTuple

import numpy as np

from espsim.aead.batch import Slots
from espsim.aead.engine import EngineError
from espsim.aead.isa import CPU_INFO, openssl_isa
from espsim.aead.native import libcrypto_rows as places
from espsim.aead.native.engine import NativeEngine, NativeRows
from espsim.aead.native.slots import KEY, MAC, ROUTINE, Secret, make_lines
from espsim.aead.suites import HASHES, SuiteKeys, SuiteKind
from espsim.core.arrays import I64, U8
from espsim.jit.memory import zeros

LIBRARY = "libcrypto.so.3"
OLDEST = 0x30000000
_OCTETS, _UNSIGNED = 5, 2  # OSSL_PARAM_OCTET_STRING, OSSL_PARAM_UNSIGNED_INTEGER
_CIPHERS_OF = 2  # OSSL_OP_CIPHER
# OSSL_FUNC_CIPHER_*: the numbers of a cipher's functions in its provider's table (openssl/core_dispatch.h).
_NEWCTX, _ENCRYPT_INIT, _DECRYPT_INIT, _UPDATE, _FINAL, _FREECTX, _GET_PARAMS = 1, 2, 3, 4, 5, 7, 10
_CAMELLIA = "cbc(camellia)"
_CIPHERS = {
    "rfc4106(gcm(aes))": "AES-{}-GCM", "rfc4543(gcm(aes))": "AES-{}-GCM",
    "rfc7539esp(chacha20,poly1305)": "ChaCha20-Poly1305", "cbc(aes)": "AES-{}-CBC", _CAMELLIA: "CAMELLIA-{}-CBC",
    "rfc3686(ctr(aes))": "AES-{}-CTR",
}  # fmt: skip
_DIGESTS = ("sha1", "sha256", "sha384", "sha512")
_MACS = ("digest_null", *(name for name, mac in HASHES.items() if mac.digest in _DIGESTS))
_MAC_STRIDE = 512


class LibcryptoEngine(NativeEngine):
    """Raises EngineError where the library is missing, too old or lacks a function."""

    name = "libcrypto"

    def __init__(self) -> None:
        super().__init__()
        try:
            self._lib = ctypes.CDLL(LIBRARY)
            number = self._lib.OpenSSL_version_num
        except (OSError, AttributeError) as error:
            raise EngineError(f"{LIBRARY} cannot be loaded: {error}") from None
        number.restype = ctypes.c_ulong
        words = self._lib.OpenSSL_version
        words.restype = ctypes.c_char_p
        self.version = words(0).decode()
        self.isa = openssl_isa(words(CPU_INFO).decode())
        if number() < OLDEST:
            raise EngineError(f"{self.version} is too old: 3.0 or newer is needed")
        try:
            self._hashes = _addresses(self._lib, places.HASHES).reshape(len(_DIGESTS), 2)
            _declare(self._lib)
        except AttributeError as error:
            raise EngineError(f"{self.version} lacks a function: {error}") from None
        self._ciphers: dict[str, _Cipher] = {}
        self._camellia = bool(self._lib.EVP_CIPHER_fetch(None, b"CAMELLIA-128-CBC", None))

    def supports(self, keys: SuiteKeys) -> bool:
        """What the docstring of the module names."""
        suite = keys.suite
        if suite.kind is not SuiteKind.AUTHENC:
            return suite.cipher in _CIPHERS
        if suite.cipher == _CAMELLIA and not self._camellia:
            return False
        return suite.cipher in (*_CIPHERS, "ecb(cipher_null)") and suite.auth in _MACS

    def _rows(self, slots: Slots, *, opening: bool) -> NativeRows:
        lines = make_lines(slots, self.serves)
        contexts, tables = _Contexts(), self._tables(slots, opening)
        authenc = any(s and s.keys.suite.kind is SuiteKind.AUTHENC for s in slots)
        macs = Secret(_MAC_STRIDE * len(slots) if authenc else 0)
        for number, (line, slot) in enumerate(zip(lines, slots, strict=True)):
            if slot is None or not self.serves(slot.keys):
                continue
            line[ROUTINE // 8] = tables[_kind(slot.keys)].ctypes.data
            line[KEY // 8] = self._context(contexts, slot.keys, opening)
            if HASHES[slot.keys.suite.auth or "digest_null"].digest:
                mac = macs.memory[_MAC_STRIDE * number : _MAC_STRIDE * (number + 1)]
                self._key_mac(slot.keys, mac)
                line[MAC // 8] = mac.ctypes.data
        # The kernel finds all functions by the lines.
        nothing = np.zeros(1, np.int64)
        return NativeRows(places.run_libcrypto, opening, nothing, lines, _scratch(), (contexts, macs, tables))

    def _tables(self, slots: Slots, opening: bool) -> dict[tuple[str, int], I64]:
        """The functions of each suite and key size among the slots, as libcrypto_rows.py has them."""
        tables: dict[tuple[str, int], I64] = {}
        for slot in slots:
            if slot is None or _kind(slot.keys) in tables or not self.serves(slot.keys):
                continue
            table = tables[_kind(slot.keys)] = zeros((places.TABLE // 8,), np.int64)
            if slot.keys.key:
                functions = self._cipher(_cipher_name(slot.keys)).functions
                init = _DECRYPT_INIT if opening else _ENCRYPT_INIT
                table[:4] = [functions[n] for n in (init, _UPDATE, _FINAL, _GET_PARAMS)]
            if digest := HASHES[slot.keys.suite.auth or "digest_null"].digest:
                table[places.HASH_UPDATE // 8 :][:2] = self._hashes[_DIGESTS.index(digest)]
        return tables

    def _context(self, contexts: _Contexts, keys: SuiteKeys, opening: bool) -> int:
        """A cipher's context with these keys in it; 0 for the NULL cipher."""
        if not keys.key:
            return 0
        name = _cipher_name(keys)
        cipher = self._cipher(name)
        context = contexts.new(cipher)
        init = _INIT(cipher.functions[_DECRYPT_INIT if opening else _ENCRYPT_INIT])
        if init(context, keys.key, len(keys.key), None, 0, _no_padding() if name.endswith("CBC") else None) != 1:
            raise EngineError(f"{self.version} does not take a key for {name}")
        return context

    def _cipher(self, name: str) -> _Cipher:
        if name not in self._ciphers:
            cipher = self._lib.EVP_CIPHER_fetch(None, name.encode(), None)
            if not cipher:
                raise EngineError(f"{self.version} has no {name}")
            provider = self._lib.EVP_CIPHER_get0_provider(cipher)
            functions = _functions(self._lib, provider, name)
            missing = {_NEWCTX, _ENCRYPT_INIT, _DECRYPT_INIT, _UPDATE, _FINAL, _FREECTX, _GET_PARAMS} - functions.keys()
            if missing:
                raise EngineError(f"{self.version} lacks functions {sorted(missing)} of {name}")
            self._ciphers[name] = _Cipher(functions, self._lib.OSSL_PROVIDER_get0_provider_ctx(provider) or 0)
        return self._ciphers[name]

    def _key_mac(self, keys: SuiteKeys, mac: U8) -> None:
        """Fill in HMAC's two keyed states (RFC 2104 section 2) and the digest's length."""
        digest = HASHES[keys.suite.auth or ""].digest
        block, size = hashlib.new(digest).block_size, hashlib.new(digest).digest_size
        key = keys.auth_key if len(keys.auth_key) <= block else hashlib.new(digest, keys.auth_key).digest()
        init, update = (getattr(self._lib, f"{digest.upper()}_{verb}") for verb in ("Init", "Update"))
        padded = np.zeros(block, np.uint8)
        for at, pad in ((0, 0x36), (places.HASH_STATE, 0x5C)):
            state = ctypes.c_void_p(mac.ctypes.data + at)
            padded[: len(key)] = np.frombuffer(key, np.uint8)
            padded ^= pad
            init(state)
            update(state, ctypes.c_void_p(padded.ctypes.data), ctypes.c_size_t(block))
            padded.fill(0)
        mac[2 * places.HASH_STATE :].view(np.int64)[0] = size


def _kind(keys: SuiteKeys) -> tuple[str, int]:
    """What a table of functions depends on."""
    return keys.suite.name, len(keys.key)


def _cipher_name(keys: SuiteKeys) -> str:
    """OpenSSL's name of a suite's cipher."""
    return _CIPHERS[keys.suite.cipher].format(8 * len(keys.key))


class _Cipher(NamedTuple):
    """A cipher as its provider has it: addresses of its functions by number, and what a new context is made with."""

    functions: dict[int, int]
    provider: int


class _Algorithm(ctypes.Structure):
    """OSSL_ALGORITHM: names with colons between them; the table ends where they are NULL."""

    _fields_ = (
        ("names", ctypes.c_char_p), ("properties", ctypes.c_char_p), ("functions", ctypes.c_void_p),
        ("description", ctypes.c_char_p),
    )  # fmt: skip


class _Dispatch(ctypes.Structure):
    """OSSL_DISPATCH: the table ends with number 0."""

    _fields_ = (("number", ctypes.c_int), ("function", ctypes.c_void_p))


_NEW = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_INIT = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p
)


def _functions(lib: ctypes.CDLL, provider: int, name: str) -> dict[int, int]:
    """A cipher's functions by number, of the first of the provider's algorithms that has the name; else empty."""
    at = lib.OSSL_PROVIDER_query_operation(provider, _CIPHERS_OF, ctypes.byref(ctypes.c_int()))
    while at and (algorithm := _Algorithm.from_address(at)).names:
        if name.upper() in algorithm.names.decode().upper().split(":"):
            return _dispatched(algorithm.functions)
        at += ctypes.sizeof(_Algorithm)
    return {}


def _dispatched(at: int) -> dict[int, int]:
    """A table of OSSL_DISPATCH as a dict."""
    found = {}
    while (entry := _Dispatch.from_address(at)).number:
        found[entry.number] = entry.function or 0
        at += ctypes.sizeof(_Dispatch)
    return found


class _Contexts:
    """Owns ciphers' contexts and frees them, keys and all, when it goes."""

    def __init__(self) -> None:
        self._made: list[tuple[int, int]] = []
        weakref.finalize(self, _free, self._made)

    def new(self, cipher: _Cipher) -> int:
        context = _NEW(cipher.functions[_NEWCTX])(cipher.provider)
        if not context:
            raise MemoryError("a cipher's context")
        self._made.append((cipher.functions[_FREECTX], context))
        return int(context)


def _free(made: list[tuple[int, int]]) -> None:
    for function, context in made:
        _FREE(function)(context)


def _addresses(lib: ctypes.CDLL, names: tuple[str, ...]) -> I64:
    return np.array([ctypes.cast(getattr(lib, n), ctypes.c_void_p).value for n in names], dtype=np.int64)


def _declare(lib: ctypes.CDLL) -> None:
    """Tell ctypes which arguments are pointers, for the functions that are called from Python."""
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    lib.EVP_CIPHER_fetch.argtypes, lib.EVP_CIPHER_fetch.restype = (pointer, text, text), pointer
    lib.EVP_CIPHER_get0_provider.argtypes, lib.EVP_CIPHER_get0_provider.restype = (pointer,), pointer
    query, context = lib.OSSL_PROVIDER_query_operation, lib.OSSL_PROVIDER_get0_provider_ctx
    query.argtypes, query.restype = (pointer, number, pointer), pointer
    context.argtypes, context.restype = (pointer,), pointer


_NO_PADDING = np.zeros(12, np.int64)
_PADDING_NAME = ctypes.create_string_buffer(b"padding")


def _no_padding() -> int:
    """OSSL_PARAMs {padding = 0, end}: where they lie."""
    name, value = ctypes.addressof(_PADDING_NAME), _NO_PADDING.ctypes.data + 80
    _NO_PADDING[:5] = name, _UNSIGNED, value, 4, 0
    return _NO_PADDING.ctypes.data


def _scratch() -> U8:
    """Scratch memory for a kernel, with the OSSL_PARAM array {tag, end} in it."""
    work = zeros((places.WORK,), np.uint8)
    work[places.TEXT : places.TEXT + 4] = np.frombuffer(b"tag\0", dtype=np.uint8)
    first = places.TAG_PARAM // 8
    work.view(np.int64)[first : first + 5] = work.ctypes.data + places.TEXT, _OCTETS, 0, 16, 0
    return work
