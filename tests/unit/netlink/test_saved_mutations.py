"""Saved states with one wrong value: each is refused in one sentence that names the field, or answers as it says."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.netlink.saved import pack, unpack
from tests.unit.netlink.saved_namespaces import answers, whole

Path = tuple[Any, ...]
GONE = object()
TWICE = object()
VALUES: list[Any] = [
    None, True, 0, 1, -1, 7, 33, 2**31, 2**32, 2**63, 2**64, 10**400, 0.5, -1.5, float("nan"), float("inf"),
    "", "x", "esp", "\ud800", "\n", "transport", "linux-6.1", [], [0], [[]], {}, {"hex": "00"}, {"hex": "0a07"},
    {"hex": "zz"},
    {"hex": "00" * 16}, {"set": ["x"]}, {"set": ["esn"]}, {"enum": "Mode", "value": "beet"},
    {"enum": "State", "value": "dead"}, GONE, TWICE,
]  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in plain values; of the 625 words of random numbers the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            if len(value) < 600 or n in (0, len(value) - 1):
                yield from places(item, (*path, n))


def at(values: Any, path: Path) -> Any:
    """What is at a place."""
    for step in path:
        values = values[step]
    return values


def changed(values: Any, path: Path, to: Any) -> Any:
    """A copy with another value at a place."""
    values = copy.deepcopy(values)
    holder = at(values, path[:-1])
    if to is GONE:
        del holder[path[-1]]
    elif to is TWICE and isinstance(holder, list):
        holder.insert(path[-1], holder[path[-1]])
    elif to is TWICE:
        holder["more"] = holder[path[-1]]
    else:
        holder[path[-1]] = to
    return values


def canonical(values: Any) -> str:
    """JSON, whole numbers of seconds written as such."""
    return json.dumps(values, sort_keys=True).replace(".0,", ",").replace(".0}", "}")


WHOLE = json.loads(json.dumps(pack(whole())))
PLACES = [path for path in places(WHOLE) if path[0] != "policies" or path[1:2] not in [(n,) for n in range(8)]]
"""But for the first eight policies, which are like the ninth."""


def loaded(values: Any) -> Netns | None:
    """The namespace, or None where it was refused in one line."""
    try:
        return unpack(values)
    except InputError as error:
        if len(str(error).splitlines()) != 1 or ": " not in error.what:
            raise AssertionError(f"not one line with the field's name: {error}") from None
        return None


def tried(mutations: list[tuple[Path, Any]]) -> tuple[int, int]:
    """How many were refused and how many were taken; it fails where one was neither."""
    refused = taken = 0
    for path, to in mutations:
        values = changed(WHOLE, path, to)
        netns = loaded(values)
        if netns is None:
            refused += 1
            continue
        taken += 1
        again = pack(netns)
        # A file of an earlier espsim has not every field; it is saved with all of them.
        same = changed(again, path, GONE) if to is GONE and isinstance(path[-1], str) else again
        assert canonical(same) == canonical(values), (path, to)
        assert answers(unpack(json.loads(json.dumps(again)))) == answers(netns), (path, to)
    return refused, taken


def test_the_whole_namespace_has_every_kind_of_thing():
    text = json.dumps(WHOLE)
    for name in ("Encap", "Offload", "Template", "Limits", "larval", "XfrmInNoStates", "2001" + "0db8"):
        assert name in text
    assert WHOLE["linked"]
    assert WHOLE["masks"]
    assert len(PLACES) > 500


def test_some_mutations_of_a_saved_state():
    """A share of them, every kind of value among it; the test below tries all."""
    mutations = list(itertools.product(PLACES, VALUES))
    refused, taken = tried(mutations[::523])
    assert refused > 20
    assert taken > 0


@pytest.mark.long
def test_every_field_of_a_saved_state():
    """Each with some of the values, at each place others."""
    assert len(VALUES) > 13
    refused, taken = tried(list(itertools.product(PLACES, VALUES))[::13])
    assert refused > 2_000
    assert taken > 100


@pytest.mark.parametrize(
    ("path", "to", "words"),
    [
        (("kernel",), "linux-2.4", "kernel, options: not known"),
        (("options",), ["nope"], "kernel, options: not known"),
        (("states", 0, "sa", "fields", "mode"), 7, "states.0.sa.mode: not a Mode: transport, tunnel"),
        (("states", 0, "sa", "fields", "spi"), 2**32, "states.0.sa.spi: not a number of 0 to 2^32-1"),
        (("states", 0, "sa", "fields", "src"), {"hex": "0a"}, "states.0.sa.src: not an address"),
        (("states", 0, "window", "size"), 64, "states.0.window: not the window of its SA"),
        (("states", 1, "sa_index"), 0, "states.1.sa_index: not a number of its own"),
        (("states", 0, "state", "value"), "larval", "states.0.state: it does not go with the algorithms"),
        (("policies", -2, "fields", "templates", 0, "fields", "level"), "maybe", ".templates.0.level: "),
        (("random", 1, 624), 625, "random: not a state of Python's random numbers"),
        (("counters",), {"XfrmInNoStates": "5"}, "counters.XfrmInNoStates: not a number"),
        (("now",), -1, "now: not a time"),
    ],
)
def test_the_sentence_names_the_field(path, to, words):
    with pytest.raises(InputError) as refused:
        unpack(changed(WHOLE, path, to))
    assert words in str(refused.value)


def test_no_key_is_shown():
    for path in PLACES:
        if path[-2:] == ("key", "hex") and (key := at(WHOLE, path)).strip("0"):
            for to in (key[:-1], key + "zz", key.upper() + "F", [key]):
                with pytest.raises(InputError) as refused:
                    unpack(changed(WHOLE, path, to))
                assert key[:8] not in str(refused.value)
