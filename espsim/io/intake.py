"""Byte source that fills the caller's memory, many frames at once, and takes back what was not used.

What is put back comes first again. Nothing is mapped and nothing sought: the file may be a pipe.
"""

from __future__ import annotations

import io
import os

from espsim.core.errors import InputError
from espsim.io.source import ByteSource

NOTHING = memoryview(b"")


class Intake(ByteSource):
    """The bytes of an unbuffered file. `at` counts what `read` gave and what the owner used.

    `window` is what the owner holds and has not used: `read` gives that first, and shortens it.
    """

    def __init__(self, file: io.FileIO, path: str) -> None:
        super().__init__(file, path)
        self.window = NOTHING
        self._raw = file
        self._stock = NOTHING
        self._taken = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end. InputError where the system can't read."""
        data = bytearray(self.window[:size])
        self.window = self.window[size:] if len(data) == size else NOTHING
        while len(data) < size:
            part = bytearray(min(size - len(data), 1 << 20))
            got = self.fill(memoryview(part))
            if not got:
                break
            data += part[:got]
        self.at += len(data)
        return bytes(data)

    def fill(self, memory: memoryview) -> int:
        """The next bytes into `memory`: how many, as many as are there without waiting for more; 0 at the end only."""
        if self._taken < len(self._stock):
            stock = self._stock[self._taken : self._taken + len(memory)]
            memory[: len(stock)] = stock
            self._taken += len(stock)
            return len(stock)
        self._stock, self._taken = NOTHING, 0
        try:
            return self._raw.readinto(memory) or 0
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", where=self.path) from None

    def put_back(self, unused: memoryview) -> None:
        """Take back the last bytes that `fill` gave since the last call, unchanged: they were not used."""
        if len(unused) <= self._taken:
            self._taken -= len(unused)  # they came from the stock, where they still are
        else:
            self._stock, self._taken = memoryview(bytes(unused)), 0

    def base(self) -> int:
        """The offset in a regular file of the byte that was read first."""
        return self._raw.tell() - (len(self._stock) - self._taken) - self.at

    def left(self) -> int:
        """Bytes of a regular file that were not read yet."""
        return os.fstat(self._raw.fileno()).st_size - self.base() - self.at

    def move(self, at: int, frames: int) -> None:
        """Go on in a regular file `at` bytes and `frames` frames after its start."""
        self._raw.seek(self.base() + at)
        self._stock, self._taken = NOTHING, 0
        self.at, self.frame = at, frames + 1
