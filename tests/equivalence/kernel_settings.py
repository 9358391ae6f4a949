"""How kernels are tested: how many examples one gets (fewer as plain Python; no deadline, because the first example
compiles), and the Python function under it.
"""

from __future__ import annotations

import os

from hypothesis import settings

from tests.examples import examples

UNJITTED = os.environ.get("NUMBA_DISABLE_JIT") == "1"
quick = settings(deadline=None, max_examples=10 if UNJITTED else examples(50))


def plain(function):
    """The Python function under a kernel."""
    return getattr(function, "py_func", function)
