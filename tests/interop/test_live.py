"""`espsim xfrm --live`: the larval scenarios on this machine's kernel and on the model, line by line."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.live import NOT_COMPARABLE, SAME, kernel_of, run_live, running_release, unavailable

pytestmark = pytest.mark.interop


needs_a_kernel = pytest.mark.usefixtures("live")

TO = "xfrm state allocspi src 10.0.0.1 dst {} proto {} min {} max {}"


def to(dst: str, spi: int = 0x5000, more: str = "", proto: str = "esp", high: int | None = None) -> str:
    return f"{TO.format(dst, proto, spi, spi if high is None else high)} {more}".strip()


SCENARIOS = {
    "S01 five local addresses": [to(f"10.0.1.{i}") for i in range(1, 6)],
    "S03 two peers": [to("10.0.1.1"), to("10.0.1.2"), "xfrm state count"],
    "S08 one peer, two sources": [to("10.0.1.1"), to("10.0.1.1").replace("src 10.0.0.1", "src 10.0.0.9")],
    "S10a a zero state can't be named": [
        to("10.0.1.1"), to("10.0.1.2"), "xfrm state get src 10.0.0.1 dst 10.0.1.2 proto esp spi 0",
        "xfrm state delete src 10.0.0.1 dst 10.0.1.2 proto esp spi 0", "xfrm state deleteall", "xfrm state flush",
        "xfrm state count",
    ],
    "S11 zero, and the whole range": [
        to("10.0.1.1", 0), to("10.0.1.1", 0), "xfrm state count", to("10.0.1.1", 0, high=0xFFFFFFFF),
    ],
    "S11b reserved SPIs": [to(f"10.0.1.{i}", i) for i in (1, 2, 255)],
    "S14 three protocols": [to("10.0.1.1", proto=p) for p in ("esp", "ah", "comp")],
    "S15 IPv4, then IPv6": [to("10.0.1.1"), to("2001:db8::2").replace("10.0.0.1", "2001:db8::1")],
    "S16 marks": [to("10.0.1.1", more="mark 1 mask 0xff"), to("10.0.1.1", more="mark 2 mask 0xff")],
    "S17 what is in no key": [
        to("10.0.1.1"), *(to("10.0.1.1", more=m) for m in ("reqid 7", "mode tunnel", "mode beet", "seq 9")),
        "-s xfrm state list",
    ],
    "S18 a leftover is adopted": [
        to("10.0.1.1"), to("10.0.1.2"), to("10.0.1.2"), "xfrm state count", to("10.0.1.2", 0x5001), "xfrm state count",
        "-s xfrm state list",
    ],
    "S19 a deleted SPI is free": [
        to("10.0.1.1"), "xfrm state delete src 10.0.0.1 dst 10.0.1.1 proto esp spi 0x5000", to("10.0.1.2"),
        "xfrm state flush proto esp", to("10.0.1.3"), "xfrm state list",
    ],
    "larval expiry": [
        "sysctl net.core.xfrm_acq_expires=1", to("10.0.1.1"), to("10.0.1.2"), "-s xfrm state list", "sleep 2.3",
        "xfrm state count", to("10.0.1.2"), "xfrm monitor",
    ],
    "drawn SPIs": [
        "xfrm state allocspi src 10.0.0.1 dst 10.0.1.1 proto esp", "xfrm state allocspi src ::1 dst ::2 proto comp",
        "-s xfrm state list", "xfrm state list proto comp", "-o xfrm state list", "xfrm state count",
    ],
    "refused ranges": [
        to("10.0.1.1", 0x100, proto="comp", high=0x10000), to("10.0.1.1", proto="hao"), to("10.0.1.1", 2, high=1),
        "xfrm state count",
    ],
    "policies": [
        "xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 1.1.1.1 dst 1.1.1.2 proto esp mode tunnel",
        "xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out", "xfrm policy add dir in src ::1 proto tcp sport 4",
        "xfrm policy update dir in src ::1 proto tcp sport 4 priority 9", "xfrm policy add dir fwd index 9",
        "-s xfrm policy list", "xfrm policy get dir in index 8", "xfrm policy delete dir out index 1",
        "xfrm policy count", "xfrm policy flush", "xfrm policy list", "xfrm monitor",
    ],
    "iproute2's own refusals": [
        "xfrm state add", "xfrm state add src 10.0.0.1 dst ::1 proto esp", "xfrm state allocspi proto esp min 1",
        "xfrm state list foo", "xfrm state foo", "xfrm policy add dir foo", "xfrm policy add src 1.1.1.1 dir in foo",
        "xfrm monitor foo",
    ],
}  # fmt: skip


def compare(lines: list[str]):
    return run_live(list(read_batch(io.BytesIO("\n".join(lines).encode()), "-")))


@needs_a_kernel
@pytest.mark.parametrize(
    "name",
    # It waits for seconds of the real clock.
    [pytest.param(name, marks=[pytest.mark.long] if name == "larval expiry" else []) for name in SCENARIOS],
)
def test_the_larval_scenarios_agree_line_by_line(name: str):
    result = compare(SCENARIOS[name])
    assert [(c.line, c.command, c.live, c.model) for c in result.lines if c.verdict != SAME] == []
    assert len(result.lines) == len(SCENARIOS[name])


ADDRESSES = ("1.1.1.1", "10.0.0.2", "::1", "2001:db8::2", "any", "10.1", "1.1.1.0/24", "::/0", "foo", "1.2.3.4/33")
NUMBERS = ("0", "1", "7", "0x100", "4096", "5000", "-1", "x", "0xffffffff", "4294967296", "08", "''", "33")
WORDS = {
    "src": ADDRESSES, "dst": ADDRESSES, "proto": ("esp", "ah", "comp", "hao", "ipsec-any", "50", "tcp", "gre", "any"),
    "spi": NUMBERS, "mode": ("tunnel", "t", "tu", "ro", "b", "in", "x"), "reqid": NUMBERS, "seq": NUMBERS,
    "mark": NUMBERS, "mask": NUMBERS, "replay-window": NUMBERS, "replay-seq": NUMBERS, "limit byte-soft": NUMBERS,
    "flag": ("esn", "icmp", "foo", "localok"), "extra-flag": ("oseq-may-wrap", "x"), "sel sport": NUMBERS,
    "encap espinudp 1": NUMBERS, "coa": ADDRESSES, "ctx": ("a",), "output-mark": NUMBERS, "tfcpad": NUMBERS,
    "enc a": ("0x00", "ab", "''"), "auth a": ("0x00",), "aead a 0x00": NUMBERS, "comp": ("deflate",), "min": NUMBERS,
    "max": NUMBERS, "nokeys": ("", "x"), "priority": NUMBERS, "action": ("allow", "block", "x"), "index": NUMBERS,
    "ptype": ("main", "sub", "x"), "tmpl proto": ("esp", "ah", "x"), "level": ("use", "required"), "key": NUMBERS,
    "sport": NUMBERS, "type": NUMBERS, "dev": ("lo", "none"),
}  # fmt: skip
VERBS = ("add", "update", "allocspi", "get", "delete", "deleteall", "list", "flush", "count", "show", "a", "d", "fl")


def a_line(rng: random.Random) -> str:
    """A line with a typical typing mistake."""
    what, verb = rng.choice(("state", "policy")), rng.choice(VERBS)
    parts = [f"{word} {rng.choice(WORDS[word])}".strip() for word in rng.choices(tuple(WORDS), k=rng.randint(0, 4))]
    if rng.random() < 0.6:
        good = "src 1.1.1.1 dst 10.0.0.2 proto esp" if what == "state" else f"dir {rng.choice(('in', 'out', 'fwd'))}"
        parts.insert(rng.randint(0, len(parts)), good)
    if verb in ("allocspi", "a") and what == "state":
        parts.append("min 7 max 7")
    return f"{rng.choice(('', '', '-4 ', '-6 ', '-s ', '-o '))}xfrm {what} {verb} {' '.join(parts)}"


@needs_a_kernel
@pytest.mark.parametrize("seed", range(3))
def test_lines_at_random_are_answered_alike(seed: int):
    rng = random.Random(seed)
    result = compare([a_line(rng) for _ in range(150)])
    assert [(c.command, c.live, c.model) for c in result.differences] == []
    assert sum(c.verdict == SAME for c in result.lines) > 120


@needs_a_kernel
def test_the_other_policy_is_told_apart():
    """This kernel differs from the other rule, so the comparison can fail."""
    other = "rfc2401" if kernel_of(running_release()) != "rfc2401" else "rfc4301"
    lines = list(read_batch(io.BytesIO("\n".join(SCENARIOS["S03 two peers"]).encode()), "-"))
    result = run_live(lines, policy=other)
    assert [c.line for c in result.differences] == [2]


@needs_a_kernel
def test_what_a_kernel_cannot_do_is_no_agreement():
    add = "xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 7 mode transport enc no(such) 0x0011"
    result = compare([add, "xfrm state count", "android allocate 10.0.0.2", "xfrm state count"])
    assert [c.verdict for c in result.lines] == [NOT_COMPARABLE, SAME, NOT_COMPARABLE, SAME]
    assert "algorithm" in result.lines[0].why


@needs_a_kernel
def test_the_command(tmp_path: Path):
    path = tmp_path / "batch"
    path.write_text("\n".join(SCENARIOS["S03 two peers"]))
    command = [sys.executable, "-m", "espsim", "xfrm", "--live", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "3 lines agree, 0 differ, 0 not comparable" in run.stdout
    other = subprocess.run([*command, "--json", "--policy", "openbsd"], capture_output=True, text=True, check=False)
    result = json.loads(other.stdout)
    assert (other.returncode, result["counts"]["differs"]) == (1, 1)
    assert [line["line"] for line in result["lines"] if line["verdict"] == "differs"] == [2]


@pytest.mark.skipif(unavailable() is None, reason="this machine can make network namespaces")
def test_where_it_cannot_run_it_says_why(tmp_path: Path):
    path = tmp_path / "batch"
    path.write_text("xfrm state count\n")
    run = subprocess.run([sys.executable, "-m", "espsim", "xfrm", "--live", path], capture_output=True, check=False)
    assert run.returncode == 2
    assert b"--live cannot run here" in run.stderr


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.1.176", "linux-6.1"), ("6.1.192-amd64", "linux-6.1.192"), ("5.15.0", "linux-6.1"), ("6.5.3", "rfc2401"),
        ("6.6.102", "rfc2401"), ("6.6.103", "rfc4301-spi0"), ("6.6.109", "linux-6.12"), ("6.12.42", "rfc2401"),
        ("6.12.43", "rfc4301-spi0"), ("6.12.50", "linux-6.12"), ("6.12.117", "linux-6.12"), ("6.16.1", "rfc2401"),
        ("6.16.2", "rfc4301-spi0"), ("6.16.10", "linux-6.12"), ("6.17.0", "linux-6.12"), ("6.18.44-fc", "linux-6.18"),
        ("7.0-rc1", "linux-6.18"), ("7.2.13", "linux-7.2"), ("7.3.4-1~bpo13", "linux-7.3"),
    ],
)  # fmt: skip
def test_which_kernel_has_the_commit(release: str, name: str):
    assert kernel_of(release) == name
