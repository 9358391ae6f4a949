"""Numbers as people write them: 1000, 1k, 100k, 1M."""

from __future__ import annotations

import re

_COUNT = re.compile("([+-]?)([0-9]{1,30})([kKmM]?)", re.ASCII)
_SUFFIX = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_count(text: str) -> int:
    """A whole number, with k for thousands or M for millions, in either case. ValueError for anything else."""
    found = _COUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number = int(found[2]) * _SUFFIX[found[3].lower()]
    return -number if found[1] == "-" else number
