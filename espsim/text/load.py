"""Installs the SAs of a text in a SAD, in the order that gives the kernel's SAD."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from espsim.core.errors import InputError, XfrmError
from espsim.sad.sad import Sad
from espsim.text.parse import ParsedSa


def load(sad: Sad, parsed: Iterable[ParsedSa], where: str | None = None, *, keep_window: bool = False) -> None:
    """Install what a text holds. InputError, with the line, where the SAD refuses an SA.

    A dump lists the newest SA first, so its SAs are installed from its end. `add` and `update` lines are installed in
    the text's order. An `update` of an SA that isn't there installs it: logs of key managers show the update alone,
    because the larval state came from ALLOCSPI.
    """
    items = list(parsed)
    # The last one comes first: each is taken out, so that what is not needed any more takes no memory.
    items = [*(item for item in reversed(items) if item.verb != "dump"), *(i for i in items if i.verb == "dump")]
    while items:
        item = items.pop()
        try:
            _install(sad, item, keep_window)
        except XfrmError as error:
            raise InputError(f"the SAD refuses this SA: {error}", where=where, line=item.line) from None


def _install(sad: Sad, item: ParsedSa, keep_window: bool) -> None:
    if item.verb == "update":
        try:
            sad.updsa(item.sa)
            return
        except XfrmError as error:
            if error.errno != errno.ESRCH:
                raise
    sad.newsa(item.sa, keep_window=keep_window)
