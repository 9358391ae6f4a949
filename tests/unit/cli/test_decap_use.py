"""decap without -o, with --fail-on-drop, and reading standard input until ^C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.io.pcap import file_header
from tests.support import VECTORS
from tests.unit.cli.test_decap_ways import frames, sad_file


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


@pytest.fixture
def folder(tmp_path):
    """Ten frames, two of them forged and one not ESP; and three good ones."""
    sad_file(tmp_path)
    (tmp_path / "in").write_bytes(file_header(101, False) + frames(10))
    (tmp_path / "good").write_bytes(file_header(101, False) + frames(3))
    return tmp_path


@pytest.mark.parametrize("way", [(), ("--reference",), ("--workers", "2")], ids=["batches", "reference", "workers"])
def test_without_o_nothing_is_written_and_the_report_is_the_same(folder, way):
    words = ("decap", folder / "in", "--sad", folder / "sad.txt", "--json", "--verdicts", folder / "lines", *way)
    before = sorted(path.name for path in folder.iterdir())
    without = run(*words)
    assert (without.exit_code, sorted(path.name for path in folder.iterdir())) == (0, sorted([*before, "lines"]))
    lines = (folder / "lines").read_text()
    assert len(lines.splitlines()) == 10
    assert run(*words, "-o", folder / "out").stdout == without.stdout
    assert (folder / "lines").read_text() == lines
    assert json.loads(without.stdout)["delivered"] == 7


@pytest.mark.parametrize("way", [(), ("--reference",)], ids=["batches", "reference"])
def test_fail_on_drop(folder, way):
    words = ("--sad", folder / "sad.txt", "--fail-on-drop", "--json", *way)
    failed, good = run("decap", folder / "in", *words), run("decap", folder / "good", *words)
    assert (failed.exit_code, good.exit_code) == (1, 0)
    assert json.loads(failed.stdout)["verdicts"] == {"DELIVERED": 7, "INTEGRITY": 2}
    assert run("decap", folder / "in", *words[:2]).exit_code == 0


@pytest.mark.parametrize("way", [(), ("--reference",)], ids=["batches", "reference"])
def test_fail_on_drop_sees_what_was_refused_inside_of_iptfs(tmp_path, way):
    suite = json.loads((VECTORS / "captures_new" / "iptfs.json").read_text())["suites"][1]
    lines = [sa["ip_xfrm_state_receiver"] for sa in suite["sas"]]
    sad, ended = tmp_path / "sad", []
    for more in ("", " sel src 203.0.113.0/24"):
        sad.write_text("".join(f"{line}{more}\n" for line in lines))
        ended.append(
            run("decap", VECTORS / "captures_new" / suite["file"], "--sad", sad, "--fail-on-drop", "--json", *way)
        )
    assert [one.exit_code for one in ended] == [0, 1]
    refused = json.loads(ended[1].stdout)
    assert refused["delivered"] == len(suite["packets"])
    assert refused["iptfs"]["refused"] == len(suite["inner"])


def interrupted(folder, way, before, after=b""):
    """A decap that has read `before` and waits hears ^C, then `after` comes: (status, JSON or None, standard error)."""
    command = ["decap", "-", "--sad", "sad.txt", "--json", "-o", "out", *way]
    read, write = os.pipe()
    os.write(write, before)
    with (
        subprocess.Popen(
            [sys.executable, "-c", READS, "60" if after else "0.5", *command],
            cwd=folder, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
        open(write, "wb", buffering=0) as pipe,
    ):  # fmt: skip
        os.close(read)
        assert process.stderr is not None
        said = b""
        while b"waits" not in said:  # all that came has been worked on
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        if after:
            pipe.write(after)
            pipe.close()
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, json.loads(stdout) if stdout else None, stderr


READS = """
import os, sys
from espsim.core import stopping
wait, waits = stopping.gently.readable, 0
def readable(reading, descriptor):
    import select
    if not reading.asked and not select.select([descriptor], [], [], 0)[0]:
        os.write(2, b"waits\\n")
    return wait(reading, descriptor)
stopping.gently.readable = readable
stopping.GRACE = float(sys.argv.pop(1))
from espsim.cli.start import run
run()
"""


@pytest.mark.parametrize("way", [(), ("--reference",), ("--workers", "2")], ids=["batches", "reference", "workers"])
def test_interrupted(folder, way):
    """What came is reported, with what was on its way when ^C came; a frame that is not whole is no error then."""
    head = file_header(101, False) + frames(10)
    status, report, stderr = interrupted(folder, way, head, frames(2, first=11) + b"half")
    assert status == 130
    assert (report["packets"], report["delivered"], report["ignored"]) == (11, 9, 1)
    assert b"cut" not in stderr
    assert (folder / "out").exists()


def test_interrupted_before_anything_came(folder):
    status, report, _ = interrupted(folder, (), b"")
    assert (status, report) == (130, None)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("command", [("decap",), ("encap", "-o", "sealed")], ids=["decap", "encap"])
def test_no_packets_no_table(folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "none").write_bytes(file_header(101, False))
    words = (*command, "none", "--sad", "sad.txt", "--reference")
    said = run(*words).stdout.splitlines()
    assert (said[0].split(";")[0].split()[0], [line for line in said if line.startswith("verdict ")]) == ("0", [])
