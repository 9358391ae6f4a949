"""SAs as rows of Wireshark's `esp_sa` table (epan/dissectors/packet-ipsec.c), for 4.0 and 4.4 alike.

A row has eight columns: protocol, source, destination, SPI, encryption, its key, authentication, its key. 4.4 has two
more: the length of sequence numbers and ESN's high half. It gives rows without them its defaults (32-bit, 0). 4.0 warns
of rows with them. So a row here has eight columns. Rows with ten are written as comments; a user of 4.4 can take off
the #.

What this does not do: give Wireshark a mode, an encapsulation or a window. A comment above the row states mode and
encapsulation, for `esp_sa_read`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from espsim.aead.suites import SuiteKeys, SuiteKind
from espsim.core.address import format_address
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import Mode, SecurityAssociation, Selector
from espsim.text.iptfs_options import option_words
from espsim.text.show import selector_row

_NULL = "NULL"
_CIPHERS = {
    "cbc(aes)": "AES-CBC [RFC3602]", "cbc(des3_ede)": "TripleDES-CBC [RFC2451]", "ecb(cipher_null)": _NULL,
    "rfc3686(ctr(aes))": "AES-CTR [RFC3686]",
}  # fmt: skip
_GCM = "rfc4106(gcm(aes))"
_CHACHA = "rfc7539esp(chacha20,poly1305)"
_CHACHA_ROW = "ChaCha20 with Poly1305 [RFC7634]"
_AUTHENTICATION = {
    # (MAC, ICV length in bytes): Wireshark's name (esp_authentication_type_vals)
    ("digest_null", 0): _NULL,
    ("hmac(md5)", 12): "HMAC-MD5-96 [RFC2403]",
    ("hmac(sha1)", 12): "HMAC-SHA-1-96 [RFC2404]",
    ("hmac(sha256)", 12): "HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]",
    ("hmac(sha256)", 16): "HMAC-SHA-256-128 [RFC4868]",
    ("hmac(sha384)", 24): "HMAC-SHA-384-192 [RFC4868]",
    ("hmac(sha512)", 32): "HMAC-SHA-512-256 [RFC4868]",
}
CIPHER_OF_ROW = {
    row.partition(" [")[0]: name for name, row in _CIPHERS.items()
} | {
    "DES-CBC": "cbc(des)", "BLOWFISH-CBC": "cbc(blowfish)", "TWOFISH-CBC": "cbc(twofish)", "CAST5-CBC": "cbc(cast5)"
}  # fmt: skip
"""Wireshark's name of an encryption, without its RFC: Linux's name."""

AUTHENTICATION_OF_ROW = {row.partition(" [")[0]: key for key, row in _AUTHENTICATION.items()} | {
    "MAC-RIPEMD-160-96": ("hmac(rmd160)", 12)
}
"""Wireshark's name of an authentication, without its RFC: Linux's name of the MAC and the ICV's length in bytes."""

_ANY_LENGTHS = (8, 12, 16, 24, 32)
_UDPENCAP_PORT = 4500

_CHACHA_NOTE = "Wireshark 4.0 has no ChaCha20-Poly1305, and complains of it; for a newer one, take off the next #"
_TWIN = "another SA above has its addresses and SPI, and Wireshark takes the first row"
_NO_KEYS = "no ESP keys, no row"
_ESN_NOTE = "4.0 can't check its ICV; 4.4 can, with one of these rows in place of the one below:"
_GCM_ESN_NOTE = "4.0 can't check its ICV, and calls it bad; 4.4 can, with one of these rows in place of the one below:"

_HEAD = (
    "# Wireshark's table of ESP SAs: copy it as `esp_sa` into a profile, or into WIRESHARK_CONFIG_DIR. It holds keys.",
    "# tshark -o esp.enable_encryption_decode:TRUE -o esp.enable_authentication_check:TRUE -r CAPTURE",
)


@dataclass(frozen=True, slots=True, repr=False)
class _Crypto:
    """The last four of a row's columns. Not `checked`: Wireshark knows the ICV's length, but can't compute it."""

    encryption: str
    key: bytes
    authentication: str
    auth_key: bytes
    checked: bool = True


