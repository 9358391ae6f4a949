"""`espsim xfrm --fuzz`: a difference between two SPI rules is found, made small, and printed as commands for `ip`."""

from __future__ import annotations

import io
import json
import random
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.netlink.netns import Netns
from espsim.sad.linux import KERNELS
from espsim.sad.spi import SPI_RULES
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.fuzz.as_ip import as_ip
from espsim.xfrm.fuzz.draw import a_near_request, a_request
from espsim.xfrm.fuzz.search import SearchResult, script, search
from espsim.xfrm.fuzz.shrink import Shrinker
from espsim.xfrm.fuzz.sides import DIFFERS, SAME, Compare, ComparedLine, model_commands, model_requests
from espsim.xfrm.requests import run_requests
from tests.command import espsim, espsim_text
from tests.examples import examples

OTHERS = [policy for policy in SPI_RULES if policy != "rfc2401"]


def tries(count: int) -> Callable[[], bool]:
    """So many times yes, then no: replaces the clock."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def found(left: str, right: str, seed: int = 0, most: int = 3000) -> SearchResult:
    sides = {"requests": model_requests(left, right), "commands": model_commands(left, right)}
    return search(SearchResult(left, right, seed), sides, tries(most))


# -- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", OTHERS)
def test_every_policy_is_told_from_the_old_rule(other):
    result = found("rfc2401", other)
    assert result.difference is not None
    lines = result.difference.lines
    assert len(lines) <= 2
    assert [line.verdict for line in lines] == [SAME] * (len(lines) - 1) + [DIFFERS]


def test_the_threads_question_in_two_lines():
    """The first thing that the two rules differ by is what broke Android."""
    said = script(found("rfc2401", "rfc4301"))
    assert re.search(
        r"ip xfrm state (allocspi|add) src \S+ dst \S+ proto esp .*\n#   both: OK.*\n\n"
        r"ip xfrm state allocspi src \S+ dst \S+ proto esp .*min 0x1000 max 0x1000\n"
        r"#   rfc2401: OK, spi 0x00001000\n#   rfc4301: ENOENT \(No SPI available in the requested range\)\n$",
        said,
    )


@pytest.mark.parametrize("pair", [("rfc4301", "full-4301"), ("rfc2401", "sa-dir"), ("linux-6.1", "linux-6.12")])
def test_the_same_seed_finds_the_same_lines(pair):
    assert script(found(pair[0], pair[1], seed=4)) == script(found(pair[0], pair[1], seed=4)) != ""
    assert script(found(pair[0], pair[1], seed=4)) != script(found(pair[0], pair[1], seed=5)) or pair[0] == "linux-6.1"


@pytest.mark.parametrize("pair", [("rfc4301", "linux-6.12"), ("rfc2401", "rfc2401")])
def test_sides_that_are_one_do_not_differ(pair):
    result = found(pair[0], pair[1], most=40)
    assert (result.difference, result.batches, script(result)) == (None, 41, "")


@pytest.mark.parametrize("other", ["rfc4301", "sa-dir", "freebsd", "split"])
def test_nothing_is_left_that_could_go(other):
    """Without any one of its lines, or any one word of them, the difference is gone."""
    difference = found("rfc2401", other, seed=2).difference
    assert difference is not None
    assert difference.language == "requests"
    compare = model_requests("rfc2401", other)
    lines = [line.line for line in difference.lines]
    fewer = [[*lines[:n], *lines[n + 1 :]] for n in range(len(lines))]
    for n, line in enumerate(lines):
        words = line.split()
        for at in range(1, len(words)):
            fewer.append([*lines[:n], " ".join(words[:at] + words[at + 1 :]), *lines[n + 1 :]])
    for smaller in fewer:
        with_error = _differs(compare, smaller)
        assert not with_error, smaller


def _differs(compare: Compare, lines: Sequence[str]) -> bool:
    from espsim.core.errors import InputError

    try:
        return any(each.verdict == DIFFERS for each in compare(lines))
    except InputError:
        return False


def test_the_wording_of_two_policies_is_no_difference():
    line = "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=5"
    answered = model_requests("rfc2401", "rfc4301")([line, line])
    assert [each.verdict for each in answered] == [SAME, SAME]
    assert (answered[1].left, answered[1].right) == (
        "ENOENT (Requested SPI is already in use)", "ENOENT (No SPI available in the requested range)",
    )  # fmt: skip


# -- the shrinker -----------------------------------------------------------------------------------------------------


def planted(*needed: str) -> Compare:
    """Sides that differ at the last of some lines, once the others were there in this order."""

    def compare(lines: Sequence[str]) -> list[ComparedLine]:
        waiting, answered = list(needed), []
        for line in lines:
            if waiting and set(waiting[0].split()) <= set(line.split()):
                waiting.pop(0)
                answered.append(ComparedLine(line, SAME if waiting else DIFFERS, "a", "b"))
            else:
                answered.append(ComparedLine(line, SAME, "-", "-"))
        return answered

    return compare


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_what_is_planted_is_what_is_left(seed, count):
    rng = random.Random(seed)
    needed = [f"GETSA x={n}" for n in range(count)]
    compare = planted(*needed)
    lines = [f"GETSA y={rng.randrange(9)} z={rng.randrange(9)}" for _ in range(30)]
    for n, line in zip(sorted(rng.sample(range(31), count)), needed, strict=True):
        lines.insert(n, f"{line} noise={n} more={n}")
    shrunk = Shrinker(compare, "requests", lambda: True).shrink(compare(lines))
    assert [each.line for each in shrunk] == needed


def test_without_time_what_was_drawn_is_kept():
    compare = planted("GETSA x=1")
    lines = ["GETSA a=1", "GETSA x=1 b=2", "GETSA c=3"]
    shrunk = Shrinker(compare, "requests", lambda: False).shrink(compare(lines))
    assert [each.line for each in shrunk] == lines[:2]
    shrinker = Shrinker(compare, "requests", lambda: True, tries=1)
    assert len(shrinker.shrink(compare(lines))) <= 2
    assert shrinker.tries_left == 0


# -- a request as a line of `ip` --------------------------------------------------------------------------------------


def as_commands(netns: Netns, lines: Sequence[str]) -> list[str]:
    batch = Batch(netns)
    text = "\n".join(line.removeprefix("ip ") for line in lines)
    return [batch.run(line).result for line in read_batch(io.BytesIO(text.encode()), "-")]


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32))
def test_a_line_of_ip_is_answered_as_its_request(seed):
    rng = random.Random(seed)
    lines = [rng.choice((a_request, a_near_request))(rng) for _ in range(40)]
    said = [(line, ip) for line in lines if (ip := as_ip(line)) is not None]
    requests = [str(answer["result"]) for answer in run_requests(Netns("rfc4301"), [line for line, _ip in said])]
    commands = as_commands(Netns("rfc4301"), [shlex.join(shlex.split(ip)) for _line, ip in said])
    assert commands == requests, said


@pytest.mark.parametrize(
    ("request_line", "line"),
    [
        ("ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=6 dir=in mark=1/0xff reqid=3 mode=tunnel",
         "ip xfrm state allocspi src 10.0.0.1 dst 10.0.0.2 proto esp mode tunnel reqid 3 mark 0x1 mask 0xff dir in"
         " min 0x5 max 0x6"),
        ("NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=9 crypt=ecb(cipher_null) encap=2,4500,4500",
         "ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x9 enc 'ecb(cipher_null)' '' encap espinudp 4500"
         " 4500 0.0.0.0"),
        ("DELSA dst=10.0.0.2 proto=ah spi=9", "ip xfrm state delete dst 10.0.0.2 proto ah spi 0x9"),
        ("FLUSHSA proto=esp", "ip xfrm state flush proto esp"),
        ("FLUSHSA", "ip xfrm state flush"),
        ("DUMP", "ip xfrm state list"),
        ("ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=6 family=10", None),
        ("ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=6 mode=9", None),
        ("GETSA dst=10.0.0.2 proto=esp spi=9 length=3", None),
        ("EXPIRE dst=10.0.0.2 proto=esp spi=9 hard=1", None),
        ("", None),
    ],
)  # fmt: skip
def test_requests_and_their_lines(request_line, line):
    assert as_ip(request_line) == line


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_script_runs_on_both_and_they_answer_as_it_says(tmp_path):
    """The mail is fed back: its lines, on a model of each side, end as the comments have it."""
    status, out, err = espsim_text("xfrm", "--fuzz", "--policies", "rfc2401,rfc4301", "--seed", 3)
    assert (status, err) == (1, "")
    path = tmp_path / "script"
    path.write_text(out)
    assert espsim("xfrm", "--policy", "rfc2401", path).returncode == 0
    assert espsim("xfrm", "--policy", "rfc4301", path).returncode == 2
    assert out.splitlines()[0] == "#!/bin/sh"
    assert max(map(len, out.splitlines()[:4])) <= 100


def test_json_has_what_the_script_has():
    status, out, _err = espsim_text("xfrm", "--fuzz", "--policies", "rfc2401,openbsd", "--json")
    result = json.loads(out)
    assert status == 1
    assert result["script"] == espsim_text("xfrm", "--fuzz", "--policies", "rfc2401,openbsd")[1]
    assert result["difference"]["lines"][-1]["verdict"] == "differs"
    assert {"left", "right", "seed", "batches", "lines", "not_comparable"} <= result.keys()


def test_no_difference_is_status_0():
    kernel = "linux-6.12"
    status, out, err = espsim_text("xfrm", "--fuzz", "--policies", f"rfc4301,{kernel}", "--seconds", 1, "--seed", -5)
    assert (status, err) == (0, "")
    assert re.fullmatch(rf"rfc4301 and {kernel}: no difference in [0-9,]+ lines of [0-9,]+ batches \(seed -5\)\n", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--fuzz needs two sides: --policies A,B (two models), or --live"),
        (("--policies", "rfc2401"), "'rfc2401' is not two names"),
        (("--policies", "a,b,c"), "is not two names"),
        (("--policies", "rfc2401,rfc2401"), "is not two names"),
        (("--policies", "rfc2401,rfc43"), "--policies: "),
        (("--policies", "rfc2401,rfc4301", "--live"), "--policies compares two models"),
        (("--policies", "rfc2401,rfc4301", "--policy", "split"), "--policy needs --live"),
        (("--policies", "rfc2401,rfc4301", "-"), "does not take FILE"),
        (("--policies", "rfc2401,rfc4301", "--state", "x", "-force"), "does not take -force and --state"),
        (("--policies", "rfc2401,rfc4301", "--seconds", "0"), "is not a number of seconds"),
    ],
)
def test_what_it_is_told_wrongly(words, said):
    status, out, err = espsim_text("xfrm", "--fuzz", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [("--policies", "a,b"), ("--seconds", "3")])
def test_its_options_want_it(words):
    status, out, err = espsim_text("xfrm", "-", *words)
    assert (status, out) == (2, "")
    assert "need --fuzz" in err


def test_without_fuzz_a_file_is_wanted_as_before():
    status, _out, err = espsim_text("xfrm")
    assert status == 2
    assert "Missing argument 'FILE|-'" in err


def test_every_pair_of_kernels_ends():
    """None hangs or raises, the one that can hang among them."""
    names = [*SPI_RULES, *KERNELS]
    for n, name in enumerate(names):
        found(name, names[n - 1], seed=n, most=30)


def test_the_readme_shows_what_it_prints():
    text = (Path(__file__).parents[3] / "espsim" / "cli" / "README.md").read_text(encoding="utf-8")
    words = "xfrm --fuzz --policies rfc2401,sa-dir --seed 1"
    _status, out, _err = espsim_text(*words.split())
    shown = "\n".join(f"    {line}".rstrip() for line in (f"$ espsim {words}", *out.splitlines()))
    assert f"\n\n{shown}\n\n" in text
