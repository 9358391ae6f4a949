"""Every command keeps its outputs away from its inputs, and reads and writes `-`."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
import threading

import pytest

from espsim.offload.model import shipped_folder
from tests.command import espsim
from tests.support import CAPTURES, Peer, gcm_sa, ipv4, write_raw_capture

SAD = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{} 128\n"
KEY = "07" * 20


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a capture of ESP, one of clear packets, a SAD, a model, a batch and a scenario."""
    monkeypatch.chdir(tmp_path)
    peer = Peer(gcm_sa())
    write_raw_capture(tmp_path / "esp.pcap", [peer.packet(n, ipv4(bytes([n]) * 20)) for n in range(1, 9)])
    write_raw_capture(tmp_path / "clear.pcap", [ipv4(bytes([n]) * 20) for n in range(1, 9)])
    (tmp_path / "sad").write_text(SAD.format(KEY))
    (tmp_path / "model.toml").write_bytes((shipped_folder() / "intel-82599-linux.toml").read_bytes())
    (tmp_path / "batch").write_text("xfrm state list\n")
    (tmp_path / "scenario.toml").write_bytes(
        (shipped_folder().parent / "espsim/scenario/builtin/duplicate-spi.toml").read_bytes()
    )
    os.symlink("sad", "link")
    os.link("sad", "hard")
    return tmp_path


