"""kernels.trailer against wire.esp."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.batch.inbound.trailer import judge_trailers
from espsim.core.numbers import PROTO_NONE
from espsim.core.verdict import Verdict
from espsim.wire import esp
from tests.equivalence.kernel_settings import quick

PLAINTEXTS = (
    st.binary(max_size=12)
    | st.builds(
        lambda n, pad: bytes(n) + bytes(range(1, pad + 1)) + bytes((pad, 4)), st.integers(0, 9), st.integers(0, 255)
    )
    | st.builds(
        lambda n, pad, nh: bytes(n) + bytes((pad, nh)),
        st.integers(0, 300),
        st.integers(0, 255),
        st.sampled_from([4, 41, 59]),
    )
)


@quick
@given(st.lists(st.tuples(PLAINTEXTS, st.sampled_from([0, 0, 0, Verdict.INTEGRITY])), max_size=20))
@example([(bytes((0, 4)), 0), (bytes((1, 0, 4)), 0), (bytes((7, 0, 4)), 0), (b"", 0), (b"\0", 0)])
def test_trailer(rows):
    arena = np.frombuffer(b"".join(text for text, _ in rows), np.uint8)
    length = np.array([len(text) for text, _ in rows], np.int32)
    offset = np.cumsum(length, dtype=np.int64) - length
    opened = np.array([verdict for _, verdict in rows], np.uint8)
    payload = np.full(len(rows), 7, np.int32)
    pad, next_header, odd = (np.full(len(rows), 7, np.uint8) for _ in range(3))
    judge_trailers(arena, offset, length, opened, payload, pad, next_header, odd)
    for n, (text, verdict) in enumerate(rows):
        split = esp.parse_trailer(text)
        if verdict or split is None or split[1] == PROTO_NONE:
            assert opened[n] == (verdict or Verdict.TRAILER)
            assert (payload[n], pad[n], next_header[n], odd[n]) == (0, 0, 0, 0)
        else:
            assert opened[n] == 0
            assert (payload[n], pad[n], next_header[n]) == (split[0], text[-2], split[1])
            assert odd[n] == esp.odd_padding(text, split[0])
