"""Every built-in scenario runs by itself, as text and as JSON, and so does a user's whose answers are not all fixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.scenario.cell import Cell
from espsim.scenario.matrix import run_scenario
from espsim.scenario.schema import builtin_names

CASES = Path(__file__).parents[2] / "vectors" / "cases"
KEYS = {
    "scenario", "variant", "policy", "model", "requests", "states", "states_spi0", "packets", "share", "trials",
    "fixed_by", "as_expected", "meaning", "outcome", "outcome_in_full", "expected", "expected_in_full", "ok",
    "assumptions", "steps",
}  # fmt: skip


def invoke(*args):
    return CliRunner().invoke(main, ["run", *map(str, args)], catch_exceptions=False)


STORMS = {"rotation"}  # test_storm.py


SLOW = {"s12", "s13"}  # many draws; test_thread.py runs them once more


NAMES = [
    pytest.param(name, marks=[pytest.mark.long] if name in SLOW else [])
    for name in builtin_names()
    if name not in {"android-and-marvell", *STORMS}
]


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_by_itself(name, monkeypatch):
    cells: list[Cell] = []

    def run_once(*args, **keywords):
        if not cells:
            cells.extend(run_scenario(*args, **keywords))
        return cells

    monkeypatch.setattr("espsim.scenario.matrix.run_scenario", run_once)
    text = invoke(name)
    assert text.exit_code == 0, text.output
    assert name.upper() in text.output.upper()
    as_json = invoke(name, "--json")
    assert as_json.exit_code == 0, as_json.output
    report = json.loads(as_json.stdout)
    assert report["ok"] is True
    assert len(report["cells"]) == len(cells)
    for cell in report["cells"]:
        assert set(cell) == KEYS
        assert cell["outcome"]


def test_a_policy_without_an_answer_is_run_and_marked():
    path = CASES / "a2-no-expected.toml"
    text = invoke(path)
    assert text.exit_code == 0, text.output
    assert "open" in text.output
    assert "2 cells run, 1 compared with what is expected: all as expected" in text.output
    cells = json.loads(invoke(path, "--json").stdout)["cells"]
    assert [(cell["policy"], cell["outcome"], cell["expected"], cell["ok"]) for cell in cells] == [
        ("rfc2401", "OK", "OK", True), ("rfc4301", "OK", None, True)
    ]  # fmt: skip


RING = """schema = 1
name = "ring"
question = "What does a window of 33 do with a duplicate of a fresh SA's first packet?"
[[sa]]
name = "A"
line = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 33 {aead}"
[[step]]
do = "newsa"
sa = "A"
[[step]]
do = "send"
sa = "A"
seqs = [1, 1, 1]
  [[step.expect]]
  option = "strict-windows"
  delivered = 1
  [[step.expect]]
  delivered = 2
"""


@pytest.mark.parametrize(("options", "delivered"), [([], 2), (["ring-windows"], 2), (["strict-windows"], 1)])
def test_rings_and_strict_windows(tmp_path, options, delivered):
    path = tmp_path / "ring.toml"
    path.write_text(RING.format(aead=f"aead rfc4106(gcm(aes)) 0x{'07' * 20} 128"))
    result = invoke(path, "--json", *(f"--option={option}" for option in options))
    assert result.exit_code == 0, result.output
    (cell,) = json.loads(result.stdout)["cells"]
    assert cell["steps"][1]["got"]["delivered"] == delivered
