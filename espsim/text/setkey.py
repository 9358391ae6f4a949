"""Reads SAs in the words of setkey(8), the tool of BSD, macOS and ipsec-tools on Linux: what -D prints and -c takes.

Its names of algorithms state no ICV length; RFC 4868's is taken. Linux differs: it prints `refcnt=0`, its PF_KEY
truncates SHA-256 to 96 bits (net/xfrm/xfrm_algo.c), and its `replay` is in packets, not in bytes (net/key/af_key.c).
"""

from __future__ import annotations

import re

from espsim.core.address import Address, parse_address
from espsim.core.errors import InputError
from espsim.sad.association import ESPINUDP, Encap
from espsim.text.algorithms import MAX_KEY
from espsim.text.cursor import Contradiction
from espsim.text.draft import Draft
from espsim.text.lexer import SaEntry, shown, words_of
from espsim.text.names import MAX_WINDOW
from espsim.text.notes import Notes
from espsim.text.removal import SETKEY_PROTOCOLS

_ENCRYPTION = {
    "null": "ecb(cipher_null)", "aes-cbc": "cbc(aes)", "rijndael-cbc": "cbc(aes)", "aes": "cbc(aes)",
    "des-cbc": "cbc(des)", "3des-cbc": "cbc(des3_ede)", "blowfish-cbc": "cbc(blowfish)", "cast128-cbc": "cbc(cast5)",
    "twofish-cbc": "cbc(twofish)", "camellia-cbc": "cbc(camellia)", "aes-ctr": "rfc3686(ctr(aes))",
}  # fmt: skip
_AEAD = {
    "aes-gcm-16": ("rfc4106(gcm(aes))", 128), "aes-gcm-12": ("rfc4106(gcm(aes))", 96),
    "aes-gcm-8": ("rfc4106(gcm(aes))", 64), "aes-gcm": ("rfc4106(gcm(aes))", 128),
    "chacha20-poly1305": ("rfc7539esp(chacha20,poly1305)", 128),
}  # fmt: skip
_AUTHENTICATION = {
    "hmac-md5": ("hmac(md5)", 96), "hmac-sha1": ("hmac(sha1)", 96), "hmac-sha": ("hmac(sha1)", 96),
    "hmac-sha2-256": ("hmac(sha256)", 128), "hmac-sha256": ("hmac(sha256)", 128), "sha2-256": ("hmac(sha256)", 128),
    "hmac-sha2-384": ("hmac(sha384)", 192), "hmac-sha384": ("hmac(sha384)", 192), "sha2-384": ("hmac(sha384)", 192),
    "hmac-sha2-512": ("hmac(sha512)", 256), "hmac-sha512": ("hmac(sha512)", 256), "sha2-512": ("hmac(sha512)", 256),
    "hmac-ripemd160": ("hmac(rmd160)", 96), "aes-xcbc-mac": ("xcbc(aes)", 96), "null": ("digest_null", 0),
}  # fmt: skip
# setkey prints a number for an algorithm that it has no name for (include/uapi/linux/pfkeyv2.h).
_NUMBERS = {
    "E": {"2": "des-cbc", "3": "3des-cbc", "11": "null", "12": "aes-cbc", "13": "aes-ctr", "18": "aes-gcm-8",
          "19": "aes-gcm-12", "20": "aes-gcm-16", "22": "camellia-cbc"},
    "A": {"2": "hmac-md5", "3": "hmac-sha1", "5": "hmac-sha2-256", "6": "hmac-sha2-384", "7": "hmac-sha2-512",
          "8": "hmac-ripemd160", "9": "aes-xcbc-mac", "251": "null"},
}  # fmt: skip
_FLAGS = {0x400: "esn", 0x20000000: "nopmtudisc", 0x40000000: "decap-dscp", 0x80000000: "noecn"}
_ESN = 0x400

