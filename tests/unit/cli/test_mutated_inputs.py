"""Every command with damaged inputs: it ends with 0, 1 or 2, never with 3, and its output shows no key.

A few seconds here; minutes with `-m long`. A failure names its case: `MUTATED=decap:1234 pytest ...` runs that one.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espsim.io.pcap import file_header, frame_header
from tests.command import Ended, espsim
from tests.fuzzing import mutated, words_of
from tests.support import Peer, gcm_sa, ipv4

KEY = "c0ffee11d00dfeed22beefcafe33f00dabad1dea"
SA = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel replay-window 64 "
SA += f"aead rfc4106(gcm(aes)) 0x{KEY} 128\n"
SPD = """src 10.1.0.0/16 dst 10.2.0.0/16 proto udp sport 53
\tdir in action allow index 8 priority 100 ptype main share any flag  (0x00000000)
\tmark 0x5/0xff
\ttmpl src 192.0.2.1 dst 192.0.2.2
\t\tproto esp spi 0x00000000(0) reqid 1(0x00000001) mode tunnel
\t\tlevel use share any
src 0.0.0.0/0 dst 0.0.0.0/0
\tdir fwd priority 0 ptype main
\ttmpl src 0.0.0.0 dst 0.0.0.0
\t\tproto esp reqid 0 mode tunnel
ip xfrm policy add src 10.0.0.0/8 dir in if_id 3 tmpl proto esp mode transport
ip xfrm policy setdefault in block fwd accept
"""
DUMP = f"""src 192.0.2.1 dst 192.0.2.2
\tproto esp spi 0x00001000 reqid 1 mode tunnel
\treplay-window 32 flag af-unspec
\tauth-trunc hmac(sha256) 0x{KEY}000000000000000000000000 128
\tenc cbc(aes) 0x{KEY[:32]}
\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0
\tanti-replay context: seq 0x1, oseq 0x0, bitmap 0x00000001
src 192.0.2.2 dst 192.0.2.1
\tproto esp spi 0x00001001 reqid 1 mode transport
\treplay-window 0 flag esn
\taead rfc4106(gcm(aes)) 0x{KEY} 128
\tanti-replay esn context:
\t seq-hi 0x0, seq 0x5, oseq-hi 0x0, oseq 0x0
\t replay_window 64, bitmap-length 2
\t 00000000 0000001f
\tlifetime config:
\t  limit: soft (INF)(bytes), hard 1000(bytes)
\tsel src 0.0.0.0/0 dst 0.0.0.0/0
"""
BATCH = f"""ip xfrm state add {SA}xfrm state allocspi src 10.0.0.1 dst 10.0.0.2 proto esp min 0x1000 max 0x1003
xfrm policy add src 192.0.2.0/24 dst 198.51.100.0/24 dir out tmpl proto esp reqid 1 mode transport
ip -s xfrm state get src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x1000
xfrm state update src 192.0.2.1 dst 192.0.2.2 proto esp spi 2 enc 'cbc(aes)' 0x{KEY[:32]} auth hmac(sha1) 0x{KEY} mark 1
pfkey add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x3000 aead rfc4106(gcm(aes)) 0x{KEY} 128
android allocate 10.0.0.9 0x5000
xfrm monitor
sleep 3
sysctl net.core.xfrm_acq_expires=2
"""
REQUESTS = f"""ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x100 max=0x102 dir=in mark=1/3
NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x200 aead=rfc4106(gcm(aes)) key=0x{KEY} icv=128 replay_window=32
UPDSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=3 crypt=cbc(aes) crypt_key={KEY[:32]} auth=hmac(sha1) auth_key={KEY}
NEWAE dst=10.0.0.2 spi=0x200 esn={{bmp_len:2,replay_window:64,seq:5,seq_hi:0,oseq:0,oseq_hi:0}} replace=1
RX dst=10.0.0.2 spi=0x200 seq=5 payload=20
TX dst=10.0.0.2 payload=20
POLICY add src 10.0.0.0/8 dst 10.0.0.0/8 dir in
ADVANCE seconds=5.5
DUMP
EVENTS
STAT
"""
SCENARIO = f"""schema = 1
name = "x"
question = "What if?"
policies = ["rfc2401", "rfc4301"]
names = {{ s = 0x5000 }}

