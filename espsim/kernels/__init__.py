"""Compiled kernels on plain arrays: numpy columns in, numpy columns out, and nothing of ours.

Each equals a readable twin row for row (`tests/equivalence/`): parse `reference/outer.py`, lookup `sad/index.py`,
device `offload/tables.py`, replay `sad/window.py`, trailer `wire/esp.py`, decap and admit `reference/inner.py`, select
and encap `reference/outbound.py`, capture `io/pcap.py` and `io/pcapng.py`. Importing this
room loads numba (half a second): do it when a command runs, never above.
"""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
