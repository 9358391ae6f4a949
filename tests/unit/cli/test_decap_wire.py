"""`decap --loss`, `--duplicate`, `--reorder`: both paths agree on what arrived, and the report says what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import espsim, espsim_text

DECAP = ("decap", "esp/esn.pcap", "--sad", "esp/esn.sad")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert espsim_text("samples", "esp")[0] == 0


def told(*words):
    status, said, error = espsim_text(*words, "--json")
    assert status == 0, error
    return json.loads(said)


def test_what_the_wire_did():
    assert "wire" not in told(*DECAP)
    result = told(*DECAP, "--loss", "20", "--duplicate", "50%", "--reorder", "30.5", "--seed", "3")
    wire = result["wire"]
    assert (wire["loss"], wire["duplicate"], wire["reorder"], wire["seed"], wire["frames"]) == (20, 50, 30.5, 3, 15)
    assert wire["arrived"] == result["packets"] == 15 - wire["lost"] + wire["duplicated"]
    assert result["verdicts"]["REPLAY_DUPLICATE"] >= wire["duplicated"] > 0
    said = espsim_text(*DECAP, "--loss", "100")[1]
    assert "the wire (seed 0): of 15 frames 15 lost, 0 came twice, 0 overtaken; 0 arrived\n" in said


@pytest.mark.parametrize("chances", [("--duplicate", "100"), ("--reorder", "100"), ("--loss", "0"), ("--loss", "50")])
def test_both_paths_see_the_same_wire(chances):
    one, many = (told(*DECAP, *chances, way, "--verdicts", way) for way in ("--reference", "--batch"))
    for result in (one, many):
        for name in ("path", "engine", "engine_version", "engine_isa"):
            result.pop(name)
    assert one == many
    assert Path("--reference").read_bytes() == Path("--batch").read_bytes()


def test_standard_input_and_a_capture_that_is_cut():
    data = Path("esp/esn.pcap").read_bytes()
    words = ("decap", "-", "--sad", "esp/esn.sad", "--duplicate", "100", "--json")
    assert json.loads(espsim(*words, input=data).stdout)["packets"] == 30
    ended = espsim(*words, input=data[:-5])
    assert (ended.returncode, json.loads(ended.stdout)["packets"]) == (2, 28)
    assert ended.stderr.decode().count("frame 15") == 1
    ended = espsim(*words, input=b"no capture")
    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.parametrize("value", ["-1", "101", "nan", "inf", "1e1", "", "%", "٣", "9" * 10**5])
def test_chances_that_are_none(value):
    status, said, error = espsim_text(*DECAP, f"--loss={value}")
    assert (status, said) == (2, "")
    assert "is not a percentage from 0 to 100" in error
    assert error.count("\n") == 1


def test_a_seed_for_nothing():
    assert espsim_text(*DECAP, "--seed", "1") == (2, "", "espsim: --seed needs --loss, --duplicate or --reorder\n")
