"""Finds changes that no test notices: makes each mutant of the targets, runs the tests that should fail, and counts.

    python -m tests.mutation.run                        every mutant of every target, and the table
    python -m tests.mutation.run window lookup          the targets whose name has one of these words
    python -m tests.mutation.run --sample 5 --seed 3    five of each target, drawn by the seed
    python -m tests.mutation.run --killed FILE          go on: what a run before this one killed is not run again

A mutant runs in a copy of the checkout, in a process of its own that is forked from one with the libraries loaded and
nothing of espsim. Kernels run as plain Python there (NUMBA_DISABLE_JIT=1): the source is the same, and nothing waits
for a compiler. Property tests draw the same examples in each run and do not shrink what fails. A mutant that runs for
much longer than the unchanged code is killed and counted apart.

Exit status: 0 where each mutant is killed or is declared equivalent (equivalent.toml), 1 where one survives or a
declaration no longer holds.

FILE has a line for each mutant that was killed, under a hash of its code (docstrings and comments left out). It holds
as long as tests are added and none is taken away.

Why not a program from PyPI. mutmut (3.8) leaves every decorated function out, so it would change no kernel; cosmic-ray
(8.7) changes the files of the checkout in place, has one test command for all, and knows files and not functions. Both
start an interpreter for each mutant.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import gc
import hashlib
import importlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.targets import TARGETS, Target

CHECKOUT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_COPIED = ("espsim", "tests", "hwmodels", "bench", "pyproject.toml", "README.md")
_LIBRARIES = ("_pytest.assertion.rewrite", "click.testing", "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.ciphers.modes", "hypothesis.strategies", "numba.extending", "numpy.testing",
    "pydantic", "pytest", "rich.console", "xdist.plugin")  # fmt: skip
_MEMORY = 8 << 30
_PASSES, _KILLED, _HANGS = "passes", "killed", "hangs"
_COLLECTION = "import or collection"


@dataclasses.dataclass
class Row:
    """A target's line of the table. `killed`: how many each test killed; `equivalent`: the declared ones met."""

    target: Target
    mutants: int = 0
    killed: Counter[str] = dataclasses.field(default_factory=Counter)
    hung: int = 0
    equivalent: int = 0
    survivors: list[str] = dataclasses.field(default_factory=list)
    stale: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the tests said: "passes", "killed" by a test, "hangs"."""

    what: str
    test: str
    seconds: float


def declared() -> dict[tuple[str, str], dict[str, str]]:
    """By (file, function): why a mutant, by its name, is equivalent."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for entry in tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", []):
        for change in entry["mutants"]:
            found.setdefault((entry["file"], entry["name"]), {})[change] = entry["why"]
    return found


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """A copy of the checkout's code and tests."""
    with tempfile.TemporaryDirectory(prefix="espsim-mutation-") as folder:
        for name in _COPIED:
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(CHECKOUT / name, folder)
        yield Path(folder)


class Killed:
    """What earlier runs killed, and this one does, in a file; None: in none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                key, what, test = json.loads(line)
                self._known[key] = Outcome(what, test, 0.0)

    def outcome(self, mutant: Mutant, run: Callable[[], Outcome]) -> Outcome:
        """Of a mutant, by running it unless it is known."""
        key = _without_text(mutant.source)
        if key not in self._known:
            seen = run()
            if seen.what == _PASSES or self._path is None:
                return seen
            self._known[key] = seen
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, seen.what, seen.test]) + "\n")
        return self._known[key]


def _without_text(source: str) -> str:
    """A hash of a module's code; docstrings and comments are no part of it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                part for part in node.body
                if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ]  # fmt: skip
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def examine(target: Target, copy: Path, killed: Killed, *, sample: int | None = None, seed: int = 1) -> Row:
    """Run a target's mutants, or a sample of them; print what survives as it is seen."""
    row, began = Row(target), time.monotonic()
    path = copy / target.file
    source = path.read_text(encoding="utf-8")
    everything = [(name, mutant) for name in target.names for mutant in mutants_of(source, name)]
    chosen = everything
    if sample is not None and sample < len(everything):
        chosen = random.Random(f"{seed} {target.file} {target.names}").sample(everything, sample)
    unchanged = outcome(copy, target.tests, 300, keeps_bytecode=True)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()
    if unchanged.what != _PASSES:
        raise RuntimeError(f"{target.title}: the tests fail without a mutant: {unchanged.test}")
    limit = 10 + 5 * unchanged.seconds
    reasons = declared()
    try:
        for name, mutant in chosen:
            path.write_text(mutant.source, encoding="utf-8")
            known = len(row.survivors)
            seen = killed.outcome(mutant, lambda: outcome(copy, target.tests, limit))
            _note(row, name, mutant, seen, reasons.get((target.file, name), {}))
            for survivor in row.survivors[known:]:
                print(f"survives: {survivor}", flush=True)  # noqa: T201
    finally:
        path.write_text(source, encoding="utf-8")
    names = {(name, mutant.name) for name, mutant in everything}
    for name in target.names:
        gone = [change for change in reasons.get((target.file, name), {}) if (name, change) not in names]
        row.stale += [f"{name}: no such mutant: {change}" for change in gone]
    row.seconds = time.monotonic() - began
    return row


