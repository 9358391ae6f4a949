"""Every device-and-driver of the datasheets has a model that loads, states its sources, and does what its driver does.

Two SAs with one SPI: A from 1.1.1.1 to 9.9.9.1, then B from 1.1.1.2 to 9.9.9.2 (the case of commit 94f39804d891).
"""

from __future__ import annotations

import pytest

from espsim.offload.assume import split
from espsim.offload.compare import compare, with_assumptions
from espsim.offload.model import Model, load_model, shipped_models

DEVICES = {
    "CN10K, DPDK": ("marvell-cn10k-dpdk", "marvell-cn10k-dpdk-alg1", "marvell-cn10k-dpdk-alg2",
                    "marvell-cn10k-dpdk-alg3"),
    "CN10K, DPDK, ALG4": ("marvell-cn10k-dpdk-alg4",),
    "CN10K, Linux series": ("marvell-cn10k-linux-v5",),
    "CN10K, Linux mainline": ("marvell-cn10k-linux-mainline",),
    "CN10K/20K, Marvell VPP": ("marvell-cn10k-vpp",),
    "CN9K, DPDK": ("marvell-cn9k-dpdk",),
    "CN20K, DPDK": ("marvell-cn20k-dpdk",),
    "82599, Linux": ("intel-82599-linux",),
    "82599, DPDK": ("intel-82599-dpdk",),
    "Sapphire, DPDK": ("wangxun-txgbe-dpdk",),
    "ConnectX, BlueField": ("nvidia-mlx5-linux-packet",),
    "Innova": ("mellanox-innova-linux",),
    "NFP": ("netronome-nfp-linux", "netronome-nfp-dpdk"),
    "T6": ("chelsio-t6-linux",),
    "netdevsim": ("netdevsim-linux",),
    "ES2K": ("intel-es2k-ipdk",),
    "Elba": ("amd-pensando-elba",),
    "iavf": ("intel-iavf",),
    "QAT C4xxx": ("intel-qat-c4xxx",),
    "DPAA, DPAA2": ("nxp-dpaa-sec", "nxp-dpaa2-sec"),
    "Cisco Secure Firewall": ("cisco-sfw-fpga", "cisco-sfw-1200"),
    "Broadcom, Xilinx/AMD": ("unknown-nic",),
    "Linux xfrm": ("sw-linux-xfrm",),
    "DPDK SAD": ("sw-dpdk-sad",),
    "VPP tunnel protect": ("sw-vpp-tun-protect",),
    "OpenDataPlane": ("odp-lookup-spi", "odp-lookup-dstaddr-spi"),
}  # fmt: skip


def test_each_device_has_its_models_and_there_are_no_others():
    assert sorted(ident for idents in DEVICES.values() for ident in idents) == shipped_models()


@pytest.mark.parametrize("ident", shipped_models())
def test_every_table_of_a_model_names_a_source(ident):
    model = load_model(ident)
    sourced: dict[tuple[str | int, ...], bool] = {}
    for key, value in model.leaves():
        path = split(key)
        if value == "unknown" or path[0] == "device":
            continue
        source = model.source(key)
        assert source is not None, key
        assert source.comment or source.general, f"{key}: no comment, and no [device] sources in {source.file}"
        table = path[: 3 if path[1] == "lookup" else 2 if path[0] == "inbound" else 1]
        sourced[table] = sourced.get(table, False) or bool(source.comment)
    assert [table for table, said in sourced.items() if not said] == []


def told(ident: str, case: str, *assume: str) -> tuple[int | str | None, ...]:
    """add_b, packet_a, packet_b, packet_a_after_delete_b, packet_b_after_delete_a."""
    (model,) = with_assumptions([load_model(ident)], assume)
    found = compare(model, case)
    assert (found.model, found.case) == (ident, case)
    assert found.add_a in (0, "-EOPNOTSUPP", "unknown")
    if found.add_a == "unknown":
        assert found.add_b in ("unknown", None)
    return (found.add_b, found.packet_a, found.packet_b, found.packet_a_after_delete_b, found.packet_b_after_delete_a)


COEXIST = (0, "A", "B", "A", "B")
REFUSED = ("-EEXIST", "A", "A", None, None)  # B's packets go to A's slot and fail there
NOT_LOOKED_UP = (0, "software", "software", "software", "software")
UNKNOWN = ("unknown",) * 5

