"""What a duplicate, an alias and a full table do in each shipped model: the answers that the drivers' sources give.

A is added first, then B: same SPI 0x55, from 1.1.1.1 to 9.9.9.1 and from 1.1.1.2 to 9.9.9.2.
"""

from __future__ import annotations

from typing import Any

import pytest

from espsim.core.address import parse_address
from espsim.core.errors import InputError, UnknownReached
from espsim.core.verdict import Surfacing
from espsim.offload.device import Answer, Device, PacketKey, Reached
from espsim.offload.model import load_model, parse_assumptions
from espsim.sad.association import Mode, SecurityAssociation
from tests.support import gcm_sa

SPI = 0x55
A, B = 0, 1
WINDOWS = {"marvell-cn10k-dpdk": 64, "marvell-cn10k-vpp": 64, "nvidia-mlx5-linux-packet": 32}
LINUX_V5, VPP, DPDK = "marvell-cn10k-linux-v5", "marvell-cn10k-vpp", "marvell-cn10k-dpdk"
KEYED_BY_DESTINATION = ("intel-82599-linux", "nvidia-mlx5-linux-packet", "sw-linux-xfrm")


def sa_of(which: int, model: str, spi: int = SPI, **options: Any) -> SecurityAssociation:
    window = options.pop("window", WINDOWS.get(model, 0))
    return gcm_sa(f"1.1.1.{which + 1}", f"9.9.9.{which + 1}", spi, mode=Mode.TRANSPORT, window=window, **options)


def packet(which: int, spi: int = SPI, port: int = 0) -> PacketKey:
    return PacketKey(parse_address(f"1.1.1.{which + 1}"), parse_address(f"9.9.9.{which + 1}"), spi, port=port)


def device_of(model: str, *assume: str, **options: Any) -> Device:
    loaded = load_model(model)
    return Device(loaded, parse_assumptions(loaded, assume), **options)


def device_with(model: str, *assume: str) -> Device:
    device = device_of(model, *assume)
    assert device.add(A, sa_of(A, model)).errno is None
    device.add(B, sa_of(B, model))
    return device


def used(sa_index: int) -> Answer:
    return Answer(Reached.HIT, sa_index, "use")


def answers(device: Device) -> tuple[Answer, Answer]:
    return device.lookup(packet(A)), device.lookup(packet(B))


MISS = Answer(Reached.MISS, -1, "software")
EMPTY = Answer(Reached.EMPTY_SLOT, -1, "fail_flag")


# -- keyed by destination: nothing happens ------------------------------------------------------------------------


@pytest.mark.parametrize("model", KEYED_BY_DESTINATION)
def test_with_the_destination_in_the_key_both_work_and_either_can_go(model):
    none = Answer(Reached.MISS, -1, "drop" if model == "sw-linux-xfrm" else "software")
    for gone, left in ((A, B), (B, A)):
        device = device_of(model)
        for which in (A, B):
            installed = device.add(which, sa_of(which, model))
            assert (installed.errno, installed.in_table) == (None, True)
        assert answers(device) == (used(A), used(B))
        device.delete(gone)
        assert device.lookup(packet(gone)) == none
        assert device.lookup(packet(left)) == used(left)


# -- DPDK: reject -------------------------------------------------------------------------------------------------


def test_dpdk_refuses_b_and_its_packets_meet_a():
    device = device_of(DPDK)
    assert device.add(A, sa_of(A, DPDK)).slot == 0x55
    refused = device.add(B, sa_of(B, DPDK))
    assert (refused.errno, refused.in_table, refused.slot) == ("EEXIST", False, None)
    assert "0x00000055@9.9.9.1" in refused.note
    assert answers(device) == (used(A), used(A))
    device.delete(B)
    assert answers(device) == (used(A), used(A))
    device.delete(A)
    assert answers(device) == (EMPTY, EMPTY)


def test_dpdk_from_another_port_it_is_busy():
    device = device_of(DPDK)
    device.add(A, sa_of(A, DPDK), port=0)
    assert device.add(B, sa_of(B, DPDK), port=1).errno == "EBUSY"
    assert device.lookup(packet(B, port=1)) == used(A)


@pytest.mark.parametrize("check", ["dst", "src"])
def test_dpdk_with_header_verification_refuses_the_wrong_sa(check):
    device = device_of(DPDK, verify=[check])
    device.add(A, sa_of(A, DPDK))
    assert answers(device) == (used(A), Answer(Reached.SA_MISMATCH, A, "fail_flag"))


def test_dpdk_aliases_collide_and_the_whole_spi_is_verified():
    device = device_of(DPDK)
    assert device.add(A, sa_of(A, DPDK)).errno is None
    alias = device.add(B, sa_of(B, DPDK, SPI + 256))
    assert alias.errno == "EEXIST"
    assert "another SPI" in alias.note
    assert device.lookup(packet(B, SPI + 256)) == Answer(Reached.SA_MISMATCH, A, "fail_flag")


