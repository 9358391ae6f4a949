"""The judge: how a program ends, and the first difference of what it delivered, in words."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from espsim.analysis.kit.differ import difference, of_lines
from espsim.analysis.kit.judge import Command, chosen_cases, judge, read_lines
from espsim.core.errors import InputError
from espsim.io.program import run_programs
from tests.command import espsim_text
from tests.kits import kit
from tests.support import read_raw_capture, write_raw_capture

ICV = "icv/gcm"


def case_of(ident: str) -> Any:
    return next(case for case in kit()[1].cases if case.id == ident)


def against(tmp_path: Path, ident: str, change: Any) -> str | None:
    """The difference where `change` was done to the right packets."""
    folder, case = kit()[0], case_of(ident)
    packets = [packet for _time, packet in read_raw_capture(folder / case.out)]
    write_raw_capture(tmp_path / "out", change(packets))
    return difference(str(folder / case.out), str(tmp_path / "out"), read_lines(str(folder / case.verdicts)))


def flipped(packets: list[bytes], n: int, at: int, bit: int = 1) -> list[bytes]:
    changed = bytearray(packets[n])
    changed[at] ^= bit
    return [*packets[:n], bytes(changed), *packets[n + 1 :]]


def test_the_right_packets_have_no_difference(tmp_path):
    assert against(tmp_path, ICV, lambda p: p) is None


@pytest.mark.parametrize(
    ("ident", "change", "said"),
    [
        (
            ICV,
            lambda p: p[:3],
            "frame 7 (SPI 0x00001001, sequence number 4) should be delivered, and {out} ends before it"
            " (3 of 7 packets are there)",
        ),
        (
            ICV,
            lambda p: [p[0], *p[2:]],
            "frame 3 (SPI 0x00001001, sequence number 2) should be delivered, and is not: {out}"
            " goes on with frame 5 (SPI 0x00001001, sequence number 3)",
        ),
        (
            ICV,
            lambda p: [p[1], p[0], *p[2:]],
            "packet 1 of {out} is out of order: what is in frame 3 (SPI 0x00001001,"
            " sequence number 2) comes before what is in frame 1 (SPI 0x00001001, sequence number 1)",
        ),
        (
            ICV,
            lambda p: [*p[:3], p[0], *p[4:]],
            "frame 7 (SPI 0x00001001, sequence number 4) should be delivered, and is"
            " not: {out} has what was in frame 1 (SPI 0x00001001, sequence number 1) a second time there",
        ),
        (ICV, lambda p: [p[0], *p[4:]], "and is not, nor the next 2: {out} goes on with frame 9"),
        (
            ICV,
            lambda p: [p[0], b"\x45" + bytes(30), *p[1:]],
            "packet 2 of {out} is one too many; refused there: frame 2"
            " (SPI 0x00001001, sequence number 2): INTEGRITY, the ICV is wrong",
        ),
        (
            "windows/window-64",
            lambda p: [*p[:2], p[0], *p[2:]],
            "packet 3 of {out} is one too many, what was in frame 1"
            " (SPI 0x00001001, sequence number 1) a second time; refused there: frame 3",
        ),
        (ICV, lambda p: [*p, p[-1]], "packet 8 of {out} is one too many"),
        (
            "dscp/ecn-ipv4-plain",
            lambda p: flipped(p, 13, 1, 2),
            "packet 14 of {out} should be what is in frame 14 (SPI"
            " 0x00001001, sequence number 14): TOS: DSCP and ECN is 0x01, not 0x03 (byte 1 of the IP packet)",
        ),
        ("flow-label/outer-1-inner-0", lambda p: flipped(p, 0, 3), "flow label is 0x01, not 0x00"),
        (ICV, lambda p: flipped(p, 1, 30), "byte 10 after the IP header is"),
        (ICV, lambda p: [p[0] + b"more", *p[1:]], "it has 41 bytes, not 37"),
    ],
)
def test_the_first_difference_in_words(tmp_path, ident, change, said):
    found = against(tmp_path, ident, change)
    assert found is not None
    assert said in found


def test_ethernet_padding_is_no_difference(tmp_path):
    assert against(tmp_path, ICV, lambda p: [one.ljust(46, b"\0") for one in p]) is None
    assert against(tmp_path, ICV, lambda p: [one.ljust(46, b"\1") for one in p]) is not None


@pytest.mark.parametrize(
    ("data", "said"), [(b"no capture", "can't be read"), (b"", "should be delivered, and {out} ends before it")]
)
def test_what_is_no_capture(tmp_path, data, said):
    folder, case = kit()[0], case_of(ICV)
    (tmp_path / "out").write_bytes(data)
    lines = read_lines(str(folder / case.verdicts))
    assert said in str(difference(str(folder / case.out), str(tmp_path / "out"), lines))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [{"frame": r["frame"], "verdict": r["verdict"]} for r in rows], None),
        (lambda rows: rows[::-1], None),
        (lambda rows: [{**r, "sa": "mine"} for r in rows], None),
        (lambda rows: rows[:-1], "has no line of frame 13"),
        (
            lambda rows: [*rows[:1], {**rows[1], "verdict": "TRUNCATED"}, *rows[2:]],
            "verdict of frame 2 (SPI 0x00001001, sequence number 2) is 'TRUNCATED', not 'INTEGRITY'",
        ),
        (lambda rows: [*rows[:1], {**rows[1], "linux_counter": None}, *rows[2:]], "linux_counter of frame 2"),
        (
            lambda rows: [{"frame": 1}, *rows[1:]],
            "the line of frame 1 (SPI 0x00001001, sequence number 1) has no `verdict`",
        ),
        (lambda _rows: [1], "is not one JSON object a line"),
        (lambda _rows: [{"verdict": "X"}], "is not one JSON object a line"),
    ],
)
def test_verdicts_are_compared_where_a_program_has_them(tmp_path, change, said):
    rows = read_lines(str(kit()[0] / case_of(ICV).verdicts))
    (tmp_path / "lines").write_text("".join(f"{json.dumps(row)}\n" for row in change(rows)))
    found = of_lines(rows, str(tmp_path / "lines"))
    assert found is None if said is None else said in str(found)


# -- programs ---------------------------------------------------------------------------------------------------------


def program(tmp_path: Path, text: str) -> str:
    """A Python program, as the words of a command; it gets in, sad and out (and more) as arguments."""
    path = tmp_path / "program.py"
    path.write_text(f"import sys, os, shutil, time\ncapture, sad, out = sys.argv[1:4]\n{text}\n")
    return f"{sys.executable} -S {path} {{in}} {{sad}} {{out}}"


def run(tmp_path: Path, text: str, *options: object) -> tuple[int, dict[str, Any]]:
    folder, _ = kit()
    words = ("kit", "run", folder, "--command", program(tmp_path, text), "--only", "df", "--json", *options)
    status, out, err = espsim_text(*words)
    assert err == ""
    return status, json.loads(out)


def test_who_delivers_what_is_right_passes(tmp_path):
    """The answer is looked up by the capture's bytes, so each case must have got its own files."""
    folder, manifest = kit()
    answers = {
        (folder / case.capture).read_bytes().hex(): str(folder / case.out)
        for case in manifest.cases
        if case.group == "df"
    }
    text = f"answers = {answers!r}\nshutil.copyfile(answers[open(capture, 'rb').read().hex()], out)"
    status, result = run(tmp_path, text, "--jobs", 3)
    assert (status, result["passed"], result["failed"], result["skipped"]) == (0, 4, 0, 0)
    assert result["groups"] == [
        {"id": "df", "title": "Tunnel header DF", "dpdk": True, "passed": 4, "failed": 0, "skipped": 0}
    ]


