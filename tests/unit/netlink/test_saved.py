"""A namespace saved and loaded answers as one that was never put away."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Mapping, Set
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.netlink.saved import pack, unpack
from espsim.sad.entry import SadEntry, SaStats
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import read_batch
from tests.examples import examples
from tests.unit.netlink.saved_namespaces import NULL, asked, reloaded, whole

_AEAD = "aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
_ID = st.builds("src 10.0.0.{} dst 10.0.1.{} proto {}".format, *[st.integers(1, 2)] * 2, st.sampled_from(["esp", "ah"]))
_MARK = st.sampled_from(["", " mark 1 mask 3", " mark 2", " mark 0 mask 0"])
_LINES = st.one_of(
    st.builds("xfrm state allocspi {} min 5 max 7{} seq {}".format, _ID, _MARK, st.integers(0, 2)),
    st.builds("xfrm state allocspi {} mode tunnel reqid {}".format, _ID, st.integers(0, 2)),
    st.builds(
        "xfrm state {} src 10.0.0.1 dst 10.0.1.{} proto esp spi {} {}{}{}".format,
        st.sampled_from(["add", "update"]), st.integers(1, 2), st.integers(5, 7), st.just(_AEAD), _MARK,
        st.sampled_from(["", " flag esn replay-window 64", " limit time-soft 2 limit time-hard 9", " dir in"]),
    ),
    st.builds("xfrm state delete {} spi {}{}".format, _ID, st.integers(5, 7), _MARK),
    st.builds("sleep {}".format, st.integers(0, 20)),
    st.sampled_from([
        "xfrm policy add dir in tmpl proto esp", "xfrm policy add dir out src 10.0.0.1",
        "xfrm policy delete dir in index 8", "xfrm state flush proto ah", "sysctl net.core.xfrm_acq_expires=7",
    ]),
)  # fmt: skip
_SHOW = ["-s xfrm state list", "-s xfrm policy list", "xfrm state allocspi src 1.1.1.1 dst 2.2.2.2 proto esp",
         "sleep 40", "xfrm monitor", "-s xfrm state list"]  # fmt: skip


def told(netns: Netns, lines: list[str]) -> list[tuple[str, str]]:
    batch = Batch(netns)
    outcomes = [batch.run(line) for line in read_batch(io.BytesIO("\n".join(lines).encode()), "-")]
    return [(o.stdout, o.stderr) for o in outcomes]


def put_away(netns: Netns) -> Netns:
    return unpack(json.loads(json.dumps(pack(netns))))


@given(
    st.lists(_LINES, max_size=12), st.lists(_LINES, max_size=6),
    st.sampled_from(["linux-6.1", "linux-6.1.192", "linux-6.12", "rfc2401", "freebsd", "split"]),
)  # fmt: skip
@settings(max_examples=examples(60), deadline=None)
def test_it_goes_on_as_if_never_put_away(before: list[str], after: list[str], kernel: str):
    kept, loaded = Netns(kernel, seed=4), Netns(kernel, seed=4)
    assert told(kept, before) == told(loaded, before)
    loaded = put_away(loaded)
    kept.events()  # messages that nobody read are not kept
    assert told(loaded, after + _SHOW) == told(kept, after + _SHOW)


def test_the_newest_of_two_marks_stays_the_newest():
    """The second state gets its SPI first: what is found first is not what came last."""
    lines = [
        "xfrm state allocspi src 1.1.1.1 dst 2.2.2.2 proto esp min 0 max 0 mark 1 mask 1",
        "xfrm state allocspi src 1.1.1.2 dst 2.2.2.2 proto esp min 7 max 7 mark 2 mask 2",
        "xfrm state allocspi src 1.1.1.1 dst 2.2.2.2 proto esp min 7 max 7 mark 1 mask 1",
    ]
    netns = Netns("rfc2401")
    told(netns, lines)
    get = ["xfrm state get dst 2.2.2.2 proto esp spi 7 mark 3"]
    shown = told(netns, get)
    assert "src 1.1.1.1 " in shown[0][0]
    assert told(put_away(netns), get) == shown


def test_a_kernel_that_hangs_hangs_on():
    netns = Netns("linux-6.1.192")
    told(netns, ["xfrm state allocspi src 1.1.1.1 dst 2.2.2.2 proto esp min 0 max 0"] * 3)
    assert "hangs" in told(put_away(netns), ["xfrm state count"])[0][1]


def test_counters_and_options_are_kept():
    netns = Netns(options=["acquire-uapi", "ring-windows"])
    netns.counters["XfrmInNoStates"] += 3
    netns.listening = True
    again = put_away(netns)
    assert again.counters == {"XfrmInNoStates": 3}
    assert again.listening
    assert again.options == frozenset({"acquire-uapi", "ring-windows"})
    assert not again.sad.strict_windows


def parts_of(value: Any) -> dict[Any, Any]:
    """What an object is made of: items, a generator's state, or its attributes."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if isinstance(value, random.Random):
        return {"state": value.getstate()}
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(value, name) for name in (*slots, *getattr(value, "__dict__", ())) if hasattr(value, name)}


