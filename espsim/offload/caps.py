"""Which SAs a driver takes: [caps] asked about one SA, in the order in which Linux's drivers ask.

The answer names the limit that was violated. A capability that is "unknown" stops the run only where the SA needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from espsim.aead.suites import SuiteKeys
from espsim.core.errors import UnknownReached
from espsim.offload.model import Model, split
from espsim.offload.schema import UNKNOWN, Algorithm, Replay, Unknown, legal
from espsim.sad.association import PROTO_ESP, Direction, Encap, SecurityAssociation

_T = TypeVar("_T")
Refusal = tuple[str, str]
"""(errno, sentence)."""

_CIPHER_NAMES = {
    "rfc4106(gcm(aes))": "aes-gcm",
    "rfc4543(gcm(aes))": "aes-gmac",
    "rfc4309(ccm(aes))": "aes-ccm",
    "rfc7539esp(chacha20,poly1305)": "chacha20-poly1305",
    "cbc(aes)": "aes-cbc",
    "ecb(cipher_null)": "null",
}


def need(model: Model, key: str, value: _T | Unknown | None) -> _T:
    """A value on the exercised path. UnknownReached: it is "unknown", or the model leaves it out."""
    if value is None or value == UNKNOWN:
        raise UnknownReached(model.id, key, legal(split(key)).removesuffix(", unknown"))
    return value


def refusal(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """Why the driver does not take an inbound SA, or None: it does."""
    checks: tuple[Callable[[Model, SecurityAssociation], Refusal | None], ...] = (
        _direction, _mode, _encap, _esn, _window, _algorithm,
    )  # fmt: skip
    for check in checks:
        refused = check(model, sa)
        if refused is not None:
            return refused
    return None


def shape_of(sa: SecurityAssociation) -> object | None:
    """What of an SA decides `refusal`, to be remembered by; None with encapsulation, where there is too much of it."""
    if sa.encap is not None:
        return None
    keys = sa.keys
    suite = (keys.suite.name, len(keys.key), keys.icv_length) if keys is not None else None
    return sa.proto, sa.mode.value, sa.dir is Direction.OUT, sa.window, sa.esn, suite


def _direction(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if "in" not in need(model, "caps.dirs", model.spec.caps.dirs):
        return "EOPNOTSUPP", "the driver offloads no inbound SAs"
    if sa.dir is Direction.OUT:
        return "EINVAL", "an outbound SA has no place in the inbound table"
    if sa.proto != PROTO_ESP or sa.keys is None:
        return "EINVAL", "only ESP SAs with keys are offloaded"
    return None


def _mode(model: Model, sa: SecurityAssociation) -> Refusal | None:
    modes = need(model, "caps.modes", model.spec.caps.modes)
    if sa.mode.value not in modes:
        return "EINVAL", f"mode {sa.mode.value} is not offloaded, only {_list(modes)}"
    return None


def _encap(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if sa.encap is None:
        return None
    caps = model.spec.caps
    taken = need(model, "caps.encap", caps.encap)
    kinds = _encap_kinds(sa.encap)
    if not kinds & set(taken):
        ports = f"{sa.encap.kind} {sa.encap.sport} {sa.encap.dport}"
        return "EINVAL", f"encapsulation {ports} is not offloaded, only {_list(taken)}"
    if caps.encap_modes is not None:
        modes = need(model, "caps.encap_modes", caps.encap_modes)
        if sa.mode.value not in modes:
            return "EINVAL", f"encapsulation is offloaded in mode {_list(modes)} only"
    return None


def _encap_kinds(encap: Encap) -> set[str]:
    if encap.kind == "espintcp":
        return {"tcp"}
    return {"udp", "udp4500"} if (encap.sport, encap.dport) == (4500, 4500) else {"udp"}


def _esn(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if sa.esn and not need(model, "caps.esn", model.spec.caps.esn):
        return "EINVAL", "extended sequence numbers are not offloaded"
    return None


def _window(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """Where nobody checks replays any window will do: it stays the host's, or is not looked at."""
    replay = model.spec.caps.replay
    if sa.window == 0:
        return None
    if need(model, "caps.replay.where", replay.where) == "none":
        return None
    limit = _window_limit(model, replay, sa.window)
    return ("EINVAL", f"a replay window of {sa.window} is not offloaded, only {limit}") if limit else None


def _window_limit(model: Model, replay: Replay, window: int) -> str | None:
    """The windows that are taken, in words, where `window` is none of them."""
    if replay.windows is not None:
        windows = need(model, "caps.replay.windows", replay.windows)
        if window not in windows:
            return _list(windows)
    if replay.pow2_min is not None or replay.pow2_max is not None:
        low = need(model, "caps.replay.pow2_min", replay.pow2_min)
        high = need(model, "caps.replay.pow2_max", replay.pow2_max)
        if not low <= window <= high or window & (window - 1):
            return f"powers of two from {low} to {high}"
    if replay.max is not None:
        most = need(model, "caps.replay.max", replay.max)
        if window > most:
            return f"up to {most}"
    return None


def _algorithm(model: Model, sa: SecurityAssociation) -> Refusal | None:
    caps = model.spec.caps
    if caps.offload == [] or sa.keys is None:  # software takes whatever suite there is
        return None
    name = cipher_name(sa.keys)
    entries = [(n, a) for n, a in enumerate(need(model, "caps.algs", caps.algs)) if a.name == name]
    if not entries:
        known = _list(dict.fromkeys(a.name for a in need(model, "caps.algs", caps.algs))) or "none"
        return "EINVAL", f"{name} is not offloaded, only {known}"
    refusals = [_lengths(model, n, a, sa.keys) for n, a in entries]
    return None if None in refusals else refusals[0]


def _lengths(model: Model, n: int, algorithm: Algorithm, keys: SuiteKeys) -> Refusal | None:
    key_bits = need(model, f"caps.algs.{n}.key_bits", algorithm.key_bits)
    size = 8 * len(keys.key)
    if size not in key_bits:
        return "EINVAL", f"{algorithm.name} with a {size}-bit key is not offloaded, only {_list(key_bits)}"
    icv_bits = need(model, f"caps.algs.{n}.icv_bits", algorithm.icv_bits)
    size = 8 * keys.icv_length
    if size not in icv_bits:
        return "EINVAL", f"{algorithm.name} with a {size}-bit ICV is not offloaded, only {_list(icv_bits)}"
    return None


def cipher_name(keys: SuiteKeys) -> str:
    """The word of caps.algs for a suite: aes-gcm, aes-cbc+hmac, null+hmac ..."""
    cipher, _, auth = keys.suite.name.partition("+")
    name = _CIPHER_NAMES.get(cipher, cipher)
    return f"{name}+hmac" if auth.startswith("hmac") else name


def _list(values: Sequence[object] | dict[str, None]) -> str:
    return ", ".join(map(str, values))
