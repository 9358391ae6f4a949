"""Every `--html` report: a question, its verdict, tables and drawings; one file that fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
from html.parser import HTMLParser

import pytest

from espsim.report.html.audit import audit_html
from espsim.report.html.bench import bench_html
from espsim.report.html.charts import Point, Scale, SlotMap, bars, lines
from espsim.report.html.document import HtmlTable, HtmlWords, Made, Report, Section, render
from tests.command import espsim, espsim_text

EVIL = "<script>alert(1)</script>\x1b[31m\u202e\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "path", "rect", "circle", "polyline", "link", "img", "br"}


class Page(HTMLParser):
    """How the reports are made."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr" or tag not in VOID - {"path", "rect", "circle", "polyline"}:
            self.open.append(tag)
        self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]][-1] += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def read(text: str) -> Page:
    """The page, after the checks that hold for every report."""
    page = Page(text)
    style = page.text["style"][0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in (policy or "")
    assert not {"script", "img", "a", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [
        name for _, attrs in page.tags for name in attrs if name.startswith("on") or name in ("src", "href", "style")
    ]
    assert "url(" not in style
    assert all(line.isprintable() for line in text.replace("\t", "").split("\n"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert page.count("table") == page.count("caption")
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert page.count("svg") == page.count("desc") == page.count("figcaption")
    labels = [attrs["aria-labelledby"] for tag, attrs in page.tags if tag in ("svg", "section")]
    assert set(" ".join(map(str, labels)).split()) <= set(ids)
    assert page.count("h1") == 1
    return page


def made(tmp_path, *words, status=0):
    out = tmp_path / "report.html"
    ended = espsim_text(*words, "--html", out)
    assert ended[0] == status, ended
    return read(out.read_text()), out.read_text(), ended[1]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    assert espsim_text("samples", folder)[0] == 0
    return folder


def test_a_run_has_its_question_its_verdict_and_what_became_of_the_packets(tmp_path):
    page, text, printed = made(tmp_path, "run", "replay", "--trace")
    assert page.text["h1"][0].startswith("Duplicates, late packets and forgeries")
    assert '<p class="verdict ok">1 cell run, 1 compared with what is expected: all as expected</p>' in text
    assert "3 REPLAY_DUPLICATE" not in text
    assert page.count("rect") == 4  # delivered, duplicate, too old, a wrong ICV
    assert "REPLAY_TOO_OLD / XfrmInStateSeqError" in html.unescape(text)
    assert "all as expected" in printed
    (command,) = page.text["pre"]
    assert shlex.split(command) == ["espsim", "run", "replay", "--trace", "--html", str(tmp_path / "report.html")]


def test_a_run_that_is_not_as_expected_says_so_first(tmp_path):
    scenario = tmp_path / "wrong.toml"
    text = espsim_text("run", "--show", "replay")[1].replace("delivered = 6", "delivered = 5", 1)
    scenario.write_text(text)
    page, report, printed = made(tmp_path, "run", scenario, status=1)
    assert '<p class="verdict bad">' in report
    assert "FAILED send A: delivered expected 5, got 6" in html.unescape(report)
    assert "FAILED send A" in printed
    assert page.count("section") == 2


def test_the_two_questions_and_a_storm(tmp_path):
    page, text, _ = made(tmp_path, "run", "default")
    assert "full-4301" in text
    assert page.count("table") == 1
    page, text, _ = made(tmp_path, "run", "rotation", "--set", "nodes=8")
    assert "packets are lost" in text
    assert page.count("svg") == 3
    assert page.count("polyline") == 3


def test_a_window(tmp_path, samples):
    page, text, printed = made(tmp_path, "window", samples / "esn.pcap")
    assert f'<p class="verdict ">{printed.splitlines()[0]}</p>' in text
    assert page.count("polyline") == 1
    sad = (samples / "esn.sad").read_text()
    small = tmp_path / "small.sad"
    old, new = "64, bitmap-length 2\n\t 00000000 00000000", "32, bitmap-length 1\n\t 00000000"
    small.write_text(sad.replace(old, new))
    assert small.read_text() != sad
    _, text, printed = made(tmp_path, "window", samples / "esn.pcap", "--sad", small)
    assert '<p class="verdict bad">1 of the SAs has a window that loses packets</p>' in text
    assert printed.splitlines()[-1] in html.unescape(text)


def test_a_capture_with_nothing_in_it(tmp_path, samples):
    page, text, _ = made(tmp_path, "window", samples / "clear.pcap")
    assert '<p class="verdict ">no ESP in it</p>' in text
    assert page.count("table") == 0


def row(sas, rate, **more):
    return {
        "bench": "lookup", "what": "triple", "sas": sas, "size": None, "engine": "numba", "model": None, "workers": 1,
        "hit": 1.0, "rate_mps": rate, "peer": None, "peer_rate_mps": None, "ratio_min": None, "ratio_median": None,
        "ratio_max": None, "rounds": 3, "setup_s": 0.1, "compile_s": 0, "peer_note": None, "stages": None,
    } | more  # fmt: skip


ABOUT = {
    "machine": "a machine", "versions": {"espsim": "1", "numpy": "2"}, "seed": 1, "batch": 2048, "clock_mhz": 2000.0,
    "clock": "TSC", "when": "2026-01-01T00:00:00Z",
}  # fmt: skip


def test_a_bench_draws_rates_against_sas_stages_and_ratios():
    stages = {name: {"ns": ns, "cycles": 2 * ns} for name, ns in (("parse", 3.0), ("open", 60.0))}
    peer = {
        "peer": "dpdk",
        "peer_rate_mps": 20.0,
        "ratio_min": 0.4,
        "ratio_median": 0.5,
        "ratio_max": 0.6,
        "peer_note": "x",
    }
    piped = {
        "bench": "pipeline",
        "what": "in",
        "engine": "libcrypto",
        "engine_version": "3",
        "mean_size": 64,
        "size": 64,
    }
    rows = [
        row(1000, 100.0, **peer | {"ratio_median": 2.0, "ratio_max": 3.0}),
        row(100_000, 50.0, **peer),
        row(100, 10.0, stages=stages, **piped),
        row(10_000, 5.0, **piped),
    ]
    text = bench_html(rows, ABOUT, Made([("machine", "m"), ("versions", "v")], "espsim bench"))
    page = read(text)
    assert '<p class="verdict bad">faster than other programs in 1 of 2 rows, slower in 1</p>' in text
    assert page.count("svg") == 4  # lookup: rates, ratios; pipeline: rates against SAs; stages
    assert page.count("rect") == 2
    assert "<dt>when</dt>" in text
    assert "3.0/6" in text
    nothing = bench_html([], ABOUT, Made())
    assert "nothing was measured" in nothing


@pytest.mark.long
def test_bench_writes_it(tmp_path):
    page, text, _ = made(tmp_path, "bench", "replay", "--quick", "--sas", "100")
    assert "What does the batch path cost here: replay?" in text
    assert page.count("table") >= 1


def test_an_audit_draws_slots_and_the_odds_where_they_change(tmp_path):
    sads = "".join(
        f"src 198.51.100.{n} dst 192.0.2.1\n\tproto esp spi {spi:#x} reqid 1 mode tunnel\n\treplay-window 64\n"
        "\taead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128\n"
        for n, spi in ((1, 0x101), (2, 0x102), (3, 0x201), (4, 0x5000))
    )
    (tmp_path / "dump").write_text(sads)
    page, text, printed = made(tmp_path, "audit", tmp_path / "dump", "--model", "marvell-cn10k-dpdk", status=1)
    assert printed.splitlines()[0] in text
    assert page.count("svg") == 2
    assert page.count("rect") == 3  # 0x101 and 0x201 share a slot
    assert page.count("polyline") >= 2
    assert "000102030405" not in text


def test_what_comes_from_a_file_never_becomes_markup(tmp_path, samples):
    folder = tmp_path / f"<b onmouseover=x>{EVIL.replace('/', '')[:60]}"
    folder.mkdir()
    (folder / "c.pcap").write_bytes((samples / "esn.pcap").read_bytes())
    _, text, _ = made(tmp_path, "window", folder / "c.pcap")
    assert "&lt;b onmouseover=x&gt;" in text
    scenario = tmp_path / "evil.toml"
    shown = espsim_text("run", "--show", "replay")[1]
    question = re.search(r"^question = .*$", shown, re.MULTILINE)
    assert question is not None
    source = re.search(r"^source = .*$", shown, re.MULTILINE)
    assert source is not None
    scenario.write_text(
        shown.replace(question[0], f"question = {json.dumps(EVIL)}").replace(source[0], f"source = {json.dumps(EVIL)}")
    )
    _, text, _ = made(tmp_path, "run", scenario)
    assert "&lt;script&gt;alert(1)" in text
    assert r"\x1b[31m\u202e" in text
    read(
        render(
            Report(EVIL, EVIL, EVIL, None, [Section(EVIL, [HtmlWords(EVIL), HtmlTable.of(EVIL, (EVIL,), [(EVIL,)])])],
                   (EVIL,), (EVIL,), Made([(EVIL, EVIL)], EVIL))
        )
    )  # fmt: skip
    evil_row = row(1, 1.0, what=EVIL, engine=EVIL, stages={EVIL: {"ns": 1.0, "cycles": None}}, size=EVIL)
    read(bench_html([evil_row, {**evil_row, "sas": 100}], ABOUT | {"machine": EVIL}, Made(), [EVIL]))


@pytest.mark.parametrize(
    "words",
    [
        ["run", "./s.toml", "--html", "s.toml"],
        ["run", "replay", "--pcap", "out", "--html", "out"],
        ["run", "replay", "--model", "./m.toml", "--html", "m.toml"],
        ["window", "esn.pcap", "--html", "esn.pcap"],
        ["window", "esn.pcap", "--sad", "esn.sad", "--html", "esn.sad"],
        ["bench", "lookup", "--model", "./m.toml", "--html", "m.toml"],
        ["run", "replay", "--html", "nowhere/x.html"],
        ["run", "replay", "--html", "."],
        ["bench", "lookup", "--html", "nowhere/x.html"],
        ["run", "--list", "--html", "x.html"],
    ],
    ids=" ".join,
)
def test_an_output_never_replaces_an_input_and_what_cannot_be_written_is_said_at_once(
    tmp_path, samples, monkeypatch, words
):
    for name in ("esn.pcap", "esn.sad"):
        (tmp_path / name).write_bytes((samples / name).read_bytes())
    (tmp_path / "s.toml").write_text(espsim_text("run", "--show", "replay")[1])
    (tmp_path / "m.toml").write_text('extends = "intel-82599-linux"\nid = "m"\n')
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = espsim_text(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_fails_leaves_no_half_of_a_report(tmp_path):
    page = tmp_path / "x.html"
    page.write_text("as it was")
    assert espsim_text("run", "replay", "--policy", "nonesuch", "--html", page)[0] == 2
    assert page.read_text() == "as it was"
    assert espsim_text("window", tmp_path / "missing", "--html", page)[0] == 2
    assert page.read_text() == "as it was"


def test_standard_output_has_the_page_and_standard_error_the_report():
    ended = espsim("run", "replay", "--html", "-", "--json")
    assert ended.stdout.startswith(b"<!doctype html>")
    assert json.loads(ended.stderr)["ok"] is True
    read(ended.stdout.decode())


def test_axes_and_drawings():
    assert Scale(0, 10, 0, 100).at(5) == 50
    assert Scale(1, 100, 0, 100, log=True).at(10) == 50
    assert Scale(0, 10, 0, 100).ticks() == [0, 2, 4, 6, 8, 10]
    assert Scale(1, 1000, 0, 1, log=True).ticks() == [1, 10, 100, 1000]
    alone = lines("t", "s", {"one": [Point(3, 0, 0, 0)]}, ("x", "y"))
    assert sum(shape.tag == "circle" for shape in alone.shapes) == 1
    nothing = bars("t", "s", [("a", {"x": 0})], "u")
    assert all("nan" not in str(shape.facts) for shape in nothing.shapes)
    result = {"lost": 0, "models": [], "odds": [], "notes": [], "dump": "d", "sas": 0, "inbound": 0, "outbound": 0,
              "left_out": {}, "local": [], "local_count": 0, "inbound_undirected": 0, "spi_range": None}  # fmt: skip
    read(audit_html(result, [], [], Made()))
    assert SlotMap(4, 1, [0, 1, 0, 1], [0, 0, 0, 1]).size == 4
