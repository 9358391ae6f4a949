"""LookupTable over several inserts, both families, and devices: each call is compared with the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from espsim.batch.lookup_table import LookupTable
from espsim.core.errors import InputError, UnknownReached
from espsim.offload.compare import association
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import load_model, parse_assumptions
from tests.equivalence.device_models import TWIN

V4 = np.array([1, 2, 3], np.uint32)
V6 = np.array([[0, 1], [0x20010DB8 << 32, 1], [0x20010DB8 << 32, 1 << 63]], np.uint64)


def test_software_finds_the_newest_of_every_insert_of_both_families():
    table = LookupTable()
    assert table.find([], V4[:0]).tolist() == []
    assert [table.insert([7, 8, 9], V4), table.insert([7, 7, 7], V6), table.insert([8], V4[1:2])] == [[], [], []]
    assert len(table) == 7
    assert table.find([7, 8, 9, 7], np.array([1, 2, 3, 2], np.uint32)).tolist() == [0, 6, 2, -1]
    assert table.find([7, 7, 7], V6).tolist() == [3, 4, 5]
    assert table.find([8, 7], V6[:2]).tolist() == [-1, 4]
    assert table.insert([7], V6[1:2]) == []
    assert table.find([7, 7], V6[:2]).tolist() == [3, 7]
    assert repr(table) == "LookupTable(software, 8 SAs)"


@pytest.mark.parametrize(("four", "six"), [(200, 9), (9, 200), (0, 50), (50, 0)])
def test_many_of_one_family_and_few_of_the_other(four, six):
    """Tables are as large as they must be for the SAs of their family."""
    table, v4 = LookupTable(), np.arange(four, dtype=np.uint32)
    v6 = np.array([(n + 1, n) for n in range(six)], np.uint64).reshape(-1, 2)
    table.insert(v4 + 1, v4)
    table.insert(np.arange(1, six + 1), v6)
    assert table.find(v4 + 1, v4).tolist() == list(range(four))
    assert table.find(np.arange(1, six + 1), v6).tolist() == list(range(four, four + six))


MODELS = {"sw-linux-xfrm": [], "marvell-cn10k-dpdk": [], "intel-82599-dpdk": ["model"], "marvell-cn10k-vpp": []}


@pytest.mark.parametrize("model", MODELS)
def test_a_device_is_offered_each_sa_and_asked_for_each_packet(model):
    loaded = load_model(model)
    device, table = Device(loaded, parse_assumptions(loaded, MODELS[model])), LookupTable(model, MODELS[model])
    base, refused = association(loaded, 1), []
    batches: list[tuple[list[int], Any]] = [([0x90, 0x190, 0x91], V4), ([0x92, 0x92, 0x93], V6), ([0x90, 0x94], V4[:2])]
    sas: list[PacketKey] = []
    for spis, daddr in batches:
        said = table.insert(spis, daddr)
        before = len(sas)
        for spi, words in zip(spis, daddr.tolist(), strict=True):
            dst = words.to_bytes(4) if daddr.ndim == 1 else (words[0] << 64 | words[1]).to_bytes(16)
            answer = device.add(len(sas), replace(base, src=bytes(len(dst)), dst=dst, spi=spi))
            if answer.errno is not None:
                refused.append((len(sas), answer.errno))
            sas.append(PacketKey(bytes(len(dst)), dst, spi))
        assert said == [one for one in refused if one[0] >= before]
        for spis_asked, asked in batches:
            keys = [key for key in sas if len(key.dst) == (4 if asked.ndim == 1 else 16)]
            found = table.find([key.spi for key in keys], addresses(keys))
            answers = [device.lookup(key) for key in keys]
            assert found.tolist() == [a.sa_index if a.action == "use" else -1 for a in answers]
            assert len(table.find(spis_asked, asked)) == len(spis_asked)
    assert len(table) == len(sas)
    assert model in repr(table)
    assert table.find([], V4[:0]).tolist() == []


def addresses(keys: list[PacketKey]):
    if all(len(key.dst) == 4 for key in keys):
        return np.array([int.from_bytes(key.dst) for key in keys], np.uint32)
    return np.array([divmod(int.from_bytes(key.dst), 1 << 64) for key in keys], np.uint64).reshape(-1, 2)


@pytest.mark.parametrize("field", ["mark", "udp_ports"])
def test_a_packet_has_no_mark_and_no_ports(field, tmp_path):
    path = tmp_path / "twin.toml"
    lookup = f'kind = "exact"\nkey = ["dst", "spi", "{field}"]'
    path.write_text(TWIN.format(
        lookup=lookup, base="sw-linux-xfrm", capacity='"memory"', scope="device", multi_match="last",
        classify='["esp"]', rule="any", verify="[]", on_mismatch="drop", duplicate="coexist", more="",
    ))  # fmt: skip
    table = LookupTable(str(path))
    assert table.insert([7], V4[:1]) == []
    assert table.find([7, 8], V4[:2]).tolist() == [0, -1]


def test_what_is_not_public_is_asked_of_the_device_itself():
    """Two SAs under one key, of which the model does not say which is found: only their packets stop the run."""
    table = LookupTable("intel-82599-dpdk")
    assert table.insert([7, 8, 7], np.array([1, 2, 1], np.uint32)) == []
    assert table.find([8, 9], V4[1:]).tolist() == [1, -1]
    with pytest.raises(UnknownReached, match="multi_match"):
        table.find([8, 7], np.array([2, 1], np.uint32))


def test_what_does_not_fit_is_refused():
    table = LookupTable()
    for spis, daddr in (
        ([7], V4), ([7, 8], V4[:1]), ([[7]], V4[:1]), ([7, 8, 9], V6[:, :1]), ([7, 8, 9], V6[:2]),
        ([7], np.zeros((1, 2, 1), np.uint64)),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"shape .* \(n,\) with \(n,\) or \(n, 2\)"):
            table.insert(spis, daddr)
        with pytest.raises(InputError, match="shape"):
            table.find(spis, daddr)
    with pytest.raises(InputError, match="SPI 0"):
        table.insert([5, 0], V4[:2])
    assert len(table) == 0
    assert table.find([5], V4[:1]).tolist() == [-1]
