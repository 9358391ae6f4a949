"""What the netdev thread's scenarios say together: a policy at a time, from the cells of `run --thread`.

Every sentence is computed from the outcomes that it names. If Android's requests begin to fail under a policy, the next
run says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from espsim.scenario.cell import Cell
from espsim.scenario.meaning import number

ANDROID, ADDRESSES, PEERS, INTENDED, BLOCKED = "s02", "s01", "s03", "s04", "s05"
"""The scenarios that are asked, by name."""


def conclude(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    """(policy, what it means for those who wrote to the thread), in the order of the policies."""
    listed = list(cells)
    policies = dict.fromkeys(cell.policy for cell in listed)
    return [(policy, " ".join(_sentences([cell for cell in listed if cell.policy == policy]))) for policy in policies]


def _sentences(cells: Sequence[Cell]) -> Iterator[str]:
    android = _succeeding(cells, ANDROID)
    if android is not None:
        yield _android(*android)
    yield from _addresses(cells)
    peers = _succeeding(cells, PEERS)
    if peers is not None:
        good, all_ = peers
        if not good:
            yield "One outbound SPI cannot be allocated for two peers (S03)."
        elif len(good) < len(all_):
            yield f"One outbound SPI can be allocated for two peers only with {_variants(good)} (S03)."
        else:
            yield "One outbound SPI can be allocated for two peers (S03)."
    blocked = _succeeding(cells, BLOCKED)
    if blocked is not None and len(blocked[0]) < len(blocked[1]):
        yield "An outbound SA blocks its SPI for inbound ones (S05)" + (
            f", but not with {_variants(blocked[0])}." if blocked[0] else "."
        )
    yield from _intended(cells)


def _android(good: Sequence[Cell], all_: Sequence[Cell]) -> str:
    if len(good) == len(all_):
        return "Android's calls succeed unchanged (S02)."
    if good:
        return f"Android's calls succeed only with {_variants(good)} (S02)."
    first = next(asked for asked in all_[0].facts.requests if asked.errno is not None)
    return f"Android's calls fail (S02): {first.verb} gets {first.errno}."


def _addresses(cells: Sequence[Cell]) -> Iterator[str]:
    """How many addresses one SPI can be allocated for."""
    found = [(cell, _granted(cell)) for cell in cells if cell.scenario == ADDRESSES]
    if not found:
        return
    most = max(n for _cell, n in found)
    if most == 1:
        yield "An SPI is given once in a host (S01), so SAs from ALLOCSPI never share an SPI in a device."
        return
    single = [cell for cell, n in found if n == 1]
    text = f"One SPI is given to {number(most)} of five local addresses (S01)"
    yield (
        f"{text}; once only with {_variants(single)}."
        if single
        else (f"{text}: a device that looks at the SPI alone cannot tell their SAs apart.")
    )


def _intended(cells: Sequence[Cell]) -> Iterator[str]:
    intended = _succeeding(cells, INTENDED)
    if intended is not None and len(intended[0]) < len(intended[1]):
        yield "A peer's choice of SPI can be refused: NEWSA of an outbound SA fails (S04)."


def _granted(cell: Cell) -> int:
    return sum(asked.count for asked in cell.facts.requests if asked.errno is None)


def _succeeding(cells: Sequence[Cell], scenario: str) -> tuple[list[Cell], list[Cell]] | None:
    """The cells of a scenario in which every request succeeds, and all of them; None where it did not run."""
    mine = [cell for cell in cells if cell.scenario == scenario]
    good = [cell for cell in mine if not any(asked.errno for asked in cell.facts.requests)]
    return (good, mine) if mine else None


def _variants(cells: Sequence[Cell]) -> str:
    words = {"dirs": "directions given (dir in, dir out)", "no dir": "no direction given"}
    return " or ".join(words.get(cell.variant, cell.variant) for cell in cells)
