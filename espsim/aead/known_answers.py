"""Packets whose right answer is published, every suite with keys for tests, and packets as rows of a batch.

proof.py asks every engine about them before it is used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from espsim.aead.suites import AEADS, CIPHERS, HASHES, Algorithm
from espsim.core.arrays import I32, I64, U8, U64
from espsim.core.numbers import WAITING

_hex = bytes.fromhex


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A published packet from the ESP header to the ICV, and its plaintext; `seq_hi` is None without ESN."""

    source: str
    algorithms: tuple[Algorithm, ...] = field(repr=False)
    seq_hi: int | None
    packet: bytes
    plaintext: bytes


KNOWN_ANSWERS = (
    KnownAnswer(
        "draft-mcgrew-gcm-test-01 case 12",
        (Algorithm("aead", "rfc4106(gcm(aes))", _hex("7d773d00c144c525ac619d18c84a3f47d9664267"), 128),),
        None,
        _hex("335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270"),
        _hex("01020201"),
    ),
    KnownAnswer(
        "draft-mcgrew-gcm-test-01 case 13",
        (Algorithm("aead", "rfc4106(gcm(aes))", _hex("abbccddef00112233445566778899aabdecaf888"), 128),),
        0,
        _hex(
            "0000010000000001cafedebaceface7429c9fc69a197d038ccdd14e2ddfcaa0543332164412503524303ed3c6c5f283843af8c3e"
        ),
        _hex("746f016265016f72016e6f7401746f0162650001"),
    ),
    KnownAnswer(
        "draft-mcgrew-gcm-test-01 case 07",
        (
            Algorithm(
                "aead", "rfc4106(gcm(aes))", _hex("feffe9928665731c6d6a8f9467308308feffe9928665731ccafebabe"), 128
            ),
        ),
        None,
        _hex(
            "0000a5f80000000afacedbaddecaf888a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0"
            "315b27452144cc7795457b9652037f5318027b5b4cd7a636"
        ),
        _hex("45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001"),
    ),
    KnownAnswer(
        "draft-mcgrew-gcm-test-01 case 09",
        (
            Algorithm(
                "aead",
                "rfc4106(gcm(aes))",
                _hex("abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74"),
                128,
            ),
        ),
        359608614,
        _hex(
            "17405e67dd0db99b616e640169766563f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57f"
            "f4d3a31ce673119e451626c2415771e3b7eebca614c89b35"
        ),
        _hex("45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f646d540001"),
    ),
    KnownAnswer(
        "draft-mcgrew-gcm-test-01 case 17",
        (Algorithm("aead", "rfc4543(gcm(aes))", _hex("4c80cdefbb5d10da906ac73c3613a63422433c64"), 128),),
        None,
        _hex(
            "0000432100000007000000000000000045000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364"
            "65666768696a6b6c6d6e6f707172737401020201f2a9a836e155106aa8dcd618e4099aaa"
        ),
        _hex(
            "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f707172737401020201"
        ),
    ),
    KnownAnswer(
        "RFC 7634 appendix A",
        (
            Algorithm(
                "aead",
                "rfc7539esp(chacha20,poly1305)",
                _hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3"),
                128,
            ),
        ),
        None,
        _hex(
            "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
            "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da"
            "9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43"
        ),
        _hex(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f10111213"
            "1415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204"
        ),
    ),
    # No document has a packet of RFC 4309: these follow from AES alone, as tests/unit/aead/test_ccm_by_hand.py shows.
    KnownAnswer(
        "RFC 3610's definition, AES-128",
        (Algorithm("aead", "rfc4309(ccm(aes))", _hex("b685dc346276023baec6c1de17cf5cb63cc785"), 128),),
        None,
        _hex(
            "0000100104896dc9899352296b12827cdee595abfc77638d5ba789abe9ae6e4c53c7383878bd4569850427a646be87f7"
            "13052ccbae9b755396f7a9808c2b4ca903b86951fcf2871d619e"
        ),
        _hex("45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d0756801020204"),
    ),
    KnownAnswer(
        "RFC 3610's definition, AES-192",
        (Algorithm("aead", "rfc4309(ccm(aes))", _hex("f65eab8d380dbe21b431189f7b19f97934b7bd2469e08455131785"), 96),),
        7,
        _hex(
            "00001001b439a89be093bb2fe879e53bb9e83321c443392dfd40d28bae447487e9fbc25f3911656eb4cdf041c6e0faad"
            "2259e2a11692962823f7888c3357b61b1a0dd2604894"
        ),
        _hex("45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d0756801020204"),
    ),
    KnownAnswer(
        "RFC 3610's definition, AES-256",
        (
            Algorithm(
                "aead",
                "rfc4309(ccm(aes))",
                _hex("c46872e2a287bc44f42b1974336d17d123bf6e2335b6290816e3b4529d694c9045b0f5"),
                64,
            ),
        ),
        None,
        _hex(
            "000010019e0f7e5a78b37cce1c908ad9ffc3f053b7403cb38107d37aa122aaffbe299613f675bb4f11ac232ca540d46a"
            "e05dbe22e0c61dd37be4bb57f0caf902a8a0"
        ),
        _hex("45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d0756801020204"),
    ),
    KnownAnswer(
        "Linux crypto/testmgr.h, authenc(hmac(sha1),cbc(aes))",
        (
            Algorithm("enc", "cbc(aes)", _hex("90d382b410eeba7ad938c46cec1a82bf")),
            Algorithm("auth-trunc", "hmac(sha1)", _hex("112233445566778899aabbccddeeff1122334455"), 160),
        ),
        None,
        _hex(
            "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849a4870b66cc6b9965"
            "330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d59"
            "13ac19b7cfbad4a658c68475e4e96b0ce1c50b734d8255a885e159f7"
        ),
        _hex(
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
            "28292a2b2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01"
        ),
    ),
    KnownAnswer(
        "Linux crypto/testmgr.h, authenc(hmac(sha256),cbc(aes))",
        (
            Algorithm("enc", "cbc(aes)", _hex("90d382b410eeba7ad938c46cec1a82bf")),
            Algorithm(
                "auth-trunc",
                "hmac(sha256)",
                _hex("112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122"),
                256,
            ),
        ),
        None,
        _hex(
            "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849a4870b66cc6b9965"
            "330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d59"
            "13ac19b7cfbad4a6bbd40fbea33b4cb83ad2e10386a559b773c346202cb1ef68bb8a327e128c69cf"
        ),
        _hex(
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
            "28292a2b2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01"
        ),
    ),
    KnownAnswer(
        "Linux crypto/testmgr.h, authenc(hmac(sha512),cbc(aes))",
        (
            Algorithm("enc", "cbc(aes)", _hex("90d382b410eeba7ad938c46cec1a82bf")),
            Algorithm(
                "auth-trunc",
                "hmac(sha512)",
                _hex(
                    "112233445566778899aabbccddeeff112233445566778899aabbccddeeff112233445566778899aabbccddeeff112233"
                    "445566778899aabbccddeeff11223344"
                ),
                512,
            ),
        ),
        None,
        _hex(
            "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849a4870b66cc6b9965"
            "330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d59"
            "13ac19b7cfbad4a6748494e2d77af9bf008aa2d5b7f360cfa047df4e09f4b17f14d93d538e12b3004c0a4e32404388ce"
            "9226c1762011ebba624f9a6225c37580b70a17f5d794b414"
        ),
        _hex(
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
            "28292a2b2c2d2e2f30313233343536370102030405060708090a0b0c0d0e0e01"
        ),
    ),
    KnownAnswer(
        "linux-crypto, authenc(hmac(md5),cbc(des3_ede)) for crypto/testmgr.h",
        (
            Algorithm("enc", "cbc(des3_ede)", _hex("e9c0ff2e760b6424444d995a12d640c0eac284e81495dbe8")),
            Algorithm("auth-trunc", "hmac(md5)", _hex("112233445566778899aabbccddeeff11"), 128),
        ),
        None,
        _hex(
            "00004321000000017d3388930f93b2420e2db6973c5633f4671721c76e8ad54974b34905c51cd0ed12565c5396b6007d"
            "9048fcf58d2939cc8ad5351836234ed776d1da0c9467bb048bf2036ca8cfb6ea226447aa8f7513bf9fc2c3f0c956c57a"
            "71632e897b1e12cae25fafd8a4f8c97ad6f92131624445a6d6bc5ad32d5443cc9ddea570e942458a6bfab19113b0d919"
            "9909fb0535c8cc38c31e5ee1e69684c8"
        ),
        _hex(
            "6f54206f614d796e532063656572737454206f6f4d206e61207965537263746520736f54206f614d796e532063656572"
            "737454206f6f4d206e61207965537263746520736f54206f614d796e532063656572737454206f6f4d206e6120796553"
            "7263746520736f54206f614d796e532063656572737454206f6f4d206e610a79"
        ),
    ),
    KnownAnswer(
        "Linux crypto/testmgr.h, authenc(hmac(md5),ecb(cipher_null))",  # its eight bytes are a header here
        (Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth-trunc", "hmac(md5)", bytes(16), 128)),
        None,
        _hex("0123456789abcdefaa42fe438deaa35ab93d9fb1a38e9bae"),
        b"",
    ),
    # RFC 3686 and RFC 3713 have no ESP header: eight zeros stand for it, and no MAC is over them.
    KnownAnswer(
        "RFC 3686 6, test vector 3",
        (Algorithm("enc", "rfc3686(ctr(aes))", _hex("7691be035e5020a8ac6e618529f9a0dc00e0017b")),),
        None,
        _hex(
            "000000000000000027777f3f4a1786f0c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"
        ),
        bytes(range(36)),
    ),
    KnownAnswer(
        "RFC 3686 6, test vector 5",
        (Algorithm("enc", "rfc3686(ctr(aes))", _hex("7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a0096b03b")),),
        None,
        _hex("0000000000000000020c6eadc2cb500d453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00"),
        bytes(range(32)),
    ),
    KnownAnswer(
        "RFC 3686 6, test vector 7",
        (
            Algorithm(
                "enc",
                "rfc3686(ctr(aes))",
                _hex("776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c10400000060"),
            ),
        ),
        None,
        _hex("0000000000000000db5672c97aa8f0b2145ad01dbf824ec7560863dc71e3e0c0"),
        b"Single block msg",
    ),
    # Of one block under an IV of zeros CBC makes what the cipher makes of it.
    KnownAnswer(
        "RFC 3713 A, 128-bit key",
        (Algorithm("enc", "cbc(camellia)", _hex("0123456789abcdeffedcba9876543210")),),
        None,
        _hex("00000000000000000000000000000000000000000000000067673138549669730857065648eabe43"),
        _hex("0123456789abcdeffedcba9876543210"),
    ),
    KnownAnswer(
        "RFC 3713 A, 256-bit key",
        (Algorithm("enc", "cbc(camellia)", _hex("0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff")),),
        None,
        _hex("0000000000000000000000000000000000000000000000009acc237dff16d76c20ef7c919e3a7509"),
        _hex("0123456789abcdeffedcba9876543210"),
    ),
    KnownAnswer(
        "RFC 3713 A, 192-bit key",
        (Algorithm("enc", "cbc(camellia)", _hex("0123456789abcdeffedcba98765432100011223344556677")),),
        None,
        _hex("000000000000000000000000000000000000000000000000b4993401b3e996f84ee5cee7d79b09b9"),
        _hex("0123456789abcdeffedcba9876543210"),
    ),
    # The MACs' messages: eight bytes of each are the header here, the rest the payload of the NULL cipher.
    KnownAnswer(
        "RFC 3566 4.6, test case 4",
        (
            Algorithm("enc", "ecb(cipher_null)", b""),
            Algorithm("auth-trunc", "xcbc(aes)", _hex("000102030405060708090a0b0c0d0e0f"), 96),
        ),
        None,
        _hex("000102030405060708090a0b0c0d0e0f1011121347f51b4564966215b8985c63"),
        _hex("08090a0b0c0d0e0f10111213"),
    ),
    KnownAnswer(
        "RFC 3566 4.6, test case 5",
        (
            Algorithm("enc", "ecb(cipher_null)", b""),
            Algorithm("auth-trunc", "xcbc(aes)", _hex("000102030405060708090a0b0c0d0e0f"), 128),
        ),
        None,
        _hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ff54f0ec8d2b9f3d36807734bd5283fd4"),
        bytes(range(8, 32)),
    ),
    KnownAnswer(
        "RFC 4493 4, example 3",
        (
            Algorithm("enc", "ecb(cipher_null)", b""),
            Algorithm("auth-trunc", "cmac(aes)", _hex("2b7e151628aed2a6abf7158809cf4f3c"), 128),
        ),
        None,
        _hex(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"
            "dfa66747de9ae63030ca32611497c827"
        ),
        _hex("e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"),
    ),
    KnownAnswer(
        "RFC 4494 4, test case 2",
        (
            Algorithm("enc", "ecb(cipher_null)", b""),
            Algorithm("auth-trunc", "cmac(aes)", _hex("2b7e151628aed2a6abf7158809cf4f3c"), 96),
        ),
        None,
        _hex("6bc1bee22e409f96e93d7e117393172a070a16b46b4d4144f79bdd9d"),
        _hex("e93d7e117393172a"),
    ),
)


@dataclass(slots=True)
class PacketRows:
    """A batch made of packets: header, IV, body, room for the ICV, each at a place of its own in the arena."""

    arena: U8
    esp: I64
    end: I64
    slot: I32
    seq64: U64
    result: U8

    @classmethod
    def of(cls, packets: list[tuple[int, int, bytes]]) -> PacketRows:
        """From (slot, seq_hi, bytes from the ESP header to the ICV)."""
        sizes = np.array([len(packet) for _, _, packet in packets], dtype=np.int64)
        # Seven bytes between rows, so that rows begin at every alignment and none touches the next.
        esp = np.cumsum(sizes + 7) - sizes
        arena = np.zeros(int(esp[-1] + sizes[-1]) + 7 if packets else 0, dtype=np.uint8)
        for start, (_, _, packet) in zip(esp, packets, strict=True):
            arena[start : start + len(packet)] = np.frombuffer(packet, dtype=np.uint8)
        slot = np.array([number for number, _, _ in packets], dtype=np.int32)
        seq64 = np.array([hi << 32 for _, hi, _ in packets], dtype=np.uint64)
        return cls(arena, esp, esp + sizes, slot, seq64, np.zeros(len(packets), dtype=np.uint8))

    def columns(self) -> tuple[U8, I64, I64, I32, U64, U8]:
        """What `open` and `seal` take; `result` is set to waiting again."""
        self.result[:] = WAITING
        return self.arena, self.esp, self.end, self.slot, self.seq64, self.result


def suites() -> Iterator[tuple[Algorithm, ...]]:
    """Every suite with every key and ICV length that espsim knows, with keys for tests.

    Two exceptions keep it short: Camellia and CTR meet each MAC and ICV with one of their key lengths, by turns, and an
    AES-based MAC's key has one of its lengths, by turns.
    """
    rng = random.Random(4303)
    for suite in AEADS.values():
        for size in suite.key_lengths:
            for bits in suite.icv_bits:
                yield (Algorithm("aead", suite.name, rng.randbytes(size + suite.salt_length), bits),)
    turn = 0
    for name, mac in HASHES.items():
        for bits in mac.icv_bits:
            size = mac.key_lengths[turn % 3] if mac.key_lengths else bits // 4
            auth = Algorithm("auth-trunc" if bits else "auth", name, rng.randbytes(size), bits)
            for cipher, needs in CIPHERS.items():
                sizes = needs.key_sizes if cipher == "cbc(aes)" else (needs.key_sizes[turn % len(needs.key_sizes)],)
                for size in sizes:
                    yield (Algorithm("enc", cipher, rng.randbytes(size)), auth)
            turn += 1
