"""Compiled code: how functions are compiled, and where their machine code is kept from run to run.

    compiling   the decorators            addresses   memory and C functions by address, for the native engines
    cache       reads and writes files    prefetch    cache lines ahead of their use
    folder      where they lie            bytes       numbers in network order in an arena
    key         what their code           memory      tables at cache lines, in large pages
    sources     depends on

No other room imports numba, and this one knows nothing of packets. Importing `compiling` loads numba (half a second):
the command line does it only when a command runs that needs kernels.
"""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
