"""What is refused, with the line and the reason; and that no reason holds a key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from espsim.core.errors import InputError
from espsim.text.parse import parse_sad, read_sad_file
from espsim.text.pieces import NOT_TEXT

NO_SA = "no SA in it; give what `ip xfrm state` prints, or its commands"
KEY = "0x" + "ab" * 20
ID = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x10"
GCM = f"aead rfc4106(gcm(aes)) {KEY} 128"
DUMP = "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00000010 reqid 1 mode tunnel\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", f"f: {NO_SA}"),
        ("# nothing\n\n", f"f: {NO_SA}"),
        ("hello world", "f:1: a line that is not part of an SA"),
        (f"{ID} {GCM} colour blue", "f:1: unknown word 'colour'"),
        (f"{ID} {GCM}\n\tcolour blue", "f:2: a line that starts with an unknown word 'colour'"),
        (f"ip xfrm state add {ID} {GCM} lifetime config:", "f:1: unknown word 'lifetime'"),
        ("ip xfrm policy add src 10.0.0.0/8", "f:1: a policy"),
        ("ip link set lo up", "f:1: a command that makes no SA"),
        ("ip xfrm state delete src ::1", "f:1: `delete` with words that are not understood"),
        ("ip", "f:1: a command that makes no SA"),
        ("src 192.0.2.1 dst 192.0.2.2 proto esp " + GCM, "f:1: spi is missing"),
        ("src 192.0.2.1 proto esp spi 1 " + GCM, "f:1: dst is missing"),
        ("dst 192.0.2.1 proto esp spi 1 " + GCM, "f:1: src is missing"),
        ("src 192.0.2.1 dst 192.0.2.2 spi 1 " + GCM, "f:1: proto is missing"),
        (f"{ID} {GCM} spi 2", "f:1: spi is given twice in one SA"),
        (f"src 192.0.2.1 dst ::1 proto esp spi 1 {GCM}", "f:1: src and dst are of different families"),
        (f"src 192.0.2.999 dst ::1 proto esp spi 1 {GCM}", "f:1: src '192.0.2.999' is not an IP address"),
        ("src 10.0.0.0/8 dst 10.0.0.1", "f:1: a policy"),
        (f"{ID} {GCM} reqid 4294967296", "f:1: reqid 4294967296 is not in 0 to 4294967295"),
        (f"{ID.replace('0x10', '0x100000000')} {GCM}", "f:1: spi of 11 characters is not in 0 to 4294967295"),
        (f"{ID.replace('0x10', '-1')} {GCM}", "f:1: the value of spi is not a number"),
        (f"{ID.replace('0x10', '09')} {GCM}", "f:1: the value of spi is not a number"),
        (f"{ID} {GCM} reqid", "f:1: the value of reqid is missing"),
        (f"{ID.replace('esp', 'xyz')} {GCM}", "f:1: unknown proto 'xyz'"),
        (f"{ID.replace('esp', 'comp').replace('0x10', '65536')} comp deflate",
         "f:1: the SPI of proto comp has 16 bits"),
        (f"{ID} {GCM} replay-window 4097", "f:1: a replay window of 4097 is not in 0 to 4096"),
        (f"{ID} {GCM} flag esn", "f:1: ESN replay window must be > 0"),
        (f"{ID} {GCM} flag fast", "f:1: unknown flag 'fast'"),
        (f"{ID} {GCM} flag", "f:1: flag without a flag"),
        (f"{ID} {GCM} extra-flag 0x4", "f:1: extra-flag has a bit that is not known, 0x4"),
        (f"{ID} {GCM} mode ro", "f:1: mode ro is not supported (transport, tunnel, beet and iptfs are)"),
        (f"{ID} {GCM} mode x", "f:1: unknown mode 'x'"),
        (f"{ID} {GCM} tfcpad 9", "f:1: TFC padding can only be used in tunnel mode"),
        (f"{ID} {GCM} sel src ::1/128",
         "f:1: the selector is of the other family: only tunnel and beet mode can change the family"),
        (f"{ID} {GCM} mode tunnel sel src ::1 dst 10.0.0.1",
         "f:1: src and dst of the selector are of different families"),
        (f"{ID} {GCM} sel src 10.0.0.0/33", "f:1: the prefix length of sel src is not in 0 to 32"),
        (f"{ID} {GCM} sel", "f:1: sel without a selector"),
        (f"{ID} {GCM} sel proto tcp type 8", "f:1: sel type does not go with protocol 6"),
        (f"{ID} {GCM} sel proto tcp sport 65536", "f:1: sel sport 65536 is not in 0 to 65535"),
        (f"{ID} {GCM} limit bytes 4", "f:1: unknown limit 'bytes'"),
        (f"{ID} {GCM} encap sctp 1 1 ::", "f:1: unknown encap type 'sctp'"),
        (f"{ID} {GCM} encap espinudp 1 1 ::1", "f:1: the address of encap is of another family than src and dst"),
        (f"{ID} {GCM} offload dev eth0", "f:1: offload needs dir in|out after its device"),
        (f"{ID} {GCM} offload dir in", "f:1: offload needs dir in|out".replace("dir", "dev DEV dir")),
        (f"{ID} {GCM} dir up", "f:1: unknown dir 'up'"),
        (f"{ID} 'aead", 'f:1: unknown word "\'aead"'),
        (f"{ID}", "f:1: an SA of proto esp needs aead or enc or auth or auth-trunc"),
        (f"{ID} comp deflate", "f:1: comp does not go with proto esp"),
        (f"{ID} {GCM} {GCM}", "f:1: aead is given twice"),
        (f"{ID} {GCM} enc cbc(aes) {KEY[:34]}",
         "f:1: aead does its own encryption and authentication: enc or auth beside it makes no sense"),
        (f"{DUMP}\taead rfc4106(gcm(aes)) <<Keys hidden>> 128\n",
         "f:3: aead rfc4106(gcm(aes)): the key is hidden, or not hex; print it with `ip xfrm state list`, as root,"
         " without nokeys"),
        (f"{DUMP}\taead (ERROR truncated)\n", "f:3: aead needs an algorithm's name, then its key"),
        (f"{DUMP}\tanti-replay esn context:\n\t seq 0x1\n\t replay_window 64, bitmap-length 2\n\t 00000000\n",
         "f:6: a word of the replay bitmap is missing"),
        (f"{DUMP}\treplay-window 0 flag esn\n\t{GCM}\n", "f:1: ESN replay window must be > 0"),
        (f"{ID} {GCM}\n\n{ID} {GCM}",
         "f:3: an `add` that the kernel refuses (EEXIST), because an SA above has its SPI and takes its mark"),
        (f"{ID} {GCM}\n{ID} {GCM} mark 3",
         "f:2: an `add` that the kernel refuses (EEXIST), because an SA above has its SPI and takes its mark"),
        (f"{DUMP}{DUMP}", "f:3: an SA that is in the text before"),
        (f"{ID} {GCM}\n\0", "f:2: a NUL byte: this is not text"),
    ],
)  # fmt: skip
def test_refused(text: str, error: str):
    with pytest.raises(InputError) as refusal:
        parse_sad(text, "f", strict=True)
    assert str(refusal.value) == error


LETTERS = "SecretKey1234567"
SECRET = "0x5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (f"aead rfc4106(gcm(aes)) {SECRET[:-1]} 128", "aead rfc4106(gcm(aes)): a key of odd hex length (39 digits)"),
        (f"aead rfc4106(gcm(aes)) {SECRET[:-1]}z 128", "aead rfc4106(gcm(aes)): the key is hidden, or not hex"),
        (f"aead rfc4106(gcm(aes)) {SECRET[:-2]} 128",
         "rfc4106(gcm(aes)) takes a key of 128 or 192 or 256 bits and 32 bits of salt, not 152 bits in all"),
        (f"aead rfc4106(gcm(aes)) {SECRET}", "aead rfc4106(gcm(aes)) needs an ICV length in bits after its key"),
        (f"aead rfc4106(gcm(aes)) {SECRET} mode tunnel",
         "aead rfc4106(gcm(aes)) needs an ICV length in bits after its key"),
        (f"aead rfc4106(gcm(aes)) {SECRET} 100", "rfc4106(gcm(aes)) takes an ICV of 64 or 96 or 128 bits, not 100"),
        (f"aead rfc4106(gcm(aes)) {SECRET[:21]} {SECRET[21:]} 128",
         "aead rfc4106(gcm(aes)): a key of odd hex length (19 digits)"),
        (f"aead rfc4106(gcm(aes)) {SECRET[:22]} {SECRET[22:]} 128",
         "aead rfc4106(gcm(aes)) needs an ICV length in bits after its key"),
        (f"aead {SECRET} 128", "aead needs an algorithm's name, then its key"),
        (f"aead {SECRET[2:]} 128", "aead needs an algorithm's name, then its key"),
        (f"aead {LETTERS} 128", "aead needs an algorithm's name, then its key"),
        (f"aead rfc9999(foo) {SECRET} 128", "unknown aead algorithm 'rfc9999(foo)'; known: "),
        (f"enc rot13 {SECRET}", "unknown enc algorithm 'rot13'; known: "),
        (f"enc cbc(aes) {SECRET[:34]} auth-trunc hmac(sha1) {SECRET}",
         "auth-trunc hmac(sha1) needs a truncation length in bits after its key"),
        (f"enc cbc(aes) {SECRET[:34]} auth-trunc hmac(sha1) {SECRET} 100",
         "hmac(sha1) takes an ICV of 96 or 160 bits, not 100"),
        ("enc cbc(aes) Secret Key1234567 auth hmac(sha1) x",
         "unknown word of 10 characters (not shown: it may be a part of a key)"),
        (f"{GCM} {SECRET}", "unknown word of 42 characters"),
        (f"{GCM} {LETTERS}", "unknown word of 16 characters"),
        (f"{GCM} reqid {SECRET}", "the value of reqid is not a number"),
        (f"{GCM} mode {SECRET}", "unknown mode of 42 characters"),
        (f"{GCM} coa {SECRET}", "coa of 42 characters is not an IP address"),
        (f"{GCM} dir {LETTERS}", "unknown dir of 16 characters"),
        (f"aead rfc4106(gcm(aes)) 0x{'5e' * 513} 128",
         "aead rfc4106(gcm(aes)): a key of 513 bytes; 512 is iproute2's limit"),
    ],
)  # fmt: skip
def test_no_key_is_shown(words: str, error: str):
    with pytest.raises(InputError) as refusal:
        parse_sad(f"{ID} {words}", "f", strict=True)
    text = str(refusal.value)
    assert text.startswith(f"f:1: {error}")
    for piece in (SECRET[2:], SECRET[10:], LETTERS, "Key1234567"):
        assert piece[:10] not in text
    assert refusal.value.__cause__ is None


def test_a_bad_algorithm_is_found_on_its_own_line():
    text = DUMP + "\treplay-window 32\n\taead rfc4106(gcm(aes)) 0xabcd 128\n"
    with pytest.raises(InputError, match=r"^f:4: rfc4106\(gcm\(aes\)\) takes a key of 128"):
        parse_sad(text, "f", strict=True)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", f": {NO_SA}"),
        (b"src 1\n\x00\x01", f":2: a NUL byte: {NOT_TEXT}"),
        (b"\x7fELF" + bytes(100), f":1: a NUL byte: {NOT_TEXT}"),
        (b"src " + b"x" * 10_000_000, ":1: a line of more than a megabyte: this is not a dump of SAs"),
    ],
)
def test_bad_files(tmp_path: Path, data: bytes, error: str):
    path = tmp_path / "sad"
    path.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(InputError) as refusal:
        read_sad_file(str(path))
    assert str(refusal.value) == f"{path}{error}"
    assert time.perf_counter() - start < 5


def test_unreadable_files(tmp_path: Path):
    for path, error in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        with pytest.raises(InputError) as refusal:
            read_sad_file(str(path))
        assert str(refusal.value) == f"{path}: cannot be read: {error}"
    with pytest.raises(InputError, match="no file has such a name"):
        read_sad_file("a\0b")


def test_a_file_without_end():
    """A device that never ends is refused at its first block."""
    with pytest.raises(InputError, match=r"^/dev/zero:1: a NUL byte"):
        read_sad_file("/dev/zero")
