"""scapy opens what we seal, and we open what scapy seals, for every suite that both have."""

from __future__ import annotations

from typing import Any

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import format_address, parse_address
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
from tests.support import new_sad

pytestmark = pytest.mark.interop
scapy_ipsec = pytest.importorskip("scapy.layers.ipsec", reason="scapy is not installed (the `interop` extra)")

KEY = bytes(range(1, 65))


def aead(name, key, bits):
    return (Algorithm("aead", name, KEY[:key], bits),)


def authenc(enc, key, auth, auth_key, bits):
    return (Algorithm("enc", enc, KEY[:key]), Algorithm("auth-trunc", auth, KEY[:auth_key], bits))


# name: (our algorithms, scapy's arguments); scapy wants the salt at the end of the key, as we do.
SUITES: dict[str, tuple[tuple[Algorithm, ...], dict[str, Any]]] = {
    "gcm128": (aead("rfc4106(gcm(aes))", 20, 128), {"crypt_algo": "AES-GCM", "crypt_key": KEY[:20]}),
    "gcm192": (aead("rfc4106(gcm(aes))", 28, 128), {"crypt_algo": "AES-GCM", "crypt_key": KEY[:28]}),
    "gcm256": (aead("rfc4106(gcm(aes))", 36, 128), {"crypt_algo": "AES-GCM", "crypt_key": KEY[:36]}),
    "chacha": (
        aead("rfc7539esp(chacha20,poly1305)", 36, 128),
        {"crypt_algo": "CHACHA20-POLY1305", "crypt_key": KEY[:36]},
    ),
    "cbc128-sha1": (
        authenc("cbc(aes)", 16, "hmac(sha1)", 20, 96),
        {"crypt_algo": "AES-CBC", "crypt_key": KEY[:16], "auth_algo": "HMAC-SHA1-96", "auth_key": KEY[:20]},
    ),
    "cbc256-sha256": (
        authenc("cbc(aes)", 32, "hmac(sha256)", 32, 128),
        {"crypt_algo": "AES-CBC", "crypt_key": KEY[:32], "auth_algo": "SHA2-256-128", "auth_key": KEY[:32]},
    ),
    "null-sha1": (
        authenc("ecb(cipher_null)", 0, "hmac(sha1)", 20, 96),
        {"crypt_algo": "NULL", "crypt_key": None, "auth_algo": "HMAC-SHA1-96", "auth_key": KEY[:20]},
    ),
    "null-sha256": (
        authenc("ecb(cipher_null)", 0, "hmac(sha256)", 32, 128),
        {"crypt_algo": "NULL", "crypt_key": None, "auth_algo": "SHA2-256-128", "auth_key": KEY[:32]},
    ),
    "ctr128-sha256": (
        authenc("rfc3686(ctr(aes))", 20, "hmac(sha256)", 32, 128),
        {"crypt_algo": "AES-CTR", "crypt_key": KEY[:20], "auth_algo": "SHA2-256-128", "auth_key": KEY[:32]},
    ),
    "ctr256-cmac": (
        authenc("rfc3686(ctr(aes))", 36, "cmac(aes)", 16, 96),
        {"crypt_algo": "AES-CTR", "crypt_key": KEY[:36], "auth_algo": "AES-CMAC-96", "auth_key": KEY[:16]},
    ),
    "cbc128-cmac": (
        authenc("cbc(aes)", 16, "cmac(aes)", 16, 96),
        {"crypt_algo": "AES-CBC", "crypt_key": KEY[:16], "auth_algo": "AES-CMAC-96", "auth_key": KEY[:16]},
    ),
}
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


def ip(version, src, dst, **fields):
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    return (IP if version == 4 else IPv6)(src=src, dst=dst, **fields)


def clear_packet(version, src, dst, size):
    from scapy.layers.inet import UDP
    from scapy.packet import Raw

    return bytes(ip(version, src, dst) / UDP(sport=7777, dport=5555) / Raw(bytes(size)))


