"""Takes captures through the batch path in bounded memory: pieces, workers, counts. Begin with `capture.py`."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
