"""The thread's two large questions: their answers come from runs, and their sentences from the answers."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner

from espsim.analysis.occupancy import shared_across
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.sad.spi import SPI_RULES
from espsim.scenario import android_marvell, default_rule
from espsim.scenario.facts import RequestFact


def invoke(*args):
    return CliRunner().invoke(main, ["run", *map(str, args)], catch_exceptions=False)


@pytest.fixture(scope="module")
def both():
    return android_marvell.run().cells


def by_topic(cells, odds=(), intended=()):
    return dict(android_marvell.conclude(cells, odds, set(intended)))


class TestAndroidAndMarvell:
    def test_every_policy_on_every_model_with_and_without_direction(self, both):
        assert len(both) == len(SPI_RULES) * 11 * 2
        assert {cell.variant for cell in both} == {"no dir", "dir"}

    @pytest.mark.parametrize(
        ("policy", "variant", "model", "fate"),
        [
            ("rfc2401", "no dir", "marvell-cn10k-linux-v5", "silent"),
            ("rfc2401", "dir", "marvell-cn10k-dpdk", "refused"),
            ("rfc2401", "no dir", "marvell-cn10k-vpp", "flagged"),
            ("rfc2401", "no dir", "nvidia-mlx5-linux-packet", "own"),
            ("rfc4301", "no dir", "marvell-cn10k-linux-v5", "not given"),
            ("sa-dir", "no dir", "marvell-cn10k-linux-v5", "silent"),
            ("sa-dir", "dir", "marvell-cn10k-linux-v5", "not given"),
        ],
    )
    def test_the_second_connection(self, both, policy, variant, model, fate):
        cell = next(c for c in both if (c.policy, c.variant, c.model) == (policy, variant, model))
        assert android_marvell.second_fate(cell) == fate

    def test_the_outbound_sa_is_not_offered_to_the_device(self, both):
        assert all(asked.driver is None for cell in both for asked in cell.facts.requests)

    def test_the_conclusion(self, both):
        says = by_topic(both, intended=["rfc4301", "rfc4301-spi0", "full-4301"])
        assert "both succeed under rfc2401, sa-dir and openbsd" in says["Android"]
        assert "Under split they succeed only where the requests carry a direction" in says["Android"]
        assert "marvell-cn10k-linux-v5: one SA's packets meet the other one's keys, and nothing" in says["hardware"]
        assert "nvidia-mlx5-linux-packet: both SAs work" in says["hardware"]
        assert "Under freebsd Android cannot be served" in says["what to change"]
        assert "Under sa-dir Android changes nothing" in says["what to change"]

    def test_a_changed_outcome_changes_the_conclusion(self, both):
        changed = []
        for cell in both:
            facts = dataclasses.replace(cell.facts, requests=list(cell.facts.requests))
            if cell.policy == "sa-dir":
                facts.requests[1] = RequestFact("ALLOCSPI x", "ENOENT")
            changed.append(dataclasses.replace(cell, facts=facts))
        before, after = by_topic(both), by_topic(changed)
        assert "sa-dir" not in after["Android"].split("Under")[0]
        assert before["what to change"] != after["what to change"]

    @pytest.mark.long
    def test_runs_see_what_was_worked_out(self):
        odds = android_marvell.odds_of(shared_across)
        drawn = [line for line in odds if line.runs]
        assert len(drawn) > 8
        for line in drawn:
            assert abs(line.seen - line.chance) <= 4 * (line.chance * (1 - line.chance) / line.runs) ** 0.5 + 1e-9
        assert any(0.1 < line.chance < 0.9 for line in drawn)
        text = by_topic(android_marvell.run(["rfc2401"]).cells, odds)["how often"]
        assert "5 SAs of 3 SPIs show the fault every time" in text

    @pytest.mark.long
    def test_text_and_json(self):
        args = ("android-and-marvell", "--policy", "rfc2401,rfc4301", "--model", "marvell-cn10k-linux-v5")
        report = json.loads(invoke(*args, "--json").stdout)
        assert [cell["second"] for cell in report["cells"]] == ["silent", "not given"] * 2
        assert {line["topic"] for line in report["conclusion"]} == {
            "Android", "duplicates", "hardware", "how often", "what to change"
        }  # fmt: skip
        assert report["engine"] == "cryptography"
        assert {"engine_version", "engine_isa"} <= set(report)
        text = invoke(*args, "--width", "72").output
        assert "engine: cryptography" in text
        assert "SILENTLY: 1" in text
        assert max(map(len, text.splitlines())) <= 72


class TestDefault:
    def answers(self, fits=None):
        return {(f.default, f.toggle, f.party): f.text for f in fits or default_rule.run()}

    def test_who_works_and_who_breaks(self):
        found = self.answers()
        assert len(found) == 13 * len(default_rule.PARTIES)
        assert found["rfc2401", "none", "Android"] == "yes"
        assert found["rfc4301", "none", "Android"] == "no: ALLOCSPI ENOENT"
        assert found["rfc4301", "rfc2401", "Android"] == "toggle"
        assert found["split", "none", "Android"] == "dir"
        assert found["rfc2401", "none", "SPI-only NIC"] == "no: wrong key"
        assert found["sa-dir", "none", "SPI-only NIC"] == "dir"
        assert found["rfc4301", "none", "RFC 4301"] == "no: NEWSA twice"
        assert found["full-4301", "none", "RFC 4301"] == "dir"
        assert {text for (_d, _t, party), text in found.items() if party in ("IKE daemons", "scripts")} == {"yes"}

    def test_each_answer_names_the_run_that_says_so(self):
        for fit in default_rule.run():
            assert fit.default in fit.by or fit.answer == "toggle"
            assert (fit.where == "") is (fit.answer != "no")

    def test_a_policy_that_changes_changes_the_table(self, monkeypatch):
        from espsim.sad.spi import Rfc4301

        monkeypatch.setattr(Rfc4301, "taken", lambda self, sad, spi, entry, direction: False)
        found = self.answers()
        assert found["rfc4301", "none", "Android"] == "yes"
        assert found["rfc4301", "none", "SPI-only NIC"] == "no: wrong key"

    def test_text_and_json(self):
        report = json.loads(invoke("default", "--json").stdout)
        assert len(report["rows"]) == 13 * 6
        assert report["engine"] == "cryptography"
        assert {"engine_version", "engine_isa"} <= set(report)
        text = invoke("default", "--width", "72").output
        assert "engine: cryptography" in text
        assert max(map(len, text.splitlines())) <= 72
        assert "split: breaks no one" in text
        for more in (("s01",), ("--trace",), ("--live",), ("--lookup", "longest")):
            with pytest.raises(InputError, match="runs alone"):
                invoke("default", *more)
        with pytest.raises(InputError, match="runs its own"):
            invoke("default", "--policy", "rfc2401")