def esp_sa_rows(sas: Iterable[tuple[SecurityAssociation, Sequence[int]]]) -> list[str]:
    """The lines of an `esp_sa` file for SAs, each with the high halves of the sequence numbers that its packets had.

    Wireshark 4.0 and 4.4 both take the rows. Comments say what they can't decrypt or can't check (ESN's ICV), which
    epoch an ESN row is for, and which UDP ports a user must give Wireshark. The lines hold keys.
    """
    pairs = list(sas)
    lines = [*_HEAD, *_port_hints(sa for sa, _ in pairs)]
    seen: set[tuple[bytes, bytes, int]] = set()
    for sa, epochs in pairs:
        key = (sa.src, sa.dst, sa.spi)
        if key in seen:
            lines.append(f"# {sa.name}: {_TWIN}")
            continue
        seen.add(key)
        lines += _lines_of(sa, epochs)
    return lines


@dataclass(frozen=True, slots=True)
class SecretRows:
    """What a secrets block holds of some SAs: `rows`, with keys, and `comments` on ports and IP-TFS, without keys.

    `notes` maps sentences for a user to the SAs that each is about: SAs without a row, and what a row can't do.
    """

    rows: list[str] = field(default_factory=list, repr=False)
    comments: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)


def secret_rows(sas: Iterable[tuple[SecurityAssociation, Sequence[int]]]) -> SecretRows:
    """The rows of a secrets block (`io.secrets`), for Wireshark 4.7 and later; arguments as of `esp_sa_rows`.

    The rows have no comments between them. With ESN there is a row for each high half, which states it.
    """
    pairs = list(sas)
    found = SecretRows()
    seen: set[tuple[bytes, bytes, int]] = set()
    for sa, epochs in pairs:
        key = (sa.src, sa.dst, sa.spi)
        if key in seen:
            found.notes.setdefault(_TWIN, []).append(sa.name)
            continue
        seen.add(key)
        crypto, note = _whole(sa)
        if note:
            found.notes.setdefault(note, []).append(sa.name)
        if crypto is None:
            continue
        found.rows.extend(_with_epochs(sa, crypto, epochs) if sa.esn else [_row(sa, crypto)])
        if sa.mode is Mode.IPTFS or (sa.encap is not None and sa.encap.dport != _UDPENCAP_PORT):
            found.comments.append(f"{sa.name}: {_not_in_a_row(sa)}")
    found.notes.update((hint.removeprefix("# "), []) for hint in _port_hints(sa for sa, _ in pairs))
    return found


def _whole(sa: SecurityAssociation) -> tuple[_Crypto | None, str]:
    """A row's columns for the newest Wireshark (None: it can't have a row for this SA), and a note on them."""
    keys = sa.keys
    if sa.proto != PROTO_ESP or keys is None:
        return None, _NO_KEYS
    if keys.suite.name == _CHACHA:
        return _Crypto(_CHACHA_ROW, keys.key + keys.salt, _NULL, b""), ""
    crypto = _crypto(keys)
    if crypto is None:
        return None, _no_row(keys)
    return crypto, "" if crypto.checked else _not_checked(keys)


def _no_row(keys: SuiteKeys) -> str:
    return f"Wireshark has no {keys.suite.name} with an ICV of {8 * keys.icv_length} bits, no row"


def _not_checked(keys: SuiteKeys) -> str:
    return f"Wireshark has no {keys.suite.name} with {8 * keys.icv_length} bits: the ICV is not checked"


def _port_hints(sas: Iterable[SecurityAssociation]) -> Iterator[str]:
    ports = {
        sa.encap.dport for sa in sas if sa.encap is not None and _UDPENCAP_PORT not in (sa.encap.sport, sa.encap.dport)
    }
    for port in sorted(ports):
        yield f"# ESP in UDP on port {port}: Wireshark looks on {_UDPENCAP_PORT} only; add -d udp.port=={port},udpencap"


