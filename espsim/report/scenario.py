"""Scenario results for a terminal: a table a cell, and every expectation that was not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espsim.report.terminal import console, table


def print_cells(name: str, question: str, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print the cells of `espsim run` (as its JSON has them)."""
    out = console()
    out.print(f"[bold]{name}[/bold]: {question}")
    for cell in cells:
        out.print(f"\npolicy {cell['policy']}, {_who(cell['model'])}")
        for assumption in cell["assumptions"]:
            out.print(f"  assumed: {assumption}", markup=False)
        rows = [(step["do"], step["sa"], _got(step["got"]), _mark(step)) for step in cell["steps"]]
        out.print(table(("step", "SA", "answer", ""), rows))
        for step in cell["steps"]:
            for note in step.get("notes", ()):
                out.print(f"  {note}", markup=False)
            for failure in step["failures"]:
                out.print(
                    f"  FAILED {step['do']} {step['sa']}: {failure['key']} expected {failure['expected']},"
                    f" got {failure['got']}",
                    markup=False,
                )
    bad = sum(bool(step["failures"]) for cell in cells for step in cell["steps"])
    out.print(f"\n{bad} expectations not met" if bad else "\nevery expectation met")


def _who(model: str) -> str:
    return "software lookup alone" if model == "software" else f"model {model} beside the software lookup"


def _mark(step: Mapping[str, Any]) -> str:
    return "FAILED" if step["failures"] else ""


def _got(got: Mapping[str, Any]) -> str:
    if "result" in got:
        text = counts(got["result"])
        return f"{text}; device {counts(got['offload'])}" if "offload" in got else text
    parts = [f"{got['delivered']} delivered"]
    verdicts = {k: v for k, v in got["verdicts"].items() if k != "DELIVERED"}
    parts += [counts(part) for part in (verdicts, got["linux_counters"]) if part]
    if "device" in got:
        parts.append(f"device {counts(got['device'])}")
        if got["surfacing"]:
            parts.append(counts(got["surfacing"]))
    return "; ".join(parts)


def counts(table_of_counts: Mapping[str, int]) -> str:
    """`OK` for one, `OK x5, ENOENT` for more."""
    return ", ".join(name if n == 1 else f"{name} x{n}" for name, n in table_of_counts.items()) or "-"
