"""How a signal ends a run: one exception that unwinds it, and short stretches of work that it does not cut.

    with signals():             # around a whole command
        ...                     # ^C, TERM or HUP raises Stopped here
        with uncut():
            ...                 # not here: at the end of the block
    with gently() as reading:
        ...                 # the first ^C ends standard input and raises nothing: `reading.asked`

Only the main thread hears signals, so only its blocks count. A signal that the process was started to ignore (nohup, a
background job of a shell script) stays ignored. After the first signal no other one is heard; its exception is raised
again where the run goes on in spite of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_SWALLOWED = 0.01  # seconds until Stopped is raised again where Python is known to have swallowed it
GRACE = 0.5
"""Seconds for what is on its way when ^C ends reading."""
_AGAIN = 2.0  # the same where some library's `except` took or wrapped it, and the run goes on


class Stopped(BaseException):
    """The run was ended by a signal, or by a reader of its output that went away (SIGPIPE)."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status that shells give such an end: 130 for ^C."""
        return 128 + self.signum


class _State:
    """What the handlers know: the open `uncut` blocks, the signal that came, whether it waits for their end."""

    def __init__(self) -> None:
        self.uncut = 0
        self.came = 0
        self.waits = False
        self.ended = False
        self.gently: gently | None = None


_state = _State()


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Inside, the signals of `ENDING` raise Stopped. After it they do nothing: the process is about to end."""
    hook = sys.unraisablehook

    def swallowed(unraisable: sys.UnraisableHookArgs) -> None:
        # A destructor, or a C library's callback: Python prints what they raise, and goes on.
        if isinstance(unraisable.exc_value, Stopped):
            signal.setitimer(signal.ITIMER_REAL, _SWALLOWED, _AGAIN)
        else:
            hook(unraisable)

    sys.unraisablehook = swallowed
    signal.signal(signal.SIGALRM, _again)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _heard)
    try:
        yield
    finally:
        _state.ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)


def deafen() -> None:
    """Ignore the signals of `ENDING` from now on: the process has its exit status and is about to end.

    Python restores the default handlers a while before it ends. A signal in between would change the status.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def insist() -> None:
    """Raise Stopped if a signal has come. Some libraries wrap every exception that they catch, Stopped too."""
    if _state.came:
        raise Stopped(_state.came) from None


def _heard(signum: int, _frame: FrameType | None) -> None:
    if _state.gently is not None and signum == signal.SIGINT and not _state.gently.asked:
        _state.gently.ask()
    elif not _state.came and not _state.ended:
        _state.came = signum
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        _raise()


def _again(_signum: int, _frame: FrameType | None) -> None:
    if _state.came and not _state.ended:
        _raise()


def _raise() -> None:
    _state.waits = _state.uncut > 0
    if not _state.waits:
        raise Stopped(_state.came)


class uncut:  # noqa: N801 - reads as a statement: `with uncut():`
    """A block that no signal cuts: Stopped is raised at its end. Keep it short, and let nothing in it wait."""

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()
        _state.uncut += self._counts

    def __exit__(self, *_: Any) -> None:
        _state.uncut -= self._counts
        if self._counts and _state.waits and not _state.uncut:
            _raise()


class gently:  # noqa: N801 - reads as a statement: `with gently():`
    """A block in which the first ^C ends reading standard input, and not the run; a second one ends the run.

    After the first one what is on its way is still read (a `tcpdump` that hears the same ^C writes its last packets
    then), for GRACE seconds at most. `on` False: a block like any other.
    """

    def __init__(self, on: bool = True) -> None:
        self.asked = False
        self._on = on
        self._until = 0.0

    def __enter__(self) -> gently:
        if self._on:
            self._hears, self._says = os.pipe()
            os.set_blocking(self._says, False)
            _state.gently = self
        return self

    def __exit__(self, *_: Any) -> None:
        if self._on:
            _state.gently = None
            os.close(self._hears)
            os.close(self._says)

    def ask(self) -> None:
        """^C came. The pipe wakes a wait that is under way or begins now."""
        self._until = time.monotonic() + GRACE
        self.asked = True
        os.write(self._says, b"^")

    def readable(self, descriptor: int) -> bool:
        """Wait until a descriptor has bytes, or is at its end. False: reading is over."""
        waits = select.poll()
        waits.register(descriptor, select.POLLIN)
        if not self.asked:
            waits.register(self._hears, select.POLLIN)
            if any(number == descriptor for number, _ in waits.poll()):
                return True
            waits.unregister(self._hears)
        left = self._until - time.monotonic()
        return left > 0 and bool(waits.poll(1000 * left))


def readable(descriptor: int) -> bool:
    """Whether to go on reading standard input. Inside `gently` this waits for bytes, until ^C; elsewhere it is True."""
    return _state.gently is None or _state.gently.readable(descriptor)


def forked() -> None:
    """For a process forked inside `uncut`, first of all: its parent alone hears ^C, other signals end it at once."""
    came, _state.came, _state.uncut, _state.waits = _state.came, 0, 0, False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if came and came != signal.SIGINT:
        os._exit(128 + came)


def die_with_parent() -> None:
    """For a process just forked: the kernel kills it when its parent ends, for whatever reason (prctl(2), on Linux)."""
    import ctypes  # noqa: PLC0415 - signals are heard before it is there

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
