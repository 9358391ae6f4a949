"""The reference path opening AES-128-GCM, beside scapy in the same run: `pytest bench`.

Prints a ratio and asserts none: how fast a shared machine is on one day is no property of the code.
"""

from __future__ import annotations

import importlib.metadata

import pytest

from espsim.core.verdict import Verdict
from espsim.measure.interleave import interleave, machine
from espsim.measure.peers import scapy_opener
from espsim.measure.workloads import gcm_tunnel
from espsim.reference.inbound import Inbound
from espsim.sad.sad import Sad

COUNT = 2000
SCAPY_COUNT = 100


def reference_opener(workload):
    """One pass over the packets on a fresh SAD, so that the window takes each of them."""

    def run() -> int:
        sad = Sad()
        sad.newsa(workload.sa)
        inbound = Inbound(sad)
        done = 0
        for packet in workload.packets:
            received = inbound.receive(packet)
            done += received is not None and received.verdict is Verdict.DELIVERED
        assert done == len(workload.packets)
        return done

    return run


@pytest.mark.parametrize("size", [64, 1400])
def test_reference_open(benchmark, size):
    workload = gcm_tunnel(size, COUNT)
    benchmark.extra_info |= {"machine": machine(), "packets": COUNT, "size": size}
    benchmark.pedantic(reference_opener(workload), rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("size", [64, 1400])
def test_reference_open_against_scapy(size, capsys):
    pytest.importorskip("scapy", reason="scapy is not installed (the `interop` extra)")
    workload = gcm_tunnel(size, COUNT)
    scapy_open = scapy_opener(workload)
    few = workload.packets[:SCAPY_COUNT]

    def peer() -> int:
        opened = scapy_open(few)
        assert opened == len(few)
        return opened

    ratio = interleave(reference_opener(workload), peer)
    with capsys.disabled():
        print(
            f"\nopen AES-128-GCM, {size} bytes: espsim reference {ratio.ours:,.0f}/s,"
            f" scapy {importlib.metadata.version('scapy')} {ratio.peer:,.0f}/s,"
            f" ratio {ratio.median:.0f}x ({ratio.low:.0f} to {ratio.high:.0f}); {machine()}"
        )
