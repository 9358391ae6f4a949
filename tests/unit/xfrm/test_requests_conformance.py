"""Every deterministic step that real kernels were asked, asked of the model through the request language.

tests/vectors/xfrm_conformance.jsonl holds what 6.1.176, 6.1.192, 6.12.117 and 6.18.44 answered, a line a step, and
xfrm_conformance_new.jsonl what 7.2.13 and 7.3.4 did, and all of them in two later experiments. Some
commands are prose ("seq 10 again") or leave out what the experiment did; `ASKED` says them in the language, and
`BEFORE` what was done between two steps. 6.18.44 ran without an ESP type: what it refused for that reason alone is left
out, as if it had not been asked. The steps of `ip_basic` are the text of `ip`, not requests.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

VECTORS = Path(__file__).parents[2] / "vectors"
FILES = ("xfrm_conformance.jsonl", "xfrm_conformance_new.jsonl")
ROWS = [json.loads(line) for name in FILES for line in (VECTORS / name).read_text().splitlines()]
KERNELS = {
    "6.1.176": "linux-6.1",
    "6.1.192": "linux-6.1.192",
    "6.12.117": "linux-6.12",
    "6.18.44": "linux-6.18",
    "7.2.13": "linux-7.3",
    "7.3.4": "linux-7.3",
}
NOT_REQUESTS = ("ip_basic",)
FIRST_ACQUIRE_OF_6_18 = 34
"""km.seq comes from one counter for all namespaces, and that machine had seen 33 acquires before."""

A = "dst=10.7.1.1"

ASKED: dict[tuple[str, int], str] = {
    ("larval_expiry", 5): "ADVANCE seconds=4",
    ("larval_ops", 5): "NEWAE dst=10.0.0.2 spi=0x1000",
    ("larval_ops", 6): "NEWAE dst=10.0.0.2 spi=0x1000 replay_val=0,0,0",
    ("bad_requests", 1): "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x1000 max=0x1000 length=100",
    ("bad_requests", 2): "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x1000 max=0x1000 cap=no",
    ("bad_requests", 3): "GETSA dst=10.0.0.2 proto=esp spi=0x1000 cap=no",
    ("acquire_zero_spi", 4): "TX src=10.9.0.1 dst=10.9.1.1",
    ("acquire_zero_spi", 7): "TX src=10.9.0.1 dst=10.9.1.1; TX src=10.9.0.1 dst=10.9.1.2",
    ("acquire_zero_spi", 8): "TX dst=10.9.1.1; TX dst=10.9.1.2",
    ("acquire_zero_spi", 9): "EVENTS",
    ("acquire_zero_spi", 16): "EVENTS",
    ("esp_rx_dup_daddr", 7): f"RX {A} spi=0x1000 seq=3 src=10.7.0.77",
    ("esp_rx_counters", 1): f"RX {A} spi=0x9999 seq=1",
    ("esp_rx_counters", 2): f"RX {A} spi=0x9999 seq=1 cut=4",
    ("esp_rx_counters", 4): f"RX {A} spi=0x1100 seq=1",
    ("esp_rx_counters", 6): f"RX {A} spi=0x1000 seq=10",
    ("esp_rx_counters", 7): f"RX {A} spi=0x1000 seq=10",
    ("esp_rx_counters", 8): f"RX {A} spi=0x1000 seq=0",
    ("esp_rx_counters", 9): f"RX {A} spi=0x1000 seq=100 icv=bad",
    ("esp_rx_counters", 10): f"RX {A} spi=0x1000 seq=10 icv=bad",
    ("esp_rx_counters", 11): f"RX {A} spi=0x1000 seq=11",
    ("esp_rx_counters", 12): f"RX {A} spi=0x1000 seq=12 cut=12",
    ("esp_rx_counters", 15): f"RX {A} spi=0x1200 seq=1 encap=none",
    ("esp_rx_counters", 16): f"RX {A} spi=0x1200 seq=1",
    ("esp_rx_counters", 17): f"RX {A} spi=0x1000 seq=13 encap=4500,4500",
    ("esp_rx_counters", 18): f"RX {A} spi=0x1200 seq=2 encap=4599,4500",
    ("esp_rx_counters", 20): f"RX {A} spi=0x1300 seq=1",
    ("esp_rx_counters", 22): f"RX {A} spi=0x1301 seq=1",
    ("esp_rx_counters", 24): f"RX {A} spi=0x1400 seq=1",
    ("esp_rx_counters", 26): f"RX {A} spi=0x1500 seq=1",
    ("esp_rx_counters", 28): f"RX {A} spi=0x1500 seq=2",
    ("esp_rx_counters", 30): f"RX {A} spi=0x1501 seq=1",
    ("esp_rx_counters", 34): "STAT",
    **{("esp_limits", step): "EVENTS" for step in (3, 5, 7, 9, 11, 27, 37)},
    ("esp_limits", 30): f"RX {A} spi=0x1002 seq=1",
    ("policy_default", 24): "SETDEFAULT length=2",
}
"""(experiment, step): the request; several with `;`. Where events are the answer, `EVENTS` comes last by itself."""

BEFORE: dict[tuple[str, int], str] = {
    ("acquire_zero_spi", 7): "LISTEN on",
    ("acquire_zero_spi", 16): "ADVANCE seconds=4",
    ("esp_rx_counters", 31): f"RX {A} proto=udp src=10.8.0.1",
    ("esp_rx_counters", 33): f"RX {A} proto=udp src=10.8.0.2",
}
"""What the experiment did before the step without a row of its own."""

LIMITS = {
    ("esp_limits", 1): "soft_packets:2,hard_packets:4",
    ("esp_limits", 14): "soft_bytes:20,hard_bytes:40",
    ("esp_limits", 28): "hard_packets:1",
    ("esp_limits", 32): "hard_packets:2",
}
"""What the rows' notes say of limits; that of step 32 is told by its EXPIRE (2 packets)."""


