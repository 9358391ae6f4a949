"""Every file of a header has the same verbs, its layout in its docstring, and an example that runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

from espsim import wire

NO_HEADERS = {"checksum", "fragments", "split"}
HEADERS = sorted({module.name for module in pkgutil.iter_modules(wire.__path__)} - NO_HEADERS)


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_has_its_verbs_its_layout_and_an_example(name):
    module = importlib.import_module(f"espsim.wire.{name}")
    for verb in ("parse", "emit", "length"):
        assert getattr(module, verb).__module__ == module.__name__, f"wire/{name}.py has no {verb} of its own"
    first = [parameter.lstrip("_") for verb in (module.parse, module.length)
             for parameter in list(inspect.signature(verb).parameters)[:1]]  # fmt: skip
    assert len(set(first)) == 1, f"wire/{name}.py: parse and length take {first}"
    assert f"`{name}`" in (wire.__doc__ or "")
    drawn = [line for line in (module.__doc__ or "").splitlines() if line.startswith("|") and "|   0" in line]
    assert drawn, f"wire/{name}.py draws no layout"
    results = doctest.testmod(module)
    assert results.attempted >= 2, f"wire/{name}.py shows no example"
    assert results.failed == 0


@pytest.mark.parametrize("name", sorted(NO_HEADERS))
def test_the_others_have_examples_that_run_if_any(name):
    assert doctest.testmod(importlib.import_module(f"espsim.wire.{name}")).failed == 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("beet", bytes((17, 0, 0, 0)) + bytes(4)),
        ("beet", bytes((17, 1, 4, 0)) + bytes(12)),
        ("esp", bytes(8)),
        ("iptfs", bytes(4)),
        ("iptfs", bytes((1,)) + bytes(23)),
        ("ipv4", bytes((0x45,)) + bytes(19)),
        ("ipv4", bytes((0x4F,)) + bytes(59)),
        ("ipv6", bytes((0x60,)) + bytes(39)),
        ("ipv6_fragment", bytes(8)),
        ("tcp", bytes(12) + b"\x50" + bytes(7)),
        ("tcp", bytes(12) + b"\xf0" + bytes(47)),
        ("udp", bytes(8)),
    ],
)
def test_length_is_of_the_header_at_the_offset(name, data):
    module = importlib.import_module(f"espsim.wire.{name}")
    wanted = 8 if (name, data[1:3]) == ("beet", b"\1\4") else 4 if name == "beet" else len(data)
    assert module.length(data) == module.length(b"\xff\xff\xff" + data, 3) == wanted
