"""How many examples a kernel gets: fewer as plain Python. No deadline, because the first example compiles."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.examples import examples

UNJITTED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
quick = settings(deadline=None, max_examples=10 if UNJITTED else examples(50))
