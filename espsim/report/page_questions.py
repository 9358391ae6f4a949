"""The four questions of a page: their switches, their answers as tables, and the elements that the script draws in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any


def questions(found: Mapping[str, Any]) -> Iterator[str]:
    """All four."""
    asked = found["questions"]
    yield '<section aria-labelledby="h-ask"><h2 id="h-ask">What if …</h2>'
    yield from _flip(asked["flip"], found)
    yield from _twice(asked["twice"])
    yield from _mask(asked["mask"])
    yield from _who(asked["who"])
    yield "</section>"


def _begin(ident: str, title: str) -> str:
    return f'<section class="q" aria-labelledby="h-{ident}"><h3 id="h-{ident}">{escape(title)}</h3>'


def _says(ident: str) -> str:
    """The element in which the script prints an answer."""
    return f'<output class="says js-only" id="{ident}-says" aria-live="polite"></output>'


def _table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]], ident: str = "") -> str:
    """A table. Cells are markup; `name` and `head` are text."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    tag = f' id="{ident}"' if ident else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}"><table><thead><tr>{top}</tr></thead>'
        f"<tbody{tag}>{body}</tbody></table></div>"
    )


def _flip(flip: Mapping[str, Any] | None, found: Mapping[str, Any]) -> Iterator[str]:
    yield _begin("flip", "one bit flips on the way?")
    if flip is None:
        yield "<p>Nothing was run: the frame must be one whole packet with headers of usual length.</p></section>"
        return
    who = "The peer opens it" if found["sealed"] else "The SAs are as they were before it came"
    yield f'<p class="n">{who}. Each bit was flipped in a run of its own, without a device. Checksums of IP and UDP '
    yield "are not checked here: a host drops packets that fail them before it looks at ESP.</p>"
    yield '<div class="bar js-only"><label><input type="checkbox" id="flip-on" role="switch"> flip</label>'
    last = flip["length"] - 1
    yield f'<label>byte <input type="number" id="flip-byte" min="0" max="{last}" value="{last}"></label>'
    bits = "".join(f'<option value="{bit}">{bit}</option>' for bit in range(7, -1, -1))
    yield f'<label>bit <select id="flip-bit">{bits}</select></label></div>'
    yield _says("flip")
    counts = [0] * len(flip["kinds"])
    for kind, count in flip["runs"]:
        counts[kind] += count
    rows = [
        (
            escape(kind["check"]), str(count), escape(kind["verdict"] or "-"), escape(kind["counter"] or "none"),
            escape(kind["says"]),
        )
        for kind, count in sorted(zip(flip["kinds"], counts, strict=True), key=lambda each: -each[1])
    ]  # fmt: skip
    yield _table("Which check sees a flipped bit", ("seen by", "bits", "verdict", "counter", "that is"), rows)
    yield "</section>"


def _twice(twice: Mapping[str, Any]) -> Iterator[str]:
    yield _begin("twice", "it comes twice, late, or very late?")
    size = f"a window of {twice['size']}" + ("" if twice["own_window"] else " (the SA has none, or there is no SA)")
    number = f"number {twice['seq']}" + ("" if twice["own_number"] else " (not the packet's own)")
    yield f'<p class="n">Runs with {escape(size)} and {escape(number)}, on SAs made for this question.</p>'
    yield '<div class="bar js-only"><fieldset><legend>It comes</legend>'
    names = list(dict.fromkeys(case["name"] for case in twice["cases"]))
    for name in names:
        checked = " checked" if name == "twice" else ""
        yield f'<label><input type="radio" name="twice" value="{name}"{checked}> {name}</label>'
    yield '</fieldset><label><input type="checkbox" id="twice-esn" role="switch"> ESN</label></div>'
    yield _says("twice")
    yield '<div id="twice-draw" class="js-only"></div>'
    yield '<p class="n js-only">The box is the window before it comes, filled where a number has come; the arrow is '
    yield "this packet's number.</p>"
    rows = []
    for case in twice["cases"]:
        last = case["arrivals"][-1]
        esn, counter = "with" if case["esn"] else "without", last["counter"] or "none"
        rows.append((escape(case["name"]), esn, str(last["seq64"]), _verdict(last["verdict"]), escape(counter)))
    yield _table("What becomes of it", ("it comes", "ESN", "taken for number", "verdict", "counter"), rows)
    yield "</section>"


def _verdict(name: str) -> str:
    return f'<span class="{"ok" if name == "DELIVERED" else "bad"}">{escape(name)}</span>'


def _mask(mask: Mapping[str, Any]) -> Iterator[str]:
    yield _begin("mask", "two SAs have one SPI, and a device looks at a part of it?")
    yield f'<p class="n">The table of {escape(mask["device"])} (model {escape(mask["model"])}): slot = SPI &amp; mask, '
    yield "and then the slot's whole SPI is compared. A and B have the same SPI; the others have other SPIs.</p>"
    yield '<div class="js-only"><label>bits of the mask '
    yield '<input type="range" id="mask-bits" min="1" max="16" step="1" value="8"></label></div>'
    yield _says("mask")
    yield '<div id="mask-draw" class="js-only"></div>'
    yield '<p class="n js-only">The box is the table, filled where a slot is written: '
    yield '<b class="hit" aria-hidden="true">■</b> one SA wants it, '
    yield '<b class="clash" aria-hidden="true">■</b> several do.</p>'
    usual = next(run for run in mask["runs"] if run["bits"] == 8)
    rows = [
        (
            sa["name"], f"<code>{sa['spi']}</code>", escape(sa["dst"]), str(got["slot"]),
            escape(f"refused ({got['errno']}); {got['holder']} has it" if got["errno"] else "written"),
            escape(got["outcome"]),
        )
        for sa, got in zip(mask["sas"], usual["sas"], strict=True)
    ]  # fmt: skip
    yield _table(
        "The SAs in the device",
        ("SA", "SPI", "destination", "slot", "offered to the device", "its packet meets"),
        rows,
        "mask-rows",
    )
    yield '<p class="n print-only">With a mask of 8 bits.</p></section>'


def _who(who: Mapping[str, Any]) -> Iterator[str]:
    yield _begin("who", f"someone else wants the SPI {who['spi']}?")
    yield '<p class="n">Requests to a model of one network namespace, under each rule of SPI uniqueness.</p>'
    yield '<div class="bar js-only"><label><input type="checkbox" id="who-dir" role="switch"> '
    yield "requests say their direction</label></div>"
    yield _says("who")
    for said, ident, title in ((False, "who-no", "Without dir"), (True, "who-yes", "With dir in or dir out")):
        asked = [question for question in who["questions"] if question["dir"] is said]
        rows = [(escape(question["asks"]), *map(_may, question["answers"])) for question in asked]
        yield f'<div id="{ident}"><h4 class="print-only">{title}</h4>'
        yield _table(f"The answers: {title}", ("what is asked", *(policy["name"] for policy in who["policies"])), rows)
        commands = "\n\n".join("\n".join(question["commands"]) for question in asked)
        yield f"<details><summary>The requests</summary><pre>{escape(commands)}</pre></details></div>"
    yield "<details><summary>The rules</summary><dl>"
    for policy in who["policies"]:
        yield f"<dt><code>{escape(policy['name'])}</code></dt><dd>{escape(policy['summary'])}</dd>"
    yield "</dl></details></section>"


def _may(answer: str) -> str:
    if answer == "OK":
        return '<span class="ok">may</span>'
    return (
        f'<span class="bad">no</span> <small>{escape("the first is refused" if answer == "FIRST" else answer)}</small>'
    )
