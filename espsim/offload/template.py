"""The beginning of a new model: a file that extends another and repeats its values in comments.

Unchanged, it loads and is that other model under a new id. An author takes the `#` off what differs and puts the source
beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espsim.offload.assume import toml
from espsim.offload.model import Model
from espsim.offload.schema import legal

_TABLES = ("device", "caps", "inbound.classify", "inbound.lookup", "inbound.verify", "inbound.program",
           "inbound.result", "outbound")  # fmt: skip
_WIDTH = 40
_HEAD = """\
# {id}: like {like} ({vendor} {part}, {driver}), but ...
#
# Every commented line is a value of {like}. Take the # off a line that differs, and write beside the value where you
# read it (file:line of the driver, a manual's page). What you have not read is "unknown". Legal values come after ->.
#
#     espsim models check {id}.toml
#     espsim models compare {like} {id}.toml
schema = 1
id = "{id}"
extends = "{like}"
"""


def template(ident: str, like: Model) -> str:
    """The text of a new model file."""
    device = like.spec.device
    names = {"vendor": device.vendor, "part": device.part, "driver": device.driver}
    parts = [_HEAD.format(id=ident, like=like.id, **names)]
    stated = like.spec.model_dump(by_alias=True, exclude_unset=True)
    for name in _TABLES:
        parts += _table(like, name, _at(stated, name))
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def _at(stated: Mapping[str, Any], name: str) -> Any:
    found: Any = stated
    for part in name.split("."):
        found = found.get(part, {})
    return found


def _table(model: Model, name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield "\n# Lookups are replaced whole: take the # off all lines of all of them, or of none."
        for n, table in enumerate(value):
            yield f"# [[{name}]]"
            yield from _lines(model, f"{name}.{n}", table)
        return
    own = {key: inner for key, inner in value.items() if not (name == "caps" and key in ("crypto", "packet"))}
    yield f"\n[{name}]"
    yield from _lines(model, name, own)
    for mode in value if name == "caps" else ():
        if mode in ("crypto", "packet") and value[mode]:
            yield f"\n# [caps.{mode}]"
            yield from _lines(model, f"caps.{mode}", {k: v for k, v in value[mode].items() if v is not None})


def _lines(model: Model, name: str, table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        path = f"{name}.{key}"
        source = model.source(path)
        words = legal(tuple(int(p) if p.isdigit() else p for p in path.split(".")))
        notes = [source.comment if source is not None else "", f"-> {words}" if _telling(words) else ""]
        comment = "; ".join(note for note in notes if note)
        line = f"# {key} = {toml(value)}"
        yield f"{line:{_WIDTH}} # {comment}" if comment else line


def _telling(words: str) -> bool:
    """Whether legal values say more than "a string" or "a table"."""
    return words not in ("", "a string", "a table") and not words.startswith(
        ("a list of a string", "a list of a table")
    )
