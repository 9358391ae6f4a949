"""S01 to S29, most of the netdev thread: each runs under every policy and kernel, and what is expected comes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.sad.linux import KERNELS
from espsim.sad.spi import SPI_RULES
from espsim.scenario.matrix import run_scenario
from espsim.scenario.outcome import short_result
from espsim.scenario.schema import builtin_names, load_scenario, parse_scenario, thread_names

IDS = [f"s{n:02}" for n in range(1, 30)] + ["s07m", "s10a", "s11a", "s11b"]
OF_KERNELS = {"s28", "s29"}
"""The answers to these depend on the kernel, not on the SPI rule."""
MOST_TRIALS = 50
"""Of a scenario in the suite: the odds of more of them are a matter of the long tests."""
ROWS = Path(__file__).parents[2] / "vectors" / "xfrm_conformance.jsonl"
VERSIONS = {"6.1.176": "linux-6.1", "6.1.192": "linux-6.1.192", "6.12.117": "linux-6.12"}


def outcomes(name, *policies, **options):
    scenario, where, _text = load_scenario(name)
    return {(c.variant, c.policy): c.outcome for c in run_scenario(scenario, where, policies, **options)}


def invoke(*args):
    return CliRunner().invoke(main, ["run", *map(str, args)], catch_exceptions=False)


def test_every_scenario_of_the_thread_is_there():
    assert sorted(thread_names()) == sorted(IDS)
    assert set(IDS) < set(builtin_names())


def of_trials(scenario, most):
    steps = [step.model_copy(update={"trials": min(step.trials, most)}) for step in scenario.step]
    return scenario.model_copy(update={"step": steps})


@pytest.mark.long
@pytest.mark.parametrize("name", ["s06", "s12", "s13"])
def test_the_odds_of_all_trials_are_as_expected(name):
    scenario, where, _text = load_scenario(name)
    assert any(step.trials > MOST_TRIALS for step in scenario.step)
    cells = run_scenario(scenario, where, [*SPI_RULES, *KERNELS])
    assert [(c.variant, c.policy, c.expected, c.outcome) for c in cells if not c.ok] == []


@pytest.mark.parametrize("name", IDS)
def test_every_policy_and_kernel_answers_as_expected(name):
    whole, where, _text = load_scenario(name)
    scenario = of_trials(whole, MOST_TRIALS)
    assert set(scenario.policies) == (set(KERNELS) - {"linux-6.1.192"} if name in OF_KERNELS else set(SPI_RULES))
    assert scenario.source != "the user's own"
    cells = run_scenario(scenario, where, [*SPI_RULES, *KERNELS])
    assert len(cells) == len(scenario.variants) * (len(SPI_RULES) + len(KERNELS))
    assert [(c.variant, c.policy, c.expected, c.outcome) for c in cells if not c.ok] == []
    named = {key for variant in scenario.variants for key in variant.expect}
    assert named <= {*SPI_RULES, *KERNELS}
    # Choices are explained: a column of the thread's own table without an expectation has a word about it.
    for variant in scenario.variants:
        if not {"sa-dir", "split"} <= set(variant.expect):
            assert scenario.choice


def test_what_a_maintainer_will_look_up_first():
    assert outcomes("S01", "rfc2401", "rfc4301")["no dir", "rfc4301"] == "OK, E2 x4 +4"
    assert outcomes("s02", "linux-6.1", "linux-6.12") == {
        ("no dir", "linux-6.1"): "OK x4", ("no dir", "linux-6.12"): "OK, E2, OK, E3",
        ("dirs", "linux-6.1"): "OK x4", ("dirs", "linux-6.12"): "OK, E2, OK, E3",
    }  # fmt: skip
    assert outcomes("s11", "rfc4301-spi0", "linux-6.1.192") == {
        ("-", "rfc4301-spi0"): "OK x2, HANG", ("-", "linux-6.1.192"): "OK x2, HANG"
    }  # fmt: skip
    assert outcomes("s27", "linux-6.1")["dir out", "linux-6.1"] == "OK"
    assert outcomes("s23", "rfc4301")["errno", "rfc4301"] == "OK, E17, E16"


@pytest.mark.parametrize(
    ("name", "experiment", "steps"),
    [
        ("s01", "dup_five_addresses", (1, 2, 3, 4, 5)),
        ("s02", "esp_android", (2, 3, 5, 6)),
        ("s08", "nat_two_peers", (1, 2)),
        ("s10a", "zero_leftover", (3, 4)),
        ("s14", "dup_proto", (1, 2, 3)),
        ("s26", "esp_install", (1, 5)),
    ],
)
def test_the_expected_outcome_is_what_each_kernel_answered(name, experiment, steps):
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    recorded = {row["step"]: row["results"] for row in rows if row["exp"] == experiment}
    scenario, where, _text = load_scenario(name)
    for version in (version for version in VERSIONS if version in recorded[steps[0]]):
        answered = [short_result(recorded[step][version]["result"]) for step in steps]
        cell = run_scenario(scenario, where, [VERSIONS[version]])[0]
        assert cell.ok
        assert cell.expected is not None
        assert [part for step in cell.steps for part in step.parts][: len(steps)] == answered


class TestAChangedExpectation:
    def run(self, tmp_path, name, old, new, *args):
        _, _, text = load_scenario(name)
        assert old in text
        path = tmp_path / "mine.toml"
        path.write_text(text.replace(old, new, 1))
        return invoke(path, *args)

    def test_of_an_outcome_is_marked_and_told(self, tmp_path):
        result = self.run(tmp_path, "s01", 'rfc4301 = "OK, E2 x4 +4"', 'rfc4301 = "OK x2, E2 x3 +3"')
        assert result.exit_code == 1
        assert "no dir rfc4301: expected OK x2, ENOENT x3 +3, got OK, ENOENT x4 +4" in result.output
        assert "NO" in result.output.split()
        assert "1 differ" in result.output

    def test_of_a_share(self, tmp_path):
        args = ("--policy", "rfc2401", "--json")
        assert self.run(tmp_path, "s13", "OK = 0.75", "OK = 0.75", *args).exit_code == 0
        result = self.run(tmp_path, "s13", "OK = 0.75", "OK = 0.65", *args)
        assert result.exit_code == 1
        bad = [cell for cell in json.loads(result.stdout)["cells"] if not cell["ok"]]
        assert [(cell["variant"], cell["expected"]) for cell in bad] == [("N = 2", {"OK": 0.65})]

    def test_an_option_of_the_user_leaves_nothing_to_compare(self):
        result = invoke("s07", "--policy", "rfc2401", "--option", "encap-port-key", "--json")
        assert result.exit_code == 0
        cells = json.loads(result.stdout)["cells"]
        assert [(c["variant"], c["outcome"], c["expected"]) for c in cells] == [
            ("as it is", "OK x2", None), ("dport key", "OK x2", "OK x2")
        ]  # fmt: skip


class TestTheTable:
    def test_json(self):
        result = invoke("--thread", "--policy", "rfc2401", "--policy", "linux-6.1.192", "--json")
        assert result.exit_code == 0
        report = json.loads(result.stdout)
        assert report["ok"] is True
        assert [row["id"].lower() for row in report["scenarios"]] == thread_names()
        assert len(report["cells"]) == 2 * 62
        assert {tuple(sorted(item)) for item in report["conclusion"]} == {("meaning", "policy")}
        for row in report["scenarios"]:
            assert set(row) == {"id", "question", "source", "choice", "cells"}
            assert {cell["policy"] for cell in row["cells"]} == {"rfc2401", "linux-6.1.192"}
            for cell in row["cells"]:
                assert set(cell) == {"variant", "policy", "outcome", "expected", "ok"}
                assert (cell["ok"] is None) is (cell["expected"] is None)
        assert sum(len(row["cells"]) for row in report["scenarios"]) == 2 * 62

    def test_a_mail_can_take_it(self, monkeypatch):
        monkeypatch.setattr("espsim.scenario.matrix.thread_names", lambda: ["s01", "s10", "s11"])
        result = invoke("--thread", "--width", "72")
        assert result.exit_code == 0
        lines = result.output.splitlines()
        assert max(map(len, lines)) <= 72
        assert all(line == line.rstrip() and line.isascii() for line in lines)
        assert "36 cells run, 34 compared with what is expected: all as expected" in lines[-1]
        for whole in ("ENOENT x4", "HANG", "4 with SPI 0", "What follows"):
            assert whole in result.output
        assert not re.search(r"\bE\d", result.output)

    def test_a_cell_that_differs_is_marked_and_ends_with_1(self, monkeypatch):
        _old, where, text = load_scenario("s03")
        wrong = parse_scenario(text.replace('split = "OK x2"', 'split = "OK, fail"'), "s03")
        monkeypatch.setattr("espsim.scenario.matrix.thread_names", lambda: ["s03"])
        monkeypatch.setattr("espsim.scenario.matrix.load_scenario", lambda name: (wrong, where, text))
        result = invoke("--thread")
        assert result.exit_code == 1
        assert "NO" in result.output.split()
        assert "s03 dir out split: expected OK, fail, got OK x2" in result.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["S99"], "no scenario 'S99'"),
        (["--thread", "s01"], "--thread runs its own"),
        (["--thread", "--policy", "nope"], "no policy 'nope'"),
        (["s01", "--option", "nope"], "no option 'nope'"),
        (["s01", "--policy", ","], "--policy names no policy"),
        (["s01", "--policy", "rfc2401", "--policy", ""], "--policy names no policy"),
        (["--show", "default"], "default: has no file"),
    ],
)
def test_a_wrong_word_is_one_line(args, words):
    from espsim.core.errors import InputError

    with pytest.raises(InputError, match=words):
        invoke(*args)


def test_ring_windows_changes_no_cell():
    plain, ring, strict = (
        json.loads(invoke("s02", "--policy", "rfc2401", "--json", *more).stdout)["cells"]
        for more in ((), ("--option", "ring-windows"), ("--option", "strict-windows"))
    )
    assert ring == plain
    assert [cell["as_expected"] for cell in plain] == [True, True]
    assert [cell["as_expected"] for cell in strict] == [None, None]  # another question, whose answer is not fixed


def test_names_in_any_case_and_by_file():
    for name in ("S07m", "s07M", "s07m-nat-marks"):
        assert load_scenario(name)[0].name == "s07m"


def test_one_policy_shows_what_was_asked_and_answered():
    output = invoke("S02", "--policy", "rfc4301").output
    assert "ENOENT: No SPI available in the requested range" in output
    assert "source: Yan Yan" in output
