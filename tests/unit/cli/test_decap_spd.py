"""`decap --spd` and `explain --spd` as a user runs them, on a kernel's capture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.command import espsim_text
from tests.support import CAPTURES

STREAM = next(
    one for one in json.loads((CAPTURES / "manifest.json").read_text())["events"] if one["name"] == "counters-tunnel44"
)
CAPTURE = CAPTURES / STREAM["file"]
SPD = (
    "# ip xfrm policy\nsrc 10.1.0.1/32 dst 10.2.0.1/32 \n\tdir in priority 0 ptype main \n"
    "\ttmpl src 192.0.2.1 dst 192.0.2.2\n\t\tproto esp reqid 1 mode tunnel\n"
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "sad").write_text(STREAM["sa"]["ip_xfrm_state"] + "\n")
    (tmp_path / "spd").write_text(SPD)
    return tmp_path


def decap(files, *options: object) -> tuple[int, dict[str, Any], str]:
    words = ("decap", CAPTURE, "--sad", files / "sad", "--json", *options)
    status, out, err = espsim_text(*words)
    return status, json.loads(out) if out else {}, err


@pytest.mark.parametrize("way", [(), ("--batch",), ("--workers", 2)])
def test_the_kernels_counters(files, way):
    before = decap(files)[1]["linux_counters"]
    _, result, _ = decap(files, "--spd", files / "spd", *way)
    assert result["linux_counters"] == before | {"XfrmInNoPols": 1}
    assert next(one for one in result["why"] if one["verdict"] == "NO_POLICY")["cause"] == "no-policy"


def test_clear_packets_too(files):
    wanted: dict[str, int] = {}
    for event in STREAM["events"]:
        for name, count in event["xfrm_stat"].items():
            wanted[name] = wanted.get(name, 0) + count
    _, result, _ = decap(files, "--spd", files / "spd", "--clear")
    assert result["linux_counters"] == wanted
    assert result["path"] == "reference"


def test_local_asks_for_in_or_fwd(files):
    spd = files / "spd"
    spd.write_text(SPD.replace("dir in", "dir fwd"))
    forwarded = decap(files, "--spd", spd)[1]["delivered"]
    assert decap(files, "--spd", spd, "--local", "10.3.0.0/16")[1]["delivered"] == forwarded > 1
    assert decap(files, "--spd", spd, "--local", "10.3.0.0/16", "--local", "10.2.0.1")[1]["delivered"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--local", "10.0.0.1"), "--local needs --spd"),
        (("--clear",), "--clear needs --spd"),
        (("--spd", "sad"), "no policy in it"),
        (("--spd", "none"), "none"),
        (("--spd", "spd", "--clear", "--workers", 2), "--workers needs the batch path"),
        (("--spd", "spd", "--local", "here"), "--local"),
        (("--spd", "spd", "-o", "spd"), "--spd"),
    ],
)
def test_bad_options_are_one_line(files, monkeypatch, options, said):
    monkeypatch.chdir(files)
    status, _, err = decap(files, *options)
    assert status == 2
    assert said in err.splitlines()[-1]
    assert (files / "spd").read_text() == SPD


def test_explain_shows_the_step(files):
    words = ("explain", CAPTURE, "--sad", files / "sad", "--spd", files / "spd", "--json", "--frame")
    good = json.loads(espsim_text(*words, 1)[1])
    (step,) = [step for step in good["steps"] if step["step"] == "policies"]
    assert step["says"] == "dir in 10.1.0.1/32 > 10.2.0.1/32 takes it: it may pass"
    said = {field["name"]: field["value"] for field in step["fields"]}
    assert said["came under"] == "0x20000001@192.0.2.2 reqid 1 mode tunnel"
    assert said["template"].endswith("reqid 1 mode tunnel level required")
    refused = json.loads(espsim_text(*words, 29)[1])
    assert (refused["verdict"], refused["linux_counter"], refused["cause"]) == (
        "NO_POLICY", "XfrmInNoPols", "no-policy",
    )  # fmt: skip
    assert refused["inner"] is None
    clear = json.loads(espsim_text(*words, 33, "--clear")[1])
    assert (clear["verdict"], clear["cause"]) == ("TEMPLATE", "template")
