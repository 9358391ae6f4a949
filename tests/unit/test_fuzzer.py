"""The coverage-guided fuzzer, for some seconds under `-m long` (extra `fuzz`), and its way of reading inputs here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 25


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not there: pip install espsim[fuzz]"
)
def test_it_finds_nothing(tmp_path):
    (corpus := tmp_path / "corpus").mkdir()
    found = subprocess.run(
        [sys.executable, "-m", "tests.coverage_fuzz", str(corpus), f"-max_total_time={SECONDS}", "-seed=1",
         f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
        capture_output=True, text=True, check=False, timeout=SECONDS + 60,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-4000:]
    assert "DONE" in found.stderr or "Done" in found.stderr, found.stderr[-2000:]
    kept = [path.name for path in tmp_path.iterdir() if path.name.startswith(("crash-", "oom-", "timeout-"))]
    assert not kept
