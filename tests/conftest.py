"""What every test may rely on, whichever version of a library within the floors of pyproject.toml is there."""

from __future__ import annotations

import functools
import inspect
import os
import signal
from typing import Any, cast

from click.testing import CliRunner

if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click 8.1; later ones always keep the two apart
    cast(Any, CliRunner).__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)

# pytest-xdist sets these in its workers: tables would be narrower there than in a run without it.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# Under nohup a hangup is ignored, and so it would be in every process that a test starts and then hangs up on.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
