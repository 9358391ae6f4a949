"""Which path a capture takes by itself, and that both say the same of every capture of the vectors."""

from __future__ import annotations

import json

import pytest

from espsim.cli import packets
from espsim.io.pcap import file_header
from espsim.text.show import format_sa_line
from tests.command import espsim, espsim_text
from tests.support import CAPTURES, sa_of
from tests.unit.cli.test_decap_ways import frames, sad_file

MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())
FEW = 20


@pytest.fixture
def small(monkeypatch):
    """Captures of fewer than FEW frames are small."""
    monkeypatch.setattr(packets, "SMALL", FEW)


def capture(folder, count):
    path = folder / f"{count}.pcap"
    path.write_bytes(file_header(101, False) + frames(count))
    return path


def path_of(folder, count, *words):
    ended = espsim("decap", capture(folder, count), "--sad", sad_file(folder), "--json", *words)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["path"]


@pytest.mark.parametrize(("count", "path"), [(1, "reference"), (FEW - 1, "reference"), (FEW, "batch"), (50, "batch")])
def test_by_the_number_of_frames(small, tmp_path, count, path):
    assert path_of(tmp_path, count) == path
    assert path_of(tmp_path, count, "--engine", "auto") == path


@pytest.mark.parametrize(
    "words", [["--batch"], ["--workers", "1"], ["--engine", "cryptography"], ["--model", "sw-linux-xfrm"]]
)
def test_what_asks_for_the_batch_path(small, tmp_path, words):
    assert path_of(tmp_path, 3, *words) == "batch"


def test_standard_input_cannot_be_counted(small, tmp_path):
    ended = espsim("decap", "-", "--sad", sad_file(tmp_path), "--json", input=capture(tmp_path, 3).read_bytes())
    assert json.loads(ended.stdout)["path"] == "batch"


def test_encap_too(small, tmp_path):
    clear = tmp_path / "clear.pcap"
    sad = sad_file(tmp_path)
    assert espsim("decap", capture(tmp_path, 5), "--sad", sad, "-o", clear).returncode == 0
    for words, path in (([], "reference"), (["--batch"], "batch"), (["--workers", "2"], "batch")):
        ended = espsim("encap", clear, "--sad", sad, "-o", tmp_path / "out.pcap", "--json", *words)
        assert json.loads(ended.stdout)["path"] == path


def test_the_two_contradict_each_other(tmp_path):
    status, _, err = espsim_text("decap", capture(tmp_path, 3), "--sad", sad_file(tmp_path), "--reference", "--batch")
    assert status == 2
    assert err == "espsim: --batch needs the batch path, and --reference asks for the reference path\n"


@pytest.mark.parametrize("item", MANIFEST["captures"], ids=lambda item: item["name"])
def test_both_paths_say_the_same_of_the_vectors(tmp_path, item):
    sad = tmp_path / "sad"
    sad.write_text("".join(f"{format_sa_line(sa_of(sa))}\n" for sa in item["sas"]))
    said = []
    for way in ("--reference", "--batch"):
        out, lines = tmp_path / f"{way}.pcap", tmp_path / f"{way}.jsonl"
        words = CAPTURES / item["file"], "--sad", sad, "--keep-window", "-o", out, "--verdicts", lines, "--json", way
        ended = espsim("decap", *words)
        result = json.loads(ended.stdout)
        for key in ("path", "engine", "engine_version", "engine_isa", "engines"):
            result.pop(key, None)
        said.append((ended.returncode, result, out.read_bytes(), lines.read_text()))
    assert said[0] == said[1]
