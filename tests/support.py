"""What several tests share: the published vectors, SAs made from them, and a capture reader of their own.

The capture reader here knows classic little-endian Ethernet captures only and shares no line with `espsim.io`, so that a
test of decapsulation does not lean on the reader under test.
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
from espsim.sad.sad import Sad

VECTORS = Path(__file__).parent / "vectors"
CAPTURES = VECTORS / "captures"


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
    sad = Sad(CryptographyEngine(), rng=random.Random(seed))
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
