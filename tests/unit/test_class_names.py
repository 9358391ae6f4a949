"""One name for one thing: no two public classes of `espsim/` have the same name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "espsim"
CLASS = re.compile(r"^ *class ([A-Za-z]\w*)[(:]", re.MULTILINE)


def public_classes() -> Iterator[tuple[str, str]]:
    """(name, file) of each class whose name does not begin with an underscore, nested ones too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in CLASS.findall(path.read_text(encoding="utf-8")):
            yield name, path.relative_to(PACKAGE).as_posix()


def test_no_two_public_classes_have_one_name():
    files = defaultdict(list)
    for name, file in public_classes():
        files[name].append(file)
    assert {name: where for name, where in files.items() if len(where) > 1} == {}
