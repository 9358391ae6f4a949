"""The SAD's hash chains as plain values and back: their order decides which of several states is found first.

The order depends on when a state got its SPI, and on when the kernel resized its tables (sad/buckets.py). The states
that IPComp keeps beside its own are here too: which states use them (sad/ipcomp.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from espsim.core.numbers import PROTO_COMP
from espsim.netlink.plain import a_list, a_pair, fields_of, number, wrong
from espsim.sad.association import Mode
from espsim.sad.buckets import LARGEST, SMALLEST, Buckets
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad

NAMES = ("linked", "chains", "buckets", "tunnels", "tunnel_spi")
"""The keys of `pack_tables`."""

SIZES = [1 << n for n in range(SMALLEST.bit_length() - 1, LARGEST.bit_length())]
"""The numbers of buckets that a table of the kernel can have."""


def pack_tables(sad: Sad) -> dict[str, Any]:
    """The chains with more than one state, each from its head on; the kernel's buckets; IPComp's tunnels."""
    chains = {f"_{name}": [_indices(chain) for chain in chains] for name, chains in sad.index.chains().items()}
    buckets = None
    if sad.index.buckets is not None:
        buckets = {"size": sad.index.buckets.size, "walk": _indices(sad.index.buckets.walk())}
    # A tunnel that a hard EXPIRE removed from the SAD changes no answer.
    tunnels = [[entry.sa_index, entry.tunnel.sa_index] for entry in sad if entry.tunnel in sad and entry.tunnel]
    return {
        "linked": [list(entries) for entries in sad.index.by_spi.shared().values()],
        "chains": chains,
        "buckets": buckets,
        "tunnels": tunnels,
        "tunnel_spi": sad.tunnel_spi,
    }


def unpack_tables(sad: Sad, said: Mapping[str, Any]) -> None:
    """Put the chains of a SAD with all its states into their order. InputError: the values do not fit this SAD."""
    _relink(sad, said["linked"])
    kept = sad.index.chains()
    chains = fields_of(said["chains"], [f"_{name}" for name in kept], "chains")
    for name, of_table in kept.items():
        place = _places(chains[f"_{name}"], map(_indices, of_table), f"chains._{name}")
        for chain in of_table:
            _put_in_order(chain, place)
    _fill_buckets(sad, said["buckets"])
    _join_tunnels(sad, said["tunnels"])
    sad.tunnel_spi = number(said["tunnel_spi"], "tunnel_spi", 32)


def _put_in_order(chain: list[SadEntry], place: Mapping[int, int]) -> None:
    chain.sort(key=lambda entry: place[entry.sa_index])


def _indices(entries: Iterable[SadEntry]) -> list[int]:
    return [entry.sa_index for entry in entries]


def _places(plain: Any, kept: Iterable[Iterable[int]], at: str) -> dict[int, int]:
    """The place of each state in its chain. The chains in the file must be those of the SAD."""
    orders = [[number(index, at) for index in a_list(chain, at)] for chain in a_list(plain, at)]
    if sorted(map(sorted, orders)) != sorted(map(sorted, kept)):
        raise wrong(at, "not the states that share a chain")
    return {index: place for order in orders for place, index in enumerate(order)}


def _relink(sad: Sad, plain: Any) -> None:
    """Order the states of one SPI by when they got it, which may differ from when they were made."""
    shared = sad.index.by_spi.shared()
    place = _places(plain, shared.values(), "linked")
    for spi, entries in shared.items():
        sad.index.by_spi.reorder(spi, sorted(entries, key=place.__getitem__))


def _fill_buckets(sad: Sad, plain: Any) -> None:
    said = fields_of(plain, ("size", "walk"), "buckets")
    size = number(said["size"], "buckets.size", 32)
    walk = [number(index, "buckets.walk") for index in a_list(said["walk"], "buckets.walk")]
    if size not in SIZES or sorted(walk) != sorted(sad.index.entries):
        raise wrong("buckets", "not the buckets of these states")
    sad.index.buckets = Buckets(size)
    for index in reversed(walk):
        sad.index.buckets.insert(sad.index.entries[index])
    if _indices(sad.index.buckets.walk()) != walk:
        raise wrong("buckets.walk", "not the order of a resize")


def _join_tunnels(sad: Sad, plain: Any) -> None:
    """Join each tunnel SA of IPComp with the state beside it, which counts itself and its users."""
    users = {entry.sa_index: entry.tunnel_users for entry in sad if entry.tunnel_users}
    for pair in a_list(plain, "tunnels"):
        index, beside = a_pair(pair, "tunnels")
        entry = sad.index.entries.get(index)
        if entry is None or entry.tunnel is not None or beside not in users:
            raise wrong("tunnels", "not pairs of a state and the one beside it")
        if entry.sa.proto != PROTO_COMP or entry.sa.mode is not Mode.TUNNEL:
            raise wrong("tunnels", "not a tunnel of IPComp")
        entry.keep_beside(sad.index.entries[beside])
        users[beside] -= 1
    if any(left != 1 for left in users.values()):
        raise wrong("tunnels", "not as many as the states beside them count")
