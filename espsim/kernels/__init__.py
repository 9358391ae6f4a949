"""Compiled kernels on plain arrays: numpy columns in, numpy columns out, and nothing of ours.

Each equals a readable twin row for row (`tests/equivalence/`): parse `reference/outer.py`, lookup `sad/index.py`,
`reference/lookup.py` and `offload/tables.py`, replay `sad/replay.py`, trailer `wire/esp.py`. Importing this room loads
numba (half a second): do it when a command runs, never above.
"""
