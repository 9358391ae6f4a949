"""Algorithms by their Linux names: which keys, IVs and ICVs each takes, and how nonce and AAD are made.

`resolve` turns what `ip xfrm state` says (aead, or enc with auth) into `SuiteKeys`; an engine (engine.py) makes a
`Transform` of that. Key material is `bytes`, is checked here once, and never shows in a repr or an error.

Sources: RFC 4106 (GCM), RFC 4309 (CCM), RFC 4543 (GMAC), RFC 7634 (ChaCha20-Poly1305), RFC 3602 (CBC), RFC 2451 (3DES),
RFC 2410 (NULL), RFC 2403, 2404 and 4868 (HMAC), RFC 4303 2.2.1 and 3.3.2 (ESN's high half in the AAD and in the MAC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
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
    """What an algorithm needs. Lengths in bytes but for `icv_bits`; `block` is the cipher's (1 for a stream)."""

    name: str
    kind: Kind
    key_lengths: tuple[int, ...]
    salt_length: int
    iv_length: int
    icv_bits: tuple[int, ...]
    block: int = 1
    auth: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class SuiteKeys:
    """A suite with one SA's keys. `icv_length` in bytes."""

    suite: Suite
    key: bytes
    salt: bytes
    auth_key: bytes
    icv_length: int

    def __repr__(self) -> str:
        return f"SuiteKeys({self.suite.name}, {8 * len(self.key)}-bit key, {8 * self.icv_length}-bit ICV)"


_AES = (16, 24, 32)

AEADS: dict[str, Suite] = {
    s.name: s
    for s in (
        Suite("rfc4106(gcm(aes))", Kind.AEAD, _AES, 4, 8, (64, 96, 128)),
        Suite("rfc7539esp(chacha20,poly1305)", Kind.AEAD, (32,), 4, 8, (128,)),
        Suite("rfc4309(ccm(aes))", Kind.AEAD, _AES, 3, 8, (64, 96, 128)),
        Suite("rfc4543(gcm(aes))", Kind.GMAC, _AES, 4, 8, (128,)),
    )
}

CIPHERS: dict[str, tuple[tuple[int, ...], int, int]] = {
    # name: key lengths, IV length, block
    "cbc(aes)": (_AES, 16, 16),
    "cbc(des3_ede)": ((24,), 8, 8),
    "ecb(cipher_null)": ((0,), 0, 1),
}


@dataclass(frozen=True, slots=True)
class Hash:
    """A MAC: hashlib's name, digest bits, ESP's truncations, and Linux's default (`auth` without a length)."""

    digest: str
    full_bits: int
    icv_bits: tuple[int, ...]
    default_bits: int


HASHES: dict[str, Hash] = {
    # net/xfrm/xfrm_algo.c aalg_list: `auth hmac(sha256)` without a length still means the old 96 bits.
    "hmac(md5)": Hash("md5", 128, (96, 128), 96),
    "hmac(sha1)": Hash("sha1", 160, (96, 160), 96),
    "hmac(sha256)": Hash("sha256", 256, (96, 128, 256), 96),
    "hmac(sha384)": Hash("sha384", 384, (192, 384), 192),
    "hmac(sha512)": Hash("sha512", 512, (256, 512), 256),
    "digest_null": Hash("", 0, (0,), 0),
}

OBSOLETE = frozenset({"cbc(des3_ede)", "hmac(md5)"})
"""For old captures and IMS (3GPP TS 33.203) only: RFC 8221 says SHOULD NOT of 3DES and MUST NOT of HMAC-MD5."""

# The kernel's aliases (`compat` in xfrm_algo.c), as old tools still write them.
ALIASES = {"aes": "cbc(aes)", "cipher_null": "ecb(cipher_null)", "sha1": "hmac(sha1)", "sha256": "hmac(sha256)",
           "des3_ede": "cbc(des3_ede)", "md5": "hmac(md5)",
           "rfc7539esp(chacha20,poly1305-generic)": "rfc7539esp(chacha20,poly1305)"}  # fmt: skip