@pytest.mark.parametrize(
    ("text", "result", "why"),
    [
        ("print('no AES here'); sys.exit(77)", "skip", "no AES here"),
        ("sys.exit(77)", "skip", "the program says that it can't (exit status 77)"),
        ("print('one'); print('\\x1b[31mtwo', file=sys.stderr); sys.exit(3)", "fail", "exit status 3: \x1b[31mtwo"),
        ("os.kill(os.getpid(), 9)", "fail", "ended by signal 9"),
        ("pass", "fail", "the program wrote no {out}"),
        ("os.remove(capture)\nopen(sad, 'w').close()", "fail", "the program wrote no {out}"),
    ],
)
def test_how_a_program_ends(tmp_path, text, result, why):
    status, found = run(tmp_path, text)
    assert {(case["result"], case["why"]) for case in found["cases"]} == {(result, why)}
    assert status == (1 if result == "fail" else 0)


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path):
    started = tmp_path / "child"
    text = f"""
pid = os.fork()
if pid:
    open({str(started)!r} + capture.split('/')[-2], 'w').write(str(pid))
time.sleep(600)"""
    folder, manifest = kit()
    command = Command(program(tmp_path, text))
    found = judge(str(folder), chosen_cases(manifest, ["ttl"]), command, timeout=1.5, at_once=2)
    assert [one.why for one in found] == ["not done after 1.5 seconds, and was killed"] * 2
    for child in tmp_path.glob("child*"):
        stat_of = Path("/proc", child.read_text(), "stat")  # it may be a zombie, until its new parent waits for it
        assert not stat_of.exists() or stat_of.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_program_that_prints_without_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("espsim.io.program._MOST_PRINTED", 1 << 20)
    _status, found = run(tmp_path, "while True: print('x' * 1000)", "--only", "ttl/ttl-ipv4")
    for case in found["cases"]:
        assert case["why"].startswith("it printed more than 1 MiB, and was killed: x")
        assert len(case["why"]) < 300


