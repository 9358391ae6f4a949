"""The rows that real kernels answered, asked of the model, and how many of them agree.

    python -m tests.unit.xfrm.kernel_rows [EXPERIMENT ...]

prints, by experiment and kernel, how many deterministic rows the model answers as the kernel did, and what differs.

Some commands are prose, or leave out a part of the experiment; `ASKED` has them in the request language,
`BEFORE` has what was done between two rows. A row may say less of a state than the model does (`sel` came with later
recordings), so keys that a row's own experiment never has are not compared.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espsim.netlink.netns import Netns
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.requests import run_requests

VECTORS = Path(__file__).parents[2] / "vectors"
FILES = ("xfrm_conformance.jsonl", "xfrm_conformance_new.jsonl")
ROWS: list[dict[str, Any]] = [json.loads(line) for name in FILES for line in (VECTORS / name).read_text().splitlines()]
KERNELS = {
    "6.1.176": "linux-6.1",
    "6.1.192": "linux-6.1.192",
    "6.12.117": "linux-6.12",
    "6.18.44": "linux-6.18",
    "7.2.13": "linux-7.2",
    "7.3.4": "linux-7.3",
}
NOT_REQUESTS = ("ip_basic",)
FIRST_ACQUIRE_OF_6_18 = 34
"""km.seq comes from one counter for all namespaces, and that machine had seen 33 acquires before."""

A = "dst=10.7.1.1"
ZEROS = "MIGRATE_STATE"
MOVE = "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 new_dst=10.7.1.2 new_src=10.7.0.1 new_reqid=5"
IPTFS_POLICY = "POLICY add dir out src 10.7.1.1 dst 10.7.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode"

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
    ("esp_rx_counters", 16): f"RX {A} spi=0x1200 seq=1 encap=4500,4500",
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
    **{(exp, 1): ZEROS for exp in ("ms_daddr", "ms_encap", "ms_errors")},
    ("ms_errors", 17): f"{MOVE} new_sel={{src:0.0.0.0/0,dst:0.0.0.0/33}}",
    ("ms_errors", 18): f"{MOVE} new_sel={{src:::/129,dst:::/0}}",
    ("ms_errors", 19): f"{MOVE} new_sel={{dst:0.0.0.0/33,family:0}}",
    ("iptfs_rules", 54): f"{IPTFS_POLICY} 5 reqid 1",
    ("iptfs_rules", 55): f"{IPTFS_POLICY} 6 reqid 1",
    **{("pcpu_out", step): "EVENTS" for step in (22, 24, 27, 35, 39, 41, 43, 49)},
    **dict.fromkeys((("mg_classic", 11), ("ms_daddr", 10), ("ms_encap", 5), ("ms_encap", 17)), "EVENTS"),
    ("frag_esp4", 17): "SYSCTL net.ipv4.ipfrag_time=1",
    ("frag_esp4", 18): f"RX src=10.7.0.1 {A} spi=0x1000 seq=43 payload=100 fragments=64 only=0 wait=2.2",
    ("frag_esp4", 22): f"RX src=10.7.0.1 {A} spi=0x1001 seq=1 payload=200 inner=1/2 fragments=64",
    ("frag_esp4", 23): f"RX src=10.7.0.1 {A} spi=0x1001 seq=2 payload=200 inner=2/2 fragments=64",
}
"""(experiment, step): the request; several with `;`. Where events are the answer, `EVENTS` comes last by itself."""

BEFORE: dict[tuple[str, int], list[str]] = {
    ("acquire_zero_spi", 7): ["LISTEN on"],
    ("acquire_zero_spi", 16): ["ADVANCE seconds=4"],
    ("esp_rx_counters", 31): [f"RX {A} proto=udp src=10.8.0.1"],
    ("esp_rx_counters", 33): [f"RX {A} proto=udp src=10.8.0.2"],
    ("pcpu_out", 21): ["LISTEN on", "EVENTS"],
    ("pcpu_out", 32): ["FLUSHSA"],
    ("mg_classic", 10): ["LISTEN on", "EVENTS"],
    ("ms_daddr", 2): ["LISTEN on"],
    ("ms_daddr", 9): ["EVENTS"],
    ("ms_encap", 2): ["LISTEN on"],
    **{("ms_encap", step): ["EVENTS"] for step in (4, 16)},
    **{("ms_errors", step): ["FLUSHSA"] for step in (35, 41, 44, 47)},
    ("iptfs_rules", 47): ["FLUSHSA"],
}
"""What the experiment did before the step without a row of its own."""

KEY_OF_ROWS = "000102030405060708090a0b0c0d0e0f10111213"
"""An `auth` without a key had this one; here it has zeros."""

LIMITS = {
    ("esp_limits", 1): "soft_packets:2,hard_packets:4",
    ("esp_limits", 14): "soft_bytes:20,hard_bytes:40",
    ("esp_limits", 28): "hard_packets:1",
    ("esp_limits", 32): "hard_packets:2",
}
"""What the rows' notes say of limits; that of step 32 is told by its EXPIRE (2 packets)."""

OTHER_PROGRAMS = re.compile("(nft|tc|ip route) ")
"""What set the marks of packets, which are words of RX here, and where packets go."""


def of(exp: str, version: str) -> list[dict[str, Any]]:
    """The rows of an experiment that one kernel answered, and that can be compared."""
    rows = (r for r in ROWS if r["exp"] == exp and r["det"] and r["op"] != "NOTE")
    return [r for r in rows if answers_of(r, version) and asks(r)]


def asks(row: dict[str, Any]) -> bool:
    """Whether a row asks xfrm something."""
    return not (row["op"] == "SHELL" and OTHER_PROGRAMS.match(row["cmd"]))


