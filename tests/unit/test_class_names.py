"""One name for one thing: no two public classes of `espsim/` have the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "espsim"


def public_classes() -> Iterator[tuple[str, str]]:
    """(name, file) of each class whose name does not begin with an underscore, nested ones too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, path.relative_to(PACKAGE).as_posix()


def test_no_two_public_classes_have_one_name():
    files = defaultdict(list)
    for name, file in public_classes():
        files[name].append(file)
    assert {name: where for name, where in files.items() if len(where) > 1} == {}
