"""decap and encap as a user runs them, on captures that we did not make, and on bad input."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from tests.command import espsim_text as espsim
from tests.support import CAPTURES, ethernet_frames, read_raw_capture, write_raw_capture

MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())
LINUX = [c for c in MANIFEST["captures"] if "ip_xfrm_state" in c["sas"][0]]
GCM = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 64 aead rfc4106(gcm(aes)) {key} 128\n"
KEY = "0x" + "5a" * 20


def sad_file(tmp_path, capture, key="ip_xfrm_state_receiver"):
    path = tmp_path / "sad.txt"
    path.write_text("# made by a test\n" + "".join(sa[key] + "\n" for sa in capture["sas"]))
    return path


@pytest.mark.parametrize("capture", LINUX, ids=lambda c: c["name"])
@pytest.mark.parametrize("flags", [(), ("--keep-window",)], ids=["empty", "kept"])
def test_decap_of_linux_captures(tmp_path, capture, flags):
    out, verdicts = tmp_path / "out.pcap", tmp_path / "verdicts.jsonl"
    sad = sad_file(tmp_path, capture)
    args = ["decap", str(CAPTURES / capture["file"]), "-o", str(out), "--sad", str(sad), "--verdicts", str(verdicts)]
    result = CliRunner().invoke(main, [*args, "--json", *flags], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    n = len(capture["packets"])
    assert (report["packets"], report["delivered"], report["verdicts"]) == (n, n, {"DELIVERED": n})
    assert report["ignored"] == capture["frames"] - n
    assert report["linux_counters"] == {}
    assert "device" not in report
    assert [p.hex() for _, p in read_raw_capture(out)] == [p["inner_hex"] for p in capture["packets"]]
    lines = [json.loads(line) for line in verdicts.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(1, capture["frames"] + 1))
    assert [(line["spi"], line["seq64"]) for line in lines if line["verdict"] != "ignored"] == [
        (p["spi"], p["seq_hi"] << 32 | p["seq"]) for p in capture["packets"]
    ]


def test_decap_keeps_times(tmp_path):
    capture = LINUX[0]
    out = tmp_path / "out.pcap"
    args = ["decap", str(CAPTURES / capture["file"]), "-o", str(out), "--sad", str(sad_file(tmp_path, capture))]
    assert CliRunner().invoke(main, args).exit_code == 0
    data = (CAPTURES / capture["file"]).read_bytes()
    magic = struct.unpack_from("<I", data)[0]
    unit = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}[magic]
    first = struct.unpack_from("<II", data, 24)
    assert read_raw_capture(out)[0][0] == first[0] * 10**9 + first[1] * unit


@pytest.mark.parametrize("capture", LINUX, ids=lambda c: c["name"])
def test_encap_then_decap_gives_the_clear_packets_back(tmp_path, capture):
    """Clear packets of each direction, sealed under that direction's SA, come out as they were."""
    for sa in capture["sas"]:
        clear = [bytes.fromhex(p["inner_hex"]) for p in capture["packets"] if p["spi"] == sa["spi"]]
        clear_path, esp_path, back_path = tmp_path / "clear.pcap", tmp_path / "esp.pcap", tmp_path / "back.pcap"
        write_raw_capture(clear_path, clear)
        sad = tmp_path / "sad.txt"
        sad.write_text(sa["ip_xfrm_state"] + "\n")
        args = ["encap", str(clear_path), "-o", str(esp_path), "--sad", str(sad), "--json"]
        result = CliRunner().invoke(main, args, catch_exceptions=False)
        assert result.exit_code == 0
        report = json.loads(result.stdout)
        assert (report["packets"], report["sealed"], report["no_sa"]) == (len(clear), len(clear), 0)
        assert report["by_sa"][0]["spi"] == sa["spi"]
        sealed = [p for _, p in read_raw_capture(esp_path)]
        assert len(set(sealed)) == len(clear)
        args = ["decap", str(esp_path), "-o", str(back_path), "--sad", str(sad)]
        assert CliRunner().invoke(main, args, catch_exceptions=False).exit_code == 0
        assert [p for _, p in read_raw_capture(back_path)] == clear


def test_a_model_beside_the_software_lookup(tmp_path):
    capture = next(c for c in LINUX if c["name"] == "gcm128-icv64-tun44")
    sad = sad_file(tmp_path, capture)
    args = ["decap", CAPTURES / capture["file"], "-o", tmp_path / "out.pcap", "--sad", sad, "--json"]
    code, stdout, stderr = espsim(*args, "--model", "marvell-cn10k-dpdk")
    assert code == 0
    report = json.loads(stdout)
    # A window of 32 is not the device's: both SAs are refused, and the wildcard rule steers their packets there.
    assert report["model"] == "marvell-cn10k-dpdk"
    assert sum(report["device"].values()) == report["packets"] == len(capture["packets"])
    assert stderr.count("the device answers EINVAL") == 2


