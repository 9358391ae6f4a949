"""Algorithms by their Linux names: which keys, IVs and ICVs each takes, and how nonce and AAD are made.

`resolve` turns what `ip xfrm state` says (aead, or enc with auth) into `SuiteKeys`; an engine (engine.py) makes a
`Transform` of that. Key material is `bytes`, is checked here once, and never shows in a repr or an error.

`iiv(NAME)` is espsim's own word, because Linux has none: the AEAD NAME with an implicit IV (RFC 8750). Nothing of the
IV is sent; it is the sequence number in 64 bits (zeros in front where numbers have 32 bits).

Sources: RFC 4106 (GCM), RFC 4309 (CCM), RFC 4543 (GMAC), RFC 7634 (ChaCha20-Poly1305), RFC 8750 (implicit IV), RFC 3602
(AES-CBC), RFC 4312 (Camellia-CBC), RFC 2451 (3DES), RFC 3686 (AES-CTR), RFC 2410 (NULL), RFC 2403, 2404 and 4868
(HMAC), RFC 3566 (AES-XCBC-MAC), RFC 4494 (AES-CMAC), RFC 4303 2.2.1 and 3.3.2 (ESN's high half in the AAD and in the
MAC); net/xfrm/xfrm_algo.c (names, ICV lengths).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class SuiteKind(Enum):
    """How a suite combines confidentiality and integrity."""

    AEAD = "aead"  # nonce = salt, iv; aad = SPI, [seq_hi,] seq; the ICV covers the ciphertext
    GMAC = "gmac"  # nothing is encrypted; the AAD goes on over IV and payload (RFC 4543 3.3)
    AUTHENC = "authenc"  # encrypt, then MAC over SPI, seq, IV, ciphertext [, seq_hi]


@dataclass(frozen=True, slots=True, repr=False)
class Algorithm:
    """One algorithm as `ip xfrm state` gives it: `kind` is aead, enc, auth, auth-trunc or comp.

    `key` includes the salt; `bits` is the ICV or truncation length, 0 where the word takes none.
    """

    kind: str
    name: str
    key: bytes
    bits: int = 0

    def __repr__(self) -> str:
        return f"Algorithm({self.kind} {self.name}, {8 * len(self.key)}-bit key, bits={self.bits})"


@dataclass(frozen=True, slots=True)
class Suite:
    """What an algorithm needs. Lengths in bytes but for `icv_bits`; `block` is the cipher's (1 for a stream).

    `iv_length` is what a packet carries: 0 with an implicit IV. `unique_iv`: one key must never meet an IV twice, so
    the IV is made of the sequence number; else it is random.
    """

    name: str
    kind: SuiteKind
    key_lengths: tuple[int, ...]
    salt_length: int
    iv_length: int
    icv_bits: tuple[int, ...]
    block: int = 1
    auth: str | None = None
    unique_iv: bool = True
    implicit_iv: bool = False

    @property
    def cipher(self) -> str:
        """Linux's name of what encrypts: without the MAC, and without `iiv(...)`."""
        return self.name[len(_IIV) : -1] if self.implicit_iv else self.name.partition("+")[0]

    @property
    def key_sizes(self) -> tuple[int, ...]:
        """Lengths of the key as `ip xfrm state` has it, the salt at its end."""
        return tuple(n + self.salt_length for n in self.key_lengths)


@dataclass(frozen=True, slots=True, repr=False)
class SuiteKeys:
    """A suite with one SA's keys. `secret` is the cipher's key and the salt after it, as `Algorithm.key` has them, and
    the same object: of a million SAs each key is in memory once. `icv_length` in bytes.
    """

    suite: Suite
    secret: bytes
    auth_key: bytes
    icv_length: int

    @property
    def key(self) -> bytes:
        """The cipher's key, without the salt."""
        return self.secret[: len(self.secret) - self.suite.salt_length]

    @property
    def salt(self) -> bytes:
        """What begins each nonce; empty where the suite has none."""
        return self.secret[len(self.secret) - self.suite.salt_length :]

    def __repr__(self) -> str:
        return f"SuiteKeys({self.suite.name}, {8 * len(self.key)}-bit key, {8 * self.icv_length}-bit ICV)"


_AES = (16, 24, 32)
_IIV = "iiv("

AEADS: dict[str, Suite] = {
    s.name: s
    for s in (
        Suite("rfc4106(gcm(aes))", SuiteKind.AEAD, _AES, 4, 8, (64, 96, 128)),
        Suite("rfc7539esp(chacha20,poly1305)", SuiteKind.AEAD, (32,), 4, 8, (128,)),
        Suite("rfc4309(ccm(aes))", SuiteKind.AEAD, _AES, 3, 8, (64, 96, 128)),
        Suite("rfc4543(gcm(aes))", SuiteKind.GMAC, _AES, 4, 8, (128,)),
        # RFC 8750 8: the ICV lengths that have a transform ID.
        Suite("iiv(rfc4106(gcm(aes)))", SuiteKind.AEAD, _AES, 4, 0, (128,), implicit_iv=True),
        Suite("iiv(rfc4309(ccm(aes)))", SuiteKind.AEAD, _AES, 3, 0, (64,), implicit_iv=True),
        Suite("iiv(rfc7539esp(chacha20,poly1305))", SuiteKind.AEAD, (32,), 4, 0, (128,), implicit_iv=True),
    )
}


