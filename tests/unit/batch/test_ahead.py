"""On a fresh machine other processes compile the steps; what becomes of them changes no answer."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.inbound.parse import parse_rows
from espsim.batch.run import ahead
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.workers import cores
from espsim.core.errors import InputError
from espsim.io.rows.classic import LONGEST
from espsim.io.slots import FrameSlot
from espsim.jit.compiling import is_kept
from espsim.reference.inbound import Inbound
from espsim.sad.sad import Sad
from tests.command import espsim

COUNTED = """
import os, sys
from numba.core import event
first = os.getpid()
class Names(event.Listener):
    def on_start(self, event):
        if os.getpid() == first:
            print(event.data["dispatcher"].py_func.__qualname__, file=sys.stderr)
    def on_end(self, event): pass
event.register("numba:compile", Names())
from espsim.cli.main import main
main()
"""
STEPS = {"parse_rows", "check_rows", "advance", "decap_rows", "tally_sums"}


class Steps:
    """Steps that fail, or say who ran them."""

    kernel = staticmethod(parse_rows)

    def __init__(self, ran):
        self.ran = ran

    def batch(self, slot, time, memory):
        return np.zeros(1)[:0] if self.ran is None else self

    def head(self, rows):
        return [][:rows]

    def ahead(self, batch):
        self.ran.write_bytes(b"%d" % os.getpid())
        raise ArithmeticError("a fault")

    settle = after = end = ahead


def lane_of(ran) -> Any:
    return Steps(ran)


def test_a_failure_there_is_none_here(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "is_kept", lambda kernel: kernel is not Steps.kernel)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    done = []
    with ahead.compiled_ahead(lane_of(tmp_path / "ran")):
        done.append("read")
    assert done == ["read"]
    assert int((tmp_path / "ran").read_bytes()) != os.getpid()


@pytest.mark.parametrize("why", ["kept", "one core"])
def test_nobody_is_forked_for_nothing(monkeypatch, why):
    monkeypatch.setattr(ahead, "is_kept", lambda kernel: why == "kept")
    monkeypatch.setattr(ahead, "cores", lambda: 1 if why == "one core" else 2)
    monkeypatch.setattr(ahead, "Workers", None)
    with ahead.compiled_ahead(lane_of(None)):
        pass


def test_no_room_for_processes(monkeypatch):
    def refuse(*_):
        raise InputError("no room")

    monkeypatch.setattr(ahead, "is_kept", lambda kernel: False)
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    monkeypatch.setattr(ahead, "Workers", refuse)
    with ahead.compiled_ahead(lane_of(None)):
        pass


def test_steps_run_without_rows():
    lane = InboundLane(InboundPipeline(Inbound(Sad()), "cryptography"))
    batch = lane.batch(FrameSlot.of(1, LONGEST), np.zeros(1), np.zeros).head(0)
    for step in ("ahead", "settle", "after", "end"):
        getattr(lane, step)(batch)
    assert not lane.path.alone
    assert is_kept(lane.kernel)


@pytest.mark.long
@pytest.mark.skipif(cores() == 1, reason="one core")
def test_a_first_run_compiles_the_steps_elsewhere(tmp_path):
    samples = tmp_path / "samples"
    assert espsim("samples", samples).returncode == 0
    words = ["decap", samples / "esn.pcap", "--sad", samples / "esn.sad", "--batch", "--workers", "1", "--json"]
    line = [sys.executable, "-c", COUNTED, *map(str, words)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [subprocess.run(line, capture_output=True, text=True, check=True, env=environment) for _ in range(2)]
    compiled = [set(run.stderr.split()) for run in runs]
    assert "classic" in compiled[0]
    assert not STEPS & compiled[0]
    assert not (STEPS | {"classic"}) & compiled[1]
    assert runs[0].stdout == runs[1].stdout
    kept = {path.name.rpartition("-")[0].rpartition(".")[2] for path in tmp_path.rglob("*.kernel")}
    assert kept >= STEPS
