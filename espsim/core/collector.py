"""Python's garbage collector, out of the way while many objects are made that stay."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

MANY = 100_000
"""If more objects than this were made in `paused`, the collector leaves them alone afterwards too."""


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """The collector is off inside, and afterwards as it was before.

    Hundreds of thousands of SAs are objects without cycles: walking them again and again would be a fifth of the time
    in which they are read, and more. If there are MANY, no later walk looks at them (`gc.freeze`). That holds for all
    objects that there are, so cycles among them stay in memory until the process ends.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if gc.get_count()[0] > MANY:
                gc.freeze()
            gc.enable()
