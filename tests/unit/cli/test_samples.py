"""`espsim samples`: its README's commands work, and no file of the user is replaced."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.report.demo import NEXT


def invoke(*args):
    return CliRunner().invoke(main, [*map(str, args)], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("samples", "esp").exit_code == 0
    return tmp_path / "esp"


def test_every_command_of_the_readme_works(folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = [line.strip() for line in (folder / "README.txt").read_text().splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("espsim ")]
    commands = [command for command in commands if len(command) > 2]
    assert len(commands) == 6
    for command in commands:
        result = invoke(*command, "--reference")
        assert result.exit_code == 0, (command, result.output)


def test_what_the_readme_says_of_the_two_peers(folder):
    args = ("decap", folder / "two-peers.pcap", "--sad", folder / "two-peers.sad", "-o", folder / "out.pcap", "--json")
    software = json.loads(invoke(*args, "--reference").stdout)
    device = json.loads(invoke(*args, "--reference", "--model", "marvell-cn10k-linux-v5", "--assume", "model").stdout)
    assert (software["delivered"], device["delivered"]) == (20, 10)


@pytest.mark.long
def test_the_demos_last_commands_work_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, _what in NEXT:
        for part in command.split(" && "):
            assert invoke(*shlex.split(part)[1:]).exit_code == 0, part


def test_nothing_of_the_users_is_replaced(folder):
    again = invoke("samples", "esp", "--json")
    assert json.loads(again.stdout)["files"] == sorted(path.name for path in folder.iterdir())
    (folder / "esn.sad").write_text("mine\n")
    (folder / "nat.sad").unlink()
    with pytest.raises(InputError, match=r"esp/esn.sad: a file of this name holds something else"):
        invoke("samples", "esp")
    assert (folder / "esn.sad").read_text() == "mine\n"
    assert not (folder / "nat.sad").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        invoke("samples", tmp_path / "file" / "x")
