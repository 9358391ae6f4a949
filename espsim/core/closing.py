"""The base of everything with a `close`: leaving `with` closes it."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self


class Closing(abc.ABC):
    """`with thing as name:` closes the thing at the end, also where an error ends it."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release what it holds. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
