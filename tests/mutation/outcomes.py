"""What the tests say of a mutant, each in a process of its own, in one of two ways.

outcome         the whole way: a fork of a process with the libraries loaded and nothing of espsim imports the copy of
                the checkout, in which the mutant is written, and runs pytest
quick_outcomes  of many: pytest collects once, with the code unchanged. For each mutant a fork gives the functions of
                the module their new code (`__code__`), and runs the tests that were collected

The quick way takes a tenth of the time. What passes may be a mutant that it cannot make (a constant, a class without
functions, a test that starts another process), and goes the whole way; so do all where the unchanged code, put in as a
mutant is, does not pass. A mutant that is declared equivalent need not, where a function did get another code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import io
import json
import os
import resource
import select
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.mutation.mutants import Mutant
from tests.mutation.targets import Target

CHECKOUT = Path(__file__).parents[2]
PASSES, PUT_IN, KILLED, HANGS = "passes", "passes with another code", "killed", "hangs"
_COLLECTION = "import or collection"
_MEMORY = 8 << 30


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the tests said: "passes", "killed" by a test, "hangs"; of the quick way, that another code passes."""

    what: str
    test: str = ""
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def limit(self) -> Limit:
        """Of the unchanged code's: how long a mutant may run."""
        return Limit(30 + 10 * self.seconds, int(2 + 2 * self.cpu))


@dataclasses.dataclass(frozen=True)
class Limit:
    """How long a process may run, in seconds: by the clock, and of processor time, whatever else the machine does."""

    clock: float
    cpu: int


LONG = Limit(600, 300)
"""For the unchanged code."""


def _forked(run: Callable[[int], None], limit: Limit) -> Outcome:
    """What a forked process says, which `run` gets a pipe for."""
    reader, writer = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_CPU, (limit.cpu, limit.cpu + 5))
            run(writer)
        finally:
            os._exit(70)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], limit.clock)
    said = os.read(reader, 4096).decode() if ready else ""
    os.close(reader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    seconds, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    if not ready or (not said and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return Outcome(HANGS, "", seconds, cpu)
    if said in (PASSES, PUT_IN):
        return Outcome(said, "", seconds, cpu)
    return Outcome(KILLED, said or "a crash", seconds, cpu)


class _FirstFailure:
    """pytest's plugin of a run: how property tests draw; the first test that fails is said, and ends the process."""

    def __init__(self, writer: int) -> None:
        self.writer = writer

    def says(self, what: str) -> NoReturn:
        """Tell the parent, and stop: what pytest does at the end of a session takes as long as most tests."""
        os.write(self.writer, what.encode())
        os._exit(0)

    def pytest_configure(self) -> None:
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutation", settings.get_profile("suite"), derandomize=True, phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.says(report.nodeid.partition("[")[0].removeprefix("tests/"))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.says(_COLLECTION)


def outcome(copy: Path, tests: tuple[str, ...], limit: Limit, *, keeps_bytecode: bool = False) -> Outcome:
    """Run tests in the copy, for at most so long.

    The run of the unchanged code keeps its bytecode for those that follow. A mutant's is not kept: two mutants of one
    size in one second would be one to Python.
    """

    def run(writer: int) -> None:
        sys.dont_write_bytecode = not keeps_bytecode
        plugin = _FirstFailure(writer)
        status = _pytest(copy, tests, plugin)
        plugin.says(PASSES if status == 0 else _COLLECTION)

    return _forked(run, limit)


def _pytest(copy: Path, tests: tuple[str, ...], plugin: _FirstFailure) -> int:
    import pytest

    os.chdir(copy)
    sys.path[:] = [str(copy), *(place for place in sys.path if place not in ("", str(CHECKOUT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("espsim", "tests")]:
        del sys.modules[name]
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    options = ["-x", "-q", "-n0", "--tb=no", "-p", "no:cacheprovider", "--rootdir", str(copy), "-c", "pyproject.toml"]
    loaded = ["-p", "xdist.plugin", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # libraries were loaded before
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main([*options, *loaded, *tests], plugins=[plugin]))


# -- many mutants, collected once --------------------------------------------------------------------------------------


def quick_outcomes(
    copy: Path, target: Target, source: str, mutants: Sequence[Mutant], limit: Limit
) -> Iterator[tuple[Mutant, Outcome]]:
    """The mutants that are killed, hang, or pass with another code; the others have to go the whole way."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reader)
            sys.dont_write_bytecode = True
            _pytest(copy, target.tests, _Collected(writer, target.file, source, mutants, limit))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            number, what, test = json.loads(line)
            yield mutants[number], Outcome(what, test)
    os.waitpid(child, 0)


class _Collected(_FirstFailure):
    """In place of running what was collected: run it for each mutant."""

    def __init__(self, writer: int, file: str, source: str, mutants: Sequence[Mutant], limit: Limit) -> None:
        super().__init__(writer)
        self._module = file.removesuffix(".py").replace("/", ".")
        self._source, self._mutants, self._limit = source, mutants, limit

    def says(self, what: str) -> NoReturn:
        """Nothing where collecting failed: every mutant goes the whole way then."""
        os._exit(0)

    def pytest_runtestloop(self, session: Any) -> bool:
        import _pytest.main

        module = sys.modules.get(self._module)

        def run(source: str, writer: int) -> None:
            plugin = _FirstFailure(writer)
            self.writer, self.says = writer, plugin.says  # type: ignore[method-assign]
            other = module is not None and _put_in(module, source)
            _pytest.main.pytest_runtestloop(session)
            plugin.says(PUT_IN if other else PASSES)

        gc.freeze()
        if module is None or _forked(functools.partial(run, self._source), self._limit).what != PASSES:
            return True
        for number, mutant in enumerate(self._mutants):
            seen = _forked(functools.partial(run, mutant.source), self._limit)
            if seen.what != PASSES:
                os.write(self.writer, f"{json.dumps([number, seen.what, seen.test])}\n".encode())
        return True


def _put_in(module: types.ModuleType, source: str) -> bool:
    """Give the module's functions the code that they have in `source`; whether any did another thing before."""
    assert module.__file__ is not None
    fresh: defaultdict[str, list[types.CodeType]] = defaultdict(list)
    _gather(compile(source, module.__file__, "exec", dont_inherit=True), fresh)
    held: defaultdict[str, list[types.FunctionType]] = defaultdict(list)
    for function in _functions(vars(module), module.__name__):
        held[function.__code__.co_qualname].append(function)
    other = False
    for name, functions in held.items():
        functions.sort(key=lambda function: function.__code__.co_firstlineno)
        if len(functions) == len(fresh[name]):
            for function, code in zip(functions, fresh[name], strict=True):
                if code.co_freevars == function.__code__.co_freevars:
                    other = other or _does(code) != _does(function.__code__)
                    function.__code__ = code
    return other


def _does(code: types.CodeType) -> tuple[Any, ...]:
    """What a code does, wherever it stands in its file."""
    constants = tuple(_does(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames


def _gather(code: types.CodeType, found: defaultdict[str, list[types.CodeType]]) -> None:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found[constant.co_qualname].append(constant)
            _gather(constant, found)


def _functions(names: Any, module: str) -> Iterator[types.FunctionType]:
    """Those that are defined in a module: its own, its classes', and what a decorator has around them."""
    for value in [*names.values()]:
        inner = [value, *(getattr(value, part, None) for part in ("fget", "fset", "func", "__func__", "__wrapped__"))]
        for function in inner:
            if isinstance(function, types.FunctionType) and function.__module__ == module:
                yield function
        if isinstance(value, type) and value.__module__ == module:
            yield from _functions(vars(value), module)
