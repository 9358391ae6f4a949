"""The tables of `espsim bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from espsim.report.bench_axes import Row, numbering
from espsim.report.terminal import console, table

_SHORT = ("dpdk-test-crypto-perf ",)  # left out of a peer's name in a table; the notes have the whole name


def print_bench(rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """A table for each bench, the pipeline's stages, then the machine, the versions, and how the peers ran."""
    out = console()
    for bench in dict.fromkeys(row["bench"] for row in rows):
        out.print(table(*bench_table([row for row in rows if row["bench"] == bench]), title=bench))
        out.print()
    for what, mine in staged(rows):
        headers, lines = stage_table(mine)
        out.print(table(headers, lines, title=f"{what}: nanoseconds/cycles a packet by stage"))
        out.print()
    out.print(f"{about['machine']}; {', '.join(versions_of(rows, about))}; seed {about['seed']}")
    for note in notes_of(rows, about):
        out.print(note)


def bench_table(rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """(headers, rows) of one bench; empty columns are left out."""
    columns = [column for column in _COLUMNS if any(column[1](row) not in ("", "-") for row in rows)]
    return [head for head, _ in columns], [[cell(row) for _, cell in columns] for row in rows]


def staged(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The benches that were measured stage by stage, with one row for each case, however many peers it has."""
    for what in dict.fromkeys(row["what"] for row in rows if row.get("stages")):
        cases = {
            (*(row[key] for key in ("size", "sas", "engine", "model", "hit")), *numbering(row)): row
            for row in rows
            if row["what"] == what and row.get("stages")
        }
        yield what, list(cases.values())


def stage_table(rows: Sequence[Row]) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """(headers, rows): nanoseconds and cycles of each stage."""
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    lines = []
    for row in rows:
        cells = [_stage(row["stages"].get(name)) for name in names]
        total = sum(stage["ns"] for stage in row["stages"].values())
        engine = " ".join((row["engine"], *numbering(row)))
        lines.append((row["size"], f"{row['sas']:,}", engine, *cells, f"{total:.0f}"))
    return ("bytes", "SAs", "engine", *(name.removesuffix("_rows") for name in names), "all"), lines


def versions_of(rows: Sequence[Row], about: Mapping[str, Any]) -> list[str]:
    """Every program that took part, with its version."""
    versions = [f"{name} {version}" for name, version in about["versions"].items()]
    return versions + list(dict.fromkeys(row["engine_version"] for row in rows if "engine_version" in row))


def notes_of(rows: Sequence[Row], about: Mapping[str, Any]) -> Iterator[str]:
    """How it was measured, and how each peer ran."""
    yield f"Pipeline: batches of {about['batch']:,}. One core for a process. Ratios: median (least-most of rounds)."
    if about["clock_mhz"] and any(row.get("stages") for row in rows):
        yield f"Cycles are those of a counter of {about['clock_mhz']:,.1f} MHz ({about['clock']})."
    yield from dict.fromkeys(f"{row['peer']}: {row['peer_note']}" for row in rows if row["peer"])


def _stage(stage: Mapping[str, float | None] | None) -> str:
    if stage is None:
        return "-"
    ns, cycles = stage["ns"] or 0.0, stage["cycles"]
    shown = f"{ns:.1f}" if ns < 10 else f"{ns:.0f}"
    return shown if cycles is None else f"{shown}/{cycles:.0f}"


def _ratio(row: Row) -> str:
    """The median, with the span if there was more than one round."""
    low, middle, high = (row[f"ratio_{name}"] for name in ("min", "median", "max"))
    if middle is None:
        return "-"
    digits = 2 if middle < 10 else 1 if middle < 100 else 0
    return f"{middle:.{digits}f}" + (f" ({low:.{digits}f}-{high:.{digits}f})" if low != high else "")


def _rate(key: str) -> Callable[[Row], str]:
    """Millions a second, to three digits."""

    def cell(row: Row) -> str:
        value = row[key]
        if value is None:
            return "-"
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.4f}"

    return cell


def _gbits(row: Row) -> str:
    return f"{row['rate_mps'] * row['mean_size'] * 8e-3:.1f}" if "mean_size" in row else "-"


def _peer(row: Row) -> str:
    name = row["peer"] or "-"
    for prefix in _SHORT:
        name = name.removeprefix(prefix)
    return str(name)


def _longest(row: Row) -> str:
    return f"{row['longest_ms']:.2f}" if "longest_ms" in row else "-"


def _many(row: Row) -> str:
    return "-" if row["workers"] == 1 else str(row["workers"])


_COLUMNS: tuple[tuple[str, Callable[[Row], Any]], ...] = (
    ("what", lambda row: row["what"]),
    ("SAs", lambda row: "-" if row["sas"] is None else f"{row['sas']:,}"),
    ("bytes", lambda row: "-" if row["size"] is None else str(row["size"])),
    ("engine", lambda row: "-" if row["engine"] == "numba" else row["engine"]),
    ("table", lambda row: row["model"] or ""),
    ("procs", _many),
    ("numbers", lambda row: ", ".join(numbering(row))),
    ("hit", lambda row: "-" if row["hit"] in (None, 1) else f"{row['hit']:.2f}"),
    ("M/s", _rate("rate_mps")),
    ("ns", lambda row: f"{1e3 / row['rate_mps']:.1f}" if row["rate_mps"] else "-"),
    ("CPU ns", lambda row: f"{row['cpu_ns']:.0f}" if "cpu_ns" in row else "-"),
    ("longest ms", _longest),
    ("Gbit/s", _gbits),
    ("peer", _peer),
    ("its M/s", _rate("peer_rate_mps")),
    ("ratio", _ratio),
    ("set-up s", lambda row: f"{row['setup_s']:.1f}"),
)
"""(header, cell) of each column; a column that is empty in every row is left out."""
