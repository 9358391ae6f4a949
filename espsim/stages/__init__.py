"""The batch path's stages: thin functions over the columns of a `PacketBatch` and of the SAs, which call kernels.

Every stage is `stage(batch, columns)`. `WRITES` names the columns of the batch that it writes, and it writes no others.
Importing this room loads numba (half a second): do it when a command runs, never above.
"""
