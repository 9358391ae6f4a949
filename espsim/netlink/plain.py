"""Dataclasses of a namespace as plain values (what JSON can hold), and back, every value checked.

    {"hex": "0a000001"}                      bytes
    {"enum": "Mode", "value": "tunnel"}      an Enum
    {"set": ["esn", "icmp"]}                 a set of names
    {"class": "Mark", "fields": {...}}       a dataclass, each field that its constructor takes
    [...], numbers, text, true, null         themselves

`value_of` reads by the type of a field, so it returns nothing but that type. Numbers are 0 to 2^64-1, or fewer bits
where `_BITS` says so. saved.py checks fields that must agree, such as a window and its SA.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from espsim.aead.suites import Algorithm
from espsim.core.errors import InputError
from espsim.netlink.clock import END_OF_TIME
from espsim.netlink.spd import DIRECTIONS, Policy, Template
from espsim.sad.association import Encap, IptfsOptions, Mark, Offload, ReplayState, SecurityAssociation, Selector

_BITS: dict[type, dict[str, int]] = {
    Mark: {"value": 32, "mask": 32},
    Encap: {"sport": 16, "dport": 16},
    Selector: {
        "src_prefix": 8, "dst_prefix": 8, "proto": 8, "sport": 16, "sport_mask": 16, "dport": 16, "dport_mask": 16,
    },
    SecurityAssociation: {
        "spi": 32, "proto": 8, "reqid": 32, "if_id": 32, "pcpu": 32, "window": 13, "tfcpad": 32, "seq": 32,
        "mtimer": 32, "nat_keepalive": 32,
    },
    IptfsOptions: {"drop_time": 32, "reorder_window": 16, "init_delay": 32, "max_qsize": 32, "pkt_size": 32},
    ReplayState: {"seq": 32, "seq_hi": 32, "oseq": 32, "oseq_hi": 32, "bitmap": 4096},
    Algorithm: {"bits": 32},
    Policy: {"af": 16, "priority": 32, "index": 32, "if_id": 32, "flags": 8},
    Template: {"proto": 8, "spi": 32, "reqid": 32},
}  # fmt: skip
"""The bits of a number, where they are not 64."""

_WORDS: dict[type, dict[str, str]] = {
    Algorithm: {"kind": "aead|enc|auth|auth-trunc|comp"},
    Encap: {"kind": "espinudp|espinudp-nonike|espintcp|[0-9]{1,5}"},
    Offload: {"dev": ".{1,15}"},
    Policy: {"dir": "|".join(DIRECTIONS), "action": "allow|block", "ptype": "main|sub"},
    Template: {"level": "required|use"},
}
"""Patterns of fields that may not be any text."""

_ADDRESSES: dict[type, tuple[str, ...]] = {
    SecurityAssociation: ("src", "dst", "coa"),
    Encap: ("oaddr",),
    Template: ("src", "dst"),
    Selector: ("src", "dst"),
}

_NEWER: dict[type, tuple[str, ...]] = {
    SecurityAssociation: ("mtimer", "nat_keepalive", "iptfs"),
}
"""Fields that a file of an earlier espsim lacks. They get the constructor's default then."""

_NOT_KEPT: dict[type, tuple[str, ...]] = {ReplayState: ("context",)}
"""Fields that only say how a text was read. No answer depends on them."""


def wrong(at: str, what: str) -> InputError:
    """An InputError that names the field. It never shows the value, which may be a key."""
    return InputError(f"{at or 'the whole'}: {what}")


# -- writing ----------------------------------------------------------------------------------------------------------


def plain_of(value: Any) -> Any:
    """A value of a namespace as plain values."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if isinstance(value, tuple):
        return [plain_of(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {name: plain_of(getattr(value, name)) for name in _kinds(type(value))}
        return {"class": type(value).__name__, "fields": fields}
    return value


# -- reading ----------------------------------------------------------------------------------------------------------


def value_of(plain: Any, kind: Any, at: str) -> Any:
    """The value of type `kind` that was written as `plain`. InputError, with the place `at`: it is not such a value."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is types.UnionType:  # X | None, the only union here
        return None if plain is None else value_of(plain, arguments[0], at)
    if typing.get_origin(kind) is tuple:
        items = a_list(plain, at)
        return tuple(value_of(item, arguments[0], f"{at}.{n}") for n, item in enumerate(items))
    if typing.get_origin(kind) is frozenset:
        return _set(plain, at)
    if dataclasses.is_dataclass(kind):
        return _dataclass(plain, typing.cast(type, kind), at)
    if issubclass(kind, Enum):
        return _enum(plain, kind, at)
    return _SIMPLE[kind](plain, at)


