"""Captures through the batch path in bounded memory: pieces, workers, counts of a run."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