def inside(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


DECAP = ["decap", "esp.pcap", "--sad", "sad", "--reference"]
ENCAP = ["encap", "clear.pcap", "--sad", "sad", "--reference"]


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        ([*DECAP, "-o", "esp.pcap"], "-o", "IN"),
        ([*DECAP, "-o", "sad"], "-o", "--sad"),
        ([*DECAP, "-o", "link"], "-o", "--sad"),
        ([*DECAP, "-o", "out", "--verdicts", "hard"], "--verdicts", "--sad"),
        ([*DECAP, "-o", "out", "--verdicts", "./out"], "--verdicts", "-o"),
        ([*DECAP, "-o", "model.toml", "--model", "./model.toml"], "-o", "--model"),
        ([*DECAP, "-o", "-", "--verdicts", "-"], "-o", "--verdicts"),
        (["decap", "-", "-o", "out", "--sad", "-"], "IN", "--sad"),
        ([*ENCAP, "-o", "clear.pcap"], "-o", "IN"),
        ([*ENCAP, "-o", "out", "--esp-sa", "sad"], "--esp-sa", "--sad"),
        ([*ENCAP, "-o", "out", "--esp-sa", "out"], "--esp-sa", "-o"),
        (["audit", "sad", "--model", "intel-82599-linux", "--html", "link"], "--html", "DUMP"),
        (["audit", "sad", "--model", "model.toml", "--html", "model.toml"], "--html", "--model"),
        (["audit", "-", "--model", "-"], "DUMP", "--model"),
        (["xfrm", "batch", "--state", "batch"], "--state", "FILE"),
        (["run", "./scenario.toml", "--pcap", "scenario.toml"], "--pcap", "SCENARIO"),
        (["run", "scenario.toml", "--model", "model.toml", "--pcap", "model.toml"], "--pcap", "--model"),
        (["run", "-", "--model", "-"], "SCENARIO", "--model"),
        (["models", "check", "-", "-"], "FILE", "FILE"),
        (["models", "compare", "-", "-"], "FILE", "FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_is_touched_where_two_places_are_one(here, words, first, second):
    before = inside(here)
    status, stdout, stderr = espsim(*words)
    assert (status, stdout) == (2, b"")
    (line,) = stderr.decode().splitlines()
    assert first in line
    assert second in line
    assert "only one can" in line or "name the same file" in line
    assert inside(here) == before


def test_a_shipped_model_is_an_input_too(here):
    """Also one that is only extended, and one that is named by its id."""
    folder = here / "hwmodels"
    folder.mkdir()
    for name in ("marvell-cn10k-dpdk", "marvell-cn10k-dpdk-alg1"):
        (folder / f"{name}.toml").write_bytes((shipped_folder() / f"{name}.toml").read_bytes())
    model, base = "hwmodels/marvell-cn10k-dpdk-alg1.toml", folder / "marvell-cn10k-dpdk.toml"
    assert 'extends = "marvell-cn10k-dpdk"' in (here / model).read_text()
    for words in ([*DECAP, "-o", base], ["audit", "sad", "--html", base]):
        status, _, stderr = espsim(*words, "--model", model)
        assert status == 2
        assert b"and --model name the same file" in stderr
    shipped = shipped_folder() / "intel-82599-linux.toml"
    text = shipped.read_bytes()
    status, _, stderr = espsim("audit", "sad", "--html", shipped, "--model", "intel-82599-linux")
    assert (status, shipped.read_bytes()) == (2, text)
    assert b"--html and --model name the same file" in stderr


def test_standard_output_has_the_output_and_standard_error_the_report(here):
    plain = espsim(*DECAP, "-o", "out", "--verdicts", "lines")
    assert plain.returncode == 0
    for words, whole in (
        ([*DECAP, "-o", "-"], "out"), ([*DECAP, "-o", "/dev/null", "--verdicts", "-"], "lines"),
    ):  # fmt: skip
        ended = espsim(*words)
        assert ended.returncode == 0
        assert ended.stdout == (here / whole).read_bytes()
        assert ended.stderr == plain.stderr + plain.stdout
    ended = espsim(*DECAP, "-o", "-", "--json")
    assert json.loads(ended.stderr)["delivered"] == 8
    ended = espsim(*ENCAP, "-o", "out", "--esp-sa", "-")
    assert ended.stdout.startswith(b"# Wireshark")
    assert KEY.encode() in ended.stdout
    assert KEY.encode() not in ended.stderr
    ended = espsim("audit", "sad", "--model", "intel-82599-linux", "--html", "-", "--json")
    assert ended.stdout.lower().startswith(b"<!doctype html>")
    assert json.loads(ended.stderr)["sas"] == 1
    ended = espsim("run", "duplicate-spi", "--pcap", "-", "--json")
    assert struct.unpack_from("<I", ended.stdout) == (0xA1B23C4D,)
    assert json.loads(ended.stderr)["ok"] is True


@pytest.mark.parametrize("way", [["--reference"], []], ids=["reference", "batch"])
def test_standard_input_is_a_capture(here, way):
    for command, name in (("decap", "esp.pcap"), ("encap", "clear.pcap")):
        words = ["--sad", "sad", *way, "--json"]
        from_file = espsim(command, name, "-o", "a", *words)
        from_pipe = espsim(command, "-", "-o", "b", *words, input=(here / name).read_bytes())
        assert from_pipe == from_file
        assert from_file.returncode == 0
        if command == "decap":
            assert (here / "a").read_bytes() == (here / "b").read_bytes()


def test_standard_input_is_a_model_or_a_scenario_or_a_batch(here):
    model = (here / "model.toml").read_bytes()
    shown, named = espsim("models", "show", "-", input=model), espsim("models", "show", "./model.toml")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == len(named.stdout.splitlines())
    assert espsim("models", "check", "-", input=model).stdout.startswith(b"-: ok, intel-82599-linux, ")
    assert espsim("models", "check", "-", input=model + b"x").stderr.startswith(b"espsim: -:")
    for words in ([*DECAP, "-o", "out"], ["audit", "sad"]):
        assert espsim(*words, "--model", "-", input=model).stdout == espsim(*words, "--model", "./model.toml").stdout
    scenario = (here / "scenario.toml").read_bytes()
    assert espsim("run", "-", "--json", input=scenario).returncode == 0
    assert espsim("run", "-", input=b"question = 1\n").stderr.startswith(b"espsim: -")
    assert espsim("xfrm", "-", "--state", "state", input=b"xfrm state list\n").returncode == 0
    assert stat.S_IMODE((here / "state").stat().st_mode) == 0o600


def test_a_saved_state_is_a_file(here):
    status, _, stderr = espsim("xfrm", "batch", "--state", "-")
    assert (status, stderr) == (2, b"espsim: -: --state is read and written: name a file\n")


def test_keys_go_into_files_that_only_their_owner_reads(here):
    for name in ("rows", "state"):
        (here / name).touch(0o644)
    os.unlink("state")
    (here / "state").write_bytes(b"")
    os.unlink("state")
    assert espsim(*ENCAP, "-o", "out", "--esp-sa", "rows").returncode == 0
    assert espsim("xfrm", "batch", "--state", "state").returncode == 0
    (here / "state").chmod(0o664)
    assert espsim("xfrm", "batch", "--state", "state").returncode == 0
    assert [stat.S_IMODE((here / name).stat().st_mode) for name in ("rows", "state")] == [0o600, 0o600]


def pcapng(packets):
    """A section, a raw-IP interface with a clock of nanoseconds, an unknown block, enhanced packet blocks."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = len(body) + 12
        return struct.pack("<II", kind, size) + body + struct.pack("<I", size)

    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack("<HHIHHB3xHH", 101, 0, 0, 9, 1, 9, 0, 0)) + block(0xBAD, b"unknown")
    for n, packet in enumerate(packets):
        data += block(6, struct.pack("<IIIII", 0, 0, n, len(packet), len(packet)) + packet)
    return data


CHILD = "from espsim.cli.start import run; run()"
FEEDER = """
import random, sys
data, rng, at = open(sys.argv[1], "rb").read(), random.Random(1), 0
with open(sys.argv[2], "wb", buffering=0) as pipe:
    while at < len(data):
        at += pipe.write(data[at : at + rng.choice([1, 3, 16, 17, 400, 3000])])
"""


def in_a_file(path, form):
    """Fifty-nine packets of all lengths for the SA of `here`."""
    peer = Peer(gcm_sa())
    packets = [peer.packet(n, ipv4(bytes([n]) * (n * 37 % 1200))) for n in range(1, 60)]
    if form == "pcap":
        write_raw_capture(path, packets)
    else:
        path.write_bytes(pcapng(packets))
    return path.read_bytes()


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_capture_through_real_pipes(here, form):
    """`cat in | espsim decap - -o - | cat`, cut anywhere: the same packets as from the file."""
    in_a_file(here / "in", form)
    assert espsim("decap", "in", "-o", "out", "--sad", "sad", "--reference").returncode == 0
    feeder = subprocess.Popen([sys.executable, "-c", FEEDER, "in", "/dev/stdout"], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "decap", "-", "-o", "-", "--sad", "sad", "--reference"],
        stdin=feeder.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert feeder.stdout is not None
    feeder.stdout.close()  # the command alone reads it
    stdout, stderr = process.communicate(timeout=120)
    assert feeder.wait() == 0
    assert process.returncode == 0, stderr
    assert packets_of(stdout) == packets_of((here / "out").read_bytes())
    assert len(packets_of(stdout)) == 59


@pytest.mark.parametrize("way", [["--reference"], [], ["--workers", "2"]], ids=["reference", "batch", "workers"])
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_capture_in_odd_pieces(here, form, way):
    """The feeder is a process: workers are forked from this one, and would keep its end of the pipe open."""
    in_a_file(here / "in", form)
    assert espsim("decap", "in", "-o", "out", "--sad", "sad", "--reference").returncode == 0
    os.mkfifo("pipe")
    feeder = subprocess.Popen([sys.executable, "-c", FEEDER, "in", "pipe"])
    ended = espsim("decap", "pipe", "-o", "again", "--sad", "sad", *way)
    assert feeder.wait() == 0
    assert ended.returncode == 0, ended.stderr
    assert packets_of((here / "again").read_bytes()) == packets_of((here / "out").read_bytes())


def packets_of(data):
    """(time in nanoseconds, packet) of a classic little-endian capture, read without our reader."""
    unit = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}[struct.unpack_from("<I", data)[0]]
    found, at = [], 24
    while at < len(data):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", data, at)
        found.append((seconds * 10**9 + fraction * unit, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def test_an_output_that_no_one_reads_any_more_ends_the_run_as_sigpipe_does(here):
    os.mkfifo("pipe")
    reader = threading.Thread(target=lambda: (here / "pipe").open("rb").close())
    reader.start()
    write_raw_capture(here / "long.pcap", [ipv4(bytes(1400))] * 200)
    ended = espsim("encap", "long.pcap", "-o", "pipe", "--sad", "sad", "--reference")
    reader.join()
    assert (ended.returncode, ended.stdout, ended.stderr) == (141, b"", b"")


def test_a_capture_is_cut_in_a_pipe(here):
    data = (here / "esp.pcap").read_bytes()
    for way in (["--reference"], []):
        ended = espsim("decap", "-", "-o", "out", "--sad", "sad", "--json", *way, input=data[:-5])
        assert ended.returncode == 2
        assert b"espsim: -: frame 8: capture is cut at byte" in ended.stderr
        assert json.loads(ended.stdout)["delivered"] == 7


MIDDLE = """
import os
from espsim.io.batches import open_batches
from espsim.io.slots import FrameSlot
from espsim.io.capture import open_capture
os.lseek(0, 1000, os.SEEK_SET)
with open_capture("-") as reader: print(len(list(reader)), reader.nanosecond)
os.lseek(0, 1000, os.SEEK_SET)
with open_batches("-") as reader: print(reader.read_into(FrameSlot.of()), reader.nanosecond)
"""


def test_standard_input_from_the_middle_of_a_file(here):
    """A pcapng that was looked through ahead is read from where it began."""
    (here / "in").write_bytes(b"x" * 1000 + pcapng([ipv4(b"hi")] * 8))
    with (here / "in").open("rb") as file:
        done = subprocess.run([sys.executable, "-c", MIDDLE], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout == "8 True\n8 True\n"


def test_the_captures_that_we_ship_go_through_a_pipe(here):
    for path in sorted(CAPTURES.glob("*.pcap*"))[:6]:
        words = ["--sad", "sad", "--reference", "--json"]
        from_file = espsim("decap", path, "-o", "a", *words)
        assert espsim("decap", "-", "-o", "b", *words, input=path.read_bytes()) == from_file
