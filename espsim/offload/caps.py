"""Which SAs a driver takes: [caps] applied to one SA, in the order in which Linux's drivers check.

An SA with an offload line is judged by the rules of its mode, crypto or packet. The answer names the limit that was
violated, in a sentence that all SAs refused for this reason share. A capability that is "unknown" stops the run only
where the SA needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from espsim.aead.suites import SuiteKeys
from espsim.core.errors import UnknownReached
from espsim.core.numbers import PROTO_ESP
from espsim.offload.assume import what_is_needed
from espsim.offload.model import Model
from espsim.offload.schema import UNKNOWN, AlgorithmSpec, Replay, Unknown
from espsim.sad.association import Direction, Encap, SecurityAssociation

_T = TypeVar("_T")


class Refusal(NamedTuple):
    """Why a driver refuses an SA: one sentence for all SAs that are refused for this reason. `change`: what helps."""

    errno: str
    why: str
    change: str = ""


_NO_ENCAP = (
    "leave UDP encapsulation out where no NAT lies between (strongSwan: encap = no; libreswan: encapsulation=no)"
)

_CIPHER_NAMES = {
    "rfc4106(gcm(aes))": "aes-gcm",
    "rfc4543(gcm(aes))": "aes-gmac",
    "rfc4309(ccm(aes))": "aes-ccm",
    "rfc7539esp(chacha20,poly1305)": "chacha20-poly1305",
    "cbc(aes)": "aes-cbc",
    "cbc(des3_ede)": "3des-cbc",
    "rfc3686(ctr(aes))": "aes-ctr",
    "ecb(cipher_null)": "null",
}


def need(model: Model, key: str, value: _T | Unknown | None) -> _T:
    """A value on the exercised path. UnknownReached: it is "unknown", or the model leaves it out."""
    if value is None or value == UNKNOWN:
        raise UnknownReached(model.id, key, *what_is_needed(model.spec.assume, key))
    return value


def mode_of(sa: SecurityAssociation) -> str:
    """`crypto` or `packet`, as the SA's offload line says; "" without one."""
    if sa.offload is None:
        return ""
    return "packet" if sa.offload.packet else "crypto"


def stays_in_software(sa: SecurityAssociation, errno: str) -> bool:
    """Whether the host still has an SA that its driver refused with this errno (xfrm_device.c, xfrm_dev_state_add).

    In packet mode any error refuses the SA itself, in crypto mode any but EOPNOTSUPP. An SA without an offload line is
    only tried in the model: it is in software anyway.
    """
    return sa.offload is None or (errno == "EOPNOTSUPP" and not sa.offload.packet)


