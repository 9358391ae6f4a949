"""Outcomes in short form: `OK, E2 x4 +4`, shares of them, and whether they are what was expected.

An outcome is a list of these words, in the order of the requests:

    OK           a request that succeeded, or packets that were all delivered
    E2, E17 ...  an errno: ENOENT, EEXIST (LEGEND)
    HANG         the kernel never answers
    NoStates     a packet that was dropped, by the counter of /proc/net/xfrm_stat that moved
    +4  =6       four states with SPI 0 were left; six states altogether
"""

from __future__ import annotations

import errno
import itertools
import math
import re
from collections.abc import Mapping, Sequence

Expected = str | dict[str, float]

_COUNTERS = {
    "XfrmInNoStates": "NoStates",
    "XfrmAcquireError": "Acquire",
    "XfrmInStateDirError": "DirError",
    "XfrmInStateProtoError": "Proto",
    "XfrmInStateSeqError": "SeqError",
}
LEGEND = {
    "E2": "ENOENT", "E3": "ESRCH", "E16": "EBUSY", "E17": "EEXIST", "E22": "EINVAL", "E61": "ENODATA",
    "HANG": "the kernel hangs",
    **{short: counter for counter, short in _COUNTERS.items()},
    "silent": "a wrong key, and nothing says so", "devdrop": "dropped in the device",
}  # fmt: skip
_FULL = {**LEGEND, "HANG": "HANG", "silent": "wrong keys, silently", "devdrop": "dropped in the device"}
_SIGMAS = 4

_TIMES = re.compile("x[0-9]{1,6}", re.ASCII)


def short_result(result: str) -> str:
    """A request's result: `OK`, `E2`, `HANG`; anything that is not an errno is unchanged."""
    number = getattr(errno, result, None)
    return f"E{number}" if isinstance(number, int) else result


def short_counter(counters: Mapping[str, int]) -> str:
    """A drop, by the counter that moved."""
    return next((_COUNTERS.get(name, name) for name in counters), "dropped")


def sequence(parts: Sequence[str]) -> str:
    """`OK, E2 x4 +4` from its parts in order; a count of states (+4, =6) follows its part without a comma."""
    text = ""
    for part, group in itertools.groupby(parts):
        if part[0] in "+=":
            text += f" {part}" if text else part
            continue
        count = len(list(group))
        text += (", " if text else "") + (part if count == 1 else f"{part} x{count}")
    return text


def shares_text(shares: Mapping[str, float]) -> str:
    """`OK .70, E2 .30`, the most frequent first; an outcome that always comes has no share beside it."""
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) == 1:
        return ranked[0][0]
    return ", ".join(f"{name} {share:.2f}".replace(" 0.", " .") for name, share in ranked)


def meets(expected: Expected, outcome: str, shares: Mapping[str, float], trials: int) -> bool:
    """Whether an outcome, or its shares in `trials`, is the expected one."""
    if isinstance(expected, str):
        return list(shares) == [outcome] and _same(_parts(expected), _parts(outcome))
    return all(
        _close(wanted, sum(share for found, share in shares.items() if _same(_parts(name), _parts(found))), trials)
        for name, wanted in expected.items()
    )


def in_full(outcome: str) -> str:
    """An outcome with every errno and counter by its whole name: `OK, ENOENT x4`."""
    return re.sub(r"\b(E\d+|[A-Z][A-Za-z]+|silent|devdrop)\b", lambda found: _FULL.get(found[0], found[0]), outcome)


def expected_text(expected: Expected) -> str:
    """An expectation for people."""
    if isinstance(expected, str):
        return expected
    return "; ".join(f"{name} {share:.3f}" for name, share in expected.items())


def _close(wanted: float, share: float, trials: int) -> bool:
    return abs(share - wanted) <= _SIGMAS * math.sqrt(wanted * (1 - wanted) / trials) + 1e-9


def _parts(text: str) -> list[str]:
    """The parts of a text that `sequence` made."""
    parts: list[str] = []
    for group in text.split(", "):
        name, *rest = group.split(" ")
        times = 1
        if rest and _TIMES.fullmatch(rest[0]):
            times = int(rest.pop(0)[1:])
        parts += [name] * times + rest
    return parts


def _same(wanted: list[str], found: list[str]) -> bool:
    if wanted[-1:] == ["..."]:
        wanted = wanted[:-1]
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(
        w == f or (w == "fail" and f[:1] == "E" and f[1:].isdigit()) for w, f in zip(wanted, found, strict=True)
    )
