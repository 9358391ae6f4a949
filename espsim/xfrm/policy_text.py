"""Policies as iproute2 prints them (xfrm_policy_info_print and xfrm_tmpl_print in ip/ipxfrm.c of 6.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from espsim.core.address import AF_INET6, format_address
from espsim.core.numbers import MODE_IPTFS, MODES
from espsim.netlink.spd import ICMP, LOCALOK, Policy, Template
from espsim.sad.association import MODE_NUMBERS, Lifetime
from espsim.text.names import proto_name
from espsim.text.show import lifetime_rows, mark_rows, selector_row

FLAGS = {LOCALOK: "localok", ICMP: "icmp"}
"""The bits of a policy's flags that have a name. The others are printed as one number in hex."""


def format_policy(policy: Policy, *, stats: bool = False, indent: str = "", title: str = "") -> str:
    """A policy as `ip xfrm policy` prints it, with its line feeds; with `stats`, `ip -s`."""
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
    if policy.flags or stats:
        text += "flag " + _flags(policy.flags)
    if stats:
        text += f" (0x{policy.flags:08b})"
    return text


def _flags(flags: int) -> str:
    """XFRM_FLAG_PRINT: names with spaces between them, then the bits without a name."""
    text = ""
    for bit, name in FLAGS.items():
        if flags & bit:
            flags &= ~bit
            text += name + (" " if flags else "")
    return text + (f"{flags:x}" if flags else "")


def format_defaults(defaults: Mapping[str, object]) -> str:
    """What `ip xfrm policy getdefault` prints: the actions where no policy matches."""
    rows = [f" {direction + ':':<5}{defaults[direction]}" for direction in ("in", "fwd", "out")]
    return "".join(row + "\n" for row in ("Default policies:", *rows))


def _template(template: Template, stats: bool) -> Iterator[str]:
    yield f"tmpl src {format_address(template.src)} dst {format_address(template.dst)}"
    row = f"\tproto {proto_name(template.proto)} "
    if template.spi or stats:
        row += f"spi 0x{template.spi:08x}" + (f"({template.spi}) " if stats else " ")
    row += f"reqid {template.reqid}" + (f"(0x{template.reqid:08x})" if stats else "")
    yield f"{row} mode {MODES.get(MODE_NUMBERS[template.mode], MODE_IPTFS)}"
    if template.level == "use" or stats:
        yield f"\tlevel {template.level} " + ("share any " if stats else "")
    if stats:
        yield "\tenc-mask ffffffff auth-mask ffffffff comp-mask ffffffff"