def answers_of(row: dict[str, Any], version: str) -> dict[str, Any] | None:
    """What one kernel answered; None where it was not asked, or refused for the ESP type that it lacked."""
    answer = row["results"].get(version)
    return None if answer is None or answer["extack"] == "Requested type not found" else answer


def asked(row: dict[str, Any]) -> list[str]:
    """The requests of a row, the last of them the one whose answer counts."""
    key = (row["exp"], row["step"])
    lines = list(BEFORE.get(key, ()))
    if row["exp"] == "sa_dir_rules" or (row["exp"] == "iptfs_rules" and row["op"] == "NEWSA"):
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
    if row["op"] == "SHELL" and command.startswith("ip "):
        return command
    command = command.replace("sysctl -w", "SYSCTL")
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
    answers: dict[int, list[dict[str, Any]]] = {}
    line = ""
    requests = run_requests(netns, iter(lambda: line, None), exp)
    for row in of(exp, version):
        for line in asked(row):
            answer = shell(netns, line) if line.startswith("ip ") else next(requests)
            answers.setdefault(row["step"], []).append(json.loads(json.dumps(answer)))
    return answers


def shell(netns: Netns, line: str) -> dict[str, Any]:
    """A command of `ip`, as the rows tell of it: exit status, and what was printed."""
    (command,) = read_batch(io.BytesIO(line.encode()), "rows")
    done = Batch(netns).run(command)
    code = 0 if done.ok else 255 if done.errno is None else 2
    errno = code if done.errno is None else done.errno
    return {"errno": errno if code else 0, "result": f"rc={code}", "extack": None,
            "stdout": done.stdout.strip(), "stderr": done.stderr.partition("\n")[0]}  # fmt: skip


def experiments() -> Iterator[tuple[str, str]]:
    """Every experiment with every kernel that answered a step of it."""
    for exp, rows in itertools.groupby(sorted(ROWS, key=exp_of), exp_of):
        for version in sorted({version for row in rows for version in row["results"]}):
            if exp not in NOT_REQUESTS:
                yield exp, version


def exp_of(row: dict[str, Any]) -> str:
    return str(row["exp"])


def both(row: dict[str, Any], run_of: dict[int, list[dict[str, Any]]], expected: dict[str, Any]) -> tuple[Any, Any]:
    """What the model and the kernel answered to one row, as far as the row says it."""
    given = run_of[row["step"]]
    if (row["exp"], row["step"]) == ("esp_rx_counters", 34):
        plain = [run_of[step][0]["result"] for step in (31, 33)]
        return plain, ["dropped", "dropped"]  # "delivered to the socket in the last two": 0
    if row["op"] == "SEND":
        return str([answer["result"] for answer in given if "counters" in answer]), expected["result"]
    if row["op"] == "SHELL" and not row["cmd"].startswith("ip "):
        return given[-1]["result"], "OK"
    ours, theirs = comparable(given[-1], row, expected), comparable(expected, row, expected)
    known = KNOWN[row["exp"]]
    return {key: value for key, value in ours.items() if key in theirs or key in known}, theirs


KNOWN = {
    exp: {key for row in ROWS if row["exp"] == exp for answer in row["results"].values() for key in answer}
    - {"skb_mark", "reasm", "out", "nonzero", "events", "stdout", "stderr", "reply", "states", "count", "counters"}
    for exp in map(exp_of, ROWS)
}
STATE_KEYS = {
    exp: {key for row in ROWS if row["exp"] == exp for answer in row["results"].values()
          for state in (*answer.get("states", ()), answer.get("reply", {})) for key in state}
    for exp in map(exp_of, ROWS)
}  # fmt: skip
"""By experiment, the keys that its recording has."""


def comparable(answer: dict[str, Any], row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """An answer without what the recording machine's past decided, and events as the row tells them."""
    answer = json.loads(json.dumps(answer).replace(KEY_OF_ROWS, "00" * 20))
    for item in (*answer.get("states", ()), answer.get("reply", {})):
        for key in [key for key in item if key not in STATE_KEYS[row["exp"]]]:
            del item[key]
        for key in ("bmp_len", "replay_window", "bitmap"):  # `window` and `bmp` say the same
            item.get("replay_esn", {}).pop(key, None)
    if row["op"] == "EVENTS":
        answer["events"] = [
            retold(e, expected["events"])
            for e in answer["events"]
            if kind(e) in {"ACQUIRE", "EXPIRE", "MIGRATE", "MIGRATE_STATE"}
        ]
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
    told: dict[str, Any] = {key: event.get(key) for key in like if key != "t" or event["event"] == "EXPIRE"}
    return told | {"t": int(told["t"])} if "t" in told else told  # a timer may be a tenth of a second late


def differences(exp: str, version: str) -> tuple[int, list[str]]:
    """How many rows were compared, and those that differ."""
    rows, given = of(exp, version), run(exp, version)
    found = []
    for row in rows:
        ours, theirs = both(row, given, row["results"][version])
        if ours != theirs:
            found.append(f"  {exp}.{row['step']} {row['cmd']}\n    model  {ours}\n    kernel {theirs}")
    return len(rows), found


if __name__ == "__main__":
    total = agree = 0
    for name, kernel in experiments():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            asked_rows, differ = differences(name, kernel)
        except Exception as error:
            asked_rows, differ = len(of(name, kernel)), [f"  {error}"] * len(of(name, kernel))
        total, agree = total + asked_rows, agree + asked_rows - len(differ)
        sys.stdout.write(f"{name} {kernel}: {asked_rows - len(differ)} of {asked_rows}\n")
        if sys.argv[1:]:
            sys.stdout.write("".join(f"{line}\n" for line in dict.fromkeys(differ)))
    sys.stdout.write(f"{agree} of {total}\n")
