"""Scenario results for a terminal: a table a cell, and every expectation that was not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espsim.report.matrix import matrix
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


def print_variants(name: str, question: str, source: str, choice: str, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print the cells of a scenario with variants: the matrix; the requests too where there is one policy."""
    out = console()
    out.print(f"{name[0].upper() + name[1:]}: {question}", markup=False)
    out.print(f"source: {source}", markup=False)
    if len({cell["policy"] for cell in cells}) == 1:
        for cell in cells:
            out.print(f"\n{_variant(cell)}policy {cell['policy']}, {_who(cell['model'])}", markup=False)
            out.print(table(("step", "answer"), [row for step in cell["steps"] for row in _asked(step)]))
    rows = [{"id": "", "question": "", "cells": [_outcome(cell) for cell in cells]}]
    out.print()
    out.print(matrix(rows), markup=False, soft_wrap=True)
    if choice:
        out.print(f"\n{choice}", markup=False)


def _variant(cell: Mapping[str, Any]) -> str:
    return "" if cell["variant"] == "-" else f"{cell['variant']}: "


def _outcome(cell: Mapping[str, Any]) -> dict[str, Any]:
    model = "" if cell["model"] == "software" else f" {cell['model']}"
    ok = None if cell["expected"] is None else cell["ok"]
    return {**cell, "variant": f"{cell['variant']}{model}".removeprefix("- ") or "-", "ok": ok}


def _asked(step: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(request, answer) of a step of lines; what the others are asked and answer."""
    got = step["got"]
    if "answers" not in got:
        return [(f"{step['do']} {step['sa']}", _got(got))]
    return [(answer["request"], _answer(answer)) for answer in got["answers"]]


def _answer(answer: Mapping[str, Any]) -> str:
    text = str(answer["result"])
    if isinstance(answer.get("reply"), Mapping):
        text += f" spi {answer['reply']['spi']}"
    if answer.get("counters"):
        text += f" ({counts(answer['counters'])})"
    if "count" in answer:
        text += f" ({answer['count']} states)"
    return text + (f": {answer['extack']}" if answer.get("extack") else "")


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
