"""The style sheet of all pages, and the script of the explained packet's page. Both lie beside this file."""

from __future__ import annotations

from importlib.resources import files


def asset(name: str) -> str:
    """The text of a file in this folder, such as `page.css`."""
    return files("espsim.report").joinpath(name).read_text("utf-8")
