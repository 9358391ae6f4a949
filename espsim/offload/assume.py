"""Assumptions about what a model leaves open: how a user states one, and the line to copy in a message.

--assume inbound.lookup.0.miss=software     one value, as in TOML; a bare word is a string
--assume caps.encap=none,udp4500            a list by commas
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from espsim.core.errors import InputError
from espsim.core.toml import parse_toml
from espsim.offload.schema import UNKNOWN, legal, takes_list

Key = tuple[str | int, ...]

_INDEX = re.compile("[0-9]{1,6}", re.ASCII)
_BY_END = {
    ".algs": '[{name="aes-gcm", key_bits=[128, 256], icv_bits=[128]}]',
    "lookup.0.kind": "exact",  # the first, "direct", needs an index too
    "classify.kind": "static",
}
_EXAMPLES = {"a whole number": "1024", "a number": "1.0", "a string": "VALUE", "true": "true"}


def split(key: str) -> Key:
    """A dotted key as a path: "inbound.lookup.0.miss" -> ("inbound", "lookup", 0, "miss")."""
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in key.split("."))


def read_value(text: str) -> object:
    """A value as TOML has it; anything else is a string."""
    try:
        return parse_toml(f"value = {text}", "")["value"]
    except (InputError, KeyError):  # a word without quotes
        return text


def fitted(path: Key, value: object) -> object:
    """A value as the key at a path takes it: where that is a list, `a,b` is one of two, and `a` or 128 one of one."""
    if isinstance(value, list | dict) or value == UNKNOWN or not takes_list(path):
        return value
    if isinstance(value, str):
        return [read_value(part.strip()) for part in value.split(",")]
    return [value]


def how_to_assume(suggestions: Mapping[str, Any], key: str) -> str:
    """An option to copy, which assumes a value for a key: the model's suggestion, or the first legal value."""
    value = _shown(suggestions[key]) if key in suggestions else _first_legal(key)
    return f"--assume {shlex.quote(f'{key}={value}')}"


def _first_legal(key: str) -> str:
    known = next((value for end, value in _BY_END.items() if key.endswith(end)), None)
    if known is not None:
        return known
    word = legal(split(key)).removeprefix("a list of ").split(", ")[0].split(" | ")[0]
    return _EXAMPLES.get(word, word) or "VALUE"


def _shown(value: object) -> str:
    """A value in the form that `read_value` and `fitted` read back as the same value."""
    if isinstance(value, list) and value and not isinstance(value[0], dict | list):
        return ",".join(map(_shown, value))
    return value if isinstance(value, str) else toml(value)


def toml(value: Any) -> str:
    """A value on one line, as TOML has it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)


def what_is_needed(suggestions: Mapping[str, Any], key: str) -> tuple[str, str]:
    """(the line to copy, a sentence of what else is legal) for a key that a run needs and that is not public."""
    words = legal(split(key)).removesuffix(", unknown")
    sentence = f"legal: {words}" if words else ""
    if key in suggestions:
        sentence = f"the model's own suggestion; --assume model takes all of them; {sentence}".rstrip("; ")
    return how_to_assume(suggestions, key), sentence
