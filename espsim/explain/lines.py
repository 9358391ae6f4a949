"""The lines of `--verdicts`, one a frame. What a line says may be known at the end only: then it waits in a spool.

    write    a line, and the token of its packet's cause (watch.py)
    part     a frame with an outer fragment, which may be completed by a later one
    settle   what became of such a frame
    finish   everything is known: the spool's lines go where the others went

Until the first line has to wait, lines are written at once.
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
"""Kinds of the spool's lines: as it is; number: its cause's; a fragment not settled; completed by frame `number` (0: by
none); ignored, of layer `number`."""
_OPEN_END = "null}"


@dataclass(frozen=True, slots=True)
class Settling:
    """What became of a frame that completed nothing: see `espsim.io.fragments.Settled`. `cause` where it failed."""

    datagram: int | None
    layer: Layer | None
    cause: str | None


class VerdictLines(Closing):
    """Writes lines to `out`, which is at `path`. `close` forgets those that wait."""

    def __init__(self, out: IO[str], path: str) -> None:
        self._out, self._path = out, path
        self._spool: LineSpool | None = None
        self._tokens: list[Token] = []
        self._numbers: dict[Token, int] = {}
        self._causes: dict[str, int] = {}
        self._waiting: dict[int, int] = {}

    def write(self, line: dict[str, Any], token: Token) -> None:
        """A frame's line (stats.verdict_line), whose last key, `cause`, is null as yet."""
        self.put(json.dumps(line), token)

    def put(self, text: str, token: Token) -> None:
        """The same, as JSON already."""
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
        """A frame with an outer fragment that completes nothing; `settle` says later what became of it."""
        if self._spool is None:
            self._spool = LineSpool(self._path)
        self._waiting[line["frame"]] = self._spool.write(json.dumps(line), _WAITS, 0)

    def settle(self, frame: int, settled: Settling) -> None:
        """What became of the fragment in a frame."""
        if self._spool is None:
            raise RuntimeError("a frame is settled that does not wait")
        at = self._waiting.pop(frame)
        if settled.layer is not None:
            self._spool.renumber(at, _IGNORED, settled.layer)
            return
        cause = 0 if settled.cause is None else self._causes.setdefault(settled.cause, len(self._causes)) + 1
        self._spool.renumber(at, _PART, (settled.datagram or 0) << 4 | cause)

    def finish(self) -> None:
        """Write what waits; causes are final."""
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
        """Forget what waits; may be repeated."""
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
