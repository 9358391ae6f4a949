"""Suites beyond the usual ones, at the command line: every way gives one answer; what protects nothing is refused."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.aead.engines import ENGINES
from espsim.aead.suites import CIPHERS, INSECURE, Algorithm, resolve
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.io.capture import CaptureWriter, open_capture
from espsim.offload.caps import cipher_name
from tests.support import ipv4, usable

WAYS = [("--reference",), *(("--engine", name) for name in ENGINES), ("--workers", "2")]
HEAD = "src 10.1.0.1 dst 10.2.0.1\n\tproto esp spi {spi:#010x} reqid 1 mode {mode}\n\treplay-window 32 flag {flags}\n"
XCBC, WIDE = f"auth-trunc xcbc(aes) 0x{'a1' * 16} 96", f"auth xcbc(aes) 0x{'a2' * 32}"
CTR, NULL = f"enc rfc3686(ctr(aes)) 0x{'c1' * 20}", "enc ecb(cipher_null) "
MORE = {
    0x2001: (XCBC, CTR),
    0x2002: (WIDE, f"enc rfc3686(ctr(aes)) 0x{'c2' * 36}"),
    0x2003: (f"auth-trunc cmac(aes) 0x{'a3' * 16} 96", f"enc cbc(camellia) 0x{'c3' * 24}"),
    0x2004: (f"auth sha256 0x{'a4' * 32}", f"enc camellia 0x{'c4' * 16}"),
    0x2005: (f"auth-trunc hmac(sha256) 0x{'a5' * 32} 96", NULL),
    0x2006: (f"aead iiv(rfc4106(gcm(aes))) 0x{'d1' * 20} 128",),
    0x2007: (f"aead iiv(rfc4309(ccm(aes))) 0x{'d2' * 19} 64",),
    0x2008: (f"aead iiv(rfc7539esp(chacha20,poly1305)) 0x{'d3' * 36} 128",),
}


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def dump(spi, rows, mode="tunnel", flags="af-unspec", rest=""):
    return HEAD.format(spi=spi, mode=mode, flags=flags) + "".join(f"\t{row}\n" for row in rows) + rest


def capture(path, packets):
    with CaptureWriter(str(path)) as writer:
        for n, packet in enumerate(packets):
            writer.write(packet, n)
        writer.commit()
    return path


def read(path):
    with open_capture(str(path)) as reader:
        return [frame.ip for frame in reader]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Clear packets, SAs one a suite (ESN by turns), and what the reference path makes of them."""
    folder = tmp_path_factory.mktemp("more")
    sas = [
        dump(
            spi, rows, flags="esn" if spi % 2 else "af-unspec", rest=f"\tsel src 0.0.0.0/0 dst 10.9.0.{spi & 255}/32\n"
        )
        for spi, rows in MORE.items()
    ]
    (folder / "sad").write_text("".join(sas))
    clear = [ipv4(bytes(size), dst=f"10.9.0.{spi & 255}") for spi in MORE for size in range(0, 40, 9)]
    capture(folder / "clear", clear)
    made = run("encap", folder / "clear", "--sad", folder / "sad", "-o", folder / "esp", "--reference", "--json")
    assert json.loads(made.stdout)["sealed"] == len(clear)
    return folder, clear


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_every_way_opens_them_and_seals_what_opens(sealed, tmp_path, way):
    folder, clear = sealed
    if way[0] == "--engine":
        usable(way[1])
    opened = run("decap", folder / "esp", "--sad", folder / "sad", "-o", tmp_path / "out", "--json", *way)
    assert json.loads(opened.stdout)["delivered"] == len(clear)
    assert read(tmp_path / "out") == clear
    run("encap", folder / "clear", "--sad", folder / "sad", "-o", tmp_path / "esp", *way)
    ours, theirs = read(tmp_path / "esp"), read(folder / "esp")
    assert [len(packet or b"") for packet in ours] == [len(packet or b"") for packet in theirs]
    implicit = slice(5 * 5, None)
    assert ours[implicit] == theirs[implicit]  # an implicit IV leaves nothing to chance
    run("decap", tmp_path / "esp", "--sad", folder / "sad", "-o", tmp_path / "again", "--reference")
    assert read(tmp_path / "again") == clear


