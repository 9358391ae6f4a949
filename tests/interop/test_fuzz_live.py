"""`espsim xfrm --fuzz --live`: this kernel and its model do not differ, and a difference from another rule is found."""

from __future__ import annotations

import json

import pytest

from tests.command import espsim_text

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("live")]

KNOWN: dict[str, str] = {}
"""Differences that are known: the last line of the script, and why it is so. There are none."""


def differing(*words: object) -> tuple[int, str | None, str]:
    """The exit status, the line that differs, and the script."""
    status, out, err = espsim_text("xfrm", "--fuzz", "--live", "--json", *words)
    assert err == ""
    result = json.loads(out)
    difference = result["difference"]
    assert result["lines"] > result["not_comparable"]
    return status, None if difference is None else difference["lines"][-1]["line"], result["script"] or ""


def test_another_rule_is_told_from_this_kernel():
    status, line, script = differing("--policy", "openbsd", "--seconds", 60)
    assert status == 1
    assert line is not None
    assert "#   kernel " in script
    assert "#   the model's openbsd" in script


def test_a_few_batches_do_not_differ():
    status, line, script = differing("--seconds", 1)
    assert (status, line) == (0, None), script


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_twenty_seconds_do_not_differ(seed):
    status, line, script = differing("--seconds", 20, "--seed", seed)
    assert status == 0 or line in KNOWN, script
