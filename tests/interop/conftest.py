"""What tests on the running kernel rely on."""

from __future__ import annotations

import io

import pytest

from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.live import NOT_COMPARABLE, run_live, unavailable


@pytest.fixture(scope="module")
def live() -> None:
    """Skips the test, with the reason, if there is nothing to compare with."""
    why = unavailable()
    if why is None:
        (line,) = run_live(list(read_batch(io.BytesIO(b"xfrm state count\n"), "-"))).lines
        why = line.why if line.verdict == NOT_COMPARABLE else None
    if why is not None:
        pytest.skip(f"no live kernel to compare with: {why}")
