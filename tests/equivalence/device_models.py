"""Models for the tests of the batch path: the shipped ones, their unknowns assumed, and shapes of tables."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeVar

from espsim.core.errors import UnknownReached
from espsim.offload.model import Model, load_model

_T = TypeVar("_T")
load = functools.cache(load_model)

TWIN = """schema = 1
id = "twin"
extends = "{base}"
[[inbound.lookup]]
capacity = {capacity}
scope = "{scope}"
multi_match = "{multi_match}"
miss = "software"
over_max = "fail_flag"
{lookup}
[inbound.classify]
kind = "tcam"
key = {classify}
rule = "{rule}"
capacity = 1000
miss = "software"
[inbound.verify]
always = {verify}
on_mismatch = "{on_mismatch}"
on_invalid = "drop"
[inbound.program]
identity = ["none"]
duplicate = {{ policy = "{duplicate}", errno = "EEXIST" }}
alias = {{ policy = "reject", errno = "EBUSY" }}
full = {{ policy = "silent" }}
delete = {{ by = "handle", duplicate_delete = "noop" }}
{more}
"""
BASES = {"direct": "marvell-cn10k-vpp", "hash": "marvell-cn10k-dpdk-alg4", "exact": "sw-linux-xfrm"}


@functools.cache
def twin(kind: str, lookup: str, **options: object) -> Model:
    """A model of a table shape. It takes from the base what it does not state."""
    facts = {
        "base": BASES.get(kind, "sw-linux-xfrm"), "capacity": '"memory"', "scope": "device", "multi_match": "last",
        "classify": '["esp"]', "rule": "any", "verify": "[]", "on_mismatch": "drop",
        "duplicate": "reject" if kind == "direct" else "coexist", "more": "", **options,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "twin.toml"
        path.write_text(TWIN.format(lookup=f'kind = "{kind}"\n{lookup}', **facts))
        return load_model(path)


def hashed(key: str, fn: str, ways: int, sets: int, *, skewed: bool) -> str:
    shape = f"ways = {ways}\nsets = {sets}\nper_way_index = {str(skewed).lower()}"
    return f'key = {key}\nindex = {{ fn = "{fn}" }}\n{shape}'


def mask(bits: int, *, lift: bool = False) -> str:
    return f'key = ["spi"]\nindex = {{ fn = "mask", bits = {bits}, subtract_min = {str(lift).lower()} }}'


RANGE = 'spi_range = { min = 3, max = 4294967295, outside = "ignore" }'
SLICE = 'key = ["rule", "spi"]\nindex = { fn = "slice_add", base = "rule", hi = 2, lo = 1, width = 3 }'
ARRAY = '[[inbound.lookup]]\nkind = "direct"\nkey = ["prev"]\nindex = { fn = "slot_of_prev" }\ncapacity = 16777216\n'
ARRAY += 'scope = "device"\nmulti_match = "impossible"\nmiss = "drop"'
ADDRESSED = '["src", "dst", "spi", "ipver", "lf", "udp_ports", "mark"]'
SHAPES: dict[str, Callable[[], Model]] = {
    "mask": lambda: twin("direct", mask(2), verify='["spi"]', on_mismatch="fail_flag"),
    "mask, minimum, end, addresses": lambda: twin(
        "direct", mask(3, lift=True), capacity=6, more=RANGE, verify='["dst", "src"]', on_mismatch="software"
    ),
    "mask, nobody minds": lambda: twin("direct", mask(2), verify='["spi"]', on_mismatch="none"),
    "mask of 32 bits, families": lambda: twin("direct", mask(32) + "\nper_family = true", verify='["spi"]'),
    "slice": lambda: twin("direct", SLICE, classify='["port", "dst"]', rule="per_sa", verify='["spi"]'),
    "slice, SPI in the rule": lambda: twin("direct", SLICE, classify='["spi", "dst"]', rule="per_sa", capacity=6),
    "rule": lambda: twin(
        "direct", 'key = ["rule"]\nindex = { fn = "rule", base = "rule" }', classify='["spi", "mark", "udp_ports"]',
        rule="per_sa", scope="port", verify='["udp_ports"]',
    ),
    "hash": lambda: twin("hash", hashed('["spi", "lf"]', "vendor_hash", 4, 2, skewed=True), capacity=8),
    "hash, first, rules": lambda: twin(
        "hash", hashed(ADDRESSED, "vendor_hash", 3, 3, skewed=False), capacity=9, multi_match="first",
        classify='["spi"]', rule="per_sa", scope="port",
    ),
    "crc": lambda: twin(
        "hash", hashed('["dst", "proto", "spi24"]', "crc32c", 2, 5, skewed=True), capacity=10,
        multi_match="lowest_index", verify='["spi"]',
    ),
    "crc of the SPI": lambda: twin("hash", hashed('["spi"]', "crc32c", 3, 3, skewed=True), capacity=9),
    "crc, one way": lambda: twin("hash", hashed('["src"]', "crc32c", 1, 5, skewed=False), capacity=5),
    "chained": lambda: twin(
        "hash", 'key = ["spi", "match_id"]\nindex = { fn = "vendor_hash", chained = true }\nsets = 2', scope="port"
    ),
    "hash too large": lambda: twin(
        "hash", hashed('["spi"]', "vendor_hash", 4, 1 << 28, skewed=True), capacity=1 << 30, multi_match="first"
    ),
    "array": lambda: twin("hash", hashed('["spi"]', "vendor_hash", 4, 2, skewed=True) + "\n" + ARRAY, capacity=8),
    "nobody checks replays": lambda: twin(
        "exact",
        'key = ["dst", "spi"]',
        base="marvell-cn10k-linux-v5",
        more='[caps]\nesn = true\nreplay = { where = "none" }',
    ),
    "exact, marks": lambda: twin("exact", 'key = ["dst", "spi", "mark"]'),
    "exact, fields left out": lambda: twin(
        "exact", 'key = ["src", "dst", "spi", "mark"]\nomit_zero = ["src", "dst"]\nper_family = true',
        multi_match="lowest_index", scope="port",
    ),
    "longest": lambda: twin(
        "longest", 'key = [["spi"], ["spi", "dst"], ["spi", "dst", "src"]]', multi_match="first", classify='["dst"]',
        rule="per_sa",
    ),
}  # fmt: skip

GCM = {"name": "aes-gcm", "key_bits": [128], "icv_bits": [128]}
# What to assume for unknowns, by the ends of keys: the first entry that fits, and one of its values.
FILL: dict[str, list[object]] = {
    "caps.offload": [["packet"], ["crypto"]], "dirs": [["in"]], "modes": [["tunnel"]], "caps.encap": [["none", "udp"]],
    "esn": [True], "replay.where": ["hw", "none"], "windows": [[0, 64]], "pow2_min": [1], "pow2_max": [4096],
    "replay.max": [4096], "caps.algs": [[GCM]], "key_bits": [[128]], "icv_bits": [[128]],
    "classify.kind": ["tcam"], "classify.key": [["esp"], ["spi", "dst"]], "rule": ["any", "per_sa"],
    "lookup.0.kind": ["exact"], "lookup.0.key": [["spi"], ["dst", "spi"], ["src", "spi24"]], "ways": [2], "sets": [4],
    "per_way_index": [True, False], "capacity": [8], "scope": ["device", "port"],
    "multi_match": ["first", "last", "lowest_index"], "miss": ["software", "drop"], "over_max": ["drop"],
    "per_family": [False], "always": [[], ["spi"], ["dst"]], "on_mismatch": ["drop", "none", "software"],
    "on_invalid": ["drop", "software"], "slot": ["first_free"], "identity": [["none"], ["spi", "dst"]],
    "policy": ["reject", "software"], "errno": ["EX"], "errno_other_port": ["EX"], "full.hash": ["silent"],
    "delete.by": ["handle", "key", "spi_first_match"], "duplicate_delete": ["noop", "kills_survivor", "kills_wrong"],
    "first_delete": ["ok", "kills_survivor"], "silent_delete": ["noop", "kills_slot_0"],
    "icv_fail": ["rx_flag", "ignored"], "replay_fail": ["hw_drop"],
}  # fmt: skip


def filled(model: Model, pick: int, run: Callable[[Model], _T]) -> _T:
    """run(model), with every unknown that it needs assumed."""
    for _ in range(60):
        try:
            return run(model)
        except UnknownReached as reached:
            values = next(v for end, v in FILL.items() if f".{reached.key}".endswith(f".{end}"))
            model = model.assuming({reached.key: values[pick % len(values)]})
            pick //= len(values)
    raise AssertionError("there is no end to what is not public")
