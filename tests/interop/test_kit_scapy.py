"""The kit judges scapy: the cases that it fails are listed here, each with its reason, and no other case fails."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from espsim.analysis.kit.differ import difference
from espsim.analysis.kit.judge import read_lines
from tests.command import espsim_text
from tests.interop import scapy_receiver
from tests.kits import kit

pytestmark = pytest.mark.interop
pytest.importorskip("scapy.layers.ipsec", reason="scapy is not installed (the `interop` extra)")

FAILS = {
    "it has no replay window (its own docstring says so)": (
        "windows/window-[1-9]*",
        "windows/reordered",
        "windows/even-then-all",
        "windows/last-number",
        "windows/transport-replay",
        "esn/*-window-*",
        "duplicates/duplicate-spi-windows",
        "rekey/rekey-overlap*",
        "own-traffic/both-directions",
    ),
    "the high half of an extended sequence number is what it was told, and stays so": (
        "esn/esn-wrap-*",
        "esn/esn-zero",
        "esn/esn-start",
    ),
    "AES-GCM opens with an ICV of 16 bytes alone": (
        "algorithms/rfc4106-gcm-aes-*-64",
        "algorithms/rfc4106-gcm-aes-*-96",
    ),
    "it puts no outer fragments together": (
        "fragments/ipv[46]-[2-5]-*",
        "fragments/ipv?-out*",
        "fragments/ipv4-first-*",
        "fragments/ipv4-burst",
        "fragments/ipv4-udp-*",
    ),
    "it counts neither packets nor bytes nor time": ("lifetimes/*-hard",),
    "it knows no selectors": ("malformed/selector",),
    "it delivers dummies, and padding that is longer than the packet": ("malformed/trailer", "malformed/dummies"),
    "it looks at nothing inside a tunnel: neither at what is there nor at TFC padding": (
        "malformed/mode",
        "modes/tfc-padding",
    ),
    "it carries neither DSCP nor ECN into the inner packet": ("dscp/dscp-*-decap-dscp", "dscp/ecn-*-plain"),
    "a packet without UDP passes under an SA with encapsulation, and the reverse": ("udp/udp-mismatch",),
}
"""Why: the cases."""

SKIPS = {
    "scapy has no hmac(sha1) of 160 bits": ("known-vectors/linux-authenc-hmac-sha1-04",),
    "scapy has no hmac(sha256) of 256 bits": ("known-vectors/linux-authenc-hmac-sha256-04",),
    "scapy has no hmac(sha512) of 512 bits": ("known-vectors/linux-authenc-hmac-sha512-04",),
    "scapy has no xcbc(aes) of 96 bits": ("algorithms/*-xcbc-aes-96",),
    "scapy has no cbc(camellia)": ("algorithms/cbc-camellia-*",),
    "scapy has no iiv(rfc4106(gcm(aes)))": ("algorithms/iiv-rfc4106-*",),
    "scapy has no iiv(rfc4309(ccm(aes)))": ("algorithms/iiv-rfc4309-*",),
    "scapy has no iiv(rfc7539esp(chacha20,poly1305))": ("algorithms/iiv-rfc7539esp-*",),
    "scapy has no UDP encapsulation in IPv6": ("udp/udp-ipv6",),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The first difference, or the reason for which it was skipped, of every case that scapy does not pass."""
    work, (folder, manifest) = tmp_path_factory.mktemp("scapy"), kit()
    result: dict[str, tuple[str, str]] = {}
    for n, case in enumerate(manifest.cases):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = scapy_receiver.main(str(folder / case.capture), str(folder / case.sad), str(work / f"{n}.pcap"))
        if status == scapy_receiver.SKIPPED:
            result[case.id] = ("skip", said.getvalue().strip())
            continue
        lines = read_lines(str(folder / case.verdicts))
        why = difference(str(folder / case.out), str(work / f"{n}.pcap"), lines)
        if why is not None:
            result[case.id] = ("fail", why)
    return result


def matching(patterns: tuple[str, ...]) -> set[str]:
    return {case.id for case in kit()[1].cases if any(fnmatch(case.id, pattern) for pattern in patterns)}


def test_what_scapy_fails_is_listed_and_true(found):
    fails = {ident for ident, (result, _why) in found.items() if result == "fail"}
    listed = [matching(patterns) for patterns in FAILS.values()]
    assert fails == set().union(*listed)
    assert sum(map(len, listed)) == len(fails), "each has one reason"


def test_what_it_says_that_it_cannot_do(found):
    said = {ident: why for ident, (result, why) in found.items() if result == "skip"}
    assert said == {ident: why for why, patterns in SKIPS.items() for ident in matching(patterns)}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("windows/window-64", "a second time"),
        ("lifetimes/packet-hard", "EXPIRED"),
        ("modes/tfc-padding", "bytes, not"),
        ("dscp/ecn-ipv4-plain", "TOS: DSCP and ECN"),
        ("udp/udp-mismatch", "ENCAP_MISMATCH"),
        ("esn/esn-wrap-64", "should be delivered"),
    ],
)
def test_the_reasons_are_what_the_judge_saw(found, case, words):
    assert words in found[case][1]


def test_the_adapter_as_the_command_of_the_readme():
    folder, _ = kit()
    adapter = Path(scapy_receiver.__file__)
    command = f"{sys.executable} {adapter} {{in}} {{sad}} {{out}}"
    words = ("kit", "run", folder, "--command", command, "--only", "udp/udp-ipv6", "--only", "ttl/ttl-ipv4", "--json")
    status, out, err = espsim_text(*words)
    assert (status, err) == (0, "")
    assert {case["id"]: case["result"] for case in json.loads(out)["cases"]} == {
        "udp/udp-ipv6": "skip",
        "ttl/ttl-ipv4": "pass",
    }
