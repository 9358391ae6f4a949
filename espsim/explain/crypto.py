"""IV, nonce, AAD and ICV of one ESP packet as steps, the same for an inbound and an outbound packet."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from espsim.aead.suites import SuiteKind, aad, nonce
from espsim.explain import repeat
from espsim.explain.keys import Shown
from espsim.explain.steps import Bytes, Field, Repeat, Step
from espsim.wire import esp

_SOURCES = {
    "rfc4106(gcm(aes))": ("RFC 4106 4", "RFC 4106 5"),
    "rfc7539esp(chacha20,poly1305)": ("RFC 7634 2", "RFC 7634 2.1"),
    "rfc4309(ccm(aes))": ("RFC 4309 4", "RFC 4309 5"),
    "rfc4543(gcm(aes))": ("RFC 4543 3.2", "RFC 4543 3.3"),
}
"""Where each suite's nonce and AAD are specified."""


@dataclass(frozen=True)
class Crypto:
    """The arguments of `Transform.open` for one packet. Its ESP header is at `at` in `wire`."""

    shown: Shown
    wire: Bytes
    at: int
    header: bytes
    seq_hi: bytes
    iv: bytes
    body: bytes

    @property
    def ciphertext(self) -> bytes:
        """Without the ICV."""
        return self.body[: len(self.body) - self.shown.keys.icv_length]

    @property
    def icv(self) -> bytes:
        """As the packet has it."""
        return self.body[len(self.ciphertext) :]

    @property
    def authenc(self) -> bool:
        """Whether a MAC covers the ciphertext. Then there is no nonce and no AAD."""
        return self.shown.keys.suite.kind is SuiteKind.AUTHENC

    @property
    def counter(self) -> bool:
        """Whether the cipher is AES-CTR, whose counter block is nonce, IV and block counter."""
        return self.shown.keys.suite.cipher == "rfc3686(ctr(aes))"

    @property
    def number(self) -> bytes:
        """The IV that goes into the nonce: the packet's, or the implicit one."""
        return self.nonce[len(self.shown.keys.salt) :] if self.nonce is not None else self.iv

    @property
    def clear(self) -> bool:
        """Whether nothing is encrypted."""
        suite = self.shown.keys.suite
        return suite.kind is SuiteKind.GMAC or suite.cipher == "ecb(cipher_null)"

    @functools.cached_property
    def nonce(self) -> bytes | None:
        """Salt and IV, the implicit one too; None where a cipher has no nonce."""
        if self.authenc and not self.counter:
            return None
        return nonce(self.shown.keys, self.header, self.seq_hi, self.iv)

    @functools.cached_property
    def parts(self) -> list[bytes]:
        """What the ICV covers: of an AEAD without the ciphertext, of a MAC everything."""
        if self.authenc:
            return [self.header, self.iv, self.ciphertext, *([self.seq_hi] if self.seq_hi else [])]
        head = [self.header[:4], *([self.seq_hi] if self.seq_hi else []), self.header[4:]]
        return [*head, self.iv, self.ciphertext] if self.shown.keys.suite.kind is SuiteKind.GMAC else head

    @functools.cached_property
    def aad(self) -> bytes | None:
        """The AEAD's additional data."""
        if self.authenc:
            return None
        more = self.iv + self.ciphertext if self.shown.keys.suite.kind is SuiteKind.GMAC else b""
        return aad(self.header, self.seq_hi) + more

    # -- steps ------------------------------------------------------------------------------------------------------

    def payload_step(self) -> Step:
        """IV, ciphertext and ICV in the packet."""
        fields = (self._iv(), self._ciphertext(), self._icv("ICV", f"{8 * len(self.icv)} bits"))
        sizes = f"IV of {len(self.iv)} bytes, {self._what} of {len(self.ciphertext)}, ICV of {len(self.icv)}"
        return Step("ESP payload", "RFC 4303 2.3-2.8", sizes, tuple(f for f in fields if f.length))

    def input_steps(self) -> list[Step]:
        """Nonce and AAD, or the input of the MAC in its order."""
        spi = self.wire.field("SPI", self.at, 4, f"0x{int.from_bytes(self.header[:4]):08x}")
        seq = self.wire.field("sequence number", self.at + 4, 4)
        high = [Field("ESN's high half", None, 4, self.seq_hi.hex(), int.from_bytes(self.seq_hi))]
        high = high if self.seq_hi else []
        iv = [self._iv()] if self.iv else []
        if self.counter:
            return [self._counter_step(), self._mac_step([spi, seq, *iv, self._ciphertext(), *high])]
        if self.authenc:
            return [self._mac_step([spi, seq, *iv, self._ciphertext(), *high])]
        suite, salt = self.shown.keys.suite, self.shown.salt_field()
        sources = _SOURCES[suite.cipher]
        says, source = f"salt of {salt.length} bytes, then the IV", sources[0]
        if suite.implicit_iv:
            says, source = f"salt of {salt.length} bytes, then the implicit IV: the number in 64 bits", "RFC 8750 4"
            iv = [Field("implicit IV", None, 8, self.number.hex(), "not in the packet")]
        first = Step("nonce", source, says, (salt, *iv), (repeat.nonce(self.shown, self.number),))
        says = "SPI, ESN's high half, sequence number" if high else "SPI, sequence number"
        fields = [spi, *high, seq]
        if suite.kind is SuiteKind.GMAC:
            says += ", IV, payload and trailer: nothing is encrypted"
            fields += [*iv, self._ciphertext()]
        return [first, Step("AAD", sources[1], says, tuple(fields), (repeat.aad(self.parts),))]

    def _counter_step(self) -> Step:
        says = "the SA's nonce of 4 bytes, the IV, and 1 for the first block"
        fields = (self.shown.salt_field(), self._iv(), Field("block counter", None, 4, "00000001", 1))
        return Step("counter block", "RFC 3686 4", says, fields, (repeat.counter_block(self.shown, self.iv),))

    def _mac_step(self, fields: list[Field]) -> Step:
        says = "the MAC is over SPI, sequence number, IV, ciphertext" + (
            ", ESN's high half last" if self.seq_hi else ""
        )
        return Step("MAC input", "RFC 4303 3.3.2.1, 2.2.1", says, tuple(fields))

    def icv_step(self, expected: bytes) -> Step:
        """The received ICV and the computed one."""
        source = f"RFC 4303 3.4.4.{1 if self.authenc else 2}"
        if not self.icv:
            return Step("ICV", source, "none: the SA authenticates nothing, so anything passes")
        good = "right" if self.icv == expected else "WRONG"
        fields = (
            self._icv("received", good),
            Field("computed", None, len(expected), expected.hex(), f"{8 * len(expected)} bits"),
        )
        says = f"received {self.icv.hex()}, computed {expected.hex()}: {good}"
        return Step("ICV", source, says, fields, (self.icv_again(),))

    def icv_again(self) -> Repeat:
        """A command that computes the ICV."""
        return repeat.icv(self.shown, self.number, self.ciphertext, b"".join(self.parts))

    def decrypt_again(self) -> Repeat | None:
        """A command that decrypts."""
        return repeat.decrypt(self.shown, self.number, self.body, b"".join(self.parts))

    def encrypt_again(self, plaintext: bytes) -> Repeat | None:
        """A command that encrypts."""
        return repeat.encrypt(self.shown, self.number, plaintext, b"".join(self.parts))

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return "payload and trailer, in clear" if self.clear else "ciphertext"

    def _iv(self) -> Field:
        return self.wire.field("IV", self.at + esp.HEADER_LENGTH, len(self.iv), f"{len(self.iv)} bytes")

    def _ciphertext(self) -> Field:
        start, size = self.at + esp.HEADER_LENGTH + len(self.iv), len(self.ciphertext)
        return self.wire.field(self._what, start, size, f"{size} bytes")

    def _icv(self, name: str, value: str) -> Field:
        start = self.at + esp.HEADER_LENGTH + len(self.iv) + len(self.ciphertext)
        return self.wire.field(name, start, len(self.icv), value)
