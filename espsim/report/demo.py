"""The screen of `espsim demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espsim.report.scenario import counts
from espsim.report.terminal import console, table


def print_demo(steps: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """The trace, the table of models, a sentence a model (from the demo's JSON)."""
    out = console()
    out.print("[bold]One ESP packet through the reference path[/bold]")
    out.print(table(("step", "what happens", "source"), [(step, text, section) for section, step, text in steps]))
    sent = rows[0]["sent"]
    out.print(f"\n[bold]Two inbound SAs with one SPI: A on 192.0.2.1, B on 192.0.2.2; {sent} packets to each[/bold]")
    out.print(
        table(
            ("model", "add A", "add B", "A got", "B got", "wrong SA", "drops by Linux counter"),
            [
                (
                    row["model"], row["add_a"], row["add_b"], row["delivered_a"], row["delivered_b"], row["wrong_sa"],
                    counts(row["linux_counters"]),
                )
                for row in rows
            ],
        )
    )  # fmt: skip
    out.print()
    out.print(table(("model", "in a sentence"), [(row["model"], row["sentence"]) for row in rows]))
