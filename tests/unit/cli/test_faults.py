"""Errors: one line and an exit status, whatever is raised; a traceback only with --debug, and without keys."""

from __future__ import annotations

import importlib.metadata

import pytest

from espsim.cli.start import answer
from espsim.core.errors import InputError
from espsim.netlink.netns import Netns

CLICK_8_1 = importlib.metadata.version("click").startswith("8.1.")
KEY = "00112233445566778899aabbccddeeff"
LINE = f"xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 enc cbc(aes) 0x{KEY}\n"


@pytest.fixture
def batch(tmp_path):
    path = tmp_path / "batch"
    path.write_text(LINE)
    return str(path)


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raises(self: object, request: object) -> None:
        raise error

    monkeypatch.setattr(Netns, "newsa", raises)


ERRORS = [
    ValueError(f"0x{KEY}"), RecursionError(), MemoryError(), KeyError(bytes.fromhex(KEY)), AssertionError(),
    OSError(5, "Input/output error"), ExceptionGroup(KEY, [TypeError(KEY)]),
    UnicodeDecodeError("utf-8", b"\0", 0, 1, KEY),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_fault_is_one_line(monkeypatch, capsys, batch, error):
    broken(monkeypatch, error)
    assert answer(["xfrm", batch]) == 3
    said = capsys.readouterr().err
    assert said.startswith(
        f"espsim: this is a fault of espsim, not of its input: {type(error).__name__} in espsim/xfrm/"
    )
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert KEY[:8] not in said


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_debug_shows_the_traceback_without_keys(monkeypatch, capsys, batch, error):
    broken(monkeypatch, error)
    assert answer(["--debug", "xfrm", batch]) == 3
    said = capsys.readouterr().err
    assert "Traceback (most recent call last):" in said
    assert 'test_faults.py", line' in said
    assert said.splitlines()[-1].startswith("espsim: this is a fault of espsim")
    assert KEY[:8] not in said
    assert "\\x" not in said


def test_debug_changes_nothing_else(capsys, batch):
    assert answer(["--debug", "xfrm", batch]) == answer(["xfrm", batch]) == 0
    assert answer(["--debug", "xfrm", f"{batch}.none"]) == 2
    assert capsys.readouterr().err == f"espsim: {batch}.none: cannot be read: No such file or directory\n"
    assert answer(["xfrm", "--debug", batch]) == 2  # it goes before the command


def test_bad_input_is_one_line(monkeypatch, capsys, batch):
    broken(monkeypatch, InputError(f"two\nlines \x1b[31m of 0x{KEY}", where="\x9b1m\u202e", line=3))
    assert answer(["xfrm", batch]) == 2
    assert capsys.readouterr().err == "espsim: \\x9b1m\\u202e:3: two\\nlines \\x1b[31m of <<Keys hidden>>\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ["\x1b[31m"],
            r"No such command '\x1b[31m'",
            marks=pytest.mark.skipif(CLICK_8_1, reason="to click 8.1 this is an option, and it shows the help"),
        ),
        (["decap", "--\x1b[31m\u202e"], r"--\x1b[31m\u202e"),
        (["decap"], "Missing argument 'IN'"),
        (["completion"], "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
        (["bench", "\nx"], r"'\\nx' is not one of"),
        (["demo", "x" * 100_000], "unexpected extra argument"),
    ],
)
def test_what_click_refuses(capsys, words, said):
    assert answer(words) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("Usage: espsim ")
    assert said.replace("\\\\", "\\") in err.replace("\\\\", "\\")
    assert len(err) < 3000
    assert err.splitlines()[-1].startswith("Error: ")
    assert err.replace("\n", "").isprintable()


def test_help_and_no_command(capsys):
    assert answer(["--help"]) == 0
    assert "--debug" in capsys.readouterr().out
    assert answer(["decap", "--help"]) == 0
    assert answer(["--version"]) == 0
