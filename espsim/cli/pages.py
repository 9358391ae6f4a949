"""`--html FILE`: a report besides what a command prints. The file is opened before the work and written at its end."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from espsim.io.atomic import Outputs
    from espsim.report.html.document import Made

_F = TypeVar("_F", bound=Callable[..., Any])


def html_option(function: _F) -> _F:
    """`--html FILE`."""
    return click.option(
        "--html", "html_path", metavar="FILE", help="Write a page for a browser, too: one file that fetches nothing."
    )(function)


class ReportFile:
    """The file of a report; without a file nothing is done."""

    def __init__(self, outputs: Outputs, file: TextIO | None) -> None:
        self._outputs, self._file = outputs, file

    def write(self, report: Callable[[Made], str]) -> None:
        """Write the page. `report` is called with how it was made."""
        if self._file is not None:
            self._file.write(report(made_here()))
            self._outputs.commit()


@contextlib.contextmanager
def html_page(path: str | None) -> Iterator[ReportFile]:
    """A page at `path`. If `write` is not called, no file appears. InputError: it cannot be written."""
    from espsim.io.atomic import Outputs

    with Outputs() as outputs:
        yield ReportFile(outputs, outputs.text(path) if path is not None else None)


def made_here(**more: str) -> Made:
    """This machine, the versions, `more` facts, and the command line."""
    from espsim.measure.interleave import machine
    from espsim.report.html.document import Made
    from espsim.version import __version__

    facts = {
        "machine": f"{machine()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "versions": f"espsim {__version__}, Python {platform.python_version()}",
        **more,
    }
    return Made(list(facts.items()), command_line())


def command_line() -> str:
    """The command as it was typed, quoted for a shell; "" if espsim does not run as a command."""
    context = click.get_current_context(silent=True)
    words = context.find_root().obj if context is not None else None
    return shlex.join(("espsim", *words)) if isinstance(words, tuple) else ""
