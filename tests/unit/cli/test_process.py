"""The process at its edges: standard streams that are full or closed, a reader that goes, signals at known moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espsim.io.pcap import file_header
from espsim.xfrm.live import unavailable
from tests.command import reaped
from tests.unit.cli.test_decap_ways import children, frames, opened, sad_file

ESPSIM = [sys.executable, "-m", "espsim"]
FULL, CLOSED = (
    "standard output: cannot be written: No space left on device",
    "standard output: cannot be written: it is closed",
)


def shell(line, *words):
    """A shell line with `espsim` in it: (status, standard output, standard error)."""
    done = subprocess.run(
        ["bash", "-c", f'espsim() {{ {sys.executable} -m espsim "$@"; }}\n{line}', "bash", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_python_takes_itself_down_changes_no_status(number):
    code = f"""
import os, sys
from espsim.cli import start
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {int(number)})
last = Last()
sys.argv = ["espsim", "--version"]
start.run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "espsim" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_numpy_starts_no_threads():
    """Each would wait busily, and workers are forked from a process with one thread."""
    code = """
import os, sys
from espsim.cli import start
sys.argv = ["espsim", "engines", "--json"]
try:
    start.run()
finally:
    print("numpy" in sys.modules, len(os.listdir("/proc/self/task")), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "True 1\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [("espsim --help >/dev/full", FULL), ("espsim models --json >&-", CLOSED), ("espsim --version >&-", CLOSED)],
)
def test_standard_output_full_or_closed_is_one_line(line, said):
    assert shell(line) == (2, "", f"espsim: {said}\n")


@pytest.mark.long
@pytest.mark.parametrize("command", ["models", "run --list", "run s02", "decap --help", "demo", "engines"])
def test_standard_output_full_or_closed_of_every_kind_of_command(command):
    assert shell(f"espsim {command} >/dev/full") == (2, "", f"espsim: {FULL}\n")
    assert shell(f"espsim {command} >&-") == (2, "", f"espsim: {CLOSED}\n")


def test_standard_error_full_or_closed_changes_no_status():
    assert shell("espsim run no-such-scenario 2>/dev/full") == (2, "", "")
    assert shell("espsim run no-such-scenario <&- >&- 2>&-") == (2, "", "")


def test_a_reader_that_goes_away_is_left_in_peace():
    status, stdout, stderr = shell("espsim models schema | head -n 1; exit ${PIPESTATUS[0]}")
    assert (stdout, stderr) == ("{\n", "")
    assert status in (0, 141)  # 0: it all went into the pipe


def test_a_closed_standard_input(tmp_path):
    sad = sad_file(tmp_path)
    status, stdout, stderr = shell('espsim decap - -o "$1" --sad "$2" --reference <&-', tmp_path / "out", sad)
    assert (status, stdout) == (2, "")
    assert "-: cannot be read: standard input is closed" in stderr
    assert not (tmp_path / "out").exists()


def test_no_output_gets_the_number_of_a_closed_stream(tmp_path):
    """What is printed must not land in OUT."""
    (tmp_path / "in").write_bytes(file_header(101, False) + frames(9))
    words = tmp_path / "in", tmp_path / "out", sad_file(tmp_path)
    assert shell('espsim decap "$1" -o "$2" --sad "$3" --reference', *words)[0] == 0
    whole = (tmp_path / "out").read_bytes()
    (tmp_path / "out").unlink()
    assert shell('espsim decap "$1" -o "$2" --sad "$3" --reference <&- >&- 2>&-', *words)[0] == 2
    assert (tmp_path / "out").read_bytes() == whole


INT, TERM, HUP = (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)
REFERENCE, WORKERS = ["--reference"], ["--workers", "2"]
ONE: list[str] = []
SOME = [(ONE, HUP, True), (WORKERS, INT, False)]
OTHERS = [
    pytest.param(way, ends, named, marks=pytest.mark.long)
    for way in (REFERENCE, ONE, WORKERS) for ends in (INT, TERM, HUP) for named in (False, True)
    if (way, ends, named) not in SOME
]  # fmt: skip


@pytest.mark.parametrize(("way", "ends", "named"), [*SOME, *OTHERS])
def test_a_signal_in_mid_run(tmp_path, way, ends, named):
    """Nothing is printed and nothing is left: no output, no temporary file (even one with a name), no process."""
    process, pipe, sad = started(tmp_path, way, named)
    with reaped(process), pipe:
        assert bool(list(tmp_path.glob(".espsim-*"))) is named
        others = children(process.pid)
        process.send_signal(ends[0])
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ends[1]
    assert (stdout, stderr) == (b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", sad.name]
    assert not any(Path(f"/proc/{pid}").exists() for pid in others)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_a_signal_to_the_whole_group(tmp_path, number):
    """A worker that gets the signal first is not taken for a lost one."""
    process, pipe, sad = started(tmp_path, ["--workers", "2"], named=False)
    with reaped(process), pipe:
        os.killpg(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (128 + number, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", sad.name]


def test_sigkill_in_mid_run(tmp_path):
    process, pipe, sad = started(tmp_path, WORKERS, named=False)
    with reaped(process), pipe:
        others = children(process.pid)
        process.kill()
        process.communicate(timeout=60)
        while any(Path(f"/proc/{pid}").exists() for pid in others):  # they end a moment after the signal
            time.sleep(0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", sad.name]


NAMED = "from espsim.io import atomic; atomic._LINKS = '/nowhere'; "


def started(tmp_path, way, named):
    """A decap that has read a few frames and waits for more: (process, the pipe that it reads, its SAD)."""
    sad = sad_file(tmp_path)
    os.mkfifo(tmp_path / "in")
    start = [sys.executable, "-c", f"{NAMED if named else ''}from espsim.cli.start import run; run()"]
    process = subprocess.Popen(
        [*start, "decap", tmp_path / "in", "-o", tmp_path / "out", "--verdicts", tmp_path / "v", "--sad", sad, *way],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    pipe = opened(tmp_path / "in", process)
    pipe.write(file_header(101, False) + frames(50))
    latest = time.monotonic() + 60
    while not ready(process, tmp_path, workers="--workers" in way):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < latest, "it never came to its outputs"
        time.sleep(0.01)
    return process, pipe, sad


def ready(process, tmp_path, *, workers):
    """Both outputs are open (and maybe a spool beside them), and the workers there."""
    links = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except OSError:
            continue
    mine = [link for link in links if link.startswith(str(tmp_path)) and not link.endswith("/in")]
    return len(mine) >= 2 and (not workers or len(children(process.pid)) == 2)


@pytest.mark.skipif(unavailable() is not None, reason=f"no batch runs on this kernel: {unavailable()}")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_live_batch_leaves_no_process(tmp_path, number):
    """A monitor of `ip` would wait for ever, and keep the namespace."""
    batch = tmp_path / "batch"
    batch.write_text("xfrm monitor all\n" * 50)
    process = subprocess.Popen([*ESPSIM, "xfrm", "--live", batch], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (monitors := [pid for pid in children(process.pid) if b"monitor" in command_of(pid)]):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    others = children(process.pid)
    assert len(others) > len(monitors)  # what holds the namespace
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (143 if number == signal.SIGTERM else -9, b"", b"")
    while any(Path(f"/proc/{pid}").exists() for pid in others):
        time.sleep(0.01)


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.long
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("seed", range(2))
def test_signals_at_random_moments(tmp_path, seed, group):
    """Twenty runs, each ended at some moment between its start and its end."""
    import random

    rng = random.Random(seed)
    sad = sad_file(tmp_path)
    (tmp_path / "in").write_bytes(file_header(101, False) + frames(200) * 500)
    for _ in range(20):
        way = rng.choice([[], ["--workers", "2"], ["--workers", "3"], ["--reference"]])
        number = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
        words = [tmp_path / "in", "-o", tmp_path / "out", "--verdicts", tmp_path / "v", "--sad", sad, *way]
        process = subprocess.Popen(
            [*ESPSIM, "decap", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        while not heard(process.pid):
            assert process.poll() is None, process.communicate()
        time.sleep(rng.uniform(0, 3))
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode in (0, -9 if number == signal.SIGKILL else 128 + number), (way, number, stderr)
        assert stderr == b"", (way, number)
        left = sorted(path.name for path in tmp_path.iterdir())
        whole, nothing = ["in", "out", sad.name, "v"], ["in", sad.name]
        # A signal that comes after the outputs have their names finds them whole.
        assert left == whole if process.returncode == 0 else left in (whole, nothing), (way, number)
        if left == whole:
            assert (tmp_path / "v").read_bytes().count(b"\n") == 200 * 500
        while processes_with(str(tmp_path)):
            time.sleep(0.01)
        (tmp_path / "out").unlink(missing_ok=True)
        (tmp_path / "v").unlink(missing_ok=True)


def heard(pid):
    """Whether a process has its handlers: ^C is caught."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(text.split("SigCgt:")[1].split()[0], 16)
    return caught >> (signal.SIGTERM - 1) & 1


def processes_with(word):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] if word.encode() in path.read_bytes() else []
        except OSError:
            continue
    return found
