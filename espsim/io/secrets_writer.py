"""A pcapng that opens itself: the secrets of its SAs in a block before its packets.

The SAs of the packets, and the high halves of their numbers, are known only at the end. So the packets wait in a
spool, and `commit` puts the file together: twice the disk space, bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import IO

from espsim.io.atomic import ByteSpool, OutputFile, Outputs
from espsim.io.capture import CaptureWriter
from espsim.io.linktype import RAW
from espsim.io.pcapng import packet_block, section_start
from espsim.io.secrets import emit


class SecretsWriter(CaptureWriter):
    """A little-endian pcapng that appears whole at `commit`, or not at all, for its owner alone.

    `rows` and `comments` are set before `commit`: rows of `esp_sa`, which hold keys, and comments, which don't.
    """

    private = True

    def __init__(self, path: str, *, linktype: int = RAW, nanosecond: bool = False, outputs: Outputs) -> None:
        super().__init__(path, linktype=linktype, nanosecond=nanosecond, outputs=outputs)
        self.rows: Sequence[str] = ()
        self.comments: Sequence[str] = ()
        self._all = outputs
        self._spool: ByteSpool | None = None

    def _begin(self, output: OutputFile) -> IO[bytes]:
        self._spool = self._all.spool(self.path)
        return self._spool.file

    def _record(self, data: bytes, time_ns: int) -> bytes:
        return packet_block(data, time_ns, self.nanosecond)

    def commit(self) -> None:
        """As CaptureWriter."""
        if self._output is None or self._spool is None:
            raise RuntimeError("a SecretsWriter writes inside its context only")
        self._output.file.write(section_start(self.linktype, self.nanosecond) + emit(self.rows, self.comments))
        self._spool.pour(self._output.file)
        super().commit()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        if self._spool is not None:
            self._spool.close()
