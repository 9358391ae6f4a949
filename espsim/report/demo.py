"""The screen of `espsim demo`: three parts of at most 24 lines of 80 columns, and three commands to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espsim.report.terminal import console, table

NEXT = (
    ("espsim run android-and-marvell", "the netdev thread's two parties on one host"),
    ("espsim models compare marvell-cn10k-dpdk intel-82599-linux", "two devices beside each other"),
    (
        "espsim samples esp && espsim decap esp/esn.pcap --sad esp/esn.sad -o o.pcap",
        "a capture, and a verdict for every packet",
    ),
    ("espsim explain esp/esn.pcap --sad esp/esn.sad", "one of its packets, byte by byte"),
)
"""Commands that work as they are, and what each shows."""


def print_demo(steps: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the trace, the table of models, a sentence for each model (from the demo's JSON), and what to run next."""
    out = console(most=80)
    out.print("[bold]One ESP packet through the reference path[/bold]", markup=True)
    out.print(table(("step", "what happens", "source"), [(step, text, section) for section, step, text in steps]))
    out.print()
    out.print("[bold]Two inbound SAs with one SPI[/bold]", markup=True)
    out.print(f"A on 192.0.2.1, B on 192.0.2.2; {rows[0]['sent']} packets each; wrong: met the other's keys")
    out.print(
        table(
            ("model", "add B", "A got", "B got", "wrong", "they count as"),
            [
                (
                    row["model"], row["add_b"], row["delivered_a"], row["delivered_b"], row["wrong_sa"],
                    ", ".join(row["linux_counters"]) or ("nothing" if row["wrong_sa"] else "-"),
                )
                for row in rows
            ],
        )
    )  # fmt: skip
    out.print()
    out.print(table(("model", "in a sentence"), [(row["model"], row["sentence"]) for row in rows]))
    out.print()
    out.print("[bold]Go on with[/bold]", markup=True)
    for command, what in NEXT:
        out.print(f"  {what}:", markup=False)
        out.print(f"    {command}", markup=False, soft_wrap=True)
