"""What a message may show: no key wherever it lies, every address and number, no control character, a few names."""

from __future__ import annotations

import ipaddress
import random
import string

import pytest

from espsim.core.echo import HIDDEN, did_you_mean, hide_keys, hide_words, message, nearest, printable, shortened
from espsim.core.errors import InputError

KEY = "c0ffee11d00dfeed22beefcafe33f00dabad1dea"


@pytest.mark.parametrize(
    "text",
    [
        f"0x{KEY}", f"0X{KEY.upper()}", KEY, KEY[:16], f'"{KEY}"', f"'0x{KEY}'", f"aead=0x{KEY},icv=128",
        f"0x{KEY[:9]}",
        f"cbc(aes)0x{KEY}", f"x{KEY}y", f"0x{KEY[:12]}g{KEY[13:]}", f"{KEY[:10]}z{KEY[11:]}", f"0x{KEY[:-1]}",
        f"0x{KEY[:7]}-{KEY[7:]}", f"{KEY[:8]}, 0x{KEY[8:]}", "e: c0ffee11 d00dfeed 22beefca fe33f00d abad1dea",
        ":".join(KEY[n : n + 2] for n in range(0, 40, 2)), KEY[:13], "1234567890123456",
    ],
)  # fmt: skip
def test_keys_are_hidden(text: str):
    shown = hide_keys(text)
    assert HIDDEN in shown
    assert longest_common(shown.lower(), KEY) < 8


def longest_common(text: str, key: str) -> int:
    return max(
        (n for n in range(1, len(key) + 1) for at in range(len(key) - n + 1) if key[at : at + n] in text), default=0
    )


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1/32", "2001:0db8:0000:0000:0000:ff00:0042:8329", "2001:0db8:0000:0000:0000:ff00:0042:8329/128",
        "00:1b:44:11:3a:b7", "001b.4411.3ab7", "02:42:ac:ff:fe:11:00:02", "0x00001001", "0xffffffff@192.0.2.1",
        "4294967295", "123456789012345", "1(0x00000001)", "marvell-cn10k-linux-v5", "rfc4106(gcm(aes))",
        "a file that is decadent and effaced", "2026-11-26T09:35:48", "::ffff:10.0.0.1",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    ],
)  # fmt: skip
def test_what_is_no_key_is_shown(text: str):
    assert hide_keys(text) == text


def test_random_addresses_are_shown():
    rng = random.Random(1)
    for _ in range(2000):
        v6 = ipaddress.IPv6Address(rng.getrandbits(128))
        mac = ":".join(f"{rng.getrandbits(8):02x}" for _ in range(6))
        for text in (str(v6), v6.exploded, str(ipaddress.IPv4Address(rng.getrandbits(32))), mac):
            assert hide_keys(f'argument "{text}" is wrong') == f'argument "{text}" is wrong'


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("encc cbc(aes) secret spi 1", "encc cbc(aes) <<>> spi 1"),
        ("enc aes secret spi 1", "enc aes <<>> spi 1"),
        ("cbc(aes)secret spi 1", "cbc(aes)<<>> spi 1"),
        ("enc=cbc(aes):secret spi=1", "enc=cbc(aes):<<>> spi=1"),
        ("rfc4106(gcm(aes)secret 128", "rfc4106(gcm(aes)<<>> 128"),
        ("aead rfc4106(gcm(aes)) 0xc0ffee11 d00dfeed 128", "aead rfc4106(gcm(aes)) <<>> <<>> 128"),
        ("mode=tunnel crypt_key=secret key=secret", "mode=tunnel crypt_key=<<>> key=<<>>"),
        ("authenc(hmac(sha1),cbc(aes)) secret", "authenc(hmac(sha1),cbc(aes)) <<>>"),
        ("reqid 1(0x00000001) mode tunnel", "reqid 1(0x00000001) mode tunnel"),
        ("src 10.0.0.1 dst 10.0.0.2", "src 10.0.0.1 dst 10.0.0.2"),
    ],
)
def test_what_follows_an_algorithms_name_is_hidden(words: str, shown: str):
    assert " ".join(hide_words(words.split())) == shown.replace("<<>>", HIDDEN)


@pytest.mark.parametrize(
    "name", ["enc cbc (aes)", "aead rfc4106(gcm (aes))", "aead rfc4106( gcm(aes) )", "x cbc(aes )"]
)
def test_a_name_with_blanks_hides_what_follows_it(name: str):
    words = [*name.split(), "my-secret", "mode", "tunnel"]
    assert "my-secret" not in " ".join(hide_words(words))
    assert hide_words(words)[-2:] == ["mode", "tunnel"]


def test_controls_are_escaped():
    text = "a\x1b[31m\x00\x7f\x85\u202e\u2028\ufeff\u2066é\n\tb\ud800"
    assert printable(text) == r"a\x1b[31m\x00\x7f\x85\u202e\u2028\ufeff\u2066é\n\tb\ud800"
    assert printable(text, keep="\n\t").count("\n") == 1
    assert printable("plain ünï 漢字 \u00a0") == "plain ünï 漢字 \u00a0"
    for code in range(0x3000):
        shown = printable(chr(code))
        assert shown.isprintable() or chr(code) == shown


def test_messages_are_one_line_and_not_long():
    assert message("a\nb" + "x" * 10_000).startswith(r"a\nb")
    assert len(message("y" * 1_000_000)) < 2100
    assert shortened("abc") == "abc"
    error = InputError(f"key {KEY}\x1b", where="dir\nname")
    assert str(error) == rf"dir\nname: key {HIDDEN}\x1b"


def test_the_nearest_few():
    known = [f"vendor-{word}-linux" for word in string.ascii_lowercase] + ["marvell-cn10k-vpp", "rfc4301"]
    assert nearest("marvel-cn10k-vp", known)[0] == "marvell-cn10k-vpp"
    assert nearest("RFC4301", known)[0] == "rfc4301"
    assert nearest("cn10k", known) == ["marvell-cn10k-vpp"]
    assert len(nearest("vendor-linux", known)) == 3
    assert nearest("%%%%", known) == []
    assert nearest("", known) == []
    assert did_you_mean("rfc431", known, "see X") == "did you mean rfc4301? see X"
    assert did_you_mean("%%%%", known, "see X") == "see X"
