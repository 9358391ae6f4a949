"""Inbound packets, one file a step. Begin with `order.py`, which lists the steps in their order."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
