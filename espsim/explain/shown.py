"""A selector as messages show it."""

from __future__ import annotations

from espsim.core.address import format_address
from espsim.sad.association import Selector


def shown_selector(selector: Selector) -> str:
    """`10.0.0.0/8 > 10.2.0.0/16 proto 17 dport 53`."""

    def net(address: bytes, prefix: int) -> str:
        return f"{format_address(address)}/{prefix}" if prefix else "any"

    words = f"{net(selector.src, selector.src_prefix)} > {net(selector.dst, selector.dst_prefix)}"
    words += f" proto {selector.proto}" if selector.proto else ""
    words += f" sport {selector.sport}" if selector.sport_mask else ""
    return words + (f" dport {selector.dport}" if selector.dport_mask else "")
