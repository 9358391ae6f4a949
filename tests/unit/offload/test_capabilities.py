"""Which SAs the shipped drivers take, and that a refusal names the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.errors import UnknownReached
from espsim.offload.caps import stays_in_software
from espsim.offload.device import Device
from espsim.offload.model import load_model
from espsim.sad.association import Direction, Encap, Mode, Offload, SecurityAssociation
from tests.support import gcm_sa

DPDK, VPP, V5 = "marvell-cn10k-dpdk", "marvell-cn10k-vpp", "marvell-cn10k-linux-v5"
IXGBE, MLX5, XFRM = "intel-82599-linux", "nvidia-mlx5-linux-packet", "sw-linux-xfrm"
TRANSPORT, TUNNEL = Mode.TRANSPORT, Mode.TUNNEL


def natt(sport: int = 4500, dport: int = 4500) -> Encap:
    return Encap("espinudp", sport, dport, bytes(4))


def suite(*algorithms: Algorithm, **options: Any) -> SecurityAssociation:
    src, dst = parse_address("1.1.1.1"), parse_address("9.9.9.1")
    return SecurityAssociation(src, dst, 0x55, algorithms=algorithms, **options)


def gcm(bits: int, icv: int) -> SecurityAssociation:
    return suite(Algorithm("aead", "rfc4106(gcm(aes))", bytes(bits // 8 + 4), icv))


def cbc(bits: int, mac: str, mac_bits: int, icv: int) -> SecurityAssociation:
    auth = Algorithm("auth-trunc", mac, bytes(mac_bits // 8), icv)
    return suite(Algorithm("enc", "cbc(aes)", bytes(bits // 8)), auth)


CHACHA = Algorithm("aead", "rfc7539esp(chacha20,poly1305)", bytes(36), 128)
NULL = (Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth-trunc", "hmac(sha256)", bytes(32), 128))


def plain(**options: Any) -> SecurityAssociation:
    options = {"mode": TRANSPORT, "window": 0, "spi": 0x55, **options}
    return gcm_sa("1.1.1.1", "9.9.9.1", **options)


def esn(window: int) -> SecurityAssociation:
    return plain(window=window, flags=frozenset({"esn"}))


TAKEN = [
    (DPDK, plain()),
    (DPDK, plain(window=64)),
    (DPDK, plain(window=4096)),
    (DPDK, esn(128)),
    (DPDK, plain(mode=TUNNEL, encap=natt(1024, 4500))),
    (DPDK, gcm(192, 128)),
    (DPDK, cbc(256, "hmac(sha1)", 160, 96)),
    (DPDK, cbc(128, "hmac(sha512)", 512, 256)),
    (DPDK, suite(*NULL)),
    (VPP, plain(encap=natt())),
    (V5, plain(window=33)),
    (IXGBE, plain(window=1000)),
    (MLX5, esn(256)),
    (MLX5, plain(mode=TUNNEL)),
    (MLX5, plain(encap=natt(1, 2))),
    (XFRM, suite(CHACHA, window=99)),
    (XFRM, plain(encap=Encap("espintcp", 4500, 4500, bytes(4)))),
]

REFUSED = [
    (DPDK, plain(window=32), "EINVAL", "window of 32 is not offloaded, only powers of two from 64 to 4096"),
    (DPDK, plain(window=96), "EINVAL", "window of 96"),
    (DPDK, gcm(128, 64), "EINVAL", "64-bit ICV is not offloaded, only 128"),
    (DPDK, suite(CHACHA), "EINVAL", "chacha20-poly1305 is not offloaded, only aes-gcm, aes-gmac"),
    (DPDK, cbc(128, "hmac(sha1)", 160, 160), "EINVAL", "160-bit ICV"),
    (DPDK, plain(encap=Encap("espintcp", 1, 2, bytes(4))), "EINVAL", "espintcp"),
    (DPDK, plain(dir=Direction.OUT), "EINVAL", "outbound"),
    (
        VPP,
        plain(encap=natt(1024, 4500)),
        "EINVAL",
        "espinudp other than between ports 4500 is not offloaded, only none, udp4500",
    ),
    (V5, esn(64), "EINVAL", "extended sequence numbers"),
    (V5, gcm(256, 128), "EINVAL", "256-bit key is not offloaded, only 128"),
    (IXGBE, plain(mode=TUNNEL), "EINVAL", "mode tunnel is not offloaded, only transport"),
    (IXGBE, esn(64), "EINVAL", "extended sequence numbers"),
    (IXGBE, gcm(256, 128), "EINVAL", "256-bit key"),
    (IXGBE, plain(encap=natt()), "EINVAL", "encapsulation"),
    (MLX5, gcm(192, 128), "EINVAL", "192-bit key is not offloaded, only 128, 256"),
    (MLX5, plain(window=512), "EINVAL", "window of 512 is not offloaded, only 32, 64, 128, 256"),
    (MLX5, plain(mode=TUNNEL, encap=natt()), "EINVAL", "mode transport only"),
]


@pytest.mark.parametrize(("model", "sa"), TAKEN)
def test_taken(model, sa):
    assert Device(load_model(model)).add(7, sa).errno is None


@pytest.mark.parametrize(("model", "sa", "errno", "note"), REFUSED)
def test_refused_with_the_limit_named(model, sa, errno, note):
    device = Device(load_model(model))
    installed = device.add(7, sa)
    assert (installed.errno, installed.in_table) == (errno, False)
    assert note in installed.note
    device.delete(7)
    assert device.counts().accepted == 0


def test_an_unknown_capability_stops_only_the_sa_that_needs_it():
    device = Device(load_model(V5))
    assert device.add(1, plain()).errno is None
    with pytest.raises(UnknownReached, match=r"caps\.encap .*tcp"):
        device.add(2, plain(encap=natt()))
    gmac = suite(Algorithm("aead", "rfc4543(gcm(aes))", bytes(20), 128))
    with pytest.raises(UnknownReached, match=r"caps\.algs\.1\.key_bits"):
        Device(load_model(DPDK)).add(1, gmac)
    device = Device(load_model(V5), {"caps.encap": ["none", "udp"]})
    assert device.add(2, plain(encap=natt())).errno is None


def test_a_driver_without_inbound_offload_does_not_support_it(tmp_path):
    path = tmp_path / "out.toml"
    path.write_text('schema = 1\nid = "out"\nextends = "intel-82599-linux"\n[caps]\ndirs = ["out"]\n')
    assert Device(load_model(path)).add(1, plain()).errno == "EOPNOTSUPP"


# -- the rules of an offload mode ---------------------------------------------------------------------------------

CRYPTO, PACKET = Offload("eth2", Direction.IN), Offload("eth2", Direction.IN, packet=True)
NFP, T6, MAINLINE = "netronome-nfp-linux", "chelsio-t6-linux", "marvell-cn10k-linux-mainline"

BY_MODE = [  # model, SA, the sentence in crypto mode and in packet mode, None: taken
    (MLX5, plain(window=512, reqid=1), None, "window of 512 is not offloaded in packet mode, only 32, 64, 128, 256"),
    (MLX5, plain(window=32, reqid=1), None, None),
    (MLX5, plain(window=32), None, "an SA with reqid 0 is not offloaded in packet mode"),
    (MLX5, plain(encap=natt(), reqid=1), "encapsulation espinudp is not offloaded in crypto mode", None),
    (MLX5, plain(mode=TUNNEL, encap=natt(), reqid=1), "encapsulation espinudp", "mode transport only"),
    (MLX5, suite(CHACHA, reqid=1), "chacha20", "chacha20"),
    (IXGBE, plain(reqid=1), None, "packet offload is not taken, only crypto"),
    (NFP, plain(reqid=1), UnknownReached, "packet offload is not taken, only crypto"),
    (T6, plain(reqid=1), None, "packet offload is not taken, only crypto"),
    (V5, plain(reqid=1), "crypto offload is not taken, only packet", None),
    (MAINLINE, plain(reqid=1), "no inbound SAs", "no inbound SAs"),
    (DPDK, plain(window=64), None, None),  # inline protocol: the device does all of ESP
    (XFRM, plain(window=33), None, None),
]


@pytest.mark.parametrize(("model", "sa", "crypto", "packet"), BY_MODE)
def test_an_offload_line_is_judged_by_the_rules_of_its_mode(model, sa, crypto, packet):
    for offload, why in ((CRYPTO, crypto), (PACKET, packet)):
        one = replace(sa, offload=offload)
        if why is UnknownReached:
            with pytest.raises(UnknownReached):
                Device(load_model(model)).add(7, one)
            continue
        installed = Device(load_model(model)).add(7, one)
        assert (installed.errno is None) == (why is None), installed
        assert why is None or why in installed.note


def test_what_a_mode_does_not_state_is_the_models(tmp_path):
    path = tmp_path / "mine.toml"
    text = 'schema = 1\nid = "mine"\nextends = "nvidia-mlx5-linux-packet"\n[caps.crypto]\n'
    path.write_text(
        text + 'encap = "unknown"\nalgs = [ { name = "aes-gcm", key_bits = "unknown", icv_bits = [128] } ]\n'
    )
    with pytest.raises(UnknownReached, match=r"caps\.crypto\.encap"):
        Device(load_model(path)).add(1, plain(encap=natt(), offload=CRYPTO))
    with pytest.raises(UnknownReached, match=r"caps\.crypto\.algs\.0\.key_bits"):
        Device(load_model(path)).add(1, plain(offload=CRYPTO))
    assert Device(load_model(path)).add(1, plain()).errno is None
    assumed = {"caps.crypto.algs.0.key_bits": [128]}
    assert Device(load_model(path), assumed).add(1, plain(offload=CRYPTO)).errno is None


@pytest.mark.parametrize(
    ("offload", "errno", "stays"),
    [
        (None, "EINVAL", True), (None, "EOPNOTSUPP", True), (CRYPTO, "EOPNOTSUPP", True), (CRYPTO, "EINVAL", False),
        (CRYPTO, "ENOSPC", False), (PACKET, "EOPNOTSUPP", False), (PACKET, "EINVAL", False),
    ],
)  # fmt: skip
def test_which_refusals_leave_the_sa_to_software(offload, errno, stays):
    assert stays_in_software(plain(offload=offload), errno) is stays


def test_an_outbound_offload_line_is_a_direction():
    out = Offload("eth2", Direction.OUT)
    assert plain(offload=out).direction is Direction.OUT
    assert plain(offload=out, dir=Direction.IN).direction is Direction.IN
    assert plain().direction is None
    assert "outbound" in Device(load_model(MLX5)).add(1, plain(offload=out)).note
