"""`espsim bench`: its records, its plot, its bad input, and engines and peers that aren't there."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from espsim.aead.engines import engine_by_name, find
from espsim.cli.bench import bench
from espsim.core.errors import InputError
from espsim.measure import aead_peers, lookup_cases, peers, pipeline_cases

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
PNG, SVG = b"\x89PNG\r\n", b"<?xml"


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch):
    monkeypatch.setattr("espsim.measure.cases.LEAST", 1e-4)
    monkeypatch.setattr("espsim.measure.path_work.STAGED", 1e-4)


def records(*arguments):
    done = CliRunner().invoke(bench, [*arguments, "--quick", "--json"])
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for record in found:
        assert list(record)[: len(KEYS)] == KEYS
        assert record["rate_mps"] > 0
        assert record["machine"]
        assert set(record["versions"]) == {"espsim", "python", "numba", "numpy"}
        assert (record["peer"] is None) == (record["ratio_median"] is None)
    return found


def best() -> str:
    found = find("ipsec-mb")
    return "ipsec-mb" if found.engine else "libcrypto" if find("libcrypto").engine else "cryptography"


def test_a_record_a_line():
    found = records("replay", "--sas", "10,2k", "--seed", "7")
    assert [r["sas"] for r in found] == [10] * 3 + [2000] * 3
    assert {r["seed"] for r in found} == {7}
    assert {r["peer"] for r in found} == {None}


def test_lookups():
    found = records("lookup", "--sas", "100", "--hit", "0.5")
    assert [r["what"] for r in found] == ["triple", "triple6", "spi-direct", "spi-hash", "spi-hash"]
    assert {r["hit"] for r in found} == {0.5}


def test_a_table_of_ten_million_is_measured_beside_a_gather(monkeypatch):
    monkeypatch.setattr(lookup_cases, "GATHERED", 5000)
    (row,) = records("lookup", "--sas", "5k", "--peers")
    assert (row["what"], row["peer"]) == ("triple", "random gather")
    assert 0 < row["ratio_min"] <= row["ratio_median"] <= row["ratio_max"]


def test_the_pipeline_with_its_stages():
    found = records("pipeline", "--sizes", "64,imix", "--sas", "3", "--engines", "cryptography,auto", "--hit", "0.9")
    engines = list(dict.fromkeys(["cryptography", best()]))
    expected = {(what, size, engine) for what in ("in", "out") for size in (64, "imix") for engine in engines}
    assert {(r["what"], r["size"], r["engine"]) for r in found} == expected
    for row in found:
        assert row["bytes_per_sa"] > 100
        assert row["engine_version"]
        assert row["engine_isa"] == engine_by_name(row["engine"]).isa
        first = "parse" if row["what"] == "in" else "policy"
        assert next(iter(row["stages"])) == first
        for stage in row["stages"].values():
            assert stage["ns"] > 0
            assert stage["cycles"] is None or stage["cycles"] > 0


def test_our_own_cases_are_peers_of_each_other(monkeypatch):
    def absent(*_):
        raise peers.Unavailable("crypto-perf is not installed")

    monkeypatch.setattr(pipeline_cases, "BASE", 5)
    monkeypatch.setattr("espsim.measure.plan.BASE", 5)
    monkeypatch.setattr(aead_peers, "crypto_perf", absent)
    monkeypatch.setattr(aead_peers, "scapy", absent)
    found = records("pipeline", "--sizes", "64", "--sas", "20", "--peers", "--window", "1024", "--esn")
    pairs = {(r["what"], r["sas"], r["window"], r["esn"], r["peer"]) for r in found}
    for esn in (False, True):
        assert {
            ("in", 20, 64, esn, "5 SAs"),
            ("in", 20, 1024, esn, "window 64"),
            ("out", 20, None, esn, "5 SAs"),
        } <= pairs
        assert {("out", sas, None, esn, "inbound pipeline") for sas in (5, 20)} <= pairs
    assert {("in", 20, 1024, True, "without ESN"), ("out", 5, None, True, "without ESN")} <= pairs
    assert ("in", 5, 64, False, None) in pairs
    assert all(r["ratio_min"] <= r["ratio_median"] <= r["ratio_max"] for r in found if r["peer"])


@pytest.mark.parametrize(
    ("words", "windows"),
    [
        ((), ["window-64", "window-64-esn", "window-1024-esn"]),
        (("--window", "32,128"), ["window-32", "window-32-esn", "window-128", "window-128-esn"]),
        (("--window", "33", "--no-esn"), ["window-33"]),
        (("--esn",), ["window-64-esn", "window-1024-esn"]),
    ],
)
def test_windows_alone(words, windows):
    assert [row["what"] for row in records("replay", "--sas", "50", *words)] == windows


def test_the_control_plane(monkeypatch):
    monkeypatch.setattr("espsim.measure.control_cases.CALLS", 20)
    found = records("control", "--sas", "30,60")
    assert [(r["what"], r["sas"]) for r in found] == [
        (what, sas) for sas in (30, 60) for what in ("add", "allocate", "delete", "expire")
    ]
    for row in found:
        one = 20 / row["rate_mps"] / 1e3 if row["rate_mps"] else 1e9  # a round in ms: no call in it is longer
        assert row["longest_ms"] > 0
        assert row["what"] != "expire" or row["longest_ms"] >= 0.5 * one  # one call is the whole round
    said = CliRunner().invoke(bench, ["control", "--sas", "30", "--quick"]).stdout
    assert "longest ms" in said


def test_control_needs_memory(monkeypatch):
    monkeypatch.setattr("espsim.measure.control_cases._STATE_BYTES", 1 << 50)
    done = CliRunner().invoke(bench, ["control", "--sas", "30", "--quick", "--json"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "30 states: about" in done.stderr


def test_a_model_in_the_lookups_place():
    found = records("lookup", "pipeline", "--model", "marvell-cn10k-vpp", "--sas", "30", "--sizes", "64")
    assert [(r["bench"], r["what"], r["model"]) for r in found] == [
        ("lookup", "spi-direct", "marvell-cn10k-vpp"),
        ("pipeline", "in", "marvell-cn10k-vpp"),
    ]


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("marvell-cn10k-linux-v5", "spi-hash"),
        ("intel-82599-linux", "exact"),
        ("nvidia-mlx5-linux-packet", "exact"),
        ("sw-dpdk-sad", "longest"),
        ("netdevsim-linux", "none"),
    ],
)
def test_every_kind_of_table(model, what):
    (row,) = records("pipeline", "--model", model, "--sizes", "64", "--sas", "20", "--hit", "0.5")
    assert row["model"] == model
    (row,) = records("lookup", "--model", model, "--sas", "20")
    assert (row["what"], row["hit"]) == (what, 1.0)


def test_aead_engine_by_engine():
    found = records("aead", "--sizes", "64", "--engines", "cryptography", "--suite", "ChaCha20-Poly1305")
    assert [(r["what"], r["engine"], r["suite"]) for r in found] == [
        ("open", "cryptography", "ChaCha20-Poly1305"),
        ("seal", "cryptography", "ChaCha20-Poly1305"),
    ]


def test_the_tables_for_people():
    done = CliRunner().invoke(bench, ["pipeline", "--quick", "--sizes", "64", "--sas", "2"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert any(line.startswith("in    2") for line in lines)
    assert any(line.startswith("in: nanoseconds/cycles a packet by stage") for line in lines)
    tables = lines[: next(n for n, line in enumerate(lines) if "; seed 1" in line)]
    assert max(map(len, tables)) <= 120


@pytest.mark.parametrize(("name", "magic"), [pytest.param("plot.png", PNG, marks=pytest.mark.long), ("plot.svg", SVG)])
def test_a_plot(tmp_path, name, magic):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the `plot` extra)")
    path = tmp_path / name
    records("lookup", "pipeline", "--sas", "10,20", "--sizes", "64,imix", "--plot", str(path))
    assert path.read_bytes().startswith(magic)
    assert os.listdir(tmp_path) == [name]


def test_a_plot_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the `plot` extra)")
    path = tmp_path / "plot.svg"
    path.write_text("before")

    def fails(*_):
        raise InputError("no")

    monkeypatch.setattr("espsim.report.bench_plots.draw_bench", fails)
    done = CliRunner().invoke(bench, ["replay", "--sas", "10", "--quick", "--plot", str(path)])
    assert isinstance(done.exception, InputError)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["plot.svg"]


@pytest.mark.parametrize("sas", ["0", "", "1x", "-1", "1,,2", "20000001", "1e3", "１"])
def test_what_is_no_number_of_sas(sas):
    done = CliRunner().invoke(bench, ["lookup", "--sas", sas])
    assert isinstance(done.exception, InputError)
    assert "is not a number of SAs from 1 to 20,000,000" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sizes", "27"], "--sizes: '27' is not a size in bytes (or imix) from 28 to 9,000"),
        (["--sizes", "9001"], "'9001' is not a size"),
        (["--sizes", "64,IMIX"], "'IMIX' is not a size"),
        (["--workers", "0"], "--workers: '0' is not a number of workers from 1 to 256"),
        (["--engines", "openssl"], "openssl: no such engine; there are auto, ipsec-mb, libcrypto, cryptography"),
        (["--engines", ""], "no such engine"),
        (["--plot", "rates.pdf"], "rates.pdf: a plot is .png or .svg"),
        (["--plot", "/nowhere/at/all.png"], "/nowhere/at/all.png: cannot be written"),
        (["--model", "nobodys-nic"], "nobodys-nic: no such model"),
        (["--model", "marvell-cn10k-dpdk", "--sas", "257"], "its table is measured with 256 SAs at most"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(arguments, says):
    if "--plot" in arguments and "written" in says:
        pytest.importorskip("matplotlib")
    done = CliRunner().invoke(bench, ["pipeline", "--quick", *arguments])
    assert isinstance(done.exception, InputError)
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


def without_ipsec_mb(monkeypatch):
    from espsim.aead import engines

    def found(name):
        return engines.FoundEngine(name, None, why="it is not there") if name == "ipsec-mb" else find(name)

    monkeypatch.setattr("espsim.measure.plan.find", found)
    monkeypatch.setattr(engines, "find", found)


def test_an_engine_that_is_missing_is_named_and_skipped(monkeypatch):
    without_ipsec_mb(monkeypatch)
    done = CliRunner().invoke(bench, ["aead", "--quick", "--sizes", "64", "--json"])
    assert done.exit_code == 0
    assert "engine ipsec-mb is not there: it is not there" in done.stderr
    assert "ipsec-mb" not in {json.loads(line)["engine"] for line in done.stdout.splitlines()}


def test_an_engine_that_is_missing_is_an_error_where_asked_for(monkeypatch):
    without_ipsec_mb(monkeypatch)
    done = CliRunner().invoke(bench, ["aead", "--quick", "--engines", "ipsec-mb"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "ipsec-mb: the engine cannot be used: it is not there"


def test_more_sas_than_memory_are_left_out_with_a_word(monkeypatch):
    monkeypatch.setattr("espsim.measure.tunnels._MOST_SA_BYTES", 1 << 50)
    done = CliRunner().invoke(bench, ["pipeline", "--quick", "--engines", "cryptography", "--sizes", "64", "--json"])
    assert done.exit_code == 0
    assert "MiB are needed" in done.stderr
    assert done.stdout == ""


def test_a_peer_says_why_it_cannot_run(monkeypatch):
    peers._dpdk_version.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(peers.Unavailable, match=r"dpdk-test-sad is not installed .*dpdk-dev"):
        peers.dpdk_test_sad(1000, hit=1.0, v6=False, spi_only=False)
    with pytest.raises(peers.Unavailable, match=r"dpdk-test-crypto-perf is not installed .*dpdk-dev"):
        aead_peers.crypto_perf(aead_peers.MB, "open", 64, 1000)
    with pytest.raises(peers.Unavailable, match="openssl is not installed"):
        aead_peers.openssl_speed(64)
    peers._dpdk_version.cache_clear()


def test_a_driver_that_breaks_off_is_left_out_with_its_last_words():
    with pytest.raises(peers.Unavailable, match="crypto_aesni_mb: No crypto devices"):
        aead_peers._throughput("EAL: something\n\nNo crypto devices\n", "crypto_aesni_mb")


def test_a_peer_that_would_crash_is_not_run(monkeypatch):
    monkeypatch.setattr(peers, "_dpdk_version", lambda _: "22.11")
    with pytest.raises(peers.Unavailable, match="overruns"):
        peers.dpdk_test_sad(19, hit=1.0, v6=False, spi_only=False)
