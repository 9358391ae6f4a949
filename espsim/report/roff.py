"""A manual page in roff, with the macros of man(7), from a command's own help. Computes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Manual:
    """One page. `text`: the paragraphs of a help text; the lines of a `(True, lines)` are not joined."""

    name: str
    short: str
    synopsis: str
    text: Sequence[tuple[bool, str]]
    options: Sequence[tuple[str, str]]
    commands: Sequence[tuple[str, str]]
    see_also: Sequence[str]
    version: str


def roff(page: Manual) -> str:
    """The page."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Manual) -> Iterator[str]:
    yield f'.TH "{_quoted(page.name.upper())}" 1 "" "espsim {_quoted(page.version)}" "espsim"'
    yield ".ad l"  # left-aligned: with long names and paths justified lines would have wide gaps
    yield ".nh"
    yield ".SH NAME"
    yield f"{escaped(page.name)} \\- {escaped(page.short)}"
    yield ".SH SYNOPSIS"
    first, _, rest = page.synopsis.partition(" [")
    yield rf"\fB{escaped(first)}\fR" + (escaped(f" [{rest}") if rest else "")
    yield ".SH DESCRIPTION"
    for number, (kept, text) in enumerate(page.text):
        if number:
            yield ".PP"
        yield from _kept(text) if kept else [escaped(text)]
    yield from _listed("OPTIONS", page.options)
    yield from _listed("COMMANDS", page.commands)
    if page.see_also:
        yield ".SH SEE ALSO"
        yield ", ".join(rf"\fB{escaped(name)}\fR(1)" for name in page.see_also)


def _kept(text: str) -> Iterator[str]:
    yield ".nf"
    yield from (escaped(line) for line in text.split("\n"))
    yield ".fi"


def _listed(title: str, items: Sequence[tuple[str, str]]) -> Iterator[str]:
    if items:
        yield f".SH {title}"
    for name, what in items:
        yield ".TP"
        yield rf"\fB{escaped(name)}\fR"
        yield escaped(what) or r"\&"


def escaped(text: str) -> str:
    r"""Text that roff prints unchanged: `\` and `-` are escaped, and no line begins a request."""
    plain = re.sub(r"\s*\n\s*", " ", text) if "\n" in text else text
    plain = plain.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    plain = plain.replace("^", r"\(ha").replace("~", r"\(ti")
    return rf"\&{plain}" if plain[:1] in (".", "'") else plain


def _quoted(text: str) -> str:
    return escaped(text).replace('"', r"\(dq")
