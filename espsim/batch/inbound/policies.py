"""Policies: the SPD judges every packet that would be delivered. It gives NO_POLICY, TEMPLATE, BLOCKED and TEMPLATES.

reference/policies.py judges row by row and keeps the answers of each flow, so that most rows cost a look at their inner
headers. No state changes, so rows may come in any order.

What this does not do: it judges no packet that came in clear (`decap --clear` runs the reference path), and none that
this host sent.
Sources: Linux __xfrm_policy_check (net/xfrm/xfrm_policy.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from espsim.batch.stages import Stage
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, OWN
from espsim.core.verdict import Verdict
from espsim.sad.association import SecurityAssociation

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns


class _Judged(Protocol):
    """What the policies say of a packet."""

    @property
    def verdict(self) -> Verdict:
        """DELIVERED: it may pass."""


class PolicyJudge(Protocol):
    """`espsim.reference.policies.Policies`."""

    def as_opened(self, sa: SecurityAssociation, next_header: int) -> SecurityAssociation:
        """An SA with the mode in which it opened a packet."""

    def judge(self, packet: bytes, path: Sequence[SecurityAssociation], mark: int | None) -> _Judged:
        """Judge a packet that was opened under `path` and came with `mark` (None: marks are not compared)."""


def police(batch: InboundBatch, columns: InboundColumns) -> None:
    """A verdict for rows without one that the policies refuse."""
    policies = columns.policies
    if policies is None:
        return
    rows = np.flatnonzero((batch.verdict == DELIVERED) & (batch.flags & OWN == 0))
    memory, entries = memoryview(batch.arena), columns.entries
    facts = (batch.sa_index, batch.next_header, batch.mark, batch.inner_at, batch.inner_length)
    for row, sa, following, mark, at, size in zip(
        rows.tolist(), *(column[rows].tolist() for column in facts), strict=True
    ):  # fmt: skip
        path = (policies.as_opened(entries[sa].sa, following),)
        judged = policies.judge(bytes(memory[at : at + size]), path, None if columns.any_mark else mark)
        if judged.verdict != DELIVERED:
            batch.verdict[row] = judged.verdict


STAGE = Stage("policies", police)
