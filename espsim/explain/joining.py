"""Makes what puts a capture's outer fragments and TCP streams together for an inbound path."""

from __future__ import annotations

from espsim.io.fragments import Joiner
from espsim.io.tcp import streams_of
from espsim.reference.inbound import Inbound
from espsim.reference.layers import judge


def joiner_for(inbound: Inbound, *, reassemble: bool = True) -> Joiner:
    """The joiner of a path. `reassemble` False: fragments stay apart. A modelled device reads no TCP stream."""
    streams = None if inbound.modelled else streams_of(inbound.sad)
    return Joiner(judge(inbound.ports), reassembles=reassemble, streams=streams)
