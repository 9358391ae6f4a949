"""The lines of `--verdicts`, one for each frame. A line whose cause or datagram is not known yet waits in a spool.

    write    a line, and the token of its packet's cause (watch.py)
    part     a frame with an outer fragment, whose datagram a later frame may complete
    settle   the outcome of such a frame
    finish   everything is known: the spool's lines are written after the others

Lines are written at once until the first one has to wait. From then on all lines wait, to keep their order.

What this does not do: find a cause (watch.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, Any

from espsim.core.closing import Closing
from espsim.core.layers import Layer
from espsim.core.verdict import Verdict
from espsim.explain.watch import Token, cause_of, is_final
from espsim.io.spool import LineSpool

_FINAL, _CAUSE, _WAITS, _PART, _IGNORED = range(5)
"""Kinds of the spool's lines, each with a number: final; its cause's number; a fragment that is not settled; completed
by the frame with this number (0: by none); ignored, of the layer with this number.
"""
_OPEN_END = "null}"


@dataclass(frozen=True, slots=True)
class Settling:
    """The outcome of a frame that completed nothing (`espsim.io.fragments.Settled`). `cause`: if it failed."""

    datagram: int | None
    layer: Layer | None
    cause: str | None


class VerdictLines(Closing):
    """Writes lines to `out`, which is at `path`. `close` drops those that wait."""

    def __init__(self, out: IO[str], path: str) -> None:
        self._out, self._path = out, path
        self._spool: LineSpool | None = None
        self._tokens: list[Token] = []
        self._numbers: dict[Token, int] = {}
        self._causes: dict[str, int] = {}
        self._waiting: dict[int, int] = {}

    def write(self, line: dict[str, Any], token: Token) -> None:
        """Write a frame's line (stats.verdict_line). Its last key, `cause`, is still null."""
        self.put(json.dumps(line), token)

    def put(self, text: str, token: Token) -> None:
        """Write a line that is JSON already."""
        if is_final(token):
            cause = cause_of(token)
            self._put(text if cause is None else _with_cause(text, cause), _FINAL, 0)
            return
        number = self._numbers.get(token)
        if number is None:
            number = self._numbers[token] = len(self._tokens)
            self._tokens.append(token)
        self._put(text, _CAUSE, number)

    def part(self, line: dict[str, Any]) -> None:
        """A frame with an outer fragment that completes nothing. `settle` gives its outcome later."""
        if self._spool is None:
            self._spool = LineSpool(self._path)
        self._waiting[line["frame"]] = self._spool.write(json.dumps(line), _WAITS, 0)

    def settle(self, frame: int, settled: Settling) -> None:
        """Give the outcome of the fragment in a frame."""
        if self._spool is None:
            raise RuntimeError("a frame was settled that does not wait")
        at = self._waiting.pop(frame)
        if settled.layer is not None:
            self._spool.renumber(at, _IGNORED, settled.layer)
            return
        cause = 0 if settled.cause is None else self._causes.setdefault(settled.cause, len(self._causes)) + 1
        self._spool.renumber(at, _PART, (settled.datagram or 0) << 4 | cause)

    def finish(self) -> None:
        """Write what waits. Causes are final now."""
        if self._spool is None:
            return
        names = list(self._causes)
        for text, kind, number in self._spool:
            if kind == _FINAL:
                done = text
            elif kind == _CAUSE:
                done = _with_cause(text, cause_of(self._tokens[number]))
            else:
                done = json.dumps(_of_part(json.loads(text), kind, number, names))
            self._out.write(f"{done}\n")
        self.close()

    def close(self) -> None:
        """Drop what waits. May be called twice."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _put(self, text: str, kind: int, number: int) -> None:
        if self._spool is None and kind == _FINAL:
            self._out.write(f"{text}\n")
            return
        if self._spool is None:
            self._spool = LineSpool(self._path)
        self._spool.write(text, kind, number)


def _with_cause(text: str, cause: str | None) -> str:
    """A line with its cause."""
    return text.removesuffix(_OPEN_END) + json.dumps(cause) + "}"


def _of_part(line: dict[str, Any], kind: int, number: int, causes: list[str]) -> dict[str, Any]:
    """The line of a fragment that completed nothing, `cause` last."""
    del line["cause"]
    if kind == _IGNORED:
        line["verdict"], line["kind"] = "ignored", Layer(number).label
        return {**line, "cause": None}
    del line["kind"]
    line["verdict"], line["datagram"] = Verdict.FRAGMENT.name, number >> 4 or None
    return {**line, "cause": causes[(number & 15) - 1] if number & 15 else None}
