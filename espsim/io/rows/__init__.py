"""Captures in an arena as rows of columns, and back: what `io/pcap.py` and `io/pcapng.py` do, compiled."""

from espsim.jit import sources

sources.remember()  # before any module of this room is read