def test_dpdk_takes_an_spi_out_of_range_and_puts_it_onto_a_legitimate_slot():
    device = device_of(DPDK)
    outside = device.add(A, sa_of(A, DPDK, 0xC0000055))
    assert (outside.errno, outside.slot) == (None, 0x55)
    assert device.add(B, sa_of(B, DPDK)).errno == "EEXIST"
    assert device.lookup(packet(A, 0xC0000055)) == used(A)


def test_dpdk_with_a_rule_for_each_sa_leaves_b_to_software(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\nid = "mine"\nextends = "marvell-cn10k-dpdk"\n'
        '[inbound.classify]\nkey = ["port", "esp", "spi", "dst"]\nrule = "per_sa"\n'
    )
    device = Device(load_model(path))
    device.add(A, sa_of(A, DPDK))
    assert device.add(B, sa_of(B, DPDK)).errno == "EEXIST"
    assert answers(device) == (used(A), MISS)
    device.delete(A)
    assert answers(device) == (MISS, MISS)


# -- VPP: overwrite -----------------------------------------------------------------------------------------------


def test_vpp_overwrites_and_deleting_either_kills_both():
    for gone in (A, B):
        device = device_of(VPP)
        assert device.add(A, sa_of(A, VPP)).errno is None
        second = device.add(B, sa_of(B, VPP))
        assert (second.errno, second.in_table, second.slot) == (None, True, 0x55)
        assert "0x00000055@9.9.9.1: overwritten" in second.note
        assert answers(device) == (used(B), used(B))
        assert device.occupancy() == [(0x55, B)]
        device.delete(gone)
        assert answers(device) == (EMPTY, EMPTY)


@pytest.mark.parametrize(("spi", "errno"), [(8192, None), (8193, "-1"), (0xC0000055, "-1")])
def test_vpp_refuses_spis_outside_its_range(spi, errno):
    assert device_of(VPP).add(A, sa_of(A, VPP, spi)).errno == errno


# -- Linux v5: keep the first, say nothing ------------------------------------------------------------------------


def test_v5_says_yes_to_b_and_its_packets_meet_a():
    device = device_of(LINUX_V5)
    device.add(A, sa_of(A, LINUX_V5))
    kept = device.add(B, sa_of(B, LINUX_V5))
    assert (kept.errno, kept.in_table) == (None, False)
    assert "keeps it" in kept.note
    assert answers(device) == (used(A), used(A))
    assert device.surfacing("integrity") is Surfacing.SILENT


def test_v5_deleting_b_takes_as_mapping_away():
    device = device_with(LINUX_V5, "inbound.lookup.0.miss=software")
    device.delete(B)
    assert answers(device) == (MISS, MISS)
    assert device.counts().accepted == 1


def test_v5_deleting_a_leaves_b_unreachable():
    device = device_with(LINUX_V5, "model")
    device.delete(A)
    assert answers(device) == (MISS, MISS)
    again = device.add(2, sa_of(A, LINUX_V5))
    assert (again.errno, again.in_table) == (None, True)
    assert answers(device) == (used(2), used(2))
    device.delete(B)  # its driver still remembers the place of A's mapping, so another SA's mapping is deleted
    assert answers(device) == (MISS, MISS)


def test_v5_a_rule_goes_with_its_last_policy():
    device = device_with(LINUX_V5)
    assert device.counts().rules == 1
    device.delete(A)
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.miss"):
        device.lookup(packet(B))
    device.delete(B)
    assert answers(device) == (MISS, MISS)  # no rule: ordinary receive


def test_v5_sa_array_is_full_at_2048_of_a_function():
    device = device_of(LINUX_V5)
    for n in range(2048):
        assert device.add(n, sa_of(A, LINUX_V5, 0x1000 + n)).errno is None
    full = device.add(2048, sa_of(A, LINUX_V5, 0x9000))
    assert (full.errno, full.in_table) == ("ENOMEM", False)
    assert "2048" in full.note
    assert device.add(2048, sa_of(A, LINUX_V5, 0x1000)).errno == "ENOMEM"  # a duplicate takes an array slot too
    assert device.add(2048, sa_of(A, LINUX_V5, 0x9000), port=1).errno is None
    device.delete(77)
    assert device.add(2049, sa_of(A, LINUX_V5, 0x9000)).slot == 77


def test_v5_says_what_it_takes_for_granted():
    assert device_of(LINUX_V5, "inbound.lookup.0.miss=drop").assumptions == [
        'inbound.lookup.0.miss = "drop"',
        "inbound.classify.capacity = large enough (not public)",
    ]


# -- 82599, mlx5: table sizes -------------------------------------------------------------------------------------


