"""What batches of both directions are: a byte arena, and columns of one length. A part of one shares its memory."""

from __future__ import annotations

from typing import ClassVar, Self

from espsim.core.arrays import I32, I64, U8


class BatchRows:
    """Packets in `arena` (uint8) at `offset` (int64), `length` (int32) bytes long.

    Every attribute of a batch is a column with a value for each row, but for those of `WHOLE`.
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"arena"})
    arena: U8
    offset: I64
    length: I32

    def __len__(self) -> int:
        return len(self.offset)

    def head(self, rows: int) -> Self:
        """The first rows as a batch of the same memory, with what belongs to the batch as a whole."""
        if rows < len(self):
            return self.part(slice(rows))
        whole = object.__new__(type(self))  # copy.copy takes as long as a part
        vars(whole).update(vars(self))
        return whole

    def part(self, rows: slice) -> Self:
        """Some rows as a batch of the same memory."""
        part = object.__new__(type(self))
        for name, held in vars(self).items():
            setattr(part, name, held if name in self.WHOLE else held[rows])
        return part

    def packet(self, row: int) -> bytes:
        """A packet's bytes as they are now."""
        at = int(self.offset[row])
        return self.arena[at : at + int(self.length[row])].tobytes()