def _note(row: Row, name: str, mutant: Mutant, seen: Outcome, reasons: dict[str, str]) -> None:
    row.mutants += 1
    if seen.what == _PASSES and mutant.name in reasons:
        row.equivalent += 1
    elif seen.what == _PASSES:
        row.survivors.append(f"{row.target.file}:{mutant.line} {name}: {mutant.name}")
    elif mutant.name in reasons:
        row.stale.append(f"{name}: {seen.test} kills what is declared equivalent: {mutant.name}")
    elif seen.what == _HANGS:
        row.hung += 1
    else:
        row.killed[seen.test] += 1


class _FirstFailure:
    """pytest's plugin of a run: how property tests draw; the first test that fails is said, and ends the process."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def says(self, what: str) -> NoReturn:
        """Tell the parent, and stop: what pytest does at the end of a session takes as long as most tests."""
        os.write(self._writer, what.encode())
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


def outcome(copy: Path, tests: tuple[str, ...], limit: float, *, keeps_bytecode: bool = False) -> Outcome:
    """Run tests in the copy, in a forked process, for at most so many seconds.

    The run of the unchanged code keeps its bytecode for those that follow. A mutant's is not kept: two mutants of one
    size in one second would be one to Python.
    """
    reader, writer = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reader)
            sys.dont_write_bytecode = not keeps_bytecode
            _run_tests(copy, tests, writer)
        finally:
            os._exit(70)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], limit)
    said = os.read(reader, 4096).decode() if ready else ""
    os.close(reader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seconds = time.monotonic() - began
    if not ready:
        return Outcome(_HANGS, "", seconds)
    if said == _PASSES:
        return Outcome(_PASSES, "", seconds)
    return Outcome(_KILLED, said or "a crash", seconds)


def _run_tests(copy: Path, tests: tuple[str, ...], writer: int) -> None:
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
    plugin = _FirstFailure(writer)
    options = ["-x", "-q", "-n0", "--tb=no", "-p", "no:cacheprovider", "--rootdir", str(copy), "-c", "pyproject.toml"]
    loaded = ["-p", "xdist.plugin", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # libraries were loaded before
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = pytest.main([*options, *loaded, *tests], plugins=[plugin])
    plugin.says(_PASSES if status == 0 else _COLLECTION)


def table(rows: list[Row]) -> str:
    """Markdown: a line a target, with the three tests that kill most."""
    heads = ["target", "mutants", "killed", "by time-out", "equivalent", "survive", "killed most by"]
    lines = [heads, ["---", *["--:"] * 5, "---"]]
    total = Counter[int]()
    for row in rows:
        most = ", ".join(f"{test.partition('::')[2] or test} {count}" for test, count in row.killed.most_common(3))
        numbers = [row.mutants, row.killed.total(), row.hung, row.equivalent, len(row.survivors)]
        total.update(dict(enumerate(numbers)))
        lines.append([row.target.title, *map(str, numbers), most])
    lines.append(["all", *(str(total[n]) for n in range(5)), ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def prepare() -> None:
    """Load what no mutant changes, before any process is forked: libraries only, kernels as plain Python."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for library in _LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # pytest collects garbage in each process, and these objects are not garbage


def _is_meant(target: Target, words: list[str], exact: bool) -> bool:
    if exact:
        return target.title in words
    return not words or any(word in f"{target.title} {target.file}" for word in words)


def main() -> int:
    """Run the targets that the words name, print what survives as it is seen, then the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run", description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="run the targets whose title or file has one of these words")
    parser.add_argument("--sample", type=int, help="so many mutants of each target")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--killed", type=Path, metavar="FILE", help="what is killed is kept here, and not run again")
    parser.add_argument("--exact", action="store_true", help="the words are whole titles")
    options = parser.parse_args()
    targets = [target for target in TARGETS if _is_meant(target, options.words, options.exact)]
    prepare()
    rows, killed = [], Killed(options.killed)
    with copied() as copy:
        for target in targets:
            row = examine(target, copy, killed, sample=options.sample, seed=options.seed)
            for line in row.stale:
                print(f"declared: {line}", flush=True)  # noqa: T201
            print(f"{target.title}: {row.mutants} mutants, {row.seconds:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
            rows.append(row)
    print(table(rows))  # noqa: T201
    return int(any(row.survivors or row.stale for row in rows))


if __name__ == "__main__":
    sys.exit(main())
