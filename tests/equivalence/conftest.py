"""Compiled kernels of the tests live in a cache of their own, which an edit of any kernel empties."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

KERNELS = Path(__file__).parents[2] / "espsim" / "kernels"

# numba's cache looks at a kernel's own file alone, so an edit of what it inlines would go unnoticed.
_sources = b"".join(path.read_bytes() for path in sorted(KERNELS.glob("*.py")))
_cache = Path(tempfile.gettempdir()) / f"espsim-kernels-{os.getuid()}-{hashlib.sha256(_sources).hexdigest()[:16]}"
os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache))
