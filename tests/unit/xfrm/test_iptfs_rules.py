"""The rules of mode 5 beyond the rows of iptfs_rules: their order, header lengths, kernels without the mode."""

from __future__ import annotations

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.answers import Answer
from espsim.xfrm.requests import run_requests

ENDS = "src=10.0.0.1 dst=10.0.0.2 proto=esp spi=0x1000"
NULL = "crypt=ecb(cipher_null) auth=hmac(sha1)"
GCM = "aead=rfc4106(gcm(aes))"
ONLY = "IP-TFS options can only be used in IP-TFS mode"
SHORT = "Packet size must be 0 or greater than IPTFS/ESP header length"


def ask(*lines: str, kernel: str = "linux-7.3", options: tuple[str, ...] = ()) -> list[Answer]:
    return list(run_requests(Netns(kernel, options=options), lines))


@pytest.mark.parametrize(
    ("words", "text"),
    [  # as 6.18.44 answers
        ("auth=hmac(sha1) dir=out esn={bmp_len:2,replay_window:4096} pkt_size=0", ONLY),
        ("auth=hmac(sha1) mode=9 dont_frag=1", ONLY),
        ("auth=hmac(sha1) mode=5 dir=in pkt_size=0", "IP-TFS packet size should not be set for input SA"),
        (f"mode=6 {NULL}", "Unsupported mode"),
        (
            f"mode=5 {NULL} dir=out replay_val=0,7,0 drop_time=1",
            "IP-TFS drop time should not be set for output SA",
        ),
    ],
)
def test_the_first_of_several_reasons_is_told(words: str, text: str) -> None:
    given = ask(f"NEWSA {ENDS} {words}", kernel="linux-6.18")[0]
    assert (given["result"], given["extack"]) == ("EINVAL", text)


def test_options_of_protocols_without_modes_are_not_looked_at() -> None:
    given = ask("NEWSA src=10.0.0.1 dst=10.0.0.2 proto=route2 spi=0 pcpu=0 coa=10.0.0.1 dont_frag=1")[0]
    assert given["extack"] == "SA_PCPU only supported with SA_DIR"


@pytest.mark.parametrize(
    ("words", "least"),
    [
        (NULL, 32), (GCM, 40), ("crypt=cbc(aes) auth=hmac(sha1)", 48), (f"{NULL} encap=2,4500,4500", 40),
    ],
)  # fmt: skip
@pytest.mark.parametrize("v6", [False, True])
def test_a_packet_size_leaves_room_for_more_than_the_headers(words: str, least: int, v6: bool) -> None:
    ends = ENDS.replace("10.0.0.", "2001:db8::") if v6 else ENDS
    line = f"NEWSA {ends} mode=iptfs dir=out {words} pkt_size="
    least += 20 * v6
    assert ask(f"{line}{least}")[0]["extack"] == SHORT
    assert ask(f"{line}{least + 1}")[0]["result"] == "OK"


def test_without_the_module_options_are_taken_and_forgotten_and_nothing_leaves() -> None:
    policy = "POLICY add dir out src 10.0.0.1 dst 10.9.0.1 tmpl src 10.0.0.1 dst 10.0.0.2 proto esp mode iptfs"
    made = f"NEWSA {ENDS} mode=iptfs dir=out {NULL} pkt_size=20"
    given = ask(made, "DUMP", policy, "TX src=10.0.0.1 dst=10.9.0.1", options=("no-iptfs",))
    assert given[0]["result"] == "OK"
    assert "iptfs" not in given[1]["states"][0]  # type: ignore[index]
    assert given[1]["states"][0]["mode"] == 5  # type: ignore[index]
    assert (given[3]["result"], given[3]["counters"]) == ("EOPNOTSUPP", {"XfrmOutStateModeError": 1})
    assert ask(made)[0]["extack"] == SHORT


def test_attributes_that_no_kernel_knows_are_passed_over() -> None:
    for kernel in ("linux-6.1", "linux-6.12", "linux-7.3"):
        assert ask(f"NEWSA {ENDS} {NULL} attr=42,100", kernel=kernel)[0]["result"] == "OK"


def test_older_kernels_do_not_have_the_mode() -> None:
    for kernel in ("linux-6.1", "linux-6.12"):
        given = ask(f"NEWSA {ENDS} mode=iptfs dir=out {NULL} pkt_size=20", kernel=kernel)[0]
        assert given["extack"] == "Unsupported mode"
    template = "POLICY add dir out src 10.0.0.1 dst 10.9.0.1 tmpl src 10.0.0.1 dst 10.0.0.2 proto esp mode 5"
    assert ask(template, kernel="linux-6.12")[0]["extack"] == "Mode in template must be < XFRM_MODE_MAX (5)"


def test_tfc_padding_above_a_packet_is_refused_by_the_newest_alone() -> None:
    line = f"NEWSA {ENDS} mode=tunnel {NULL} tfcpad=65536"
    assert ask(line)[0]["extack"] == "Excessive TFC padding"
    assert ask(line, kernel="linux-6.18")[0]["result"] == "OK"
    assert ask(line.replace("65536", "65535"))[0]["result"] == "OK"
