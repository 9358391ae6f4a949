"""Memory does not grow with the capture: each process of a run keeps as much of 400 MB as of 40 MB."""

from __future__ import annotations

import subprocess
import sys

import pytest

from espsim.measure.command_cases import make

SIZE, FEW, MANY = 1424, 28_000, 280_000
SPARE = 24 << 20
"""Bytes by which two runs of the same capture may differ: the allocator's, and of lists that grow in steps."""


COMMAND = """
import resource, sys
from espsim.cli.start import answer
status = answer(sys.argv[1:])
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def peak(*words):
    """The most memory, in bytes, of the largest process of a command; a process that it forked counts, too.

    What the system says of a process that it has started would include this one, from which that was forked.
    """
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return max(map(int, done.stderr.split())) << 10


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    return {packets: make(tmp_path_factory.mktemp("captures"), SIZE, packets, 1) for packets in (FEW, MANY)}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("command", "source"), [("decap", "sealed-many"), ("encap", "clear-many")])
def test_ten_times_the_capture_takes_no_more_memory(captures, tmp_path, command, source, workers):
    _compiling, few, many = (
        peak(
            command, of.path(source), "--sad", of.path("sad"), "-o", tmp_path / "out", "--json", "--batch",
            "--workers", workers,
        )
        for of in (captures[FEW], captures[FEW], captures[MANY])
    )  # fmt: skip
    assert (captures[MANY].path(source)).stat().st_size > 400e6
    assert many < few + SPARE, f"{few >> 20} MiB and {many >> 20} MiB"
