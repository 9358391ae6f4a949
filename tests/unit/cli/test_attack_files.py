"""Hostile files: keys in refused lines, a number of 5,000 digits, control characters."""

from __future__ import annotations

import pytest

from tests.command import espsim, espsim_text
from tests.support import VECTORS

CASES = VECTORS / "cases"
KEY = "c0ffee11d00dfeed22beefcafe33f00dabad1dea"


@pytest.mark.parametrize("name", ["s1-key-on-its-own-line", "s2-misspelt-keyword"])
@pytest.mark.parametrize("words", [["xfrm"], ["xfrm", "-force"], ["xfrm", "--json", "-force"], ["xfrm", "--requests"]])
def test_keys_of_refused_lines(name, words):
    ended = espsim(*words, CASES / f"{name}.batch")
    said = (ended.stdout + ended.stderr).decode().lower()
    assert ended.returncode == 2
    assert said
    assert not any(KEY[at : at + 8] in said for at in range(len(KEY) - 7))


def test_a_long_number():
    for words in ((), ("--json",), ("--requests",)):
        ended = espsim("xfrm", *words, CASES / "a3-long-number.batch")
        assert ended.returncode == 2
        assert b"Traceback" not in ended.stdout + ended.stderr
    assert espsim("audit", CASES / "a3-long-number.batch", "--model", "sw-linux-xfrm").returncode in (0, 2)


def test_control_characters():
    status, out, err = espsim_text("xfrm", "-force", CASES / "a9-control-characters.batch")
    assert status == 2
    assert r'prefix is expected rather than "192.0.2\x0e1"' in err
    assert all(line.isprintable() for line in (out + err).replace("\t", "").split("\n"))


@pytest.mark.parametrize(
    "words",
    [
        ["models", "check", "/dev/zero"], ["models", "show", "/dev/zero"], ["run", "/dev/zero"], ["xfrm", "/dev/zero"],
        ["xfrm", "--state", "/dev/zero", "/dev/null"], ["xfrm", "--requests", "/dev/zero"],
        ["audit", "/dev/zero", "--model", "sw-linux-xfrm"], ["audit", "/dev/null", "--model", "/dev/zero"],
        ["decap", "/dev/zero", "--sad", "/dev/zero", "-o", "/dev/null"],
        ["decap", "/dev/zero", "--sad", "SAD", "-o", "/dev/null"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_never_ends(words, tmp_path):
    sad = tmp_path / "sad"
    sad.write_text(f"src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 replay-window 32 aead rfc4106(gcm(aes)) 0x{KEY} 128\n")
    ended = espsim(*(str(sad) if word == "SAD" else word for word in words))
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert ended.stderr.startswith(b"espsim: ")
