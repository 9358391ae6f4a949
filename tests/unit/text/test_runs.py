"""Runs of a dump are read as state by state: the same columns, lines and notes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.sad.association import SecurityAssociation
from espsim.text import scan
from espsim.text.runs import Runs
from espsim.text.show import format_dump
from tests.examples import examples
from tests.support import gcm_sa
from tests.unit.text.sa_strategies import associations

STRANGE = (
    "",
    "an odd line\n",
    "src 10.0.0.1 dst 10.0.0.2\n\tproto 4 spi 0x0a000001 reqid 0 mode tunnel\n\treplay-window 0\n",
    "src of something else\n",
    "src 10.0.0.1 dst 10.0.0.2\n\tdir out priority 0\n\ttmpl src 0.0.0.0 dst 0.0.0.0\n",
    "\n",
)
"""What may stand between two states."""


class Told:
    """Whether runs were found: how many states each time."""

    def __init__(self, patch: pytest.MonkeyPatch, *, find: bool) -> None:
        self.found: list[int] = []
        true: Callable[..., Any] = Runs.find

        def told(runs: Runs, text: str, at: int) -> Any:
            answer = true(runs, text, at)
            self.found.append(sum(map(len, answer[1])))
            return answer if find else ((), [], at)

        patch.setattr(Runs, "find", told)


def cut(text: str, rng: random.Random, most: int) -> Iterator[str]:
    """A text in pieces of whole lines."""
    lines = text.splitlines(keepends=True)
    while lines:
        count = rng.randint(1, most)
        yield "".join(lines[:count])
        lines = lines[count:]


def told(text: str, seed: int, most: int, *, find: bool) -> tuple[Any, list[int]]:
    """Everything that a survey says of a text, and the runs that were found."""
    with pytest.MonkeyPatch.context() as patch:
        runs = Told(patch, find=find)
        try:
            survey = scan.survey_pieces(cut(text, random.Random(seed), most), "f")
        except InputError as error:
            return (error.what, error.line), runs.found
    sas = range(len(survey))
    columns = [survey.src, survey.dst, *(list(c) for c in (survey.spi, survey.reqid, survey.line, survey.key_print))]
    templates = [survey.templates[number] for number in survey.template]
    beside = [(survey.mark(n), survey.ports(n)) for n in sas]
    return (columns, templates, beside, survey.notes.lines(), dict(survey.ignored)), runs.found


def dump(sas: list[SecurityAssociation], rng: random.Random, count: int, strange: str, at: int, *, stats: bool) -> str:
    """The SAs in turn, with other numbers each time, and something strange before the one at `at`."""
    rows = [
        format_dump(replace(sas[n % len(sas)], spi=rng.randrange(1, 1 << 32), reqid=rng.getrandbits(32)), stats=stats)
        for n in range(count)
    ]
    return "".join(rows[:at]) + strange + "".join(rows[at:])


@given(
    st.lists(associations(), min_size=1, max_size=3), st.integers(0, 40), st.integers(0, 40), st.sampled_from(STRANGE),
    st.integers(1, 200), st.booleans(), st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=examples(40), deadline=None)
def test_any_dump_is_read_as_state_by_state(sas, count, at, strange, most, stats, rng):
    text = dump(sas, rng, count, strange, at, stats=stats)
    assert told(text, at, most, find=True)[0] == told(text, at, most, find=False)[0]


PAIR = gcm_sa(spi=1), replace(gcm_sa("192.0.2.2", "192.0.2.1", 2), window=0, reqid=7, flags=frozenset({"af-unspec"}))


@pytest.mark.parametrize("forms", [1, 2])
@pytest.mark.parametrize("strange", STRANGE)
def test_a_run_is_found_and_what_is_strange_is_read(forms, strange):
    text = dump(list(PAIR[:forms]), random.Random(forms), 200, strange, 101, stats=False)
    answer, found = told(text, 3, 100, find=True)
    assert sum(found) > 50
    assert answer == told(text, 3, 100, find=False)[0]


def test_states_in_no_order_are_no_run():
    rng = random.Random(1)
    text = "".join(format_dump(replace(rng.choice(PAIR), spi=n + 1)) for n in range(300))
    assert sum(told(text, 5, 200, find=True)[1]) < 60


@pytest.mark.parametrize("number", ["4294967296", "4294967295"])
def test_a_number_out_of_range_in_a_run(number):
    text = dump(list(PAIR[:1]), random.Random(2), 60, f"reqid {number}", 31, stats=False)
    text = re.sub(r"(reqid \d+)(src [^\n]*\n[^\n]*)reqid \d+", r"\2\1", text)
    assert f" reqid {number} mode" in text
    answer, found = told(text, 3, 60, find=True)
    assert sum(found) > 10
    assert answer == told(text, 3, 60, find=False)[0]
