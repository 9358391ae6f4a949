"""What the README shows is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from espsim.core.verdict import DeviceOutcome, Verdict
from tests.command import espsim_text

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_first_sh_block_is_the_two_commands():
    block = re.search(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert block is not None
    main_job, tests = block.group(1).splitlines()
    assert main_job.endswith("espsim demo")
    assert "pytest" in tests
    assert all(line.startswith("python3 -m venv") for line in (main_job, tests))


def test_the_demo_is_shown_as_it_is():
    shown = "\n".join(line.rstrip() for line in espsim_text("demo")[1].rstrip().splitlines())
    assert f"```text\n{shown}\n```" in TEXT


def test_the_explained_packet_is_shown_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert espsim_text("samples", "esp")[0] == 0
    said = espsim_text("explain", "esp/esn.pcap", "--sad", "esp/esn.sad", "--width", "80")[1]
    block = next(b for b in re.findall(r"```text\n(.*?)\n```", TEXT, re.DOTALL) if b.startswith("frame 1 of"))
    parts = block.split("\n...\n")
    assert len(parts) == 3
    for part in parts:
        assert part in said


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_in_the_table(verdict):
    assert f"| {verdict.name} | {verdict.sentence} | {verdict.counter or 'none'} |" in TEXT


@pytest.mark.parametrize("outcome", list(DeviceOutcome))
def test_every_device_outcome_is_in_the_table(outcome):
    assert f"| {outcome.name} | {outcome.sentence} |" in TEXT


def test_every_dependency_earns_its_line():
    import tomllib

    project = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    table = TEXT[TEXT.index("## Dependencies") :]
    for requirement in wanted:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name == "espsim" or name in table


def test_the_threads_answer_is_what_the_runs_say():
    from espsim.analysis.occupancy import shared_across
    from espsim.scenario import android_marvell, default_rule

    section = TEXT[TEXT.index("## The thread's answer") :].split("\n## ")[0]
    assert len(section.splitlines()) <= 42  # a heading, a blank line, and forty
    said = " ".join(section.split())
    cells = android_marvell.run().cells
    intended = android_marvell.intended_api(list(dict.fromkeys(cell.policy for cell in cells)))
    for topic, text in android_marvell.conclude(cells, android_marvell.odds_of(shared_across), intended):
        assert f"- **{topic}**: {text}" in said
    for fit in default_rule.run():
        name = f"`{fit.default}`" if fit.toggle == "none" else f"`{fit.default}`, toggle `{fit.toggle}`"
        row = next(line for line in section.splitlines() if line.startswith(f"| {name} |"))
        place = [party.name for party in default_rule.PARTIES].index(fit.party)
        assert row.strip("| ").split(" | ")[place + 1] == fit.text


def test_the_demo_fits_a_screen():
    from espsim.report.demo import NEXT

    said = espsim_text("demo")[1]
    assert max(map(len, said.splitlines())) <= 80
    assert all(len(part.splitlines()) <= 24 for part in said.split("\n\n"))
    assert [line.strip() for line in said.splitlines() if line.strip().startswith("espsim ")] == [
        command for command, _what in NEXT
    ]
