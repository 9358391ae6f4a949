"""The order of the SAD's hash chains as plain values and back: which of several states is found first.

It depends on when a state got its SPI, and on when the kernel's tables were resized (buckets.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espsim.sad.buckets import LARGEST, SMALLEST, Buckets
from espsim.sad.index import StateIndex

_TABLES = ("_by_triple", "_by_pair", "_acquires", "_by_seq")


def pack_tables(sad: StateIndex) -> dict[str, Any]:
    """The chains with more than one state, each from its head, and the kernel's buckets where they are kept."""
    chains = {
        name: [[entry.sa_index for entry in chain] for chain in getattr(sad, name).values() if len(chain) > 1]
        for name in _TABLES
    }
    buckets = None
    if sad.buckets is not None:
        buckets = {"size": sad.buckets.size, "walk": [entry.sa_index for entry in sad.buckets.walk()]}
    return {"chains": chains, "buckets": buckets}


def unpack_tables(sad: StateIndex, values: Mapping[str, Any]) -> None:
    """Put the chains of a SAD that has its states into their order. ValueError: the values are not a SAD's."""
    for name in _TABLES:
        place = {index: at for at, index in enumerate(i for chain in values["chains"][name] for i in chain)}
        for chain in getattr(sad, name).values():
            if len(chain) > 1:
                chain.sort(key=lambda entry, place=place: place[entry.sa_index])
    if values["buckets"] is None or sad.buckets is None:
        return
    size, walk = int(values["buckets"]["size"]), values["buckets"]["walk"]
    if size not in [1 << n for n in range(SMALLEST.bit_length() - 1, LARGEST.bit_length())] or len(walk) != len(sad):
        raise ValueError("no SAD's buckets")
    sad.buckets = Buckets(size)
    for index in reversed(walk):
        sad.buckets.insert(sad._entries[index])
