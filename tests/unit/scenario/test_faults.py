"""`run --loss`, `--duplicate`, `--reorder`: the report says what they did, and nothing is compared."""

from __future__ import annotations

import json

import pytest

from espsim.io.arrivals import Arrivals
from espsim.io.capture import open_capture
from espsim.io.linktype import RAW
from espsim.io.source import Record
from espsim.scenario.ask import arriving_lines
from tests.command import espsim_text

SENT = {"replay": 13, "duplicate-spi": 200}


def told(*words, status=0):
    ended, said, error = espsim_text("run", *words, "--json")
    assert ended == status, error
    return json.loads(said)


def count(cell):
    return sum(packet["count"] for packet in cell["packets"])


def test_what_the_wire_did_and_what_arrived():
    (cell,) = told("replay", "--loss", "30", "--duplicate", "50%", "--reorder", "40")["cells"]
    wire = cell["wire"]
    assert (wire["loss"], wire["duplicate"], wire["reorder"], wire["seed"]) == (30, 50, 40, 1)
    assert wire["frames"] == SENT["replay"]
    assert count(cell) == wire["arrived"] == wire["frames"] - wire["lost"] + wire["duplicated"]
    assert min(wire["lost"], wire["duplicated"], wire["reordered"]) > 0
    assert (cell["as_expected"], cell["expected"], cell["fixed_by"], cell["ok"]) == (None, None, None, True)
    status, said, _ = espsim_text("run", "replay", "--duplicate", "100")
    assert status == 0
    assert "the wire (seed 1): of 13 packets 0 lost, 13 came twice, 0 overtaken; 26 arrived\n" in said
    assert "not judged" in said
    assert said.splitlines()[-1].startswith("1 cell run over a wire with faults: no answer is judged")


def test_no_fault_changes_no_answer():
    plain, over = told("replay")["cells"][0], told("replay", "--loss", "0")["cells"][0]
    assert plain["as_expected"] is True
    assert "wire" not in plain
    for key in ("requests", "packets", "outcome", "meaning"):
        assert plain[key] == over[key]
    assert (over["wire"]["arrived"], over["as_expected"]) == (13, None)


def test_every_cell_has_the_same_faults_and_another_seed_has_others():
    words = ("duplicate-spi", "--loss", "20", "--reorder", "20", "--policy", "rfc2401,rfc4301,sa-dir",
             "--model", "intel-82599-linux", "--model", "sw-linux-xfrm")  # fmt: skip
    cells = told(*words)["cells"]
    assert len(cells) == 6
    assert len({json.dumps(cell["wire"]) for cell in cells}) == 1
    assert cells[0]["wire"]["frames"] == SENT["duplicate-spi"]
    again = told(*words)["cells"]
    assert cells == again
    assert told(*words, "--seed", "2")["cells"][0]["wire"] != cells[0]["wire"]


def test_all_of_it_is_lost():
    result = told("duplicate-spi", "--loss", "100")
    assert [count(cell) for cell in result["cells"]] == [0] * len(result["cells"])
    assert "nothing came" in result["cells"][0]["outcome"]
    assert result["ok"] is True


def test_an_expectation_that_fails_on_a_good_wire_is_not_judged_on_a_bad_one(tmp_path):
    scenario = tmp_path / "wrong.toml"
    shown = espsim_text("run", "--show", "replay")[1]
    scenario.write_text(shown.replace("delivered = 6", "delivered = 5", 1))
    assert scenario.read_text() != shown
    told(scenario, status=1)
    (cell,) = told(scenario, "--loss", "0")["cells"]
    assert all(step["failures"] == [] for step in cell["steps"])


def test_the_trace_the_capture_and_the_page_have_what_arrived(tmp_path):
    pcap, page = tmp_path / "got.pcap", tmp_path / "page.html"
    words = ("replay", "--duplicate", "100", "--trace", "--pcap", pcap, "--html", page)
    (cell,) = told(*words)["cells"]
    assert len(cell["trace"]) == 26
    with open_capture(str(pcap)) as frames:
        assert sum(1 for _ in frames) == 26
    assert "of 13 packets 0 lost, 13 came twice" in page.read_text()
    assert "no answer is judged" in page.read_text()


def test_each_burst_has_draws_of_its_own():
    wire = Arrivals(loss=50, seed=4)
    burst = [Record(RAW, n, 0, b"x", 1) for n in range(20)]
    first, second = ([frame.interface for frame in wire.of(burst)] for _ in range(2))
    assert first != second
    assert (wire.frames, wire.arrived) == (40, len(first) + len(second))
    assert [frame.interface for frame in wire.anew().of(burst)] == first


def test_packets_of_rx_lines_meet_the_wire_too():
    cells = told("s22", "--duplicate", "100")["cells"]
    assert {cell["wire"]["frames"] for cell in cells} == {3}
    assert {count(cell) for cell in cells} == {6}
    assert [count(cell) for cell in told("s22", "--loss", "100")["cells"]] == [0] * len(cells)
    lines = ["NEWSA a", "RX 1", "RX 2", "TX", "RX 3"]
    assert arriving_lines(lines, Arrivals(duplicate=100)) == [
        "NEWSA a", "RX 1", "RX 1", "RX 2", "RX 2", "TX", "RX 3", "RX 3"
    ]  # fmt: skip
    assert arriving_lines(lines, Arrivals(loss=100)) == ["NEWSA a", "TX"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("s02", "--loss", "1"), "no step of it sends packets"),
        (("rotation", "--reorder", "1"), "a storm runs without"),
        (("--thread", "--loss", "1"), "--thread runs its own"),
        (("default", "--duplicate", "1"), "runs alone"),
        (("replay", "--live", "--loss", "1"), "--live compares requests"),
        (("replay", "--loss", "101"), "is not a percentage"),
        (("replay", "--reorder", "x\x1b[2J"), r"'x\x1b[2J' is not a percentage"),
    ],
)
def test_what_has_no_wire_is_said(words, what):
    status, said, error = espsim_text("run", *words)
    assert (status, said) == (2, "")
    assert what in error
    assert error.count("\n") == 1
