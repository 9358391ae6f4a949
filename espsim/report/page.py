"""One explained packet as a page: one HTML file with its styles and its script, which fetches nothing.

page.html.j2 has all text, so that the page can be read, searched and printed without the script. The script shows one
step at a time, highlights what belongs together, and answers the questions from the data in the page. What comes from
a packet or a file is escaped text, or JSON without `<`, `>` and `&`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from espsim.report.hexdump import owners
from espsim.report.look import asset, page
from espsim.version import __version__

_COLOURS = 6
_INSIDE = ("decryption", "trailer", "payload and trailer", "AGGFRAG header", "data blocks")
"""Steps that read the plaintext: its bytes are in the packet, usually encrypted."""
_UNSENT = ("seq64", "high half", "ESN's high half", "Th", "Tl")


def page_html(found: Mapping[str, Any]) -> str:
    """The whole page, from `explain.page.contents`."""
    asked, steps = found["questions"], [step["step"] for step in found["steps"]]
    data = {"questions": {name: asked[name] for name in ("flip", "twice", "mask")}, "save": found["save"]}
    return page(
        "page.html.j2", script=asset("page.js"), found=found, data=_json(data), version=__version__, colours=_COLOURS,
        title=f"frame {found['frame']} of {found['source']}", frame=list(_frame(found)), asked=asked,
        flips=list(_flips(asked["flip"])), masked=list(_masked(asked["mask"])), hex_of=_hex_of, is_value=_is_value,
        inside=lambda step: step in _INSIDE or step.startswith("inner "),
        number_of=lambda step: steps.index(step) if step in steps else 0,
    )  # fmt: skip


def _json(data: Any) -> str:
    r"""JSON that no HTML parser takes for markup: `<` is `\u003c`."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _is_value(field: Mapping[str, Any]) -> bool:
    """Whether a field has bytes, or is a number that both ends compute."""
    return bool(field["length"] or field["name"] in _UNSENT)


def _hex_of(field: Mapping[str, Any]) -> str:
    """A field's bytes in hex; "" if they are hidden."""
    data = bytes.fromhex(field["hex"] or "")
    most = 64 if field["offset"] is not None else len(data)  # the frame's own bytes are drawn beside it
    more = f" … {field['length'] - most} more" if len(data) > most else " …" if field["cut"] else ""
    return data[:most].hex(" ") + more if field["hex"] is not None else ""


def _frame(found: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Each byte of the frame in hex, with the colour of its step; None: no step has it."""
    frame = bytes.fromhex(found["bytes"])
    owner, _borders, _names = owners(len(frame), found["steps"])
    colours = {step: n % _COLOURS for n, step in enumerate(dict.fromkeys(owner.values()))}
    for at, byte in enumerate(frame):
        yield f"{byte:02x}", colours.get(owner.get(at, -1))


def _flips(flip: Mapping[str, Any] | None) -> Iterator[tuple[object, ...]]:
    """(check, bits, verdict, counter, sentence) of the ways in which flipped bits end, the most frequent first."""
    kinds = flip["kinds"] if flip else []
    counts = [0] * len(kinds)
    for kind, count in flip["runs"] if flip else []:
        counts[kind] += count
    for kind, count in sorted(zip(kinds, counts, strict=True), key=lambda each: -each[1]):
        yield kind["check"], count, kind["verdict"] or "-", kind["counter"] or "none", kind["says"]


def _masked(mask: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """(name, SPI, destination, slot, answer, outcome) of each SA in the device, with a mask of 8 bits."""
    usual = next(run for run in mask["runs"] if run["bits"] == 8)
    for sa, got in zip(mask["sas"], usual["sas"], strict=True):
        answer = f"refused ({got['errno']}); {got['holder']} has it" if got["errno"] else "written"
        yield sa["name"], sa["spi"], sa["dst"], got["slot"], answer, got["outcome"]