@dataclass(slots=True)
class _Parts:
    aead: Algorithm | None = None
    enc: Algorithm | None = None
    auth: Algorithm | None = None
    others: list[str] = field(default_factory=list)


def resolve(algorithms: Sequence[Algorithm], *, null: bool = False) -> SuiteKeys:
    """The suite and keys that these algorithms name together. Raises ValueError with a sentence (never with a key).

    `null`: ecb(cipher_null) without auth passes, as Linux lets it (authenc with digest_null).
    """
    parts = _sort(algorithms)
    if parts.aead is not None:
        if parts.enc or parts.auth:
            raise ValueError("aead does its own encryption and authentication: enc or auth beside it makes no sense")
        return _resolve_aead(parts.aead)
    if parts.enc is None:
        raise ValueError("ESP needs `aead`, or `enc` with `auth` or `auth-trunc`")
    return _resolve_authenc(parts.enc, parts.auth, null)


def _sort(algorithms: Sequence[Algorithm]) -> _Parts:
    parts = _Parts()
    for algorithm in algorithms:
        slot = {"aead": "aead", "enc": "enc", "auth": "auth", "auth-trunc": "auth"}.get(algorithm.kind)
        if slot is None:
            raise ValueError(f"{algorithm.kind} is no algorithm of ESP")
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
    return SuiteKeys(suite, algorithm.key[:size], algorithm.key[size:], b"", algorithm.bits // 8)


def _resolve_authenc(enc: Algorithm, auth: Algorithm | None, null: bool) -> SuiteKeys:
    cipher_name = ALIASES.get(enc.name, enc.name)
    if cipher_name not in CIPHERS:
        raise ValueError(f"unknown enc algorithm {enc.name!r}; known: {', '.join(CIPHERS)}")
    key_lengths, iv_length, block = CIPHERS[cipher_name]
    if len(enc.key) not in key_lengths:
        raise ValueError(f"{cipher_name} takes a key of {_lengths(key_lengths)} bits, not {8 * len(enc.key)}")
    auth_name = ALIASES.get(auth.name, auth.name) if auth else "digest_null"
    if auth_name not in HASHES:
        raise ValueError(f"unknown auth algorithm {auth.name if auth else ''!r}; known: {', '.join(HASHES)}")
    mac = HASHES[auth_name]
    bits = auth.bits if auth is not None and auth.kind == "auth-trunc" else mac.default_bits
    if bits not in mac.icv_bits:
        raise ValueError(f"{auth_name} takes an ICV of {' or '.join(map(str, mac.icv_bits))} bits, not {bits}")
    if auth_name == "digest_null" and cipher_name == "ecb(cipher_null)" and auth is None and not null:
        raise ValueError("ecb(cipher_null) without auth would protect nothing (RFC 4303 3.2.1)")
    auth_key = auth.key if auth else b""  # empty for a MAC too: Linux takes that (crypto/hmac.c), and prints nothing
    suite = Suite(f"{cipher_name}+{auth_name}", Kind.AUTHENC, key_lengths, 0, iv_length, mac.icv_bits, block, auth_name)
    return SuiteKeys(suite, enc.key, b"", auth_key, bits // 8)


def nonce(salt: bytes, iv: bytes) -> bytes:
    """The AEAD's nonce: the SA's salt, then the packet's IV (RFC 4106 4, RFC 7634 2)."""
    return salt + iv


def aad(header: bytes, seq_hi: bytes) -> bytes:
    """The AEAD's additional data: SPI, seq (8 bytes), or SPI, seq_hi, seq with ESN (12 bytes; RFC 4106 5).

    `header` is the ESP header as it is on the wire (8 bytes); `seq_hi` is 4 bytes with ESN and empty without.
    """
    return header[:4] + seq_hi + header[4:8] if seq_hi else header


def pack_seq_hi(seq64: int) -> bytes:
    """ESN's high half as it goes into AAD or MAC; without ESN nothing goes there."""
    return (seq64 >> 32 & 0xFFFFFFFF).to_bytes(4)
