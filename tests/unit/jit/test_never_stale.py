"""Copies of the package whose constants and helpers change: the code that runs is that of the source, each time."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import pytest

from espsim.jit import key as keys
from espsim.jit import sources

PACKAGE = sources.PACKAGE
PROBE = '''
"""A kernel of the native engines that takes no second to compile."""
from espsim.jit.addresses import address, differ
from espsim.jit.compiling import kernel

@kernel
def forged(icv, other):
    return differ(address(icv), address(other), len(icv)) != 0
'''
RUN = """
import numpy as np
from espsim.aead.probe import forged
from espsim.batch.inbound.trailer import judge_trailers as trailer
pad_of_nine, verdict, zero = np.array([9, 59], np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.int32)
trailer(pad_of_nine, zero.astype(np.int64), zero + 2, verdict, zero, verdict.copy(), verdict.copy(), verdict.copy())
different = forged(pad_of_nine, pad_of_nine + np.uint8(1))
print(verdict[0], different, *(len(kernel.stats.cache_hits) for kernel in (trailer, forged)))
"""


class Copy:
    """A copy of the package, changed by `edit` and run as a program."""

    def __init__(self, folder):
        self.folder = folder
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, folder / "espsim", ignore=skip)
        shutil.copytree(PACKAGE.parent / "hwmodels", folder / "hwmodels", ignore=skip)
        (folder / "espsim/aead/probe.py").write_text(PROBE)
        self.env = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(folder / "c")}

    def edit(self, path, old, new):
        file = self.folder / "espsim" / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def run(self, *arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout


@pytest.mark.long
def test_changed_constants_and_helpers_run(tmp_path):
    copy = Copy(tmp_path)
    number = re.search(r"^    TRAILER = (\d+)", (PACKAGE / "core/verdict.py").read_text(), re.M)
    assert number is not None
    first = copy.run("-c", RUN)
    verdict = first.split()[0]
    assert first == f"{verdict} True 0 0\n"
    copy.edit("core/verdict.py", number[0], "    TRAILER = 99")
    copy.edit("jit/addresses.py", "return found", "return 0")
    assert copy.run("-c", RUN) == "99 False 0 0\n"
    copy.edit("core/verdict.py", "    TRAILER = 99", number[0])
    copy.edit("jit/addresses.py", "return 0", "return found")
    assert copy.run("-c", RUN) == f"{verdict} True 1 1\n", "the first key's files are there still"


@pytest.mark.long
def test_a_broken_comparison_of_icvs_that_was_repaired(tmp_path):
    copy = Copy(tmp_path)

    def works():
        engines = json.loads(copy.run("-m", "espsim", "engines", "--json"))["engines"]
        return {engine["engine"]: engine["usable"] for engine in engines}

    good = works()
    if not good["libcrypto"]:
        pytest.skip("no libcrypto here")
    copy.edit("jit/addresses.py", "return found", "return 0")
    assert not works()["libcrypto"]
    copy.edit("jit/addresses.py", "return 0", "return found")
    assert works() == good


@pytest.mark.parametrize(
    ("module", "name"), [("numba", "__version__"), ("llvmlite", "__version__"), ("np", "__version__")]
)
def test_another_version_is_another_key(monkeypatch, module, name):
    before = keys.key()
    monkeypatch.setattr(getattr(keys, module), name, "0.0.0")
    assert keys.key() != before


def test_what_else_is_in_the_key(monkeypatch):
    before = keys.key()
    seen = {before}
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert keys.key() == before, "where it lies changes no code"
    monkeypatch.setenv("NUMBA_OPT", "0")
    seen.add(keys.key())
    monkeypatch.setattr(keys, "__version__", "0.0.0")
    seen.add(keys.key())
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_name", lambda: "another")
    seen.add(keys.key())
    assert len(seen) == 4


def imports_of(path):
    """The modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("espsim"):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("espsim"))


def test_the_hash_covers_all_that_compiled_code_is_made_of():
    """Every module that compiles, and everything of the package that it imports, lies in the rooms that are hashed."""
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    compiling = {
        name for name, path in modules.items() if re.search(r"^\s*@(kernel|helper|inlined)\b", path.read_text(), re.M)
    }
    assert len(compiling) > 15
    reached, waiting = set(), set(compiling)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= {found for found in imports_of(modules[name]) if found in modules} - reached
    outside = {name for name in reached if name.split(".")[1] not in sources.ROOMS}
    # What is in the key by its values, what has types alone, and the version, which is a part of the key itself.
    values = {"espsim.core.numbers", "espsim.core.verdict", "espsim.core.layers"}
    assert outside == values | {"espsim.core.arrays", "espsim.version"}


def test_compiled_code_is_made_in_one_place():
    """Nothing but `jit` has numba compile a function."""
    users = [path for path in PACKAGE.rglob("*.py") if re.search(r"\bn?jit\(", path.read_text())]
    assert users == [PACKAGE / "jit/compiling.py"]


def test_the_sources_are_hashed_before_any_module_of_the_rooms_is_read():
    for room in sources.ROOMS:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        names = set(imports_of(PACKAGE / room / "__init__.py"))
        assert names == {"espsim.jit", "espsim.jit.sources"}
        assert "sources.remember()" in ast.unparse(tree)


def test_sources_unchanged(monkeypatch, tmp_path):
    assert sources.unchanged()
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    assert not sources.unchanged()
    assert sources._hash() is None
    (tmp_path / "jit").mkdir()
    Path(tmp_path / "jit/a.py").write_text("A = 1")
    one = sources._hash()
    Path(tmp_path / "jit/a.py").write_text("A = 2")
    assert one is not None
    assert sources._hash() != one
