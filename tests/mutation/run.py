"""Finds changes that no test notices: makes each mutant of the targets, runs the tests that should fail, and counts.

    python -m tests.mutation.run                        every mutant of every target, and the table
    python -m tests.mutation.run window lookup          the targets whose name has one of these words
    python -m tests.mutation.run --sample 5 --seed 3    five of each target, drawn by the seed
    python -m tests.mutation.run --killed FILE          go on: what a run before this one killed is not run again

A mutant runs in a copy of the checkout, in a process of its own (outcomes.py). Kernels run as plain Python there
(NUMBA_DISABLE_JIT=1): the source is the same, and nothing waits for a compiler. Property tests draw the same examples
in each run and do not shrink what fails. A mutant that runs for much longer than the unchanged code is killed and
counted apart.

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
import functools
import gc
import hashlib
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.outcomes import CHECKOUT, HANGS, LONG, PASSES, PUT_IN, Outcome, outcome, quick_outcomes
from tests.mutation.targets import TARGETS, Target

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_COPIED = ("espsim", "tests", "hwmodels", "bench", "pyproject.toml", "README.md")
_LIBRARIES = ("_pytest.assertion.rewrite", "click.testing", "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.ciphers.modes", "hypothesis.strategies", "numba.extending", "numpy.testing",
    "pydantic", "pytest", "rich.console", "xdist.plugin")  # fmt: skip


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
                self._known[key] = Outcome(what, test)

    def get(self, mutant: Mutant) -> Outcome | None:
        """Of a mutant, if it was killed."""
        return self._known.get(_without_text(mutant.source))

    def add(self, mutant: Mutant, seen: Outcome) -> None:
        """Keep what killed a mutant."""
        if seen.what != PASSES and self.get(mutant) is None:
            key = _without_text(mutant.source)
            self._known[key] = seen
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, seen.what, seen.test]) + "\n")


@functools.cache
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
    unchanged = outcome(copy, target.tests, LONG, keeps_bytecode=True)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()
    if unchanged.what != PASSES:
        raise RuntimeError(f"{target.title}: the tests fail without a mutant: {unchanged.test}")
    reasons = declared()
    try:
        left = [mutant for _, mutant in chosen if killed.get(mutant) is None]
        passed: dict[str, Outcome] = {}
        for mutant, quick in quick_outcomes(copy, target, source, left, unchanged.limit):
            if quick.what == PUT_IN:
                passed[mutant.source] = Outcome(PASSES)
            else:
                killed.add(mutant, quick)
        for name, mutant in chosen:
            seen = killed.get(mutant)
            if seen is None and mutant.name in reasons.get((target.file, name), {}):
                seen = passed.get(mutant.source)
            if seen is None:
                path.write_text(mutant.source, encoding="utf-8")
                seen = outcome(copy, target.tests, unchanged.limit)
                killed.add(mutant, seen)
            known = len(row.survivors)
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
    if seen.what == PASSES and mutant.name in reasons:
        row.equivalent += 1
    elif seen.what == PASSES:
        row.survivors.append(f"{row.target.file}:{mutant.line} {name}: {mutant.name}")
    elif seen.what == HANGS:  # one that is equivalent may be slow: a search that does not stop early
        row.hung += 1
    elif mutant.name in reasons:
        row.stale.append(f"{name}: {seen.test} kills what is declared equivalent: {mutant.name}")
    else:
        row.killed[seen.test] += 1


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
    os.environ.setdefault("ESPSIM_EXAMPLES", "2")  # tests/examples.py: the suite's own number is for speed
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
