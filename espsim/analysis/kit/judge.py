"""Judges a program by a kit: runs every case and compares what the program delivered with the right answers.

    PROGRAM {in} {sad} {out} [{verdicts}] [{model}]

For each case the program gets the paths of a capture and of the SAs. It writes the inner packets, in the order of their
outer ones, to {out} (pcap or pcapng; raw IP or Ethernet). A program that knows the verdict of each frame writes
{verdicts}, one JSON line for each frame. A program that can't do what a case needs ends with exit status 77 and says
why in its last line; the case is then skipped. Any other status but 0 fails the case, and so do a crash and a timeout.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from espsim.analysis.kit.differ import difference, of_lines
from espsim.analysis.kit.manifest import CaseEntry, DeviceEntry, Manifest
from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError
from espsim.core.inputs import read_whole
from espsim.io.program import RanProgram, run_programs

PASS, FAIL, SKIP = "pass", "fail", "skip"
SKIPPED_STATUS = 77
"""The exit status of TEST_SKIPPED in automake and DPDK."""

_MOST = 64 << 20
_NEEDED = ("in", "sad", "out")
_PLACES = (*_NEEDED, "verdicts", "model")
_PLACE = re.compile(r"\{([^{}]*)\}")
Heard = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """One case: PASS, FAIL with the first difference in words, or SKIP with the reason."""

    case: CaseEntry
    result: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {
            "id": self.case.id,
            "group": self.case.group,
            "name": self.case.name,
            "result": self.result,
            "why": self.why,
        }


class Command:
    """A command line with placeholders. InputError: it can't be split, lacks a placeholder, or has an unknown one."""

    def __init__(self, text: str) -> None:
        where = "--command"
        try:
            self.words = shlex.split(text)
        except ValueError as error:
            raise InputError(f"cannot be split into words: {error}", where=where) from None
        if not self.words:
            raise InputError("is empty: give a program and its arguments", where=where)
        self.places = {name for word in self.words for name in _PLACE.findall(word)}
        all_places = ", ".join(f"{{{name}}}" for name in _PLACES)
        for name in sorted(self.places - {*_PLACES}):
            like = did_you_mean(name, _PLACES, f"there are {all_places}")
            raise InputError(f"{{{shortened(name)}}} is not a placeholder; {like}", where=where)
        missing = [f"{{{name}}}" for name in _NEEDED if name not in self.places]
        if missing:
            raise InputError(f"has no {' and no '.join(missing)}: {all_places} stand for files", where=where)
        if shutil.which(self.words[0]) is None:
            raise InputError("there is no program of this name that can be run", where=self.words[0])

    def fill(self, values: dict[str, str]) -> list[str]:
        """The words for one case."""
        return [_PLACE.sub(lambda found: values[found[1]], word) for word in self.words]


def chosen_cases(manifest: Manifest, wanted: Sequence[str]) -> list[CaseEntry]:
    """The cases with these groups or ids; all if `wanted` is empty. InputError: there is no such group or case."""
    if not wanted:
        return manifest.cases
    known = {group.id for group in manifest.groups} | {case.id for case in manifest.cases}
    for name in wanted:
        if name not in known:
            groups = ", ".join(group.id for group in manifest.groups)
            like = did_you_mean(name, known, f"the groups are {groups}")
            raise InputError(f"the kit has no group or case {shortened(repr(name))}; {like}", where="--only")
    return [case for case in manifest.cases if case.group in wanted or case.id in wanted]


def judge(
    folder: str,
    cases: Sequence[CaseEntry],
    command: Command,
    *,
    model: str | None = None,
    at_once: int = 1,
    timeout: float = 60.0,
    tell: Heard = lambda _case: None,
) -> list[JudgedCase]:
    """Run the command for every case, and judge each. Results are in the order of the cases.

    `model`: judge by the answers of this model's device; cases without one are skipped. `tell` is called with the id of
    each case when it is done.
    """
    run = _Run(folder, command, model)
    judged: dict[str, JudgedCase] = {}
    asked = []
    for case in cases:
        why = _no_answer(case, model)
        if why:
            judged[case.id] = JudgedCase(case, SKIP, why)
        else:
            asked.append(case)
    with tempfile.TemporaryDirectory(prefix="espsim-kit-") as work:
        commands = [run.prepare(os.path.join(work, str(n)), case) for n, case in enumerate(asked)]
        for n, ran in run_programs(commands, at_once=at_once, timeout=timeout):
            at = os.path.join(work, str(n))
            judged[asked[n].id] = run.judged(at, asked[n], ran)
            shutil.rmtree(at, ignore_errors=True)
            tell(asked[n].id)
    return [judged[case.id] for case in cases]


