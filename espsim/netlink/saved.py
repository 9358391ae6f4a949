"""A namespace as plain values (what JSON can hold) and back: everything that its next answers depend on.

The values have keys in them, so guard them as keys.

`unpack` trusts nothing: every field has its type and range (plain.py), and fields that belong together must agree. The
namespace that it makes answers as the one that was packed.

What this does not do: messages that no one has read yet, and packets that wait (fragments, IP-TFS), are not kept.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping
from typing import Any

from espsim.core.address import AF_INET, AF_INET6
from espsim.core.errors import InputError
from espsim.netlink import tables
from espsim.netlink.netns import Netns
from espsim.netlink.plain import a_list, a_pair, fields_of, number, plain_of, seconds, text, truth, value_of, wrong
from espsim.netlink.spd import Policy
from espsim.netlink.verify import MAX_ESN_WORDS
from espsim.sad.association import MOBILITY, SecurityAssociation
from espsim.sad.entry import SadEntry, SaStats, State
from espsim.sad.linux import KernelHang, choose
from espsim.sad.window import Window

_WHOLE = (
    "kernel", "options", "now", "counters", "listening", "sysctl", "acquire_seq", "hung", "random", "ivs", "masks",
    "android_resources", "next_index", "zeros_linked", "looped", *tables.NAMES, "states", "policies", "generator",
    "defaults", "thresholds", "policy_buckets", "policy_timers",
)  # fmt: skip

_KEPT: dict[str, Any] = {
    "sa_index": int, "sa": SecurityAssociation, "state": State, "oseq": int, "bytes": int, "packets": int,
    "added": float, "used": float | None, "stats": SaStats, "seq": int, "af": int,
    "odd_mode": int | None, "bmp_len": int, "dying": bool, "hard_add": int, "renewed": float, "tunnel_users": int,
    "selector_family": int, "mapped": float,
}  # fmt: skip
"""The fields of a state that are kept as they are. Its window is written apart. Set-up keys are not kept: they are made
again on first use."""

_WINDOW = ("size", "esn", "top", "seen", "resume")
"""Fields of a window. Bit i of `seen` is top-i, for a ring too."""


def kernel_name(netns: Netns) -> str:
    """What `Netns` was made with: the kernel's name if the SPI rule is that kernel's own, else the SPI rule's."""
    kernel = netns.kernel
    return kernel.name if kernel.rule == netns.sad.policy.name else netns.sad.policy.name


# -- writing ----------------------------------------------------------------------------------------------------------


def pack(netns: Netns) -> dict[str, Any]:
    """The namespace as plain values."""
    sad, spd = netns.sad, netns.spd
    return {
        "kernel": kernel_name(netns),
        "options": sorted(netns.options),
        "now": netns.now,
        "counters": dict(netns.counters),
        "listening": netns.listening,
        "sysctl": dict(netns.sysctl),
        "acquire_seq": netns.acquire_seq,
        "hung": None if netns.hung is None else str(netns.hung),
        "random": _state_of(sad.rng),
        "ivs": _state_of(netns.ivs),
        "masks": [[entry.sa_index, netns.masks[entry.sa_index]] for entry in sad if entry.sa_index in netns.masks],
        "android_resources": netns.android_resources,
        "next_index": sad.index.next_index,
        "zeros_linked": sorted(sad.zeros_linked),
        "looped": sad.looped,
        **tables.pack_tables(sad),
        "states": [_entry(entry) for entry in sad],
        "policies": [plain_of(policy) for policy in spd],
        "generator": spd.generator,
        "defaults": dict(spd.defaults),
        "thresholds": {str(family): list(lengths) for family, lengths in spd.thresholds.items()},
        "policy_buckets": {"index": spd.buckets, **spd.by_dst},
        "policy_timers": {str(index): when for index, when in spd.timers.items()},
    }


def _state_of(rng: random.Random) -> list[Any]:
    version, internal, gauss = rng.getstate()
    return [version, list(internal), gauss]


def _entry(entry: SadEntry) -> dict[str, Any]:
    kept = {name: plain_of(getattr(entry, name)) for name in _KEPT}
    window = entry.window
    facts = window.size, window.esn, window.top, window.bitmap_from_top(), window.resume
    return kept | {"window": dict(zip(_WINDOW, facts, strict=True))}


# -- reading ----------------------------------------------------------------------------------------------------------


