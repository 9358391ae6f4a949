"""Random requests and batches on this machine's kernel and on the model: no answer differs.

A few seconds of them here, and minutes under the marker `long`. What the running kernel cannot do (no ESP type, no such
algorithm) is not compared, and the model is not asked it, so that both sides go on from the same states.
"""

from __future__ import annotations

import io
import json
import random
import time
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.fuzz.draw import a_command, a_request
from espsim.xfrm.live import SAME, kernel_of, run_live, running_release
from espsim.xfrm.live_netlink import LiveKernel
from espsim.xfrm.requests import run_requests

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("live")]

KERNEL = kernel_of(running_release())
NO_TYPE, NO_ALGORITHM = "Requested type not found", "algorithm not found"
RESIZE = 0.04
"""Seconds within which a resize is done (xfrm_hash_resize is queued work); another request queues a second."""
_PAST_ITS_TYPE = {"OK", "EEXIST", "ESRCH"}
RCU = 0.1
"""Seconds after which the extra state of a refused IPComp SA is gone: xfrm_state_gc_task waits for RCU."""


def cannot(line: str, answer: dict[str, Any]) -> bool:
    """Whether this kernel lacks what the line asks for; `no(such)` no kernel has."""
    text = answer["extack"] or ""
    return text == NO_TYPE or (NO_ALGORITHM in text and "no(such)" not in line)


def without_windows(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of the model as `state_from` reads the kernel's."""
    answer = json.loads(json.dumps(answer))
    for state in (*answer.get("states", ()), answer.get("reply", {})):
        for context in ("replay", "replay_esn"):
            state.pop(context, None)
    return answer


def requests_agree(seed: int, count: int) -> int:
    """Ask both sides; how many answers were compared. Fails at the first that differs, with what led to it."""
    rng, model, told = random.Random(seed), Netns(KERNEL), []
    with LiveKernel.made() as kernel:
        for _ in range(count):
            line = a_request(rng)
            theirs = kernel.ask(line)
            if cannot(line, theirs):
                continue
            told.append(line)
            [ours] = run_requests(model, [line])
            assert without_windows(ours) == theirs, told
            if line.startswith(("NEWSA", "UPDSA")) and "comp=" in line and theirs["result"] in _PAST_ITS_TYPE:
                time.sleep(RCU)
    return len(told)


def lines_agree(seed: int, count: int) -> None:
    rng = random.Random(seed)
    text = "\n".join(a_command(rng) for _ in range(count))
    result = run_live(list(read_batch(io.BytesIO(text.encode()), "-")))
    assert [(c.line, c.command, c.live, c.model) for c in result.differences] == []
    assert sum(c.verdict == SAME for c in result.lines) > 0.9 * count


@pytest.mark.parametrize("seed", range(3))
def test_requests_at_random_are_answered_alike(seed: int):
    assert requests_agree(seed, 400) > 300


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_batches_at_random_are_answered_alike(seed: int):
    lines_agree(seed, 70)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 400, 100))
def test_many_requests_at_random_are_answered_alike(first: int):
    for seed in range(1000 + first, 1100 + first):
        requests_agree(seed, 300)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 60, 10))
def test_many_batches_at_random_are_answered_alike(first: int):
    for seed in range(1000 + first, 1010 + first):
        lines_agree(seed, 150)


def test_the_comparison_can_fail():
    """An answer of another kernel is recognised as different."""
    with LiveKernel.made() as kernel:
        lines = [f"ALLOCSPI src=10.0.0.1 dst=10.0.0.{n} proto=esp min=5 max=5" for n in (2, 3)]
        theirs = [kernel.ask(line) for line in lines]
    other = "rfc2401" if theirs[1]["result"] == "ENOENT" else "rfc4301"
    assert [without_windows(answer) for answer in run_requests(Netns(other), lines)] != theirs


@pytest.mark.parametrize("others", [7, 8, 20])
def test_a_resize_turns_the_order_of_a_chain_round(others: int):
    """Of two acquires that a request fits the newer is found first, and after a resize of the tables the older."""
    to = "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp"
    lines = [f"{to} min=0 max=0 mark={mark}/{mark}" for mark in (1, 2)]
    lines += [f"{to} min={n + 10} max={n + 10} reqid={n + 1}" for n in range(others)] + [f"{to} min=5 max=5 mark=3/3"]
    with LiveKernel.made() as kernel:
        for line in lines:
            theirs = kernel.ask(line)
            time.sleep(RESIZE)
    *_, ours = run_requests(Netns(KERNEL), lines)
    assert without_windows(ours) == theirs