def differences(one: Any, other: Any, at: str, met: set[tuple[int, int]]) -> Iterator[str]:
    """The paths at which two objects differ, through everything that they hold."""
    if (id(one), id(other)) in met or (callable(one) and callable(other)):
        return
    met.add((id(one), id(other)))
    if type(one) is not type(other):
        yield at
    elif isinstance(one, str | bytes | int | float | Set | None):
        if one != other:
            yield at
    else:
        left, right = parts_of(one), parts_of(other)
        if left.keys() != right.keys():
            yield at
        for name in left.keys() & right.keys():
            yield from differences(left[name], right[name], f"{at}.{name}", met)


def test_a_loaded_namespace_is_the_same_in_every_field():
    """Every field is saved but for two: who hears keepalives is given anew, and `timed` holds states that the clock has
    not looked at, all of them again.
    """
    netns = whole()
    state = next(iter(netns.sad))
    state.renewed, state.dying, state.stats = 3.0, True, SaStats(2, 1)
    for name in SadEntry.__dataclass_fields__:
        assert len({repr(getattr(one, name)) for one in netns.sad}) > 1, f"no state of `whole` sets {name}"
    assert set(differences(netns, reloaded(netns), "", set())) == {".keepalive", ".sad.index.timed"}


@pytest.mark.parametrize("values", [None, {}, [], {"kernel": "linux-6.12"}, {"kernel": 5, "options": []}])
def test_what_is_no_namespace(values: object):
    with pytest.raises(InputError):
        unpack(values)


def test_options_of_iptfs_and_a_kernel_without_it_are_kept():
    made = f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=1 mode=iptfs dir=out pkt_size=500 dont_frag {NULL}"
    for options in ((), ("no-iptfs",)):
        netns = Netns("linux-7.3", options=options)
        asked(netns, [made])
        (before,), (after,) = (asked(each, ["DUMP"]) for each in (netns, reloaded(netns)))
        assert after == before
        assert ("iptfs" in after["states"][0]) is not bool(options)


def test_what_an_earlier_espsim_did_not_write_is_as_it_was_then():
    """Fields that came later are missing in its files: a namespace without them answers the same."""
    netns = Netns()
    asked(netns, [f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=1 {NULL}",
                  "ALLOCSPI src=10.7.0.1 dst=10.7.1.1 proto=esp min=2 max=2"])  # fmt: skip
    old = json.loads(json.dumps(pack(netns)))
    for state in old["states"]:
        del state["selector_family"], state["mapped"]
        for name in ("mtimer", "nat_keepalive", "iptfs"):
            del state["sa"]["fields"][name]
    for name in ("net.ipv4.ipfrag_time", "net.ipv6.ip6frag_time"):
        del old["sysctl"][name]
    assert asked(unpack(old), ["DUMP"]) == asked(netns, ["DUMP"])