def test_what_can_not_be_modelled_is_one_sa_with_its_line(sealed, tmp_path):
    folder, clear = sealed
    odd = dump(0x3001, (f"auth-trunc hmac(rmd160) 0x{'b1' * 20} 96", f"enc cbc(aes) 0x{'b2' * 16}"))
    (tmp_path / "sad").write_text(odd + (folder / "sad").read_text())
    result = run("decap", folder / "esp", "--sad", tmp_path / "sad", "--json")
    report = json.loads(result.stdout)
    assert (report["delivered"], [one["line"] for one in report["unused"]]) == (len(clear), [1])
    assert "auth-trunc hmac(rmd160)" in result.stderr


@pytest.mark.parametrize(("rows", "word", "other"), [((NULL,), "null", "ctr"), ((CTR,), "ctr", "null"),
                                                     (("auth digest_null ", NULL), "null", "ctr")])  # fmt: skip
def test_encap_refuses_what_protects_nothing_and_decap_does_as_linux(tmp_path, rows, word, other):
    (tmp_path / "sad").write_text("\n" + dump(0x4001, rows))
    clear = [ipv4(b"nothing protects this")]
    capture(tmp_path / "in", clear)
    args = ("encap", tmp_path / "in", "--sad", tmp_path / "sad", "-o", tmp_path / "out")
    for more in ((), ("--insecure", other)):
        with pytest.raises(InputError, match=f"sad:2: 0x00004001@10.2.0.1: .*say --insecure {word}"):
            run(*args, *more)
        assert not (tmp_path / "out").exists()
    assert run(*args, "--insecure", f"{word},{other}", "--json").exit_code == 0
    opened = run("decap", tmp_path / "out", "--sad", tmp_path / "sad", "-o", tmp_path / "back", "--json")
    assert json.loads(opened.stdout)["delivered"] == 1
    assert f"note: {INSECURE[word]}: 0x00004001@10.2.0.1" in opened.stderr
    assert read(tmp_path / "back") == clear
    assert run("audit", tmp_path / "sad", "--model", "intel-iavf", "--json").exit_code in (0, 1)


@pytest.mark.parametrize(("auth", "enc", "name"), [
    ("hmac(sha1)", "rfc3686(ctr(aes))", "aes-ctr+hmac"), ("xcbc(aes)", "rfc3686(ctr(aes))", "aes-ctr+xcbc"),
    ("cmac(aes)", "cbc(aes)", "aes-cbc+cmac"), ("hmac(sha256)", "cbc(camellia)", "cbc(camellia)+hmac"),
    ("digest_null", "rfc3686(ctr(aes))", "aes-ctr"),
])  # fmt: skip
def test_devices_take_what_their_models_name(auth, enc, name):
    """An AES-based MAC is not an HMAC, and an implicit IV not the suite of its AEAD."""
    cipher = Algorithm("enc", enc, bytes(CIPHERS[enc].key_sizes[0]))
    keys = resolve((Algorithm("auth", auth, bytes(16)), cipher))
    assert cipher_name(keys) == name
    implicit = resolve((Algorithm("aead", "iiv(rfc4106(gcm(aes)))", bytes(20), 128),))
    assert cipher_name(implicit) == "iiv(rfc4106(gcm(aes)))"


def test_insecure_takes_its_words_alone(tmp_path):
    with pytest.raises(InputError, match="--insecure takes null, ctr or null,ctr"):
        run("encap", tmp_path / "in", "--sad", tmp_path / "sad", "-o", tmp_path / "out", "--insecure", "null,all")
    (tmp_path / "sad").write_text(dump(0x4001, (CTR,)).replace("replay", "dir in\n\treplay"))
    capture(tmp_path / "in", [])
    assert run("encap", tmp_path / "in", "--sad", tmp_path / "sad", "-o", tmp_path / "out").exit_code == 0