def test_82599_has_1024_rows_and_128_addresses_a_port():
    model = "intel-82599-linux"
    device = device_of(model)
    for n in range(1024):
        assert device.add(n, sa_of(n % 128, model, 0x1000 + n)).errno is None
    full = device.add(1024, sa_of(A, model))
    assert (full.errno, full.note) == ("ENOSPC", "the table is full")
    assert device.add(1024, sa_of(A, model), port=1).errno is None

    device = device_of(model)
    for n in range(128):
        device.add(n, sa_of(n, model))
    full = device.add(128, sa_of(128, model))
    assert full.errno == "ENOSPC"
    assert "ip_table" in full.note
    assert device.add(129, sa_of(127, model, 0x56)).errno is None  # an address that is there is shared
    device.delete(127)
    assert device.add(130, sa_of(128, model)).errno == "ENOSPC"
    device.delete(129)
    assert device.add(130, sa_of(128, model)).errno is None


def test_82599_equal_rows_need_an_assumption_and_shadow_each_other():
    model = "intel-82599-linux"
    for assume, first, second in (("lowest_index", A, 2), ("last", B, 2), ("first", A, B)):
        device = device_of(model)
        assert device.add(A, sa_of(A, model)).errno is None
        assert device.add(B, sa_of(A, model)).errno is None
        with pytest.raises(UnknownReached, match="multi_match"):
            device.lookup(packet(A))
        device = device_of(model, f"inbound.lookup.0.multi_match={assume}")
        device.add(A, sa_of(A, model))
        device.add(B, sa_of(A, model))
        assert device.lookup(packet(A)) == Answer(Reached.HIT, first, "use", shadowed=True)
        device.delete(A)
        assert device.lookup(packet(A)) == used(B)
        device.add(2, sa_of(A, model))  # into the row that A left: lower, but newer
        assert device.lookup(packet(A)).sa_index == second


def test_mlx5_leaves_a_zero_address_out_of_the_rule():
    model = "nvidia-mlx5-linux-packet"
    device = device_of(model)
    anyone = gcm_sa("::", "2001:db8::2", SPI, mode=Mode.TRANSPORT, window=32)
    assert device.add(A, anyone).errno is None
    src, dst, other = map(parse_address, ("2001:db8::1", "2001:db8::2", "2001:db8::3"))
    assert device.lookup(PacketKey(src, dst, SPI)) == used(A)
    assert device.lookup(PacketKey(src, other, SPI)) == MISS
    assert device.lookup(packet(A)) == MISS


def test_xfrm_compares_marks_under_the_states_mask():
    from espsim.sad.association import Mark

    model = "sw-linux-xfrm"
    device = device_of(model)
    assert device.add(0, sa_of(A, model, mark=Mark(1, 0xFF))).errno is None
    assert device.add(1, sa_of(A, model, mark=Mark(2, 0xFF))).errno is None
    assert device.add(2, sa_of(A, model, mark=Mark(1, 0xFF))).errno == "EEXIST"
    key = packet(A)
    marked = [PacketKey(key.src, key.dst, key.spi, mark=m) for m in (1, 0x102, 3)]
    assert [device.lookup(k).sa_index for k in marked] == [0, 1, -1]
    assert device.add(3, sa_of(A, model)).errno is None  # without a mark: matches any packet, and is newer
    assert device.lookup(marked[0]) == Answer(Reached.HIT, 3, "use", shadowed=True)


# -- of the whole -------------------------------------------------------------------------------------------------

WHOLE = {
    "sw-linux-xfrm": ("", "host", Surfacing.COUNTED, Surfacing.COUNTED),
    DPDK: ("protocol", "device", Surfacing.FLAGGED, Surfacing.FLAGGED),
    VPP: ("protocol", "device", Surfacing.FLAGGED, Surfacing.FLAGGED),
    LINUX_V5: ("packet", "nobody", Surfacing.SILENT, Surfacing.SILENT),
    "intel-82599-linux": ("crypto", "host", Surfacing.SILENT, Surfacing.SILENT),
    "nvidia-mlx5-linux-packet": ("packet", "device", Surfacing.DEVICE_DROP, Surfacing.DEVICE_DROP),
}


@pytest.mark.parametrize("model", WHOLE)
def test_who_checks_replays_and_how_failures_show(model):
    device = device_of(model)
    stated = (device.mode, device.replay_checked_by, device.surfacing("integrity"), device.surfacing("replay"))
    assert stated == WHOLE[model]


def test_an_index_is_given_once_and_a_check_must_exist():
    device = device_with(DPDK)
    with pytest.raises(ValueError, match="already"):
        device.add(A, sa_of(A, DPDK, 3))
    with pytest.raises(InputError, match="it has: dst, src, udp_ports"):
        device_of(DPDK, verify=["spi"])
