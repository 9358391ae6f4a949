"""The message for an unexpected exception: it is a fault of espsim, and where; never the exception's text.

An exception's text may hold input, and input may hold keys. So the line has only its type and its place, and a
traceback shows its text without anything that may be a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb, format_exception

from espsim.core.echo import hide_keys, printable

_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_PACKAGE = Path(__file__).parents[1]


def fault(error: BaseException) -> str:
    """One line: it is a fault of espsim, the exception's type, and the last place in espsim that it came through."""
    return (
        f"this is a fault of espsim, not of its input: {type(error).__name__} in {_place(error)};"
        " `espsim --debug COMMAND` shows more; please report it"
    )


def _place(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    if not (ours or frames):
        return "a place that is not known"
    last = (ours or frames)[-1]
    name = Path(last.filename)
    return f"{name.relative_to(_PACKAGE.parent) if ours else name.name}:{last.lineno} ({last.name})"


def traceback_of(error: BaseException) -> Iterator[str]:
    """The traceback, line by line."""
    for text in format_exception(error):
        for line in text.splitlines():
            yield printable(hide_keys(_BYTES.sub("b'...'", line)))
