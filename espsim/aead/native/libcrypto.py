"""The `libcrypto` engine: OpenSSL 3's EVP, called from compiled kernels with no interpreter in between.

AES-GCM, AES-GMAC, ChaCha20-Poly1305, also with implicit IVs; AES-CBC, AES-CTR, Camellia-CBC (where the library has it)
and NULL, with HMAC-SHA or without a MAC. The others are left to `cryptography`.
HMAC uses the SHAx_Update and SHAx_Final functions on copies of states that hold the key, made once for each SA.
"""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from functools import partial

import numpy as np

from espsim.aead.batch import SlotKeys, Slots
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
_SET_IV_FIXED = 0x12  # EVP_CTRL_GCM_SET_IV_FIXED
_OCTETS = 5  # OSSL_PARAM_OCTET_STRING
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

    def __init__(self, library: str = LIBRARY) -> None:
        super().__init__()
        try:
            self._lib = ctypes.CDLL(library)
            number = self._lib.OpenSSL_version_num
        except (OSError, AttributeError) as error:
            raise EngineError(f"{library} cannot be loaded: {error}") from None
        number.restype = ctypes.c_ulong
        words = self._lib.OpenSSL_version
        words.restype = ctypes.c_char_p
        self.version = words(0).decode()
        self.isa = openssl_isa(words(CPU_INFO).decode())
        if number() < OLDEST:
            raise EngineError(f"{self.version} is too old: 3.0 or newer is needed")
        try:
            self._functions = _addresses(self._lib, places.FUNCTIONS)
            _declare(self._lib)
        except AttributeError as error:
            raise EngineError(f"{self.version} lacks a function: {error}") from None
        self._ciphers: dict[str, int] = {}
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
        contexts = _Contexts(self._lib)
        macs = Secret(
            _MAC_STRIDE * len(slots) if any(s and s.keys.suite.kind is SuiteKind.AUTHENC for s in slots) else 0
        )
        for number, (line, slot) in enumerate(zip(lines, slots, strict=True)):
            if slot is None or not self.serves(slot.keys):
                continue
            line[KEY // 8] = self._context(contexts, slot, opening)
            if HASHES[slot.keys.suite.auth or "digest_null"].digest:
                mac = macs.memory[_MAC_STRIDE * number : _MAC_STRIDE * (number + 1)]
                line[ROUTINE // 8] = self._key_mac(slot.keys, mac)
                line[MAC // 8] = mac.ctypes.data
        return NativeRows(partial(places.run_libcrypto, opening), self._functions, lines, _scratch(), (contexts, macs))

    def _context(self, contexts: _Contexts, slot: SlotKeys, opening: bool) -> int:
        """An EVP_CIPHER_CTX with the slot's key in it; 0 for the NULL cipher."""
        keys = slot.keys
        if not keys.key:
            return 0
        name = _CIPHERS[keys.suite.cipher].format(8 * len(keys.key))
        context = contexts.new()
        init = self._lib.EVP_DecryptInit_ex if opening else self._lib.EVP_EncryptInit_ex
        good = init(context, self._cipher(name), None, keys.key, None)
        if name.endswith("GCM") and opening:
            good &= self._lib.EVP_CIPHER_CTX_ctrl(context, _SET_IV_FIXED, 4, keys.salt)
        if name.endswith("CBC"):
            good &= self._lib.EVP_CIPHER_CTX_set_padding(context, 0)
        if good != 1:
            raise EngineError(f"{self.version} does not take a key for {name}")
        return context

    def _cipher(self, name: str) -> int:
        if name not in self._ciphers:
            cipher = self._lib.EVP_CIPHER_fetch(None, name.encode(), None)
            if not cipher:
                raise EngineError(f"{self.version} has no {name}")
            self._ciphers[name] = cipher
        return self._ciphers[name]

    def _key_mac(self, keys: SuiteKeys, mac: U8) -> int:
        """Fill in HMAC's two keyed states (RFC 2104 section 2) and the digest's length; the hash's number."""
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
        return _DIGESTS.index(digest)


class _Contexts:
    """Owns EVP_CIPHER_CTXs and frees them, keys and all, when it goes."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self._made: list[int] = []
        weakref.finalize(self, _free, lib, self._made)

    def new(self) -> int:
        context = self._lib.EVP_CIPHER_CTX_new()
        if not context:
            raise MemoryError("EVP_CIPHER_CTX_new")
        self._made.append(context)
        return int(context)


def _free(lib: ctypes.CDLL, made: list[int]) -> None:
    for context in made:
        lib.EVP_CIPHER_CTX_free(context)


def _addresses(lib: ctypes.CDLL, names: tuple[str, ...]) -> I64:
    return np.array([ctypes.cast(getattr(lib, n), ctypes.c_void_p).value for n in names], dtype=np.int64)


def _declare(lib: ctypes.CDLL) -> None:
    """Tell ctypes which arguments are pointers, for the functions that are called from Python."""
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    lib.EVP_CIPHER_fetch.argtypes, lib.EVP_CIPHER_fetch.restype = (pointer, text, text), pointer
    lib.EVP_CIPHER_CTX_new.argtypes, lib.EVP_CIPHER_CTX_new.restype = (), pointer
    lib.EVP_CIPHER_CTX_free.argtypes, lib.EVP_CIPHER_CTX_free.restype = (pointer,), None
    lib.EVP_CIPHER_CTX_ctrl.argtypes = (pointer, number, number, text)
    lib.EVP_CIPHER_CTX_set_padding.argtypes = (pointer, number)
    lib.EVP_DecryptInit_ex.argtypes = lib.EVP_EncryptInit_ex.argtypes = (pointer, pointer, pointer, text, text)


def _scratch() -> U8:
    """Scratch memory for a kernel, with the OSSL_PARAM arrays in it: {tag, tlsivinv, end} and {tag, end}."""
    work = zeros((places.WORK,), np.uint8)
    work[places.TEXT : places.TEXT + 13] = np.frombuffer(b"tag\0tlsivinv\0", dtype=np.uint8)
    tag, iv = work.ctypes.data + places.TEXT, work.ctypes.data + places.TEXT + 4
    words = work.view(np.int64)
    gcm, end = places.GCM_PARAMS // 8, places.TAG_PARAM // 8
    words[gcm : gcm + 10] = (tag, _OCTETS, 0, 16, 0, iv, _OCTETS, 0, 8, 0)
    words[end : end + 5] = (tag, _OCTETS, 0, 16, 0)
    return work
