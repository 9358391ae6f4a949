"""The policies after decapsulation as a step, and why one of them refused a packet."""

from __future__ import annotations

from espsim.core.address import format_address
from espsim.core.verdict import Verdict
from espsim.explain.facts import Explanation
from espsim.explain.shown import shown_selector
from espsim.explain.steps import Field, Step, fact
from espsim.netlink.spd import Policy, Template
from espsim.reference.policies import Judged, Path
from espsim.sad.entry import SadEntry


def policy_step(path: Path, judged: Judged) -> Step:
    """The policy that takes the packet, its templates, and the SAs under which the packet came."""
    policy = judged.policy
    fields: list[Field] = [fact("direction", judged.direction)]
    if policy is not None:
        fields += [fact("policy", _name(policy)), fact("action", policy.action), fact("priority", policy.priority)]
        fields += [fact("template", _template(template)) for template in policy.templates]
    fields += [fact("came under", f"{sa.name} reqid {sa.reqid} mode {sa.mode.value}") for sa in path]
    if policy is None:
        says = "no policy takes it"
        says += ", and it may pass" if judged.verdict is Verdict.DELIVERED else f": {judged.verdict.sentence}"
    else:
        says = f"{_name(policy)} takes it: "
        says += "it may pass" if judged.verdict is Verdict.DELIVERED else judged.verdict.sentence
    return Step("policies", "RFC 4301 5.2, net/xfrm/xfrm_policy.c", says, tuple(fields))


def policy_answer(verdict: Verdict, own: SadEntry | None) -> Explanation:
    """The cause of a policy's verdict. `own`: the SA under which the packet came. None: it came in clear."""
    if verdict is Verdict.NO_POLICY:
        why = "the default of `ip xfrm policy getdefault` blocks" if own is None else "any mode but transport needs one"
        return Explanation("no-policy", f"no in or fwd policy takes the packet, and {why}: add one for its addresses")
    if verdict is Verdict.BLOCKED:
        return Explanation("blocked", "a policy with action block takes the packet: look at `ip xfrm policy`")
    if verdict is Verdict.TEMPLATES:
        return Explanation(
            "template", "the policy has 6 templates: Linux installs it and drops all its packets; use fewer"
        )
    if own is None:
        return Explanation("template", "it came in clear, and its policy wants ESP: make the peer protect this traffic")
    sa = own.sa
    return Explanation(
        "template",
        f"the policy that takes the packet wants other SAs than {sa.name}, reqid {sa.reqid}, mode {sa.mode.value}, from"
        f" {format_address(sa.src)}: compare the templates of `ip xfrm policy` (`espsim explain --spd` shows both)",
    )


def _name(policy: Policy) -> str:
    return f"dir {policy.dir} {shown_selector(policy.selector)}"


def _template(template: Template) -> str:
    ends = f"{format_address(template.src)} > {format_address(template.dst)}"
    spi = f" spi 0x{template.spi:08x}" if template.spi else ""
    return (
        f"{ends} proto {template.proto}{spi} reqid {template.reqid} mode {template.mode.value} level {template.level}"
    )
