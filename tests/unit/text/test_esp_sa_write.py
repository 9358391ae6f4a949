"""Wireshark's esp_sa rows: which names, which comments. That Wireshark takes them is test_esp_sa_tshark.py's."""

from __future__ import annotations

import csv

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.numbers import PROTO_AH
from espsim.sad.association import Encap, SecurityAssociation
from espsim.text.esp_sa_write import esp_sa_rows
from tests.support import gcm_sa


def sa(*algorithms, src="192.0.2.1", dst="192.0.2.2", spi=0xC0FFEE, **options):
    options.setdefault("window", 64)
    return SecurityAssociation(parse_address(src), parse_address(dst), spi, algorithms=algorithms, **options)


def aead(name, length, bits):
    return Algorithm("aead", name, bytes(range(1, length + 1)), bits)


def authenc(cipher, key, auth, bits):
    return (
        Algorithm("enc", cipher, b"\xee" * key),
        Algorithm("auth-trunc", auth, b"\xaa" * (20 if auth != "digest_null" else 0), bits),
    )


ESN = frozenset({"esn"})


def split(*sas, epochs=(0,)):
    lines = esp_sa_rows([(s, epochs) for s in sas])
    assert all("\n" not in line for line in lines)
    rows = [next(csv.reader([line])) for line in lines if not line.startswith("#")]
    return rows, "\n".join(line for line in lines if line.startswith("#"))


@pytest.mark.parametrize(
    ("algorithms", "columns"),
    [
        (
            (aead("rfc4106(gcm(aes))", 20, 64),),
            ["AES-GCM with 8 octet ICV [RFC4106]", "0x" + bytes(range(1, 21)).hex(), "NULL", ""],
        ),
        (
            (aead("rfc4106(gcm(aes))", 36, 96),),
            ["AES-GCM with 12 octet ICV [RFC4106]", "0x" + bytes(range(1, 37)).hex(), "NULL", ""],
        ),
        (
            (aead("rfc4106(gcm(aes))", 28, 128),),
            ["AES-GCM with 16 octet ICV [RFC4106]", "0x" + bytes(range(1, 29)).hex(), "NULL", ""],
        ),
        (
            authenc("cbc(aes)", 32, "hmac(sha1)", 96),
            ["AES-CBC [RFC3602]", "0x" + "ee" * 32, "HMAC-SHA-1-96 [RFC2404]", "0x" + "aa" * 20],
        ),
        (
            authenc("cbc(aes)", 16, "hmac(sha256)", 128),
            ["AES-CBC [RFC3602]", "0x" + "ee" * 16, "HMAC-SHA-256-128 [RFC4868]", "0x" + "aa" * 20],
        ),
        (
            authenc("ecb(cipher_null)", 0, "hmac(sha256)", 96),
            ["NULL", "", "HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]", "0x" + "aa" * 20],
        ),
        (authenc("cbc(aes)", 16, "digest_null", 0), ["AES-CBC [RFC3602]", "0x" + "ee" * 16, "NULL", ""]),
    ],
)
def test_rows(algorithms, columns):
    rows, comments = split(sa(*algorithms))
    assert rows == [["IPv4", "192.0.2.1", "192.0.2.2", "0x00c0ffee", *columns]]
    comments = comments.replace("# 0x00c0ffee@192.0.2.2: mode transport", "")  # what a row can't say
    assert "0x00c0ffee@" not in comments  # nothing to say about it


def test_ipv6():
    rows, _ = split(gcm_sa("2001:db8::1", "2001:db8:0:1:0:0:0:2", 0x100))
    assert rows[0][:4] == ["IPv6", "2001:db8::1", "2001:db8:0:1::2", "0x00000100"]


@pytest.mark.parametrize(
    "algorithms",
    [
        (aead("rfc4309(ccm(aes))", 19, 128),),
        (aead("rfc4543(gcm(aes))", 20, 128),),
        authenc("cbc(aes)", 16, "hmac(sha1)", 160),
        authenc("cbc(aes)", 16, "hmac(sha512)", 512),
    ],
)
def test_what_wireshark_lacks_is_a_comment_without_keys(algorithms):
    rows, comments = split(sa(*algorithms))
    assert rows == []
    assert f"with an ICV of {algorithms[-1].bits} bits, no row" in comments
    assert not any(a.key and a.key.hex() in comments for a in algorithms)


