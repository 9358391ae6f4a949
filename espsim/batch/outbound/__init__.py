"""What happens to packets that leave, a file a step; `order.py` says in which order."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
