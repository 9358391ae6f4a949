"""One explained packet as a page: one HTML file with its styles and its script, which fetches nothing.

All text is in the markup, so that the page can be read, searched and printed without the script. The script shows one
step at a time, highlights what belongs together, and answers the questions from the data in the page.

What comes from a packet or a file is escaped text, or JSON without `<`, `>` and `&`. The policy in the head allows
this style sheet and this script, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from espsim.report.hexdump import owners
from espsim.report.look import asset
from espsim.report.page_questions import questions
from espsim.version import __version__

_ROW = 8
_COLOURS = 6
_GOOD = ("DELIVERED", "SENT", "SEALED")


def page_html(found: Mapping[str, Any]) -> str:
    """The whole page, from `explain.page.contents`."""
    style, script = asset("page.css"), asset("page.js")
    asked = {name: found["questions"][name] for name in ("flip", "twice", "mask")}
    data = {"questions": asked, "save": found["save"]}
    allowed = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    title = f"frame {found['frame']} of {found['source']}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>espsim explain: {escape(title)}</title><style>{style}</style></head><body>",
        '<a class="skip" href="#steps">To the steps</a>',
        *_head(found, title),
        '<main><div class="two">',
        *_steps(found),
        *_bytes(found),
        "</div>",
        '<div class="two">',
        *_unsent(found),
        *_tree(found["steps"]),
        "</div>",
        *questions(found),
        *_save(found["save"]),
        "</main>",
        *_foot(found),
        f'<script type="application/json" id="data">{_json(data)}</script>',
        f"<script>{script}</script></body></html>\n",
    ]
    return "\n".join(parts)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    r"""JSON that no HTML parser takes for markup: `<` is `\u003c`."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


# -- parts of the page ------------------------------------------------------------------------------------------------


def _head(found: Mapping[str, Any], title: str) -> Iterator[str]:
    verdict = found["verdict"]
    last = found["steps"][-1]
    counter = f"Linux's {found['linux_counter']} moves" if found["linux_counter"] else "No counter of Linux's moves"
    cut = (
        f", {found['length']} of them captured"
        if not found["sealed"] and found["wire_length"] > found["length"]
        else ""
    )
    yield f'<header><h1>{escape(title)}: <span class="{"ok" if verdict in _GOOD else "bad"}">{verdict}</span></h1>'
    yield f"<p>{escape(last['says'])}. {escape(counter)}.</p>"
    sa = f"SA {found['sa']}" if found["sa"] else "no SA"
    frames = found.get("frames") or []
    joined = f"; put together from frames {', '.join(map(str, frames))}" if len(frames) > 1 else ""
    what = "sealed" if found["sealed"] else "opened"
    yield f'<p class="n">{what}, {found["wire_length"]} bytes{cut}; {escape(sa)}{joined}</p>'
    for assumption in found.get("assumptions", ()):
        yield f'<p class="n">assumed: {escape(assumption)}</p>'
    yield "</header>"


def _steps(found: Mapping[str, Any]) -> Iterator[str]:
    steps = found["steps"]
    yield '<section id="steps" aria-labelledby="h-steps"><h2 id="h-steps">Step by step</h2>'
    yield '<div class="bar js-only" role="group" aria-label="Steps">'
    yield '<button type="button" id="back">Back</button>'
    yield f'<span id="where">1 of {len(steps)}</span><button type="button" id="next">Forward</button>'
    yield '<span class="n">or the keys ← and →</span></div>'
    yield '<p id="said" class="vh" aria-live="polite"></p>'
    for number, step in enumerate(steps):
        if number == found["first_steps"] and found["steps_left_out"]:
            yield f'<p class="n">{found["steps_left_out"]} steps are left out here.</p>'
        yield from _step(number, step)
    yield "</section>"


def _step(number: int, step: Mapping[str, Any]) -> Iterator[str]:
    name, says = escape(step["step"]), escape(step["says"])
    yield f'<article class="step s{number % _COLOURS}" data-name="{name}" data-says="{says}">'
    yield f"<h3>{number + 1}. {name} <small>{escape(step['source'])}</small></h3><p>{says}</p>"
    if step["fields"]:
        top = "".join(f'<th scope="col">{name}</th>' for name in ("field", "bytes", "says"))
        yield f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>'
        yield from (_field_row(number, step["step"], field) for field in step["fields"])
        yield "</tbody></table></div>"
    if step["fields_left_out"]:
        yield f'<p class="n">and {step["fields_left_out"]} fields more</p>'
    for again in step["repeat"]:
        command = again["command"] or "too long for this page: espsim explain prints it"
        yield f"<details><summary>Compute it again ({escape(again['of'])})</summary>"
        yield f"<pre>{escape(command)}</pre></details>"
    yield "</article>"


def _of_field(number: int, field: Mapping[str, Any]) -> str:
    """The attributes by which the script finds all elements of a field."""
    place = f' data-at="{field["offset"]}" data-size="{field["length"]}"' if field["offset"] is not None else ""
    key = (
        f"{field['name']}/{field['hex']}/{field['length']}"[:80]
        if place or field["length"]
        else f"{number}/{field['name']}"
    )
    return f'data-field="{escape(key)}" data-of="{number}" data-name="{escape(field["name"])}"{place}'


def _field_row(number: int, step: str, field: Mapping[str, Any]) -> str:
    value = "" if field["value"] is None else str(field["value"])
    return (
        f'<tr {_of_field(number, field)} tabindex="0"><th scope="row">{escape(field["name"])} {_tag(step, field)}</th>'
        f'<td class="hex">{_digits(field)}</td><td class="v">{escape(value)}</td></tr>'
    )


