"""What a shell completes, by click's own interface and by bash itself. It loads no kernel and runs no word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from espsim.cli.complete import SHELLS
from espsim.cli.main import main
from espsim.offload.model import shipped_models
from espsim.scenario.schema import builtin_names
from tests.command import espsim_text

REQUESTS = (".TH", ".ad", ".nh", ".SH", ".PP", ".TP", ".nf", ".fi")
FREE = {"KEY=VALUE", "PREFIX", "MIN-MAX", "ADDRESS", "'PROGRAM {in} {sad} {out}'", None}
"""What nothing can complete: a value, a network, a range, an address, a program, words of a product."""


def untaught(command, path=""):
    """(path, parameter) of every text parameter that is not completed."""
    for param in command.params:
        if type(param.type) is click.types.StringParamType:
            yield path, param
    for name, below in getattr(command, "commands", {}).items():
        yield from untaught(below, f"{path} {name}".strip())


def offered(*words):
    """(what a shell is given, of which kinds) for the last word."""
    *before, last = words
    found = ShellComplete(main, {}, "espsim", "_ESPSIM_COMPLETE").get_completions(list(before), last)
    return [item.value for item in found if item.type == "plain"], {item.type for item in found}


@pytest.mark.parametrize(
    ("words", "values", "kinds"),
    [
        (("run", "s0"), [name for name in builtin_names() if name.startswith("s0")], {"plain", "file"}),
        (("run", "replay", "--model", "intel-8"), ["intel-82599-dpdk", "intel-82599-linux"], {"plain", "file"}),
        (("models", "show", "nvidia-mlx5-linux-p"), ["nvidia-mlx5-linux-packet"], {"plain", "file"}),
        (("run", "--policy", "rfc4301,free"), ["rfc4301,freebsd"], {"plain"}),
        (("run", "--policy", "freebsd,free"), [], set()),
        (("xfrm", "--policy", "linux-6.1"), ["linux-6.1", "linux-6.1.192", "linux-6.12", "linux-6.18"], {"plain"}),
        (("decap", "x", "--engine", ""), ["auto", "ipsec-mb", "libcrypto", "cryptography"], {"plain"}),
        (("bench", "--engines", "libcrypto,ipsec"), ["libcrypto,ipsec-mb"], {"plain"}),
        (("encap", "--insecure", "null,"), ["null,ctr"], {"plain"}),
        (("lesson", "e"), ["esn"], {"plain"}),
        (("lesson", "p"), ["plan"], {"plain"}),
        (("sweep", "run", "coll"), ["collisions"], {"plain", "file"}),
        (("bench", "look"), ["lookup"], {"plain"}),
        (("decap", "no"), [], {"file"}),
        (("decap", "a", "--sad", ""), [], {"file"}),
        (("audit", "-", "--html", ""), [], {"file"}),
        (("samples", ""), [], {"dir"}),
        (("decap", "--keep"), ["--keep-window"], {"plain"}),
        (("completion", ""), list(SHELLS), {"plain"}),
        (("kit", "run", "x", "--device", "marvell-cn9k"), ["marvell-cn9k-dpdk"], {"plain"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_offered(words, values, kinds):
    assert offered(*words) == (values, kinds)


def test_all_models_scenarios_and_commands():
    assert offered("run", "--model", "")[0] == shipped_models()
    assert set(builtin_names()) < set(offered("run", "")[0])
    assert set(offered("")[0]) == set(main.commands)


def test_every_word_that_can_be_completed_is():
    assert {param.metavar for _path, param in untaught(main) if param.name != "ident"} <= FREE


@pytest.mark.parametrize("word", ["'", '"', "\x1b[2J", "$(touch x)", "`touch x`", "\\", "-", "é" * 1000, "/nowhere/"])
def test_odd_words_are_offered_nothing_and_run_nothing(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("run", word), ("decap", word), (word, ""), ("run", "--width", word, "s0"), ("models", "show", word)):
        assert all(value.startswith(("s0", "-")) for value in offered(*words)[0] if word not in words[:1])
    assert list(tmp_path.iterdir()) == []


COMPLETE = """
eval "$1"
shift
for line; do
  IFS=/ read -r -a COMP_WORDS <<<"$line"
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
  _espsim_completion espsim 2>/dev/null
  printf '%s\\n' "${COMPREPLY[*]}"
