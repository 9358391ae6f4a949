"""A row of `espsim bench` in a drawing: its curve, and its place on the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
BY_SIZE = ("aead", "pipeline")
"""Benches that are drawn by a packet's size; the others by SAs."""


def usual_sas(rows: Sequence[Row]) -> int | None:
    """The number of SAs that most rows have."""
    sas = [row["sas"] for row in rows]
    return max(dict.fromkeys(sas), key=sas.count, default=None)


def place(row: Row, bench: str) -> int:
    """A row's place on the axis; a mix of sizes is at its mean."""
    return int((row["mean_size"] if bench in BY_SIZE else row["sas"]) or 1)


def curve_name(row: Row) -> str:
    """The name of a row's curve: what distinguishes it from the others."""
    words = [row["what"], row["model"] or "", "" if row["engine"] == "numba" else row["engine"], *numbering(row)]
    return " ".join(word for word in [*words, f"x{row['workers']}" if row["workers"] > 1 else ""] if word)


def numbering(row: Row) -> list[str]:
    """Short words for a pipeline's window and ESN, where they are not the usual 64 without ESN."""
    if row["bench"] != "pipeline":  # the bench of windows has it in its rows' names
        return []
    window = row.get("window")
    return [*([] if window in (None, 64) else [f"window {window}"]), *(["ESN"] if row.get("esn") else [])]


def curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each curve."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(curve_name(row), []).append(row)
    return found
