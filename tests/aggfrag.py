"""AGGFRAG payloads made by hand (RFC 9347 6.1): nothing here uses espsim's own code for them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.support import ipv4, ipv6, udp


def payload(blocks: bytes, offset: int = 0, *, sub_type: int = 0, flags: int = 0) -> bytes:
    """A header, and data blocks as they are."""
    header = struct.pack("!BBH", sub_type, flags, min(offset, 0xFFFF))
    return header + (bytes(20) if sub_type == 1 else b"") + blocks


def cut(inners: Sequence[bytes], sizes: Sequence[int], *, sub_type: int = 0) -> list[tuple[bytes, set[int]]]:
    """Inner packets back to back, cut after `sizes` bytes in turn, and which of them each payload has a part of."""
    stream = b"".join(inners)
    starts = [sum(map(len, inners[:n])) for n in range(len(inners))]
    ends = [start + len(inner) for start, inner in zip(starts, inners, strict=True)]
    found, at, turn = [], 0, 0
    while at < len(stream):
        size = min(sizes[turn % len(sizes)], len(stream) - at)
        turn += 1
        offset = min(start - at for start in [*starts, len(stream)] if start >= at)
        parts = {n for n in range(len(inners)) if starts[n] < at + size and ends[n] > at}
        found.append((payload(stream[at : at + size], offset, sub_type=sub_type), parts))
        at += size
    return found


INNERS = st.lists(
    st.one_of(
        st.builds(lambda n, body: ipv4(udp(bytes(body), n, 9)), st.integers(1, 999), st.integers(0, 90)),
        st.builds(lambda n, body: ipv6(udp(bytes(body), n, 9)), st.integers(1, 999), st.integers(0, 90)),
        st.builds(lambda n: ipv4(b"", ident=n), st.integers(0, 999)),
    ),
    min_size=1, max_size=8, unique=True,
)  # fmt: skip
"""Different inner packets of both families."""
