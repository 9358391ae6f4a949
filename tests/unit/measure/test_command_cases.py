"""The rows `command`: their captures are right, and a row runs the command."""

from __future__ import annotations

import json

import pytest

from espsim.aead.engines import engine_by_name
from espsim.measure import command_cases
from espsim.measure.peers import Unavailable
from tests.command import espsim


@pytest.fixture
def inside(monkeypatch):
    """Commands run in this process."""

    def run(command, *words):
        ended = espsim(command, *words, "--workers", "1") if "--workers" not in words else espsim(command, *words)
        if ended.returncode:
            raise Unavailable(ended.stderr.decode())

    monkeypatch.setattr(command_cases, "_espsim", run)


@pytest.mark.parametrize("size", [28, 64, 1424])
def test_every_packet_is_sealed_and_opened_again(inside, tmp_path, size):
    of = command_cases.make(tmp_path, size, 250, 1)
    out = tmp_path / "clear-again"
    words = "decap", of.path("sealed-many"), "--sad", of.path("sad"), "-o", out, "--json", "--batch"
    result = json.loads(espsim(*words).stdout)
    assert (result["packets"], result["delivered"], len(result["by_sa"])) == (250, 250, command_cases.SAS)
    assert out.read_bytes()[24:] == of.path("clear-many").read_bytes()[24:]
    assert of.seconds("encap", "few")[0] > 0
    assert not of.path("out").exists()


def test_the_groups(inside, monkeypatch):
    monkeypatch.setattr(command_cases, "FEW_PACKETS", 4_000)
    engine = engine_by_name("cryptography")
    groups = list(command_cases.command_groups([64, "imix"], [1], engine, seed=1, peers=True, quick=True))
    assert [[case.what for case in group.cases] for group in groups] == [["decap"], ["encap"]]
    assert [peer.name for peer in groups[0].cases[0].peers] == ["cp"]
    assert groups[0].cases[0].extra["packets"] == 4_000


def test_cpu_time_is_that_of_many_packets_less_that_of_few(monkeypatch, tmp_path):
    used = iter([1.0, 1.25, 1.5, 2.0] * 2)  # before and after the command on a few packets, and on many
    monkeypatch.setattr(command_cases, "_used", lambda: next(used))
    monkeypatch.setattr(command_cases, "_espsim", lambda *_words: None)
    of = command_cases.Captures(tmp_path, 64, 1200)
    (case,) = command_cases._group(of, "decap", [1], engine_by_name("cryptography"), peers=False).cases
    case.once()
    case.close()
    assert case.extra["cpu_ns"] == 0.25 / 1000 * 1e9


def test_no_room_in_memory(monkeypatch):
    monkeypatch.setattr(command_cases, "_free", lambda: 10_000)
    (group,) = command_cases.command_groups(
        [64], [1], engine_by_name("cryptography"), seed=1, peers=False, quick=True
    )  # fmt: skip
    assert group.notes() == ["command: no room in memory for captures of 64 B"]


def test_workers_are_powers_of_two_and_all_cores(monkeypatch):
    for cores, wanted in ((1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])):
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        assert command_cases.powers_of_two() == wanted
