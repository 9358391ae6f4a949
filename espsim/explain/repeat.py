"""Shell commands that compute a value again without espsim: with openssl, or with Python and `cryptography`.

Each prints one value in lower-case hex. Keys are written $KEY, $SALT and $AUTH_KEY (hex digits), unless they are to be
shown (`keys.Shown`). Hex is broken into lines of 64 digits; bytes.fromhex ignores line feeds.
"""

from __future__ import annotations

import base64

from espsim.aead.suites import HASHES, SuiteKind
from espsim.explain.keys import Shown
from espsim.explain.steps import Repeat

_DIGITS = 64
_SHORT = 40
"""At most so many hex digits share a line with other text."""
_HEX = "h = bytes.fromhex"
_AEAD = "from cryptography.hazmat.primitives.ciphers.aead import "
_CIPHER = "from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes"
_CLASSES = {"rfc4106(gcm(aes))": "AESGCM", "rfc4543(gcm(aes))": "AESGCM", "rfc4309(ccm(aes))": "AESCCM",
            "rfc7539esp(chacha20,poly1305)": "ChaCha20Poly1305"}  # fmt: skip

_OPENSSL = {"cbc(aes)": "aes-{}-cbc", "cbc(camellia)": "camellia-{}-cbc", "cbc(des3_ede)": "des-ede3-cbc",
            "rfc3686(ctr(aes))": "aes-{}-ctr"}  # fmt: skip


def _python(lines: list[str], *words: str) -> str:
    """A Python script as a shell command. `words` are its sys.argv[1:]."""
    return " ".join(["python3 -c '\n" + "\n".join(lines) + "'", *words])


def _h(data: bytes) -> str:
    """An expression for these bytes, in lines that fit."""
    digits = data.hex()
    if len(digits) <= _SHORT:
        return f'h("{digits}")'
    rows = "\n".join(digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS))
    return f'h("""\n{rows}\n""")'


def checksum(header: bytes) -> Repeat:
    """An IPv4 header's checksum (RFC 1071). `header` has zeros in the checksum's place."""
    lines = [
        _HEX,
        f"b = {_h(header)}",
        "s = int.from_bytes(b) % 0xffff",
        'print(f"{~(s or 0xffff) & 0xffff:04x}")',
    ]
    return Repeat("checksum", _python(lines))


def esn(low: int, high: int, size: int, seq: int) -> Repeat:
    """The 64-bit number, by the arithmetic of RFC 4303 appendix A2.2."""
    lines = [
        f"Tl, Th, W, Seql = {low}, {high}, {size}, {seq}",
        "if Tl >= W - 1: Seqh = Th if Seql >= Tl - W + 1 else Th + 1",
        "else: Seqh = Th - 1 if Seql >= Tl - W + 1 + 2**32 else Th",
        'print(f"{(Seqh % 2**32 << 32) + Seql:016x}")',
    ]
    return Repeat("seq64", _python(lines))


def nonce(shown: Shown, iv: bytes) -> Repeat:
    """The nonce: salt, then IV."""
    return Repeat("nonce", f"echo {shown.salt}{iv.hex()}")


def counter_block(shown: Shown, iv: bytes) -> Repeat:
    """AES-CTR's first counter block: the SA's nonce, the IV, 1 (RFC 3686 4)."""
    return Repeat("counter block", f"echo {shown.salt}{iv.hex()}00000001")


def aad(parts: list[bytes]) -> Repeat:
    """The AAD: its parts one after another."""
    if sum(map(len, parts)) > _DIGITS // 4:
        lines = [f"a += {_h(part)}" for part in parts]
        return Repeat("AAD", _python([_HEX, 'a = b""', *lines, "print(a.hex())"]))
    return Repeat("AAD", "printf '" + "%s" * len(parts) + "\\n' " + " ".join(part.hex() for part in parts))


def icv(shown: Shown, iv: bytes, ciphertext: bytes, whole_aad: bytes) -> Repeat:
    """The ICV of a ciphertext. For a MAC, `whole_aad` is all that the MAC covers."""
    keys = shown.keys
    if keys.suite.kind is SuiteKind.AUTHENC:
        return Repeat("ICV", _python(_mac_lines(shown, whole_aad), shown.auth_key))
    name = _CLASSES[keys.suite.cipher]
    lines = ["import sys", _AEAD + name, _CIPHER, _HEX, "key, salt = map(h, sys.argv[1:])", f"n = salt + {_h(iv)}"]
    if keys.suite.kind is SuiteKind.GMAC:
        lines.remove(_CIPHER)
        lines += [f"a = {_h(whole_aad)}", 'print(AESGCM(key).encrypt(n, b"", a).hex())']
        return Repeat("ICV", _python(lines, shown.key, shown.salt))
    made, tag = _made(shown)
    lines += [
        f"a = {_h(whole_aad)}",
        f"c = {_keystream(name)}",
        f"p = c.decryptor().update({_h(ciphertext)})  # not verified",
        f"t = {made}.encrypt(n, p, a)[-{tag}:]",
        f"print(t[:{keys.icv_length}].hex())",
    ]
    return Repeat("ICV", _python(lines, shown.key, shown.salt))


