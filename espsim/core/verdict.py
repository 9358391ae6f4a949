"""The closed lists of answers: what happened to a packet, and what a modelled device did with it.

`Verdict` follows the order of Linux's xfrm_input (net/xfrm/xfrm_input.c). Each inbound verdict names the counter of
/proc/net/xfrm_stat that moves with it; `REPLAY` is told apart into duplicate, too old and zero, because Linux counts
the three differently on the SA (`stats.replay`, `stats.replay_window`, nothing).
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """What happened to one inbound packet, and why. `counter` is Linux's name, None where none moves."""

    counter: str | None
    sentence: str

    def __new__(cls, value: int, counter: str | None, sentence: str) -> Verdict:
        self = int.__new__(cls, value)
        self._value_ = value
        self.counter = counter
        self.sentence = sentence
        return self

    DELIVERED = 0, None, "opened, accepted, handed on"
    HEADER = 1, "XfrmInHdrError", "SPI and sequence number cannot be read"
    FRAGMENT = 2, None, "an outer fragment that nobody reassembled (RFC 4303 3.4.1)"
    NO_SA = 3, "XfrmInNoStates", "lookup found nothing"
    SA_LARVAL = 4, "XfrmAcquireError", "the SA found is larval: it has no keys yet"
    SA_INVALID = 5, "XfrmInStateInvalid", "the SA found is expired or dead"
    DIRECTION = 6, "XfrmInStateDirError", "an outbound SA was found for an inbound packet"
    ENCAP_MISMATCH = 7, "XfrmInStateMismatch", "UDP encapsulation differs from the SA's"
    REPLAY_DUPLICATE = 8, "XfrmInStateSeqError", "the window has seen this sequence number"
    REPLAY_TOO_OLD = 9, "XfrmInStateSeqError", "the sequence number is left of the window"
    REPLAY_ZERO = 10, "XfrmInStateSeqError", "sequence number 0 is never sent"
    EXPIRED = 11, "XfrmInStateExpired", "the SA's hard lifetime is used up"
    TRUNCATED = 12, "XfrmInStateProtoError", "no room for IV and ICV, or not whole blocks"
    INTEGRITY = 13, "XfrmInStateProtoError", "the ICV is wrong"
    TRAILER = 14, "XfrmInStateProtoError", "pad length too long, nothing inside, or a dummy packet"
    MODE = 15, "XfrmInStateModeError", "the inner packet does not fit the SA's mode"
    POLICY = 16, "XfrmInStateMismatch", "the SA's selector refuses the inner packet"


REPLAY_VERDICTS = frozenset({Verdict.REPLAY_DUPLICATE, Verdict.REPLAY_TOO_OLD, Verdict.REPLAY_ZERO})


class OutVerdict(IntEnum):
    """What happened to one outbound packet. `counter` is Linux's name, None where none moves."""

    counter: str | None
    sentence: str

    def __new__(cls, value: int, counter: str | None, sentence: str) -> OutVerdict:
        self = int.__new__(cls, value)
        self._value_ = value
        self.counter = counter
        self.sentence = sentence
        return self

    SEALED = 0, None, "sealed and sent"
    NO_SA = 1, "XfrmOutNoStates", "no outbound SA takes this packet"
    STATE_INVALID = 2, "XfrmOutStateInvalid", "the SA is larval, expired or dead"
    EXPIRED = 3, "XfrmOutStateExpired", "the SA's hard lifetime is used up"
    SEQ_OVERFLOW = 4, "XfrmOutStateSeqError", "the sequence number would repeat (EOVERFLOW)"
    FRAGMENT = 5, "XfrmOutStateModeError", "transport mode takes whole datagrams only (RFC 4303 3.3.4)"
    TOO_BIG = 6, "XfrmOutStateModeError", "the sealed packet would exceed 65535 bytes"


class DeviceOutcome(IntEnum):
    """What the modelled device did with one ESP packet. The software lookup beside it says which SA was right."""

    sentence: str

    def __new__(cls, value: int, sentence: str) -> DeviceOutcome:
        self = int.__new__(cls, value)
        self._value_ = value
        self.sentence = sentence
        return self

    HIT = 0, "the device used the packet's own SA"
    MISS = 1, "the device left the packet to software"
    WRONG_SA = 2, "the device used another SA's context"
    SHADOWED = 3, "the packet's SA is in the table, but an equal key of another SA answered first"
    EMPTY_SLOT = 4, "the packet was steered to a slot that holds no SA"
    SA_MISMATCH = 5, "the device's check after the hit refused the SA it found"
    DROPPED = 6, "the device dropped the packet because its lookup found nothing"


class Surfacing(IntEnum):
    """How a failure on the device's path comes to light."""

    sentence: str

    def __new__(cls, value: int, sentence: str) -> Surfacing:
        self = int.__new__(cls, value)
        self._value_ = value
        self.sentence = sentence
        return self

    NONE = 0, "nothing failed"
    COUNTED = 1, "counted by the host"
    FLAGGED = 2, "flagged to the host with the packet"
    DEVICE_DROP = 3, "dropped in the device; only its own counter moves"
    SILENT = 4, "marked good: nothing says that it failed"
