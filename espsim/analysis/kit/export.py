"""Writes a kit as files: it is made in a new folder, which then gets its name.

DIR/manifest.json            the contents (manifest.py), with the SHA-256 of every other file
DIR/manifest.schema.json     its JSON Schema
DIR/README.md
DIR/GROUP/CASE/in.pcap sad.txt out.pcap verdicts.jsonl
               MODEL.pcap MODEL.jsonl     the same of a modelled device
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from importlib import resources

from espsim.analysis.kit.answers import Answers, check_known, of_device, software
from espsim.analysis.kit.groups import GROUPS, CaseGroup
from espsim.analysis.kit.manifest import (
    NAME,
    VERSION,
    CaseEntry,
    DeviceEntry,
    GroupEntry,
    Manifest,
    schema,
    write_manifest,
)
from espsim.analysis.kit.packets import Case, CaseStep
from espsim.core.address import format_address
from espsim.core.errors import InputError
from espsim.core.stopping import uncut
from espsim.io.pcap import file_header, frame_header
from espsim.sad.association import Direction
from espsim.text.show import format_sa_line
from espsim.version import __version__

_START = 1_700_000_000 * 10**9
_STEP = 10**6
_ETHERNET, _RAW = 1, 101
_MACS = bytes.fromhex("02000000000202000000000a")
Said = Callable[[str], None]


def export(folder: str, tell: Said = lambda _case: None) -> Manifest:
    """Write a kit into a folder that is new or empty. InputError where it is neither, or cannot be written.

    `tell` is called with the id of each case when it is written.
    """
    target = os.path.realpath(folder)
    try:
        if os.path.lexists(folder) and (not os.path.isdir(target) or os.listdir(target)):
            what = "the folder is not empty" if os.path.isdir(target) else "is not a folder"
            raise InputError(f"{what}: name a new one", where=folder)
        parent = target if os.path.isdir(target) else os.path.dirname(target)
        beside = tempfile.mkdtemp(prefix=".espsim-kit-", dir=parent)
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None
    try:
        manifest = _Writer(beside, tell).write()
        _place(beside, target)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _unwritable(folder: str, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else "no folder can have this name"
    return InputError(f"the kit cannot be written: {reason or error}", where=folder)


def _place(beside: str, target: str) -> None:
    """Give the new folder its name, or move its files into an empty folder with that name, the manifest last."""
    if not os.path.isdir(target):
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o777 & ~mask)
        os.rename(beside, target)
        return
    names = sorted(os.listdir(beside), key=lambda name: (name == NAME, name))
    with uncut():
        for name in names:
            os.rename(os.path.join(beside, name), os.path.join(target, name))


class _Writer:
    """Writes one kit, and keeps the digest of every file."""

    def __init__(self, folder: str, tell: Said) -> None:
        self._folder, self._tell = folder, tell
        self._files: dict[str, str] = {}

    def write(self) -> Manifest:
        cases = [self._case(group, case) for group in GROUPS for case in group.cases()]
        self._file("manifest.schema.json", (json.dumps(schema(), indent=1) + "\n").encode())
        readme = resources.files("espsim.analysis.kit") / "README.md"
        self._file("README.md", readme.read_bytes())
        groups = [GroupEntry(id=group.ident, title=group.title, dpdk=group.dpdk) for group in GROUPS]
        manifest = Manifest(kit=VERSION, espsim=__version__, groups=groups, cases=cases, files=dict(self._files))
        self._file(NAME, write_manifest(manifest))
        return manifest

    def _file(self, name: str, data: bytes) -> str:
        path = os.path.join(self._folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        self._files[name] = hashlib.sha256(data).hexdigest()
        return name

    def _case(self, group: CaseGroup, case: Case) -> CaseEntry:
        ident = f"{group.ident}/{case.ident}"
        text = _sad_text(case)
        capture = self._file(f"{ident}/in.pcap", _capture(case))
        sad = self._file(f"{ident}/sad.txt", text.encode())
        path = os.path.join(self._folder, capture)
        answers = software(path, text)
        check_known(case, answers)
        out, verdicts = self._answers(f"{ident}/out.pcap", f"{ident}/verdicts.jsonl", answers)
        devices = [self._device(ident, path, case, model) for model in case.devices]
        self._tell(ident)
        return CaseEntry(
            id=ident,
            group=group.ident,
            name=case.name,
            about=case.about,
            source=case.source,
            needs=_needs(group, case),
            capture=capture,
            sad=sad,
            out=out,
            verdicts=verdicts,
            frames=len(case.frames),
            delivered=len(answers.delivered),
            devices=devices,
        )

    def _device(self, ident: str, path: str, case: Case, model: str) -> DeviceEntry:
        found = of_device(path, case, model)
        out: str | None = None
        verdicts: str | None = None
        if found.unknown is None:
            out, verdicts = self._answers(f"{ident}/{model}.pcap", f"{ident}/{model}.jsonl", found.answers)
        return DeviceEntry(
            model=model,
            installed=found.installed,
            assumptions=found.assumptions,
            unknown=found.unknown,
            out=out,
            verdicts=verdicts,
        )

    def _answers(self, out: str, verdicts: str, answers: Answers) -> tuple[str, str]:
        lines = "".join(f"{json.dumps(line)}\n" for line in answers.lines)
        return self._file(out, _pcap(_RAW, answers.delivered)), self._file(verdicts, lines.encode())


def _capture(case: Case) -> bytes:
    """The packets as Ethernet frames, a millisecond apart unless the case says otherwise."""
    frames, now = [], _START
    for n, packet in enumerate(case.frames):
        now += round(case.waits.get(n, 0) * 10**9) + _STEP
        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        frames.append((now, _MACS + kind + packet))
    return _pcap(_ETHERNET, frames)


def _pcap(linktype: int, frames: Iterable[tuple[int, bytes]]) -> bytes:
    records = (frame_header(time_ns, len(data), False) + data for time_ns, data in frames)
    return file_header(linktype, False) + b"".join(records)


def _sad_text(case: Case) -> str:
    head = f"# {case.name}: the SAs, as commands. The keys are for tests, and public.\n"
    return head + "".join(f"{_command(step)}\n" for step in case.steps)


def _command(step: CaseStep) -> str:
    if step.verb == "add":
        return format_sa_line(step.sa, verb="add")
    sa = step.sa
    ends = f"src {format_address(sa.src)} dst {format_address(sa.dst)}"
    return f"ip xfrm state delete {ends} proto esp spi 0x{sa.spi:08x}"


def _needs(group: CaseGroup, case: Case) -> list[str]:
    """What an implementation must have for a case, in words that a program can compare."""
    needs: set[str] = set()
    for sa in (step.sa for step in case.steps):
        needs |= {sa.mode.value, f"ipv{4 if len(sa.dst) == 4 else 6}", f"window {sa.window}"}
        needs |= {f"{a.name} {a.bits}" if a.bits else a.name for a in sa.algorithms} | set(sa.flags)
        needs |= {
            word
            for word, has in (
                ("udp-encap", sa.encap is not None),
                ("lifetimes", sa.limited),
                ("selectors", sa.selective),
                ("own traffic", sa.dir is Direction.OUT),
            )
            if has
        }
    if group.ident == "fragments" and not case.ident.startswith("inner-"):
        needs.add("reassembly")
    return sorted(needs)
