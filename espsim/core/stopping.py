"""How a signal ends a run: one exception that unwinds it, and short stretches of work that it does not cut.

    with signals():             # around a whole command
        ...                     # ^C, TERM or HUP raises Stopped here
        with uncut():
            ...                 # not here: at the end of the block

Only the main thread hears signals, so only its blocks count. A signal that the process was started to ignore (nohup, a
background job of a shell script) stays ignored. After the first signal no other one is heard: the run unwinds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.01  # seconds after which a signal is raised again where Python had to swallow its exception


class Stopped(BaseException):
    """The run was ended by a signal, or by a reader of its output that went away (SIGPIPE)."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status by which shells say so: 130 for ^C."""
        return 128 + self.signum


class _State:
    """What the handler knows: blocks that are not to be cut, a signal that waits for their end, whether one came."""

    def __init__(self) -> None:
        self.uncut = 0
        self.waiting = 0
        self.over = False


_state = _State()


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Inside, the signals of `ENDING` raise Stopped, once. From its end on they do nothing, for the process ends."""
    hook = sys.unraisablehook

    def swallowed(unraisable: sys.UnraisableHookArgs) -> None:
        # A destructor, or a C library's callback: Python prints what they raise, and goes on.
        if isinstance(unraisable.exc_value, Stopped):
            _state.over, _state.waiting = False, unraisable.exc_value.signum
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook(unraisable)

    sys.unraisablehook = swallowed
    signal.signal(signal.SIGALRM, _again)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _came)
    try:
        yield
    finally:
        _state.over = True


def _came(signum: int, _frame: FrameType | None) -> None:
    if _state.over or _state.waiting:
        return
    if _state.uncut:
        _state.waiting = signum
        return
    _state.over = True
    raise Stopped(signum)


def _again(_signum: int, _frame: FrameType | None) -> None:
    if not _state.uncut:
        _raise_waiting()


def _raise_waiting() -> None:
    if _state.waiting:
        signum, _state.waiting, _state.over = _state.waiting, 0, True
        raise Stopped(signum)


class uncut:  # noqa: N801 - reads as a statement: `with uncut():`
    """A block that no signal cuts: Stopped is raised at its end. Keep it short, and let nothing in it wait."""

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()
        _state.uncut += self._counts

    def __exit__(self, *_: Any) -> None:
        _state.uncut -= self._counts
        if self._counts and not _state.uncut:
            _raise_waiting()


def forked() -> None:
    """In a process forked inside `uncut`, first thing: ^C is its parent's to hear, other signals end it at once."""
    waiting, _state.waiting, _state.uncut, _state.over = _state.waiting, 0, 0, False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if waiting and waiting != signal.SIGINT:
        os._exit(128 + waiting)
