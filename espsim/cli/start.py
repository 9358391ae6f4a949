"""`espsim` as a process: signals, standard streams, and the status that it ends with.

    0    done
    1    done, and the answer is no (an expectation failed, packets would be lost)
    2    bad input, or an output that can't be written: one line on standard error
    3    a fault of espsim
    130  interrupted by ^C; 143 by TERM, 129 by HUP
    141  the reader of our output went away (`espsim ... | head`): nothing is said

Nothing but Python's own is imported before signals are heard, so that ^C is quiet from the first moment on.
"""

from __future__ import annotations

import signal
import sys

from espsim.core.stopping import Stopped, signals


def run() -> None:
    """The console script."""
    try:
        with signals():
            status = _status()
    except Stopped as stopped:
        status = stopped.status
        _drop()
    sys.exit(status)


def _status() -> int:
    """Run the command; the status that it ends with."""
    from espsim.cli import streams
    from espsim.core.errors import EspsimError

    streams.guard()
    try:
        status = _command()
        sys.stdout.flush()
        return status
    except EspsimError as error:
        streams.drop()
        print(f"espsim: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of an output that is a pipe
        return Stopped(signal.SIGPIPE).status


def _command() -> int:
    import click

    from espsim.cli.main import main

    try:
        ended = main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        ended = error.exit_code
    except SystemExit as end:
        ended = end.code
    return ended if isinstance(ended, int) else 0


def _drop() -> None:
    from espsim.cli import streams

    streams.drop()