def test_an_icv_of_a_length_that_wireshark_knows_is_passed_over_unchecked():
    rows, comments = split(sa(*authenc("cbc(aes)", 16, "hmac(sha256)", 256)))
    assert rows[0][6:] == ["ANY 256 bit authentication [no checking]", ""]
    assert "0x00c0ffee@192.0.2.2: Wireshark has no cbc(aes)+hmac(sha256) with 256 bits" in comments


def test_chacha_is_a_comment_that_a_newer_wireshark_s_user_uncomments():
    rows, comments = split(sa(aead("rfc7539esp(chacha20,poly1305)", 36, 128)))
    assert rows == []
    key = bytes(range(1, 37)).hex()
    head = '# "IPv4","192.0.2.1","192.0.2.2","0x00c0ffee","ChaCha20 with Poly1305 [RFC7634]"'
    assert f'{head},"0x{key}","NULL",""' in comments.splitlines()
    _, comments = split(sa(aead("rfc7539esp(chacha20,poly1305)", 36, 128), flags=ESN), epochs=(5,))
    assert f'{head},"0x{key}","NULL","","64-bit","00000005"' in comments.splitlines()


def test_esn_says_its_epochs_and_has_eight_columns():
    rows, comments = split(sa(*authenc("cbc(aes)", 16, "hmac(sha256)", 128), flags=ESN), epochs=(0xA, 0xB))
    # An ICV that is not checked is better than one that is called bad.
    cipher = ["AES-CBC [RFC3602]", "0x" + "ee" * 16]
    unchecked = ["ANY 128 bit authentication [no checking]", ""]
    assert rows == [["IPv4", "192.0.2.1", "192.0.2.2", "0x00c0ffee", *cipher, *unchecked]]
    assert "# 0x00c0ffee@192.0.2.2: ESN, this row is for high 32 bits 0x0000000a, 0x0000000b" in comments
    newer = [line[2:] for line in comments.splitlines() if line.startswith('# "IPv4"')]
    for line, epoch in zip(newer, ("0000000a", "0000000b"), strict=True):
        assert next(csv.reader([line]))[6:] == ["HMAC-SHA-256-128 [RFC4868]", "0x" + "aa" * 20, "64-bit", epoch]


def test_esn_under_gcm_keeps_its_only_row_and_says_what_4_0_makes_of_it():
    rows, comments = split(sa(aead("rfc4106(gcm(aes))", 20, 128), flags=ESN), epochs=(7,))
    assert rows[0][4:] == ["AES-GCM with 16 octet ICV [RFC4106]", "0x" + bytes(range(1, 21)).hex(), "NULL", ""]
    assert "calls it bad" in comments


def test_udp_ports_that_wireshark_must_be_told_of():
    def encap(sport, dport):
        return {"encap": Encap("espinudp", sport, dport, bytes(4)), "spi": sport << 16 | dport}

    sas = [gcm_sa(**encap(*ports)) for ports in ((4500, 4500), (4500, 30000), (30001, 4500), (30002, 30003))]
    _, comments = split(*sas)
    assert comments.count("udpencap") == 1
    assert "-d udp.port==30003,udpencap" in comments


def test_the_second_of_two_equal_rows_would_never_be_used():
    rows, comments = split(gcm_sa(key_byte=1), gcm_sa(key_byte=2), gcm_sa(src="192.0.2.9", key_byte=3))
    assert [row[5][:4] for row in rows] == ["0x01", "0x03"]
    assert "0x00001001@192.0.2.2: another SA above" in comments
    assert "02" * 20 not in comments


def test_no_keys_no_row():
    rows, comments = split(sa(proto=PROTO_AH))
    assert rows == []
    assert "no ESP keys" in comments
    assert split()[0] == []
