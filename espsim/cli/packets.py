"""What decap and encap share: options, the choice of the path that runs the packets, and the progress bar."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from espsim.cli import common
from espsim.cli.numbers import SEED, MarkType, Number, Percent
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from espsim.explain.auditable import AuditLog
    from espsim.io.arrivals import Arrivals
    from espsim.io.atomic import Outputs
    from espsim.reference.inbound import Inbound
    from espsim.reference.outbound import Outbound
    from espsim.reference.policies import Policies
    from espsim.sad.sad import Sad

_F = TypeVar("_F", bound=Callable[..., Any])

_LONG = 64 << 20  # bytes: a smaller capture is done before a progress bar would be of use
_EVERY = 0.2  # seconds


PAYS = 128 << 20
"""Least bytes of a capture for several workers by default: opening its packets takes longer than forking."""
_MOST = 64

SMALL = 10_000
"""A capture with fewer frames takes the reference path: it is about done before kernels are loaded."""
_FRAME = 1600  # bytes: a file with more than SMALL times as many is not small, whatever its frames


@dataclass(frozen=True, slots=True)
class PathChoice:
    """How packets are run: one at a time by the reference path, or in batches by an engine and some workers.

    `insists`: the user named the number of workers, so fewer are an error.
    """

    reference: bool
    engine: str
    workers: int
    insists: bool

    @property
    def path(self) -> str:
        """The path's name in results."""
        return "reference" if self.reference else "batch"


