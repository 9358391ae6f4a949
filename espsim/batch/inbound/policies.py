"""Policies: what they say of a packet that would be delivered, `reference/policies.py` row by row.

The answers of a flow are kept there, so that most rows cost a look at their inner headers. Nothing here moves, and
rows may come in any order. What came in clear is not judged: `Policies.clear` is the reference path's.
Sources: Linux __xfrm_policy_check (net/xfrm/xfrm_policy.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from espsim.batch.rule import Stage
from espsim.core.batch import PacketBatch
from espsim.core.numbers import DELIVERED, OWN
from espsim.core.verdict import Verdict
from espsim.sad.association import SecurityAssociation

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns


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
        """A packet that was opened under `path`, and came with `mark` (None: marks are not asked)."""


def police(batch: PacketBatch, columns: SadColumns) -> None:
    """NO_POLICY, TEMPLATE, BLOCKED or TEMPLATES for delivered rows that the policies refuse."""
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