def answers_of(row: dict[str, Any], version: str) -> dict[str, Any] | None:
    """What one kernel answered; None where it was not asked, or refused for the ESP type that it lacked."""
    answer = row["results"].get(version)
    return None if answer is None or answer["extack"] == "Requested type not found" else answer


def asked(row: dict[str, Any], version: str) -> list[str]:
    """The requests of a row, the last of them the one whose answer counts."""
    key = (row["exp"], row["step"])
    lines = [BEFORE[key]] if key in BEFORE else []
    if row["exp"] == "sa_dir_rules":
        lines.append("FLUSHSA")  # every rule was asked of an empty SAD
    text = ASKED.get(key) or said(row)
    if row["op"] == "EVENTS" and text != "EVENTS":
        text += "; EVENTS"
    if key in LIMITS:
        text += f" limits={{{LIMITS[key]}}}"
    if row["exp"] == "acquire_zero_spi" and row["op"] == "ALLOCSPI":
        text = re.sub(r"seq=(\d+)", lambda m: f"seq={int(m[1]) - FIRST_ACQUIRE_OF_6_18 + 1}", text)
    return lines + text.split("; ")


def said(row: dict[str, Any]) -> str:
    """The command in the language, for those whose prose is regular."""
    command: str = row["cmd"]
    if row["op"] == "STAT":
        return "STAT"
    command = command.replace("sysctl -w", "SYSCTL").replace("ip xfrm policy", "POLICY")
    match = re.fullmatch(r"ESP SPI (\w+) seq (\d+) -> (\S+)", command)
    if match:
        return f"RX dst={match[3]} spi={match[1]} seq={match[2]}"
    if row["op"] == "RX" and (match := re.search(r"(?:seq|packet) (\d+)$", command)):
        return f"RX {A} spi={newest_sa(row)} seq={match[1]}{' icv=bad' if 'bad ICV' in command else ''}"
    return command


def newest_sa(row: dict[str, Any]) -> str:
    """The SPI of the last NEWSA before a row of its experiment."""
    before = [r for r in ROWS if r["exp"] == row["exp"] and r["op"] == "NEWSA" and r["step"] < row["step"]]
    return next(word for word in str(before[-1]["cmd"]).split() if word.startswith("spi=")).removeprefix("spi=")


