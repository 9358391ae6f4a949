"""The file of rows: one writer, one study, no row is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from espsim.analysis.sweep.run import missing
from espsim.analysis.sweep.store import Saved, Store
from espsim.analysis.sweep.summary import summary
from espsim.core.errors import InputError
from tests.unit.analysis.sweeps import SMALL, rows_in, rows_of, small_plan


def test_rows_come_back_in_order_however_they_landed(tmp_path):
    plan, path = small_plan(), str(tmp_path / "a.sqlite")
    rows = rows_of(plan)
    with Store(path, plan) as store:
        store.add(rows[5:9])
        store.add(reversed(rows[:5]))
    with Store(path, plan) as store:
        assert store.done() == list(range(9))
        assert [task.place for task in missing(plan, store.done())] == list(range(9, plan.tasks))
        store.add(rows[9:])
    assert rows_in(path) == rows
    with Store(str(tmp_path / "b.sqlite"), plan) as store:
        store.add(rows)
    assert summary(Saved(path)) == summary(Saved(str(tmp_path / "b.sqlite")))


def test_an_empty_file_is_a_new_one(tmp_path):
    path = tmp_path / "empty.sqlite"
    path.touch()
    with pytest.raises(InputError, match="is empty: no sweep has written to it yet"):
        Saved(str(path))
    with Store(str(path), small_plan()) as store:
        assert store.done() == []


@pytest.mark.parametrize(
    "other",
    [small_plan(seed=2), small_plan(text=SMALL.replace("100", "101")), small_plan(text=SMALL.replace("= 4", "= 5"))],
    ids=["seed", "axes", "repeats"],
)
def test_a_file_of_another_sweep_is_left_alone(tmp_path, other):
    path = tmp_path / "a.sqlite"
    with Store(str(path), small_plan()) as store:
        store.add(rows_of(small_plan())[:3])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"holds another sweep \(study small, seed 1"):
        Store(str(path), other)
    assert path.read_bytes() == before


def test_two_sweeps_on_one_file(tmp_path):
    path = str(tmp_path / "a.sqlite")
    code = (
        "import sys; from tests.unit.analysis.sweeps import small_plan; from espsim.analysis.sweep.store import Store\n"
        "with Store(sys.argv[1], small_plan()): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="another sweep is writing to it"):
            Store(path, small_plan())
        assert Saved(path).rows == []  # a report is no writer
        first.kill()  # what it held is free at once
        first.wait()
        Store(path, small_plan()).close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite"]


@pytest.mark.parametrize("kept", [50, 1000, 4096, 5000, -100])
def test_a_file_that_is_cut_short(tmp_path, kept):
    path = tmp_path / "a.sqlite"
    plan = small_plan()
    with Store(str(path), plan) as store:
        store.add(rows_of(plan))
    path.write_bytes(path.read_bytes()[:kept])
    for use in (lambda: Store(str(path), plan), lambda: Saved(str(path))):
        with pytest.raises(InputError) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1


def test_files_that_are_none_of_ours(tmp_path):
    text, other = tmp_path / "a.txt", tmp_path / "b.sqlite"
    text.write_text("a letter of more than sixteen bytes\n" * 200)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE meta(key, value)")
    connection.close()
    for path in (text, other):
        before = path.read_bytes()
        for use in (lambda path=path: Store(str(path), small_plan()), lambda path=path: Saved(str(path))):
            with pytest.raises(InputError, match="is not a file of espsim sweep, and is left as it is"):
                use()
        assert path.read_bytes() == before
    for path, said in (
        (tmp_path, "not a regular file"),
        (tmp_path / "no" / "where", "No such file"),
        ("/dev/null", "not a regular"),
    ):
        with pytest.raises(InputError, match=said):
            Store(str(path), small_plan())
    for path, said in ((tmp_path, "is a directory"), (tmp_path / "none", "no such file"), ("/dev/null", "no file")):
        with pytest.raises(InputError, match=said):
            Saved(str(path))


def test_a_schema_that_is_to_come(tmp_path):
    path = str(tmp_path / "a.sqlite")
    Store(path, small_plan()).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(InputError, match="has schema 2, and this espsim reads 1"):
        Store(path, small_plan())


def test_a_full_disk_loses_nothing_that_had_landed(tmp_path):
    path = str(tmp_path / "a.sqlite")
    study = tmp_path / "small.toml"
    study.write_text(SMALL.replace("repeats = 4", "repeats = 100").replace("packets = 400", "packets = 1"))
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384));"
        "from espsim.cli.start import run; sys.argv[0] = 'espsim'; run()"
    )
    words = [sys.executable, "-B", "-c", limited, "sweep", "run", str(study), "-o", path, "--workers", "1"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "cannot be written" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    landed = rows_in(path)
    assert landed
    assert os.path.getsize(path) <= 16384
    plan = small_plan(text=study.read_text())
    assert landed == rows_of(plan)[: len(landed)]
    with Store(path, plan) as store:  # there is room again
        store.add([row for row in rows_of(plan) if row.place >= len(landed)])
    assert len(rows_in(path)) == plan.tasks
