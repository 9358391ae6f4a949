"""Other people's programs, run one or several at once, each with a time limit.

A program runs without a shell, in a process group of its own, with nothing on standard input. It is killed, with all
that it has started, when its time is over, when this run ends early, or when this process dies. What it prints goes to
a nameless file, and only the end of that is read.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from espsim.core.errors import InputError
from espsim.core.stopping import die_with_parent, uncut

_TAIL = 2000
_MOST_PRINTED = 64 << 20
_POLL = 0.005  # seconds
_POLL_MOST = 0.05


@dataclass(frozen=True, slots=True)
class RanProgram:
    """How a program ended. `status`: its exit status, negative for a signal, None where it was killed.

    `killed` says why, "" where it ended by itself. `said`: the last line that it printed, on stdout or stderr.
    """

    status: int | None
    said: str
    killed: str = ""


@dataclass(slots=True)
class _Running:
    index: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    timeout: float
    until: float

    def over(self) -> bool:
        """Whether it has ended, or has to."""
        return self.ended() or bool(self.too_much())

    def ended(self) -> bool:
        """Whether it has ended. It stays a zombie, so that no other process gets its number or its group's."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def too_much(self) -> str:
        """Why it has to end, "" where it may go on."""
        if time.monotonic() >= self.until:
            return f"not done after {self.timeout:g} seconds"
        if os.fstat(self.output.fileno()).st_size > _MOST_PRINTED:
            return f"it printed more than {_MOST_PRINTED >> 20} MiB"
        return ""


def run_programs(
    commands: Sequence[Sequence[str]], *, at_once: int, timeout: float
) -> Iterator[tuple[int, RanProgram]]:
    """Run every command, `at_once` at a time; (index, how it ended) as they end.

    `timeout`: seconds that each may take. InputError: a program can't be started.
    """
    waiting = list(enumerate(commands))[::-1]
    running: list[_Running] = []
    pause = _POLL
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                index, words = waiting.pop()
                with uncut():
                    running.append(_start(index, words, timeout))
            ended = [each for each in running if each.over()]
            pause = _POLL if ended else min(2 * pause, _POLL_MOST)
            for each in ended:
                running.remove(each)
                yield each.index, _finish(each)
            if not ended:
                time.sleep(pause)
    finally:
        for each in running:
            _finish(each)


def _start(index: int, words: Sequence[str], timeout: float) -> _Running:
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _finish
    try:
        process = subprocess.Popen(  # noqa: S603 - running the user's program is the purpose
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread runs here
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        output.close()
        reason = error.strerror if isinstance(error, OSError) else "no program has such a name"
        raise InputError(f"cannot be run: {reason or error}", where=words[0]) from None
    return _Running(index, process, output, timeout, time.monotonic() + timeout)


def _finish(running: _Running) -> RanProgram:
    """End what still runs, and read the last line of what it printed."""
    with uncut():
        ended = running.ended()
        killed = "" if ended else running.too_much()
        with contextlib.suppress(OSError):  # the group may be gone already
            os.killpg(running.process.pid, signal.SIGKILL)
        status = running.process.wait()
        try:
            size = os.fstat(running.output.fileno()).st_size
            running.output.seek(max(size - _TAIL, 0))
            lines = running.output.read(_TAIL).decode("utf-8", "replace").split("\n")
        finally:
            running.output.close()
    said = [line.strip() for line in lines if line.strip()]
    return RanProgram(status if ended else None, said[-1] if said else "", killed)
