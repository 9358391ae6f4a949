"""A seeded sample of each target's mutants: none survives but those that are declared equivalent.

ESPSIM_MUTANTS is how many of each target (4), ESPSIM_SEED which (1). `python -m tests.mutation.run` runs all.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.mutation.outcomes import CHECKOUT
from tests.mutation.run import declared
from tests.mutation.targets import TARGETS

MUTANTS, SEED = os.environ.get("ESPSIM_MUTANTS", "4"), os.environ.get("ESPSIM_SEED", "1")


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.title)
def test_no_mutant_survives(target):
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation.run", "--exact", target.title, "--sample", MUTANTS, "--seed", SEED],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_targets_have_titles_of_their_own_and_tests_that_are_there():
    assert len({target.title for target in TARGETS}) == len(TARGETS)
    for target in TARGETS:
        for name in (target.file, *target.tests):
            assert (CHECKOUT / name).is_file()


def test_what_is_declared_equivalent_is_of_a_target_and_has_a_reason():
    names = {(target.file, name) for target in TARGETS for name in target.names}
    assert declared().keys() <= names
    assert all(why for reasons in declared().values() for why in reasons.values())