def fields_of(plain: Any, names: Sequence[str], at: str) -> Mapping[str, Any]:
    """An object with exactly these keys."""
    if not isinstance(plain, dict):
        raise wrong(at, "not an object")
    for name in names:
        if name not in plain:
            raise wrong(f"{at}.{name}" if at else name, "missing")
    for name in plain:
        if name not in names:
            raise wrong(at, "it has a key that is not known")
    return plain


def number(plain: Any, at: str, bits: int = 64) -> int:
    """A whole number of up to `bits` bits."""
    if type(plain) is not int or plain < 0 or plain >> bits:
        raise wrong(at, f"not a number of 0 to 2^{bits}-1")
    return plain


def seconds(plain: Any, at: str) -> float:
    """A time in seconds: not negative, and below END_OF_TIME."""
    if type(plain) not in (int, float) or not 0 <= plain < END_OF_TIME:
        raise wrong(at, "not a time in seconds")
    return float(plain)


def truth(plain: Any, at: str) -> bool:
    """true or false."""
    if type(plain) is not bool:
        raise wrong(at, "neither true nor false")
    return plain


def text(plain: Any, at: str) -> str:
    """Text that can be printed."""
    if type(plain) is not str or any("\ud800" <= character <= "\udfff" for character in plain):
        raise wrong(at, "not text")
    return plain


def a_list(plain: Any, at: str) -> list[Any]:
    """A list."""
    if type(plain) is not list:
        raise wrong(at, "not a list")
    return plain


def a_pair(plain: Any, at: str) -> tuple[int, int]:
    """Two numbers."""
    items = a_list(plain, at)
    if len(items) != 2:
        raise wrong(at, "not a pair")
    return number(items[0], at), number(items[1], at)


def _octets(plain: Any, at: str) -> bytes:
    digits = text(fields_of(plain, ("hex",), at)["hex"], at)
    if len(digits) % 2 or not re.fullmatch("[0-9a-f]*", digits):
        raise wrong(at, "not bytes in hex")
    return bytes.fromhex(digits)


_SIMPLE: dict[Any, Callable[[Any, str], Any]] = {
    int: number, float: seconds, bool: truth, str: text, bytes: _octets,
}  # fmt: skip


def _set(plain: Any, at: str) -> frozenset[str]:
    items = [text(item, at) for item in a_list(fields_of(plain, ("set",), at)["set"], at)]
    if items != sorted(set(items)):
        raise wrong(at, "not a set in order")
    return frozenset(items)


def _enum(plain: Any, kind: type[Enum], at: str) -> Enum:
    for member in kind:
        if plain == {"enum": kind.__name__, "value": member.value}:
            return member
    raise wrong(at, f"not a {kind.__name__}: {', '.join(member.value for member in kind)}")


def _dataclass(plain: Any, kind: type, at: str) -> Any:
    said = fields_of(plain, ("class", "fields"), at)
    if said["class"] != kind.__name__:
        raise wrong(at, f"not a {kind.__name__}")
    kinds = _kinds(kind)
    said_fields = said["fields"]
    if isinstance(said_fields, dict):
        absent = [name for name in _NEWER.get(kind, ()) if name not in said_fields]
        kinds = {name: of for name, of in kinds.items() if name not in absent}
    plain_fields = fields_of(said_fields, [*kinds], at)
    values = {name: value_of(plain_fields[name], of, f"{at}.{name}") for name, of in kinds.items()}
    _within(kind, values, at)
    try:
        return kind(**values)
    except ValueError as error:  # the constructor's message shows no key
        raise wrong(at, str(error)) from None


def _within(kind: type, values: Mapping[str, Any], at: str) -> None:
    """Check numbers against their range, words against their patterns, and the lengths of addresses."""
    for name, bits in _BITS.get(kind, {}).items():
        if values.get(name) is not None:
            number(values[name], f"{at}.{name}", bits)
    for name, pattern in _WORDS.get(kind, {}).items():
        if not re.fullmatch(pattern, values[name]):
            raise wrong(f"{at}.{name}", "not a known word")
    for name in _ADDRESSES.get(kind, ()):
        address = values[name]
        if address is not None and len(address) not in ((0, 4, 16) if kind is Selector else (4, 16)):
            raise wrong(f"{at}.{name}", "not an address")
    for name in ("src", "dst") if kind is Selector else ():
        if values[f"{name}_prefix"] > 8 * (len(values[name]) or 16):
            raise wrong(f"{at}.{name}_prefix", "longer than the address")
    if kind is Template and len(values["src"]) != len(values["dst"]):
        raise wrong(at, "src and dst are of different families")


@functools.cache
def _kinds(kind: type) -> dict[str, Any]:
    """The fields that are written, with their types."""
    hints = typing.get_type_hints(kind)
    left_out = _NOT_KEPT.get(kind, ())
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init and f.name not in left_out}
