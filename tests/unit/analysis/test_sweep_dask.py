"""A Dask cluster gives the same rows, and a lost cluster is one line."""

from __future__ import annotations

import pytest

from espsim.analysis.sweep.cluster import Cluster
from espsim.core.errors import InputError
from tests.command import espsim, espsim_text
from tests.unit.analysis.sweeps import SMALL, small_plan

distributed = pytest.importorskip("distributed", reason="the extra `sweep` is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster():
    # One worker of two threads, in this process: a cluster like any other for whoever has its address.
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as running:
        yield running.scheduler_address


def test_the_rows_of_a_cluster_are_those_of_this_machine(cluster, tmp_path):
    study = tmp_path / "small.toml"
    study.write_text(SMALL)
    reports = []
    for name, words in (("local", ("--workers", 2)), ("dask", ("--dask", cluster))):
        status, _said, told = espsim_text("sweep", "run", study, "-o", tmp_path / name, *words)
        assert (status, told) == (0, "")
        reports.append(espsim("sweep", "report", tmp_path / name, "--json").stdout)
    assert reports[0] == reports[1]


def test_a_scheduler_that_goes_away(monkeypatch):
    monkeypatch.setattr("espsim.analysis.sweep.cluster.LOOK", 0.2)
    plan = small_plan(text=SMALL.replace("repeats = 4", "repeats = 400"))
    running = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    )
    with Cluster(running.scheduler_address) as cluster:
        rows = cluster.rows(plan.task(place) for place in range(plan.tasks))
        assert next(rows)
        running.close()
        with pytest.raises(InputError, match="the scheduler is gone"):
            for _ in rows:
                pass


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr("espsim.analysis.sweep.cluster.CONNECT", 0.3)
    for address, said in (("tcp://127.0.0.1:1", "no scheduler answers"), ("what://x", "no scheduler answers")):
        with pytest.raises(InputError, match=said):
            Cluster(address)
