"""ESP packets that are sealed with the `cryptography` package directly: no code of espsim makes or reads them.

`Sealer` is the peer of one SA. A test can make its packets wrong: another ICV length, another ESN high half.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

A, B = "192.0.2.1", "192.0.2.2"
GCM_KEY, OTHER_KEY = bytes(range(20)), bytes(range(100, 120))
ENC_KEY, AUTH_KEY = bytes(range(32, 48)), bytes(range(48, 80))
RAW_IP = 101


def gcm_words(key: bytes = GCM_KEY, bits: int = 128) -> str:
    """The algorithm in the words of `ip xfrm state`."""
    return f"aead 'rfc4106(gcm(aes))' 0x{key.hex()} {bits}"


def cbc_words(bits: int = 128, key: bytes = AUTH_KEY) -> str:
    """AES-CBC with HMAC-SHA-256 cut to so many bits."""
    return f"enc 'cbc(aes)' 0x{ENC_KEY.hex()} auth-trunc 'hmac(sha256)' 0x{key.hex()} {bits}"


def sa_line(words: str, *, spi: int = 0x1001, src: str = A, dst: str = B, mode: str = "tunnel", more: str = "") -> str:
    """One `ip xfrm state add` line; a window of 32 unless `more` has one."""
    window = "" if "replay-window" in more else "replay-window 32"
    return f"ip xfrm state add src {src} dst {dst} proto esp spi {spi:#x} mode {mode} {window} {more} {words}\n"


def inner_packet(data: bytes = b"for no one to see", src: str = "10.1.0.1", dst: str = "10.2.0.1") -> bytes:
    """A UDP packet in IPv4, without checksums."""
    payload = struct.pack("!HHHH", 1000, 2000, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0)
    return head + ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed + payload


@dataclass(frozen=True)
class Sealer:
    """`hi`: ESN's high half, None without ESN. `icv`: bytes of the ICV. `cbc`: AES-CBC with HMAC-SHA-256, else GCM."""

    key: bytes = GCM_KEY
    spi: int = 0x1001
    src: str = A
    dst: str = B
    hi: int | None = None
    icv: int = 16
    cbc: bool = False

    def esp(self, seq: int, inner: bytes | None = None, *, next_header: int = 4, padding: bytes | None = None) -> bytes:
        """From SPI to ICV; `padding` in place of 1, 2, 3."""
        inner = inner_packet() if inner is None else inner
        block = 16 if self.cbc else 4
        pad = bytes(range(1, 1 + -(len(inner) + 2) % block)) if padding is None else padding
        plaintext = inner + pad + bytes((len(pad), next_header))
        header = struct.pack("!II", self.spi, seq & 0xFFFFFFFF)
        high = b"" if self.hi is None else struct.pack("!I", self.hi)
        if self.cbc:
            iv = hashlib.sha256(header).digest()[:16]
            encryptor = Cipher(AES(ENC_KEY), CBC(iv)).encryptor()
            sealed = header + iv + encryptor.update(plaintext) + encryptor.finalize()
            return sealed + hmac.new(AUTH_KEY, sealed + high, "sha256").digest()[: self.icv]
        iv = struct.pack("!Q", seq)
        sealed = AESGCM(self.key[:16]).encrypt(self.key[16:] + iv, plaintext, header[:4] + high + header[4:])
        return header + iv + sealed[: len(sealed) - 16 + self.icv]

    def packet(self, seq: int, inner: bytes | None = None, *, port: int | None = None, **how: Any) -> bytes:
        """The whole packet; `port`: in UDP from and to that port."""
        return around(self.esp(seq, inner, **how), src=self.src, dst=self.dst, port=port)


def around(esp: bytes, *, src: str = A, dst: str = B, port: int | None = None, fragment: int = 0) -> bytes:
    """Outer headers, IPv4 or IPv6 (`fragment`: IPv4's flags and offset)."""
    proto = 50
    if port is not None:
        esp, proto = struct.pack("!HHHH", port, port, 8 + len(esp), 0) + esp, 17
    ends = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, len(esp), proto, 64) + ends + esp
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(esp), 7, fragment, 64, proto, 0) + ends + esp


def pcap(path: Path, packets: list[bytes], *, snap: int = 65535, linktype: int = RAW_IP) -> Path:
    """A classic capture, a packet each millisecond, cut to `snap` bytes."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, linktype)]
    for n, packet in enumerate(packets):
        kept = packet[:snap]
        records.append(struct.pack("<IIII", 1700000000, 1000 * n, len(kept), len(packet)) + kept)
    path.write_bytes(b"".join(records))
    return path
