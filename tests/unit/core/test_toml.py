"""TOML of a user: whatever it is, one InputError with its line, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from espsim.core.errors import InputError
from espsim.core.toml import DEEPEST, parse_toml, read_text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = 1\nb = ", "f:2: not TOML: Invalid value"),
        ("a = 1\nb = " + "9" * 5000, "f:2: not TOML: a number of too many digits"),
        ("a = 0x" + "f" * 5000, "f: a number of too many digits"),
        ("a = [" * 1 + "[" * 100_000, "f:1: not TOML: nested too deeply"),
        (".".join(["a"] * 1000) + " = 1", "f:1: not TOML that can be used: nested too deeply"),
        ("a = " + "[" * 50 + "]" * 50, "f:1: not TOML that can be used: nested too deeply"),
        ("a = 1\na = 2", "f:2: not TOML: Cannot overwrite a value"),
    ],
)
def test_refused(text: str, error: str):
    with pytest.raises(InputError) as refusal:
        parse_toml(text, "f")
    assert str(refusal.value) == error


def test_taken():
    text = ".".join(["a"] * DEEPEST) + " = 18446744073709551615"
    value: Any = parse_toml(text, "f")
    for _ in range(DEEPEST):
        value = value["a"]
    assert value == 2**64 - 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"a = 1\n\0", "a NUL byte: this is not text"),
        (b"a = 1\n\xff", "not UTF-8 text"),
        (b"#" * (5 << 20), "longer than 4,194,304 bytes: this is not a file of this kind"),
    ],
)
def test_what_is_no_text(tmp_path, data, error):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        read_text(path, "x")
    assert refusal.value.what == error
    assert refusal.value.line in (2, None)


def test_what_never_ends_or_is_not_there():
    for name in ("/dev/zero", "/", "no/such", "a\0b"):
        with pytest.raises(InputError):
            read_text(Path(name), name)