_PROTOCOL = re.compile(r"^[ \t]*([a-z0-9-]+)[ \t]+mode=([a-z0-9]+)[ \t]+spi=([0-9]+)", re.MULTILINE)
_KEY = re.compile(
    r"^[ \t]*([EA]):[ \t]*(\S+)[ \t]*"  # E: aes-cbc
    r"(.*(?:\n[ \t]*[0-9a-f]{2,8}(?:[ \t]+[0-9a-f]{2,8})*[ \t]*$)*)",  # digits, 32 bytes a line
    re.MULTILINE,
)
_FIELD = re.compile(r"\b(reqid|seq|replay|flags|state|refcnt|OAI)=([\w.:]+)")
_ENDPOINT = re.compile(r"([0-9a-fA-F:.]+)(?:%[\w.-]+)?(?:\[(\d{1,5})\])?")
_ASSUMED = "setkey does not say how long the ICV is: {} bits are assumed for {}"
_ANY = "mode any is read as transport, as Linux does"


def read_dump(entry: SaEntry, where: str | None, notes: Notes) -> Draft:
    """One SA of `setkey -D`: its text from the line of addresses on. Contradiction: a damaged key."""
    draft = Draft(algorithm_line=entry.line)
    text = entry.text
    head, _, body = text.partition("\n")
    protocol = _PROTOCOL.search(body)
    if protocol is None:
        return draft  # two addresses on a line, without an SA
    fields = dict(_FIELD.findall(body))
    linux = fields.get("refcnt") == "0"
    try:
        ports = [_endpoint(draft, word, side) for word, side in zip(head.split(), ("src", "dst"), strict=True)]
        _protocol(draft, protocol[1], ports)
        _mode(draft, protocol[2], notes, entry.line)
        draft.spi = int(protocol[3]) if int(protocol[3]) >> 32 == 0 else None
        _fields(draft, fields, linux, notes, entry.line)
    except ValueError as error:
        draft.fail(InputError(str(error), where=where, line=entry.line))
    if fields.get("state") == "larval":
        return draft
    for kind, name, rest in _KEY.findall(body):
        digits = "".join(rest.split())
        key = _hex(kind, name, digits, where, entry.line) if re.fullmatch("[0-9a-f]*", digits) else None
        _algorithm(draft, kind, name, key, notes, sha256_bits=96 if linux else 0)
    return draft


def read_add(entry: SaEntry, where: str | None, notes: Notes) -> Draft:
    """`add [-46n] src dst protocol spi [-m mode] [-r size] -E name key -A name key`. Contradiction: a damaged key."""
    draft = Draft(algorithm_line=entry.line)
    words = [word.text for word in words_of(entry.text, entry.line, entry.line)][1:]
    while words and words[0].startswith("-"):
        words.pop(0)
    try:
        src, dst, protocol, spi = words[:4]
        ports = [_endpoint(draft, src, "src"), _endpoint(draft, dst, "dst")]
        _protocol(draft, protocol, ports)
        draft.spi = int(spi, 0)
        _options(draft, words[4:], where, notes, entry.line)
    except Contradiction:
        raise
    except (ValueError, IndexError) as error:
        what = str(error) if "is not" in str(error) else "an incomplete setkey command"
        draft.fail(InputError(what, where=where, line=entry.line))
    if not (draft.algorithms or draft.hidden or draft.fault):
        draft.fail(InputError("an SA without an algorithm", where=where, line=entry.line))
    return draft


def _options(draft: Draft, words: list[str], where: str | None, notes: Notes, line: int) -> None:
    mode = "any"
    at = 0
    while at < len(words):
        option = words[at]
        at += 1
        if option in ("-E", "-A"):
            kind, name = option[1], words[at]
            text = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
            at += 2 if text else 1
            _algorithm(draft, kind, name, _written_key(kind, name, text, where, line), notes)
        elif option == "-C":
            draft.add("comp", words[at], b"", 0)
            at += 1
        elif option == "-m":
            mode = words[at]
            at += 1
        elif option == "-u":
            draft.reqid = int(words[at], 0)
            at += 1
        elif option == "-r":
            draft.window = min(8 * int(words[at], 0), MAX_WINDOW)
            at += 1
        elif option == "-f":
            draft.flags |= {"esn"} if words[at] == "esn" else set()
            at += 1
        elif option in ("-lh", "-ls", "-bh", "-bs"):
            _limit(draft, option[1:], int(words[at], 0))
            at += 1
        elif option == "-ctx":
            at += 3
        elif option != "-R":
            raise ValueError(f"{shown(option)} is not a known option of setkey")
    _mode(draft, mode, notes, line)
    if "esn" in draft.flags and not draft.window:
        draft.window = MAX_WINDOW


