"""Answers of `espsim run` for people, from its JSON: a table for each variant, and below each row what it means.

Policies with the same answer share a row. Errnos and counters have their whole names, so that a mail needs no legend.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from espsim.core.echo import printable_values
from espsim.report.terminal import Terminal, console, counted, table, wire_line

Cell = Mapping[str, Any]
_GOOD, _BAD = "green", "red"
NOT_JUDGED = "no answer is judged, because expectations assume that all packets arrive, once and in order"


def print_scenario(about: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """Print one scenario. `about` has name, question, source and choice."""
    out, about, cells = console(), printable_values(about), printable_values(cells)
    out.print(f"{name_of(about)}: {about['question']}", markup=False, style="bold")
    out.print(f"source: {about['source']}", markup=False)
    policies = list(dict.fromkeys(cell["policy"] for cell in cells))
    for variant, group in itertools.groupby(cells, key=lambda cell: str(cell["variant"])):
        _print_variant(out, variant, list(group), alone=len(policies) == 1)
    choice = " ".join(notes_for(about["choice"], policies))
    if choice:
        out.print(f"note: {choice}", markup=False)


def name_of(about: Mapping[str, Any]) -> str:
    """A scenario's name for people: S02 for the thread's s02."""
    name = str(about["name"])
    return name[0].upper() + name[1:] if re.fullmatch(r"s\d\d[a-z]?", name) else name


def print_conclusion(conclusion: Sequence[tuple[str, str]]) -> None:
    """Print what each policy means: (policy, sentences)."""
    out = console()
    out.print("What follows", style="bold")
    for policy, sentences in conclusion:
        out.print(f"{policy}: {sentences}", markup=False)
    out.print()


def print_live(kernel: Mapping[str, Any]) -> None:
    """Print how far the running kernel agrees with its model, and what it was not asked, a line for each reason."""
    out = console()
    asked = kernel["agree"] + kernel["differ"]
    first, *rest = live_lines(kernel)
    out.print(first, markup=False, style=_BAD if kernel["differ"] else _GOOD if asked else "")
    for line in rest:
        out.print(line, markup=False)
    out.print()


def live_lines(kernel: Mapping[str, Any]) -> Iterator[str]:
    """How many cells the running kernel was asked, how many agree, and what it was not asked, by reason."""
    asked = kernel["agree"] + kernel["differ"]
    yield (
        f"live: kernel {kernel['kernel']} beside the model's {kernel['model']}: {asked} asked, {kernel['agree']} agree,"
        f" {kernel['differ']} differ"
    )
    for reason in kernel["not_asked"]:
        names = ", ".join(f"{c['scenario']} {c['variant'].strip('-')}".strip() for c in reason["cells"])
        yield f"not asked, {reason['reason']}: {names}"


def print_verdict(cells: Sequence[Cell]) -> None:
    """Print the expectations that were not met, and how many cells were compared."""
    out, cells = console(), printable_values(cells)
    for line in missed(cells):
        out.print(line, markup=False, style=_BAD)
    compared = [cell for cell in cells if cell["as_expected"] is not None]
    if compared and len(compared) < len(cells):
        out.print("open: neither the thread nor a kernel fixes this answer; it is espsim's choice")
    text, good = verdict(cells)
    out.print(text, style="" if good is None else _GOOD if good else _BAD)


def missed(cells: Sequence[Cell]) -> Iterator[str]:
    """The expectations that were not met, a line for each."""
    for cell in cells:
        yield from _failures(cell)


def verdict(cells: Sequence[Cell]) -> tuple[str, bool | None]:
    """How many cells ran, and whether their answers are as expected; None: no answer is fixed for any of them."""
    compared = [cell for cell in cells if cell["as_expected"] is not None]
    bad = sum(not cell["ok"] for cell in cells)
    ran = f"{counted(len(cells), 'cell')} run"
    if any("wire" in cell for cell in cells):
        return f"{ran} over a wire with faults: {NOT_JUDGED}", None
    if not compared:
        return f"{ran}, no answer is fixed for {'it' if len(cells) == 1 else 'them'}", None
    judged = f"{bad} differ" if bad else "all as expected"
    return f"{ran}, {len(compared)} compared with what is expected: {judged}", not bad


def notes_for(choice: str, policies: Collection[str]) -> Iterator[str]:
    """The sentences of a scenario's `choice` that name no policy, or one that runs."""
    names = r"rfc2401|rfc4301(?:-spi0)?|sa-dir|split|full-4301|freebsd|openbsd|linux-[\d.]+|FreeBSD|OpenBSD"
    for sentence in re.split(r"(?<=\.) +", choice):
        named = {name.lower() for name in re.findall(rf"(?<![\w-])(?:{names})(?![\w-])", sentence)}
        if sentence and (not named or named & set(policies)):
            yield sentence


