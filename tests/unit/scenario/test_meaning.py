"""Sentences are computed from what happened: another answer gives another sentence."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.scenario.conclusion import conclude
from espsim.scenario.facts import Arrived, Facts, RequestFact
from espsim.scenario.matrix import run_named
from espsim.scenario.meaning import meaning, number, ordinal


def invoke(*args):
    return CliRunner().invoke(main, ["run", *map(str, args)], catch_exceptions=False)


def cells(*names, policies):
    return {
        (c.scenario, c.variant, c.policy): c for a in run_named(names, policies) for c in a.cells
    }  # fmt: skip


def test_androids_second_allocspi():
    found = cells("s02", policies=["rfc2401", "rfc4301"])
    refused = found["s02", "no dir", "rfc4301"]
    assert refused.meaning.startswith(
        "Android's second ALLOCSPI gets ENOENT: SPI 0x00005000 is taken by its own inbound SA 0x00005000@10.0.0.1."
    )
    assert [asked.errno for asked in refused.facts.requests] == [None, "ENOENT", None, "ESRCH"]
    assert found["s02", "no dir", "rfc2401"].meaning == "All four of Android's requests succeed."


def test_a_changed_request_changes_the_sentence(tmp_path):
    from espsim.scenario.schema import load_scenario

    _, _, text = load_scenario("s02")
    path = tmp_path / "mine.toml"
    path.write_text(
        text.replace(
            "dst=203.0.113.5 proto=esp min=0x5000 max=0x5000", "dst=203.0.113.5 proto=esp min=0x5001 max=0x5001"
        )
    )
    result = json.loads(invoke(path, "--policy", "rfc4301", "--json").stdout)
    first = result["cells"][0]
    assert [asked["errno"] for asked in first["requests"]] == [None, None, None, "ESRCH"]
    assert first["meaning"] == "Android's second UPDSA gets ESRCH: no state is there to update."
    assert first["as_expected"] is False


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([RequestFact("NEWSA a", None)], "The NEWSA succeeds."),
        ([RequestFact("NEWSA a", None), RequestFact("NEWSA b", None)], "Both NEWSA succeed."),
        ([RequestFact("NEWSA a", "EEXIST", "w")], "The NEWSA gets EEXIST: w."),
        ([RequestFact("NEWSA a", "EEXIST", "w")] * 3, "All three NEWSA get EEXIST: w."),
        ([RequestFact("NEWSA a", None), *[RequestFact("NEWSA b", "EEXIST", "w")] * 3],
         "The second to fourth NEWSA get EEXIST: w."),
        ([RequestFact("NEWSA a", "EEXIST"), RequestFact("NEWSA b", None), RequestFact("NEWSA c", "EEXIST")],
         "The first and third NEWSA get EEXIST."),
        ([RequestFact("ALLOCSPI a", "HANG", "w")], "The ALLOCSPI hangs: w."),
        ([RequestFact("NEWSA a", None, driver="EEXIST"), RequestFact("NEWSA b", None, driver="0")],
         "Both NEWSA succeed. The device's driver refuses one of two SAs (EEXIST)."),
    ],
)  # fmt: skip
def test_requests(requests, words):
    assert meaning(Facts(requests), {"": 1.0}, 1) == words


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([Arrived("A", "DELIVERED", None)], "The packet is delivered."),
        ([Arrived("A", "DELIVERED", None, count=3)], "All three packets are delivered."),
        ([Arrived("A", "NO_SA", "XfrmInNoStates")],
         "The packet to A is lost (NO_SA): lookup found nothing, and XfrmInNoStates moves."),
        ([Arrived("A", "INTEGRITY", None, "WRONG_SA", "SILENT", count=2)],
         "Two packets to A meet another SA's keys in the device; the driver marks them good, so nothing reports the"
         " loss, and no counter moves."),
    ],
)  # fmt: skip
def test_packets(packets, words):
    assert meaning(Facts(packets=packets), {"": 1.0}, 1) == words


def test_shares():
    facts = Facts([RequestFact("ALLOCSPI a", None)] * 5)
    assert meaning(facts, {"3 OK": 0.97, "2 OK": 0.03}, 300) == (
        "Of 300 trials: in 97% three of five requests succeed; in 3% two of five requests succeed."
    )
    assert meaning(facts, {"5 OK": 1.0}, 40) == "In each of 40 trials all five requests succeed."


def test_numbers():
    assert [ordinal(n) for n in (1, 10, 11, 12, 21, 22, 113)] == [
        "first", "tenth", "11th", "12th", "21st", "22nd", "113th"
    ]  # fmt: skip
    assert number(2100) == "2,100"


def test_the_conclusion_follows_the_outcomes():
    answers = run_named(["s01", "s02", "s03"], ["rfc2401", "rfc4301", "sa-dir", "split"])
    found = dict(conclude(cell for a in answers for cell in a.cells))
    assert found["rfc2401"].startswith("Android's calls succeed unchanged (S02).")
    assert "Android's calls fail (S02): ALLOCSPI gets ENOENT." in found["rfc4301"]
    assert "Android's calls succeed only with directions given" in found["split"]
    assert "once only with dir in" in found["sa-dir"]
    cell = next(c for a in answers for c in a.cells if (c.scenario, c.policy) == ("s02", "rfc2401"))
    cell.facts.requests[1] = RequestFact("ALLOCSPI x", "ENOENT")
    assert "Android's calls succeed unchanged" not in dict(conclude(c for a in answers for c in a.cells))["rfc2401"]


def test_several_scenarios_and_policies_in_one_word():
    result = invoke("s02", "s03", "s07m", "--policy", "rfc2401,rfc4301", "--policy", "sa-dir", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [s["name"] for s in report["scenarios"]] == ["s02", "s03", "s07m"]
    assert {c["policy"] for c in report["cells"]} == {"rfc2401", "rfc4301", "sa-dir"}
    for cell in report["cells"]:
        assert {"request", "errno"} <= set(cell["requests"][0])
        assert isinstance(cell["states"], int)
        assert cell["fixed_by"]


def test_packets_are_structures():
    cell = json.loads(invoke("s22", "--policy", "rfc4301", "--json").stdout)["cells"][0]
    assert [(p["to"], p["verdict"], p["linux_counter"], p["count"]) for p in cell["packets"]] == [
        ("10.0.0.1", "DELIVERED", None, 1), ("10.0.0.2", "DELIVERED", None, 1),
        ("10.0.0.3", "NO_SA", "XfrmInNoStates", 1),
    ]  # fmt: skip
    assert not any("1111111111" in asked["request"] for asked in cell["requests"])


def test_a_note_about_a_policy_only_where_it_runs():
    assert "note: split:" in invoke("s02", "--policy", "split").output
    assert "note:" not in invoke("s02", "--policy", "rfc4301").output


def test_a_model_has_its_own_row():
    output = invoke(
        "duplicate-spi", "--model", "marvell-cn10k-vpp", "--model", "sw-linux-xfrm", "--width", "100"
    ).output
    assert "marvell-cn10k-vpp" in output
    assert "sw-linux-xfrm" in output
    assert "meet another SA's keys in the device" in " ".join(output.split())


@pytest.mark.parametrize("width", ["20", "39", "1"])
def test_a_width_that_no_table_fits(width):
    with pytest.raises(InputError, match="at least 40 columns"):
        invoke("s02", "--width", width)


@pytest.mark.parametrize("width", [40, 72, 80])
def test_no_word_is_cut_at_any_width(width):
    words = set(invoke("s02", "s22", "s24", "--wide").output.split())
    narrow = invoke("s02", "s22", "s24", "--width", width).output
    assert max(len(line) for line in narrow.splitlines() if " " in line.strip()) <= width
    headers = {"policy", "model", "requests", "states", "packets", "expected"}
    assert {word.rstrip(":") for word in narrow.split()} - headers <= {word.rstrip(":") for word in words}


class TestTrace:
    def test_a_line_a_packet_with_the_window_before_and_after(self):
        report = json.loads(invoke("replay", "--trace", "--json").stdout)
        trace = report["cells"][0]["trace"]
        assert [p["seq"] for p in trace] == [1, 2, 3, 100, 99, 37, 100, 37, 36, 5000, 101, 38, 101]
        assert trace[4]["window_before"] == {"size": 64, "top": 100, "drawn": "." * 31 + "#"}
        assert trace[4]["window_after"] == {"size": 64, "top": 100, "drawn": "." * 30 + "##"}
        assert trace[9]["window_before"] == trace[9]["window_after"]  # a forgery moves nothing
        lost = [n for n, p in enumerate(trace, 1) if p["verdict"] != "DELIVERED"]
        text = invoke("replay", "--trace", "--width", "72").output
        assert max(map(len, text.splitlines())) <= 72
        assert lost == [7, 8, 9, 10, 13]
        assert all(f"{n} (seq " in text for n in lost)

    def test_the_high_half_across_2_32(self):
        trace = json.loads(invoke("esn-rollover", "--trace", "--json").stdout)["cells"][0]["trace"]
        assert [p["seq_hi"] for p in trace[:9]] == [0, 0, 0, 0, 1, 1, 0, 0, 1]

    def test_without_it_there_is_no_trace(self):
        assert "trace" not in json.loads(invoke("replay", "--json").stdout)["cells"][0]

    def test_pcap_has_every_packet(self, tmp_path):
        from espsim.io.capture import open_capture

        path = tmp_path / "out.pcap"
        assert invoke("s22", "duplicate-spi", "--policy", "rfc4301", "--pcap", path).exit_code == 0
        with open_capture(str(path)) as reader:
            frames = list(reader)
        assert len(frames) == 2 * 3 + 200
        assert [frame.time_ns // 60_000_000_000 for frame in frames[:7]] == [0, 0, 0, 1, 1, 1, 2]
        assert all(frame.ip is not None and frame.ip[9] == 50 for frame in frames)


class TestScenarioFiles:
    def test_everything_wrong_at_once_with_line_key_and_what_is_legal(self, tmp_path):
        path = tmp_path / "bad.toml"
        path.write_text(
            'schema = 2\nname = "x"\nquestion = "?"\npolices = ["rfc2401"]\n'
            '[[step]]\ndo = "newsaa"\nsa = "A"\npackets = 0\n'
        )
        with pytest.raises(InputError) as caught:
            invoke(path)
        lines = str(caught.value).splitlines()
        assert [line.removeprefix(f"{path}:").split(":")[0] for line in lines] == ["1", "4", "6", "8"]
        assert "legal: 1" in lines[0]
        assert "did you mean policies" in lines[1]
        assert "'allocspi', 'newsa', 'updsa'" in lines[2]

    def test_show_and_schema(self):
        assert 'name = "s02"' in invoke("--show", "S02").output
        schema = json.loads(invoke("--schema").output)
        assert {"name", "question", "step", "party", "local"} <= set(schema["properties"])


def test_policies():
    from espsim.sad.linux import KERNELS
    from espsim.sad.spi import SPI_RULES

    report = json.loads(CliRunner().invoke(main, ["policies", "--json"], catch_exceptions=False).stdout)
    assert [rule["name"] for rule in report["policies"]] == list(SPI_RULES)
    assert all(rule[key] for rule in report["policies"] for key in ("refuses_by", "effect", "proposed_by", "where"))
    assert {kernel["name"] for kernel in report["kernels"]} == set(KERNELS)
    text = CliRunner().invoke(main, ["policies", "--width", "72"], catch_exceptions=False).output
    assert "Tobias Brunner" in text
    assert max(map(len, text.splitlines())) <= 72
