"""What commands share: options, a SAD from a file, a device from a model, outputs, JSON, warnings."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from espsim.cli.numbers import Number
from espsim.core.echo import printable
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from espsim.offload.device import Device
    from espsim.offload.model import Model
    from espsim.sad.entry import SadEntry
    from espsim.sad.sad import Sad
    from espsim.text.found import SadText, Unused

_NAMED, _REASONS = 5, 10
"""Most SAs that one warning names, and most reasons that get a warning."""

_F = TypeVar("_F", bound=Callable[..., Any])
_Paths = Mapping[str, "str | Iterable[str] | None"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


assume_option = click.option(
    "--assume",
    "assume",
    multiple=True,
    metavar="KEY=VALUE|model",
    help="Assume a value that a model calls unknown; `model` takes the model's own suggestions.",
)


LEAST_WIDTH = 40
"""Least columns in which a table can be read."""


def width_options(function: _F) -> _F:
    """`--width` and `--wide`."""

    def narrow(context: click.Context, _parameter: click.Parameter, columns: int | None) -> None:
        if columns is None:
            return
        from espsim.core.errors import InputError
        from espsim.report.terminal import use_width

        if columns < LEAST_WIDTH:
            raise InputError(f"--width {columns}: a table needs at least {LEAST_WIDTH} columns")
        use_width(columns)
        context.call_on_close(lambda: use_width(None))

    def wide(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
        if wanted:
            from espsim.report.terminal import use_any_width, use_width

            use_any_width()
            context.call_on_close(lambda: use_width(None))

    function = click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=wide,
        help="Print each row of a table on one line, however long.",
    )(function)
    return click.option(
        "--width", type=Number(0, 1_000_000, "a number of columns"), metavar="COLUMNS", expose_value=False,
        callback=narrow, help="Fit the output into so many columns (72 for a mail).",
    )(function)  # fmt: skip


lookup_option = click.option(
    "--lookup",
    type=click.Choice(["triple", "longest"]),
    help="How an inbound SA is found: by (destination, SPI, protocol) as Linux does, or by RFC 4301's longest match.",
)
"""`--lookup`. None: not given, which means `triple` unless a scenario names another."""


def model_options(multiple: bool) -> Callable[[_F], _F]:
    """`--model` (once or repeated) and `--assume`."""

    def decorate(function: _F) -> _F:
        function = assume_option(function)
        return click.option(
            "--model",
            "models" if multiple else "model",
            multiple=multiple,
            metavar="ID|FILE",
            help="A hardware model: an id of `espsim models`, or a TOML file.",
        )(function)

    return decorate


def warn(text: str) -> None:
    """Print one line on standard error."""
    click.echo(f"espsim: {printable(text)}", err=True)


def print_json(result: Any) -> None:
    """Print one JSON document on standard output, piece by piece: that of 100,000 SAs has 50 MB."""
    pieces = json.JSONEncoder(indent=2).iterencode(result)
    while some := "".join(itertools.islice(pieces, 1 << 14)):
        click.echo(some, nl=False)
    click.echo()


def reference_engine() -> dict[str, Any]:
    """`{engine, engine_version, engine_isa}` of the reference path. InputError: its engine fails its proof."""
    from espsim.aead.engines import engine_by_name
    from espsim.batch.run.stats import EngineUse

    return EngineUse.count(engine_by_name("cryptography"), (), {}).as_dict()


def keep_apart(reads: _Paths, writes: _Paths) -> None:
    """Check paths before anything is opened. InputError: an output would replace an input or another output.

    `reads`, `writes`: the value of each option or argument: a path, several, or None.
    """
    from espsim.io.places import NamedPath, keep_apart

    keep_apart(*([NamedPath(option, path) for option, given in some.items() for path in _each(given)]
                 for some in (reads, writes)))  # fmt: skip


def by_path(*models: str | None) -> list[str]:
    """The models that are named by a path, not by an id."""
    return [model for model in models if model and (model == STANDARD or "/" in model or model.endswith(".toml"))]


def model_files(*models: str) -> list[str]:
    """The files that models are read from, including those that they extend."""
    from espsim.offload.model import load_model

    return [document.name for model in models for document in load_model(model).documents]


def _each(given: str | Iterable[str] | None) -> Iterable[str]:
    return (given,) if isinstance(given, str) else given or ()


@contextlib.contextmanager
def reporting(*outputs: str | None) -> Iterator[None]:
    """Print to standard error inside this context if an output is standard output: the two must not mix."""
    from espsim.io.places import is_standard_output

    if any(output is not None and is_standard_output(output) for output in outputs):
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def write_file(path: str, content: bytes) -> None:
    """Write an output file, whole or not at all. InputError: it cannot be written."""
    from espsim.io.atomic import OutputFile

    output = OutputFile(path)
    try:
        output.file.write(content)
        output.commit()
    finally:
        output.discard()


def load_sad(path: str, *, keep_window: bool = False, strict_windows: bool = False, lookup: str | None = None) -> Sad:
    """The SAD of a file; `load_sads` without the list of unusable SAs."""
    return load_sads(path, keep_window=keep_window, strict_windows=strict_windows, lookup=lookup)[0]


def load_sads(
    path: str, *, keep_window: bool = False, strict_windows: bool = False, lookup: str | None = None
) -> tuple[Sad, list[Unused]]:
    """The SAD of a file in any form that people paste, and its SAs that can't be used.

    Warnings name the unusable SAs and the lines that were passed over. InputError, with file and line: there is no SA,
    or SAs contradict each other.
    """
    from espsim.core.collector import paused
    from espsim.text.parse import read_sad

    with paused():
        return sad_of_text(read_sad(path), path, keep_window=keep_window, strict_windows=strict_windows, lookup=lookup)


def sad_of_text(
    text: SadText, path: str, *, keep_window: bool = False, strict_windows: bool = False, lookup: str | None = None
) -> tuple[Sad, list[Unused]]:
    """As `load_sads`, of a text that was read. `path`: its name in messages."""
    from espsim.core.numbers import PROTO_ESP
    from espsim.sad.longest import LONGEST, LongestLookup
    from espsim.sad.sad import Sad
    from espsim.text.load import load

    unused = list(text.unused())
    warn_of_text(path, text.notes.lines())
    _warn_unused(path, unused)
    for proto, states in itertools.groupby(sorted(text.ignored, key=lambda i: str(i.proto)), lambda i: i.proto):
        lines = [state.line for state in states]
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        warn(f"{path}: line {lines[0]}{more}: a state of protocol {proto}: ignored")
    sad = Sad(strict_windows=strict_windows)
    if lookup == LONGEST:
        sad.policy = LongestLookup(sad.policy)
    sas, text.sas = iter(text.sas), []
    load(sad, sas, path, keep_window=keep_window)
    if not any(entry.sa.proto == PROTO_ESP for entry in sad):
        warn(f"note: {path}: no usable ESP SA in it, so no packet finds one")
    _note_obsolete(sad)
    _note_unprotected(sad)
    _note_no_pair(sad)
    return sad, unused


def unused_json(unused: Iterable[Unused]) -> list[dict[str, Any]]:
    """The SAs that can't be used, for a report."""
    return [{"sa": one.name, "line": one.line, "why": one.why} for one in unused]


