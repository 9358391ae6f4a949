"""setkey's words: what -D prints on BSD, macOS and Linux, and what -c takes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.core.address import format_address, parse_address
from espsim.core.errors import InputError
from espsim.sad.association import Encap, Mode, SecurityAssociation
from tests.unit.text.test_pasted import names, parse_sad

BSD = """192.0.2.1 192.0.2.2
	esp mode=tunnel spi=4097(0x00001001) reqid=1(0x00000001)
	E: aes-gcm-16  00010203 04050607 08090a0b 0c0d0e0f 10111213
	seq=0x0000000c replay=4 flags=0x00000040 state=mature
	created: Oct 30 09:52:57 2017	current: Oct 30 09:54:17 2017
	diff: 80(s)	hard: 0(s)	soft: 0(s)
	last:                     	hard: 0(s)	soft: 0(s)
	current: 0(bytes)	hard: 0(bytes)	soft: 0(bytes)
	allocated: 0	hard: 0	soft: 0
	sadb_seq=1 pid=67845 refcnt=1
"""
NAT = """192.0.2.2[4500] 192.0.2.1[45001]
    esp-udp mode=tunnel spi=4098(0x00001002) reqid=7(0x00000007)
    NAT: OAI=10.0.0.1
    E: rijndael-cbc  00010203 04050607 08090a0b 0c0d0e0f
    A: hmac-sha2-512  b7c5d5e8 18a18929 ec676e49 cdf45d23 a00ca0ba c7fcb7d4 200ad3b8 8dc4271c
 ed6454f4 c4d8604a 3f9ecec6 e5093763 39e669fc 37d4f989 b1f135be 9348171e
    seq=0x00000000 replay=0 flags=0x00000000 state=dying
    sadb_seq=0 pid=67845 refcnt=2
