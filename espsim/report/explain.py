"""`espsim explain` for people, from what --json prints: the frame's bytes, then a block for every step."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from espsim.core.echo import printable, printable_values
from espsim.report.hexdump import colour_of, hexdump
from espsim.report.terminal import Terminal, console, print_engine

_SHAPES = ((80, 8, 22), (60, 4, 22), (0, 2, 14))
"""(least width, bytes of a field on a line, columns of its name)."""
_MOST_LINES = 4
"""Most lines of one field; a longer one is cut in the middle. The plaintext gets more: it is shown nowhere else."""
_MOST_OF_PLAINTEXT = 24
_LEAST_WIDTH, _MOST_WIDTH = 40, 120


def print_explained(result: Mapping[str, Any], source: str) -> None:
    """Print one packet. `source`: where it came from."""
    out, result = console(most=80), printable_values(result, keep="\n")
    frame = bytes.fromhex(result["bytes"])
    cut = f", {len(frame)} of them captured" if result["wire_length"] > len(frame) else ""
    joined = "" if len(result["frames"]) < 2 else f", put together from frames {_list(result['frames'])}"
    out.print(f"frame {result['frame']} of {printable(source)}: {result['wire_length']} bytes{cut}{joined}")
    out.print()
    for line in hexdump(frame, result["steps"], out.width):
        out.print(line, soft_wrap=True)
    for number, step in enumerate(result["steps"]):
        _print_step(out, number, step)
    out.print()
    if "model" in result:
        for assumption in result["assumptions"]:
            out.print(f"assumed: {assumption}")
    print_engine(out, result)


def _list(frames: list[int]) -> str:
    return ", ".join(map(str, frames))


def _print_step(out: Terminal, number: int, step: Mapping[str, Any]) -> None:
    width = min(max(out.width, _LEAST_WIDTH), _MOST_WIDTH)
    out.print()
    title = f"{number + 1}. {step['step']}"
    room = max(width - len(title) - len(step["source"]), 2)
    out.print(Text.assemble((title, f"bold {colour_of(number)}"), " " * room, (step["source"], "dim")), soft_wrap=True)
    for said in wrapped(step["says"], width - 3):
        out.print(Text(f"   {said}"), soft_wrap=True)
    bytes_too = any(field["hex"] for field in step["fields"])
    for field in step["fields"]:
        for line in _field_lines(field, width, colour_of(number), bytes_too):
            out.print(line, soft_wrap=True)
    for repeat in step["repeat"]:
        out.print(Text(f"   to repeat it ({repeat['of']}):", style="dim"), soft_wrap=True)
        for word in repeat["command"].split("\n"):
            out.print(Text(word, style="dim"), soft_wrap=True)


def _field_lines(field: Mapping[str, Any], width: int, colour: str, bytes_too: bool) -> Iterator[Text]:
    """Offset, bytes, name, value, on as many lines as needed. `bytes_too`: some field of the step has bytes."""
    _, size, room = next(shape for shape in _SHAPES if width >= shape[0])
    rows = _rows(field, size)
    place = f"{field['offset']:04x}" if field["offset"] is not None else ""
    value = "" if field["value"] is None else str(field["value"])
    column = 9 + (3 * size + 1 if bytes_too else 0)
    names = textwrap.wrap(field["name"], room - 1) or [""]
    values = [value] if value[:1] in (" ", "#", ".", "_") else wrapped(value, width - column - room)
    for n in range(max(len(rows), len(names), len(values), 1)):
        line = Text.assemble((f"   {place if n == 0 else '':<4}  ", "dim"))
        if bytes_too:
            line.append(f"{rows[n] if n < len(rows) else '':<{3 * size - 1}}  ", style=colour)
        line.append(f"{names[n] if n < len(names) else '':<{room}}")
        line.append(values[n] if n < len(values) else "", style="bold")
        line.rstrip()
        yield line


def _rows(field: Mapping[str, Any], size: int) -> list[str]:
    """A field's bytes, `size` on a line; asterisks replace hidden ones."""
    if field["hex"] is None:
        return [" ".join(["**"] * min(field["length"], size))] if field["length"] else []
    data = bytes.fromhex(field["hex"])
    rows = [data[at : at + size].hex(" ") for at in range(0, len(data), size)]
    most = _MOST_OF_PLAINTEXT if field["name"] == "plaintext" else _MOST_LINES
    if len(rows) <= most:
        return rows
    left = (len(rows) - most + 1) * size
    return [*rows[: most - 2], f"... {left:,} bytes ...", rows[-1]]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, at least one; a word that is longer is broken."""
    return textwrap.wrap(text, max(width, 10), break_long_words=True, break_on_hyphens=False) or [""]