DUPLICATE = {
    "marvell-cn9k-dpdk": REFUSED,
    "marvell-cn10k-dpdk": REFUSED,
    "marvell-cn10k-dpdk-alg1": REFUSED,
    "marvell-cn10k-dpdk-alg2": REFUSED,
    "marvell-cn10k-dpdk-alg3": REFUSED,
    "marvell-cn20k-dpdk": REFUSED,
    "marvell-cn10k-dpdk-alg4": (0, "A", "A", "A", "unknown"),
    "marvell-cn10k-linux-v5": (0, "A", "A", "unknown", "unknown"),
    "marvell-cn10k-linux-mainline": ("-EOPNOTSUPP", "software", "software", None, None),
    "marvell-cn10k-vpp": (0, "B", "B", "flagged", "flagged"),
    "intel-82599-linux": COEXIST,
    "intel-82599-dpdk": (0, "A", "B", "software", "B"),  # deleting B clears the first row with the SPI: A's
    "wangxun-txgbe-dpdk": (0, "A", "B", "software", "B"),
    "nvidia-mlx5-linux-packet": COEXIST,
    "mellanox-innova-linux": UNKNOWN,
    "netronome-nfp-linux": UNKNOWN,
    "netronome-nfp-dpdk": UNKNOWN,
    "chelsio-t6-linux": NOT_LOOKED_UP,
    "netdevsim-linux": NOT_LOOKED_UP,
    "intel-es2k-ipdk": UNKNOWN,  # one SA context for both; whose keys are in it is not public
    "amd-pensando-elba": UNKNOWN,
    "intel-iavf": UNKNOWN,
    "intel-qat-c4xxx": UNKNOWN,
    "nxp-dpaa-sec": NOT_LOOKED_UP,
    "nxp-dpaa2-sec": NOT_LOOKED_UP,
    "cisco-sfw-fpga": UNKNOWN,
    "cisco-sfw-1200": UNKNOWN,
    "unknown-nic": UNKNOWN,
    "sw-linux-xfrm": COEXIST,
    "sw-dpdk-sad": COEXIST,
    "sw-vpp-tun-protect": COEXIST,
    "odp-lookup-spi": UNKNOWN,
    "odp-lookup-dstaddr-spi": UNKNOWN,
}


@pytest.mark.parametrize("ident", shipped_models())
def test_what_a_duplicate_spi_does(ident):
    assert told(ident, "duplicate") == DUPLICATE[ident]


@pytest.mark.parametrize(
    ("ident", "answers"),
    [
        ("marvell-cn10k-dpdk-alg4", (0, "A", "A", "A", "software")),
        ("marvell-cn10k-linux-v5", (0, "A", "A", "software", "software")),
        ("intel-es2k-ipdk", (0, "B", "B", "dropped", "dropped")),
        ("netronome-nfp-linux", COEXIST),
        ("odp-lookup-spi", ("-ODP_IPSEC_SA_INVALID", "A", "A", None, None)),
        ("odp-lookup-dstaddr-spi", COEXIST),
    ],
)
def test_what_a_duplicate_does_if_the_models_suggestions_hold(ident, answers):
    assert told(ident, "duplicate", "model") == answers


ALIAS = {
    "marvell-cn10k-dpdk": ("-EEXIST", "A", "flagged", None, None),  # the whole SPI is in the context: 0xbe
    "marvell-cn20k-dpdk": ("-EEXIST", "A", "flagged", None, None),
    "marvell-cn9k-dpdk": ("-EEXIST", "A", "software", None, None),
    "marvell-cn10k-vpp": ("-1", "A", "flagged", None, None),  # out of its range
    "marvell-cn10k-dpdk-alg4": COEXIST,
    "marvell-cn10k-linux-v5": COEXIST,
    "intel-82599-linux": COEXIST,
    "intel-82599-dpdk": COEXIST,
    "nvidia-mlx5-linux-packet": COEXIST,
    "intel-es2k-ipdk": UNKNOWN,
    "sw-linux-xfrm": COEXIST,
    "sw-dpdk-sad": COEXIST,
    "sw-vpp-tun-protect": COEXIST,
}


@pytest.mark.parametrize("ident", ALIAS)
def test_what_equal_low_bits_do(ident):
    assert told(ident, "alias") == ALIAS[ident]


