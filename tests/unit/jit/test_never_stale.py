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
        # Python compares bytecode with the size of its source and the second in which it was written.
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"

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


COMPILING = {"kernel", "helper", "inlined"}


def used_by_compiled(tree):
    """The module's own names that compiled functions use, and what these are made of in turn; names of imports too."""
    made, waiting = {}, set()
    for node in tree.body:
        names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
        if isinstance(node, ast.FunctionDef):
            annotations = [argument.annotation for argument in node.args.args] + [node.returns]
            types = {n.id for found in annotations if found for n in ast.walk(found) if isinstance(n, ast.Name)}
            made[node.name] = names - types
            if COMPILING & {name.id for name in node.decorator_list if isinstance(name, ast.Name)}:
                waiting.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in ast.walk(node):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    made[target.id] = names
    found = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= made.get(name, set()) - found
    return found


def imported(path):
    """(name as the module knows it, where it is from) of all that a module imports of the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("espsim"):
            yield from ((name.asname or name.name, node.module) for name in node.names)


def hashed(module):
    return any(f"{module}.".startswith(f"espsim.{room.replace(chr(47), chr(46))}.") for room in sources.ROOMS)


def test_the_hash_covers_all_that_compiled_code_is_made_of():
    """Compiled code lies in the hashed rooms, and uses only names from there, or numbers whose values are in the key.

    So it takes only arrays and numbers, wherever the stage that calls it is defined.
    """
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    compiling = {
        name for name, path in modules.items() if re.search(r"^\s*@(kernel|helper|inlined)\b", path.read_text(), re.M)
    }
    assert len(compiling) > 15
    assert [name for name in compiling if not hashed(name)] == []
    for name in compiling:
        used = used_by_compiled(ast.parse(modules[name].read_text()))
        origins = {origin for known, origin in imported(modules[name]) if known in used}
        assert {origin for origin in origins if not hashed(origin)} <= {"espsim.core.numbers"}, name
        assert not {"espsim.sad", "espsim.aead.engine"} & origins, name


def test_compiled_code_is_made_in_one_place():
    """Nothing but `jit` has numba compile a function."""
    users = [path for path in PACKAGE.rglob("*.py") if re.search(r"\bn?jit\(", path.read_text())]
    assert users == [PACKAGE / "jit/compiling.py"]


def test_the_sources_are_hashed_before_any_module_of_the_rooms_is_read():
    for room in sources.ROOMS:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        assert set(imported(PACKAGE / room / "__init__.py")) == {("sources", "espsim.jit")}
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
