"""Hard and soft limits, checked before the current packet is counted (xfrm_state_check_expire)."""

from __future__ import annotations

from espsim.sad.association import Limits


def hard_limit_reached(limits: Limits, packets: int, bytes_: int) -> bool:
    """Whether the next packet must not pass: with hard_packets 3 three pass and the fourth does not."""
    return (limits.hard_packets is not None and packets >= limits.hard_packets) or (
        limits.hard_bytes is not None and bytes_ >= limits.hard_bytes
    )


def soft_limit_reached(limits: Limits, packets: int, bytes_: int) -> bool:
    """Whether a soft limit is met: a warning to the key manager, before the next packet."""
    return (limits.soft_packets is not None and packets >= limits.soft_packets) or (
        limits.soft_bytes is not None and bytes_ >= limits.soft_bytes
    )


def hard_time_passed(limits: Limits, now: float, added: float, used: float | None) -> bool:
    """Whether the SA's time is over at `now` (seconds; xfrm_timer_handler): since it was added, or since first used."""
    if limits.hard_add is not None and now - added >= limits.hard_add:
        return True
    return limits.hard_use is not None and used is not None and now - used >= limits.hard_use
