"""`espsim xfrm --fuzz`: checks its options, searches, and prints what it found."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.xfrm.fuzz.search import SearchResult
    from espsim.xfrm.fuzz.sides import Compare

SECONDS = 20


def check(other: Sequence[str], live: bool, policy: str | None, policies: str | None) -> None:
    """InputError: --fuzz has too many options, or too few."""
    from espsim.core.errors import InputError

    if other:
        raise InputError(f"--fuzz draws its own batches, and does not take {' and '.join(other)}")
    if live and policies is not None:
        raise InputError("--live compares the running kernel with one model (--policy); --policies compares two models")
    if not live and policies is None:
        raise InputError("--fuzz needs two sides: --policies A,B (two models), or --live (this kernel and its model)")
    if not live and policy is not None:
        raise InputError("--policy needs --live; --policies A,B names both models")


def run(live: bool, policy: str | None, policies: str | None, seed: int, seconds: float, *, as_json: bool) -> None:
    """Search, and print what was found. Exit status 1: a difference."""
    from espsim.core.echo import printable
    from espsim.xfrm.fuzz.search import script, search

    found, sides = _live(policy, seed) if live else _models(policies or "", seed)
    until = time.monotonic() + seconds
    search(found, sides, lambda: time.monotonic() < until)
    if as_json:
        common.print_json(found.as_dict())
    elif found.difference is not None:
        click.echo(printable(script(found), keep="\n"), nl=False)
    else:
        left_out = f"; {found.not_comparable:,} lines are not comparable here" if found.not_comparable else ""
        click.echo(
            f"{found.left} and {found.right}: no difference in {found.lines:,} lines of {found.batches:,} batches"
            f" (seed {found.seed}){left_out}"
        )
    if found.difference is not None:
        sys.exit(1)


def _models(policies: str, seed: int) -> tuple[SearchResult, dict[str, Compare]]:
    from espsim.core.echo import shortened
    from espsim.core.errors import InputError
    from espsim.xfrm.fuzz.search import SearchResult
    from espsim.xfrm.fuzz.sides import check_names, model_commands, model_requests

    names = policies.split(",")
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(f"--policies: {shortened(repr(policies))} is not two names with a comma between them")
    check_names(*names)
    left, right = names
    return SearchResult(left, right, seed), {
        "requests": model_requests(left, right),
        "commands": model_commands(left, right),
    }


def _live(policy: str | None, seed: int) -> tuple[SearchResult, dict[str, Compare]]:
    from espsim.core.errors import InputError
    from espsim.xfrm.fuzz.search import SearchResult
    from espsim.xfrm.fuzz.sides import check_names, live_commands, live_requests
    from espsim.xfrm.live import kernel_of, running_release, unavailable

    model = policy or kernel_of(running_release())
    check_names(model)
    why = unavailable()
    if why is not None:
        raise InputError(f"--live cannot run here: {why}")
    found = SearchResult(f"kernel {running_release()}", f"the model's {model}", seed)
    return found, {"requests": live_requests(model), "commands": live_commands(model)}
