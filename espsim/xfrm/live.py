"""Runs a batch on the running kernel, in a network namespace made for it, and on the model, and compares.

Each line is one run of `ip` in that namespace. The namespace ends with the process that holds it.

A line is "not comparable" where the kernel or `ip` can't do what it asks for a reason outside the comparison (no ESP
type, an older iproute2). Such a line is neither an agreement nor a difference. The model does not run it, so both sides
continue from the same state.

Kernel and model draw different SPIs. From then on both SPIs are shown as `<spi N>`. Dates are shown as `-`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, cast

from espsim.core.echo import printable
from espsim.core.errors import InputError
from espsim.core.stopping import die_with_parent, uncut
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest
from espsim.text.iproute import IpRefusal, matches
from espsim.text.state_words import parse_state
from espsim.xfrm.batch import Batch, LineOutcome, read_sysctl
from espsim.xfrm.batch_lines import BatchLine
from espsim.xfrm.options import read_options

SAME, DIFFERS, NOT_COMPARABLE = "same", "differs", "not comparable"

_TIMEOUT = 20.0
_SETTLE = 0.3  # seconds for the messages of a request to reach the monitor
_DATE = re.compile(r"\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d")
_SPI = re.compile(r"\bspi 0x([0-9a-f]{8})(\(\d+\))?")
_CANNOT = {
    "Requested type not found": "this kernel has no such type (ESP, AH or IPComp)",
    "Requested mode not found": "this kernel has no such mode",
    "algorithm not found": "this kernel has no such algorithm",
    "Protocol not supported": "this kernel has no XFRM_USER, or no such type",
    "Cannot open netlink socket": "this kernel has no XFRM_USER",
    '"offload dev" is invalid': "there is no such device in a new namespace",
    "DEV value is invalid": "there is no such device in a new namespace",
}
_REFUSED_BY_KERNEL = 2
_NEWER = ("dir", "if_id", "pcpu-num", "packet", "crypto")


@dataclass(frozen=True, slots=True)
class Compared:
    """One line on both sides. `live` and `model` are what each printed, with drawn SPIs and dates replaced."""

    line: int
    command: str
    verdict: str
    live: str
    model: str
    why: str = ""


@dataclass(slots=True)
class LiveResult:
    """What `run_live` found. `release`: uname's; `against`: the model's kernel or SPI rule; `ip`: its version."""

    release: str
    against: str
    ip: str
    lines: list[Compared] = field(default_factory=list)

    @property
    def differences(self) -> list[Compared]:
        """The lines that differ."""
        return [line for line in self.lines if line.verdict == DIFFERS]

    def as_dict(self) -> dict[str, object]:
        """For JSON: the counts, and every line."""
        counts = {verdict: sum(c.verdict == verdict for c in self.lines) for verdict in (SAME, DIFFERS, NOT_COMPARABLE)}
        lines = [
            {"line": c.line, "command": c.command, "verdict": c.verdict, "live": c.live, "model": c.model, "why": c.why}
            for c in self.lines
        ]
        return {"kernel": self.release, "ip": self.ip, "model": self.against, "counts": counts, "lines": lines}


def unavailable() -> str | None:
    """Why no batch can run on this machine's kernel. None: one can."""
    for program in ("ip", "unshare", "nsenter"):
        if _program(program) is None:
            return f"there is no `{program}` here"
    if os.geteuid() != 0:
        return "it needs root, to make a network namespace"
    run = subprocess.run([_path("unshare"), "-n", "true"], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    if run.returncode:
        return f"no network namespace can be made ({run.stderr.strip()})"
    return None


def running_release() -> str:
    """This kernel's version: from `uname -v` where a distribution puts it there (Debian's -r is 6.1.0-56), else -r."""
    uname = os.uname()
    said = re.search(r"Debian (\d+\.\d+\.\d+)", uname.version)
    return said[1] if said else uname.release


def kernel_of(release: str) -> str:
    """The model's name of the kernel with this version. It depends on which stable releases have 94f39804d891.

    6.13 to 6.17 and 7.1 were not run. Each counts as the nearest earlier version that was run.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    version = tuple(int(n or 0) for n in found.groups()) if found else (99, 0, 0)
    major_minor, patch = (version[0], version[1]), version[2]
    if major_minor <= (6, 1):
        return "linux-6.1.192" if major_minor == (6, 1) and patch >= 192 else "linux-6.1"
    first, fixed = {(6, 6): (103, 109), (6, 12): (43, 50), (6, 16): (2, 10)}.get(major_minor, (1 << 30, 1 << 30))
    if major_minor >= (7, 2):
        return "linux-7.2" if major_minor == (7, 2) else "linux-7.3"
    if major_minor >= (6, 18):
        return "linux-6.18"
    if major_minor >= (6, 17) or patch >= fixed:
        return "linux-6.12"
    return "rfc4301-spi0" if patch >= first else "rfc2401"


def run_live(lines: Sequence[BatchLine], *, policy: str | None = None, seed: int = 0) -> LiveResult:
    """Run a batch on both. InputError: this machine cannot (`unavailable`), or no SPI rule is named `policy`."""
    why = unavailable()
    if why is not None:
        raise InputError(f"--live cannot run here: {why}")
    release = running_release()
    against = policy or kernel_of(release)
    batch = Batch(Netns(against, seed=seed))
    version = subprocess.run([_path("ip"), "-V"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    result = LiveResult(release, against, version)
    with _Namespace.made() as namespace:
        namespace.listen(lines)
        comparison = _Comparison(namespace, batch)
        result.lines += (comparison.line(line) for line in lines)
    return result


@contextlib.contextmanager
def namespace_holder() -> Iterator[int]:
    """The number of a process that holds a new network namespace until the context ends."""
    command = [_path("unshare"), "-n", "cat"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - fixed words
    stdin, stdout = cast(IO[bytes], holder.stdin), cast(IO[bytes], holder.stdout)
    try:
        stdin.write(b"\n")
        stdin.flush()
        stdout.read(1)  # cat has answered, so it is in its namespace
        yield holder.pid
    finally:
        with uncut():
            stdin.close()
            holder.wait()
            stdout.close()


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")


def _path(name: str) -> str:
    found = _program(name)
    if found is None:
        raise InputError(f"--live cannot run here: there is no `{name}` here")
    return found


@dataclass(frozen=True, slots=True)
class _Ran:
    """One run of `ip`. `status` None: it did not end in time."""

    status: int | None
    stdout: str
    stderr: str


class _Namespace:
    """A network namespace of the running kernel, held by a process that ends when we do."""

    def __init__(self, pid: int) -> None:
        self._enter = [_path("nsenter"), f"--net=/proc/{pid}/ns/net"]
        self._monitors: dict[tuple[str, ...], tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self._read: dict[tuple[str, ...], int] = {}

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[_Namespace]:
        """A new namespace. It is gone afterwards."""
        with namespace_holder() as pid:
            namespace = cls(pid)
            try:
                yield namespace
            finally:
                namespace._close()

    def run(self, words: Sequence[str], *, program: str = "ip") -> _Ran:
        """Run a program with these words in the namespace."""
        try:
            done = subprocess.run(  # noqa: S603 - the words of a line are this command's very purpose
                [*self._enter, _path(program), *words], capture_output=True, stdin=subprocess.DEVNULL, check=False,
                timeout=_TIMEOUT, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _Ran(None, "", f"no answer within {_TIMEOUT:g} seconds\n")
        return _Ran(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def listen(self, lines: Sequence[BatchLine]) -> None:
        """Start a monitor for each `xfrm monitor` line of the batch, so that it hears everything before its line."""
        for line in lines:
            words = monitor_words(line.words)
            if words is None or words in self._monitors:
                continue
            output = tempfile.TemporaryFile()  # noqa: SIM115 - without a name, for keys may come there
            with uncut():
                process = subprocess.Popen(  # noqa: S603 - as above
                    [*self._enter, _path("ip"), *words], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
                )  # fmt: skip
                self._monitors[words] = process, output
        if self._monitors:
            time.sleep(_SETTLE)

    def heard(self, words: tuple[str, ...]) -> _Ran:
        """What the monitor with these words printed since any monitor was last asked."""
        time.sleep(_SETTLE)
        process, output = self._monitors[words]
        at = self._read.get(words, 0)
        text = os.pread(output.fileno(), os.fstat(output.fileno()).st_size - at, at).decode("utf-8", "replace")
        for other, (_, place) in self._monitors.items():
            self._read[other] = os.fstat(place.fileno()).st_size
        status = process.poll()
        return _Ran(0, text, "") if status is None else _Ran(status, "", text)

    def _close(self) -> None:
        with uncut():
            for process, output in self._monitors.values():
                process.kill()
                process.wait()
                output.close()


def monitor_words(words: Sequence[str]) -> tuple[str, ...] | None:
    """The words of an `xfrm monitor` line as `ip` gets them. None: it is another line."""
    try:
        _, rest = read_options(list(words))
    except IpRefusal:
        return None
    if len(rest) < 2 or not matches(rest[0], "xfrm") or matches(rest[1], "state"):
        return None
    return tuple(_for_ip(words)) if matches(rest[1], "monitor") else None


def _for_ip(words: Sequence[str]) -> list[str]:
    return list(words[1:] if words and words[0] == "ip" else words)


class _Comparison:
    """Both sides, and the SPIs that each has drawn so far."""

    def __init__(self, namespace: _Namespace, batch: Batch) -> None:
        self._namespace = namespace
        self._batch = batch
        self._drawn: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def line(self, line: BatchLine) -> Compared:
        """Run one line on both, the kernel first."""
        if line.words[0] in ("pfkey", "android"):
            return Compared(line.number, line.shown, NOT_COMPARABLE, "", "", "`ip` has no word for it")
        ran = self._on_kernel(line)
        ran = _Ran(ran.status, ran.stdout, printable(line.hide(ran.stderr), keep="\n\t"))
        cannot = _cannot(ran, line)
        if cannot:
            return Compared(line.number, line.shown, NOT_COMPARABLE, ran.stderr, "", cannot)
        outcome = self._batch.run(line)
        request = _random_range(line)
        if request is not None:
            if (ran.status == 0) is not outcome.ok and request.high - request.low < 0x10000:
                why = "both drew at random from a narrow range, and only one found a free SPI"
                return Compared(line.number, line.shown, NOT_COMPARABLE, ran.stderr, outcome.stderr, why)
            self._note_drawn(ran.stdout, outcome.stdout)
        live, model = self._texts(line, ran, outcome)
        if live != model and outcome.result == "REFUSED" and ran.status != _REFUSED_BY_KERNEL and _newer(line):
            return Compared(line.number, line.shown, NOT_COMPARABLE, live, model, _newer(line))
        return Compared(line.number, line.shown, SAME if live == model else DIFFERS, live, model)

    def _on_kernel(self, line: BatchLine) -> _Ran:
        words = list(line.words)
        if words[0] == "sleep" and len(words) == 2 and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", words[1]):
            time.sleep(float(words[1]))
            return _Ran(0, "", "")
        if words[0] == "sysctl":
            return self._sysctl(words[1:])
        monitor = monitor_words(words)
        return self._namespace.heard(monitor) if monitor is not None else self._namespace.run(_for_ip(words))

    def _sysctl(self, words: list[str]) -> _Ran:
        try:
            name, value = read_sysctl(words)
        except IpRefusal as refusal:
            return _Ran(255, "", refusal.text + "\n")
        if not re.fullmatch(r"net\.core\.xfrm_[a-z_]+", name):
            return _Ran(255, "", f"sysctl: no {name} here\n")
        script = f"echo {value} > /proc/sys/{name.replace('.', '/')}"
        return self._namespace.run(["-c", script], program="sh")

    def _note_drawn(self, live: str, model: str) -> None:
        found = [_SPI.search(text) for text in (live, model)]
        if all(found):
            name = f"<spi {len(self._drawn[0]) + 1}>"
            for drawn, match in zip(self._drawn, found, strict=True):
                if match is not None:
                    drawn.setdefault(match[1], name)

    def _texts(self, line: BatchLine, ran: _Ran, outcome: LineOutcome) -> tuple[str, str]:
        live = _normal(ran.stdout, self._drawn[0]) + ran.stderr
        model = _normal(outcome.stdout, self._drawn[1]) + outcome.stderr
        return live, model


def _cannot(ran: _Ran, line: BatchLine) -> str:
    """Why this kernel or this `ip` could not do what the line asks; "" where it could."""
    if ran.status == 0:
        return ""
    if ran.status is None:
        return ran.stderr.strip()
    for text, why in _CANNOT.items():
        if text in ran.stderr:
            return why
    return _newer(line) if ran.status != _REFUSED_BY_KERNEL and _accepted(line) else ""


def _newer(line: BatchLine) -> str:
    """The reason where an older iproute2 refuses a newer word in a line about a state; "" for other lines."""
    rest = _about_a_state(line)
    word = next((word for word in _NEWER if rest and word in rest), None)
    return f"this iproute2 does not know the word {word}" if word else ""


def _accepted(line: BatchLine) -> bool:
    """Whether it is a line about a state that our own reader accepts."""
    rest = _about_a_state(line)
    try:
        return rest is not None and parse_state(rest) is not None
    except IpRefusal:
        return False


def _about_a_state(line: BatchLine) -> list[str] | None:
    """The words after `xfrm state`. None: it is another line."""
    try:
        _, rest = read_options(list(line.words))
    except IpRefusal:
        return None
    about = len(rest) > 1 and matches(rest[0], "xfrm") and (matches(rest[1], "state") or matches(rest[1], "sa"))
    return rest[2:] if about else None


def _random_range(line: BatchLine) -> SpiRequest | None:
    """The request of an `allocspi` that draws an SPI. None: it is another line."""
    rest = _about_a_state(line)
    try:
        command = None if rest is None else parse_state(rest)
    except IpRefusal:
        return None
    return command if isinstance(command, SpiRequest) and command.low != command.high else None


def _normal(text: str, drawn: dict[str, str]) -> str:
    def spi(match: re.Match[str]) -> str:
        name = drawn.get(match[1])
        return match[0] if name is None else f"spi {name}"

    return _SPI.sub(spi, _DATE.sub("-", text))