def unpack(
    values: Any, *, kernel: str | None = None, options: Collection[str] | None = None, seed: int | None = None
) -> Netns:
    """The namespace of such values. `kernel`, `options` and `seed` replace its own.

    InputError, with the name of the field: the values are not those of a namespace.
    """
    said = fields_of(values, _WHOLE, "")
    own_kernel, own_options = _habits(said)
    netns = Netns(kernel or own_kernel, options=own_options if options is None else options, seed=seed or 0)
    sad = netns.sad
    drawn = _random(said["random"], "random")
    if seed is None:
        sad.rng = drawn
    _plain_facts(netns, said)
    sad.index.next_index = number(said["next_index"], "next_index")
    sad.index.buckets = None  # built below, in the order of the chains, not in that of the states
    for n, state in enumerate(a_list(said["states"], "states")):
        entry = _restored(netns, state, f"states.{n}")
        if entry.sa_index in sad.index.entries or entry.sa_index >= sad.index.next_index:
            raise wrong(f"states.{n}.sa_index", "not a number of its own below next_index")
        sad.index.insert(entry)
        netns.timers.watch(entry)
    tables.unpack_tables(sad, said)
    _zeros(netns, said)
    _ivs(netns, said)
    _policies(netns, said)
    _without_policies(netns, said)
    return netns


