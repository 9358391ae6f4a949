"""Linux 7.3.4's IP-TFS captures: every inner packet comes out as its kernel delivered it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.sad import Sad
from espsim.text.load import load
from espsim.text.parse import parse_sad
from tests.support import VECTORS, ethernet_frames

FOLDER = VECTORS / "captures_new"
SUITES: list[dict[str, Any]] = json.loads((FOLDER / "iptfs.json").read_text())["suites"]


def sad_of(suite: dict[str, Any]) -> Sad:
    """The SAs in the manifest's own words."""
    sad = Sad()
    load(sad, parse_sad("\n".join(sa["ip_xfrm_state_receiver"] for sa in suite["sas"])).sas, None)
    return sad


@pytest.mark.parametrize("suite", SUITES, ids=[suite["name"] for suite in SUITES])
def test_every_inner_packet(suite):
    inbound = Inbound(sad_of(suite))
    found: dict[str, list[str]] = {"A>B": [], "B>A": []}
    for frame, packet in zip(ethernet_frames(FOLDER / suite["file"]), suite["packets"], strict=True):
        received = inbound.receive(frame)
        assert received is not None
        assert received.verdict is Verdict.DELIVERED
        found[packet["dir"]] += [inner.hex() for inner in received.packets]
    for direction, inners in found.items():
        assert inners == [inner["inner_hex"] for inner in suite["inner"] if inner["dir"] == direction]
    told = inbound.tunnels.as_dict()
    assert told is not None
    assert (told["packets"], told["inner"]) == (len(suite["packets"]), len(suite["inner"]))
    assert told["fragments"] == sum(len(inner["packets"]) for inner in suite["inner"] if len(inner["packets"]) > 1)
    assert (told["incomplete"], told["lost"]) == (0, 0)