def _tag(step: str, field: Mapping[str, Any]) -> str:
    """A tag for a field whose value is not in the frame as it is shown."""
    if field["offset"] is not None or not (field["length"] or field["name"] in _UNSENT):
        return ""
    inside = step in _INSIDE or step.startswith("inner ")
    return f'<span class="tag">{"inside the payload" if inside else "not on the wire"}</span>'


_INSIDE = ("decryption", "trailer", "payload and trailer", "AGGFRAG header", "data blocks")
"""Steps that read the plaintext: its bytes are in the packet, usually encrypted."""
_UNSENT = ("seq64", "high half", "ESN's high half", "Th", "Tl")


def _digits(field: Mapping[str, Any]) -> str:
    """A field's bytes in hex; asterisks replace hidden ones."""
    if field["hex"] is None:
        return (
            '<span aria-label="hidden">' + " ".join(["**"] * min(field["length"], 8)) + "</span>"
            if field["length"]
            else ""
        )
    data = bytes.fromhex(field["hex"])
    most = 64 if field["offset"] is not None else len(data)  # the frame's own bytes are drawn beside it
    more = f" … {field['length'] - most} more" if len(data) > most else " …" if field["cut"] else ""
    return escape(data[:most].hex(" ") + more)


def _bytes(found: Mapping[str, Any]) -> Iterator[str]:
    frame = bytes.fromhex(found["bytes"])
    owner, _borders, _names = owners(len(frame), found["steps"])
    colours = {step: n % _COLOURS for n, step in enumerate(dict.fromkeys(owner.values()))}
    yield '<section id="bytes" aria-labelledby="h-bytes"><h2 id="h-bytes">Bytes</h2>'
    yield '<p class="n js-only">Point at a byte, or move with the arrow keys; Enter goes to its step.</p>'
    yield '<p id="told" class="js-only"></p><div class="dump" role="group" aria-label="The bytes of the frame">'
    for row in range(0, len(frame), 2 * _ROW):
        cells = "".join(
            f"<i{_colour(colours.get(owner.get(at, -1)))}>{frame[at]:02x}</i>" + (" " if at % 16 == 7 else "")
            for at in range(row, min(row + 2 * _ROW, len(frame)))
        )
        yield f'<div class="row"><span class="at" aria-hidden="true">{row:04x}</span>{cells}</div>'
    yield "</div>"
    if found["length"] > len(frame):
        yield f'<p class="n">{found["length"] - len(frame)} bytes more are in the capture.</p>'
    yield "</section>"


def _colour(colour: int | None) -> str:
    return "" if colour is None else f" class=s{colour}"


def _unsent(found: Mapping[str, Any]) -> Iterator[str]:
    yield '<section aria-labelledby="h-unsent"><h2 id="h-unsent">Not on the wire</h2>'
    yield '<p class="n">Both ends compute these values; no packet carries them in this form.</p>'
    if not found["unsent"]:
        yield "<p>The run ended before any of them.</p>"
    for value in found["unsent"]:
        yield f'<h3>{escape(value["name"])} <span class="tag">not on the wire</span></h3>'
        yield f"<p>{escape(value['value'])}</p><p>"
        number = next((n for n, step in enumerate(found["steps"]) if step["step"] == value["step"]), 0)
        for part in value["parts"]:
            where = "in the frame" if part["offset"] is not None else "not on the wire"
            yield (
                f'<span class="part" tabindex="0" {_of_field(number, part)}>{escape(part["name"])} '
                f'<span class="hex">{_digits(part)}</span> <small>{where}</small></span>'
            )
        yield "</p>"
    yield "</section>"


def _tree(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield '<nav id="tree" aria-labelledby="h-tree"><h2 id="h-tree">Steps and their fields</h2><ol>'
    for number, step in enumerate(steps):
        yield f'<li data-step="{number}"><button type="button">{escape(step["step"])}</button><ul>'
        for field in step["fields"]:
            if field["length"] or field["name"] in _UNSENT:
                yield f'<li {_of_field(number, field)}><button type="button">{escape(field["name"])}</button></li>'
        yield "</ul></li>"
    yield "</ol></nav>"


def _save(save: Mapping[str, Any]) -> Iterator[str]:
    yield '<section aria-labelledby="h-save"><h2 id="h-save">Take it away</h2>'
    yield from _lines(
        [
            f"{save['frames_left_out']} earlier frames are not in the capture." if save["frames_left_out"] else "",
            "The frame is too long for this page." if save["capture"] is None else "",
            f"{save['sas_left_out']} SAs are left out." if save["sas_left_out"] else "",
            "The keys are in this page: do not give it to anyone who may not have them." if save["keys"] else
            "No key is in this page. espsim explain --show-keys puts them in.",
        ]
    )  # fmt: skip
    yield '<div class="bar js-only">'
    if save["capture"] is not None:
        own = save["capture_name"].endswith(".pcapng")
        kind = "pcapng, opens itself in espsim decap and Wireshark 4.7" if own else "pcap"
        yield f'<button type="button" id="save-capture">Save the capture ({kind})</button>'
    if save["sad"]:
        keys = "with keys" if save["keys"] else "keys hidden"
        yield f'<button type="button" id="save-sad">Save the SAs (ip xfrm state, {keys})</button>'
    yield '</div><p id="saved" role="status"></p></section>'


def _lines(texts: Iterable[str]) -> Iterator[str]:
    yield from (f'<p class="n">{escape(text)}</p>' for text in texts if text)


def _foot(found: Mapping[str, Any]) -> Iterator[str]:
    engine = ", ".join(filter(None, (f"{found['engine']} {found['engine_version']}", found["engine_isa"])))
    yield f'<footer><p class="n">espsim {__version__}, engine {escape(engine)}. Everything here came from runs.</p>'
    yield '<svg hidden width="0" height="0" aria-hidden="true"></svg></footer>'
