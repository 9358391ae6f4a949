"""The kernel's own table of algorithms (net/xfrm/xfrm_algo.c), those that espsim does not run among them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.netlink.view import view_of
from espsim.xfrm.requests import run_requests
from espsim.xfrm.state_text import format_view

ESP = "NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x1000"
AH = "NEWSA src=10.0.0.1 dst=10.0.0.2 proto=ah spi=0x1000"
UNABLE = "Kernel was unable to initialize cryptographic operations"


def refusal(line: str) -> tuple[str, str | None]:
    [answer] = [json.loads(json.dumps(answer)) for answer in run_requests(Netns("linux-6.12"), [line])]
    return answer["result"], answer["extack"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("crypt=rfc3686(ctr(aes)) auth=xcbc(aes)", ("OK", None)),
        ("crypt=rfc3686(ctr(aes))", ("OK", None)),  # authenc with digest_null
        (f"crypt=rfc3686(ctr(aes)) crypt_key={'00' * 16}", ("EINVAL", None)),  # a key without its nonce
        (f"crypt=rfc3686(ctr(aes)) crypt_key={'00' * 36} auth=cmac(aes) auth_key={'00' * 32}", ("OK", None)),
        (f"crypt=cbc(camellia) auth=cmac(aes) auth_key={'00' * 20}", ("EINVAL", None)),
        ("crypt=camellia auth=xcbc(aes) trunc=129", ("EINVAL", "Invalid length requested for truncated ICV")),
        ("crypt=cbc(camellia) auth=hmac(rmd160)", ("OK", None)),
        ("crypt=blowfish auth=rmd160 trunc=161", ("EINVAL", "Invalid length requested for truncated ICV")),
        (f"crypt=cbc(cast5) crypt_key={'00' * 17} auth=hmac(sm3)", ("EINVAL", None)),
        (f"crypt=cbc(serpent) crypt_key={'00' * 32} auth=hmac(sm3)", ("OK", None)),
        ("crypt=cbc(rot13) auth=hmac(sha1)", ("ENOSYS", "Requested CRYPT algorithm not found")),
        (f"aead=iiv(rfc4106(gcm(aes))) key={'00' * 20} icv=128", ("ENOSYS", "Requested AEAD algorithm not found")),
    ],
)
def test_esp(words, answer):
    assert refusal(f"{ESP} {words}") == answer


def test_ah_says_it_with_other_words():
    assert refusal(f"{AH} auth=cmac(aes) auth_key={'00' * 16}") == ("OK", None)
    assert refusal(f"{AH} auth=xcbc(aes) auth_key={'00' * 20}") == ("EINVAL", UNABLE)


def test_auth_is_listed_with_the_length_that_the_kernel_cuts_to():
    def listed(name: str) -> Any:
        netns = Netns("linux-6.12")
        answers = list(run_requests(netns, [f"{ESP} crypt=cbc(aes) auth={name}"]))
        assert answers[0]["result"] == "OK"
        return [row for entry in netns.sad for row in format_view(view_of(entry)).splitlines() if "auth-trunc" in row]

    assert [row.split()[1::2] for row in listed("rmd160")] == [["hmac(rmd160)", "96"]]
    assert [row.split()[1::2] for row in listed("xcbc(aes)")] == [["xcbc(aes)", "96"]]