def refusal(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """Why the driver does not take an inbound SA, or None: it does. Judged by the rules of the SA's offload mode."""
    checks: tuple[Callable[[Model, SecurityAssociation], Refusal | None], ...] = (
        _direction, _offload_mode, _mode, _encap, _esn, _reqid, _window, _algorithm,
    )  # fmt: skip
    for check in checks:
        refused = check(model, sa)
        if refused is not None:
            return refused
    return None


def shape_of(sa: SecurityAssociation) -> object | None:
    """The facts of an SA that decide `refusal`, as a cache key; None with encapsulation, where these are too many."""
    if sa.encap is not None:
        return None
    keys = sa.keys
    suite = (keys.suite.name, len(keys.key), keys.icv_length) if keys is not None else None
    outbound = sa.direction is Direction.OUT
    return sa.proto, sa.mode.value, outbound, sa.window, sa.esn, suite, not sa.reqid, mode_of(sa)


def _stated(model: Model, sa: SecurityAssociation, name: str) -> tuple[str, Any]:
    """(dotted key, value) of a capability: of the SA's offload mode where the model states one, else of all modes."""
    caps, mode = model.spec.caps, mode_of(sa)
    table = getattr(caps, mode) if mode else None
    value = getattr(table, name, None)
    return (f"caps.{mode}.{name}", value) if value is not None else (f"caps.{name}", getattr(caps, name))


def _in_mode(sa: SecurityAssociation) -> str:
    mode = mode_of(sa)
    return f" in {mode} mode" if mode else ""


def _direction(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if "in" not in need(model, "caps.dirs", model.spec.caps.dirs):
        what = "nothing makes this driver take inbound SAs: a driver that does, or none, as now"
        return Refusal("EOPNOTSUPP", "the driver offloads no inbound SAs", what)
    if sa.direction is Direction.OUT:
        return Refusal("EINVAL", "an outbound SA has no place in the inbound table")
    if sa.proto != PROTO_ESP or sa.keys is None:
        return Refusal("EINVAL", "only ESP SAs with keys are offloaded")
    return None


def _offload_mode(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """Software and lookaside devices don't look at the mode; `protocol`, a device that does all of ESP, takes both."""
    mode = mode_of(sa)
    if not mode:
        return None
    taken = need(model, "caps.offload", model.spec.caps.offload)
    if not taken or mode in taken or "protocol" in taken or "lookaside" in taken:
        return None
    other = "packet" if mode == "crypto" else "crypto"
    change = f"say `offload {other} dev DEV` for these SAs" if other in taken else "load these SAs without `offload`"
    return Refusal("EINVAL", f"{mode} offload is not taken, only {_list(taken)}", change)


def _mode(model: Model, sa: SecurityAssociation) -> Refusal | None:
    modes = need(model, *_stated(model, sa, "modes"))
    if sa.mode.value not in modes:
        why = f"mode {sa.mode.value} is not offloaded{_in_mode(sa)}, only {_list(modes)}"
        return Refusal("EINVAL", why, f"configure mode {_or(modes)} for these SAs")
    return None


def _encap(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """The sentence names no port: hundreds of peers have hundreds of ports, and one reason."""
    if sa.encap is None:
        return None
    taken = need(model, *_stated(model, sa, "encap"))
    if not _encap_kinds(sa.encap) & set(taken):
        others = " other than between ports 4500" if "udp4500" in taken and sa.encap.kind != "espintcp" else ""
        what = f"encapsulation {sa.encap.kind}{others} is not offloaded{_in_mode(sa)}"
        change = "set `encap type espinudp sport 4500 dport 4500`: no NAT that changes ports" if others else _NO_ENCAP
        return Refusal("EINVAL", f"{what}, only {_list(taken)}" if taken != ["none"] else what, change)
    key, modes = _stated(model, sa, "encap_modes")
    if modes is not None and sa.mode.value not in need(model, key, modes):
        why = f"encapsulation {sa.encap.kind} is offloaded in mode {_list(modes)} only"
        return Refusal("EINVAL", why, f"configure mode {_or(modes)} for peers with NAT between")
    return None


def _encap_kinds(encap: Encap) -> set[str]:
    if encap.kind == "espintcp":
        return {"tcp"}
    return {"udp", "udp4500"} if (encap.sport, encap.dport) == (4500, 4500) else {"udp"}


def _esn(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if sa.esn and not need(model, *_stated(model, sa, "esn")):
        why = f"extended sequence numbers are not offloaded{_in_mode(sa)}"
        return Refusal("EINVAL", why, "leave out `flag esn`: propose no ESN to these peers")
    return None


def _reqid(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if not sa.reqid and need(model, *_stated(model, sa, "reqid")):
        why = f"an SA with reqid 0 is not offloaded{_in_mode(sa)}"
        return Refusal("EINVAL", why, "set a `reqid` other than 0, the same in state and policy")
    return None


def _window(model: Model, sa: SecurityAssociation) -> Refusal | None:
    """Where nothing checks replays any window is taken: the host keeps it, or no one looks at it."""
    key, replay = _stated(model, sa, "replay")
    if sa.window == 0:
        return None
    if need(model, f"{key}.where", replay.where) == "none":
        return None
    limit = _window_limit(model, key, replay, sa.window)
    if limit is None:
        return None
    why = f"a replay window of {sa.window} is not offloaded{_in_mode(sa)}, only {limit[0]}"
    return Refusal("EINVAL", why, f"set replay-window {limit[1]}")


def _window_limit(model: Model, key: str, replay: Replay, window: int) -> tuple[str, str] | None:
    """The windows that are taken, as a limit and as advice; None where `window` is one of them.

    `key` is the table of `replay`.
    """
    if replay.windows is not None:
        windows = need(model, f"{key}.windows", replay.windows)
        if window not in windows:
            return _list(windows), _or(windows)
    if replay.pow2_min is not None or replay.pow2_max is not None:
        low = need(model, f"{key}.pow2_min", replay.pow2_min)
        high = need(model, f"{key}.pow2_max", replay.pow2_max)
        if not low <= window <= high or window & (window - 1):
            return f"powers of two from {low} to {high}", f"{low} to {high} (a power of two)"
    if replay.max is not None:
        most = need(model, f"{key}.max", replay.max)
        if window > most:
            return f"up to {most}", f"up to {most}"
    return None


def _algorithm(model: Model, sa: SecurityAssociation) -> Refusal | None:
    if model.spec.caps.offload == [] or sa.keys is None:  # software takes every suite
        return None
    name = cipher_name(sa.keys)
    key, value = _stated(model, sa, "algs")
    algorithms: list[AlgorithmSpec] = need(model, key, value)
    entries = [(f"{key}.{n}", a) for n, a in enumerate(algorithms) if a.name == name]
    if not entries:
        known = _list(dict.fromkeys(a.name for a in algorithms)) or "none"
        change = f"propose {_or(dict.fromkeys(a.name for a in algorithms))} to these peers"
        return Refusal("EINVAL", f"{name} is not offloaded, only {known}", change)
    refusals = [_lengths(model, at, a, sa.keys) for at, a in entries]
    return None if None in refusals else refusals[0]


def _lengths(model: Model, at: str, algorithm: AlgorithmSpec, keys: SuiteKeys) -> Refusal | None:
    key_bits = need(model, f"{at}.key_bits", algorithm.key_bits)
    size = 8 * len(keys.key)
    if size not in key_bits:
        why = f"{algorithm.name} with a {size}-bit key is not offloaded, only {_list(key_bits)}"
        return Refusal("EINVAL", why, f"propose {algorithm.name} with keys of {_or(key_bits)} bits to these peers")
    icv_bits = need(model, f"{at}.icv_bits", algorithm.icv_bits)
    size = 8 * keys.icv_length
    if size not in icv_bits:
        why = f"{algorithm.name} with a {size}-bit ICV is not offloaded, only {_list(icv_bits)}"
        return Refusal("EINVAL", why, f"propose {algorithm.name} with an ICV of {_or(icv_bits)} bits to these peers")
    return None


def cipher_name(keys: SuiteKeys) -> str:
    """The word of caps.algs for a suite: aes-gcm, aes-cbc+hmac, null+xcbc ..."""
    cipher, _, auth = keys.suite.name.partition("+")
    name = _CIPHER_NAMES.get(cipher, cipher)
    if auth == "hmac(md5)":  # no model has it in caps.algs
        return f"{name}+{auth}"
    return name if auth in ("", "digest_null") else f"{name}+{auth.partition('(')[0]}"


def _list(values: Sequence[object] | dict[str, None]) -> str:
    return ", ".join(map(str, values))


def _or(values: Sequence[object] | dict[str, None]) -> str:
    """A choice in words: `32, 64 or 128`."""
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last
