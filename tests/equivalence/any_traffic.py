"""What the strategies for packets share, whether they test one kernel or a whole path."""

from __future__ import annotations

from hypothesis import strategies as st

from espsim.sad.association import Limits
from tests.support import extension, fragment_header

LATE_LIMITS = st.one_of(
    st.builds(lambda n, soft: Limits(hard_packets=n, soft_packets=soft and n - soft), st.integers(7, 16),
              st.sampled_from([None, 1, 5])),
    st.builds(lambda n: Limits(hard_bytes=n), st.integers(500, 1200)),
    st.builds(lambda n: Limits(soft_bytes=n), st.integers(400, 900)),
    st.builds(lambda n: Limits(hard_add=n), st.integers(3, 8)),
    st.builds(lambda n: Limits(hard_use=n), st.integers(2, 6)),
)  # fmt: skip
"""Limits that a run meets after some batches: kernels run the SA until then, and the reference path from then on."""


@st.composite
def with_extensions(draw: st.DrawFn, proto: int, payload: bytes) -> tuple[int, bytes]:
    """Up to three extension headers of IPv6, fragment headers too, before a payload; the first header and all of it."""
    for kind in draw(st.lists(st.sampled_from([0, 43, 44, 60]), max_size=3)):
        if kind == 44:
            offset, more = draw(st.sampled_from([(0, False), (0, True), (1, False)]))
            payload = fragment_header(proto, offset, more=more) + payload
        else:
            payload = extension(proto, draw(st.sampled_from([8, 16, 24]))) + payload
        proto = kind
    return proto, payload


@st.composite
def harmed(draw: st.DrawFn, packet: bytes) -> bytes:
    """A packet with up to two bytes changed, whole or cut."""
    harm = bytearray(packet)
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(harm) - 1), st.integers(0, 255)), max_size=2)):
        harm[at] = value
    return bytes(harm[: draw(st.sampled_from([None, None, None, *range(0, len(harm), 3)]))])
