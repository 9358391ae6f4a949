"""The look of what a browser shows: one style sheet, and the page's script, as they lie beside this file."""

from __future__ import annotations

from importlib.resources import files


def asset(name: str) -> str:
    """`page.css` or `page.js`."""
    return files("espsim.report").joinpath(name).read_text("utf-8")