"""
GCM = Algorithm("aead", "rfc4106(gcm(aes))", bytes(range(20)), 128)


def test_what_bsd_prints():
    found = parse_sad(f"root@fw:~ # setkey -D\n{BSD}{NAT}")
    first, second = (parsed.sa for parsed in found.sas)
    assert (first.src, first.dst, first.spi) == (parse_address("192.0.2.1"), parse_address("192.0.2.2"), 0x1001)
    assert (first.algorithms, first.mode, first.reqid, first.window) == ((GCM,), Mode.TUNNEL, 1, 32)
    assert first.replay.oseq == 12
    enc, auth = second.algorithms
    assert (enc.name, enc.key, auth.name, len(auth.key), auth.bits) == (
        "cbc(aes)",
        bytes(range(16)),
        "hmac(sha512)",
        64,
        256,
    )
    assert (second.encap, second.window) == (Encap("espinudp", 4500, 45001, bytes(4)), 0)


@pytest.mark.parametrize(("printed", "linux", "bits"), [
    ("hmac-sha1", "hmac(sha1)", 96), ("hmac-sha2-256", "hmac(sha256)", 128), ("hmac-sha256", "hmac(sha256)", 128),
    ("5", "hmac(sha256)", 128), ("hmac-sha2-384", "hmac(sha384)", 192), ("null", "digest_null", 0),
])  # fmt: skip
def test_names_of_macs(printed: str, linux: str, bits: int):
    text = BSD.replace(
        "aes-gcm-16  00010203 04050607 08090a0b 0c0d0e0f 10111213", f"aes-cbc  {'00010203 ' * 4}\n\tA: {printed}  00"
    )
    (parsed,) = parse_sad(text).sas
    assert [(a.name, a.bits) for a in parsed.sa.algorithms] == [("cbc(aes)", 0), (linux, bits)]


def test_linux_truncates_sha256_to_96_bits_and_prints_packets():
    text = BSD.replace(
        "aes-gcm-16  00010203 04050607 08090a0b 0c0d0e0f 10111213", f"aes-cbc  {'00010203 ' * 4}\n\tA: 5  00"
    )
    (parsed,) = parse_sad(text.replace("refcnt=1", "refcnt=0").replace("replay=4", "replay=32")).sas
    assert (parsed.sa.algorithms[1].bits, parsed.sa.window) == (96, 32)


def test_what_is_not_modelled_or_not_of_ipsec():
    old = BSD.replace("aes-gcm-16", "blowfish-cbc").replace("4097", "6")
    comp = BSD.replace("esp mode", "ipcomp mode").replace("E: aes-gcm-16  ", "C: deflate  ").replace("4097", "7")
    larval = re.sub(r"\tE:.*\n", "", BSD.replace("mature", "larval").replace("4097", "8"))
    tcp = BSD.replace("esp mode", "tcp mode").replace("4097", "9")
    spd = "10.24.4.119[any] 10.22.4.118[any] any\n\tin ipsec\n\tesp/tunnel/10.23.4.204-10.23.4.104/require\n\tspid=1\n"
    found = parse_sad(old + comp + larval + tcp + spd + BSD)
    assert names(found) == ["0x00000007@192.0.2.2", "0x00000008@192.0.2.2", "0x00001001@192.0.2.2"]
    assert [(u.sa.spi, u.what) for u in found.unmodelled] == [(6, "enc cbc(blowfish)")]
    assert [ignored.proto for ignored in found.ignored] == ["tcp"]
    assert found.sas[1].sa.algorithms == ()


def test_commands():
    found = parse_sad(
        "#!/usr/sbin/setkey -f\nflush;\nspdflush;\n# the tunnel\n"
        "add 192.0.2.1 192.0.2.2 esp 0x1001 -m tunnel -r 4 -u 7\n\t-E aes-cbc 0x00112233445566778899aabbccddeeff\n"
        "\t-A hmac-sha2-256 0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f;\n"
        'add -6n 2001:db8::1 2001:db8::2 esp 4098 -E aes-gcm-16 "12345678901234567890"; # strings are keys too\n'
        "spdadd 10.0.0.0/8 10.1.0.0/16 any -P out ipsec\n\tesp/tunnel/192.0.2.1-192.0.2.2/require;\n"
        "add 192.0.2.1 192.0.2.3 esp 9 -E blowfish-cbc 0x001122;\nadd host.example other.example esp 9 -E null;\n"
    )
    first, second = found.sas
    assert (first.line, first.verb, first.sa.mode, first.sa.window, first.sa.reqid) == (5, "add", Mode.TUNNEL, 32, 7)
    assert [(a.name, len(a.key), a.bits) for a in first.sa.algorithms] == [
        ("cbc(aes)", 16, 0),
        ("hmac(sha256)", 32, 128),
    ]
    assert (second.line, second.sa.mode) == (8, Mode.TRANSPORT)
    assert [u.sa.spi for u in found.unmodelled] == [9]


def test_names_and_numbers_of_more_algorithms():
    """KAME's names, and Linux's numbers where the setkey that prints has no name (include/uapi/linux/pfkeyv2.h)."""
    ctr, mac = "0x" + "c1" * 20, "0x" + "a1" * 16
    found = parse_sad(
        f"add 192.0.2.1 192.0.2.2 esp 1 -E aes-ctr {ctr} -A aes-xcbc-mac {mac};\n"
        f"add 192.0.2.1 192.0.2.2 esp 2 -E camellia-cbc {mac} -A hmac-sha1 {ctr};\n"
        f"add 192.0.2.1 192.0.2.2 esp 3 -E 22 {mac} -A 9 {mac};\n"
        f"add 192.0.2.1 192.0.2.2 esp 4 -E 13 {ctr} -A 8 {ctr};\n"
    )
    suites = [parsed.sa.keys.suite.name for parsed in found.sas if parsed.sa.keys is not None]
    assert suites == ["rfc3686(ctr(aes))+xcbc(aes)", "cbc(camellia)+hmac(sha1)", "cbc(camellia)+xcbc(aes)"]
    assert [(u.sa.spi, u.what) for u in found.unmodelled] == [(4, "auth-trunc hmac(rmd160)")]


@pytest.mark.parametrize("text", [
    BSD.replace("10111213", "1011121"),
    "add 192.0.2.1 192.0.2.2 esp 1 -E aes-cbc 0x0011223344556677889;",
])  # fmt: skip
def test_a_damaged_key_stops(text: str):
    with pytest.raises(InputError, match=r"^f:1: -E .* a key of odd hex length"):
        parse_sad(text)


@pytest.mark.parametrize("key", ["XXXXXXXX", "0xXXXX", "***", "<removed>", ""])
def test_hidden_keys(key: str):
    text = BSD.replace("00010203 04050607 08090a0b 0c0d0e0f 10111213", key)
    assert len(parse_sad(text).hidden) == 1


def printed(sa: SecurityAssociation) -> str:
    """As FreeBSD's setkey -D prints an SA."""
    rows = [f"{format_address(sa.src)} {format_address(sa.dst)}"]
    rows.append(f"\tesp mode={sa.mode.value} spi={sa.spi}(0x{sa.spi:08x}) reqid={sa.reqid}(0x{sa.reqid:08x})")
    for algorithm in sa.algorithms:
        digits = algorithm.key.hex()
        groups = [digits[i : i + 8] for i in range(0, len(digits), 8)]
        lines = [" ".join(groups[i : i + 8]) for i in range(0, len(groups), 8)] or [""]
        name = {"aead": "E: aes-gcm-16 ", "enc": "E: aes-cbc ", "auth-trunc": "A: hmac-sha2-512 "}[algorithm.kind]
        rows.append(f"\t{name} " + "\n ".join(lines))
    rows.append(f"\tseq=0x00000000 replay={sa.window // 8} flags=0x00000000 state=mature\n\tsadb_seq=0 pid=1 refcnt=1")
    return "\n".join(rows) + "\n"


KEYS = st.binary(min_size=20, max_size=20)
SETS = st.one_of(
    KEYS.map(lambda key: (Algorithm("aead", "rfc4106(gcm(aes))", key, 128),)),
    st.tuples(KEYS, st.binary(min_size=4, max_size=100)).map(
        lambda keys: (Algorithm("enc", "cbc(aes)", keys[0][:16]), Algorithm("auth-trunc", "hmac(sha512)", keys[1], 256))
    ),
)


@given(st.lists(st.tuples(SETS, st.integers(0, 2**32 - 1), st.sampled_from([0, 32, 64, 2048])), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_what_is_printed_is_read_back(items: list[tuple[tuple[Algorithm, ...], int, int]]):
    base = SecurityAssociation(parse_address("2001:db8::1"), parse_address("2001:db8::2"), 0, 50, Mode.TUNNEL)
    sas = [replace(base, algorithms=a, spi=0x100 + n, reqid=reqid, window=w) for n, (a, reqid, w) in enumerate(items)]
    assert [parsed.sa for parsed in parse_sad("".join(map(printed, sas))).sas] == sas
