"""The suites in bench/, as they are typed: not in parallel, and with results that can be kept and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]


@pytest.mark.long
def test_pytest_bench_saves_and_compares(tmp_path):
    one = ["bench", "-k", "test_replay and 64-False", "--benchmark-storage", tmp_path]
    # As a shell has it: pytest-benchmark measures nothing in a worker of xdist, whose variables would be inherited.
    shell = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for more in (["--benchmark-save", "before"], ["--benchmark-compare"]):
        command = [sys.executable, "-m", "pytest", *one, *more]
        done = subprocess.run(command, cwd=TOP, env=shell, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    (saved,) = tmp_path.rglob("0001_before.json")
    (benchmark,) = json.loads(saved.read_text(encoding="utf-8"))["benchmarks"]
    assert benchmark["extra_info"]["what"] == "window-64"
    assert "(0001_before)" in done.stdout
    assert "(NOW)" in done.stdout
