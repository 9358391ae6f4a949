"""Storms: the schedule, what is lost by it and by a device, and the report."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.analysis.sweep.plan import make_plan, run_task
from espsim.analysis.sweep.study import load_study
from espsim.core.errors import InputError
from espsim.offload.model import load_model
from espsim.sad.linux import choose
from espsim.scenario.schema import load_scenario, parse_scenario
from espsim.scenario.storm.answer import answer
from espsim.scenario.storm.lossless import lossless
from espsim.scenario.storm.run import run_storm
from espsim.scenario.storm.schedule import schedule, smallest_overlap, smallest_rate
from espsim.scenario.storm.spec import Storm
from tests.command import espsim_text

ORDERS = [["in", "out", "delete"], ["delete", "in", "out"], ["out", "in", "delete"], ["in", "delete", "out"]]

SMALL = """schema = 1
name = "little"
question = "What does it lose?"

[storm]
nodes = 20
rate = 40
propagation = [0.0, 1.0]
overlap = 1.0
packets = 4
"""


def storm(**words):
    return Storm.model_validate(
        {"nodes": 20, "rate": 40, "propagation": [0.0, 1.0], "overlap": 1.0, "packets": 4, **words}
    )


def run(what, seed=1, model=None, policy="rfc4301"):
    return run_storm(what, policy, model=None if model is None else load_model(model), seed=seed)


def test_a_schedule_by_hand():
    # Two nodes, ten requests a second. The host: in of both, then out of both when half a second is over, then delete.
    times = schedule(storm(nodes=2, rate=10, propagation=0.25, overlap=1.0), 1)
    assert times.host[0] == pytest.approx({"in": 0.1, "out": 0.7, "delete": 1.3})
    assert times.host[1] == pytest.approx({"in": 0.2, "out": 0.8, "delete": 1.5})
    assert times.node[0] == times.node[1] == pytest.approx({"in": 0.35, "out": 0.95, "delete": 1.55})
    rekey = schedule(storm(nodes=2, rate=10, propagation=0.25, overlap=1.0, event="rekey"), 1)
    assert [node["in"] for node in rekey.node] == pytest.approx([0.45, 0.55])


def twin(what, seed):
    """The packets that software loses, counted from the times alone: nothing is sealed, and there is no SAD."""
    times = schedule(what, seed)
    begin, end = -what.lead, times.end + what.lead + what.flight
    phase, lost = random.Random(f"{seed}/phases"), Counter[str]()
    for node in range(what.nodes):
        for direction in ("in", "out"):
            host, other = times.host[node], times.node[node]
            sender, receiver = (other, host) if direction == "in" else (host, other)
            at = begin + phase.random() / what.packets
            while at < end - what.flight:
                lost.update(_fate(sender, receiver, at, at + what.flight))
                at += 1 / what.packets
    return lost


def _fate(sender, receiver, sent, comes):
    if sent >= sender["out"]:
        return ["too early"] if comes < receiver["in"] else []
    if sent >= sender["delete"]:
        return ["no SA"]
    return ["too late"] if comes >= receiver["delete"] else []


@settings(deadline=None, max_examples=12)
@given(
    order=st.sampled_from(ORDERS),
    overlap=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    rate=st.sampled_from([15, 60, 1e6]),
    event=st.sampled_from(["rotation", "rekey"]),
    spread=st.sampled_from([0.0, 2.0]),
    flight=st.sampled_from([0.0, 0.001, 0.2]),
    seed=st.integers(0, 99),
)
def test_what_is_lost_is_what_the_times_say(order, overlap, rate, event, spread, flight, seed):
    what = storm(nodes=8, order=order, overlap=overlap, rate=rate, event=event, spread=spread, flight=flight)
    found = run(what, seed)
    assert found.causes == twin(what, seed)
    assert found.sent.total() == found.delivered.total() + found.packets_lost
    assert found.drops.total() == found.causes.total() == sum(one.packets for one in found.lost)
    if schedule(what, seed).loses_nothing(what.flight):
        assert not found.packets_lost


@pytest.mark.parametrize("event", ["rotation", "rekey"])
def test_what_would_have_lost_nothing_does(event):
    what = storm(event=event)
    found = run(what)
    assert found.packets_lost
    told = lossless(what, found, run, 1)
    better = told["overlap"]["value"]
    assert told["overlap"]["holds"]
    assert not run(storm(event=event, overlap=better)).packets_lost
    assert not schedule(storm(event=event, overlap=better * 0.98), 1).loses_nothing(what.flight)
    slow = storm(event=event, overlap=4.0, rate=5)
    rate = lossless(slow, run(slow), run, 1)["rate"]
    assert rate["holds"]
    assert rate["value"] > 5
    assert not run(storm(event=event, overlap=4.0, rate=rate["value"])).packets_lost


def test_an_order_that_breaks_before_it_makes_has_no_answer():
    what = storm(order=["delete", "in", "out"])
    told = lossless(what, run(what), run, 1)
    assert told["overlap"]["value"] is None
    assert told["rate"]["value"] is None
    assert "the old SA is deleted before the new one is used" in told["overlap"]["why"]
    assert smallest_overlap(what, 1) is smallest_rate(what, 1) is None


def test_a_table_that_overflows():
    # 600 nodes have 1,200 inbound SAs while both are there; the table has 1,024 rows, and software takes the rest.
    found = run(storm(nodes=600, rate=4000, propagation=0.1, overlap=3.0, packets=0.1), model="intel-82599-linux")
    told = answer(storm(nodes=600), found)
    assert told["packets"]["lost"] == 0
    assert told["peak"]["device"] == 1024
    full = told["first_overflow"]
    assert (full["node"], full["errno"], full["full"]) == (424, "ENOSPC", True)
    assert told["refused"] == [{"request": "offload", "errno": "ENOSPC", "count": 176}]
    assert max(each["device"] for each in told["timeline"]) == 1024
    # The old SAs left the device, so what is left is the new ones that it took.
    assert found.host.device is not None
    assert len(found.host.device.held()) == len(found.host.in_device) == 424 == told["timeline"][-1]["device"]


def test_a_slot_that_another_spi_has():
    # 256 slots by the SPI's low byte: a new SA has the slot of an old one, and no packet of it gets through.
    what = storm(nodes=256, rate=4000, propagation=0.0, overlap=2.0, packets=0.3)
    found = run(what, model="marvell-cn10k-dpdk")
    told = lossless(what, found, lambda other: run(other, model="marvell-cn10k-dpdk"), 1)
    assert found.causes.keys() == {"device"}
    assert not answer(what, found)["first_overflow"]["full"]
    assert told["overlap"]["value"] is None
    assert told["overlap"]["holds"] is False


def test_spis_that_are_used_again():
    same = run(storm(spi="same", overlap=2.5, propagation=0.0))
    assert answer(storm(), same)["refused"] == [{"request": "NEWSA", "errno": "EEXIST", "count": 40}]
    broken = run(storm(spi="same", order=["delete", "in", "out"], overlap=0.0, propagation=0.0))
    assert not broken.host.refused
    freed = run(storm(spi="freed", spread=4.0, overlap=0.2, event="rekey"))
    used = [sa.spi for pair in freed.host.agreed for sa in pair if sa is not None]
    assert len(set(used)) < len(used)
    assert len({pair[0].spi for pair in freed.host.agreed}) == 20


def test_spis_that_a_policy_draws():
    found = run(storm(range="0x100-0x11f", propagation=0.0, overlap=3.0))
    assert all(0x100 <= sa.spi <= 0x11F for pair in found.host.agreed for sa in pair if sa is not None)
    told = answer(storm(), found)
    assert {"request": "ALLOCSPI", "errno": "ENOENT"}.items() <= told["refused"][0].items()
    kept = next(one.node for one in found.host.refused if one.request == "ALLOCSPI")
    assert found.host.ins[kept][0] is not None  # what has no new SA goes on with the old one


@pytest.mark.parametrize("policy", ["rfc2401", "linux-6.1", "full-4301", "freebsd", "split"])
def test_every_policy_and_old_kernels_can_be_rotated(policy):
    found = run(storm(nodes=4, overlap=4.0), policy=policy)
    assert not found.packets_lost
    assert found.host.netns.sad.policy.name == choose(policy)[1].name


def test_a_storm_of_a_named_sa_in_tunnel_mode_with_esn():
    text = SMALL.replace("nodes = 20", 'nodes = 3\nsa = "A"').replace("overlap = 1.0", "overlap = 4.0")
    line = "src 10.9.9.9 dst 10.0.0.1 proto esp spi 0x900 mode tunnel replay-window 128 flag esn"
    key = "aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
    text += f'\n[[sa]]\nname = "A"\nline = "{line} {key}"\n'
    scenario = parse_scenario(text, "little.toml")
    from espsim.scenario.storm.cells import run_cells

    (cell,) = run_cells(scenario, "little.toml", ["rfc4301"])
    assert cell.result["packets"]["lost"] == 0
    assert cell.result["packets"]["sent"] > 50


# -- as a file, and as a command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nodes = 20", "nodes = 0", "little.toml:6: storm.nodes: '0' is not legal"),
        ("nodes = 20", "", "little.toml:5: storm.nodes is missing"),
        ("rate = 40", "rate = 0", "little.toml:7: storm.rate: '0' is not legal"),
        ("rate = 40", "rat = 40", "little.toml:7: storm.rat: no such key; did you mean rate"),
        ("[0.0, 1.0]", "[1.0, 0.5]", "propagation: the first number must not be larger than the second"),
        ("packets = 4", 'order = ["in", "out", "in"]', "storm.order: must have in, out and delete, each once"),
        ("packets = 4", 'spi = "old"', "storm.spi: 'old' is not legal; legal: 'new', 'same', 'freed'"),
        ("packets = 4", 'range = "9-1"', "storm.range: MIN-MAX of SPIs"),
        ("packets = 4", 'sa = "B"', "the storm names SA 'B', which is not there"),
        ("packets = 4", '[[storm.expect]]\npolicy = "rfc9999"', "no policy 'rfc9999'"),
        ("[storm]", "[[step]]\ndo = \"ask\"\nlines = \"DUMP\"\n[storm]", "a storm has neither steps nor variants"),
    ],
)  # fmt: skip
def test_bad_storms_are_said_with_their_line(old, new, said):
    with pytest.raises(InputError) as caught:
        parse_scenario(SMALL.replace(old, new), "little.toml")
    assert any(said in line for line in str(caught.value).splitlines()), str(caught.value)


def test_too_many_packets_are_said_before_they_are_sent():
    with pytest.raises(InputError, match="packets, at most 5,000,000 are run"):
        run(storm(packets=1e6))


@pytest.fixture
def little(tmp_path):
    path = tmp_path / "little.toml"
    path.write_text(SMALL)
    return path


def test_the_command_tells_what_was_lost_and_why(little):
    status, said, told = espsim_text("run", little, "--json")
    assert (status, told) == (0, "")
    result = json.loads(said)
    (cell,) = result["cells"]
    assert result["scenario"] == cell["scenario"] == "little"
    assert sum(cell["drops"].values()) == cell["packets"]["lost"] > 0
    assert sum(sum(each["drops"].values()) for each in cell["timeline"]) == cell["packets"]["lost"]
    assert sum(each["sent"] for each in cell["timeline"]) == cell["packets"]["sent"]
    assert cell["lossless"]["overlap"]["holds"]
    assert cell["worst"]["lost"] > 0
    said = " ".join(espsim_text("run", little)[1].split())
    assert cell["meaning"] in said
    assert "would have lost nothing, by overlap: with" in said


def test_the_trace_tells_of_every_packet_that_was_lost(little):
    (cell,) = json.loads(espsim_text("run", little, "--trace", "--json")[1])["cells"]
    assert sum(story["lost"] for story in cell["trace"]) == cell["packets"]["lost"]
    for story in cell["trace"]:
        counted = [int(e["what"].split()[0]) for e in story["events"] if " lost" in e["what"]]
        assert sum(counted) == story["lost"]
        assert sum("lost" not in event["what"] for event in story["events"]) == 6


def test_words_can_be_changed_on_the_command_line(little):
    words = ("--set", "overlap=9", "--set", 'order=["in", "out", "delete"]', "--set", "event=rekey")
    (cell,) = json.loads(espsim_text("run", little, "--json", *words)[1])["cells"]
    assert cell["packets"]["lost"] == 0
    for word, said in (
        ("overlap", "is not KEY=VALUE"),
        ("overlp=1", "did you mean overlap"),
        ("rate=0", "storm.rate"),
    ):
        status, _out, told = espsim_text("run", little, "--set", word)
        assert (status, len(told.splitlines())) == (2, 1)
        assert said in told
    assert espsim_text("run", "s02", "--set", "overlap=1")[0] == 2


def test_expectations_and_what_does_not_go_with_a_storm(little):
    little.write_text(SMALL + "\n[[storm.expect]]\nlost = 0\n")
    status, said, _told = espsim_text("run", little)
    assert status == 1
    assert "expected lost 0, got" in said
    little.write_text(SMALL + '\n[[storm.expect]]\nmodel = "software"\npeak = 0\n')
    assert espsim_text("run", little)[0] == 0
    for words in (("--live",), ("--pcap", "x.pcap"), ("--lookup", "longest")):
        status, said, told = espsim_text("run", little, *words)
        assert (status, said, len(told.splitlines())) == (2, "", 1)
    assert espsim_text("run", little, "s02")[0] == 2
    assert espsim_text("run", "s02", "--plot", "x.png")[0] == 2


def test_a_storm_is_drawn(little, tmp_path):
    pytest.importorskip("matplotlib")
    assert espsim_text("run", little, "--plot", tmp_path / "a.svg")[0] == 0
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def test_one_seed_gives_one_answer(little):
    first, again, other = (espsim_text("run", little, "--json", "--seed", n)[1] for n in (3, 3, 4))
    assert first == again != other


def test_the_figure_of_a_sweep_is_explained_by_the_trace_of_one_run():
    plan = make_plan(load_study("rotation", quick=True), 1)
    tasks = [plan.task(place) for place in range(plan.tasks)]
    loses = next(task for task in tasks if task.params["model"] == "software" and task.params["overlap"] == 2.0)
    keeps = next(task for task in tasks if task.params["model"] == "software" and task.params["overlap"] == 4.0)
    row, kept = run_task(loses), run_task(keeps)
    assert kept.values is not None
    assert kept.values["lost"] == 0
    assert row.values is not None
    assert row.values["lost"] > 0
    # The same storm, run alone with the row's seed: it loses as many, and its stories account for each of them.
    scenario = load_scenario("rotation")[0]
    assert scenario.storm is not None
    assert scenario.storm.overlap == loses.params["overlap"]
    told = answer(scenario.storm, run(scenario.storm, loses.seed), traced=True)
    assert told["packets"]["lost"] == row.values["lost"] == sum(story["lost"] for story in told["trace"])
    assert told["causes"] == {"too early": row.values["too_early"], "too late": row.values["too_late"]}
    assert told["causes"] == twin(scenario.storm, loses.seed)