@dataclass(frozen=True, slots=True)
class Encryption:
    """A cipher for `enc`: lengths in bytes as `Suite` has them. `unique_iv` as Suite's."""

    key_lengths: tuple[int, ...]
    iv_length: int
    block: int
    salt_length: int = 0
    unique_iv: bool = False

    @property
    def key_sizes(self) -> tuple[int, ...]:
        """As Suite's."""
        return tuple(n + self.salt_length for n in self.key_lengths)


CIPHERS: dict[str, Encryption] = {
    "cbc(aes)": Encryption(_AES, 16, 16),
    "cbc(camellia)": Encryption(_AES, 16, 16),
    "rfc3686(ctr(aes))": Encryption(_AES, 8, 1, salt_length=4, unique_iv=True),
    "cbc(des3_ede)": Encryption((24,), 8, 8),
    "ecb(cipher_null)": Encryption((0,), 0, 1),
}


@dataclass(frozen=True, slots=True)
class Hash:
    """A MAC: hashlib's name where it is an HMAC, digest bits, ESP's truncations, Linux's default (`auth` without a
    length), and the key's lengths in bytes (empty: any).
    """

    digest: str
    full_bits: int
    icv_bits: tuple[int, ...]
    default_bits: int
    key_lengths: tuple[int, ...] = ()


HASHES: dict[str, Hash] = {
    # net/xfrm/xfrm_algo.c aalg_list: `auth hmac(sha256)` without a length still means the old 96 bits.
    "hmac(md5)": Hash("md5", 128, (96, 128), 96),
    "hmac(sha1)": Hash("sha1", 160, (96, 160), 96),
    "hmac(sha256)": Hash("sha256", 256, (96, 128, 256), 96),
    "hmac(sha384)": Hash("sha384", 384, (192, 384), 192),
    "hmac(sha512)": Hash("sha512", 512, (256, 512), 256),
    # RFC 3566 and RFC 4494 have keys of 128 bits and ICVs of 96; Linux takes any AES key, and a whole block.
    "xcbc(aes)": Hash("", 128, (96, 128), 96, _AES),
    "cmac(aes)": Hash("", 128, (96, 128), 96, _AES),
    "digest_null": Hash("", 0, (0,), 0),
}

OBSOLETE = frozenset({"cbc(des3_ede)", "hmac(md5)"})
"""For old captures and IMS (3GPP TS 33.203) only: RFC 8221 says SHOULD NOT of 3DES and MUST NOT of HMAC-MD5."""

# The kernel's aliases (`compat` in xfrm_algo.c), as old tools still write them.
ALIASES = {"aes": "cbc(aes)", "cipher_null": "ecb(cipher_null)", "sha1": "hmac(sha1)", "sha256": "hmac(sha256)",
           "des3_ede": "cbc(des3_ede)", "md5": "hmac(md5)", "camellia": "cbc(camellia)",
           "rfc7539esp(chacha20,poly1305-generic)": "rfc7539esp(chacha20,poly1305)"}  # fmt: skip


@dataclass(slots=True)
class _Parts:
    aead: Algorithm | None = None
    enc: Algorithm | None = None
    auth: Algorithm | None = None
    others: list[str] = field(default_factory=list)


def resolve(algorithms: Sequence[Algorithm]) -> SuiteKeys:
    """The suite and keys that these algorithms name together. Raises ValueError with a sentence (never with a key).

    Any cipher may come without auth, as Linux lets it (authenc with digest_null): see `unprotected`.
    """
    parts = _sort(algorithms)
    if parts.aead is not None:
        if parts.enc or parts.auth:
            raise ValueError("aead does its own encryption and authentication: enc or auth beside it makes no sense")
        return _resolve_aead(parts.aead)
    if parts.enc is None:
        raise ValueError("ESP needs `aead`, or `enc` with `auth` or `auth-trunc`")
    return _resolve_authenc(parts.enc, parts.auth)


def _sort(algorithms: Sequence[Algorithm]) -> _Parts:
    parts = _Parts()
    for algorithm in algorithms:
        slot = {"aead": "aead", "enc": "enc", "auth": "auth", "auth-trunc": "auth"}.get(algorithm.kind)
        if slot is None:
            raise ValueError(f"{algorithm.kind} is not an algorithm of ESP")
        if getattr(parts, slot) is not None:
            raise ValueError(f"{slot} given twice")
        setattr(parts, slot, algorithm)
    return parts


def _lengths(allowed: Sequence[int]) -> str:
    return " or ".join(str(8 * n) for n in allowed)


