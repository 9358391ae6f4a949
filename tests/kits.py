"""The conformance kit, written once for each process that tests it, and every case of it run in this process."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from espsim.analysis.kit.differ import difference, of_lines
from espsim.analysis.kit.export import export
from espsim.analysis.kit.judge import read_lines
from espsim.analysis.kit.manifest import CaseEntry, Manifest

Program = Callable[[Path, Path, Path, Path], None]
"""Opens a capture (1) with the SAs of a text (2), writes the inner packets (3) and, if it likes, the verdicts (4)."""


@functools.cache
def kit() -> tuple[Path, Manifest]:
    """The folder, and what is in it. No test writes there."""
    above = tempfile.mkdtemp(prefix="espsim-kit-test-")
    atexit.register(shutil.rmtree, above, ignore_errors=True)
    folder = Path(above, "kit")
    return folder, export(str(folder))


def failures(program: Program, cases: Iterable[CaseEntry], work: Path) -> dict[str, str]:
    """The first difference of every case that a program fails."""
    folder, _ = kit()
    found = {}
    for n, case in enumerate(cases):
        out, verdicts = work / f"{n}.pcap", work / f"{n}.jsonl"
        program(folder / case.capture, folder / case.sad, out, verdicts)
        lines = read_lines(str(folder / case.verdicts))
        why = difference(str(folder / case.out), str(out), lines)
        if why is None and verdicts.exists():
            why = of_lines(lines, str(verdicts))
        if why is not None:
            found[case.id] = why
    return found