def _lines_of(sa: SecurityAssociation, epochs: Sequence[int]) -> Iterator[str]:
    keys = sa.keys
    if sa.proto != PROTO_ESP or keys is None:
        yield f"# {sa.name}: {_NO_KEYS}"
        return
    if words := _not_in_a_row(sa):
        yield f"# {sa.name}: {words}"
    if keys.suite.name == _CHACHA:
        yield f"# {sa.name}: {_CHACHA_NOTE}"
        yield from _newer(sa, _Crypto(_CHACHA_ROW, keys.key + keys.salt, _NULL, b""), epochs)
        return
    crypto = _crypto(keys)
    if crypto is None:
        yield f"# {sa.name}: {_no_row(keys)}"
        return
    if sa.esn:
        yield f"# {sa.name}: ESN, this row is for high 32 bits {_epochs(epochs)}"
        if crypto.checked and keys.icv_length:
            yield f"# {_GCM_ESN_NOTE if keys.suite.kind is SuiteKind.AEAD else _ESN_NOTE}"
            yield from _newer(sa, crypto, epochs)
            crypto = _unchecked(crypto, keys)
    if not crypto.checked and not sa.esn:
        yield f"# {sa.name}: {_not_checked(keys)}"
    yield _row(sa, crypto)


def _not_in_a_row(sa: SecurityAssociation) -> str:
    """What a row can't state of an SA, in the words of `ip xfrm state`; "" for tunnel mode without encapsulation."""
    if sa.mode is Mode.TUNNEL and sa.encap is None:
        return ""
    words = f"mode {sa.mode.value}"
    if sa.encap is not None:
        encap = sa.encap
        words += f" encap type {encap.kind} sport {encap.sport} dport {encap.dport} addr {format_address(encap.oaddr)}"
    if sa.mode is Mode.BEET and sa.selector != Selector():
        words += (
            f" sel {selector_row(sa.selector, len(sa.dst), stats=False).rstrip()}"  # its addresses are the inner ones
        )
    return " ".join([words, *option_words(sa.iptfs)])


def _crypto(keys: SuiteKeys) -> _Crypto | None:
    suite = keys.suite
    if suite.name == _GCM:
        # The ICV's length is in the cipher's name, and the authentication must be NULL, or nothing is decrypted.
        return _Crypto(f"AES-GCM with {keys.icv_length} octet ICV [RFC4106]", keys.key + keys.salt, _NULL, b"")
    if suite.kind is not SuiteKind.AUTHENC:
        return None
    cipher = _CIPHERS.get(suite.cipher)
    authentication = _AUTHENTICATION.get((suite.auth or "", keys.icv_length))
    if cipher is None:
        return None
    if authentication is not None:
        return _Crypto(cipher, keys.key + keys.salt, authentication, keys.auth_key)
    any_length = _any(keys.icv_length)
    return None if any_length is None else _Crypto(cipher, keys.key + keys.salt, any_length, b"", checked=False)


def _any(icv_length: int) -> str | None:
    return f"ANY {8 * icv_length} bit authentication [no checking]" if icv_length in _ANY_LENGTHS else None


def _unchecked(crypto: _Crypto, keys: SuiteKeys) -> _Crypto:
    """The same without an ICV check that can only fail. AES-GCM keeps it: Wireshark can't leave it out."""
    if crypto.authentication == _NULL:
        return crypto
    return _Crypto(crypto.encryption, crypto.key, _any(keys.icv_length) or _NULL, b"", checked=False)


def _newer(sa: SecurityAssociation, crypto: _Crypto, epochs: Sequence[int]) -> Iterator[str]:
    """Rows of 4.4 as comments: with ESN's ninth and tenth columns, one row for each epoch."""
    if not sa.esn:
        yield f"# {_row(sa, crypto)}"
    for row in _with_epochs(sa, crypto, epochs) if sa.esn else ():
        yield f"# {row}"


def _with_epochs(sa: SecurityAssociation, crypto: _Crypto, epochs: Sequence[int]) -> Iterator[str]:
    """Rows of ten columns, one for each epoch."""
    for epoch in sorted(set(epochs)):
        yield f'{_row(sa, crypto)},"64-bit","{epoch:08x}"'


def _epochs(epochs: Sequence[int]) -> str:
    return ", ".join(f"0x{epoch:08x}" for epoch in sorted(set(epochs))) or "unknown"


def _row(sa: SecurityAssociation, crypto: _Crypto) -> str:
    columns = (
        "IPv4" if len(sa.dst) == 4 else "IPv6",
        format_address(sa.src),
        format_address(sa.dst),
        f"0x{sa.spi:08x}",
        crypto.encryption,
        _hex(crypto.key),
        crypto.authentication,
        _hex(crypto.auth_key),
    )
    return ",".join(f'"{column}"' for column in columns)


def _hex(key: bytes) -> str:
    return f"0x{key.hex()}" if key else ""
