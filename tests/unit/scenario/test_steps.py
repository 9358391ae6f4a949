"""What a scenario may say beyond SAs and packets: lines of requests, trials, variants, a driver that is asked first."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.offload.model import load_model
from espsim.scenario.matrix import run_scenario
from espsim.scenario.outcome import meets, sequence, shares_text
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import parse_scenario
from espsim.scenario.traffic import expand

HEAD = 'schema = 1\nname = "t"\nquestion = "?"\n'
ALLOC = "ALLOCSPI src=192.0.2.9 dst=10.0.0.1 proto=esp min=0x5000 max=0x5000"


def cell(text, policy="rfc4301", **options):
    scenario = parse_scenario(HEAD + text, "t")
    return run_scenario(scenario, "t", [policy], **options)[0]


def step(*lines, more=""):
    return "[[step]]\ndo = 'ask'\nlines = '''\n" + "\n".join(lines) + f"\n'''\n{more}\n"


class TestOutcomes:
    def test_runs_are_counted_and_counts_of_states_stand_behind(self):
        assert sequence(["OK", "E2", "E2", "+4"]) == "OK, E2 x2 +4"
        assert sequence(["+2", "OK", "+1"]) == "+2, OK +1"

    @pytest.mark.parametrize(
        ("expected", "outcome", "ok"),
        [
            ("OK, E2 x4 +4", "OK, E2 x4 +4", True),
            ("OK, E2, E2", "OK, E2 x2", True),
            ("OK, E2 x4 +4", "OK, E2 x4 +3", False),
            ("OK, E2", "OK, E17", False),
            ("OK, fail", "OK, E17", True),
            ("OK, fail", "OK x2", False),
            ("OK, fail", "OK, HANG", False),
            ("OK, fail, ...", "OK, E2, OK, E3", True),
            ("OK, fail, ...", "OK, E2", True),
            ("OK, fail, ...", "OK, OK, E2", False),
            ("OK", "OK x2", False),
        ],
    )
    def test_expected(self, expected, outcome, ok):
        assert meets(expected, outcome, {outcome: 1.0}, 1) is ok

    def test_shares_are_held_to_four_standard_deviations(self):
        for share, ok in ((0.704, True), (0.75, True), (0.77, False), (0.64, False)):
            found = {"OK": share, "E2": 1 - share}
            assert meets({"OK": 0.704}, shares_text(found), found, 1000) is ok
        assert not meets({"E2": 0.0}, "", {"OK": 0.999, "E2": 0.001}, 1000)
        assert not meets("OK", "OK .99, E2 .01", {"OK": 0.99, "E2": 0.01}, 1000)
        assert shares_text({"E2": 0.25, "OK": 0.75}) == "OK .75, E2 .25"


class TestAsk:
    def test_only_requests_are_shown(self):
        got = cell(step("LISTEN on", ALLOC, ALLOC, "DUMP", "ADVANCE seconds=1"))
        assert got.outcome == "OK, E2"
        assert [answer["result"] for answer in got.steps[0].got["answers"]] == ["OK", "OK", "ENOENT", "OK", "OK"]

    def test_between_trials_the_states_go(self):
        got = cell(step(ALLOC, ALLOC, more="trials = 20"))
        assert got.shares == {"OK, E2": 1.0}
        assert got.steps[0].got["result"] == {"OK": 20, "ENOENT": 20}

    def test_the_order_is_drawn_anew(self):
        lines = (ALLOC, ALLOC.replace("10.0.0.1", "10.0.0.2 seq=9"))  # tell them apart
        got = cell(step(*lines, "DELSA dst=10.0.0.1 proto=esp spi=0x5000", more="trials = 60\nshuffle = true"))
        assert len(got.shares) > 1

    def test_given_spis_by_name(self):
        got = cell("names = { s = 0x5000 }\n" + step(ALLOC, ALLOC.replace("0x5000", "0x5001"), more="show = 'spis'"))
        assert got.outcome == "s, other"

    def test_an_expectation_of_a_step_counts_every_line(self):
        expect = "[[step.expect]]\nresult = { OK = 1, ENOENT = 1 }"
        assert cell(step(ALLOC, ALLOC, more=expect)).ok
        bad = cell(step(ALLOC, ALLOC, more=expect.replace("ENOENT = 1", "ENOENT = 2")))
        assert [failure[0] for failure in bad.steps[0].failures] == ["result"]

    def test_a_line_that_is_no_request_names_its_step(self):
        with pytest.raises(InputError, match=r"t:8: step\.0\.lines: unknown request FROB"):
            cell(step(ALLOC, "FROB x=1"))


class TestVariants:
    def test_words_and_options(self):
        text = step(f"{ALLOC} $in", "$get") + (
            "[[variant]]\nname = 'a'\nwords = { in = 'dir=in', get = 'GETACQ src=192.0.2.9 dst=10.0.0.9 proto=esp' }\n"
            "options = ['acquire-uapi']\nexpect = { rfc4301 = 'OK, E3' }\n"
        )
        got = cell(text)
        assert (got.variant, got.outcome, got.ok) == ("a", "OK, E3", True)
        assert "dir=in" in got.steps[0].got["answers"][0]["request"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (step("$x"), "no word 'x'"),
            (step("$ "), "a \\$ without a word after it"),
            (step(ALLOC) + "[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'\n", "two variants"),
            (step(ALLOC, more="trials = 2") + step("DUMP", more="show = 'zeros'"), "every other step needs show"),
            ("[[step]]\ndo = 'ask'\n", "ask needs lines"),
            ("[[step]]\ndo = 'newsa'\n", "every step but ask needs an sa"),
            ("[[step]]\ndo = 'newsa'\nsa = 'A'\n", "which is not there"),
            ("[[step]]\ndo = 'send'\nsa = 'A'\nto = 'here'\n", "here"),
        ],
    )
    def test_a_wrong_file_is_refused(self, text, words):
        with pytest.raises(InputError, match=words):
            parse_scenario(HEAD + text, "t")

    def test_an_unknown_option_is_refused(self):
        with pytest.raises(InputError, match="no option 'nope'"):
            cell(step(ALLOC) + "[[variant]]\nname = 'a'\noptions = ['nope']\n")


SA = (
    "src 198.51.100.{n} dst 192.0.2.{n} proto esp spi 0x5000 mode transport replay-window 64 {more}"
    " aead rfc4106(gcm(aes)) 0x" + "{n}{n}" * 20 + " 128"
)


def offloaded(more, steps):
    sas = "".join(f"[[sa]]\nname = '{c}'\nline = '{SA.format(n=n, more=more)}'\n" for n, c in ((1, "A"), (2, "B")))
    return parse_scenario(HEAD + sas + "".join(f"[[step]]\ndo = '{do}'\nsa = '{sa}'\n" for do, sa in steps), "t")


class TestTheDriver:
    MODEL = load_model("marvell-cn10k-dpdk")

    def run(self, scenario, policy="rfc4301"):
        groups = expand(scenario, "t")
        return run_cell(scenario, groups, policy, model=self.MODEL)

    def test_it_is_asked_before_the_kernel_where_the_sa_says_offload(self):
        asked = [("newsa", "A"), ("newsa", "B"), ("send", "A"), ("send", "B")]
        got = self.run(offloaded("offload dev eth0 dir in", asked))
        assert got.outcome == "OK, E17, OK, Proto"
        assert "offload" not in got.steps[1].got

    def test_beside_the_kernel_where_it_does_not(self):
        got = self.run(offloaded("", [("newsa", "A"), ("newsa", "B")]))
        assert [step.got for step in got.steps] == [
            {"result": {"OK": 1}, "offload": {"0": 1}}, {"result": {"OK": 1}, "offload": {"-EEXIST": 1}}
        ]  # fmt: skip

    def test_what_the_kernel_refuses_after_it_is_taken_back(self):
        """A second NEWSA of the triple: the driver has no room for it, and A's own entry stays."""
        got = self.run(offloaded("offload dev eth0 dir in", [("newsa", "A"), ("newsa", "A"), ("send", "A")]))
        assert got.outcome == "OK, E17, OK"

    def test_after_a_delete_the_place_is_free(self):
        steps = [("newsa", "A"), ("delsa", "A"), ("newsa", "B"), ("send", "B")]
        assert self.run(offloaded("offload dev eth0 dir in", steps)).outcome == "OK x4"

    def test_a_policy_that_refuses_is_asked_before_the_driver(self):
        got = self.run(offloaded("offload dev eth0 dir in dir in", [("newsa", "A"), ("newsa", "B")]), "split")
        assert got.outcome == "OK, E17"
