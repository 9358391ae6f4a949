"""Names with control characters, in files and of files: escaped in every text for people, as they are in JSON."""

from __future__ import annotations

import json
import re

import pytest

from espsim.offload.model import shipped_folder
from tests.command import espsim_text

EVIL = "e\x1b[31m\x07\x9b\u202e\u2028[/x]\nf"
SHOWN = r"e\x1b[31m\x07\x9b\u202e\u2028[/x]\nf"
KEY = "c0ffee11d00dfeed22beefcafe33f00dabad1dea"
SA = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 1000 replay-window 32 aead rfc4106(gcm(aes)) 0x{KEY} 128"


@pytest.fixture
def folder(tmp_path):
    """A folder with such a name, and in it a model, a dump and two scenarios that have it too."""
    folder = tmp_path / "d\x1b[31m\u202e"
    folder.mkdir()
    evil = json.dumps(EVIL)
    head = f"schema = 1\nname = {evil}\nquestion = {evil}\nsource = {evil}\nchoice = {evil}\n"
    steps = f'[[sa]]\nname = {evil}\nline = "{SA}"\n'
    steps += "".join(f'[[step]]\ndo = "{do}"\nsa = {evil}\n' for do in ("newsa", "send"))
    (folder / "s.toml").write_text(f"{head}{steps}  [[step.expect]]\n  delivered = 9\n")
    ask = '[[step]]\ndo = "ask"\nlines = "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x5000 max=0x5000"\n'
    (folder / "v.toml").write_text(f"{head}{ask}[[variant]]\nname = {evil}\n  [variant.expect]\n  rfc4301 = {evil}\n")
    text = re.sub("(?m)^id = .*", 'id = "evil"', (shipped_folder() / "sw-linux-xfrm.toml").read_text())
    text = re.sub("(?m)^(vendor|part) = .*", lambda found: f"{found[1]} = {evil}", text)
    (folder / "evil.toml").write_text(text)
    (folder / "dump").write_text(SA + "\n")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["run", "s.toml"], ["run", "v.toml"], ["run", "none.toml"], ["models", "check", "evil.toml"],
        ["models", "show", "evil.toml"], ["models", "compare", "evil.toml"], ["models", "find", EVIL],
        ["audit", "dump", "--model", "evil.toml"], ["audit", "none", "--model", "evil.toml"],
        ["decap", "dump", "--sad", "dump", "-o", "out"], ["xfrm", "-force", "dump"], ["xfrm", "none"],
        ["spi", "--sas", "10", "--range", "1-100", "--model", "evil.toml"], ["run", EVIL],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nothing_moves_the_cursor(folder, words):
    there = [
        str(folder / word) if word in ("dump", "none", "out") or word.endswith(".toml") else word for word in words
    ]
    _status, out, err = espsim_text(*there)
    text = out + err
    assert text.strip()
    assert all(line.isprintable() for line in text.replace("\t", "").split("\n")), text
    assert "Traceback" not in text


def test_they_are_shown_escaped(folder):
    _, out, _ = espsim_text("run", folder / "s.toml")
    assert out.startswith(f"{SHOWN}: {SHOWN}\nsource: {SHOWN}\n")
    assert SHOWN in espsim_text("models", "show", folder / "evil.toml")[1]
    answer = json.loads(espsim_text("run", folder / "s.toml", "--json")[1])
    assert answer["scenario"] == EVIL


def test_a_page_has_none(folder, tmp_path):
    page = tmp_path / "page.html"
    assert espsim_text("audit", folder / "dump", "--model", folder / "evil.toml", "--html", page)[0] in (0, 1)
    assert all(line.isprintable() for line in page.read_text().replace("\t", "").split("\n"))
    assert r"d\x1b[31m\u202e/dump" in page.read_text()
