"""What is wrong with a model file: each fault as (the key's path, one sentence that says what is legal there)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from espsim.core.echo import nearest
from espsim.core.errors import InputError
from espsim.offload import locate
from espsim.offload.assume import Key
from espsim.offload.schema import fields_of, legal

_VALUE = 2


class ModelFaults(InputError):  # noqa: N818 - all faults of a file
    """A wrong model file. Its message is the most telling fault; `faults` are all of them, by line."""

    def __init__(self, faults: list[InputError]) -> None:
        first = faults[0]
        self.faults = sorted(faults, key=lambda fault: (fault.where or "", fault.line or 0))
        super().__init__(first.what, where=first.where, line=first.line)


def faults_of(error: ValidationError, raw: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """Everything wrong, the most telling first. A union reports each alternative; together they are one fault."""
    found: dict[Key, tuple[int, str]] = {}
    for detail in error.errors(include_url=False):
        path = locate.clean_path(detail["loc"], raw)
        if detail["type"] == "unfit":
            path += detail["ctx"]["at"]
        rank, sentence = _rank(detail), _sentence(path, detail)
        if path not in found or rank < found[path][0]:
            found[path] = rank, sentence
    # A list with a wrong element is also "not legal" as a whole: the element is the fault.
    whole = {path[:n] for path in found for n in range(1, len(path))}
    ranked = sorted(found.items(), key=lambda item: item[1][0])
    return [(path, sentence) for path, (rank, sentence) in ranked if rank < _VALUE or path not in whole]


def _rank(detail: ErrorDetails) -> int:
    """An extra or missing key is often a misspelt one: it is named before what follows from it."""
    return {"extra_forbidden": 0, "missing": 1}.get(detail["type"], _VALUE)


def _sentence(path: Key, detail: ErrorDetails) -> str:
    key = ".".join(map(str, path)) or "the model"
    kind = detail["type"]
    if kind == "missing":
        return f"{key} is missing; legal: {legal(path)}"
    if kind == "extra_forbidden":
        known = fields_of(path[:-1])
        like = nearest(str(path[-1]), known, 1)
        meant = f"; did you mean {like[0]}?" if like else ""
        return f"{key}: no such key; known: {', '.join(known)}{meant}"
    if kind == "unfit":
        return f"{key}: {detail['msg']}"
    shown = show(detail["input"])
    if kind.endswith(("_type", "literal_error", "_parsing")):
        return f"{key}: {shown} is not legal; legal: {legal(path)}"
    return f"{key}: {shown} is not legal; {detail['msg'][0].lower()}{detail['msg'][1:]}"


def show(value: Any) -> str:
    """A value of a file, as a message repeats it."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