def _note_obsolete(sad: Sad) -> None:
    """Warn of SAs whose algorithms are supported only for old captures."""
    from espsim.aead.suites import OBSOLETE

    suites = {e.sa.keys.suite.name for e in sad if e.sa.keys is not None}
    old = {name: OBSOLETE.intersection(name.split("+")) for name in suites}
    if names := [e.sa.name for e in sad if e.sa.keys is not None and old[e.sa.keys.suite.name]]:
        algorithms = " and ".join(sorted(frozenset().union(*old.values())))
        warn(f"note: obsolete, for old captures and IMS only (RFC 8221): {algorithms}: {shortened(names)}")


def _note_unprotected(sad: Sad) -> None:
    """Warn of SAs that protect nothing, for each reason. Linux takes them, and any packet under them passes."""
    from espsim.aead.suites import INSECURE, unprotected

    bare = [(e.sa.name, word) for e in sad if e.sa.keys is not None and (word := unprotected(e.sa.keys)) is not None]
    for word, why in INSECURE.items():
        if names := [name for name, found in bare if found == word]:
            warn(f"note: {why}: {shortened(names)}")


def warn_of_text(path: str, notes: Iterable[str]) -> None:
    """Print on standard error what a reader passed over in a text."""
    for note in notes:
        warn(f"{path}: {note}")


