"""A namespace as plain values (what JSON can hold) and back: everything that decides what it answers next.

Messages that nobody has read yet are not kept. Keys are: whoever writes these values down has to guard them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from espsim.aead.suites import Algorithm
from espsim.sad.association import (
    Direction,
    Encap,
    Lifetime,
    Limits,
    Mark,
    Mode,
    Offload,
    ReplayState,
    SecurityAssociation,
    Selector,
)  # fmt: skip
from espsim.sad.entry import SadEntry, SaStats, State
from espsim.sad.kernel import KernelHang
from espsim.sad.netns import Netns
from espsim.sad.spd import Policy, Template
from espsim.sad.tables import pack_tables, unpack_tables

_CLASSES: dict[str, Any] = {
    c.__name__: c
    for c in (
        Algorithm, Encap, Lifetime, Limits, Mark, Offload, Policy, ReplayState, SecurityAssociation, Selector, SaStats,
        Template,
    )
}  # fmt: skip
_ENUMS: dict[str, type[Enum]] = {e.__name__: e for e in (Direction, Mode, State)}
_KEPT = ("sa_index", "sa", "state", "oseq", "bytes", "packets", "added", "used", "stats", "seq", "af", "odd_mode",
         "bmp_len", "dying", "hard_add", "renewed", "tunnel_users")  # fmt: skip


def kernel_name(netns: Netns) -> str:
    """What `Netns` was made with: a kernel's name where its policy is that kernel's own, else the policy's."""
    kernel = netns.kernel
    return kernel.name if kernel.policy == netns.sad.policy.name else netns.sad.policy.name


def pack(netns: Netns) -> dict[str, Any]:
    """The namespace as plain values."""
    sad, spd = netns.sad, netns.spd
    version, internal, gauss = sad._rng.getstate()
    linked = {spi: list(entries) for spi, entries in sad._by_spi.items() if len(entries) > 1}
    return {
        "kernel": kernel_name(netns),
        "options": sorted(netns.options),
        "now": netns.now,
        "counters": dict(netns.counters),
        "listening": netns.listening,
        "sysctl": dict(netns.sysctl),
        "acquire_seq": netns._acquire_seq,
        "hung": None if netns._hung is None else str(netns._hung),
        "random": [version, list(internal), gauss],
        "next_index": sad._next_index,
        "zeros_linked": sorted(sad._zeros_linked),
        "looped": sad._looped,
        "linked": [[spi, order] for spi, order in linked.items()],
        **pack_tables(sad),
        "tunnels": [[entry.sa_index, entry.tunnel.sa_index] for entry in sad if entry.tunnel is not None],
        "tunnel_spi": sad.tunnel_spi,
        "states": [_entry(entry) for entry in sad],
        "policies": [_plain(policy) for policy in spd],
        "generator": spd._generator,
        "defaults": dict(spd.defaults),
        "thresholds": [[family, *lengths] for family, lengths in spd.thresholds.items()],
        "policy_buckets": [spd.buckets, dict(spd._by_dst)],
    }


def unpack(
    values: Mapping[str, Any],
    *,
    kernel: str | None = None,
    options: Collection[str] | None = None,
    seed: int | None = None,
) -> Netns:
    """The namespace of such values; `kernel`, `options` and `seed` put others in the place of its own.

    Raises ValueError, TypeError, KeyError, AttributeError or InputError where the values are no namespace's.
    """
    netns = Netns(kernel or values["kernel"], options=options or values["options"], seed=seed or 0)
    sad = netns.sad
    if seed is None:
        version, internal, gauss = values["random"]
        sad._rng.setstate((version, tuple(internal), gauss))
    for name, value in values["sysctl"].items():
        netns.set_sysctl(name, value)
    netns.now = float(values["now"])
    netns.counters.update(values["counters"])
    netns.listening = bool(values["listening"])
    netns._acquire_seq = values["acquire_seq"]
    buckets, sad.buckets = sad.buckets, None  # the states came in another order than that of their chains
    for state in values["states"]:
        entry = _restored(netns, state)
        sad.insert(entry)
        netns._timers.watch(entry)
    sad.buckets = buckets
    _relink(netns, values["linked"])
    unpack_tables(sad, values)
    for index, tunnel in values["tunnels"]:
        sad._entries[index].tunnel = sad._entries[tunnel]
    sad.tunnel_spi = int(values["tunnel_spi"])
    sad._next_index = values["next_index"]
    sad._zeros_linked = set(values["zeros_linked"])
    sad._looped = bool(values["looped"])
    netns.spd._policies = [_value(policy) for policy in values["policies"]]
    netns.spd._generator = values["generator"]
    netns.spd.defaults = dict(values["defaults"])
    netns.spd.thresholds = {family: (local, remote) for family, local, remote in values["thresholds"]}
    netns.spd.buckets, netns.spd._by_dst = values["policy_buckets"]
    if values["hung"] is not None:
        netns._hung = KernelHang(values["hung"])
    return netns


def _relink(netns: Netns, linked: list[list[Any]]) -> None:
    """Which state of an SPI is found first by the SPI alone depends on when it got it, not on when it came."""
    for spi, order in linked:
        entries = netns.sad._by_spi[spi]
        netns.sad._by_spi[spi] = {index: entries[index] for index in order}


def _entry(entry: SadEntry) -> dict[str, Any]:
    kept = {name: _plain(getattr(entry, name)) for name in _KEPT}
    window = entry.window
    kept["window"] = {
        "size": window.size, "esn": window.esn, "top": window.top, "seen": window.bitmap_from_top(),
        "resume": window.resume,
    }  # fmt: skip
    return kept


def _restored(netns: Netns, kept: Mapping[str, Any]) -> SadEntry:
    values = {name: _value(kept[name]) for name in _KEPT}
    sa: SecurityAssociation = values["sa"]
    stored = kept["window"]
    window = netns.sad.window_of(
        sa, values["bmp_len"], top=stored["top"], bitmap=stored["seen"], resume=stored["resume"]
    )
    transform = netns.sad.engine.transform(sa.keys) if sa.keys is not None else None
    return SadEntry(window=window, transform=transform, **values)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return {"class": type(value).__name__, "fields": {name: _plain(item) for name, item in fields.items()}}
    return value


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if "hex" in plain:
        return bytes.fromhex(plain["hex"])
    if "enum" in plain:
        return _ENUMS[plain["enum"]](plain["value"])
    if "set" in plain:
        return frozenset(plain["set"])
    return _CLASSES[plain["class"]](**{name: _value(item) for name, item in plain["fields"].items()})
