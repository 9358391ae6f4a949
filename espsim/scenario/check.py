"""Checks that the schema cannot make: unknown names, lines that are not a request, lines that are not an SA.

Every fault is found before anything runs, and reported with its line of the file. Does not look for what only a run
can know: an SPI that has no name yet, a packet for an SA that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from string import Template
from typing import TYPE_CHECKING

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError
from espsim.offload.locate import KeyPlace, locate, nearest
from espsim.sad.linux import KERNELS, OPTIONS
from espsim.sad.spi import SPI_RULES
from espsim.text.parse import parse_sa_line
from espsim.xfrm.requests import check_request

if TYPE_CHECKING:
    from espsim.scenario.schema import Scenario

Path = tuple[str | int, ...]
_RULES = (*SPI_RULES, *KERNELS)


def faults(scenario: Scenario, text: str) -> Iterator[tuple[int, str]]:
    """Every fault as (line, what is wrong). Lines count from 1; 0: the key's line is not known."""
    places = locate(text)
    yield from _unknown_names(scenario, places)
    for number, sa in enumerate(scenario.sa):
        path: Path = ("sa", number, "line")
        yield from _each(scenario, sa.line, path, places, parse_sa_line)
    source = text.split("\n")
    for number, step in enumerate(scenario.step):
        path = ("step", number, "lines")
        first = _line(places, path)
        # A text of several lines starts below its key, unless it starts beside it.
        many = (first and '"""' in source[first - 1]) or (first and "'''" in source[first - 1])
        below = 1 if many and source[first - 1].rstrip().endswith(('"""', "'''")) else 0
        for offset, line in enumerate((step.lines or "").split("\n")):
            at = first + below + offset if many else first
            yield from _each(scenario, line, path, {path: KeyPlace(at)}, check_request)


def _each(
    scenario: Scenario, line: str, path: Path, places: dict[Path, KeyPlace], check: Callable[[str], object]
) -> Iterator[tuple[int, str]]:
    """What is wrong with a line, under the words of each variant; the same fault is reported once."""
    texts = [Template(line).substitute(variant.words) for variant in scenario.variants]
    parts = [part.strip() for text in texts for part in text.splitlines()]  # a word may hold lines
    for part in dict.fromkeys(parts):
        try:
            check(part)
        except InputError as error:
            yield _line(places, path), f"{_key(path)}: {error.what}"


def _unknown_names(scenario: Scenario, places: dict[Path, KeyPlace]) -> Iterator[tuple[int, str]]:
    named: list[tuple[Path, str]] = [(("policies", n), name) for n, name in enumerate(scenario.policies)]
    options: list[tuple[Path, str]] = []
    for number, expect in enumerate(scenario.storm.expect if scenario.storm is not None else ()):
        wanted = expect.policy if isinstance(expect.policy, list) else [expect.policy] if expect.policy else []
        named += [(("storm", "expect", number, "policy"), name) for name in wanted]
    for number, variant in enumerate(scenario.variant):
        named += [(("variant", number, "expect", name), name) for name in variant.expect]
        options += [(("variant", number, "options", n), name) for n, name in enumerate(variant.options)]
    for what, names, legal in (("policy", named, _RULES), ("option", options, tuple(OPTIONS))):
        for path, name in names:
            if name not in legal:
                like = did_you_mean(name, legal, f"legal: {', '.join(legal)}")
                yield _line(places, path), f"{_key(path)}: no {what} {shortened(name)!r}; {like}"


def _line(places: dict[Path, KeyPlace], path: Path) -> int:
    place = nearest(places, path)
    return place.line if place else 0


def _key(path: Path) -> str:
    return ".".join(map(str, path))
