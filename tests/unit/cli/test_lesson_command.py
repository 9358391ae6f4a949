"""`espsim lesson`: lists, runs and marks; answers from a terminal, a pipe and a file; hostile answers."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys

import pytest

from tests.command import espsim, espsim_text

RIGHT = b"yes\nREPLAY_DUPLICATE\n13\n20\n"


def test_the_list():
    status, said, _ = espsim_text("lesson")
    assert status == 0
    assert "out-and-back" in said
    rows = json.loads(espsim_text("lesson", "--json")[1])["lessons"]
    assert [row["lesson"] for row in rows] == [*range(1, 9)]
    assert set(rows[0]) == {"lesson", "name", "title", "questions", "minutes"}


def test_right_and_wrong():
    ended = espsim("lesson", "2", input=RIGHT)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.endswith(b"4 of 4 right\n")
    ended = espsim("lesson", "window", input=RIGHT.replace(b"13", b"12"))
    assert ended.returncode == 1
    assert b"answered: 12\nwrong: it is 13\n" in ended.stdout
    assert ended.stdout.endswith(b"3 of 4 right\n")


def test_for_programs(tmp_path):
    (tmp_path / "answers").write_bytes(b"yes\r\n\n13\n20")
    ended = espsim("lesson", "2", "--json", "--answers", tmp_path / "answers")
    told = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, told["right"], told["of"]) == (1, b"", 3, 4)
    assert [question["right"] for question in told["questions"]] == [True, False, True, True]
    assert told["questions"][1]["given"] == ""
    assert told["questions"][1]["answer"] == "REPLAY_DUPLICATE"
    assert json.loads(espsim("lesson", "2", "--json", "--answers", "-", input=RIGHT).stdout)["right"] == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "-: ends before the answer to question 1 (one answer a line; an empty line: none)"),
        (b"yes\n", "-: ends before the answer to question 2 (one answer a line; an empty line: none)"),
        (b"yes\n" + b"a" * 10**6, "-:2: an answer of more than 200 bytes"),
        (bytes(10**6), "-:1: an answer of more than 200 bytes"),
    ],
)
def test_input_that_ends_or_does_not(given, message):
    ended = espsim("lesson", "2", input=given)
    assert (ended.returncode, ended.stderr.decode()) == (2, f"espsim: {message}\n")
    assert espsim("lesson", "2", "--json", input=given)[:2] == (2, b"")


def test_an_answer_that_would_write_on_the_terminal():
    ended = espsim("lesson", "2", input=b"\x1b[31m\xff\0\n" + RIGHT)
    assert ended.returncode == 1
    assert b"\x1b" not in ended.stdout
    assert b"\0" not in ended.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"yes\n", "has 1 line, and lesson 2 has 4 questions"),
        (RIGHT + b"\n", "has 5 lines"),
        (b"a" * 10**6, "is longer than 65,536 bytes"),
        (b"yes\n" + b"a" * 300 + b"\n\n\n", ":2: an answer of more than 200 bytes"),
    ],
)
def test_files_of_answers_that_do_not_fit(tmp_path, content, message):
    (tmp_path / "answers").write_bytes(content)
    status, said, error = espsim_text("lesson", "2", "--answers", tmp_path / "answers")
    assert (status, said) == (2, "")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lesson", "windo"], "there is no lesson 'windo': did you mean window?"),
        (["lesson", "9"], "there is no lesson '9': there are 1 to 8"),
        (["lesson", "1", "--markdown", "--notebook", "x"], "--markdown and --notebook do not go together"),
        (["lesson", "1", "--json", "--markdown"], "--json says which answers were right, and --markdown"),
        (["lesson", "--notebook", "x"], "--notebook needs a lesson"),
        (["lesson", "plan", "--answers", "x"], "--answers needs a lesson"),
        (["lesson", "1", "--notebook", "/nowhere/x"], "/nowhere/x: cannot be written"),
        (["lesson", "1", "--answers", "/nowhere/x"], "/nowhere/x: cannot be read"),
    ],
)
def test_what_does_not_go(words, message):
    status, said, error = espsim_text(*words)
    assert (status, said) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_what_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert espsim_text("lesson", "2", "--notebook", "x.ipynb") == (0, "x.ipynb: lesson 2 of 8, The window\n", "")
    ended = espsim("lesson", "window", "--notebook", "-")
    assert (tmp_path / "x.ipynb").read_bytes() == ended.stdout
    assert json.loads(ended.stdout)["nbformat"] == 4
    assert espsim_text("lesson", "2", "--markdown")[1].startswith("# 2. The window\n")
    assert espsim_text("lesson", "plan")[1] == espsim_text("lesson", "plan", "--markdown")[1]
    assert json.loads(espsim_text("lesson", "plan", "--json")[1])["lessons"][7]["teacher"]


def test_a_person_at_a_terminal_gets_a_hint_and_a_second_try():
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "espsim", "lesson", "2", "--json"], stdin=theirs,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        os.close(theirs)
        assert process.stderr is not None
        said = b""
        for answer in (b"no\n", b"yes\n", b"REPLAY_DUPLICATE\n", b"13\n", b"\x04"):
            asked = said.count(b"your answer: ")
            while said.count(b"your answer: ") == asked:
                assert select.select([process.stderr], [], [], 60)[0]
                piece = os.read(process.stderr.fileno(), 4096)
                assert piece, said
                said += piece
            os.write(ours, answer)
        out, rest = process.communicate(timeout=60)
    os.close(ours)
    assert (process.returncode, out) == (2, b"")
    assert b"not yet; a hint: it is in the window" in said
    assert rest.endswith(b"espsim: -: ends before the answer to question 4 (one answer a line; an empty line: none)\n")
