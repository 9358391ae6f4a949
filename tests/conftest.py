"""What every test may rely on, with any version of a library that pyproject.toml allows."""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from typing import Any, cast

import pytest
from click.testing import CliRunner
from hypothesis import settings

from espsim.cli import packets
from tests.examples import examples

BYTECODE = "ESPSIM_TESTS_BYTECODE"

if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click 8.1; later ones always keep the two apart
    cast(Any, CliRunner).__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)

# Examples of a property test that sets no number of its own.
settings.register_profile("suite", max_examples=examples(40), deadline=None)
settings.load_profile("suite")

# In tests commands take the batch path even for small captures; tests/unit/cli/test_small_captures.py tests both paths.
packets.SMALL = 0

# pytest-xdist sets these in its workers: tables would be narrower there than in a run without it.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# A shell may have made these ignored (nohup a hangup, `&` in a script an interrupt): so they would be in every process
# that a test starts and then sends one.
for _signal, _usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _usual)


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes that tests start keep bytecode, in a folder of this run, where the environment keeps none.

    Containers often have PYTHONDONTWRITEBYTECODE. Then each process would compile the package, which takes longer than
    most of them run. pytest's own processes stay as they are: they find the libraries' bytecode where it is installed.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return
    if BYTECODE not in os.environ:  # the first process of the run
        os.environ[BYTECODE] = tempfile.mkdtemp(prefix="espsim-bytecode-")
        atexit.register(shutil.rmtree, os.environ[BYTECODE], ignore_errors=True)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):  # this process runs tests
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ["PYTHONPYCACHEPREFIX"] = os.environ[BYTECODE]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, and later not among what was collected: it lasts to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
