"""PF_KEY's and Android's calls, and the requests that they become."""

from __future__ import annotations

import io
import re

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.batch import Batch, LineOutcome
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.requests import run_requests

AEAD = "aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
ID = "src 10.0.0.1 dst 10.0.0.2 proto esp"


def run(*lines: str, kernel: str = "linux-6.12") -> list[LineOutcome]:
    batch = Batch(Netns(kernel))
    return [batch.run(line) for line in read_batch(io.BytesIO("\n".join(lines).encode()), "-")]


class TestPfkey:
    def test_getspi_without_a_range_has_pf_keys_own(self):
        (outcome,) = run(f"pfkey getspi {ID} reqid 3 mode tunnel")
        request, first = outcome.stdout.splitlines()[:2]
        assert request == (
            "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x100 max=0xfffffff mode=tunnel reqid=3"
        )  # fmt: skip
        assert first == "src 10.0.0.1 dst 10.0.0.2"

    def test_its_sequence_number_is_the_acquires_own(self):
        lines = [f"pfkey getspi {ID} min 7 max 7 seq 5", "-s xfrm state list"]
        first, listed = run(*lines)
        assert first.stdout.splitlines()[0].endswith(" seq=5")
        assert "seq 0x00000000 " in listed.stdout  # a larval state that ALLOCSPI makes has no sequence number

    def test_add_and_update_are_newsa_and_updsa_without_keys_in_the_text(self):
        outcomes = run(
            f"pfkey getspi {ID} min 7 max 7", f"pfkey update {ID} spi 7 {AEAD}", f"pfkey add {ID} spi 7 {AEAD}"
        )
        assert [o.result for o in outcomes] == ["OK", "OK", "EEXIST"]
        assert outcomes[1].stdout == (
            "UPDSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x7 aead=rfc4106(gcm(aes)) key=<<Keys hidden>> icv=128\n"
        )
        assert outcomes[2].stdout.startswith("NEWSA ")

    def test_a_window_is_cut_to_32(self):
        listed = run(f"pfkey add {ID} spi 7 {AEAD} replay-window 64", "xfrm state list")[1].stdout
        assert "\treplay-window 32 \n" in listed

    @pytest.mark.parametrize("words", ["mark 1", "dir in", "if_id 3", "flag esn replay-window 64", "pcpu-num 1"])
    def test_what_pf_key_cannot_say(self, words: str):
        (outcome,) = run(f"pfkey add {ID} spi 7 {AEAD} {words}")
        assert outcome.stderr.startswith("pfkey: PF_KEY has no word for ")

    def test_the_text_is_a_request_of_the_request_language(self):
        lines = [f"pfkey getspi {ID} min 7 max 7 mode tunnel reqid 3", f"pfkey get {ID} spi 7", "pfkey flush proto esp"]
        requests = [o.stdout.splitlines()[0] for o in run(*lines)]
        answers = list(run_requests(Netns(), requests))
        assert [a["errno"] for a in answers] == [0, 0, 0]
        assert answers[1]["reply"]["reqid"] == 3  # type: ignore[index]


class TestAndroid:
    """The two overloads of IpSecManager.allocateSecurityParameterIndex, as netd's XfrmController sends them."""

    def test_an_address_alone_asks_for_one_spi_at_a_time(self):
        spi = re.compile("ALLOCSPI src=0.0.0.0 dst=10.0.0.2 proto=esp min=(0x[0-9a-f]+) max=(0x[0-9a-f]+) reqid=1")
        (outcome,) = run("android allocate 10.0.0.2")
        found = spi.fullmatch(outcome.stdout.splitlines()[0])
        assert found is not None
        assert found[1] == found[2]
        assert 256 <= int(found[1], 16) <= 0xFFFFFFFE

    def test_a_chosen_spi_is_both_ends_of_the_range(self):
        outcomes = run("android allocate 2001:db8::1 0x5000", "android allocate 2001:db8::2 0x5000")
        assert outcomes[0].stdout.splitlines()[0] == (
            "ALLOCSPI src=:: dst=2001:db8::1 proto=esp min=0x5000 max=0x5000 reqid=1"
        )  # fmt: skip
        assert [o.result for o in outcomes] == ["OK", "ENOENT"]
        permissive = run("android allocate ::1 0x5000", "android allocate ::2 0x5000", kernel="rfc2401")
        assert [o.result for o in permissive] == ["OK", "OK"]

    def test_it_goes_on_to_the_next_spi_where_one_is_taken(self):
        free = run("android allocate 10.0.0.2")[0].stdout.split("min=")[1].split()[0]
        taken = f"xfrm state allocspi {ID} min {free} max {free}"
        request = run(taken, "android allocate 10.0.0.2")[1]
        tried = re.findall("min=(0x[0-9a-f]+)", request.stdout)
        assert request.ok
        assert [int(t, 16) for t in tried] == [int(free, 16), int(free, 16) + 1]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("allocate 10.0.0.2 255", "IllegalArgumentException: ESP SPI must not be in the range of 0-255."),
            ("allocate", "android: give allocate ADDR [SPI]"),
            ("reserve 10.0.0.2", "android: give allocate ADDR [SPI]"),
            ("allocate foo", 'Error: any valid address is expected rather than "foo".'),
            ("allocate 10.0.0.2 x", 'android: "x" is not an SPI'),
        ],
    )
    def test_refused(self, words: str, said: str):
        (outcome,) = run(f"android {words}")
        assert (outcome.result, outcome.stderr) == ("REFUSED", said + "\n")