def _limit(draft: Draft, option: str, value: int) -> None:
    name = f"{'hard' if option[1] == 'h' else 'soft'}_{'add' if option[0] == 'l' else 'bytes'}"
    draft.limits[name] = value or None


def _endpoint(draft: Draft, word: str, side: str) -> int:
    """An address, and its port or 0."""
    found = _ENDPOINT.fullmatch(word)
    address: Address | None = None
    if found is not None:
        try:
            address = parse_address(found[1])
        except ValueError:
            address = None
    if found is None or address is None:
        raise ValueError(f"{side} {shown(word)} is not an IP address")
    setattr(draft, side, address)
    return int(found[2] or 0)


def _protocol(draft: Draft, name: str, ports: list[int]) -> None:
    number = SETKEY_PROTOCOLS.get(name)
    if number is None:
        draft.proto, draft.other_proto = -1, name
        return
    draft.proto = number
    if name == "esp-udp" or any(ports):
        draft.encap = Encap(ESPINUDP, ports[0] or 4500, ports[1] or 4500, bytes(len(draft.dst or b"")))


def _mode(draft: Draft, name: str, notes: Notes, line: int) -> None:
    if name == "any":
        notes.add(_ANY, line)
    draft.mode = "transport" if name == "any" else name


def _fields(draft: Draft, fields: dict[str, str], linux: bool, notes: Notes, line: int) -> None:
    draft.reqid = int(fields.get("reqid", "0").partition("(")[0])
    sent, replay = int(fields.get("seq", "0"), 16), int(fields.get("replay", "0"))
    if sent:
        draft.replay["oseq"] = sent
    if replay and not linux:
        notes.add("setkey prints the replay window in bytes: 8 packets each", line)
    draft.window = min(replay if linux else 8 * replay, MAX_WINDOW)
    flags = int(fields.get("flags", "0"), 16)
    draft.flags = {name for bit, name in _FLAGS.items() if flags & bit and (bit != _ESN or not linux)}


def _algorithm(draft: Draft, kind: str, name: str, key: bytes | None, notes: Notes, *, sha256_bits: int = 0) -> None:
    """Add an `E:` or `A:` under Linux's name. `key` None: hidden. `sha256_bits`: the ICV if not RFC 4868's."""
    name = _NUMBERS[kind].get(name, name)
    if name == "none":
        return
    word, bits = "enc", 0
    if kind == "E" and name in _AEAD:
        word = "aead"
        linux, bits = _AEAD[name]
    elif kind == "E":
        linux = _ENCRYPTION.get(name, name)
    else:
        word = "auth-trunc"
        linux, bits = _AUTHENTICATION.get(name, (name, 0))
        if linux == "hmac(sha256)":
            bits = sha256_bits or bits
            notes.add(_ASSUMED.format(bits, name), draft.algorithm_line)
    draft.add(word, linux, key, bits)


def _written_key(kind: str, name: str, text: str, where: str | None, line: int) -> bytes | None:
    """A key as -c takes it: 0x and digits, or a string. None: it is hidden."""
    if text[:2] in ("0x", "0X"):
        digits = text[2:]
        return _hex(kind, name, digits, where, line) if re.fullmatch("[0-9a-fA-F]*", digits) else None
    if re.fullmatch(r"<.*|\[.*|\$.*|.*(?:\.\.|\*\*|hidden|redacted).*", text, re.IGNORECASE):
        return None
    if len(text) > MAX_KEY:
        raise ValueError("a key of more than 512 bytes is not usable")
    return text.encode("utf-8", "replace")


def _hex(kind: str, name: str, digits: str, where: str | None, line: int) -> bytes:
    if len(digits) % 2:
        raise Contradiction(
            f"-{kind} {shown(name)}: a key of odd hex length ({len(digits)} digits); copy the whole key",
            where=where, line=line,
        )  # fmt: skip
    return bytes.fromhex(digits)
