"""How many examples a property test gets: in the suite what half a second allows, in CI many times that.

`.ci/run` runs the property tests once more with ESPSIM_EXAMPLES=8, and mutants are judged with ESPSIM_EXAMPLES=2.
"""

from __future__ import annotations

import os

TIMES = max(int(os.environ.get("ESPSIM_EXAMPLES", "1")), 1)


def examples(count: int) -> int:
    """`max_examples` for a test that gets `count` with ESPSIM_EXAMPLES=2: half of it in the suite."""
    return (count * TIMES + 1) // 2
