"""Policies as iproute2 prints them (xfrm_policy_info_print and xfrm_tmpl_print in ip/ipxfrm.c of 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

from espsim.core.address import AF_INET6, format_address
from espsim.sad.association import Lifetime
from espsim.sad.spd import Policy, Template
from espsim.xfrm.id_words import proto_name
from espsim.xfrm.show import lifetime_rows, mark_rows, selector_row

FLAGS = ("localok", "icmp")
"""XFRM_POLICY_LOCALOK, XFRM_POLICY_ICMP: bits 0 and 4."""

_BITS = {"localok": 1, "icmp": 16}


def format_policy(policy: Policy, *, stats: bool = False, indent: str = "", title: str = "") -> str:
    """A policy with its line feeds, as `ip xfrm policy` prints it, `ip -s` with `stats`."""
    length = 16 if policy.af == AF_INET6 else 4
    rows = [title + selector_row(policy.selector, length, stats), f"{indent}\t{_facts(policy, stats)}"]
    if stats:
        rows += [indent + row for row in lifetime_rows(policy.limits, Lifetime())]
    rows += mark_rows(policy.mark)
    for template in policy.templates:
        rows += [f"{indent}\t{row}" for row in _template(template, stats)]
    if policy.if_id:
        rows.append(f"{indent}\tif_id 0x{policy.if_id:x}")
    return "".join(row + "\n" for row in rows)


def _facts(policy: Policy, stats: bool) -> str:
    text = f"dir {policy.dir} "
    if policy.action == "block" or stats:
        text += f"action {policy.action} "
    if stats:
        text += f"index {policy.index} "
    text += f"priority {policy.priority} ptype {policy.ptype} "
    if stats:
        text += "share any "
    flags = [name for name in FLAGS if name in policy.flags]
    if flags or stats:
        text += "flag " + " ".join(flags)
    if stats:
        text += f" (0x{sum(_BITS[name] for name in flags):08b})"
    return text


def _template(template: Template, stats: bool) -> Iterator[str]:
    yield f"tmpl src {format_address(template.src)} dst {format_address(template.dst)}"
    row = f"\tproto {proto_name(template.proto)} "
    if template.spi or stats:
        row += f"spi 0x{template.spi:08x}" + (f"({template.spi}) " if stats else " ")
    row += f"reqid {template.reqid}" + (f"(0x{template.reqid:08x})" if stats else "")
    yield f"{row} mode {template.mode.value}"
    if template.level == "use" or stats:
        yield f"\tlevel {template.level} " + ("share any " if stats else "")
    if stats:
        yield "\tenc-mask ffffffff auth-mask ffffffff comp-mask ffffffff"