done
"""


def test_bash_completes(tmp_path, monkeypatch):
    """And runs no word of the line."""
    program, bash = Path(sys.executable).with_name("espsim"), shutil.which("bash")
    if bash is None or not program.exists():
        pytest.skip("bash, or espsim beside this Python, is not installed")
    monkeypatch.chdir(tmp_path)
    script = espsim_text("completion", "bash")[1]
    ended = subprocess.run(
        [bash, "-c", COMPLETE, "-", script, "espsim/run/esn-", "espsim/run/$(touch x)"],
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ended.stdout == "esn-rollover\n\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell):
    status, script, _ = espsim_text("completion", shell)
    assert status == 0
    assert "_ESPSIM_COMPLETE" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: its script is not read")
    subprocess.run([program, "-n", "-c", script], check=True, timeout=60)


def test_fish_completes_lists_and_titles_with_commas():
    script = espsim_text("completion", "fish")[1]
    assert 'string split -m 1 "," $completion' in script
    assert 'string split "," $completion' not in script
    fish = shutil.which("fish")
    if fish is None or not Path(sys.executable).with_name("espsim").exists():
        pytest.skip("fish, or espsim beside this Python, is not installed: its script is not run")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        [fish, "-c", f"{script}\ncomplete -C 'espsim run --policy rfc4301,free'; complete -C 'espsim lesson two'"],
        env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ended.stdout == "rfc4301,freebsd\ntwo-addresses\tOne SPI, two addresses\n"


def test_no_kernel_is_loaded():
    code = """
import sys
from click.shell_completion import ShellComplete
from espsim.cli.main import main
ask = ShellComplete(main, {}, "espsim", "_ESPSIM_COMPLETE").get_completions
for line in ("run", "run --model", "decap x --engine", "lesson", "run --policy", "sweep run", "kit run x --only"):
    assert len(ask(line.split(), "")) > 3, line
print([name for name in ("numba", "llvmlite") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[]\n"


def test_manual_pages_are_whole_and_roff(tmp_path):
    status, said, _ = espsim_text("man", tmp_path / "man1")
    assert status == 0
    pages = sorted((tmp_path / "man1").iterdir())
    assert [Path(line) for line in said.splitlines()] == pages
    names = {page.name for page in pages}
    assert {"espsim.1", "espsim-decap.1", "espsim-models-show.1", "espsim-sweep-run.1"} <= names
    assert len(names) == len(list(commands(main)))
    for page in pages:
        text = page.read_text()
        assert text.startswith('.TH "ESPSIM')
        for heading in (".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"):
            assert f"\n{heading}\n" in text
        for line in text.splitlines():
            assert not line.startswith("'")
            assert line[:1] != "." or line.split()[0] in REQUESTS, line
            assert "-" not in line.replace(r"\-", ""), line
            assert line.isascii(), line
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed: the pages are not formatted")
    for page in pages:
        ended = subprocess.run([groff, "-man", "-ww", "-Tascii", page], capture_output=True, text=True, check=True)
        assert ended.stderr == ""
    decap = subprocess.run(
        [groff, "-man", "-Tascii", "-P-c", "-P-b", "-P-u", tmp_path / "man1" / "espsim-decap.1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "espsim decap [OPTIONS] IN" in decap
    assert "--keep-window" in decap


def commands(command):
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)


def test_roff_escapes():
    from espsim.report.roff import Manual, escaped, roff

    assert escaped(r".a -b \c 'd'") == r"\&.a \-b \ec \(aqd\(aq"
    page = roff(Manual("x", ".s", "x [A]", [(True, ".nf\n'q")], [(".o", "")], [], [], "1"))
    assert "\n\\&.nf\n\\(aqq\n" in page
    assert "\n\\fB\\&.o\\fR\n" in page


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    status, said, error = espsim_text("man", tmp_path / "file")
    assert (status, said, error.count("\n")) == (2, "", 1)
    assert espsim_text("man", tmp_path / "file" / "below")[0] == 2
    assert (tmp_path / "file").read_text() == "x"
    with pytest.raises(click.BadParameter):
        main.main(["completion", "tcsh"], standalone_mode=False)
