"""The explanation of a device's lookup: the occupant that it names is the SA whose context was used."""

from __future__ import annotations

import pytest

from espsim.offload.device import Device, PacketKey, Reached
from espsim.offload.model import load_model, parse_assumptions
from tests.support import gcm_sa

MODELS = ["marvell-cn10k-dpdk", "marvell-cn10k-dpdk-alg1", "marvell-cn10k-linux-v5", "intel-82599-linux",
          "intel-es2k-ipdk", "sw-dpdk-sad", "odp-lookup-spi", "netdevsim-linux", "sw-linux-xfrm"]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_occupant_is_the_one_that_answers(name):
    model = load_model(name)
    device = Device(model, parse_assumptions(model, ("model",)))
    sas = [gcm_sa(dst=f"192.0.2.{n}", spi=spi) for n, spi in ((2, 0x1001), (3, 0x1001), (4, 0x1102), (5, 0x2002))]
    for index, sa in enumerate(sas):
        device.add(index, sa)
    for sa in [*sas, gcm_sa(dst="192.0.2.9", spi=0x9999)]:
        key = PacketKey(sa.src, sa.dst, sa.spi)
        answer = device.lookup(key)
        facts = device.told(key, answer)
        assert facts[0] == ("model", name)
        assert facts[-1][1].startswith(f"{answer.reached.name}, then {answer.action}")
        rows = [text for what, text in facts if what.startswith(("row ", "slot "))]
        if answer.reached is Reached.HIT:
            assert any(sas[answer.sa_index].name in text for text in rows)
            assert any(what in ("index", "key") for what, _ in facts)
        elif answer.reached is Reached.MISS:
            assert not any("@" in text for text in rows)
        assert device.lookup(key) == answer  # explaining changes nothing