@dataclass(frozen=True, slots=True)
class _Run:
    """One command for many cases. Each case has a folder of its own with copies of its files.

    So a program can't change the kit, and no path has a blank in it.
    """

    folder: str
    command: Command
    model: str | None

    def prepare(self, at: str, case: CaseEntry) -> list[str]:
        """Make the folder of one case. Returns the command's words for it."""
        os.mkdir(at)
        values = {
            "in": f"{at}/in.pcap", "sad": f"{at}/sad.txt", "out": f"{at}/out.pcap",
            "verdicts": f"{at}/verdicts.jsonl", "model": self.model or "",
        }  # fmt: skip
        shutil.copyfile(os.path.join(self.folder, case.capture), values["in"])
        shutil.copyfile(os.path.join(self.folder, case.sad), values["sad"])
        return self.command.fill(values)

    def judged(self, at: str, case: CaseEntry, ran: RanProgram) -> JudgedCase:
        """The judgement of one case."""
        said = f": {shortened(ran.said, 200)}" if ran.said else ""
        if ran.status == SKIPPED_STATUS:
            return JudgedCase(case, SKIP, shortened(ran.said, 200) or "the program says that it can't (exit status 77)")
        if ran.status is None:
            return JudgedCase(case, FAIL, f"{ran.killed}, and was killed{said}")
        if ran.status:
            how = f"exit status {ran.status}" if ran.status > 0 else f"ended by signal {-ran.status}"
            return JudgedCase(case, FAIL, f"{how}{said}")
        device = _device(case, self.model)
        out, verdicts = (case.out, case.verdicts) if device is None else (device.out or "", device.verdicts or "")
        lines = read_lines(os.path.join(self.folder, verdicts))
        why = difference(os.path.join(self.folder, out), f"{at}/out.pcap", lines)
        if why is None and "verdicts" in self.command.places:
            why = of_lines(lines, f"{at}/verdicts.jsonl")
        return JudgedCase(case, PASS if why is None else FAIL, why or "")


def _no_answer(case: CaseEntry, model: str | None) -> str:
    if model is None:
        return ""
    device = _device(case, model)
    if device is None:
        return f"the kit has no answer of {model} for this case"
    return f"{model}: {device.unknown}" if device.unknown is not None else ""


def _device(case: CaseEntry, model: str | None) -> DeviceEntry | None:
    return next((device for device in case.devices if device.model == model), None)


def read_lines(path: str) -> list[dict[str, Any]]:
    """The lines of a kit's own verdicts file. InputError: it is not one."""
    text = read_whole(path, most=_MOST).decode("utf-8", "replace")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.append(_Line.model_validate_json(line).model_dump(exclude_unset=True))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            at = ".".join(map(str, first["loc"]))
            raise InputError(f"{at}: {first['msg']}" if at else first["msg"], where=path, line=number) from None
    return found


class _Line(BaseModel):
    """The keys that a line of verdicts.jsonl must have for a case to be judged by it. It may have more."""

    model_config = ConfigDict(extra="allow", strict=True)

    frame: int
    verdict: str
    spi: int | None = None
    seq64: int | None = None


def summary(manifest: Manifest, judged: Sequence[JudgedCase], command: str) -> dict[str, Any]:
    """The JSON of `espsim kit run`."""
    groups = []
    for group in manifest.groups:
        of_group = [one.result for one in judged if one.case.group == group.id]
        if of_group:
            counts = {key: of_group.count(result) for key, result in _COUNTS.items()}
            groups.append({"id": group.id, "title": group.title, "dpdk": group.dpdk, **counts})
    results = [one.result for one in judged]
    totals = {key: results.count(result) for key, result in _COUNTS.items()}
    cases = [one.as_dict() for one in judged]
    return {"kit": manifest.kit, "command": command, **totals, "groups": groups, "cases": cases}


_COUNTS = {"passed": PASS, "failed": FAIL, "skipped": SKIP}
