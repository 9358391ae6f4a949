"""Tables of states: what they give is what lists and dictionaries would, though most states have none around them."""

from __future__ import annotations

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from espsim.sad.association import SecurityAssociation
from espsim.sad.chains import BySpi, Chains
from espsim.sad.entry import SadEntry, State
from espsim.sad.sad import Sad
from espsim.sad.window import Window
from espsim.text.load import load
from espsim.text.parse import parse_sad

SA = SecurityAssociation(bytes(4), bytes(4), 1)
ENTRIES = [SadEntry(n, SA, State.VALID, Window(0)) for n in range(12)]
moves = st.lists(st.tuples(st.sampled_from(ENTRIES), st.integers(0, 2)), max_size=40)


def plainly(steps: list[tuple[SadEntry, int]], table: Any, put: Any, take: Any) -> None:
    """In with a state that is out, out with one that is in; after each step the lists and the table are compared."""
    plain: dict[int, list[SadEntry]] = {}
    keys: dict[int, int] = {}
    for entry, key in steps:
        if entry.sa_index in keys:
            own = keys.pop(entry.sa_index)
            plain[own].remove(entry)
            take(own, entry)
        else:
            keys[entry.sa_index] = key
            plain.setdefault(key, []).append(entry)
            put(key, entry)
        for of_key in range(3):
            states = list(table.of(of_key))
            assert (states if isinstance(table, BySpi) else states[::-1]) == plain.get(of_key, [])
        shared = table.shared()
        found = [list(s.values()) for s in shared.values()] if isinstance(table, BySpi) else [s[::-1] for s in shared]
        assert sorted(map(indices, found)) == sorted(indices(s) for s in plain.values() if len(s) > 1)


def indices(entries: list[SadEntry]) -> list[int]:
    return [entry.sa_index for entry in entries]


@given(moves)
def test_the_newest_of_a_key_comes_first(steps: list[tuple[SadEntry, int]]) -> None:
    chains: Chains[int] = Chains()
    plainly(steps, chains, chains.push, chains.take_out)


@given(moves)
def test_the_oldest_of_an_spi_comes_first(steps: list[tuple[SadEntry, int]]) -> None:
    table = BySpi()
    plainly(steps, table, table.add, table.remove)


def test_another_order() -> None:
    table = BySpi()
    for entry in ENTRIES[:3]:
        table.add(7, entry)
    table.reorder(7, [2, 0, 1])
    assert indices(list(table.of(7))) == [2, 0, 1]


def test_a_sorted_chain_stays_sorted() -> None:
    chains: Chains[int] = Chains()
    for entry in ENTRIES[:3]:
        chains.push(7, entry)
    for chain in chains.shared():
        chain.sort(key=lambda entry: entry.sa_index)
    assert indices(list(chains.of(7))) == [0, 1, 2]


def test_what_an_sa_takes_of_memory() -> None:
    """From the text to the SAD: 0.8 KB each, of SAs with keys and selectors of their own. It was 2.3, then 1.3."""
    count = 2000
    text = "".join(
        f"ip xfrm state add src 10.0.0.1 dst 10.1.{n >> 8}.{n & 255} proto esp spi 0x{n + 256:x} reqid {n} mode tunnel"
        f" replay-window 64 flag esn aead 'rfc4106(gcm(aes))' 0x{n:040x} 128"
        f" sel src 0.0.0.0/0 dst 10.8.{n >> 8}.{n & 255}/32\n"
        for n in range(count)
    )
    sad = Sad()
    load(sad, parse_sad(text.splitlines(keepends=True)[0]).sas)  # what is made once
    sad = Sad()
    tracemalloc.start()
    load(sad, parse_sad(text).sas)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(sad) == count
    assert kept / count < 900
