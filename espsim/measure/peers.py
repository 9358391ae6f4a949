"""Other programs on the same work. A peer that can't run says why."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espsim.core.address import format_address
from espsim.measure.workloads import Workload


def scapy_opener(workload: Workload) -> Callable[[Sequence[bytes]], int]:
    """A function that opens packets with scapy's SecurityAssociation.decrypt and returns the number opened.

    It parses them with scapy's IP class first, in the timed call, as ours does. ImportError: scapy isn't installed.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        inet, ipsec = importlib.import_module("scapy.layers.inet"), importlib.import_module("scapy.layers.ipsec")

    sa = workload.sa
    key = sa.algorithms[0].key
    peer = ipsec.SecurityAssociation(
        ipsec.ESP, spi=sa.spi, crypt_algo="AES-GCM", crypt_key=key,
        tunnel_header=inet.IP(src=format_address(sa.src), dst=format_address(sa.dst)),
    )  # fmt: skip

    def run(packets: Sequence[bytes]) -> int:
        opened = 0
        for packet in packets:
            opened += len(bytes(peer.decrypt(inet.IP(packet)))) == workload.size
        return opened

    return run


class Unavailable(Exception):  # noqa: N818 - no fault of the peer's
    """A peer that can't run here, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class BenchPeer:
    """What a case is compared with. `run` does one round and returns millions a second. `note`: versions and options.

    `run` is None where the peer is another case of the group, which adds its own rounds to `rates`.
    """

    name: str
    run: Callable[[], float] | None
    note: str
    rates: list[float] = field(default_factory=list)


_TEST_SAD = "dpdk-test-sad"
_RATE = re.compile(r"lookups/sec: ([0-9.]+)")
_VERSION = re.compile(r"RTE Version: 'DPDK ([^']+)'")


@functools.cache
def _dpdk_version(program: str) -> str:
    """The version of a DPDK program. Raises Unavailable where it isn't installed or does not start."""
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is not installed (Debian: apt-get install dpdk-dev)")
    done = _run_test_sad(64, ["-v"], ["-n", "100", "-l", "64", "-d", "0/100/0"])
    found = _VERSION.search(done)
    return found.group(1) if found else "of unknown version"


def _run_test_sad(megabytes: int, eal: list[str], options: list[str]) -> str:
    core = min(os.sched_getaffinity(0))
    environment = ["--no-huge", "-m", str(megabytes), "-l", str(core), "--no-pci", "--no-telemetry", "--no-shconf"]
    command = [_TEST_SAD, *environment, *eal, "--", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{_TEST_SAD}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unavailable(f"{_TEST_SAD} ended with {done.returncode}: {said[-1] if said else 'nothing said'}")
    return done.stdout + done.stderr


def dpdk_test_sad(sas: int, *, hit: float, v6: bool, spi_only: bool) -> BenchPeer:
    """DPDK's own benchmark of its SAD library, with the same number of SAs and share of hits, in bursts of 64.

    It makes its own keys, and looks SAs up in the order in which it added them. It counts only the cycles of lookup
    calls. With `--no-huge` it runs on 4 KiB pages.
    """
    version = _dpdk_version(_TEST_SAD)
    if -(-sas // max(sas // 10, 1)) > 11:
        raise Unavailable(f"{_TEST_SAD} overruns its array of timings when it adds {sas} SAs in tenths")
    options = ["-n", str(sas), "-l", str(1 << 20), "-d", "100/0/0" if spi_only else "0/100/0", "-b", "64"]
    options += ["-6"] if v6 else []
    options += ["-r", str(min(max(round(100 * (1 - hit)), 1), 99))] if hit < 1 else []
    megabytes = max(512, 2048 * -(-sas // 1_000_000)) if sas > 50_000 else 512

    def run() -> float:
        found = _RATE.search(_run_test_sad(megabytes, ["--log-level=error"], options))
        if found is None:
            raise Unavailable(f"{_TEST_SAD} printed no rate")
        return float(found.group(1)) / 1e6

    return BenchPeer(_TEST_SAD, run, f"DPDK {version}, --no-huge, {' '.join(options)}")
