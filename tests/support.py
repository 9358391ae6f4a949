"""What several tests share: the published vectors, SAs made from them, and a capture reader of their own.

The capture reader here knows classic little-endian Ethernet captures only and shares no line with `espsim.io`, so that
a test of decapsulation does not depend on the reader under test.
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from espsim.aead.batch import BatchEngine
from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engines import NOT_THERE, engine_by_name, find, survey
from espsim.aead.suites import AEADS, CIPHERS, HASHES, Algorithm
from espsim.core.address import format_address, parse_address
from espsim.core.outbound_batch import OutboundBatch
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
from espsim.sad.sad import Sad

VECTORS = Path(__file__).parent / "vectors"
CAPTURES = VECTORS / "captures"


def usable(name: str) -> BatchEngine:
    """An engine. The test is skipped if the engine is not there, and fails if it is wrong."""
    if find(name).state == NOT_THERE:
        pytest.skip(find(name).why)
    return engine_by_name(name)


def engines_there() -> list[str]:
    """The names of the engines that are there. A wrong engine is among them, and its tests fail."""
    return [found.name for found in survey() if found.state != NOT_THERE]


def vectors(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return data


def ethernet_frames(path: Path) -> list[bytes]:
    """The IP packets of a classic little-endian Ethernet capture, Ethernet padding included."""
    data = path.read_bytes()
    assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
    assert struct.unpack_from("<I", data, 20)[0] == 1
    frames, at = [], 24
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        frames.append(data[at + 16 + 14 : at + 16 + length])
        at += 16 + length
    return frames


def algorithms_of(item: dict[str, Any]) -> tuple[Algorithm, ...]:
    """The algorithms of a manifest SA."""
    key = bytes.fromhex(item["key_hex"])
    if item.get("auth_alg"):
        auth = Algorithm("auth-trunc", item["auth_alg"], bytes.fromhex(item["auth_key_hex"]), item["icv_bits"])
        return (Algorithm("enc", item["linux_alg"], key), auth)
    return (Algorithm("aead", item["linux_alg"], key, item["icv_bits"]),)


def sa_of(item: dict[str, Any]) -> SecurityAssociation:
    """A manifest SA, its receive window starting where the receiver's did."""
    start = item["initial_oseq"]
    encap = item["encap"]
    return SecurityAssociation(
        parse_address(item["src"]),
        parse_address(item["dst"]),
        item["spi"],
        mode=Mode(item["mode"]),
        algorithms=algorithms_of(item),
        window=item["replay_window"],
        flags=frozenset({"esn"} if item["esn"] else ()),
        encap=Encap("espinudp", encap["sport"], encap["dport"], bytes(16)) if encap else None,
        replay=ReplayState(seq=start & 0xFFFFFFFF, seq_hi=start >> 32, oseq=start & 0xFFFFFFFF, oseq_hi=start >> 32),
    )


def new_sad(*sas: SecurityAssociation, keep_window: bool = False, seed: int = 1) -> Sad:
    sad = Sad(rng=random.Random(seed))
    for sa in sas:
        sad.newsa(sa, keep_window=keep_window)
    return sad


def gcm_sa(
    src: str = "192.0.2.1", dst: str = "192.0.2.2", spi: int = 0x1001, *, key_byte: int = 7, **options: Any
) -> SecurityAssociation:
    """An AES-128-GCM SA; everything else by keyword."""
    algorithms = (Algorithm("aead", "rfc4106(gcm(aes))", bytes([key_byte]) * 20, 128),)
    options.setdefault("mode", Mode.TUNNEL)
    options.setdefault("window", 64)
    return SecurityAssociation(parse_address(src), parse_address(dst), spi, algorithms=algorithms, **options)


