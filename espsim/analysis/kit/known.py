"""Published packets, and every algorithm.

Sources: vectors.json names each; RFC 3602, RFC 7634, draft-mcgrew-gcm-test-01, crypto/testmgr.h of Linux.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from espsim.aead.suites import AEADS, CIPHERS, HASHES, Algorithm
from espsim.analysis.kit.packets import (
    CBC_SHA256,
    ENDS,
    GCM,
    Case,
    CaseSealer,
    Words,
    clear,
    make_case,
    make_sa,
    wrap_ip,
)
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import Mode, ReplayState, SecurityAssociation
from espsim.wire import ipv4

_MODES = {"tunnel": Mode.TUNNEL, "transport": Mode.TRANSPORT}


def known_vectors() -> Iterator[Case]:
    """One case for each published packet."""
    text = (resources.files("espsim.analysis.kit") / "vectors.json").read_text(encoding="utf-8")
    for vector in json.loads(text)["vectors"]:
        yield _known(vector)


def _known(vector: dict[str, Any]) -> Case:
    packet = bytes.fromhex(vector["ip_packet"] or "")
    if not packet:  # the source has only ESP, without the IP header
        packet = wrap_ip(bytes.fromhex(vector["esp"]), PROTO_ESP, *ENDS[4], ttl=64)
    algorithms = tuple(
        Algorithm(kind, name, bytes.fromhex(key), bits) for kind, name, key, bits in vector["algorithms"]
    )
    mode, seq = _MODES[vector["mode"]], vector["seq"]
    flags = frozenset({"esn"} if vector["esn"] else ())
    sa = SecurityAssociation(
        packet[ipv4.SRC],
        packet[ipv4.DST],
        vector["spi"],
        mode=mode,
        algorithms=algorithms,
        window=64,
        flags=flags,
        replay=ReplayState(seq_hi=seq >> 32, stated=True),
    )
    payload = bytes.fromhex(vector["payload"])
    inside = payload
    if mode is Mode.TRANSPORT:
        head, length = packet[:20], (20 + len(payload)).to_bytes(2)
        inside = _with_checksum(head[:2] + length + head[4:9] + bytes((vector["next_header"],)) + head[10:]) + payload
    words = ", ".join(_word(a.name, a.bits) for a in algorithms)
    esn = ", ESN" if vector["esn"] else ""
    name = f"Inbound known vector (ESP {mode.value} mode IPv4 {words}{esn}): {vector['id']}"
    about = "A published packet opens to the published payload."
    return make_case(vector["id"].lower(), name, about, sa, [packet], source=vector["source"], known={0: inside})


def _with_checksum(header: bytes) -> bytes:
    """RFC 1071, written here again: a known answer must not depend on code of the path that it judges."""
    clear_header = header[:10] + bytes(2) + header[12:]
    total = sum(int.from_bytes(clear_header[at : at + 2]) for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return clear_header[:10] + (total ^ 0xFFFF).to_bytes(2) + clear_header[12:]


def _word(name: str, bits: int) -> str:
    return f"{name} [{bits // 8}B ICV]" if bits else name


# -- every algorithm --------------------------------------------------------------------------------------------------


def _every_suite() -> Iterator[tuple[str, Words]]:
    """Short name and algorithms: every AEAD with each key and ICV, every cipher and key with each hash.

    Camellia and CTR have only one key length with each hash, in turn.
    """
    for name, suite in AEADS.items():
        for size in suite.key_lengths:
            for bits in suite.icv_bits:
                yield f"{name}-{8 * size}-{bits}", (("aead", name, size + suite.salt_length, bits),)
    for cipher, needs in CIPHERS.items():
        sizes = needs.key_sizes
        for turn, (mac, facts) in enumerate(HASHES.items()):
            for size in sizes if cipher == "cbc(aes)" else (sizes[turn % len(sizes)],):
                if cipher == "ecb(cipher_null)" and mac == "digest_null":
                    continue
                bits = {"hmac(sha256)": 128}.get(mac, facts.default_bits)
                enc = ("enc", cipher, size, 0)
                yield f"{cipher}-{8 * size}-{mac}-{bits}", (enc, ("auth-trunc", mac, facts.full_bits // 8, bits))


_SHORT = str.maketrans({"(": "-", ")": "", ",": "-", "_": "-"})


def algorithms() -> Iterator[Case]:
    """Each suite opens two packets and refuses one whose ICV, or with no ICV whose padding length, is wrong."""
    for name, suite in _every_suite():
        ident = name.translate(_SHORT)
        sa = make_sa(suite=suite, label=name)
        seal = CaseSealer(sa)
        packets = [seal.packet(n, clear(f"{ident} {n}", size=20 * n)) for n in (1, 2, 3)]
        if suite[-1][3]:
            packets[1] = packets[1][:-1] + bytes((packets[1][-1] ^ 1,))
        yield make_case(
            ident, f"Combined test alg list ({name})", "Three packets; the second one's ICV is wrong.", sa, packets
        )


# -- the ICV ----------------------------------------------------------------------------------------------------------

_NULL_SHA1: Words = (("enc", "ecb(cipher_null)", 0, 0), ("auth-trunc", "hmac(sha1)", 20, 96))
_CHACHA: Words = (("aead", "rfc7539esp(chacha20,poly1305)", 36, 128),)
_GMAC: Words = (("aead", "rfc4543(gcm(aes))", 20, 128),)
_CCM: Words = (("aead", "rfc4309(ccm(aes))", 19, 128),)
ICV_SUITES = {
    "gcm": GCM,
    "gmac": _GMAC,
    "ccm": _CCM,
    "chacha20": _CHACHA,
    "cbc-sha256": CBC_SHA256,
    "null-sha1": _NULL_SHA1,
}


def icv_corruption() -> Iterator[Case]:
    """One flipped bit in each part that the ICV covers. Right packets between them pass."""
    for name, suite in ICV_SUITES.items():
        yield _corrupted(name, suite, esn=False)
        yield _corrupted(f"{name}-esn", suite, esn=True)


def _corrupted(name: str, suite: Words, *, esn: bool) -> Case:
    sa = make_sa(suite=suite, label=name, flags=("esn",) if esn else ())
    seal, keys = CaseSealer(sa), sa.keys
    iv, icv = (keys.suite.iv_length, keys.icv_length) if keys is not None else (0, 0)
    good = [seal.packet(n, clear(f"icv {name} {n}")) for n in range(1, 20)]
    places = [
        -1,
        -icv,
        20 + 8 + iv,
        20 + 7,
    ]  # the ICV's last and first byte, the payload's first, the sequence number's
    places += [20 + 8] if iv else []
    frames = [good[0]]
    for n, at in enumerate(places, 1):
        harmed = bytearray(good[n])
        harmed[at] ^= 0x40 if at == 20 + 7 else 1
        frames += [bytes(harmed), good[n]]
    far = bytearray(seal.packet(500, clear(f"icv {name} far")))
    far[-1] ^= 1  # forged and far ahead: the window must not move
    frames += [bytes(far), good[len(places) + 1]]
    about = (
        "A bit of the ICV (last, first byte), payload, sequence number or IV is wrong: nothing of these packets is"
        " delivered, and no window moves for them. Each is followed by the right packet, which passes."
    )
    return make_case(name, f"Negative test: ICV corruption ({name})", about, sa, frames)


def unknown_spi() -> Iterator[Case]:
    """Packets without an SA."""
    sa = make_sa()
    other = make_sa(0x1002, label="unknown")
    seal, stranger = CaseSealer(sa), CaseSealer(other)
    frames = [
        seal.packet(1, clear("spi 1")),
        stranger.packet(1, clear("spi stranger")),
        seal.packet(2, clear("spi 2"), dst="192.0.2.77"),
    ]
    zero = bytearray(seal.packet(3, clear("spi zero")))
    zero[20:24] = bytes(4)
    frames += [bytes(zero), seal.packet(4, clear("spi 4"))]
    yield make_case(
        "unknown-spi", "Negative test: no SA", "An SPI, a destination and SPI 0 that no SA has.", sa, frames
    )
    sixth = make_sa(0x1001, 6, label="other family")
    yield make_case(
        "two-families",
        "Negative test: one SPI in two families",
        "An SA for IPv4 and one for IPv6 share an SPI; each packet meets its own.",
        (sa, sixth),
        [
            seal.packet(1, clear("family 4")),
            CaseSealer(sixth).packet(1, clear("family 6", 6)),
            seal.packet(2, clear("family 4 again")),
        ],
    )
