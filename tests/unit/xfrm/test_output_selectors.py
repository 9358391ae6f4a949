"""Which SA output takes, by the family of its selector: Linux wants the packet's, unless the selector says none."""

from __future__ import annotations

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

SA = "NEWSA src=2001:db8::1 dst=2001:db8::2 proto=esp spi=0x1000 mode=tunnel crypt=ecb(cipher_null) auth=hmac(sha1)"
POLICY = "POLICY add dir out src 10.8.0.1 dst 10.9.0.1 tmpl src 2001:db8::1 dst 2001:db8::2 proto esp mode tunnel"
MOVE = "MIGRATE_STATE dst=2001:db8::2 proto=esp spi=0x1000 new_dst=2001:db8::2 new_src=2001:db8::1 new_reqid=0"


@pytest.mark.parametrize(
    ("lines", "leaves"),
    [
        ([SA], False), ([f"{SA} sel={{src:10.8.0.1/32,dst:10.9.0.1/32}}"], True), ([f"{SA} flags=af-unspec"], True),
        ([f"{SA} sel={{src:10.8.0.2/32,dst:10.9.0.1/32}}"], False), ([SA, MOVE], True),
    ],
)  # fmt: skip
def test_a_tunnel_of_another_family_needs_a_selector_that_takes_the_packet(lines: list[str], leaves: bool) -> None:
    sent = list(run_requests(Netns("linux-7.3"), [POLICY, *lines, "TX src=10.8.0.1 dst=10.9.0.1"]))[-1]
    assert bool(sent["out"]) is leaves
    assert sent["counters"] == ({} if leaves else {"XfrmOutNoStates": 1})
