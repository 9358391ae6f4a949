"""The look of all pages: one style sheet, and templates on one base. They lie beside this file.

A template makes every text printable, then escapes it. Only the style sheet, the script and what is JSON already go in
unescaped.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from espsim.core.echo import printable


def page(template: str, *, script: str = "", **values: Any) -> str:
    """The page of a template with these values. Its policy allows the style sheet and `script`, and nothing else."""
    style = asset("page.css")
    allowed = f"style-src {_hash(style)}" + (f"; script-src {_hash(script)}" if script else "")
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return str(_templates().get_template(template).render(style=style, script=script, policy=policy, **values))


def asset(name: str) -> str:
    """The text of a file in this folder, such as `page.css`."""
    return files("espsim.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _templates() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - only a page needs it

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown,
        loader=FunctionLoader(asset),
    )  # fmt: skip
    escape = environment.filters["escape"]
    environment.filters["lines"] = lambda text: escape(printable(text, keep="\n"))
    return environment


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value
