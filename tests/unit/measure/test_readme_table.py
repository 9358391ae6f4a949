"""The generated table of bench/README.md: what is measured, what is missed, what was lost, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espsim.core.errors import InputError
from espsim.measure import readme
from espsim.measure.figures import FIGURES


def row(bench, what, **more):
    facts = {
        "bench": bench, "what": what, "sas": 100, "size": None, "engine": "ipsec-mb", "model": None, "workers": 1,
        "hit": 1.0, "rate_mps": 8.0, "peer": None, "peer_rate_mps": None, "ratio_min": None, "ratio_median": None,
        "ratio_max": None, "rounds": 9, "machine": "a machine", "versions": {"espsim": "1"}, "peer_note": None,
    }  # fmt: skip
    return facts | more


def against(peer, low, middle, high, **more):
    return {"peer": peer, "ratio_min": low, "ratio_median": middle, "ratio_max": high, "peer_note": "note, 1, x"} | more


ROWS = [
    row("lookup", "triple", **against("dpdk-test-sad", 2.4, 2.5, 2.6, sas=1000)),
    row("lookup", "triple", **against("dpdk-test-sad", 1.8, 1.9, 2.0, sas=100_000)),
    row("lookup", "triple", **against("random gather", 0.5, 0.5, 0.8, sas=10_000_000)),
    row("pipeline", "in", engine_version="intel-ipsec-mb 1.3.0, SSE")
    | against("dpdk-test-crypto-perf crypto_aesni_gcm", 1.1, 1.2, 1.3, size=64)
    | {"peer_note": "note, intel-ipsec-mb 1.3.0, x"},
    row("pipeline", "in", sas=100_000, size=64, bytes_per_sa=224.0),
    row("replay", "window-64", sas=10_000, rate_mps=50.0),
    row("aead", "seal", size=64, **against("openssl speed", 0.7, 0.8, 0.9)),
]


def test_the_table_and_what_it_says_in_words():
    text = readme.section(ROWS)
    assert "| 2x | 3x | 1k SAs 2.50x (2.40 to 2.60); 100k SAs 1.90x (1.80 to 2.00) |" in text
    assert "| 0.8x | 1x | 64 B 1.20x (1.10 to 1.30) |" in text
    assert "2.00 x its time (1.25 to 2.00)" in text
    assert "| 20 ns | 10 ns | 20.0 ns |" in text
    assert "| 512 B | 256 B | 224 B |" in text
    assert "IPv4, 1k SAs: 2.50x (2.40 to 2.60), past the floor, short of the goal of 3x." in text
    assert "IPv4, 100k SAs: 1.90x (1.80 to 2.00), short of the floor of 2x." in text
    assert "- lookup, IPv6: not measured in this run." in text
    assert "- aead, seal, 100 SAs, 64 bytes, ipsec-mb: 0.8x of openssl speed." in text
    assert "crypto_aesni_gcm (note, intel-ipsec-mb 1.3.0)" in text
    assert "crypto_aesni_gcm, 64 bytes" not in text


def test_every_figure_has_a_line():
    lines = readme.section(ROWS).splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(FIGURES) + 1


def test_two_versions_of_a_library_and_of_its_peer_have_lines_of_their_own():
    """Each beside the peer over the same version; a pair of two versions is in neither."""

    def beside(engine, dpdk, ratio):
        more = {"engine_version": f"intel-ipsec-mb {engine}, AVX512", "peer_note": f"DPDK {dpdk}, one key"}
        return row("pipeline", "in", **against("crypto_aesni_gcm", ratio, ratio, ratio, size=64) | more)

    text = readme.section([
        beside("1.3.0", "22.11, intel-ipsec-mb 1.3.0", 0.7),
        beside("2.0.2", "22.11, intel-ipsec-mb 1.3.0", 2.5),
        beside("2.0.2", "25.11, intel-ipsec-mb 2.0.2", 0.65),
        beside("2.0.2", "25.11, intel-ipsec-mb 2.0.2", 0.11),
    ])  # fmt: skip
    assert "ipsec-mb 1.x on both sides | DPDK's crypto_aesni_gcm, decryption alone | 0.8x | 1x | 64 B 0.70x |" in text
    assert "ipsec-mb 2.x on both sides | DPDK's crypto_aesni_gcm, decryption alone | 0.6x | 0.9x | 64 B 0.65x |" in text
    assert "- pipeline, in, 100 SAs, 64 bytes, intel-ipsec-mb 2.0.2: 0.11x of crypto_aesni_gcm." in text
    flat = " ".join(text.split())
    assert "crypto_aesni_gcm (DPDK 22.11, intel-ipsec-mb 1.3.0); crypto_aesni_gcm (DPDK 25.11, intel-ipsec-mb" in flat


def test_only_the_section_is_written_anew(tmp_path):
    path, records = tmp_path / "README.md", tmp_path / "rows.jsonl"
    path.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    records.write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    readme.main([str(records), str(path)])
    first = path.read_text()
    assert first.startswith(f"before\n{readme.BEGIN}\n\n`espsim bench --peers` on a machine")
    assert first.endswith(f"\n\n{readme.END}\nafter\n")
    assert "old" not in first
    readme.main([str(records), str(path)])
    assert path.read_text() == first


@pytest.mark.parametrize("text", ["no markers", f"{readme.END}{readme.BEGIN}", readme.BEGIN * 2 + readme.END])
def test_markers_must_be_there(text):
    with pytest.raises(InputError, match="markers"):
        readme.rewritten(text, ROWS, "README.md")


@pytest.mark.parametrize("text", ["", "nonsense\n", "[]\n", '{"bench": "lookup"}\n'])
def test_a_file_that_holds_no_records(tmp_path, text):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=r"holds no records|is not a record"):
        readme.read_rows(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        readme.read_rows(tmp_path / "rows.jsonl")


def test_the_readme_has_the_markers():
    text = (Path(__file__).parents[3] / readme.README).read_text(encoding="utf-8")
    assert text.count(readme.BEGIN) == text.count(readme.END) == 1


def test_outside_a_checkout_the_readme_is_to_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"bench/README\.md: cannot be read"):
        readme.main(["rows.jsonl"])
    with pytest.raises(InputError, match="the README to change"):
        readme.main([])
