"""Every command's tables at 80 and at 40 columns, through a pipe: whole words, no ellipsis, no blanks at line ends."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from espsim.cli.main import main

DUMP = """src 198.51.100.1 dst 192.0.2.1
\tproto esp spi 0x00000155 reqid 1 mode transport
\treplay-window 32
\taead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src 198.51.100.1/32 dst 192.0.2.1/32
src 2001:db8:1:2:3:4:5:6 dst 2001:db8:1:2:3:4:5:7
\tproto esp spi 0x00000255 reqid 2 mode transport
\treplay-window 32
\taead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src 2001:db8:1:2:3:4:5:6/128 dst 2001:db8:1:2:3:4:5:7/128
"""
MARVELL = "marvell-cn10k-dpdk"
COMMANDS = {
    "demo": ("demo",),
    "engines": ("engines",),
    "engines suites": ("engines", "--suites"),
    "policies": ("policies",),
    "run list": ("run", "--list"),
    "run": ("run", "s02", "s24", "--policy", "rfc2401,full-4301"),
    "run model": ("run", "duplicate-spi", "--model", MARVELL, "--trace"),
    "models": ("models",),
    "models show": ("models", "show", MARVELL),
    "models compare": ("models", "compare", MARVELL, "nvidia-mlx5-linux-packet"),
    "models find": ("models", "find", "marvell"),
    "spi": ("spi", "--sas", "100", "--range", "0x100-0xffff", "--model", MARVELL, "--assume", "model"),
    "audit": ("audit", "{dump}", "--model", MARVELL, "--model", "intel-82599-linux", "--assume", "model"),
    "decap": ("decap", "{folder}/esn.pcap", "--sad", "{folder}/esn.sad", "-o", "{folder}/o.pcap", "--reference"),
    "decap model": (
        "decap", "{folder}/two-peers.pcap", "--sad", "{folder}/two-peers.sad", "-o", "{folder}/o.pcap", "--reference",
        "--model", "marvell-cn10k-linux-v5", "--assume", "model",
    ),
    "encap": ("encap", "{folder}/clear.pcap", "--sad", "{folder}/clear.sad", "-o", "{folder}/o.pcap", "--reference"),
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    assert CliRunner().invoke(main, ["samples", str(folder)]).exit_code == 0
    dump = folder / "dump.txt"
    dump.write_text(DUMP)
    return {"folder": str(folder), "dump": str(dump)}


def printed(command, places, columns, *more):
    words = [word.format(**places) for word in COMMANDS[command]]
    result = CliRunner().invoke(main, [*words, *more], env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    assert result.exit_code in (0, 1), result.output
    return result.output


def words_of(text):
    return {word.strip(":,;().") for word in text.split()}


SLOW = {"models compare"}


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in COMMANDS]
)
def test_no_word_is_cut_or_broken(command, columns, places):
    text = printed(command, places, columns)
    assert "…" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert all(line == line.rstrip() for line in lines)
    broken = words_of(text) - words_of(printed(command, places, columns, "--wide"))
    # What narrow output has besides: the headers in front of stacked cells, and the line about columns left out.
    assert not {word for word in broken if re.search(r"\d", word)}, broken
    # A line is longer than the terminal only where a word alone is, or where it is a command to be copied.
    for line in lines:
        indent = len(line) - len(line.lstrip())
        assert len(line) <= columns or " " not in line.strip() or line[indent:].startswith("espsim "), line


def test_no_color_leaves_no_escape(monkeypatch):
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    runner, terminal = CliRunner(), {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    words = ["run", "s02", "--policy", "rfc4301"]
    assert "\x1b[" in runner.invoke(main, words, env=terminal).stdout
    assert "\x1b" not in runner.invoke(main, words, env={**terminal, "NO_COLOR": "1"}).stdout
