"""`espsim` as a process: signals, standard streams, and the status that it ends with.

    0    done
    1    done, and the answer is no (an expectation failed, packets would be lost)
    2    bad input, or an output that can't be written: one line on standard error
    3    a fault of espsim: one line, and with `espsim --debug COMMAND` its traceback
    130  interrupted by ^C; 143 by TERM, 129 by HUP
    141  the reader of our output went away (`espsim ... | head`): nothing is printed

Before the signal handlers are set only Python's own modules are imported, so that even an early ^C prints nothing.

The garbage collector looks at new objects less often than usual: what is imported stays, and looking through it again
and again is a tenth of the start.

numpy's OpenBLAS starts a thread for each core when it is imported, and each of them waits busily for a while, which
nearly doubles the CPU time of that import. Nothing here multiplies matrices, so it gets one thread. Workers are forked
from a process with one thread then, too.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from espsim.core.stopping import Stopped, deafen, insist, signals

if TYPE_CHECKING:
    import click


_NEW_OBJECTS = 200_000
"""As many objects are made between two looks of the garbage collector; Python's own number is 700."""


def run() -> None:
    """Entry point of the console script `espsim`."""
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with signals():
            status = _status()
    except Stopped as stopped:
        status = stopped.status
        _drop()
    deafen()
    sys.exit(status)


def _status() -> int:
    """Run the command. Returns the exit status."""
    from espsim.cli import streams

    streams.guard()
    return answer(sys.argv[1:], failed=streams.drop)


def answer(words: Sequence[str], failed: Callable[[], None] = lambda: None) -> int:
    """Run a command line. Returns the exit status. Every exception but Stopped becomes a line on standard error.

    `failed` is called before that line if the command did not finish. Stopped is raised.
    """
    from espsim.cli.fault import fault, traceback_of
    from espsim.core.errors import EspsimError

    try:
        status = _command(list(words))
        sys.stdout.flush()
        return status
    except EspsimError as error:
        insist()
        failed()
        for each in getattr(error, "errors", (error,)):
            _say(str(each))
        return 2
    except BrokenPipeError:  # of an output that is a pipe
        return Stopped(signal.SIGPIPE).status
    except Exception as error:  # no one expected it; RecursionError and MemoryError are among them
        insist()
        failed()
        if "--debug" in itertools.takewhile(lambda word: word[:1] == "-", words):
            for line in traceback_of(error):
                print(line, file=sys.stderr)
        _say(fault(error))
        return 3


def _command(words: list[str]) -> int:
    import click

    from espsim.cli.main import main

    try:
        ended = main.main(words, prog_name="espsim", standalone_mode=False, obj=tuple(words))
    except click.ClickException as error:
        _say_usage(error)
        ended = 2
    except SystemExit as end:
        ended = end.code
    return ended if isinstance(ended, int) else 0


def _say(text: str) -> None:
    from espsim.core.echo import printable

    print(f"espsim: {printable(text)}", file=sys.stderr)


def _say_usage(error: click.ClickException) -> None:
    """Print what click says about a wrong command line, with the user's words escaped and shortened."""
    import click

    from espsim.core.echo import message

    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # click 8.2: a group without a command
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
        print(f"Try '{context.command_path} {context.help_option_names[0]}' for help.\n", file=sys.stderr)
    said = error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ")  # a choice is a list of lines to click
    print(f"Error: {message(said)}", file=sys.stderr)


def _drop() -> None:
    from espsim.cli import streams

    streams.drop()