def run(exp: str, version: str) -> dict[int, list[dict[str, Any]]]:
    """One experiment on one kernel's model: the answers of each step."""
    netns = Netns(KERNELS[version])
    rows = [r for r in ROWS if r["exp"] == exp and r["det"] and r["op"] != "NOTE" and answers_of(r, version)]
    script = [(row["step"], line) for row in rows for line in asked(row, version)]
    answers: dict[int, list[dict[str, Any]]] = {}
    given = run_requests(netns, [line for _, line in script], exp)
    for (step, _), answer in zip(script, given, strict=True):
        answers.setdefault(step, []).append(json.loads(json.dumps(answer)))
    return answers


def cases() -> Iterator[object]:
    """Every experiment with every kernel that answered a step of it."""
    for exp, rows in itertools.groupby(sorted(ROWS, key=exp_of), exp_of):
        for version in sorted({version for row in rows for version in row["results"]}):
            if exp not in NOT_REQUESTS:
                yield pytest.param(exp, version, id=f"{exp}-{version}")


def exp_of(row: dict[str, Any]) -> str:
    return str(row["exp"])


@pytest.mark.parametrize(("exp", "version"), list(cases()))
def test_the_model_answers_as_the_kernel_did(exp: str, version: str) -> None:
    asked_of_it = [r for r in ROWS if r["exp"] == exp and r["det"] and r["op"] != "NOTE" and answers_of(r, version)]
    given = run(exp, version)
    sides = {row["step"]: both(row, given, row["results"][version]) for row in asked_of_it}
    assert {step: ours for step, (ours, _) in sides.items()} == {step: theirs for step, (_, theirs) in sides.items()}


def both(row: dict[str, Any], run_of: dict[int, list[dict[str, Any]]], expected: dict[str, Any]) -> tuple[Any, Any]:
    """What the model and the kernel answered to one row, as far as the row says it."""
    given = run_of[row["step"]]
    if (row["exp"], row["step"]) == ("esp_rx_counters", 34):
        plain = [run_of[step][0]["result"] for step in (31, 33)]
        return plain, ["dropped", "dropped"]  # "delivered to the socket in the last two": 0
    if row["op"] == "SEND":
        return str([answer["result"] for answer in given if "counters" in answer]), expected["result"]
    if row["op"] == "SHELL":
        return given[-1], {"errno": 0, "result": "OK", "extack": None}
    return comparable(given[-1], row, expected), comparable(expected, row, expected)


def comparable(answer: dict[str, Any], row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """An answer without what the recording machine's past decided, and events as the row tells them."""
    answer = json.loads(json.dumps(answer))
    if row["op"] == "TX":  # later rows name what left in another way, and have the sender's errno in `result` alone
        return {key: answer[key] for key in ("result", "counters")}
    for item in (*answer.get("states", ()), answer.get("reply", {})):
        item.pop("sel", None)  # said in later rows, not in ours
    if row["op"] == "EVENTS":
        answer["events"] = [retold(e, expected["events"]) for e in answer["events"] if kind(e) in {"ACQUIRE", "EXPIRE"}]
        answer["result"] = f"{len(answer['events'])} events"
    for item in (*answer.get("states", ()), *answer.get("events", ()), answer.get("reply", {})):
        if isinstance(item, dict) and item.get("seq", 0) >= FIRST_ACQUIRE_OF_6_18:
            item["seq"] -= FIRST_ACQUIRE_OF_6_18 - 1
    return answer


def kind(event: dict[str, Any] | list[Any]) -> str:
    return str(event["event"] if isinstance(event, dict) else event[0])


def retold(event: dict[str, Any] | list[Any], expected: list[Any]) -> dict[str, Any] | list[Any]:
    """An event in the fewer words of the row. The time of an ACQUIRE was the wall clock's."""
    if isinstance(event, list):
        return event
    like = expected[0] if expected else event
    if isinstance(like, list):
        return [event["event"], event["spi"], event["hard"]]
    told = {key: event[key] for key in like if key != "t" or event["event"] == "EXPIRE"}
    return told | {"t": int(told["t"])} if "t" in told else told  # a timer may be a tenth of a second late
