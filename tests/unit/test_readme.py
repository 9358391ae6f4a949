"""The documents are true: the program does what they show, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from espsim.core.verdict import DeviceOutcome, Verdict
from tests.command import espsim_text

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in [README, *(p for room in ("espsim", "hwmodels", "bench", "tests") for p in (TOP / room).rglob("*.md"))]
}
"""Every document of the repository but the changelog, by its path."""
HOUSE, COMMANDS = PAGES["espsim/README.md"], PAGES["espsim/cli/README.md"]
SCENARIOS, DEVICES = PAGES["espsim/scenario/README.md"], PAGES["hwmodels/README.md"]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """A section from its heading to the next one of its depth."""
    return text[text.index(f"\n## {heading}\n") + 1 :].split("\n## ", maxsplit=1)[0]


def anchors(text: str) -> set[str]:
    """The link fragments of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_front_page_is_short():
    assert len(TEXT.splitlines()) <= 200


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_leads_somewhere(page):
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        there = (TOP / page).parent / path if path else TOP / page
        assert there.exists(), f"{page}: {target}"
        if fragment:
            assert fragment in anchors(there.read_text(encoding="utf-8")), f"{page}: {target}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_file_of_ours_that_is_named_is_there(page):
    for named in re.findall(r"`((?:espsim|hwmodels|bench|tests)/[\w./*-]*)`", PAGES[page]):
        assert list(TOP.glob(named.rstrip("/"))), f"{page}: {named}"


def test_every_command_has_a_line():
    from espsim.cli.main import main

    listed = re.findall(r"^\| `espsim ([a-z]+)` \| .+ \|$", section(TEXT, "Commands"), re.MULTILINE)
    assert sorted(listed) == sorted(main.commands)
    for command in listed:
        assert f"**`espsim {command}" in COMMANDS, command


def test_the_readers_hour():
    """Ten files, each short, and each opens with numbered steps, what it does not do, and its sources."""
    import ast

    rows = re.findall(r"^\| (\d)\. .*\]\((\S+)\) \| .*\]\((\S+)\) \|$", section(TEXT, "A reader's hour"), re.MULTILINE)
    assert [number for number, _one, _many in rows] == list("12345")
    for path in (path for _number, *both in rows for path in both):
        text = (TOP / path).read_text(encoding="utf-8")
        head = ast.get_docstring(ast.parse(text)) or ""
        assert len(text.splitlines()) < 300, path
        assert re.search(r"^1\. .*^2\. ", head, re.DOTALL | re.MULTILINE), path
        assert re.search(r"^What this does not do: ", head, re.MULTILINE), path
        assert "Sources: " in head, path


def test_the_speeds_are_those_of_the_bench_table():
    table = PAGES["bench/README.md"]
    measured = {cells[0]: cells for line in table.splitlines() if len(cells := line.strip("| ").split(" | ")) == 5}
    rows = [line.strip("| ").split(" | ") for line in section(TEXT, "Speed").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 5
    for what, against, shown in rows:
        assert (against, shown) == (measured[what][1], re.sub(r" \([^)]*\)", "", measured[what][4])), what


def test_the_first_sh_block_is_the_two_commands():
    block = re.search(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert block is not None
    main_job, tests = block.group(1).splitlines()
    assert main_job.endswith("espsim demo")
    assert "pytest" in tests
    assert all(line.startswith("python3 -m venv") for line in (main_job, tests))


def test_the_demo_is_shown_as_it_is():
    shown = "\n".join(line.rstrip() for line in espsim_text("demo")[1].rstrip().splitlines())
    assert shown in blocks(COMMANDS, "text")
    (part,) = blocks(TEXT, "text")
    assert part.startswith("Two inbound SAs with one SPI\n")
    assert f"\n\n{part}\n\n" in shown


def test_the_explained_packet_is_shown_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert espsim_text("samples", "esp")[0] == 0
    said = espsim_text("explain", "esp/esn.pcap", "--sad", "esp/esn.sad", "--width", "80")[1]
    block = next(b for b in blocks(COMMANDS, "text") if b.startswith("frame 1 of"))
    parts = block.split("\n...\n")
    assert len(parts) == 3
    for part in parts:
        assert part in said


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_in_the_table(verdict):
    assert f"| {verdict.name} | {verdict.sentence} | {verdict.counter or 'none'} |" in HOUSE


@pytest.mark.parametrize("outcome", list(DeviceOutcome))
def test_every_device_outcome_is_in_the_table(outcome):
    assert f"| {outcome.name} | {outcome.sentence} |" in DEVICES


def test_every_dependency_earns_its_line():
    import tomllib

    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    table = section(TEXT, "Dependencies")
    for requirement in wanted:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name == "espsim" or name in table


def test_the_threads_answer_is_what_the_runs_say():
    from espsim.analysis.occupancy import shared_across
    from espsim.scenario import android_marvell, default_rule

    answer = section(SCENARIOS, "The thread's answer")
    assert len(answer.rstrip().splitlines()) <= 42  # a heading, a blank line, and forty
    said = " ".join(answer.split())
    cells = android_marvell.run().cells
    intended = android_marvell.intended_api(list(dict.fromkeys(cell.policy for cell in cells)))
    for topic, text in android_marvell.conclude(cells, android_marvell.odds_of(shared_across), intended):
        assert f"- **{topic}**: {text}" in said
    for fit in default_rule.run():
        name = f"`{fit.default}`" if fit.toggle == "none" else f"`{fit.default}`, toggle `{fit.toggle}`"
        row = next(line for line in answer.splitlines() if line.startswith(f"| {name} |"))
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