def _resolve_aead(algorithm: Algorithm) -> SuiteKeys:
    name = ALIASES.get(algorithm.name, algorithm.name)
    suite = AEADS.get(name)
    if suite is None:
        raise ValueError(f"unknown aead algorithm {algorithm.name!r}; known: {', '.join(AEADS)}")
    if algorithm.bits not in suite.icv_bits:
        allowed = " or ".join(map(str, suite.icv_bits))
        raise ValueError(f"{name} takes an ICV of {allowed} bits, not {algorithm.bits}")
    size = len(algorithm.key) - suite.salt_length
    if size not in suite.key_lengths:
        raise ValueError(
            f"{name} takes a key of {_lengths(suite.key_lengths)} bits and {8 * suite.salt_length} bits of salt,"
            f" not {8 * len(algorithm.key)} bits in all"
        )
    return SuiteKeys(suite, algorithm.key, b"", algorithm.bits // 8)


def _resolve_authenc(enc: Algorithm, auth: Algorithm | None) -> SuiteKeys:
    cipher_name = ALIASES.get(enc.name, enc.name)
    if cipher_name not in CIPHERS:
        raise ValueError(f"unknown enc algorithm {enc.name!r}; known: {', '.join(CIPHERS)}")
    cipher = CIPHERS[cipher_name]
    if len(enc.key) not in cipher.key_sizes:
        salt = f" and {8 * cipher.salt_length} bits of nonce" if cipher.salt_length else ""
        whole = " bits in all" if salt else ""
        raise ValueError(
            f"{cipher_name} takes a key of {_lengths(cipher.key_lengths)} bits{salt}, not {8 * len(enc.key)}{whole}"
        )
    auth_name = ALIASES.get(auth.name, auth.name) if auth else "digest_null"
    if auth_name not in HASHES:
        raise ValueError(f"unknown auth algorithm {auth.name if auth else ''!r}; known: {', '.join(HASHES)}")
    mac = HASHES[auth_name]
    bits = auth.bits if auth is not None and auth.kind == "auth-trunc" else mac.default_bits
    if bits not in mac.icv_bits:
        raise ValueError(f"{auth_name} takes an ICV of {' or '.join(map(str, mac.icv_bits))} bits, not {bits}")
    auth_key = auth.key if auth else b""  # empty for an HMAC too: Linux takes that (crypto/hmac.c), and prints nothing
    if mac.key_lengths and len(auth_key) not in mac.key_lengths:
        raise ValueError(f"{auth_name} takes a key of {_lengths(mac.key_lengths)} bits, not {8 * len(auth_key)}")
    return SuiteKeys(_authenc(cipher_name, auth_name), enc.key, auth_key, bits // 8)


@functools.cache
def _authenc(cipher_name: str, auth_name: str) -> Suite:
    """The suite of a cipher and a MAC, one object for all SAs that have both."""
    cipher, mac = CIPHERS[cipher_name], HASHES[auth_name]
    return Suite(
        f"{cipher_name}+{auth_name}", SuiteKind.AUTHENC, cipher.key_lengths, cipher.salt_length, cipher.iv_length,
        mac.icv_bits, cipher.block, auth_name, cipher.unique_iv,
    )  # fmt: skip


INSECURE = {
    "null": "ecb(cipher_null) without authentication protects nothing (RFC 4303 3.2.1)",
    "ctr": "rfc3686(ctr(aes)) without an ICV lets anyone change any bit of a packet (RFC 3686 7)",
}
"""Suites that a sender may use only where `--insecure` names them, and why."""


def unprotected(keys: SuiteKeys) -> str | None:
    """The word of INSECURE for a suite that is in it."""
    if keys.icv_length:
        return None
    return {"ecb(cipher_null)": "null", "rfc3686(ctr(aes))": "ctr"}.get(keys.suite.cipher)


def nonce(keys: SuiteKeys, header: bytes, seq_hi: bytes, iv: bytes) -> bytes:
    """What an AEAD's cipher, or CTR, takes beside the key: the SA's salt, then the packet's IV (RFC 4106 4, RFC 7634 2,
    RFC 3686 4).
    """
    return keys.salt + (implicit_iv(header, seq_hi) if keys.suite.implicit_iv else iv)


def implicit_iv(header: bytes, seq_hi: bytes) -> bytes:
    """The IV where none is sent: the sequence number in 64 bits, its high half zero without ESN (RFC 8750 4)."""
    return (seq_hi or bytes(4)) + header[4:8]


def aad(header: bytes, seq_hi: bytes) -> bytes:
    """The AEAD's additional data: SPI, seq (8 bytes), or SPI, seq_hi, seq with ESN (12 bytes; RFC 4106 5).

    `header` is the ESP header as it is on the wire (8 bytes); `seq_hi` is 4 bytes with ESN and empty without.
    """
    return header[:4] + seq_hi + header[4:8] if seq_hi else header


def pack_seq_hi(seq64: int) -> bytes:
    """ESN's high half as it goes into AAD or MAC; without ESN nothing goes there."""
    return (seq64 >> 32 & 0xFFFFFFFF).to_bytes(4)
