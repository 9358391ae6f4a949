"""The modelled device over columns: `offload/` for whole batches, and the inbound path with it (`order.py`)."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
