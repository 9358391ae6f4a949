"""Python's garbage collector, out of the way while many objects are made that stay."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """The collector is off inside, and afterwards as it was before.

    Hundreds of thousands of SAs are objects without cycles: walking them again and again would be a fifth of the time
    in which they are read, and more.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
