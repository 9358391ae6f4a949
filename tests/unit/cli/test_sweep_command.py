"""`espsim sweep` as it is typed: what it prints, its exit statuses, and sweeps that are killed."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.command import espsim, espsim_text
from tests.unit.analysis.sweeps import SMALL, rows_in

SLOW = SMALL.replace("packets = 400", "packets = 6000").replace("repeats = 4", "repeats = 8")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A study's file and the file of its finished sweep."""
    folder = tmp_path_factory.mktemp("swept")
    study, rows = folder / "small.toml", folder / "a.sqlite"
    study.write_text(SMALL)
    assert espsim_text("sweep", "run", study, "-o", rows)[0] == 0
    return study, rows


def test_a_sweep_says_what_it_did(swept):
    study, rows = swept
    status, said, told = espsim_text("sweep", "run", study, "-o", rows, "--json")
    assert (status, told) == (0, "")
    assert json.loads(said) == {
        "study": "small", "quick": False, "seed": 1, "tasks": 24, "there_before": 24, "done": 24, "failed": 0,
    }  # fmt: skip


def test_the_report_for_programs(swept):
    _study, rows = swept
    result = json.loads(espsim_text("sweep", "report", rows, "--json")[1])
    assert result["complete"]
    assert [row["place"] for row in result["rows"]] == list(range(24))
    assert len(result["points"]) == 6
    point = result["points"][3]
    assert point["axes"]["reorder"] == 100
    assert point["values"]["refused_share"]["low"] <= point["values"]["refused_share"]["median"]
    changed = next(group for group in result["changes"] if group["axes"]["reorder"] == 100)
    assert changed["changes"] == [{"after": 64, "at": 128, "was": "loses some", "is": "loses none"}]
    assert str(rows.parent) not in json.dumps(result)


def test_the_report_for_people(swept):
    _study, rows = swept
    said = espsim_text("sweep", "report", rows)[1]
    assert "24 of 24 tasks, 4 at each point, seed 1; finished" in said
    assert re.search(r"100 +loses some from 32 to 64; loses none at 128", said)
    assert "fixed: " in said
    assert "share 0.05" in said


def test_csv_to_a_file_and_to_standard_output(swept, tmp_path):
    _study, rows = swept
    text = espsim_text("sweep", "report", rows, "--csv")[1]
    assert espsim_text("sweep", "report", "--csv", rows)[1] == text
    assert espsim_text("sweep", "report", rows, "--csv", tmp_path / "a.csv")[0] == 0
    assert (tmp_path / "a.csv").read_text() == text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["place"]) for row in table] == list(range(24))
    assert {"reorder", "window", "repeat", "answer", "refused_share", "error"} <= set(table[0])


def test_html_is_one_escaped_file(tmp_path):
    study, rows, page = tmp_path / "s.toml", tmp_path / "a.sqlite", tmp_path / "a.html"
    study.write_text(SMALL.replace("Which window?", "<script>alert(1)</script> & \\u202e"))
    espsim("sweep", "run", study, "-o", rows, "--quick")
    assert espsim("sweep", "report", rows, "--html", page).returncode == 0
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert not re.search(r"(src|href)=|https?://", text)
    assert "<svg" in text


def test_a_plot(swept, tmp_path):
    pytest.importorskip("matplotlib")
    _study, rows = swept
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        assert espsim("sweep", "report", rows, "--plot", tmp_path / name).returncode == 0
        assert (tmp_path / name).read_bytes().startswith(start)


def test_a_billion_tasks_are_said_before_anything_starts(tmp_path):
    study, rows = tmp_path / "s.toml", tmp_path / "a.sqlite"
    study.write_text(SMALL.replace("repeats = 4", "repeats = 200_000_000"))
    status, said, told = espsim_text("sweep", "run", study, "-o", rows)
    assert (status, said) == (2, "")
    assert told == (
        "espsim: small: has 1,200,000,000 tasks (2 reorder x 3 window x 200,000,000 repeats), more than 100,000: "
        "--most 1200000000 runs them all\n"
    )
    assert not rows.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "name a study"),
        (("run", "colisions"), "no study 'colisions'; did you mean collisions?"),
        (("run", "no.toml"), "no.toml: cannot be read: No such file"),
        (("run", "window", "--workers", "2", "--dask", "x:1"), "give one of them"),
        (("run", "window", "--quick", "-o", "/nowhere/a.sqlite"), "/nowhere/a.sqlite: cannot be written"),
        (("run", "window", "--quick", "-o", "-"), "rows need a file"),
        (("report",), "name the file"),
        (("report", "nowhere.sqlite"), "nowhere.sqlite: no such file"),
    ],
)
def test_bad_command_lines_are_one_line(words, said):
    status, out, told = espsim_text("sweep", *words)
    assert (status, out) == (2, "")
    assert said in told
    assert len(told.splitlines()) == 1


