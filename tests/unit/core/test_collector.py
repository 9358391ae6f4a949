"""The garbage collector keeps away from many objects that stay, and from nothing else."""

from __future__ import annotations

import gc

import pytest

from espsim.core import collector
from espsim.core.collector import paused


@pytest.fixture
def frozen(monkeypatch):
    """Counts `gc.freeze`, which would reach the objects of other tests, and doesn't call it."""
    calls: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(None))
    monkeypatch.setattr(collector, "MANY", 5000)
    return calls


@pytest.mark.parametrize(("made", "times"), [(10, 0), (20_000, 1)])
def test_only_many_objects_are_left_alone_afterwards(frozen, made, times):
    with paused():
        assert not gc.isenabled()
        gc.collect()
        kept: list[list[int]] = [[] for _ in range(made)]
    assert gc.isenabled()
    assert (len(kept), len(frozen)) == (made, times)


def test_inside_another_one_it_changes_nothing(frozen):
    with paused():
        with paused():
            kept: list[list[int]] = [[] for _ in range(20_000)]
        assert not gc.isenabled()
        assert not frozen
        del kept
    assert gc.isenabled()


def test_an_error_ends_it(frozen):
    with pytest.raises(KeyError), paused():
        raise KeyError
    assert gc.isenabled()