def bad_sad(text):
    return lambda tmp_path: ("sad.txt", text.encode())


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GCM.format(key="0x" + "5a" * 19 + "5"), 1, "odd"),
        (GCM.format(key="0x" + "5a" * 19), 1, "takes a key of 128 or 192 or 256 bits"),
        (GCM.format(key=KEY).replace(" 128\n", "\n"), 1, "ICV"),
        (GCM.format(key=KEY) + "\n" + GCM.format(key="0x" + "5b" * 20), 3, "line 1"),
        (GCM.format(key=KEY).replace("mode tunnel", "mood tunnel"), 1, "mood"),
        ("", None, "no SA"),
    ],
    ids=["odd-hex", "short-key", "no-icv", "two-keys", "word", "empty"],
)
def test_a_bad_sad_is_one_line_with_its_place(tmp_path, text, line, words):
    sad = tmp_path / "sad.txt"
    sad.write_text(text)
    out = tmp_path / "out.pcap"
    code, stdout, stderr = espsim("decap", CAPTURES / LINUX[0]["file"], "-o", out, "--sad", sad)
    assert code == 2
    assert stdout == ""
    assert len(stderr.splitlines()) == 1
    assert f"{sad}:{line}:" in stderr if line else str(sad) in stderr
    assert words in stderr
    assert "5a5a" not in stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# a comment\n" + GCM.format(key=KEY).replace("gcm(aes)", "gcm(rot13)"), 2, "gcm(rot13)"),
        (GCM.format(key=KEY).replace("mode tunnel", "mode ro"), 1, "mode ro"),
        (GCM.format(key="[redacted]"), 1, "its key is hidden"),
    ],
    ids=["algorithm", "mode", "hidden"],
)
def test_an_sa_that_is_not_understood_is_one_sa_and_not_the_end(tmp_path, text, line, words):
    """It is named with its line, and the SA beside it is used."""
    sad, out = tmp_path / "sad.txt", tmp_path / "out.pcap"
    sad.write_text(text + GCM.format(key=KEY).replace("0x1001", "0x1002"))
    code, stdout, stderr = espsim("decap", CAPTURES / LINUX[0]["file"], "-o", out, "--sad", sad, "--json")
    assert code == 0
    assert json.loads(stdout)["verdicts"]
    assert any(f"line {line}: " in said and words in said for said in stderr.splitlines()), stderr
    assert "0x00001002" not in stderr.replace("replay window 0", "")
    assert "5a5a" not in stderr


@pytest.mark.parametrize(
    "content", [b"", b"\xd4\xc3\xb2\xa1", b"\0" * 100, b"not a capture at all", bytes(range(256)) * 40]
)
def test_a_bad_capture_is_one_line_and_no_output(tmp_path, content):
    bad, out = tmp_path / "bad.pcap", tmp_path / "out.pcap"
    bad.write_bytes(content)
    sad = sad_file(tmp_path, LINUX[0])
    code, stdout, stderr = espsim("decap", bad, "-o", out, "--sad", sad, "--json")
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert str(bad) in stderr
    assert list(tmp_path.iterdir()) in ([bad, sad], [sad, bad])


def test_a_capture_cut_in_the_middle_keeps_what_was_whole(tmp_path):
    capture = LINUX[0]
    data = (CAPTURES / capture["file"]).read_bytes()
    frames = ethernet_frames(CAPTURES / capture["file"])
    keep = 24 + sum(16 + 14 + len(f) for f in frames[:5]) + 20
    cut, out, verdicts = tmp_path / "cut.pcap", tmp_path / "out.pcap", tmp_path / "v.jsonl"
    cut.write_bytes(data[:keep])
    sad = sad_file(tmp_path, capture)
    code, stdout, stderr = espsim("decap", cut, "-o", out, "--sad", sad, "--json", "--verdicts", verdicts)
    assert code == 2
    assert "frame 6" in stderr
    assert json.loads(stdout)["delivered"] == 5
    assert [p.hex() for _, p in read_raw_capture(out)] == [p["inner_hex"] for p in capture["packets"][:5]]
    assert len(verdicts.read_text().splitlines()) == 5


@pytest.mark.parametrize("target", ["missing/out.pcap", ""])
def test_an_unwritable_output(tmp_path, target):
    sad = sad_file(tmp_path, LINUX[0])
    code, stdout, stderr = espsim("decap", CAPTURES / LINUX[0]["file"], "-o", tmp_path / target, "--sad", sad)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [sad]


def test_a_failed_run_leaves_an_older_output_as_it_was(tmp_path):
    out = tmp_path / "out.pcap"
    out.write_bytes(b"older")
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"garbage garbage garbage garbage")
    assert espsim("decap", bad, "-o", out, "--sad", sad_file(tmp_path, LINUX[0]))[0] == 2
    assert out.read_bytes() == b"older"


def test_window_0_is_said_loudly(tmp_path):
    sad = tmp_path / "sad.txt"
    sad.write_text(GCM.format(key=KEY).replace("replay-window 64", "replay-window 0"))
    code, _, stderr = espsim("decap", CAPTURES / LINUX[0]["file"], "-o", tmp_path / "o.pcap", "--sad", sad)
    assert code == 0
    assert "replays are NOT refused" in stderr


def test_help_is_fast_and_imports_no_numba():
    start = time.perf_counter()
    code = "import sys; sys.argv=['espsim','--help']\nfrom espsim.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "assert not {'numba', 'numpy', 'pydantic', 'cryptography', 'rich'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "decap" in done.stdout
    assert time.perf_counter() - start < 30  # a hang, not a speed


@pytest.mark.parametrize("command", ["demo", "run", "decap", "encap", "models"])
def test_every_command_has_help(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output or command == "models"
