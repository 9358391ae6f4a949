"""What a device's answer to a packet means, and how a failure then comes to light: once, for every path and the audit.

The software lookup beside the device says which SA was the packet's own. Of the device itself only its mode is
used, and what its model says of failures: UnknownReached where that is not public.
"""

from __future__ import annotations

from espsim.core.verdict import REPLAY_VERDICTS, DeviceOutcome, Surfacing, Verdict
from espsim.offload.device import Device, Reached

_IN_DEVICE = frozenset({Verdict.INTEGRITY, Verdict.TRUNCATED, Verdict.TRAILER})
_ABSENT = {
    Reached.MISS: DeviceOutcome.DROPPED,
    Reached.EMPTY_SLOT: DeviceOutcome.EMPTY_SLOT,
    Reached.SA_MISMATCH: DeviceOutcome.SA_MISMATCH,
}


def with_context(*, own: bool, shadowed: bool) -> DeviceOutcome:
    """The device used an SA's context; `own`: the packet's own SA's."""
    return DeviceOutcome.HIT if own else DeviceOutcome.SHADOWED if shadowed else DeviceOutcome.WRONG_SA


def without_context(reached: Reached, *, software: bool) -> DeviceOutcome:
    """The device used none; `software`: the packet goes on as ordinary ESP."""
    return DeviceOutcome.MISS if software and reached is Reached.MISS else _ABSENT[reached]


def opened(device: Device, verdict: Verdict) -> tuple[Surfacing, str | None]:
    """How the verdict of a packet that used a context comes to light, and the Linux counter that moves."""
    surfacing = _surfacing(device, verdict)
    return surfacing, verdict.counter if surfacing in (Surfacing.COUNTED, Surfacing.FLAGGED) else None


def refused(device: Device, *, dropped: bool) -> tuple[Surfacing, str | None]:
    """How a packet that the device kept without a context comes to light, and the Linux counter that moves."""
    if device.mode == "":  # a model of software: what it drops, the host counts
        return Surfacing.COUNTED, Verdict.NO_SA.counter
    return Surfacing.DEVICE_DROP if dropped else Surfacing.FLAGGED, None


def _surfacing(device: Device, verdict: Verdict) -> Surfacing:
    if verdict is Verdict.DELIVERED:
        return Surfacing.NONE
    if verdict in _IN_DEVICE:
        return device.surfacing("integrity")
    if verdict in REPLAY_VERDICTS and device.replay_checked_by == "device":
        return device.surfacing("replay")
    return Surfacing.COUNTED