def _warn_unused(path: str, unused: list[Unused]) -> None:
    """Warn of SAs that can't be used, for each reason."""
    by_reason: dict[str, list[Unused]] = {}
    for one in unused:
        by_reason.setdefault(one.why, []).append(one)
    for why, some in itertools.islice(by_reason.items(), _REASONS):
        named = ", ".join(f"{one.name} (line {one.line})" for one in some[:_NAMED])
        more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        warn(f"{path}: line {some[0].line}: not used, because {why}: {named}{more}")
    if len(by_reason) > _REASONS:
        warn(f"{path}: more SAs are not used, for {len(by_reason) - _REASONS} other reasons")


def _note_no_pair(sad: Sad) -> None:
    """Warn of BEET SAs whose selector is not a pair of addresses: inner packets get what it has, or zeros."""
    from espsim.sad.association import Mode

    beet = (e.sa for e in sad if e.sa.mode is Mode.BEET)
    names = [
        sa.name for sa in beet
        if (sa.selector.src_prefix, sa.selector.dst_prefix) != 2 * (8 * len(sa.selector.src or sa.dst),)
    ]  # fmt: skip
    if names:
        warn(
            f"WARNING: mode beet wants `sel src A dst B`, the inner packets' addresses (both whole): {shortened(names)}"
        )


def warn_open_windows(sad: Sad) -> None:
    """Warn of inbound SAs that refuse no replays."""
    names = [entry.sa.name for entry in _inbound(sad) if not entry.sa.window]
    if names:
        warn(f"WARNING: replay window 0, replays are NOT refused: {shortened(names)}")


def note_rings(sad: Sad) -> None:
    """Note the inbound SAs whose windows Linux keeps as rings that let some duplicates pass."""
    from espsim.sad.window import RingWindow

    names = [entry.sa.name for entry in _inbound(sad) if isinstance(entry.window, RingWindow)]
    if names:
        warn(
            "note: the replay window's size does not divide 2^32, so one duplicate of the first packet passes, as in"
            f" Linux; --option strict-windows refuses every duplicate: {shortened(names)}"
        )


def _inbound(sad: Sad) -> list[SadEntry]:
    """The SAs that open packets: ESP with keys, and not outbound."""
    from espsim.core.numbers import PROTO_ESP
    from espsim.sad.association import Direction

    return [e for e in sad if e.sa.proto == PROTO_ESP and e.sa.keys and e.sa.direction is not Direction.OUT]


def shortened(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def named_models(names: Iterable[str]) -> list[Model]:
    """The models with these ids, files, or names of devices (if one model fits); warns which model a name means."""
    from espsim.offload.model import load_models

    loaded = load_models(names)
    for name, model in loaded:
        if name != model.id and not by_path(str(name)):
            device = model.spec.device
            warn(f"{name}: using {model.id}, the model of {device.vendor} {device.part} under {device.driver}")
    return [model for _, model in loaded]


def make_device(model: str, assume: Iterable[str]) -> Device:
    """A device that runs a model, with its assumptions."""
    from espsim.offload.device import Device
    from espsim.offload.model import parse_assumptions

    (loaded,) = named_models([model])
    return Device(loaded, parse_assumptions(loaded, assume))
