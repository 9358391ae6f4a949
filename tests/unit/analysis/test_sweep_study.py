"""What a study file may say, where it is wrong, and what its tasks are."""

from __future__ import annotations

import pytest

from espsim.analysis.sweep.plan import seed_of
from espsim.analysis.sweep.questions import KINDS
from espsim.analysis.sweep.study import Span, builtin_names, load_study, parse_study
from espsim.analysis.sweep.summary import point_of
from espsim.core.errors import InputError, InputErrors
from espsim.offload.model import shipped_models
from tests.unit.analysis.sweeps import SMALL, small_plan

WRONG = {
    "no values": (('window = [32, 64, 128]', "window = []"), "small.toml:9: axes.window: an axis without values"),
    "twice": (("[32, 64, 128]", "[32, 32]"), "small.toml:9: axes.window: '32' is there twice"),
    "no axis": (("reorder =", "reoder ="), "small.toml:8: axes.reoder: no such axis; did you mean reorder?"),
    "no kind": (('kind = "window"', 'kind = "windows"'), "small.toml:4: kind: no kind 'windows'; did you mean window?"),
    "a value": (("reorder = [8, 100]", 'reorder = [8, "x"]'), "small.toml:8: axes.reorder: 'x' is not a whole number"),
    "a table": (("packets = 400", "packets = { from = 1 }"), "small.toml:10: axes.packets"),
    "no repeats": (("repeats = 4", "repeats = 0"), "small.toml:5: repeats: '0' is not legal"),
    "a name": (('name = "small"', 'name = "../x"'), "small.toml:2: name: '../x' is not legal: small letters"),
    "missing": (('question = "Which window?"', ""), "small.toml: question is missing"),
    "no toml": (("[axes]", "[axes"), "small.toml:7: not TOML"),
    "quick": (("repeats = 1\n", "repeats = 1\n[quick.axes]\nwindw = 1\n"), "small.toml:16: quick.axes.windw: no such"),
    "a scenario": (("repeats = 4", 'scenario = "s02"'), "small.toml:5: scenario: kind window runs none"),
    "along": (("repeats = 4", 'along = "windw"'), "small.toml:5: along: no axis 'windw'; did you mean window?"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_line(name):
    (old, new), said = WRONG[name]
    with pytest.raises(InputError) as caught:
        parse_study(SMALL.replace(old, new, 1), "small.toml")
    lines = str(caught.value).splitlines()
    assert any(line.startswith(said) for line in lines), lines


def test_all_faults_are_said_at_once():
    text = SMALL.replace("[8, 100]", "[8, -1]").replace("[32, 64, 128]", "[5000]")
    with pytest.raises(InputErrors) as caught:
        parse_study(text, "small.toml")
    assert [error.line for error in caught.value.errors] == [8, 9]


@pytest.mark.parametrize("axis", ['model = ["no-such"]', 'range = "9-1"', "sas = [0]", 'allocator = "x"'])
def test_values_of_other_kinds_are_read(axis):
    text = f'schema = 1\nname = "a"\nquestion = "?"\nkind = "audit"\n[axes]\n{axis}\n'
    with pytest.raises(InputErrors) as caught:
        parse_study(text, "a.toml")
    assert any(error.line == 6 for error in caught.value.errors)


def test_every_shipped_study_can_be_run_in_both_forms():
    assert {"collisions", "rotation", "window", "allocators"} == set(builtin_names())
    for name in builtin_names():
        whole, quick = load_study(name), load_study(name, quick=True)
        assert whole.name == quick.name == name
        assert quick.tasks < whole.tasks
        wanted = {axis for axis, about in KINDS[whole.kind].axes.items() if not about.optional}
        assert wanted <= set(whole.axes) <= set(KINDS[whole.kind].axes)
    assert load_study("collisions").axes["model"] == shipped_models()


def test_spans():
    assert Span.model_validate({"from": 16, "to": 256, "points": 5}).values() == [16, 32, 64, 128, 256]
    assert Span.model_validate({"from": 1, "to": 3, "points": 9}).values() == [1, 2, 3]
    assert Span.model_validate({"from": 0, "to": 1.0, "points": 3, "scale": "linear"}).values() == [0.0, 0.5, 1.0]


def test_places_count_through_every_point_and_repeat_once():
    plan = small_plan()
    assert plan.tasks == 2 * 3 * 4
    points = [plan.point(place) for place in range(plan.tasks)]
    assert len({(*params.items(), repeat) for params, repeat in points}) == plan.tasks
    assert [repeat for _params, repeat in points[:5]] == [0, 1, 2, 3, 0]
    assert points[0][0]["reorder"] == points[11][0]["reorder"] == 8
    assert all(point_of(plan.study.as_dict(), place) == points[place] for place in range(plan.tasks))


def test_seeds_differ_by_place_and_by_seed():
    assert len({seed_of(seed, place) for seed in range(5) for place in range(200)}) == 1000


def test_quick_is_the_quick_table():
    assert parse_study(SMALL, "small.toml", quick=True).tasks == 6


def test_a_billion_tasks_are_counted_and_not_made():
    plan = small_plan(text=SMALL.replace("repeats = 4", "repeats = 1_000_000_000"))
    assert plan.tasks == 6_000_000_000
    assert plan.point(plan.tasks - 1)[0]["window"] == 128
