"""Algorithms by name (suites.py) and the engines that run them (engine.py, one file an engine)."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
