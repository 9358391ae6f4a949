"""What each algorithm is specified by, who else checked it, and which engine serves it: the rows of `engines --suites`.

Engines and published answers come from the code itself. Who else checked it is in the table PEERS
below. tests/unit/aead/test_checks.py checks that every test in it exists and meets the algorithms that it lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from espsim.aead.batch import BatchEngine
from espsim.aead.known_answers import KNOWN_ANSWERS, suites
from espsim.aead.suites import AEADS, CIPHERS, HASHES, SuiteKeys, resolve

SPECIFIED = {
    "rfc4106(gcm(aes))": "RFC 4106", "rfc7539esp(chacha20,poly1305)": "RFC 7634", "rfc4309(ccm(aes))": "RFC 4309",
    "rfc4543(gcm(aes))": "RFC 4543", "iiv(rfc4106(gcm(aes)))": "RFC 8750", "iiv(rfc4309(ccm(aes)))": "RFC 8750",
    "iiv(rfc7539esp(chacha20,poly1305))": "RFC 8750", "cbc(aes)": "RFC 3602", "cbc(camellia)": "RFC 4312",
    "rfc3686(ctr(aes))": "RFC 3686", "cbc(des3_ede)": "RFC 2451", "ecb(cipher_null)": "RFC 2410",
    "hmac(md5)": "RFC 2403", "hmac(sha1)": "RFC 2404", "hmac(sha256)": "RFC 4868", "hmac(sha384)": "RFC 4868",
    "hmac(sha512)": "RFC 4868", "xcbc(aes)": "RFC 3566", "cmac(aes)": "RFC 4494", "digest_null": "RFC 4303",
}  # fmt: skip

_GCM, _CCM, _GMAC = "rfc4106(gcm(aes))", "rfc4309(ccm(aes))", "rfc4543(gcm(aes))"
_CHACHA = "rfc7539esp(chacha20,poly1305)"


@dataclass(frozen=True, slots=True)
class InteropPeer:
    """Another implementation, the test that compares espsim with it, and the algorithms that meet there."""

    name: str
    test: str
    algorithms: frozenset[str]


PEERS = (
    InteropPeer("scapy", "tests/interop/test_kit_scapy.py", frozenset({
        _GCM, _CHACHA, _CCM, _GMAC, "cbc(aes)", "cbc(des3_ede)", "rfc3686(ctr(aes))", "ecb(cipher_null)",
        "hmac(md5)", "hmac(sha1)", "hmac(sha256)", "hmac(sha384)", "hmac(sha512)", "cmac(aes)", "digest_null",
    })),
    InteropPeer("tshark", "tests/interop/test_tshark.py", frozenset({
        _GCM, "cbc(aes)", "rfc3686(ctr(aes))", "ecb(cipher_null)", "hmac(sha1)", "hmac(sha256)", "hmac(sha512)",
    })),
    InteropPeer("libgcrypt", "tests/interop/test_libgcrypt.py", frozenset({
        _GCM, _CHACHA, _CCM, f"iiv({_GCM})", f"iiv({_CCM})", f"iiv({_CHACHA})", "cbc(aes)", "cbc(camellia)",
        "cbc(des3_ede)", "rfc3686(ctr(aes))", "ecb(cipher_null)", "hmac(md5)", "hmac(sha1)", "hmac(sha256)",
        "hmac(sha384)", "hmac(sha512)", "cmac(aes)", "xcbc(aes)",
    })),
    InteropPeer("Linux", "tests/unit/reference/test_captures.py", frozenset({
        _GCM, _CHACHA, "cbc(aes)", "hmac(sha256)",
    })),
    InteropPeer("strongSwan", "tests/unit/reference/test_captures.py", frozenset({_GCM})),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlgorithmRow:
    """One algorithm: `key_bits` with the salt, `engines` that serve it in a suite, `published` sources of answers."""

    name: str
    kind: str
    specified: str
    key_bits: tuple[int, ...]
    icv_bits: tuple[int, ...]
    engines: tuple[str, ...]
    published: tuple[str, ...]
    peers: tuple[str, ...]


def rows(engines: Sequence[BatchEngine]) -> list[AlgorithmRow]:
    """A row an algorithm: AEADs, ciphers, MACs; `engines` are those that can be used, the fastest first."""
    keys = list(map(resolve, suites()))
    served = {e.name: {part for k in keys if e.supports(k) for part in parts(k)} for e in engines}

    def row(kind: str, name: str, sizes: Iterable[int], icv_bits: tuple[int, ...]) -> AlgorithmRow:
        return AlgorithmRow(
            name, kind, SPECIFIED[name], tuple(8 * n for n in sizes), icv_bits,
            tuple(e.name for e in engines if name in served[e.name]),
            tuple(a.source for a in KNOWN_ANSWERS if name in parts(resolve(a.algorithms)) and "null" not in name),
            tuple(peer.name for peer in PEERS if name in peer.algorithms),
        )  # fmt: skip

    return [
        *(row("aead", name, suite.key_sizes, suite.icv_bits) for name, suite in AEADS.items()),
        *(row("enc", name, cipher.key_sizes, ()) for name, cipher in CIPHERS.items()),
        *(row("auth", name, mac.key_lengths, mac.icv_bits) for name, mac in HASHES.items()),
    ]


def by_suite(engines: Sequence[BatchEngine]) -> dict[str, list[str]]:
    """The engines that serve each suite, the fastest first: `auto` takes the first of them."""
    found: dict[str, list[str]] = {}
    for keys in map(resolve, suites()):
        found.setdefault(keys.suite.name, [e.name for e in engines if e.supports(keys)])
    return found


def parts(keys: SuiteKeys) -> frozenset[str]:
    """The names of a suite's algorithms: an AEAD, or a cipher and a MAC."""
    return frozenset(keys.suite.name.split("+"))


def documents(sources: Iterable[str]) -> list[str]:
    """What published answers are from, each once, without the number of the case."""
    return list(dict.fromkeys(_document(source) for source in sources))


def _document(source: str) -> str:
    words = source.replace(",", "").replace("'s", "").split()
    return " ".join(words[: 2 if words[0] in ("RFC", "Linux") else 1])
