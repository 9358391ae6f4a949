"""What machine code depends on, as one hash: where any of it differs, nothing of an older cache is used.

It covers the sources (`espsim.jit.sources`), the numbers that kernels freeze (core/numbers.py), the versions of espsim,
Python, numba, llvmlite and numpy, the CPU, and those environment variables of numba that may change the code it makes.
"""

from __future__ import annotations

import hashlib
import os
import sys

import llvmlite
import llvmlite.binding
import numba
import numpy as np

from espsim.core import numbers
from espsim.jit import sources
from espsim.version import __version__

# These change where numba keeps things or what it prints, not the code that it makes.
_HARMLESS = ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "NUMBA_DEBUG_CACHE", "NUMBA_NUM_THREADS")


def key() -> str | None:
    """The hash in hex; None where the sources cannot be read."""
    source = sources.remember()
    if source is None:
        return None
    facts = [source, __version__, sys.version, numba.__version__, llvmlite.__version__, np.__version__]
    return hashlib.sha256("\0".join([*facts, *_numbers(), *_cpu(), *_settings()]).encode(errors="replace")).hexdigest()[
        :32
    ]


def _numbers() -> list[str]:
    """The values of core.numbers in this process: kernels freeze these, even if the file has changed since."""
    return [f"{name}={number}" for name, number in vars(numbers).items() if name.isupper()]


def _cpu() -> list[str]:
    """Platform, name and features of the processor, as LLVM knows them."""
    binding = llvmlite.binding
    return [binding.get_process_triple(), binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]


def _settings() -> list[str]:
    """numba's environment variables that may change the code it makes."""
    names = [name for name in os.environ if name.startswith("NUMBA_") and name not in _HARMLESS]
    return sorted(f"{name}={os.environ[name]}" for name in names)
