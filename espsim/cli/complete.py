"""What a shell completes: shipped names (models, scenarios, policies, engines, lessons, studies) and files.

Two tables say what each parameter takes: by command and name, else by metavar. Names are read from where they are
defined when a shell asks for them; no kernel is loaded for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

Named = Iterable[tuple[str, str]]
"""(name, what it is); some shells show the second."""


def _bare(names: Iterable[str]) -> Named:
    return [(name, "") for name in names]


def _models() -> Named:
    from espsim.offload.model import shipped_models

    return _bare(shipped_models())


def _scenarios() -> Named:
    from espsim.scenario.default_rule import NAME
    from espsim.scenario.schema import builtin_names

    return _bare([*builtin_names(), NAME])


def _spi_rules() -> Named:
    from espsim.sad.linux import KERNELS
    from espsim.sad.spi import SPI_RULES

    return _bare([*SPI_RULES, *KERNELS])


def _options() -> Named:
    from espsim.sad.linux import OPTIONS

    return OPTIONS.items()


def _engines() -> Named:
    from espsim.aead.engines import AUTO, ENGINES

    return [(AUTO, "the fastest that is there"), *ENGINES.items()]


def _lessons() -> Named:
    from espsim.explain.lessons.source import lessons

    known = lessons().values()
    return [
        *((str(lesson.number), lesson.title) for lesson in known),
        *((lesson.name, lesson.title) for lesson in known),
        ("plan", "a class of 45 minutes"),
    ]


def _studies() -> Named:
    from espsim.analysis.sweep.study import builtin_names

    return _bare(builtin_names())


def _cases() -> Named:
    from espsim.offload.compare import CASES

    return _bare(CASES)


def _kit_groups() -> Named:
    from espsim.analysis.kit.groups import GROUPS

    return [(group.ident, "") for group in GROUPS]


def _insecure() -> Named:
    return [("null", "the NULL cipher without authentication"), ("ctr", "AES-CTR without an ICV")]


def _assumed() -> Named:
    return [("model", "the model's own suggestions")]


class Completed(click.types.StringParamType):
    """A text that a shell completes: names, each part of a comma-separated list, and paths of files or folders."""

    def __init__(self, names: Callable[[], Named] | None = None, *, path: str = "", several: bool = False) -> None:
        self._names, self._path, self._several = names, path, several

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:  # fmt: skip
        """The names with this beginning, and files where a path is legal: a shell shows those if no name fits."""
        return [*self._paths(incomplete), *self._begun(incomplete)]

    def _paths(self, incomplete: str) -> Iterator[CompletionItem]:
        if self._path:
            yield CompletionItem(incomplete, type=self._path)

    def _begun(self, incomplete: str) -> Iterator[CompletionItem]:
        if self._names is None:
            return
        before, comma, begun = incomplete.rpartition(",") if self._several else ("", "", incomplete)
        given = before.split(",")
        for name, what in self._names():
            if name.startswith(begun) and name not in given:
                yield CompletionItem(before + comma + name, help=what or None)


_FILE, _FOLDER = Completed(path="file"), Completed(path="dir")
_MODEL = Completed(_models, path="file")
_BY_METAVAR: dict[str, Completed] = {
    **dict.fromkeys(("FILE", "[FILE]", "FILE...", "FILE|-", "IN", "OUT", "DUMP", "CAPTURE"), _FILE),
    "DIR": _FOLDER,
    **dict.fromkeys(("ID|FILE", "[ID|FILE]..."), _MODEL),
    "KEY=VALUE|model": Completed(_assumed),
    "[SCENARIO]...": Completed(_scenarios, path="file"),
    "[STUDY]": Completed(_studies, path="file"),
    "[N|NAME|plan]": Completed(_lessons),
    "NAME[,NAME]": Completed(_spi_rules, several=True),
    "A,B": Completed(_spi_rules, several=True),
    "NAME,...": Completed(_engines, several=True),
    "GROUP|CASE": Completed(_kit_groups),
}
_BY_NAME: dict[tuple[str, str], Completed] = {
    ("run", "show"): Completed(_scenarios, path="file"),
    ("sweep run", "show"): Completed(_studies, path="file"),
    ("xfrm", "policy"): Completed(_spi_rules),
    ("run", "options"): Completed(_options),
    ("xfrm", "options"): Completed(_options),
    ("decap", "engine"): Completed(_engines),
    ("encap", "engine"): Completed(_engines),
    ("encap", "insecure"): Completed(_insecure, several=True),
    ("kit run", "model"): Completed(_models),
    ("models compare", "cases"): Completed(_cases),
}


def teach(command: click.Command, path: str = "") -> None:
    """Set what completes each parameter of a command and of its subcommands, from the tables."""
    for param in command.params:
        found = _BY_NAME.get((path, str(param.name))) or _BY_METAVAR.get(param.metavar or "")
        if found is not None and type(param.type) is click.types.StringParamType:
            param.type = found
    for name, below in getattr(command, "commands", {}).items():
        teach(below, f"{path} {name}".strip())


SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script that makes a shell complete espsim's commands, options, names and files.

    \b
    bash  eval "$(espsim completion bash)"       in ~/.bashrc
    zsh   eval "$(espsim completion zsh)"        in ~/.zshrc, after compinit
    fish  espsim completion fish | source        in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all of SHELLS
    root = click.get_current_context().find_root()
    script = found(root.command, {}, "espsim", "_ESPSIM_COMPLETE").source()
    # click's script for fish cuts a completion at every comma; a list of policies and a lesson's title have commas.
    click.echo(script.replace('string split "," $completion', 'string split -m 1 "," $completion'))
