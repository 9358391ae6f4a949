"""The closed lists of answers: what happened to a packet, and what a modelled device did with it.

`Verdict` follows the order of Linux's xfrm_input (net/xfrm/xfrm_input.c). Each inbound verdict names the counter of
/proc/net/xfrm_stat that moves with it; `REPLAY` is split into duplicate, too old and zero, because Linux counts
the three differently on the SA (`stats.replay`, `stats.replay_window`, nothing).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class _Answer(IntEnum):
    """A numbered answer with its sentence, and the Linux counter (/proc/net/xfrm_stat) that moves with it, if any."""

    sentence: str
    counter: str | None

    def __new__(cls, value: int, sentence: str, counter: str | None = None) -> Self:
        """`NAME = value, sentence, counter`."""
        self = int.__new__(cls, value)
        self._value_ = value
        self.sentence = sentence
        self.counter = counter
        return self


class Verdict(_Answer):
    """What happened to one inbound packet, and why. `counter` is Linux's name, None where none moves."""

    DELIVERED = 0, "opened, accepted, handed on"
    HEADER = 1, "SPI and sequence number cannot be read", "XfrmInHdrError"
    FRAGMENT = 2, "an outer datagram that was never completed, or fragments stay apart (RFC 4303 3.4.1)"
    NO_SA = 3, "lookup found nothing", "XfrmInNoStates"
    SA_LARVAL = 4, "the SA found is larval: it has no keys yet", "XfrmAcquireError"
    SA_INVALID = 5, "the SA found is expired or dead", "XfrmInStateInvalid"
    DIRECTION = 6, "an outbound SA was found for an inbound packet", "XfrmInStateDirError"
    ENCAP_MISMATCH = 7, "UDP encapsulation differs from the SA's", "XfrmInStateMismatch"
    REPLAY_DUPLICATE = 8, "the window has seen this sequence number", "XfrmInStateSeqError"
    REPLAY_TOO_OLD = 9, "the sequence number is left of the window", "XfrmInStateSeqError"
    REPLAY_ZERO = 10, "sequence number 0 is never sent", "XfrmInStateSeqError"
    EXPIRED = 11, "the SA's hard lifetime is used up", "XfrmInStateExpired"
    TRUNCATED = 12, "no room for IV and ICV, or not whole blocks", "XfrmInStateProtoError"
    INTEGRITY = 13, "the ICV is wrong", "XfrmInStateProtoError"
    TRAILER = 14, "pad length too long, nothing inside, or a dummy packet", "XfrmInStateProtoError"
    MODE = 15, "the inner packet does not fit the SA's mode", "XfrmInStateModeError"
    POLICY = 16, "the SA's selector refuses the inner packet", "XfrmInStateMismatch"
    SENT = 17, "this host sent it (a capture shows both directions): opened, no window checked"
    NO_POLICY = 18, "no policy takes the inner packet, and it needs one", "XfrmInNoPols"
    TEMPLATE = 19, "the policy wants other SAs than those the packet came under", "XfrmInTmplMismatch"
    BLOCKED = 20, "a policy blocks the inner packet", "XfrmInPolBlock"
    TEMPLATES = 21, "the policy has 6 templates, which Linux installs and cannot check", "XfrmInBufferError"
    IPTFS_BUFFER = 22, "IP-TFS: the header is cut short, or a data block is of no known kind", "XfrmInBufferError"
    IPTFS_HEADER = 23, "IP-TFS: sub-type or flags are not known, or an inner IPv4 length is wrong", "XfrmInHdrError"
    IPTFS_LOST = 24, "IP-TFS: the rest of an inner packet is missing; what follows it is delivered", "XfrmInIptfsError"
    IPTFS_LATE = 25, "IP-TFS: the reorder window has moved past this packet (Linux counts nothing)"
    DEPTH = 26, "ESP in ESP, more than six SAs deep (XFRM_MAX_DEPTH)", "XfrmInBufferError"
    ECN = (
        27,
        "the outer header marks congestion, the inner packet is without ECN (RFC 6040 4.2; Linux delivers it)",
    )


DELIVERED = Verdict.DELIVERED
"""Steps that every packet takes use this name: Python 3.11 needs 0.1 us to look `Verdict.DELIVERED` up."""
PASSED = frozenset({Verdict.DELIVERED, Verdict.SENT})
"""Verdicts of packets whose inner packet is handed on."""
POLICED = frozenset({Verdict.NO_POLICY, Verdict.TEMPLATE, Verdict.BLOCKED, Verdict.TEMPLATES})
"""Verdicts of the policies after decapsulation: the ICV was right, the window has moved, the SA has counted."""
IPTFS_VERDICTS = frozenset({Verdict.IPTFS_BUFFER, Verdict.IPTFS_HEADER, Verdict.IPTFS_LOST, Verdict.IPTFS_LATE})
"""Verdicts of authentic packets whose AGGFRAG payload could not be used, or not all of it."""
REPLAY_VERDICTS = frozenset({Verdict.REPLAY_DUPLICATE, Verdict.REPLAY_TOO_OLD, Verdict.REPLAY_ZERO})


class OutboundVerdict(_Answer):
    """What happened to one outbound packet. `counter` is Linux's name, None where none moves."""

    SEALED = 0, "sealed and sent"
    NO_SA = 1, "no outbound SA takes this packet", "XfrmOutNoStates"
    STATE_INVALID = (
        2,
        "the SA is larval, expired or dead, or of a mode or encapsulation not made here",
        "XfrmOutStateInvalid",
    )
    EXPIRED = 3, "the SA's hard lifetime is used up", "XfrmOutStateExpired"
    SEQ_OVERFLOW = 4, "the sequence number would repeat (EOVERFLOW)", "XfrmOutStateSeqError"
    FRAGMENT = 5, "transport and BEET mode take whole, intact datagrams only (RFC 4303 3.3.4)", "XfrmOutStateModeError"
    TOO_BIG = 6, "the sealed packet would exceed 65535 bytes", "XfrmOutStateModeError"
    PMTU = 7, "more than fits the MTU, with DF set (EMSGSIZE)", "XfrmOutStateModeError"
    PMTU_SENDER = 8, "more than fits the MTU: the sender gets an error first (EMSGSIZE, ICMPv6 packet too big)"
    IPTFS_TOO_BIG = 9, "IP-TFS: larger than a payload, and the SA cuts none (dont-frag), or has no room", "XfrmOutError"
    IPTFS_QUEUE = 10, "IP-TFS: the queue is full (max-queue-size)", "XfrmOutNoQueueSpace"


class DeviceOutcome(_Answer):
    """What the modelled device did with one ESP packet. The software lookup beside it says which SA was right."""

    HIT = 0, "the device used the packet's own SA"
    MISS = 1, "the device left the packet to software"
    WRONG_SA = 2, "the device used another SA's context"
    SHADOWED = 3, "the packet's SA is in the table, but an equal key of another SA answered first"
    EMPTY_SLOT = 4, "the packet was steered to a slot that holds no SA"
    SA_MISMATCH = 5, "the device's check after the hit refused the SA it found"
    DROPPED = 6, "the device dropped the packet because its lookup found nothing"


class Surfacing(_Answer):
    """How a failure on the device's path comes to light."""

    NONE = 0, "nothing failed"
    COUNTED = 1, "counted by the host"
    FLAGGED = 2, "flagged to the host with the packet"
    DEVICE_DROP = 3, "dropped in the device; only its own counter moves"
    SILENT = 4, "marked good: nothing says that it failed"