def test_what_is_printed_is_escaped(tmp_path):
    folder, _ = kit()
    text = "print('\\x1b[31mred'); sys.exit(1)"
    words = ("kit", "run", folder, "--command", program(tmp_path, text), "--only", "ttl/ttl-ipv4", "--width", 100)
    status, out, _err = espsim_text(*words)
    assert status == 1
    assert "\x1b" not in out
    assert "exit status 1: \\x1b[31mred" in " ".join(out.split())
    assert "0 passed, 1 failed, 0 skipped" in out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "is empty"),
        ("prog 'x", "cannot be split"),
        ("true {in} {sad}", "has no {out}"),
        ("true", "has no {in} and no {sad} and no {out}"),
        ("true {in} {sad} {outt}", "{outt} is not a placeholder; did you mean out"),
        ("true {in} {sad} {out} {}", "{} is not a placeholder"),
        ("/no/such/program {in} {sad} {out}", "/no/such/program: there is no program of this name"),
        ("true {in} {sad} {out} {model}", "{model} needs a device: give --device"),
    ],
)
def test_a_command_that_cannot_be_run(command, said):
    status, out, err = espsim_text("kit", "run", kit()[0], "--command", command)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only", "dff"), "--only: the kit has no group or case 'dff'; did you mean df"),
        (("--device", "nvidia"), "--device: the kit has no answers of 'nvidia'"),
        (("--jobs", "0"), "is not a number of programs"),
        (("--timeout", "x"), "is not a number of seconds"),
    ],
)
def test_options_that_name_nothing(options, said):
    status, out, err = espsim_text("kit", "run", kit()[0], "--command", "true {in} {sad} {out}", *options)
    assert (status, out) == (2, "")
    assert said in err


def test_a_program_that_can_not_be_started(tmp_path):
    path = tmp_path / "program"
    path.write_text("no first line")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InputError, match="cannot be run"):
        list(run_programs([[str(path)]], at_once=1, timeout=1))


def test_words_stay_words():
    """No shell: blanks and quotes of a word stay in it, and one that is wanted is a word of its own."""
    found = Command("env 'a b {in}' {sad} {out}").fill({"in": "1", "sad": "2", "out": "$x"})
    assert found == ["env", "a b 1", "2", "$x"]
    found = Command("sh -c 'cat < {in} > {out}; exit 77' {sad}").fill({"in": "i", "sad": "s", "out": "o"})
    assert found == ["sh", "-c", "cat < i > o; exit 77", "s"]


def test_a_device_judges_its_own_cases(tmp_path):
    folder, manifest = kit()
    model = "marvell-cn10k-dpdk"
    answers = {
        (folder / case.capture).read_bytes().hex(): [str(folder / str(d.out)), str(folder / str(d.verdicts))]
        for case in manifest.cases
        for d in case.devices
        if d.model == model and d.unknown is None
    }
    assert answers
    text = f"""
found = {answers!r}[open(capture, 'rb').read().hex()]
assert sys.argv[5] == {model!r}
shutil.copyfile(found[0], out)
shutil.copyfile(found[1], sys.argv[4])"""
    command = program(tmp_path, text) + " {verdicts} {model}"
    words = ("kit", "run", folder, "--command", command, "--device", model, "--only", "duplicates", "--only", "df")
    status, out, _err = espsim_text(*words, "--json")
    result = json.loads(out)
    assert (status, result["passed"], result["skipped"]) == (0, 4, 4)
    skipped = {case["why"] for case in result["cases"] if case["result"] == "skip"}
    assert skipped == {f"the kit has no answer of {model} for this case"}
    status, out, _err = espsim_text(*words[:-4], "--only", "duplicates/duplicate-spi", "--device", "intel-82599-dpdk")
    assert status == 1
