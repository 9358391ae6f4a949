"""What an audit can't know: SAs whose add depends on a value that is not public, and the SAs that they could affect.

An SA in doubt may be in the device or not. It could change another SA's answer where the two would meet: they have one
SPI, or one slot of a table that the SPI indexes. It could also fill a table. Such answers are unknown too, because the
unpublished value could prove them wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from espsim.offload.model import Model
from espsim.offload.schema import UNKNOWN

_PROGRAM = "inbound.program"
_LOW24 = 0xFFFFFF


class Doubts:
    """The doubts of one audit. `open`: for each SA whose add is not known, the key that decides it.

    `closed`: a key without which no SA's answer is known, such as the table's kind.
    """

    def __init__(self, model: Model, spis: Sequence[int]) -> None:
        self.open: dict[int, str] = {}
        self.closed: str | None = None
        self._model = model
        self._spis = spis
        self._first: int | None = None
        self._near: dict[int, str] = {}  # by the SPI, or its low bits, of an SA in doubt: the key
        self._late: dict[int, str] = {}
        self._mask = _slot_mask(model)

    def leave_open(self, position: int, index: int, key: str) -> None:
        """Note that an SA, at this position in the order of adding, is in doubt because of a key."""
        self.open[index] = key
        self._near.setdefault(self._spis[index] & self._mask, key)
        if self._first is None:
            self._first = position

    def reached(self, position: int, index: int, key: str) -> str | None:
        """Adding an SA reached an unknown key. Returns UNKNOWN, as the errno, if only the errno is not known."""
        last = key.rpartition(".")[2]
        if last.startswith("errno"):
            return UNKNOWN  # the SA is refused, so what is in the device is known
        if key == f"{_PROGRAM}.full.policy" and self._model.spec.inbound.classify.rule == "any":
            return UNKNOWN  # refused or ignored: either way it is not in the device
        if key not in (f"{_PROGRAM}.duplicate.policy", f"{_PROGRAM}.alias.policy", f"{_PROGRAM}.full.policy"):
            self.closed = key
        self.leave_open(position, index, key)
        return None

    def settle(self, accepted: int, offered: Sequence[int]) -> None:
        """After all SAs are offered: with those in doubt a table could be full. Then later SAs are in doubt too."""
        if self._first is None or accepted + len(self.open) <= _least_room(self._model):
            return
        key = next(iter(self.open.values()))
        self._late = dict.fromkeys(offered[self._first :], key)

    def about(self, index: int) -> str | None:
        """The key that makes an SA's answer unknown. None: the answer is known."""
        if not self.open:
            return None
        near = self._near.get(self._spis[index] & self._mask)
        return self.open.get(index) or self.closed or near or self._late.get(index)


def _slot_mask(model: Model) -> int:
    """The bits of the SPI that may decide which SAs meet: those that index a table, or all, or none (any may meet)."""
    inbound = model.spec.inbound
    index = inbound.lookup[0].index
    if not {"spi", "spi24", "slot", "none"} & set(inbound.program.identity):
        return 0  # SAs that the driver takes for the same may have any SPIs
    if "spi24" in inbound.program.identity:
        return _LOW24
    if len(inbound.lookup) > 1 and inbound.program.slot == "spi_low24":
        return _LOW24
    if index is None or inbound.lookup[0].kind != "direct":
        return 0xFFFFFFFF
    if index.fn == "mask" and isinstance(index.bits, int) and index.subtract_min is False:
        return (1 << index.bits) - 1
    return 0  # SAs may meet whatever their SPIs


def _least_room(model: Model) -> float:
    """How many SAs find room whatever their SPIs. For a hash it is the rows of one way, a safe lower bound."""
    inbound = model.spec.inbound
    first = inbound.lookup[0]
    numbers = [*(aux.capacity for aux in first.aux), *(lookup.capacity for lookup in inbound.lookup)]
    if inbound.classify.rule != "any":
        numbers.append(inbound.classify.capacity)
    if first.kind == "hash":
        numbers.append(first.sets if first.sets is not None else UNKNOWN)
    return min((n for n in numbers if isinstance(n, int)), default=float("inf"))
