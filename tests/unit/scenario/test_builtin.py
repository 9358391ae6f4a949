"""The shipped scenarios hold under every policy and model, and a wrong expectation is noticed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.scenario.schema import builtin_names, load_scenario, parse_scenario
from tests.command import espsim_text

MODELS = [
    "sw-linux-xfrm", "marvell-cn10k-dpdk", "marvell-cn10k-linux-v5", "marvell-cn10k-vpp", "intel-82599-linux",
    "nvidia-mlx5-linux-packet",
]  # fmt: skip
WANTED = {"duplicate-spi", "five-addresses", "masked-alias", "table-full", "replay", "esn-rollover", "nat-two-peers"}


def test_the_issues_scenarios_are_there():
    assert set(builtin_names()) >= WANTED
    for name in builtin_names():
        assert load_scenario(name)[0].name == name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "table-full" else ()) for name in sorted(WANTED)]
)
def test_every_expectation_is_met(name):
    # Policies differ at ALLOCSPI alone, so the scenarios without it run under one.
    policies = ["rfc2401", "rfc4301"] if name in ("five-addresses", "nat-two-peers") else ["rfc4301"]
    args = ["run", name, "--json", *(f"--policy={p}" for p in policies)]
    alone = CliRunner().invoke(main, args, catch_exceptions=False)
    assert alone.exit_code == 0, alone.output
    beside = CliRunner().invoke(main, [*args, *(f"--model={m}" for m in MODELS)], catch_exceptions=False)
    assert beside.exit_code == 0, beside.output
    report = json.loads(beside.stdout)
    assert report["ok"] is True
    assert len(report["cells"]) == len(policies) * len(MODELS)


def test_an_expectation_that_fails_is_shown_with_expected_and_got(tmp_path):
    _, _, text = load_scenario("duplicate-spi")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("delivered = 100\n  linux_counters = {}", "delivered = 99\n  linux_counters = {}"))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 1
    assert "expected 99, got 100" in result.output
    result = CliRunner().invoke(main, ["run", str(path), "--json"])
    assert result.exit_code == 1
    failures = [f for c in json.loads(result.stdout)["cells"] for s in c["steps"] for f in s["failures"]]
    assert failures == [{"key": "delivered", "expected": 99, "got": 100}] * 2


def test_the_seed_decides_the_draws():
    text = """
schema = 1
name = "draw"
question = "?"
[[sa]]
name = "x"
line = "src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x100 mode transport replay-window 32 aead rfc4106(gcm(aes)) 0x{k} 128"
count = 4
dst_step = 1
[[step]]
do = "allocspi"
sa = "x"
min = 0x100
max = 0x103
""".replace("{k}", "11" * 20)
    from espsim.sad.spi import SPI_RULES
    from espsim.scenario.runner import run_cell
    from espsim.scenario.traffic import expand

    scenario = parse_scenario(text, "draw")
    groups = expand(scenario, "draw")
    got = {s: run_cell(scenario, groups, SPI_RULES["rfc4301"](), seed=s).steps[0].got["result"] for s in range(40)}
    assert got == {s: run_cell(scenario, groups, SPI_RULES["rfc4301"](), seed=s).steps[0].got["result"] for s in got}
    assert len({tuple(sorted(g.items())) for g in got.values()}) > 1  # with replacement some draws fail


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('do = "newsa"', 'do = "newsaa"', 14, "newsaa|newsa"),
        ("packets = 100", "packets = 0", None, "packets"),
        ('sa = "B"', 'sa = "C"', None, "'C'"),
        ("schema = 1", "schema = 2", 1, "schema"),
        ("[[sa]]", "[[sa]", 6, "TOML"),
        ("mode transport", "mood transport", None, "mood"),
    ],
)
def test_a_bad_scenario_is_one_line(tmp_path, old, new, line, words):
    _, _, text = load_scenario("duplicate-spi")
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new, 1))
    status, stdout, stderr = espsim_text("run", path)
    assert (status, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert str(path) in stderr
    assert any(word in stderr for word in words.split("|")), stderr


def test_a_missing_scenario_names_the_nearest_and_how_to_list_all():
    with pytest.raises(
        InputError, match=r"^no scenario 'duplicates'; did you mean duplicate-spi or multicast\? espsim run --list"
    ):
        load_scenario("duplicates")
    with pytest.raises(InputError, match=r"^no scenario '%%'; espsim run --list lists all"):
        load_scenario("%%")
