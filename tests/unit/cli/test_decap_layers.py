"""decap of captures with other layers around ESP: opened, or named. Files: tests/vectors/cases (see its README)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main

CASES = Path(__file__).parents[2] / "vectors" / "cases"
WAYS = [(), ("--reference",), ("--workers", "2")]


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


@pytest.mark.parametrize("way", WAYS, ids=["batches", "reference", "workers"])
@pytest.mark.parametrize(
    ("capture", "delivered", "ignored"),
    [("l01-nflog.pcap", 2, {}), ("l04-pppoe.pcap", 1, {}), ("l14-gre.pcap", 0, {"gre": 1})],
)
def test_opened_or_named(tmp_path, way, capture, delivered, ignored):
    lines = tmp_path / "verdicts.jsonl"
    words = ("decap", CASES / capture, "--sad", CASES / "link.sad", "-o", tmp_path / "out.pcap", "--verdicts", lines)
    result = run(*words, "--json", *way)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["delivered"], report["ignored_by"]) == (delivered, ignored)
    assert report["ignored"] == sum(ignored.values())
    kinds = [line["kind"] for line in map(json.loads, lines.read_text().splitlines()) if line["verdict"] == "ignored"]
    assert kinds == list(ignored)


def test_the_summary_names_what_was_ignored(tmp_path):
    result = run("decap", CASES / "l14-gre.pcap", "--sad", CASES / "link.sad", "-o", tmp_path / "out.pcap")
    assert "1 frame ignored (not ESP: gre 1)" in result.stdout
