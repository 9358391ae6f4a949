"""decap and encap with --mark and --any-mark: which SA is found (net/xfrm/xfrm_state.c, __xfrm_state_lookup)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.io.capture import CaptureWriter, open_capture
from tests.support import Peer, gcm_sa, ipv4

CASES = Path(__file__).parents[2] / "vectors" / "cases"
WAYS = [(), ("--reference",), ("--workers", "2"), ("--lookup", "longest")]
SA = (
    "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel replay-window 0{mark}"
    " aead rfc4106(gcm(aes)) 0x{key} 128\n"
)


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)))


def verdicts(*args):
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["verdicts"]


@pytest.fixture
def folder(tmp_path):
    """SAs of one SPI: 5/0xff with key 2, then 0/0xf00 with key 3; a packet under each, and one under key 1."""
    marks = {2: " mark 0x5 mask 0xff", 3: " mark 0 mask 0xf00"}
    (tmp_path / "sad").write_text("".join(SA.format(mark=mark, key=f"{n:02x}" * 20) for n, mark in marks.items()))
    with CaptureWriter(str(tmp_path / "in.pcap")) as writer:
        for n in (1, 2, 3):
            writer.write(Peer(gcm_sa(spi=0x1000, key_byte=n)).packet(n, ipv4(bytes(40))), n * 10**9)
        writer.commit()
    return tmp_path


@pytest.mark.parametrize("way", WAYS, ids=["batches", "reference", "workers", "longest"])
def test_which_sa_a_mark_finds(folder, way):
    words = ("decap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "out", *way)
    assert verdicts(*words) == {"DELIVERED": 1, "INTEGRITY": 2}
    assert verdicts(*words, "--mark", "0x100") == {"NO_SA": 3}
    assert delivered_seq(*words) == [3]  # 0/0xf00 takes mark 0
    assert delivered_seq(*words, "--mark", "0x105") == [2]
    assert delivered_seq(*words, "--mark", "5") == [3]  # both take it: the newest
    assert delivered_seq(*words, "--mark", "0xfffff005") == [3]
    assert delivered_seq(*words, "--any-mark") == [3]


def delivered_seq(*args):
    lines = Path(args[3]).with_name("lines")  # beside the SAD
    verdicts(*args, "--verdicts", lines)
    found = map(json.loads, lines.read_text().splitlines())
    return [line["seq64"] for line in found if line["verdict"] == "DELIVERED"]


@pytest.mark.parametrize("way", WAYS, ids=["batches", "reference", "workers", "longest"])
@pytest.mark.parametrize(
    ("words", "found"), [((), 0), (("--mark", "0xd00"), 1), (("--mark", "3328"), 1), (("--any-mark",), 1)]
)
def test_the_case(tmp_path, words, found, way):
    result = run(
        "decap", CASES / "r13-mark.pcap", "--sad", CASES / "r13-mark.sad", "-o", tmp_path / "o", "--json", *words
    )
    assert json.loads(result.stdout)["delivered"] == found


@pytest.mark.parametrize("way", [(), ("--reference",), ("--workers", "2")], ids=["batches", "reference", "workers"])
def test_encap_takes_what_the_mark_fits(folder, way):
    with CaptureWriter(str(folder / "clear")) as writer:
        writer.write(ipv4(bytes(40)), 0)
        writer.commit()
    words = ("encap", folder / "clear", "--sad", folder / "sad", "-o", folder / "sealed", *way)
    for mark, key in (((), 3), (("--mark", "0x100"), None), (("--mark", "0x105"), 2), (("--any-mark",), 3)):
        assert verdicts(*words, *mark) == ({"NO_SA": 1} if key is None else {"SEALED": 1})
        with open_capture(str(folder / "sealed")) as reader:
            packets = [frame.ip for frame in reader]
        if key is not None:
            (folder / "one").write_text(SA.format(mark="", key=f"{key:02x}" * 20))
            assert len(packets) == 1
            assert verdicts("decap", folder / "sealed", "--sad", folder / "one", "-o", folder / "o") == {"DELIVERED": 1}


@pytest.mark.parametrize("command", ["decap", "encap"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--mark", "1", "--any-mark"), "--mark and --any-mark contradict each other"),
        (("--mark", "0x100000000"), "is not a mark from 0 to 0xffffffff"),
        (("--mark", "-1"), "--mark: '-1' is not a mark"),
        (("--mark", "1/0xf"), "--mark: '1/0xf' is not a mark"),
    ],
)
def test_bad_marks(folder, command, words, says):
    result = run(command, folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "o", *words)
    assert result.exit_code
    assert says in str(result.exception)


def test_a_device_compares_marks(folder):
    words = ("--any-mark", "--model", "sw-linux-xfrm")
    result = run("decap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "o", *words)
    assert "--any-mark is for the software lookup alone" in str(result.exception)
