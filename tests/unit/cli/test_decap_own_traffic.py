"""decap of a capture that the host took itself: what it sent and what it received, in one file."""

from __future__ import annotations

import json
import struct

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.io.capture import CaptureWriter
from tests.support import Peer, gcm_sa, ipv4, read_raw_capture, udp

SA = """src {src} dst {dst}
\tproto esp spi 0x{spi:08x} reqid 1 mode tunnel
\treplay-window {window} flag af-unspec
\taead rfc4106(gcm(aes)) 0x{key} 128
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
{dir}"""
HERE, THERE = "192.0.2.1", "192.0.2.2"
THERE_TO_HERE, HERE_TO_THERE = gcm_sa(THERE, HERE, 0x2001, key_byte=2), gcm_sa(HERE, THERE, 0x1001, key_byte=1)
WAYS = {
    "batches": (), "reference": ("--reference",), "workers": ("--workers", "2"), "longest": ("--lookup", "longest"),
}  # fmt: skip
MODEL = ("--model", "intel-82599-linux")


def dump(*, directions):
    out, back = ("\tdir out\n", "\tdir in\n") if directions else ("", "")
    return SA.format(src=HERE, dst=THERE, spi=0x1001, window=0, key="01" * 20, dir=out) + SA.format(
        src=THERE, dst=HERE, spi=0x2001, window=32, key="02" * 20, dir=back
    )


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def inner(n):
    return ipv4(udp(bytes((n,)) * 20))


@pytest.fixture
def folder(tmp_path):
    """Out, in, out (the same number again), in (a duplicate), out (forged), out from elsewhere, out."""
    (tmp_path / "sad").write_text(dump(directions=True))
    (tmp_path / "nodir").write_text(dump(directions=False))
    out, back = Peer(HERE_TO_THERE), Peer(THERE_TO_HERE)
    packets = [
        out.packet(1, inner(0)), back.packet(1, inner(1)), out.packet(1, inner(2)), back.packet(1, inner(3)),
        out.packet(3, inner(4))[:-1] + b"?", out.packet(4, inner(5), src="192.0.2.9"), out.packet(5, inner(6)),
    ]  # fmt: skip
    with CaptureWriter(str(tmp_path / "in")) as writer:
        for n, packet in enumerate(packets):
            writer.write(packet, n * 10**9)
        writer.commit()
    return tmp_path


WANT = ["SENT", "DELIVERED", "SENT", "REPLAY_DUPLICATE", "INTEGRITY", "DIRECTION", "SENT"]


@pytest.mark.parametrize("way", WAYS)
def test_both_directions(folder, way):
    words = ("decap", folder / "in", "--sad", folder / "sad", "-o", folder / "out", "--verdicts", folder / "lines")
    result = run(*words, "--json", *WAYS[way])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    assert [line["verdict"] for line in lines] == WANT
    counters = [None] * 3 + ["XfrmInStateSeqError", None, "XfrmInStateDirError", None]
    assert [line["linux_counter"] for line in lines] == counters
    assert not any("device" in line for line in lines)
    assert (said["packets"], said["delivered"], said["sent"]) == (7, 1, 3)
    assert said["linux_counters"] == {"XfrmInStateDirError": 1, "XfrmInStateSeqError": 1}
    assert {sa["spi"]: (sa["delivered"], sa.get("sent"), sa["dropped"]) for sa in said["by_sa"]} == {
        0x1001: (0, 3, {"DIRECTION": 1, "INTEGRITY": 1}), 0x2001: (1, None, {"REPLAY_DUPLICATE": 1}),
    }  # fmt: skip
    assert read_raw_capture(folder / "out") == [(n * 10**9, inner(n)) for n in (0, 1, 2, 6)]


@pytest.mark.parametrize("way", [(), ("--reference",)])
def test_a_device_says_nothing_of_it(folder, way):
    words = ("decap", folder / "in", "--sad", folder / "sad", "--verdicts", folder / "lines", "--json", *MODEL, *way)
    result = run(*words)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    assert [line["verdict"] for line in lines] == WANT
    own = [verdict in ("SENT", "INTEGRITY") for verdict in WANT]
    assert [line["device"] is None for line in lines] == own
    assert (said["sent"], sum(said["device"].values())) == (3, 3)


def test_the_summary(folder):
    shown = run("decap", folder / "in", "--sad", folder / "sad").stdout
    assert "7 ESP packets, 1 delivered, 3 sent by this host; 0 frames ignored (not ESP)" in shown
    assert "SENT" in shown
    rows = {line.split()[0]: line.split()[1:3] for line in shown.splitlines() if line.startswith("0x")}
    assert rows["0x00001001@192.0.2.2"] == ["0", "3"]
    assert rows["0x00002001@192.0.2.1"] == ["1", "0"]


def test_without_directions_nothing_changes(folder):
    said = json.loads(run("decap", folder / "in", "--sad", folder / "nodir", "--json").stdout)
    assert said["sent"] == 0
    assert said["verdicts"] == {"DELIVERED": 5, "INTEGRITY": 1, "REPLAY_DUPLICATE": 1}
    assert said["linux_counters"] == {"XfrmInStateProtoError": 1, "XfrmInStateSeqError": 1}
    assert not any("sent" in sa for sa in said["by_sa"])


def cooked(folder, frames, linktype):
    """A capture of (packet type, packet) in Linux cooked headers, SLL or SLL2."""
    with CaptureWriter(str(folder / "cooked"), linktype=linktype) as writer:
        for n, (kind, packet) in enumerate(frames):
            sll = struct.pack("!HHH8sH", kind, 1, 6, bytes(8), 0x0800)
            sll2 = struct.pack("!HHIHBB8s", 0x0800, 0, 2, 1, kind, 6, bytes(8))
            writer.write((sll if linktype == 113 else sll2) + packet, n * 10**9)
        writer.commit()
    return folder / "cooked"


@pytest.mark.parametrize("linktype", [113, 276])
@pytest.mark.parametrize("way", WAYS)
def test_cooked_captures_say_which_are_outgoing(folder, linktype, way):
    """The SAs have no direction; types 0 (to us), 1 (broadcast), 3 (to others) and 4 (outgoing)."""
    out, back = Peer(HERE_TO_THERE), Peer(THERE_TO_HERE)
    frames = [(4, out.packet(1, inner(0))), (0, back.packet(1, inner(1))), (4, out.packet(1, inner(2)))]
    frames += [
        (3, out.packet(2, inner(3))),
        (1, back.packet(1, inner(4))),
        (4, Peer(gcm_sa(spi=7)).packet(1, inner(5))),
    ]
    capture = cooked(folder, frames, linktype)
    words = ("--verdicts", folder / "lines", "--json", *WAYS[way])
    said = json.loads(run("decap", capture, "--sad", folder / "nodir", *words).stdout)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    want = ["SENT", "DELIVERED", "SENT", "DELIVERED", "REPLAY_DUPLICATE", "NO_SA"]
    assert [line["verdict"] for line in lines] == want
    assert said["linux_counters"] == {"XfrmInStateSeqError": 1}


def test_fail_on_drop(folder):
    """What was sent is no failure; what was sent and does not open is one."""
    out = Peer(HERE_TO_THERE)
    good, bad = (0, out.packet(1, inner(0))), (0, out.packet(1, inner(0))[:-1] + b"?")
    for frames, status in (([good, good], 0), ([good, bad], 1)):
        capture = cooked(folder, frames, 113)
        assert run("decap", capture, "--sad", folder / "sad", "--fail-on-drop").exit_code == status
