"""What a replay window refuses of a stream that was reordered and lost some packets on its way.

A sender numbers its packets from 1. Each is lost with chance `loss`. Of the others, a share `share` is late by a number
of packets that is uniform in 1 to `reorder`. The window is the reference path's (sad/window.py); with `ring` it is
Linux's ring. No packet is forged or sent twice, so every refused packet is a good one.
"""

from __future__ import annotations

import random

from espsim.analysis.sweep.questions.kind import (
    LOSES_NONE,
    LOSES_SOME,
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    number,
    whole,
    yes_or_no,
)
from espsim.core.verdict import Verdict
from espsim.sad.window import make_window


def run(params: Params, seed: int, _given: Given) -> TaskResult:
    """Send the stream through the window."""
    window = make_window(params["window"], esn=params["esn"], ring=params["ring"])
    arrived = arrivals(params["packets"], params["reorder"], params["share"], params["loss"], random.Random(seed))
    refused = run_longest = run_now = 0
    for seq in arrived:
        seq64 = window.infer(seq)
        # With ESN a number left of the window is taken for one of the next 2^32, and its ICV is wrong.
        if seq64 == seq and window.check(seq64, seq) is Verdict.DELIVERED:
            window.advance(seq64)
            run_now = 0
        else:
            refused, run_now = refused + 1, run_now + 1
            run_longest = max(run_longest, run_now)
    arrived_count = len(arrived)
    return TaskResult(LOSES_SOME if refused else LOSES_NONE, {
        "arrived": arrived_count, "refused": refused, "refused_share": refused / max(1, arrived_count),
        "longest_run": run_longest,
    })  # fmt: skip


def arrivals(packets: int, reorder: int, share: float, loss: float, rng: random.Random) -> list[int]:
    """The sequence numbers in the order in which they come."""
    placed = []
    for seq in range(1, packets + 1):
        # Always three draws for a packet, so that one packet's outcome does not change the draws of the next.
        lost, late, by = rng.random(), rng.random(), rng.random()
        if lost < loss:
            continue
        delay = 1 + int(by * reorder) if reorder and late < share else 0
        placed.append((seq + delay + (0.5 if delay else 0.0), seq))  # 0.5: it follows the packet with that number
    return [seq for _at, seq in sorted(placed)]


KIND = QuestionKind(
    "window", "what a replay window refuses of a reordered stream", {
        "window": Axis("the window, in packets; 0: none", whole(0, 4096)),
        "reorder": Axis("how many packets late a packet is, at most", whole(0, 1_000_000), 64),
        "share": Axis("the share of packets that are late", number(0, 1), 0.05),
        "loss": Axis("the share of packets that never come", number(0, 1), 0.0),
        "packets": Axis("packets sent", whole(1, 10_000_000), 20_000),
        "esn": Axis("extended sequence numbers", yes_or_no, False),
        "ring": Axis("Linux's ring, where the size does not divide 2^32", yes_or_no, False),
    }, run, headline="refused_share", shown=("refused_share", "longest_run"), along="window",
)  # fmt: skip