def test_rows_do_not_replace_the_study(tmp_path):
    study = tmp_path / "s.toml"
    study.write_text(SMALL)
    assert espsim("sweep", "run", study, "-o", study).returncode == 2
    assert study.read_text() == SMALL


def test_tasks_that_fail_are_rows_and_exit_status_1(tmp_path):
    study, rows = tmp_path / "s.toml", tmp_path / "a.sqlite"
    study.write_text(
        'schema = 1\nname = "few"\nquestion = "?"\nkind = "audit"\n[axes]\nmodel = "sw-linux-xfrm"\nsas = [2, 20]\n'
        'range = "0x100-0x109"\nallocator = "unique"\n'
    )
    status, said, told = espsim_text("sweep", "run", study, "-o", rows)
    assert (status, told) == (1, "")
    assert "1 of them failed" in said
    status, said, _told = espsim_text("sweep", "report", rows)
    assert status == 0
    assert "20 SAs with SPIs of their own, and the range has 10" in " ".join(said.split())
    assert espsim("sweep", "run", study, "-o", rows).returncode == 1  # it is not tried again


def test_what_is_built_in_can_be_listed_and_shown():
    listed = json.loads(espsim_text("sweep", "run", "--list", "--json")[1])
    assert {row["name"] for row in listed} >= {"collisions", "window", "allocators"}
    assert 'name = "window"' in espsim_text("sweep", "run", "--show", "window")[1]
    assert "reorder" in espsim_text("sweep", "run", "--kinds")[1]


# -- killed -----------------------------------------------------------------------------------------------------------


def start(study, rows):
    words = [sys.executable, "-m", "espsim", "sweep", "run", str(study), "-o", str(rows), "--workers", "2"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def landed(path):
    """How many rows a file has, while another process writes it; 0 while a commit is half done."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute("SELECT count(*) FROM rows").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


def kill_at_random(folder, number, whole):
    """A sweep that is killed when a random row has landed, and at a random moment after that; then it goes on."""
    rng = random.Random(number)
    study, rows = folder / "slow.toml", folder / f"{number}.sqlite"
    with start(study, rows) as process:
        wanted = rng.randrange(0, 40) if number >= 100 else 12 * number
        until, seen, ended = time.monotonic() + 60, 0, False
        while seen < wanted and not ended and time.monotonic() < until:
            time.sleep(0.01)
            ended = process.poll() is not None
            seen = landed(rows)
        time.sleep(rng.random() * 0.1)
        process.kill()
    assert espsim("sweep", "run", study, "-o", rows).returncode == 0
    assert espsim("sweep", "report", rows, "--json").stdout == whole
    return seen


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    (folder / "slow.toml").write_text(SLOW)
    assert espsim("sweep", "run", folder / "slow.toml", "-o", folder / "whole.sqlite").returncode == 0
    return folder, espsim("sweep", "report", folder / "whole.sqlite", "--json").stdout


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_killed_sweep_ends_with_the_same_rows(slow, number):
    folder, whole = slow
    assert kill_at_random(folder, number, whole) >= 12 * number


@pytest.mark.long
@pytest.mark.parametrize("number", range(100, 120))
def test_a_sweep_killed_at_twenty_moments_ends_with_the_same_rows(slow, number):
    folder, whole = slow
    kill_at_random(folder, number, whole)


@pytest.mark.parametrize("name", [pytest.param("SIGINT", marks=pytest.mark.long), "SIGTERM"])
def test_a_stopped_sweep_keeps_its_rows_and_says_nothing(tmp_path, name):
    study, rows = tmp_path / "endless.toml", tmp_path / "a.sqlite"
    study.write_text(SLOW.replace("repeats = 8", "repeats = 800"))  # minutes: it cannot end before the signal
    with start(study, rows) as process:
        while landed(rows) < 3 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        told = process.communicate()[1]
    assert (process.returncode, told) == (128 + getattr(signal, name), b"")
    assert len(rows_in(rows)) >= 3