# -- one variant ------------------------------------------------------------------------------------------------------


def _print_variant(out: Terminal, variant: str, cells: Sequence[Cell], *, alone: bool) -> None:
    out.print()
    if variant != "-":
        out.print(variant, markup=False, style="bold")
    for cell in cells if alone else ():
        if any(asked["count"] == 1 for asked in cell["requests"]):
            rows = [(asked["request"], _answer(asked)) for asked in cell["requests"]]
            out.print(table(("request", "answer"), rows))
    for assumption in dict.fromkeys(text for cell in cells for text in cell["assumptions"]):
        out.print(f"assumed: {assumption}", markup=False)
    for line in wire_lines(cells):
        out.print(line, markup=False)
    headers, rows, notes = variant_table(cells)
    out.print(table(headers, rows, notes=notes))
    for cell in cells:
        if cell.get("trace"):
            _print_trace(out, cell)


def wire_lines(cells: Sequence[Cell]) -> list[str]:
    """What the faults of the wire did to the packets; one line if it is the same in all cells."""
    return list(dict.fromkeys(wire_line(cell["wire"], "packets") for cell in cells if "wire" in cell))


def variant_table(cells: Sequence[Cell]) -> tuple[Sequence[str], list[tuple[Any, ...]], list[str]]:
    """(headers, rows, what each row means). Policies with the same answer share a row."""
    models = any(cell["model"] != "software" for cell in cells)
    rows, notes = [], []
    for same in answers_alike(cells):
        model, requests, states, packets = _columns(same[0])
        policies = ", ".join(dict.fromkeys(cell["policy"] for cell in same))
        rows.append((policies, *((model,) if models else ()), requests, states, packets, _expected(same)))
        notes.append(str(same[0]["meaning"]))
    headers = ("policy", *(("model",) if models else ()), "requests", "states", "packets", "expected")
    return headers, rows, notes