[[sa]]
name = "A"
line = "{SA.strip()}"

[[step]]
do = "newsa"
sa = "A"

[[step]]
do = "send"
sa = "A"
packets = 3
  [[step.expect]]
  delivered = 3

[[step]]
do = "ask"
lines = '''
ALLOCSPI src=192.0.2.9 dst=10.0.0.1 proto=esp min=0x5000 max=0x5002 $in
'''

[[variant]]
name = "dir in"
words = {{ in = "dir=in" }}
  [variant.expect]
  rfc2401 = "OK"
"""
MODEL = (Path(__file__).parents[3] / "hwmodels" / "marvell-cn10k-linux-v5.toml").read_text()


def a_capture(count: int = 12) -> bytes:
    peer = Peer(gcm_sa(spi=0x1000, key_byte=7))
    data = file_header(101, False)
    for n in range(1, count):
        packet = peer.packet(n, ipv4(bytes(n % 90 + 20))) if n % 4 else ipv4(b"no ESP")
        data += frame_header(n * 10**9, len(packet), False) + packet
    return data


def a_pcapng() -> bytes:
    from tests.unit.io.test_many_blocks import ENHANCED, FINE, INTERFACE, OBSOLETE, SECTION, SIMPLE, block

    blocks: bytes = SECTION + INTERFACE + ENHANCED + block(5, bytes(9)) + FINE + SIMPLE + OBSOLETE + ENHANCED
    return blocks * 2


def a_state(folder: Path) -> bytes:
    (folder / "b").write_text(BATCH)
    espsim("xfrm", "-force", "--state", folder / "s", folder / "b")
    return (folder / "s").read_bytes()


Case = Callable[[random.Random, Path], list[list[Any]]]
"""Writes mutated inputs into a folder; the command lines to run on them. All of one case have to say the same."""


def with_file(text: str | bytes, *commands: list[Any]) -> Case:
    """Commands in which IT is replaced by the name of one mutated file."""
    data = text.encode() if isinstance(text, str) else text

    def case(rng: random.Random, folder: Path) -> list[list[Any]]:
        (folder / "in.toml").write_bytes(mutated(rng, data, words_of(data)))
        return [[str(folder / "in.toml") if word == "IT" else word for word in rng.choice(commands)]]

    return case


WRONG: list[Any] = [
    None,
    -1,
    2**70,
    "x",
    [],
    {},
    1.5,
    True,
    [[[]]],
    "\x1b",
    {"hex": "zz"},
    {"enum": "Mode", "value": 9},
]


def digest_mended(rng: random.Random, folder: Path) -> list[list[Any]]:
    """A saved state that was changed and signed anew."""
    import hashlib

    body = mutated(rng, a_state(folder).partition(b"\n")[2], [])
    if rng.random() < 0.6:
        values = json.loads(a_state(folder).partition(b"\n")[2])
        at: Any = values
        for _ in range(rng.randrange(1, 6)):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], dict | list) and rng.random() < 0.7:
                at = at[key]
                continue
            at[key] = rng.choice(
                [None, -1, 2**70, "x", [], {}, 1.5, True, [[[]]], "\x1b", {"hex": "zz"}, {"enum": "Mode", "value": 9}]
            )
            break
        body = json.dumps(values).encode()
    head = f"espsim xfrm state 1 {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()
    (folder / "s2").write_bytes(head + body)
    (folder / "c").write_text("xfrm state list\nxfrm policy list\nxfrm state deleteall\nsleep 100\n")
    return [["xfrm", "-force", "--state", folder / "s2", folder / "c"]]


def two_ways(rng: random.Random, folder: Path) -> list[list[Any]]:
    """A damaged capture: one packet at a time, and in batches."""
    data = a_capture() if rng.random() < 0.5 else a_pcapng()
    (folder / "in.pcap").write_bytes(mutated(rng, data, [data[:40], data[-60:]]))
    (folder / "sad").write_text(SA if rng.random() < 0.8 else DUMP)
    command = [
        "decap",
        folder / "in.pcap",
        "--sad",
        folder / "sad",
        "-o",
        folder / "out",
        "--verdicts",
        folder / "verdicts",
    ]
    if rng.random() < 0.3:
        command = ["encap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "out"]
    return [[*command, "--json", "--reference"], [*command, "--json"]]


def sad(rng: random.Random, folder: Path) -> list[list[Any]]:
    """A wrong SAD for a good capture, both ways."""
    data = rng.choice((SA * 2, DUMP)).encode()
    (folder / "in.pcap").write_bytes(a_capture())
    (folder / "sad").write_bytes(mutated(rng, data, words_of(data)))
    command = ["decap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "out", "--json"]
    return [[*command, "--reference"], command]


def spd(rng: random.Random, folder: Path) -> list[list[Any]]:
    """Wrong policies for a good capture, both ways, with an audit log."""
    (folder / "in.pcap").write_bytes(a_capture())
    (folder / "sad").write_text(SA)
    data = SPD.encode()
    (folder / "spd").write_bytes(mutated(rng, data, words_of(data)))
    command = ["decap", folder / "in.pcap", "--sad", folder / "sad", "-o", folder / "out", "--spd", folder / "spd"]
    command += ["--audit-log", folder / "verdicts", "--json"]
    return [[*command, "--reference"], command]


def options(rng: random.Random, folder: Path) -> list[list[Any]]:
    """Wrong values of options, as far as a command line can hold them."""
    (folder / "dump").write_text(DUMP)
    word = os.fsdecode(mutated(rng, rng.choice((b"caps.esn=true", b"1k", b"0x100-0xffff", b"s1")), []))
    word = word.replace("\0", "0")[:9000]
    dump = str(folder / "dump")
    out = str(folder / "out")
    command = rng.choice(OPTIONS)
    names = {"IT": word, "DUMP": dump, "OUT": out, "MODEL": "sw-linux-xfrm"}
    return [[names.get(part, part) for part in command.split()]]


OPTIONS = [
    "audit DUMP --model MODEL --assume IT", "audit DUMP --model IT", "audit DUMP --model MODEL --list IT",
    "audit DUMP --model MODEL --local IT", "audit DUMP --model MODEL --seed IT", "audit IT --model MODEL", "audit IT",
    "spi --model MODEL --sas 9 --range IT", "spi --model MODEL --sas IT --range 1-99", "IT", "--debug IT", "audit --IT",
    "run IT", "run s02 --policy IT", "run s02 --option IT", "run s02 --seed IT", "run duplicate-spi --model IT",
    "xfrm /dev/null --policy IT", "xfrm /dev/null --option IT", "xfrm IT", "models show IT", "models find IT",
    "models compare MODEL --case IT", "models check IT", "decap DUMP --sad IT -o OUT", "decap IT --sad DUMP -o OUT",
    "decap DUMP --sad DUMP -o OUT --engine IT", "decap DUMP --sad DUMP -o OUT --workers IT", "bench IT",
    "bench --sas IT,",
]  # fmt: skip


CASES: dict[str, Case] = {
    "batch": with_file(BATCH, ["xfrm", "-force", "IT"], ["xfrm", "IT"], ["xfrm", "--json", "-force", "IT"]),
    "requests": with_file(REQUESTS, ["xfrm", "--requests", "IT"]),
    "dump": with_file(DUMP, ["audit", "IT", "--model", "marvell-cn10k-linux-v5", "--assume", "model"]),
    "commands": with_file(f"ip xfrm state add {SA}" * 3, ["audit", "IT", "--model", "sw-linux-xfrm", "--json"]),
    "scenario": with_file(SCENARIO, ["run", "IT"], ["run", "IT", "--json"]),
    "model": with_file(MODEL, ["models", "check", "IT"], ["models", "show", "IT"], ["models", "compare", "IT"]),
    "state": digest_mended,
    "capture": two_ways,
    "sad": sad,
    "spd": spd,
    "options": options,
}


def outcome(folder: Path, words: list[Any]) -> tuple[Any, ...]:
    ended = espsim(*words)
    files = [path.read_bytes() if path.exists() else None for path in (folder / "out", folder / "verdicts")]
    for path in (folder / "out", folder / "verdicts"):
        path.unlink(missing_ok=True)
    said = ended.stderr + ended.stdout
    return ended, said, files


def without_engine(text: bytes) -> Any:
    try:
        return {key: value for key, value in json.loads(text).items() if not key.startswith("engine") and key != "path"}
    except ValueError:
        return text


_PATIENCE = 120
"""Seconds of a case of a few hundred bytes, kernels compiled and all, on a machine that does other things too."""


class TooLong(BaseException):
    """The case has not ended."""


def too_long(*_: object) -> None:
    raise TooLong


def check(name: str, seed: int, folder: Path) -> None:
    """Run one case."""
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(_PATIENCE)
    try:
        commands = CASES[name](random.Random(seed), folder)
        results = [outcome(folder, words) for words in commands]
    finally:
        signal.alarm(0)
    for ended, said, _ in results:
        context = f"{name}:{seed}: {said[-1000:]!r}"
        assert ended.returncode in (0, 1, 2), context
        assert b"Traceback" not in said, context
        assert not any(byte < 32 and byte not in b"\n\t" for byte in said), context
        assert ended.returncode != 2 or ended.stderr or b"REFUSED" in said or b'"stderr"' in said, context
        assert not leaked(spoken(name, ended)), context
    for words, (ended, _, files) in zip(commands[1:], results[1:], strict=True):
        first, _, first_files = results[0]
        sizes = [[None if file is None else len(file) for file in both] for both in (files, first_files)]
        assert sizes[0] == sizes[1], f"{name}:{seed}"
        assert "encap" in words or files == first_files, f"{name}:{seed}"  # each run of encap draws IVs of its own
        assert (ended.returncode, ended.stderr) == (first.returncode, first.stderr), f"{name}:{seed}"
        assert without_engine(ended.stdout) == without_engine(first.stdout), f"{name}:{seed}"


def spoken(name: str, ended: Ended) -> bytes:
    """What a command said where it is not what was asked for: `state get` and a saved state have keys."""
    if name == "batch" and ended.stdout.startswith(b"{"):
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        return ended.stderr + "".join(line["command"] + line["stderr"] for line in lines).encode()
    return ended.stderr if name in ("batch", "state") else ended.stderr + ended.stdout


def leaked(said: bytes) -> bool:
    """Whether 16 digits of the key are in it, one after the other: a shorter piece glued to other words is no key."""
    text = said.decode("utf-8", "replace").lower()
    return any(KEY[at : at + 16] in text for at in range(len(KEY) - 15))


def seeds(name: str, count: int) -> range:
    only = os.environ.get("MUTATED", "")
    if only.startswith(f"{name}:"):
        return range(int(only.partition(":")[2]), int(only.partition(":")[2]) + 1)
    return range(0 if only else count)


@pytest.mark.parametrize("name", CASES)
def test_some(name: str, tmp_path: Path):
    for seed in seeds(name, 8 if name in ("capture", "state", "model") else 15):
        check(name, seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_many(name: str, tmp_path: Path):
    for seed in seeds(name, 1500):
        check(name, 1000 + seed, tmp_path)
