"""`espsim` as it is typed, in this process: an interpreter of its own would take a second for each run.

What only a process has (signals, closed or full streams, the status seen by a shell) is tested with subprocesses.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from espsim.cli.start import answer


class Ended(NamedTuple):
    """What a shell would see."""

    returncode: int
    stdout: bytes
    stderr: bytes


def espsim(*words: object, input: bytes = b"") -> Ended:  # noqa: A002 - subprocess's name for it
    """Run a command line with `input` as its standard input."""
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    ours = (
        io.TextIOWrapper(io.BytesIO(input), encoding="utf-8"),
        io.TextIOWrapper(out, encoding="utf-8"),
        io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace"),
    )
    try:
        sys.stdin, sys.stdout, sys.stderr = ours
        status = answer([str(word) for word in words])
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    ours[1].flush()
    ours[2].flush()
    return Ended(status, out.getvalue(), err.getvalue())


def espsim_text(*words: object) -> tuple[int, str, str]:
    """As above, with text: (exit status, standard output, standard error)."""
    ended = espsim(*words)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@contextlib.contextmanager
def reaped(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> Iterator[None]:
    """A process, killed at the end of the block if it still runs, and waited for; its pipes are closed.

    Where a test fails and leaves them, Python warns of them some time later, and that fails another test.
    """
    with process:
        try:
            yield
        finally:
            if process.poll() is None:
                process.kill()
