"""Keys in wrong lines: no message ever shows eight consecutive digits of a key."""

from __future__ import annotations

import json
import random
import re

import pytest

from tests.command import espsim

ENDS = "src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x1001"
ALGORITHMS = [
    "aead rfc4106(gcm(aes)) KEY 128",
    "enc cbc(aes) KEY",
    "auth-trunc hmac(sha256) KEY 128",
    "auth hmac(sha1) KEY",
]
LINES = [
    f"xfrm state add {ENDS} mode tunnel ALGORITHM",
    f"ip xfrm state update {ENDS} ALGORITHM reqid 5 nonsense",
    f"ip -s x s a {ENDS} ALGORITHM",
    f"pfkey add {ENDS} ALGORITHM",
    f"pfkey update {ENDS} mark 1 ALGORITHM",
    "android allocate KEY", "android allocate 10.0.0.1 KEY", "android ALGORITHM",
    "xfrm policy add src 10.0.0.0/8 dst 10.0.0.0/8 dir out tmpl KEY", "xfrm policy add ALGORITHM", "xfrm policy KEY",
    "xfrm monitor KEY", "xfrm KEY", "KEY", "ip KEY", "ip -4 KEY", "-KEY", "sysctl KEY=1", "sleep KEY",
    "sysctl net.core.KEY",
    f"xfrm state get {ENDS} KEY", f"xfrm state add {ENDS} offload dev KEY dir in", f"xfrm state add {ENDS} sel src KEY",
    f"xfrm state add {ENDS} encap espinudp 4500 4500 KEY", f"xfrm state add {ENDS} mark KEY mask KEY",
    "xfrm state add src KEY dst 10.0.0.2 proto esp spi KEY", f"xfrm state allocspi {ENDS} min KEY max KEY",
]  # fmt: skip
REQUESTS = [
    "NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x200 aead=rfc4106(gcm(aes)) key=KEY icv=128",
    "NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x200 enc=cbc(aes):KEY",
    "NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x200 crypt=cbc(aes) crypt_key=KEY auth=KEY auth_key=KEY",
    "NEWSA KEY", "KEY", "GETSA dst=KEY proto=esp spi=KEY", "POLICY add KEY", "SYSCTL KEY=KEY",
    "RX dst=10.0.0.2 spi=KEY",
    "NEWAE dst=10.0.0.2 spi=1 esn={KEY:1}", "NEWSA flags=KEY", "ADVANCE seconds=KEY", "LISTEN KEY",
]  # fmt: skip


def written(rng: random.Random, key: str) -> str:
    """A key as it may be written, right or wrong."""
    text = rng.choice(["0x", "0x", "0x", "", "0X"]) + (key.upper() if rng.random() < 0.2 else key)
    at = rng.randrange(12, len(text) - 12)
    return rng.choice([
        text, text, f"'{text}'", f'"{text}"', f'"{text}', text[:-1], text + "g", f"{text},", f"({text})",
        text[:at] + "z" + text[at:], text[:at] + "\\\n" + text[at:], text[:at] + "\\\n   " + text[at:],
        text[:at] + " " + text[at:],
        text[:at] + "\x1b" + text[at:], text[:at] + "-" + text[at:], f"\n{text}", f"\\\n{text}",
    ])  # fmt: skip


def wrong(rng: random.Random, line: str) -> str:
    """A line with something wrong around its key."""
    name = re.search(r"\w+(-\w+)?(?= [\w()]+ KEY)", line)
    match rng.randrange(8):
        case 0 if name is not None:
            return line.replace(name[0], name[0] + name[0][-1])  # encc
        case 1:
            return line.replace(" KEY", "KEY")
        case 2:
            return line.replace("(", "((", 1)
        case 3:
            return line.replace(") KEY", " KEY")
        case 4:
            words = line.split(" ")
            rng.shuffle(words)
            return " ".join(words)
        case 5:
            return line.replace(" KEY", "=KEY")
        case 6:
            words = line.split(" ")
            del words[rng.randrange(len(words))]
            return " ".join(words)
    return line


def made(rng: random.Random, lines: list[str], key: str) -> str:
    line = wrong(rng, rng.choice(lines).replace("ALGORITHM", rng.choice(ALGORITHMS)))
    return re.sub("KEY", lambda _: written(rng, key), line)


def leaks(said: str, key: str) -> bool:
    return any(key[at : at + 8] in said.lower() for at in range(len(key) - 7))


def a_key(rng: random.Random) -> str:
    return rng.randbytes(rng.choice((16, 20, 32, 36, 64))).hex()


@pytest.mark.parametrize("seed", range(4))
def test_batches(tmp_path, seed):
    rng, key = random.Random(seed), a_key(random.Random(-seed - 1))
    path = tmp_path / "batch"
    lines = (made(rng, LINES, key) for _ in range(400))
    path.write_text("".join(f"{line}\n" for line in lines if not line.count('"') % 2))  # an open quote ends a batch
    ended = espsim("xfrm", "--json", "-force", path)
    # What was good printed its result, and `state get` prints keys on purpose.
    spoken = [
        (line["command"], line["stderr"], line["extack"] or "") for line in map(json.loads, ended.stdout.splitlines())
    ]
    assert len(spoken) > 20
    for texts in [*spoken, [ended.stderr.decode()]]:
        assert not any(leaks(text, key) for text in texts), texts
    assert not leaks(espsim("xfrm", "-force", path).stderr.decode(), key)


@pytest.mark.parametrize("seed", range(60))
def test_lines_one_by_one(tmp_path, seed):
    """Those that end a file, the request language, a SAD, a scenario with the line."""
    rng, key = random.Random(seed), a_key(random.Random(-seed - 1))
    for name, text in (("batch", made(rng, LINES, key)), ("requests", made(rng, REQUESTS, key))):
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "x.toml").write_text(
        f'schema = 1\nname = "x"\nquestion = "?"\n[[sa]]\nname = "A"\nline = {json.dumps(made(rng, LINES[:1], key))}\n'
        '[[step]]\ndo = "newsa"\nsa = "A"\n'
    )
    runs = (
        espsim("xfrm", "--requests", tmp_path / "requests"),
        espsim("xfrm", tmp_path / "batch"),
        espsim("decap", tmp_path / "batch", "-o", tmp_path / "out", "--sad", tmp_path / "batch"),
        espsim("audit", tmp_path / "batch", "--model", "sw-linux-xfrm"),
        espsim("run", tmp_path / "x.toml"),
    )
    for ended in runs:
        assert ended.returncode in (0, 1, 2)
        assert not leaks((ended.stderr + ended.stdout).decode(), key), ended


def test_addresses_stay_readable(tmp_path):
    path = tmp_path / "batch"
    path.write_text(
        "xfrm state add src 2001:0db8:0000:0000:0000:ff00:0042:83290 dst 10.0.0.2 proto esp spi 1\n"
        "xfrm state get src 10.0.0.1 dst 02:42:ac:11:00:02 proto esp spi 1\n"
        "xfrm state delete src 10.0.0.1 dst 2001:0db8:85a3:0000:0000:8a2e:0370:7334 proto esp spi 4294967296\n"
    )
    said = espsim("xfrm", "-force", path).stderr.decode()
    for text in ("2001:0db8:0000:0000:0000:ff00:0042:83290", "02:42:ac:11:00:02", "4294967296"):
        assert f'"{text}"' in said
    commands = [json.loads(line)["command"] for line in espsim("xfrm", "-force", "--json", path).stdout.splitlines()]
    assert commands == path.read_text().splitlines()
