"""The result of `espsim kit run` for a terminal: a row for each group, then what failed or was skipped, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from espsim.report.terminal import console, table


def print_kit_run(result: Mapping[str, Any]) -> None:
    """Print a result of `espsim kit run --json`."""
    out = console()
    rows = [
        (group["title"], *(group[key] or "-" for key in ("passed", "failed", "skipped"))) for group in result["groups"]
    ]
    out.print(table(("group", "passed", "failed", "skipped"), rows))
    failed = [case for case in result["cases"] if case["result"] == "fail"]
    if failed:
        out.print()
        out.print(table(("failed", "first difference"), [(case["id"], case["why"]) for case in failed]))
    skipped = Counter(case["why"] for case in result["cases"] if case["result"] == "skip")
    if skipped:
        out.print()
        out.print(table(("skipped", "because"), [(n, why) for why, n in skipped.most_common()]))
    out.print()
    out.print(f"{result['passed']} passed, {result['failed']} failed, {result['skipped']} skipped")


def print_kit_export(folder: str, manifest: Mapping[str, Any]) -> None:
    """Print a row for each group, and what to do next."""
    out = console()
    counts = Counter(case["group"] for case in manifest["cases"])
    out.print(table(("group", "cases"), [(group["title"], counts[group["id"]]) for group in manifest["groups"]]))
    out.print()
    frames = sum(case["frames"] for case in manifest["cases"])
    out.print(f"{folder}: {len(manifest['cases'])} cases, {frames} packets; {folder}/README.md says how to use them")
