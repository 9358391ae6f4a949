"""`espsim xfrm` as a command: exit statuses, JSON, the saved state, and input that is not a batch."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests import command
from tests.command import Ended

ALLOC = "xfrm state allocspi src 10.0.0.1 dst 10.0.0.2 proto esp min 7 max 7\n"
OTHER = ALLOC.replace("10.0.0.2", "10.0.0.3")


def espsim(*words: str, text: str | bytes = "") -> Ended:
    return command.espsim("xfrm", *words, input=text.encode() if isinstance(text, str) else text)


def test_a_batch_from_a_file_or_standard_input(tmp_path: Path):
    path = tmp_path / "batch"
    path.write_text(ALLOC + "ip xfrm state count\n")
    for run in (espsim(str(path)), espsim("-batch", "-", text=path.read_text())):
        assert (run.returncode, run.stderr) == (0, b"")
        assert run.stdout.startswith(b"src 10.0.0.1 dst 10.0.0.2\n\tproto esp spi 0x00000007 ")
        assert run.stdout.endswith(b"\t SAD count 1\n")


def test_a_failing_line_ends_the_batch(tmp_path: Path):
    path = tmp_path / "batch"
    path.write_text("# first\n" + ALLOC + OTHER + "xfrm state count\n")
    run = espsim(str(path))
    assert run.returncode == 2
    assert b"count" not in run.stdout
    assert run.stderr.decode() == f"Error: No SPI available in the requested range.\nCommand failed {path}:3\n"
    forced = espsim("-force", "-batch", str(path))
    assert (forced.returncode, forced.stderr) == (2, run.stderr)
    assert forced.stdout.endswith(b"\t SAD count 2\n")


def test_the_policy_decides():
    for policy, status in (("rfc2401", 0), ("linux-6.1", 0), ("rfc4301", 2), ("freebsd", 2), ("openbsd", 2)):
        assert espsim("--policy", policy, "-", text=ALLOC + OTHER).returncode == status, policy


def test_json_is_one_object_a_line():
    run = espsim("--json", "-force", "-", text=ALLOC + OTHER + "xfrm state get foo\n")
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(r["line"], r["errno"], r["result"]) for r in rows] == [
        (1, 0, "OK"),
        (2, 2, "ENOENT"),
        (3, None, "REFUSED"),
    ]
    assert rows[0]["command"] == ALLOC.strip()
    assert rows[1]["extack"] == "No SPI available in the requested range"
    assert rows[0]["stdout"].startswith("src 10.0.0.1")
    assert rows[2]["stderr"] == 'Error: argument "XFRM-PROTO" is required\n'


def test_a_seed_repeats_its_draws():
    draw = ALLOC.replace(" min 7 max 7", "")
    same = [espsim("--seed", "5", "-", text=draw).stdout for _ in range(2)]
    assert same[0] == same[1] != espsim("--seed", "6", "-", text=draw).stdout


def test_requests_are_answered_line_by_line():
    run = espsim("--requests", "-", text="ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=7 max=7\nDUMP\n")
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0
    assert [a["errno"] for a in answers] == [0, 0]
    assert answers[1]["count"] == 1


class TestState:
    def test_goes_on_where_it_was(self, tmp_path: Path):
        state = str(tmp_path / "state")
        draw = ALLOC.replace(" min 7 max 7", " reqid 1")
        both = espsim("--seed", "9", "-", text=draw + "sleep 29\n" + draw.replace("reqid 1", "reqid 2"))
        first = espsim("--seed", "9", "--state", state, "-", text=draw + "sleep 29\n")
        second = espsim("--state", state, "-", text=draw.replace("reqid 1", "reqid 2"))
        assert first.stdout + second.stdout == both.stdout
        assert espsim("--state", state, "-", text="sleep 2\nxfrm state count\n").stdout == b"\t SAD count 1\n"

    def test_is_readable_by_its_owner_alone(self, tmp_path: Path):
        state = tmp_path / "state"
        assert espsim("--state", str(state), "-", text=ALLOC).returncode == 0
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert [p.name for p in tmp_path.iterdir()] == ["state"]

    @pytest.mark.parametrize(
        "bad",
        ["xfrm state frobnicate", OTHER, "xfrm state get src 1.1.1.1 dst ::1 proto esp spi 1", "xfrm \0", "é" * 70_000],
    )
    def test_stays_as_it_was_where_a_line_fails(self, tmp_path: Path, bad: str):
        state = tmp_path / "state"
        espsim("--state", str(state), "-", text=ALLOC)
        before = state.read_bytes()
        run = espsim("--state", str(state), "-", text="xfrm state flush\n" + ALLOC + bad)
        assert run.returncode == 2
        assert b":3" in run.stderr
        assert state.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["state"]

    def test_force_saves_what_was_done(self, tmp_path: Path):
        state = str(tmp_path / "state")
        assert espsim("--state", state, "-force", "-", text=ALLOC + "xfrm foo\n").returncode == 2
        assert espsim("--state", state, "-", text="xfrm state count\n").stdout == b"\t SAD count 1\n"

    @pytest.mark.parametrize("damage", ["cut", "empty", "changed", "junk", "longer"])
    def test_a_damaged_file_is_refused_and_left(self, tmp_path: Path, damage: str):
        state = tmp_path / "state"
        espsim("--state", str(state), "-", text=ALLOC)
        whole = state.read_bytes()
        broken = {
            "cut": whole[: len(whole) // 2], "empty": b"", "changed": whole.replace(b'"now": 0.0', b'"now": 1.0'),
            "junk": bytes(range(256)) * 9, "longer": whole + b"x",
        }[damage]  # fmt: skip
        assert broken != whole
        state.write_bytes(broken)
        run = espsim("--state", str(state), "-", text="xfrm state count\n")
        assert (run.returncode, run.stdout) == (2, b"")
        assert run.stderr.decode().startswith(f"espsim: {state}")
        assert run.stderr.count(b"\n") == 1
        assert state.read_bytes() == broken

    def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(self, tmp_path: Path):
        run = espsim("--state", str(tmp_path / "no" / "where"), "-", text=ALLOC)
        assert (run.returncode, run.stdout) == (2, b"")

    def test_another_policy_takes_it_over(self, tmp_path: Path):
        state = str(tmp_path / "state")
        espsim("--state", state, "-", text=ALLOC)
        assert espsim("--state", state, "-", text=OTHER).returncode == 2
        assert espsim("--state", state, "--policy", "rfc2401", "-", text=OTHER).returncode == 0
        assert espsim("--state", state, "-", text=OTHER.replace("0.3", "0.4")).returncode == 0, "the policy is kept"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nonexistent"], "/nonexistent: cannot be read"), (["/"], "/: cannot be read: Is a directory"),
        (["--policy", "foo", "-"], "no policy 'foo'"), (["--option", "foo", "-"], "no option 'foo'"),
        (["--requests", "-batch", "-"], "-batch and --requests"), (["--live", "--requests", "-"], "--live runs"),
        (["--requests", "-"], "-:1: unknown request"),
    ],
)  # fmt: skip
def test_bad_use_is_one_line(words: list[str], said: str):
    run = espsim(*words, text="FOO\n")
    assert run.returncode == 2
    assert said in run.stderr.decode()
    assert run.stderr.count(b"\n") == 1
    assert run.stdout == b""
