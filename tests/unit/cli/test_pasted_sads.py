"""Commands on SADs as people paste them: the cases with their right answers, standard input, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import espsim
from tests.unit.text.test_pasted import ADD, OTHER, SA

CASES = Path(__file__).parents[2] / "vectors" / "cases"


def at(result: Any, path: str) -> Any:
    for name in path.split("."):
        result = result[int(name)] if isinstance(result, list) else result[name]
    return result


def fits(found: Any, wanted: Any) -> bool:
    """Whether a value is as the case has it: equal, or {"len": n}, {"min": n}, {"has": text}."""
    if not isinstance(wanted, dict) or wanted.keys().isdisjoint(("len", "min", "has")):
        return bool(found == wanted)
    asked = {
        "len": lambda n: len(found) == n, "min": lambda n: found >= n, "has": lambda text: text in json.dumps(found),
    }  # fmt: skip
    return all(asked[name](value) for name, value in wanted.items())


@pytest.mark.parametrize("case", json.loads((CASES / "cases.json").read_text()), ids=lambda case: str(case["id"]))
def test_cases(case: dict[str, Any], tmp_path: Path):
    words: list[Any] = [str(CASES / word[1:]) if word.startswith("@") else word for word in case["run"]]
    is_decap = words[0] == "decap"
    words += ["-o", tmp_path / "out.pcap"] if is_decap else []
    for way in ((), ("--reference",)) if is_decap else ((),):
        ended = espsim(*words, *way, "--json")
        assert ended.returncode == case.get("rc", ended.returncode)
        assert ended.returncode in (0, 1)
        result = json.loads(ended.stdout)
        for path, value in case["json"].items():
            assert fits(at(result, path), value), (path, at(result, path))


def decap(tmp_path: Path, sad: str, *more: object) -> tuple[dict[str, Any], str]:
    words = ("decap", CASES / "d01-both.pcap", "-o", tmp_path / "out.pcap", "--sad", "-", "--json", *more)
    ended = espsim(*words, input=sad.encode())
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr.decode()


def test_decap_says_what_it_can_not_use(tmp_path: Path):
    """The SA of the first packet is hidden, an old one is not modelled; the second packet is opened."""
    sad = (CASES / "d01-both-nodir.sad").read_text()
    first = sad[: sad.index("src", 1)]
    text = first.replace("0x000102030405060708090a0b0c0d0e0f10111213", "[redacted]") + sad[len(first) :]
    text += "root@gw:~# ip xfrm policy flush\n" + SA.replace("rfc4106(gcm(aes))", "rfc4106(gcm(sm4))").replace(
        "1001", "99"
    )
    for more in ((), ("--reference",)):
        result, said = decap(tmp_path, text, *more)
        assert (result["delivered"], result["verdicts"]["NO_SA"]) == (1, 1)
        assert result["unused"] == [
            {"sa": "0x00001001@192.0.2.2", "line": 1, "why": "its key is hidden"},
            {"sa": "0x00000099@192.0.2.2", "line": 12, "why": "aead rfc4106(gcm(sm4)): not modelled"},
        ]
        assert "-: line 1: not used, because its key is hidden: 0x00001001@192.0.2.2 (line 1)" in said
        assert "-: line 12: not used, because aead rfc4106(gcm(sm4)): not modelled" in said
        assert "-: line 11: a policy, passed over" in said


def test_a_sad_without_a_usable_sa_is_answered(tmp_path: Path):
    result, said = decap(tmp_path, SA.replace("mode tunnel", "mode ro"))
    assert (result["delivered"], len(result["unused"])) == (0, 1)
    assert "mode ro: not modelled" in said


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "-: no SA in it"),
        (SA + SA.replace("0x0001", "0x0002"), "-:6: 0x00001001@192.0.2.2 is on line 1 already, with another key"),
        (SA.replace("0x0001", "0x001"), "-:4: aead rfc4106(gcm(aes)): a key of odd hex length (39 digits)"),
        (f"{ADD}\nip xfrm state flush\n", "-: no SA in it (1 SA removed again by the commands in it)"),
    ],
)
@pytest.mark.parametrize("command", ["decap", "audit"])
def test_what_stops_a_command(tmp_path: Path, text: str, error: str, command: str):
    decap = ("decap", CASES / "d01-both.pcap", "-o", tmp_path / "out.pcap", "--sad", "-")
    words = decap if command == "decap" else ("audit", "-", "--model", "sw-linux-xfrm")
    ended = espsim(*words, input=text.encode())
    (line,) = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert line.startswith(f"espsim: {error}")
    assert not (tmp_path / "out.pcap").exists()


def test_an_audit_has_what_it_passed_over_on_standard_error():
    text = f"$ ip -s xfrm state\n{SA}{OTHER.replace('mode tunnel', 'mode ro')}\tnovel-opts drop-time 3\n"
    ended = espsim("audit", "-", "--model", "sw-linux-xfrm", "--json", input=text.encode())
    result = json.loads(ended.stdout)
    assert (result["sas"], result["models"][0]["fates"]["refused"]) == (2, 1)
    assert ended.stderr.decode() == (
        "espsim: -: line 12: a line that starts with an unknown word 'novel-opts', passed over\n"
    )
