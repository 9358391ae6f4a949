"""Memory does not grow with the capture: each process of a run keeps as much of 400 MB as of 40 MB."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from espsim.measure.command_cases import make

SIZE, FEW, MANY = 1424, 28_000, 280_000
SPARE = 24 << 20
"""Bytes by which two runs of the same capture may differ: the allocator's, and of lists that grow in steps."""


def peak(*words):
    """The most memory, in bytes, that the largest process of a command had."""
    process = subprocess.Popen([sys.executable, "-m", "espsim", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss << 10


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    return {packets: make(tmp_path_factory.mktemp("captures"), SIZE, packets, 1) for packets in (FEW, MANY)}


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("command", "source"), [("decap", "sealed-many"), ("encap", "clear-many")])
def test_ten_times_the_capture_takes_no_more_memory(captures, tmp_path, command, source, workers):
    few, many = (
        peak(
            command, of.path(source), "--sad", of.path("sad"), "-o", tmp_path / "out", "--json", "--batch",
            "--workers", workers,
        )
        for of in captures.values()
    )  # fmt: skip
    assert (captures[MANY].path(source)).stat().st_size > 400e6
    assert many < few + SPARE, f"{few >> 20} MiB and {many >> 20} MiB"