def _habits(said: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The kernel and the options that the namespace had."""
    kernel = text(said["kernel"], "kernel")
    options = [text(option, "options") for option in a_list(said["options"], "options")]
    if options != sorted(set(options)):
        raise wrong("options", "not in order")
    try:
        choose(kernel, options)
    except InputError:
        raise wrong("kernel, options", "not known to this version") from None
    return kernel, options


def _plain_facts(netns: Netns, said: Mapping[str, Any]) -> None:
    netns.now = seconds(said["now"], "now")
    netns.listening = truth(said["listening"], "listening")
    netns.acquire_seq = number(said["acquire_seq"], "acquire_seq", 32)
    netns.android_resources = number(said["android_resources"], "android_resources", 32)
    sysctl = said["sysctl"]
    if isinstance(sysctl, dict):
        # An earlier espsim did not write these.
        newer = {name: value for name, value in netns.sysctl.items() if "frag" in name}
        sysctl = newer | sysctl
    for name, value in fields_of(sysctl, [*netns.sysctl], "sysctl").items():
        netns.set_sysctl(name, number(value, f"sysctl.{name}", 32))
    if not isinstance(said["counters"], dict):
        raise wrong("counters", "not an object")
    for name, value in said["counters"].items():
        if not re.fullmatch("Xfrm[A-Za-z]+", name):
            raise wrong("counters", "not a counter of /proc/net/xfrm_stat")
        netns.counters[name] = number(value, f"counters.{name}")
    if said["hung"] is not None:
        netns.hung = KernelHang(text(said["hung"], "hung"))


def _random(plain: Any, at: str) -> random.Random:
    """A random.Random in this state."""
    parts = a_list(plain, at)
    if len(parts) != 3 or parts[0] != random.Random.VERSION or parts[2] is not None:
        raise wrong(at, "not a state of Python's random numbers")
    words = [number(word, at, 32) for word in a_list(parts[1], at)]
    if len(words) != _WORDS_OF_RANDOM or words[-1] >= _WORDS_OF_RANDOM or not any(words[:-1]):
        raise wrong(at, "not a state of Python's random numbers")
    rng = random.Random()
    rng.setstate((parts[0], tuple(words), None))
    return rng


_WORDS_OF_RANDOM = 625
"""Words in the state of Python's Mersenne Twister: 624, and its position in them."""


def _restored(netns: Netns, plain: Any, at: str) -> SadEntry:
    if isinstance(plain, dict):
        plain = {"selector_family": _selector_family_of_old(plain), "mapped": plain.get("added")} | plain
    kept = fields_of(plain, [*_KEPT, "window"], at)
    values = {name: value_of(kept[name], kind, f"{at}.{name}") for name, kind in _KEPT.items()}
    sa: SecurityAssociation = values["sa"]
    number(values["af"], f"{at}.af", 16)
    number(values["seq"], f"{at}.seq", 32)
    number(values["odd_mode"] or 0, f"{at}.odd_mode", 8)
    if values["selector_family"] not in (0, AF_INET, AF_INET6, values["af"]):
        raise wrong(f"{at}.selector_family", "not a family")
    valid = bool(sa.algorithms) or sa.proto in MOBILITY or values["tunnel_users"] > 0
    if values["state"] is not (State.VALID if valid else State.LARVAL):
        raise wrong(f"{at}.state", "it does not go with the algorithms")
    if not sa.esn and values["oseq"] >> 32:
        raise wrong(f"{at}.oseq", "without ESN a number has 32 bits")
    _bitmap_words(sa, values["bmp_len"], f"{at}.bmp_len")
    window = _window(netns, sa, values["bmp_len"], kept["window"], f"{at}.window")
    return SadEntry(window=window, **values)


def _selector_family_of_old(plain: Mapping[str, Any]) -> Any:
    """`selector_family` for a file of an earlier espsim, which has none: the state's family; 0 for a larval state."""
    return 0 if plain.get("state") == plain_of(State.LARVAL) else plain.get("af", 0)


def _bitmap_words(sa: SecurityAssociation, words: int, at: str) -> None:
    """XFRMA_REPLAY_ESN_VAL, of `words`, or the legacy bitmap of 32 bits must hold the window. ESN needs the first."""
    if words > MAX_ESN_WORDS or sa.window > 32 * (words or (0 if sa.esn else 1)):
        raise wrong(at, "it does not go with the window")


def _window(netns: Netns, sa: SecurityAssociation, bmp_len: int, plain: Any, at: str) -> Window:
    said = fields_of(plain, _WINDOW, at)
    if number(said["size"], f"{at}.size") != sa.window or truth(said["esn"], f"{at}.esn") is not sa.esn:
        raise wrong(at, "not the window of its SA")
    top, seen = number(said["top"], f"{at}.top", 64 if sa.esn else 32), number(said["seen"], f"{at}.seen", sa.window)
    resume = None if said["resume"] is None else number(said["resume"], f"{at}.resume")
    if resume is not None and (not sa.esn or top or seen):
        raise wrong(f"{at}.resume", "it does not go with the rest")
    return netns.sad.window_of(sa, bmp_len, top=top, bitmap=seen, resume=resume)


def _zeros(netns: Netns, said: Mapping[str, Any]) -> None:
    """Which states were linked under SPI 0, and whether one was linked twice."""
    zeros = [number(index, "zeros_linked") for index in a_list(said["zeros_linked"], "zeros_linked")]
    if zeros != sorted(set(zeros)) or (zeros and zeros[-1] >= netns.sad.index.next_index):
        raise wrong("zeros_linked", "not states in order")
    netns.sad.zeros_linked = set(zeros)
    netns.sad.looped = truth(said["looped"], "looped")


def _ivs(netns: Netns, said: Mapping[str, Any]) -> None:
    netns.ivs = _random(said["ivs"], "ivs")
    for pair in a_list(said["masks"], "masks"):
        index, mask = a_pair(pair, "masks")
        if index not in netns.sad.index.entries or index in netns.masks:
            raise wrong("masks", "not a mask of a state")
        netns.masks[index] = mask


def _policies(netns: Netns, said: Mapping[str, Any]) -> None:
    spd = netns.spd
    for n, plain in enumerate(a_list(said["policies"], "policies")):
        policy: Policy = value_of(plain, Policy, f"policies.{n}")
        if not policy.index:
            raise wrong(f"policies.{n}.index", "0 is not an index")
        spd.policies.append(policy)
    spd.generator = number(said["generator"], "generator")
    if spd.generator % 8:
        raise wrong("generator", "not a multiple of 8")


def _without_policies(netns: Netns, said: Mapping[str, Any]) -> None:
    """The defaults of the SPD, and the sizes and limits of its tables."""
    spd = netns.spd
    for direction, what in fields_of(said["defaults"], [*spd.defaults], "defaults").items():
        if what not in ("accept", "block"):
            raise wrong(f"defaults.{direction}", "neither accept nor block")
        spd.defaults[direction] = what
    prefixes = fields_of(said["thresholds"], [*map(str, spd.thresholds)], "thresholds")
    for family, (longest, _) in list(spd.thresholds.items()):
        at = f"thresholds.{family}"
        spd.thresholds[family] = a_pair(prefixes[str(family)], at)
        if max(spd.thresholds[family]) > longest:
            raise wrong(at, "longer than an address")
    indices = {str(policy.index) for policy in spd}
    if not isinstance(said["policy_timers"], dict) or not said["policy_timers"].keys() <= indices:
        raise wrong("policy_timers", "not by the indices of policies")
    spd.timers = {int(index): seconds(when, "policy_timers") for index, when in said["policy_timers"].items()}
    sizes = fields_of(said["policy_buckets"], ["index", *spd.by_dst], "policy_buckets")
    for name, size in sizes.items():
        if number(size, f"policy_buckets.{name}") not in tables.SIZES:
            raise wrong(f"policy_buckets.{name}", "not the size of a hash table")
    spd.buckets, spd.by_dst = sizes["index"], {name: sizes[name] for name in spd.by_dst}
