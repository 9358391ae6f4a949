"""Rings as 6.1, 6.12, 7.2 and 7.3 keep them: every `ring_*` row that was recorded, asked through the request language.

tests/vectors/xfrm_conformance_new.jsonl has them: an SA, the packets that it was sent, and what became of each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

VECTORS = Path(__file__).parents[2] / "vectors" / "xfrm_conformance_new.jsonl"
ROWS = [row for row in map(json.loads, VECTORS.read_text().splitlines()) if row["exp"].startswith("ring_")]
KERNELS = {"6.1.176": "linux-6.1", "6.12.117": "linux-6.12", "7.2.13": "linux-7.2", "7.3.4": "linux-7.3"}
EXPERIMENTS = list(dict.fromkeys(row["exp"] for row in ROWS))


def answers(exp: str, kernel: str, *, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    lines = [row["cmd"] for row in ROWS if row["exp"] == exp]
    given = run_requests(Netns(kernel, options=options), lines, exp)
    return [json.loads(json.dumps(answer)) for answer in given]


def alike(expected: Any, given: Any) -> Any:
    """The part of an answer that the row has too; a row's `sel` is the selector in text, which answers lack."""
    if isinstance(expected, dict) and isinstance(given, dict):
        return {key: alike(expected[key], given.get(key)) for key in expected if key != "sel"}
    return given


@pytest.mark.parametrize("exp", EXPERIMENTS)
@pytest.mark.parametrize("options", [(), ("ring-windows",)])
def test_every_row_is_predicted(exp: str, options: tuple[str, ...]) -> None:
    rows = [row for row in ROWS if row["exp"] == exp]
    versions = {version for row in rows for version in row["results"]}
    assert {"6.1.176", "6.12.117", "7.3.4"} <= versions <= set(KERNELS)
    for version in sorted(versions):
        for row, given in zip(rows, answers(exp, KERNELS[version], options=options), strict=True):
            expected = row["results"][version]
            where = f"{exp}.{row['step']} on {version}: {row['cmd']}"
            assert alike(expected, given) == {**expected, **without_sel(expected)}, where


def without_sel(expected: dict[str, Any]) -> dict[str, Any]:
    if "reply" not in expected:
        return {}
    return {"reply": {key: value for key, value in expected["reply"].items() if key != "sel"}}


@pytest.mark.parametrize("exp", ["ring_20", "ring_33", "ring_esn_33"])
def test_a_strict_window_passes_no_number_twice(exp: str) -> None:
    lines = [row["cmd"] for row in ROWS if row["exp"] == exp]
    passed = [
        line
        for line, given in zip(lines, answers(exp, "linux-6.12", options=("strict-windows",)), strict=True)
        if given["result"] == "delivered"
    ]
    assert len(passed) == len(set(passed))
    rings = [
        line for line, given in zip(lines, answers(exp, "linux-6.12"), strict=True) if given["result"] == "delivered"
    ]
    assert len(rings) > len(set(rings))
