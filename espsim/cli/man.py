"""`espsim man DIR`: a manual page for each command, made from its --help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.report.roff import Manual


@click.command()
@click.argument("folder", metavar="DIR")
@common.json_option
def man(folder: str, as_json: bool) -> None:
    """Write a manual page for each command into DIR: espsim.1, espsim-decap.1 and so on.

    DIR is made if it does not exist; pages of an earlier version are replaced. The pages say what --help says.

    \b
    espsim man ~/.local/share/man/man1 && man espsim-decap
    """
    from espsim.core.echo import printable
    from espsim.core.errors import InputError
    from espsim.io.atomic import Outputs
    from espsim.report.roff import roff

    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be made: {getattr(error, 'strerror', None) or error}", where=folder) from None
    root = click.get_current_context().find_root().command
    pages = {f"{page.name}.1": roff(page) for page in _manuals(root, click.Context(root, info_name="espsim"))}
    with Outputs() as outputs:
        for name, text in pages.items():
            outputs.text(os.path.join(folder, name)).write(text)
        outputs.commit()
    if as_json:
        common.print_json({"folder": folder, "files": sorted(pages)})
        return
    for name in sorted(pages):
        click.echo(printable(os.path.join(folder, name)))


def _manuals(command: click.Command, context: click.Context) -> Iterator[Manual]:
    """The page of a command, then the pages of its subcommands."""
    yield _manual(command, context)
    for name, below in _below(command).items():
        yield from _manuals(below, click.Context(below, info_name=name, parent=context))


def _below(command: click.Command) -> dict[str, click.Command]:
    return dict(sorted(command.commands.items())) if isinstance(command, click.Group) else {}


def _manual(command: click.Command, context: click.Context) -> Manual:
    from espsim.report.roff import Manual
    from espsim.version import __version__

    name = context.command_path.replace(" ", "-")
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    usage = " ".join(part for part in command.collect_usage_pieces(context) if part)
    parent = context.parent.command_path.replace(" ", "-") if context.parent is not None else None
    below = _below(command)
    return Manual(
        name=name,
        short=command.get_short_help_str(limit=100).rstrip("."),
        synopsis=f"{context.command_path} {usage}",
        text=list(_paragraphs(command.help or "")),
        options=records,
        commands=[(f"{context.command_path} {each}", below[each].get_short_help_str(limit=100)) for each in below],
        see_also=[*([parent] if parent else []), *(f"{name}-{each}" for each in below)],
        version=__version__,
    )


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    r"""The paragraphs of a help text, as (whether its lines are kept, text); `\b` marks those whose lines are kept."""
    import inspect

    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.startswith("\b")
        yield kept, paragraph.removeprefix("\b").strip("\n")