def _mac_lines(shown: Shown, covered: bytes) -> list[str]:
    """A script that prints a MAC, cut to the ICV's length. Its argument is the key."""
    auth, size = shown.keys.suite.auth or "digest_null", shown.keys.icv_length
    if auth == "cmac(aes)":
        return [
            "import sys", _CIPHER, "from cryptography.hazmat.primitives.cmac import CMAC", _HEX,
            "c = CMAC(algorithms.AES(h(sys.argv[1])))", f"c.update({_h(covered)})",
            f"print(c.finalize()[:{size}].hex())",
        ]  # fmt: skip
    if auth == "xcbc(aes)":  # RFC 3566 4
        return [
            "import sys", _CIPHER, _HEX, "e = lambda k, m, b: Cipher(algorithms.AES(k), m).encryptor().update(b)",
            "k = e(h(sys.argv[1]), modes.ECB(), bytes((1,) * 16 + (2,) * 16 + (3,) * 16))", f"m = {_h(covered)}",
            "at = (len(m) - 1) // 16 * 16", "b, s = m[at:], k[16:32]",
            'if len(b) < 16: b, s = (b + b"\\x80").ljust(16, b"\\0"), k[32:]',
            "m = m[:at] + bytes(x ^ y for x, y in zip(b, s))",
            f"print(e(k[:16], modes.CBC(bytes(16)), m)[-16:][:{size}].hex())",
        ]  # fmt: skip
    digest = HASHES[auth].digest
    return [
        "import hmac, sys",
        _HEX,
        f'print(hmac.digest(h(sys.argv[1]), {_h(covered)}, "{digest}")[:{size}].hex())',
    ]


def _made(shown: Shown) -> tuple[str, int]:
    """The expression of `cryptography`'s AEAD object, and the length of its tags."""
    keys = shown.keys
    name = _CLASSES[keys.suite.cipher]
    if name == "AESCCM":
        return f"AESCCM(key, tag_length={keys.icv_length})", keys.icv_length
    return f"{name}(key)", 16


def _keystream(name: str) -> str:
    """The cipher with an AEAD's keystream (aead/icv.py)."""
    if name == "ChaCha20Poly1305":
        return 'Cipher(algorithms.ChaCha20(key, h("01000000") + n), None)'
    if name == "AESCCM":
        return 'Cipher(algorithms.AES(key), modes.CTR(h("03") + n + h("00000001")))'
    return 'Cipher(algorithms.AES(key), modes.CTR(n + h("00000002")))'


def decrypt(shown: Shown, iv: bytes, body: bytes, whole_aad: bytes) -> Repeat | None:
    """The plaintext of ciphertext and ICV. None: nothing is encrypted."""
    keys = shown.keys
    if keys.suite.kind is SuiteKind.AUTHENC:
        return _openssl(shown, iv, body[: len(body) - keys.icv_length], decrypting=True)
    if keys.suite.kind is SuiteKind.GMAC:
        return None
    name = _CLASSES[keys.suite.cipher]
    lines = ["import sys", _AEAD + name, _HEX, "key, salt = map(h, sys.argv[1:])", f"n = salt + {_h(iv)}"]
    if name == "AESGCM" and keys.icv_length < 16:
        split = len(body) - keys.icv_length
        lines[1] = _CIPHER
        lines += [
            f"m = modes.GCM(n, {_h(body[split:])}, {keys.icv_length})",
            "d = Cipher(algorithms.AES(key), m).decryptor()",
            f"d.authenticate_additional_data({_h(whole_aad)})",
            f"p = d.update({_h(body[:split])})",
            "print((p + d.finalize()).hex())",
        ]
    else:
        lines += [f"a = {_h(whole_aad)}", f"c = {_made(shown)[0]}", f"print(c.decrypt(n, {_h(body)}, a).hex())"]
    return Repeat("plaintext", _python(lines, shown.key, shown.salt))


def encrypt(shown: Shown, iv: bytes, plaintext: bytes, whole_aad: bytes) -> Repeat | None:
    """The ciphertext, for an AEAD with its ICV. None: nothing is encrypted."""
    keys = shown.keys
    if keys.suite.kind is SuiteKind.AUTHENC:
        return _openssl(shown, iv, plaintext, decrypting=False)
    if keys.suite.kind is SuiteKind.GMAC:
        return None
    name = _CLASSES[keys.suite.cipher]
    made, tag = _made(shown)
    cut = f"[:-{tag - keys.icv_length}]" if tag > keys.icv_length else ""
    lines = [
        "import sys",
        _AEAD + name,
        _HEX,
        "key, salt = map(h, sys.argv[1:])",
        f"n = salt + {_h(iv)}",
        f"a = {_h(whole_aad)}",
        f"c = {made}",
        f"print(c.encrypt(n, {_h(plaintext)}, a){cut}.hex())",
    ]
    return Repeat("ciphertext", _python(lines, shown.key, shown.salt))


def _openssl(shown: Shown, iv: bytes, data: bytes, *, decrypting: bool) -> Repeat | None:
    """CBC and CTR, with `openssl enc`. Its input is base64."""
    keys = shown.keys
    if keys.suite.cipher not in _OPENSSL:
        return None
    cipher = _OPENSSL[keys.suite.cipher].format(8 * len(keys.key))
    start = f"{shown.salt}{iv.hex()}00000001" if keys.salt else iv.hex()
    text = base64.b64encode(data).decode()
    rows = "\n".join(text[at : at + _DIGITS] for at in range(0, len(text), _DIGITS))
    to_bytes, act = ("", "-d -a") if decrypting else ("openssl base64 -d | ", "-e")
    return Repeat(
        "plaintext" if decrypting else "ciphertext",
        f"echo '{rows}' |\n{to_bytes}openssl enc {act} -{cipher} -nopad \\\n-K {shown.key} -iv {start} |\n"
        "od -An -v -tx1 | tr -d ' \\n'",
    )
