"""The kernels' tests once more with NUMBA_DISABLE_JIT=1: the same source as plain Python, where an overflow warns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.equivalence.kernel_settings import UNJITTED

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.skipif(UNJITTED, reason="this run is that run")
def test_every_kernel_is_its_twin_without_jit():
    tests = sorted(map(str, HERE.glob("test_kernel_*.py")))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=HERE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_command_that_needs_no_kernel_loads_none():
    code = "import sys; from espsim.cli.main import main; print(sorted({'numba', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
