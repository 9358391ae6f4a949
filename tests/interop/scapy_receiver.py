"""scapy as a receiver of ESP, in the form that `espsim kit run` judges. An example of an adapter.

    espsim kit run kit --command 'python tests/interop/scapy_receiver.py {in} {sad} {out}'

It reads the few words of `ip xfrm state` that a kit has, finds the SA by destination and SPI, and hands each packet to
scapy. It adds nothing that scapy lacks: no replay window, no lifetime, no selector. If scapy can't do a case, it ends
with status 77 and a line that says why.
"""

from __future__ import annotations

import logging
import shlex
import sys
from typing import Any

logging.getLogger("scapy").setLevel(logging.CRITICAL)

SKIPPED = 77
CIPHERS = {
    "rfc4106(gcm(aes))": "AES-GCM", "rfc4309(ccm(aes))": "AES-CCM", "rfc4543(gcm(aes))": "AES-NULL-GMAC",
    "rfc7539esp(chacha20,poly1305)": "CHACHA20-POLY1305", "cbc(aes)": "AES-CBC", "cbc(des3_ede)": "3DES",
    "ecb(cipher_null)": "NULL", "rfc3686(ctr(aes))": "AES-CTR",
}  # fmt: skip
HASHES = {
    ("hmac(sha1)", 96): "HMAC-SHA1-96", ("hmac(sha256)", 128): "SHA2-256-128", ("hmac(sha384)", 192): "SHA2-384-192",
    ("hmac(sha512)", 256): "SHA2-512-256", ("hmac(md5)", 96): "HMAC-MD5-96", ("cmac(aes)", 96): "AES-CMAC-96",
    ("digest_null", 0): "NULL",
}  # fmt: skip


class CannotError(Exception):
    """scapy has no such thing."""


def key_of(word: str) -> bytes:
    return bytes.fromhex(word.removeprefix("0x"))


def association(words: list[str]) -> Any:
    """One `ip xfrm state add` line as scapy's SA."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP, SecurityAssociation

    said = {name: words[words.index(name) + 1] for name in ("src", "dst", "spi", "mode")}
    arguments: dict[str, Any] = {"spi": int(said["spi"], 0), "seq_num": 1}
    for at, word in enumerate(words):
        if word in ("aead", "enc"):
            if words[at + 1] not in CIPHERS:
                raise CannotError(f"scapy has no {words[at + 1]}")
            key = key_of(words[at + 2])
            arguments |= {"crypt_algo": CIPHERS[words[at + 1]], "crypt_key": key or None}
            if word == "aead":
                arguments["crypt_icv_size"] = int(words[at + 3]) // 8
        elif word == "auth-trunc":
            algorithm = words[at + 1], int(words[at + 3])
            if algorithm not in HASHES:
                raise CannotError(f"scapy has no {algorithm[0]} of {algorithm[1]} bits")
            arguments |= {"auth_algo": HASHES[algorithm], "auth_key": key_of(words[at + 2])}
        elif word == "encap":
            if ":" in said["dst"]:
                raise CannotError("scapy has no UDP encapsulation in IPv6")
            arguments["nat_t_header"] = UDP(sport=int(words[at + 2]), dport=int(words[at + 3]))
        elif word == "replay-seq-hi":
            arguments["esn"] = int(words[at + 1], 0)
        elif word == "flag":
            arguments["esn_en"] = "esn" in words[at + 1 : at + 4]
    if said["mode"] == "tunnel":
        version = IPv6 if ":" in said["dst"] else IP
        arguments["tunnel_header"] = version(src=said["src"], dst=said["dst"])
    return SecurityAssociation(ESP, **arguments)


def associations(text: str) -> dict[tuple[str, int], Any]:
    """The SAs of a kit's text by destination and SPI, without those that it deletes again."""
    found: dict[tuple[str, int], Any] = {}
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        key = words[words.index("dst") + 1], int(words[words.index("spi") + 1], 0)
        if words[3] == "add":
            found[key] = association(words)
        else:
            del found[key]
    return found


def opened(packet: Any, sas: dict[tuple[str, int], Any]) -> bytes | None:
    """The packet inside, None where scapy delivers none."""
    from scapy.layers.ipsec import ESP

    if ESP not in packet:
        return None
    sa = sas.get((packet.dst, packet[ESP].spi))
    if sa is None:
        return None
    try:
        inner = bytes(sa.decrypt(packet))
    except Exception:  # scapy raises what its parts raise: struct.error for a short packet, among others
        return None
    return inner or None


def main(capture: str, sad: str, out: str) -> int:
    """Open a capture; the exit status."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP
    from scapy.packet import bind_layers
    from scapy.utils import PcapReader, PcapWriter

    try:
        with open(sad, encoding="utf-8") as file:
            sas = associations(file.read())
    except CannotError as error:
        sys.stdout.write(f"{error}\n")
        return SKIPPED
    for sa in sas.values():
        if sa.nat_t_header is not None:
            bind_layers(UDP, ESP, dport=sa.nat_t_header.dport)
    with PcapReader(capture) as frames, PcapWriter(out, linktype=101) as writer:
        writer.write_header(None)
        for frame in frames:
            layer = IP if IP in frame else IPv6
            inner = opened(layer(bytes(frame[layer])), sas) if layer in frame else None
            if inner is not None:
                writer.write_packet(inner, sec=int(frame.time), usec=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
