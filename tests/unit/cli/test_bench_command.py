"""`espsim bench`: its records, its bad input, and peers that aren't there."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bench import peers
from espsim.cli.bench import bench
from espsim.core.errors import InputError

KEYS = [
    "bench",
    "what",
    "sas",
    "size",
    "engine",
    "model",
    "workers",
    "hit",
    "rate_mps",
    "peer",
    "peer_rate_mps",
    "ratio_min",
    "ratio_median",
    "ratio_max",
]


def test_a_record_a_line():
    done = CliRunner().invoke(bench, ["replay", "--sas", "10,2k", "--quick", "--json", "--seed", "7"])
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["sas"] for r in records] == [10] * 3 + [2000] * 3
    for record in records:
        assert list(record)[: len(KEYS)] == KEYS
        assert record["rate_mps"] > 0
        assert record["peer"] is None
        assert record["ratio_median"] is None
        assert record["seed"] == 7
        assert record["machine"]
        assert set(record["versions"]) == {"espsim", "python", "numba", "numpy"}


@pytest.mark.parametrize("sas", ["0", "", "1x", "-1", "1,,2", "20000001", "1e3", "１"])
def test_what_is_no_number_of_sas(sas):
    done = CliRunner().invoke(bench, ["lookup", "--sas", sas])
    assert isinstance(done.exception, InputError)
    assert "is not a number of SAs from 1 to 20,000,000" in str(done.exception)


def test_a_peer_says_why_it_cannot_run(monkeypatch):
    peers._dpdk_version.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(peers.Unavailable, match=r"dpdk-test-sad is not installed .*dpdk-dev"):
        peers.dpdk_test_sad(1000, hit=1.0, v6=False, spi_only=False)
    peers._dpdk_version.cache_clear()


def test_a_peer_that_would_crash_is_not_run(monkeypatch):
    monkeypatch.setattr(peers, "_dpdk_version", lambda _: "22.11")
    with pytest.raises(peers.Unavailable, match="overruns"):
        peers.dpdk_test_sad(19, hit=1.0, v6=False, spi_only=False)