# -- packets made by hand: nothing below uses espsim's own header code ------------------------------------------------


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(
    payload: bytes, *, src: str = "10.1.0.1", dst: str = "10.2.0.1", proto: int = 17, tos: int = 0, flags: int = 0,
    ident: int = 7, ttl: int = 63, options: bytes = b"", total: int | None = None,
) -> bytes:  # fmt: skip
    """An IPv4 packet. `flags`: the 16-bit flags-and-offset field. `total`: a false total length."""
    size = 20 + len(options)
    length = size + len(payload) if total is None else total
    head = struct.pack("!BBHHHBB", 0x40 | size // 4, tos, length, ident, flags, ttl, proto)
    tail = parse_address(src) + parse_address(dst) + options
    return head + checksum(head + b"\0\0" + tail).to_bytes(2) + tail + payload


def ipv6(
    payload: bytes, *, src: str = "2001:db8:1::1", dst: str = "2001:db8:2::1", next_header: int = 17,
    traffic_class: int = 0, flow: int = 0, hops: int = 63, length: int | None = None,
) -> bytes:  # fmt: skip
    """An IPv6 packet; extension headers are part of `payload`."""
    first = 6 << 28 | traffic_class << 20 | flow
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", first, length, next_header, hops) + parse_address(src) + parse_address(dst) + payload


def extension(next_header: int, size: int = 8, kind: int = 1) -> bytes:
    """A hop-by-hop or destination options header of `size` bytes, one PadN (or another option) inside."""
    return bytes((next_header, size // 8 - 1, kind, min(size - 4, 255))) + bytes(size - 4)


def fragment_header(next_header: int, offset: int = 0, *, more: bool = False) -> bytes:
    return struct.pack("!BBHI", next_header, 0, offset << 3 | more, 0x1234)


def udp(payload: bytes, sport: int = 1000, dport: int = 2000) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


class Peer:
    """The peer of an SA: seals with its keys whatever a test needs, right or wrong."""

    def __init__(self, sa: SecurityAssociation) -> None:
        assert sa.keys is not None
        self.sa, self.keys = sa, sa.keys
        self._transform = CryptographyEngine().transform(sa.keys)

    def esp(self, seq64: int, plaintext: bytes) -> bytes:
        """ESP from SPI to ICV around any plaintext."""
        header = struct.pack("!II", self.sa.spi, seq64 & 0xFFFFFFFF)
        iv = (seq64 & 0xFFFFFFFF).to_bytes(self.keys.suite.iv_length) if self.keys.suite.iv_length else b""
        seq_hi = (seq64 >> 32 & 0xFFFFFFFF).to_bytes(4) if self.sa.esn else b""
        return header + iv + self._transform.seal(header, seq_hi, iv, plaintext)

    def packet(
        self, seq64: int, inner: bytes, next_header: int | None = None, *, plaintext: bytes | None = None, **outer: Any
    ) -> bytes:
        """A whole packet under the SA; `plaintext` overrides payload and trailer, `outer` the outer header's fields."""
        if next_header is None:
            next_header = 4 if inner[0] >> 4 == 4 else 41
        if plaintext is None:
            pad = -(len(inner) + 2) % self.sa.aligned
            plaintext = inner + bytes(range(1, pad + 1)) + bytes((pad, next_header))
        return self.around(self.esp(seq64, plaintext), **outer)

    def around(self, esp: bytes, **outer: Any) -> bytes:
        """The SA's outer headers, UDP included, around given ESP bytes."""
        proto = 50
        if self.sa.encap is not None:
            esp, proto = udp(esp, self.sa.encap.sport, self.sa.encap.dport), 17
        addresses = {"src": format_address(self.sa.src), "dst": format_address(self.sa.dst)}
        if len(self.sa.dst) == 4:
            return ipv4(esp, **{**addresses, "proto": proto, **outer})
        return ipv6(esp, **{**addresses, "next_header": proto, **outer})


def suites() -> dict[str, tuple[Algorithm, ...]]:
    """Every suite with every ICV length, one key each, under a short name."""
    found: dict[str, tuple[Algorithm, ...]] = {}
    for name, suite in AEADS.items():
        for size in suite.key_lengths:
            for bits in suite.icv_bits:
                key = bytes(range(size + suite.salt_length))
                found[f"{name}-{8 * size}-{bits}"] = (Algorithm("aead", name, key, bits),)
    for cipher, needs in CIPHERS.items():
        for mac, facts in HASHES.items():
            for bits in facts.icv_bits:
                enc = Algorithm("enc", cipher, bytes(range(needs.key_sizes[-1])))
                auth = Algorithm("auth-trunc", mac, b"k" * (facts.full_bits // 8), bits)
                found[f"{cipher}-{mac}-{bits}"] = (enc, auth)
    return found


def each_suite(skip: str = " ") -> list[Any]:
    """Parameters, one a suite of `suites` but those whose name ends in `skip`.

    Not long are the AEADs, each cipher with one MAC, and each MAC and ICV length with one cipher.
    """
    names = [name for name in suites() if not name.endswith(skip)]
    kept = [n for n in names if n.startswith(tuple(AEADS))]
    kept += [n for n in names if n.startswith("cbc(aes)-") or n.endswith(("-hmac(sha256)-128", "-digest_null-0"))]
    return [pytest.param(n, id=n, marks=() if n in kept else (pytest.mark.long,)) for n in names]


def write_raw_capture(path: Path, packets: list[bytes], *, linktype: int = 101) -> None:
    """A classic little-endian capture of raw IP packets, a second and five microseconds apart."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype))
        for n, packet in enumerate(packets):
            file.write(struct.pack("<IIII", 1_700_000_000 + n, 5 * n, len(packet), len(packet)) + packet)


def read_raw_capture(path: Path) -> list[tuple[int, bytes]]:
    """(time in ns, packet) of a classic little-endian raw-IP capture, read without our reader."""
    data = path.read_bytes()
    magic, linktype = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 20)[0]
    assert linktype == 101
    unit = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}[magic]
    frames, at = [], 24
    while at < len(data):
        seconds, fraction, length, original = struct.unpack_from("<IIII", data, at)
        assert length == original
        frames.append((seconds * 10**9 + fraction * unit, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return frames


def sealed_packet(batch: OutboundBatch, row: int) -> bytes:
    """The sealed packet of a row of an OutboundBatch with verdict SEALED."""
    at = int(batch.out_at[row])
    return batch.out[at : at + int(batch.out_length[row])].tobytes()