def answers_alike(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """The cells of a variant, in groups with the same answer."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((*_columns(cell), cell["meaning"]), []).append(cell)
    yield from groups.values()


def _print_trace(out: Terminal, cell: Cell) -> None:
    """Print a line for each packet, then which were lost."""
    title, headers, rows, bad = trace_table(cell)
    out.print(title, markup=False)
    out.print(table(headers, rows))
    out.print(bad, markup=False)


def trace_table(cell: Cell) -> tuple[str, Sequence[str], list[tuple[Any, ...]], str]:
    """(title, headers, rows, which packets were lost) of a cell that was traced."""
    model = "" if cell["model"] == "software" else f", {cell['model']}"
    places = {p["to"] for p in cell["trace"]}
    rows: list[tuple[Any, ...]] = []
    for n, p in enumerate(cell["trace"], 1):
        where = (p["to"],) if len(places) > 1 else ()
        rows.append((n, *where, _number(p), _window(p["window_before"]), _window(p["window_after"]), p["verdict"]))
    headers = ("#", *(("to",) if len(places) > 1 else ()), "seq", "window", "after", "verdict")
    bad = [(n, p) for n, p in enumerate(cell["trace"], 1) if p["verdict"] not in ("DELIVERED", "SENT")]
    which = "; ".join(f"{n} (seq {p['seq']}, {p['verdict']}, {p['linux_counter'] or 'no counter'})" for n, p in bad)
    title = f"packets under {cell['policy']}{model} (# seen, the highest number on the right)"
    return title, headers, rows, f"lost: {which}" if bad else "lost: none"


def _number(packet: Mapping[str, Any]) -> str:
    """The number on the wire; with ESN the inferred high half precedes it: `1:4294967294`."""
    return f"{packet['seq']}" if packet["seq_hi"] is None else f"{packet['seq_hi']}:{packet['seq']}"


def _window(window: Mapping[str, Any] | None) -> str:
    """The highest sixteen numbers of a window, the highest on the right. `#`: seen."""
    if window is None:
        return "-"
    return str(window["drawn"])[-16:] if window["size"] else "no window"


def _columns(cell: Cell) -> tuple[str, str, str, str]:
    return cell["model"], _requests(cell), _states(cell), _packets(cell)


def _requests(cell: Cell) -> str:
    if cell["share"] is not None:
        return ", ".join(f"{name}: {share:.0%}" for name, share in cell["share"].items())
    shown = [(asked["errno"] or "OK", asked["count"]) for asked in cell["requests"] if not asked["setup"]]
    return _run_lengths(shown)


def _states(cell: Cell) -> str:
    return f"{cell['states']}" + (f" ({cell['states_spi0']} with SPI 0)" if cell["states_spi0"] else "")


def _packets(cell: Cell) -> str:
    return _run_lengths([(fate(packet), packet["count"]) for packet in cell["packets"]])


def fate(packet: Mapping[str, Any]) -> str:
    """A packet's fate: its verdict, Linux's counter, and how a device's failure surfaces."""
    if packet["verdict"] in ("DELIVERED", "SENT"):
        return str(packet["verdict"]).lower()
    words = [packet["verdict"], packet["linux_counter"] or "no counter"]
    if packet["surfacing"] is not None:
        words.append(packet["surfacing"])
    return " / ".join(words)


def _run_lengths(parts: Sequence[tuple[str, int]]) -> str:
    texts = []
    for name, group in itertools.groupby(parts, key=lambda part: part[0]):
        n = sum(count for _, count in group)
        texts.append(name if n == 1 else f"{name} x{n}")
    return ", ".join(texts) or "-"


def _expected(cells: Sequence[Cell]) -> Text:
    """Whether the answers are as expected. Of cells that share a row some may have no fixed answer."""
    if not all(cell["ok"] for cell in cells):
        return Text("NO", style=_BAD)
    fixed = [cell["policy"] for cell in cells if cell["as_expected"] is not None]
    if any("wire" in cell for cell in cells):
        return Text("not judged")
    if not fixed:
        return Text("open")
    return Text("yes" if len(fixed) == len(cells) else f"yes ({', '.join(fixed)})", style=_GOOD)


def _answer(asked: Mapping[str, Any]) -> str:
    text = asked["errno"] or "OK"
    if asked["extack"]:
        text += f": {asked['extack']}"
    if asked["count"] > 1:
        text += f" x{asked['count']}"
    return f"{text}; driver {asked['driver']}" if asked["driver"] is not None else text


def _failures(cell: Cell) -> Iterator[str]:
    where = " ".join(word for word in (cell["scenario"], cell["variant"].strip("-"), cell["policy"]) if word)
    where += f" {cell['model']}" if cell["model"] != "software" else ""
    failed = [(step, failure) for step in cell["steps"] for failure in step["failures"]]
    if not cell["ok"] and not failed:
        yield f"{where}: expected {cell['expected_in_full']}, got {cell['outcome_in_full']}"
    for step, failure in failed:
        yield (
            f"{where}: FAILED {step['do']} {step['sa'] or ''}: {failure['key']} expected {failure['expected']},"
            f" got {failure['got']}"
        )
