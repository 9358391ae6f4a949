"""A wheel in an environment of its own, outside the checkout: it runs what needs data, compilers and benchmarks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
pytestmark = pytest.mark.long


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def done(*command: str | Path, cwd: Path) -> str:
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel. Without hatchling here pip fetches it, and without a network there is nothing to test."""
    folder = tmp_path_factory.mktemp("wheel")
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    ended = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *here, "-w", folder, TOP, cwd=folder)
    if "No matching distribution found for hatchling" in ended.stderr:
        pytest.skip("hatchling is not installed, and cannot be fetched")
    assert ended.returncode == 0, ended.stderr
    (wheel,) = folder.glob("espsim-*.whl")
    return wheel


@pytest.fixture(scope="module")
def bin_folder(built, tmp_path_factory):
    """The environment's programs. What espsim depends on is this interpreter's own; nothing is downloaded."""
    home = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    done(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", built, cwd=home)
    paths = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    # Plain paths: this interpreter's own .pth files, one of which may lead to the checkout, are not read there.
    Path(paths, "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    where = done(python, "-c", "import espsim; print(espsim.__file__)", cwd=home).strip()
    assert Path(where).is_relative_to(home)
    return home / "bin"


@pytest.mark.parametrize(
    "command", ["demo", "run s02", "models", "models show marvell-cn10k-dpdk", "lesson 2 --markdown", "bench --help"]
)
def test_commands(bin_folder, tmp_path, command):
    assert done(bin_folder / "espsim", *command.split(), cwd=tmp_path)


def test_the_benchmarks(bin_folder, tmp_path):
    said = done(bin_folder / "espsim", "bench", "lookup", "--quick", "--sas", "1000", "--peers", "--json", cwd=tmp_path)
    assert {json.loads(line)["what"] for line in said.splitlines()} == {"triple", "triple6", "spi-direct", "spi-hash"}
    assert "triple" in done(bin_folder / "espsim", "bench", "lookup", "--quick", cwd=tmp_path)


def test_the_readmes_library_section(bin_folder, tmp_path):
    text = (TOP / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"## As a library.*?```python\n(.*?)```", text, re.DOTALL)
    assert "REPLAY_DUPLICATE" in done(bin_folder / "python", "-c", code, cwd=tmp_path)


def test_the_wheel_holds_no_tests_and_no_suites(built):
    names = done(sys.executable, "-m", "zipfile", "-l", built, cwd=built.parent)
    assert "espsim/hwmodels/marvell-cn10k-dpdk.toml" in names
    assert "espsim/measure/plan.py" in names
    assert "espsim/py.typed" in names
    assert {"espsim/report/report.html.j2", "espsim/report/page.css", "espsim/report/page.js"} <= set(names.split())
    assert not re.search(r"^(bench|tests)/", names, re.MULTILINE)