OVERFLOW = {
    "marvell-cn10k-dpdk": ("-EEXIST", "A", "flagged", None, None),  # 256 slots: the next SPI is an alias
    "marvell-cn10k-dpdk-alg4": (0, "A", "unknown", "A", "unknown"),  # silent: no row for B
    "marvell-cn10k-linux-v5": ("-ENOMEM", "A", "software", None, None),
    "intel-82599-linux": ("-ENOSPC", "A", "software", None, None),
    "intel-82599-dpdk": ("-EPERM", "A", "software", None, None),
    "netdevsim-linux": ("-ENOSPC", "software", "software", None, None),
    "intel-es2k-ipdk": (0, "A", "software", "A", "software"),  # logged only
    "chelsio-t6-linux": NOT_LOOKED_UP,  # memory
    "sw-linux-xfrm": COEXIST,
}


@pytest.mark.parametrize("ident", OVERFLOW)
def test_what_one_sa_too_many_does(ident):
    assert told(ident, "overflow") == OVERFLOW[ident]


def test_a_refusal_whose_errno_is_not_public_is_a_refusal():
    lookup = load_model("nvidia-mlx5-linux-packet").spec.inbound.lookup[0]
    model = with_capacity(load_model("nvidia-mlx5-linux-packet"), 4)
    assert lookup.capacity == 32768
    found = compare(model, "overflow")
    assert (found.add_b, found.packet_a, found.packet_b) == ("unknown", "A", "software")
    assert (found.packet_a_after_delete_b, found.packet_b_after_delete_a) == (None, None)
    assert found.unknown == ["inbound.program.full.errno"]


def with_capacity(model: Model, capacity: int) -> Model:
    raw = model.spec.model_dump(by_alias=True)
    raw["inbound"]["lookup"][0]["capacity"] = capacity
    return Model(model.id, type(model.spec).model_validate(raw), model.documents, raw)


REKEYED = {
    "intel-es2k-ipdk": ("-FAILED", "A", "software", None, None),  # (src, dst, reqid) is there already
    **dict.fromkeys(("marvell-cn10k-dpdk", "marvell-cn10k-vpp", "marvell-cn10k-linux-v5"), COEXIST),
    **dict.fromkeys(("intel-82599-linux", "intel-82599-dpdk", "nvidia-mlx5-linux-packet"), COEXIST),
    **dict.fromkeys(("sw-linux-xfrm", "sw-dpdk-sad", "sw-vpp-tun-protect"), COEXIST),
}


@pytest.mark.parametrize("ident", REKEYED)
def test_what_deleting_the_old_sa_of_a_rekey_does(ident):
    assert told(ident, "delete") == REKEYED[ident]


MISSED = {
    "marvell-cn10k-dpdk": "flagged",  # slot not valid: UCC 0xb0
    "marvell-cn10k-vpp": "flagged",
    "marvell-cn9k-dpdk": "software",
    "marvell-cn10k-linux-v5": "software",  # no MCAM rule
    "marvell-cn10k-linux-mainline": "software",
    "intel-82599-linux": "software",
    "nvidia-mlx5-linux-packet": "software",
    "chelsio-t6-linux": "software",
    "intel-es2k-ipdk": "software",
    "nxp-dpaa2-sec": "software",
    "sw-linux-xfrm": "dropped",
    "sw-dpdk-sad": "software",
    "intel-iavf": "unknown",
}


@pytest.mark.parametrize("ident", MISSED)
def test_what_a_packet_without_an_sa_in_the_device_meets(ident):
    add_b, _, packet_b, *after = told(ident, "miss")
    assert (add_b, packet_b, after) == (None, MISSED[ident], [None, None])


FULL = {
    "netronome-nfp-linux": (16384, "EBUSY", "EEXIST"),
    "netronome-nfp-dpdk": (16384, "EINVAL", "EINVAL"),
    "netdevsim-linux": (33, "ENOSPC", None),
    "wangxun-txgbe-dpdk": (1024, "EPERM", None),
    "mellanox-innova-linux": ("unknown", None, "EEXIST"),
    "intel-iavf": ("unknown", "EFAULT", "EFAULT"),
}


@pytest.mark.parametrize("ident", FULL)
def test_sizes_and_errnos_of_tables_that_cannot_be_filled_without_assumptions(ident):
    inbound = load_model(ident).spec.inbound
    capacity, full, duplicate = FULL[ident]
    assert inbound.lookup[0].capacity == capacity
    assert full is None or inbound.program.full.errno == full
    assert duplicate is None or inbound.program.duplicate.errno == duplicate