def way_options(function: _F) -> _F:
    """`--reference`, `--batch`, `--engine` and `--workers`."""
    options = (
        click.option(
            "--reference", is_flag=True, help="Run the reference path, one packet at a time; the answers are the same."
        ),
        click.option(
            "--batch",
            is_flag=True,
            help=f"Run the batch path even if IN has fewer than {SMALL} frames; --engine and --workers imply it.",
        ),
        click.option(
            "--engine",
            metavar="NAME",
            help="The AEAD engine that seals and opens: see `espsim engines`.  [default: auto]",
        ),
        click.option(
            "--workers",
            type=Number(1, 64, "a number of workers"),
            metavar="N",
            help=f"Processes that share the work.  [default: one for each core from {PAYS >> 20} MiB on, else 1]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def wire_options(function: _F) -> _F:
    """`--loss`, `--duplicate`, `--reorder` and their `--seed`."""
    seed = click.option("--seed", type=SEED, metavar="N", help="The seed of the faults of the wire.  [default: 0]")
    return fault_options("frame")(seed(function))


def fault_options(what: str) -> Callable[[_F], _F]:
    """`--loss`, `--duplicate` and `--reorder`, of frames or packets."""
    happens = {"loss": "is lost", "duplicate": "comes twice", "reorder": "is overtaken by others"}

    def decorate(function: _F) -> _F:
        for name, fate in reversed(happens.items()):
            function = click.option(
                f"--{name}", type=Percent(), metavar="PERCENT", help=f"The chance that a {what} {fate} on the wire."
            )(function)
        return function

    return decorate


def wire(loss: float | None, duplicate: float | None, reorder: float | None, seed: int | None) -> Arrivals | None:
    """The faults of the wire; None: none was asked for. InputError: a seed without a fault."""
    from espsim.core.errors import InputError
    from espsim.io.arrivals import Arrivals

    if loss is duplicate is reorder is None:
        if seed is not None:
            raise InputError("--seed needs --loss, --duplicate or --reorder")
        return None
    return Arrivals(loss or 0.0, duplicate or 0.0, reorder or 0.0, seed or 0)


def mark_options(function: _F) -> _F:
    """`--mark` and `--any-mark`."""
    function = click.option("--any-mark", is_flag=True, help="Ignore marks: find SAs whatever their mark is.")(function)
    return click.option(
        "--mark",
        type=MarkType(),
        metavar="VALUE",
        help="The mark of every packet, compared with that of the SAs.  [default: 0]",
    )(function)


def mark_of(mark: int | None, any_mark: bool) -> int | None:
    """The packets' mark; None: marks are ignored. InputError: the options contradict each other."""
    from espsim.core.errors import InputError

    if any_mark and mark is not None:
        raise InputError("--mark and --any-mark contradict each other: give one of them")
    return None if any_mark else mark or 0


def way(
    capture: str, *, reference: bool, batch: bool, engine: str | None, workers: int | None, model: str | None = None,
    clear: bool = False,
) -> PathChoice:  # fmt: skip
    """The path, engine and workers for a capture. InputError: the options contradict each other.

    A small capture takes the reference path unless an option asks for the batch path. With `clear` (--clear) every
    capture takes the reference path.
    """
    from espsim.core.errors import InputError

    for name, given in (("--engine", engine), ("--workers", workers), ("--batch", batch or None)):
        if clear and given is not None:
            raise InputError(f"{name} needs the batch path, and --clear runs the reference path")
    reference = reference or clear

    for name, given in (("--engine", engine), ("--workers", workers), ("--batch", batch or None)):
        if reference and given is not None:
            raise InputError(f"{name} needs the batch path, and --reference asks for the reference path")
    free = engine in (None, "auto") and workers is None and model is None and not batch
    few = free and not reference and _few(capture)
    return PathChoice(reference or few, engine or "auto", workers or _enough(capture), workers is not None)


def _few(capture: str) -> bool:
    """Whether a file has fewer than SMALL frames, up to the damage in a damaged one, which its path reports."""
    from espsim.core.errors import EspsimError
    from espsim.io.capture import open_capture

    if not 0 < _size(capture) < SMALL * _FRAME:
        return False
    frames = 0
    with contextlib.suppress(EspsimError), open_capture(capture) as frames_of:
        for frames, _frame in enumerate(frames_of, 1):
            if frames >= SMALL:
                break
    return frames < SMALL


def _enough(capture: str) -> int:
    """Default number of workers for a capture: one for each usable core if it is large, else one."""
    if _size(capture) < PAYS or not hasattr(os, "fork"):
        return 1
    from espsim.batch.run.workers import cores

    return min(cores(), _MOST)


def _size(path: str) -> int:
    """Bytes of a regular file; 0: it is not one."""
    return os.path.getsize(path) if path != STANDARD and os.path.isfile(path) else 0


audit_option = click.option(
    "--audit-log",
    metavar="FILE",
    help="Write the auditable events of RFC 4303 as JSON lines, at most 10 a second of each kind.",
)
"""`--audit-log`."""


def audit_log_of(outputs: Outputs, path: str | None) -> AuditLog | None:
    """The log of auditable events; None: not asked for."""
    from espsim.explain.auditable import AuditLog

    return None if path is None else AuditLog(outputs.text(path))


def policy_options(function: _F) -> _F:
    """`--spd`, `--local` and `--clear`."""
    options = (
        click.option(
            "--spd", metavar="FILE", help="Policies, as listed or added by `ip xfrm policy`, checked after opening."
        ),
        click.option(
            "--local", multiple=True, metavar="PREFIX",
            help="With --spd: an address or network of this host; packets to others need dir fwd.",
        ),
        click.option("--clear", is_flag=True, help="With --spd: check packets that came in clear, too."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def policies_of(spd: str | None, local: tuple[str, ...], clear: bool) -> Policies | None:
    """The policies to check; None: none. InputError: the file is wrong, or --local or --clear lacks --spd."""
    from espsim.core.errors import InputError

    if spd is None:
        for name, given in (("--local", bool(local)), ("--clear", clear)):
            if given:
                raise InputError(f"{name} needs --spd: without policies it has no effect")
        return None
    from espsim.analysis.inventory import parse_prefix
    from espsim.reference.policies import Policies
    from espsim.xfrm.policy_file import read_policies

    own = [parse_prefix(text) for text in local]
    found = read_policies(spd)
    common.warn_of_text(spd, found.notes.lines())
    return Policies(found.spd, [(prefix.network, prefix.length) for prefix in own], clear=clear)


def inbound_path(
    sad: Sad, mark: int | None, model: str | None, assume: tuple[str, ...], policies: Policies | None = None
) -> Inbound:  # fmt: skip
    """The reference path that opens packets. With a model its device comes first, and has the SAs installed.

    Warns of SAs that the device refuses. InputError: the options contradict each other.
    """
    from espsim.core.errors import InputError
    from espsim.core.numbers import PROTO_ESP
    from espsim.reference.inbound import Inbound
    from espsim.sad.association import Direction

    if model is None:
        if assume:
            raise InputError("--assume needs --model")
        return Inbound(sad, mark=mark, own_traffic=True, policies=policies)
    if mark is None:
        raise InputError("--any-mark is for the software lookup alone; with --model give the packets' --mark")
    from espsim.offload.caps import stays_in_software
    from espsim.reference.offloaded import OffloadedInbound

    inbound = OffloadedInbound(sad, common.make_device(model, assume), mark=mark, own_traffic=True, policies=policies)
    for entry in list(sad):
        sa = entry.sa
        if sa.proto == PROTO_ESP and sa.keys is not None and sa.direction is not Direction.OUT:
            installed = inbound.offload(entry)
            if installed.errno is not None:
                gone = "" if stays_in_software(sa, installed.errno) else ", so the kernel does not have this SA"
                common.warn(f"{sa.name}: the device answers {installed.errno}: {installed.note}{gone}")
    return inbound


def outbound_path(sad: Sad, mark: int | None, mtu: int | None) -> Outbound:
    """The reference path that seals packets. `mtu`: that of the network path; None: no packet is too long."""
    from espsim.reference.outbound import DEFAULT_MTU, Outbound

    return Outbound(sad, os.urandom, mtu=mtu or DEFAULT_MTU, keeps_mtu=mtu is not None, mark=mark)


def begin(sad: Sad, now: float) -> None:
    """Start the SAs' time limits at the first frame, at `now` (seconds): the capture is the only clock."""
    for entry in sad:
        entry.added_at(now)


@contextlib.contextmanager
def progress(path: str) -> Iterator[Callable[[int], None]]:
    """A progress bar for a long capture, if standard error is a terminal. Call it with the number of bytes read."""
    size = _size(path)
    if size < _LONG or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    # The bar must not start a thread: workers are forked, and the locks of a forked thread stay locked.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(os.path.basename(path), total=size)
        shown = 0.0

        def advance(done: int) -> None:
            nonlocal shown
            if time.monotonic() - shown >= _EVERY:
                shown = time.monotonic()
                bar.update(task, completed=done, refresh=True)

        yield advance
