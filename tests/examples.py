"""How many examples a property test gets: in the suite what a second or two allows, in CI ESPSIM_EXAMPLES times that.

`.ci/run` runs the property tests once more with ESPSIM_EXAMPLES=4.
"""

from __future__ import annotations

import os

TIMES = max(int(os.environ.get("ESPSIM_EXAMPLES", "1")), 1)


def examples(count: int) -> int:
    """`max_examples` for a test that gets `count` in the suite."""
    return count * TIMES