def pair(suite, mode, outer, inner, esn, nat_t):
    """(our SA, scapy's SA, a clear packet) of one combination; ESN is in its sixth 2^32."""
    from scapy.layers.inet import UDP

    algorithms, scapy_arguments = SUITES[suite]
    src, dst = ENDS[outer]
    sa = SecurityAssociation(
        parse_address(src), parse_address(dst), 0x1001, mode=mode, algorithms=algorithms, window=64,
        flags=frozenset({"esn"} if esn else ()), replay=ReplayState(seq_hi=5 if esn else 0, oseq_hi=5 if esn else 0),
        encap=Encap("espinudp", 4500, 4500, bytes(4)) if nat_t else None,
    )  # fmt: skip
    theirs = scapy_ipsec.SecurityAssociation(
        scapy_ipsec.ESP, spi=0x1001, seq_num=1, esn_en=esn, esn=5 if esn else 0,
        tunnel_header=ip(outer, src, dst) if mode is Mode.TUNNEL else None,
        nat_t_header=UDP(sport=4500, dport=4500) if nat_t else None, **scapy_arguments,
    )  # fmt: skip
    ends = ENDS[outer] if mode is Mode.TRANSPORT else ("10.1.0.1", "10.2.0.1") if inner == 4 else ("fd00::1", "fd00::2")
    return sa, theirs, lambda size: clear_packet(inner, *ends, size)


COMBINATIONS = [
    pytest.param(
        suite, mode, outer, inner, esn, nat_t, id=f"{suite}-{mode.value}-{inner}in{outer}-esn{esn:d}-nat{nat_t:d}"
    )
    for suite in SUITES
    for mode in (Mode.TRANSPORT, Mode.TUNNEL)
    for outer in (4, 6)
    for inner in (4, 6)
    for esn in (False, True)
    for nat_t in (False, True)
    if (mode is Mode.TUNNEL or inner == outer) and not (nat_t and outer == 6)  # scapy has no UDP encapsulation in IPv6
]


@pytest.mark.parametrize(("suite", "mode", "outer", "inner", "esn", "nat_t"), COMBINATIONS)
def test_scapy_opens_what_we_seal(suite, mode, outer, inner, esn, nat_t):
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    sa, theirs, clear = pair(suite, mode, outer, inner, esn, nat_t)
    sad = new_sad(sa)
    outbound = Outbound(sad, lambda n: bytes(range(n)))
    for size in (1, 2, 3, 16, 17, 200):
        packet = clear(size)
        sent = outbound.send(packet)
        assert sent is not None
        assert sent.verdict is OutboundVerdict.SEALED
        assert sent.packet is not None
        opened = theirs.decrypt((IP if outer == 4 else IPv6)(sent.packet))
        assert bytes(opened) == packet, format_address(sa.dst)


@pytest.mark.parametrize(("suite", "mode", "outer", "inner", "esn", "nat_t"), COMBINATIONS)
def test_we_open_what_scapy_seals(suite, mode, outer, inner, esn, nat_t):
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    sa, theirs, clear = pair(suite, mode, outer, inner, esn, nat_t)
    inbound = Inbound(new_sad(sa))
    for size in (1, 2, 3, 16, 17, 200):
        packet = clear(size)
        sealed = bytes(theirs.encrypt((IP if inner == 4 else IPv6)(packet)))
        received = inbound.receive(sealed)
        assert received is not None
        assert received.verdict is Verdict.DELIVERED
        assert received.inner == packet


@pytest.mark.parametrize("modes", [(Mode.TRANSPORT, Mode.TRANSPORT), (Mode.TRANSPORT, Mode.TUNNEL),
                                   (Mode.TUNNEL, Mode.TUNNEL), (Mode.TUNNEL, Mode.TRANSPORT)])  # fmt: skip
def test_we_open_a_bundle_that_scapy_seals(modes):
    """ESP in ESP: the first SA's packet goes under the second, with SHA-1 outside and GCM inside."""
    from scapy.layers.inet import IP

    src, dst = ENDS[4]
    packet, sas = clear_packet(4, src, dst, 40), []
    for spi, (mode, suite) in enumerate(zip(modes, ("gcm128", "cbc128-sha1"), strict=True), 1):
        algorithms, arguments = SUITES[suite]
        sas.append(
            SecurityAssociation(
                parse_address(src), parse_address(dst), spi, mode=mode, algorithms=algorithms, window=64
            )
        )
        header = ip(4, src, dst) if mode is Mode.TUNNEL else None
        theirs = scapy_ipsec.SecurityAssociation(scapy_ipsec.ESP, spi=spi, seq_num=1, tunnel_header=header, **arguments)
        packet = bytes(theirs.encrypt(IP(packet)))
    received = Inbound(new_sad(*sas)).receive(packet)
    assert received is not None
    assert (received.verdict, received.depth) == (Verdict.DELIVERED, 2)
    assert received.inner == clear_packet(4, src, dst, 40)
