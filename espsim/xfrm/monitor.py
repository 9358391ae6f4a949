"""Messages to the key managers as `ip xfrm monitor` prints them (ip/xfrm_monitor.c of iproute2 6.1)."""

from __future__ import annotations

from espsim.netlink.netns import Event
from espsim.netlink.spd import Policy
from espsim.text.iproute import IpRefusal, matches
from espsim.text.names import proto_name
from espsim.text.show import selector_row
from espsim.xfrm.policy_text import format_defaults, format_policy
from espsim.xfrm.state_text import as_shown, format_expired, format_view

_GROUPS = {
    "acquire": ("ACQUIRE",), "expire": ("EXPIRE", "POLEXPIRE"), "SA": ("NEWSA", "UPDSA", "DELSA", "FLUSHSA"),
    "aevent": ("NEWAE", "MAPPING"), "report": (),
    "policy": ("NEWPOLICY", "UPDPOLICY", "DELPOLICY", "FLUSHPOLICY", "GETDEFAULT"),
}  # fmt: skip
_STATE_TITLES = {"NEWSA": "", "UPDSA": "Updated ", "DELSA": "Deleted "}
_POLICY_TITLES = {"NEWPOLICY": "", "UPDPOLICY": "Updated ", "DELPOLICY": "Deleted "}


class Monitor:
    """Which messages `xfrm monitor WORDS` prints, and how. IpRefusal for words that `ip` does not know."""

    def __init__(self, words: list[str]) -> None:
        self.nokeys = False
        kinds: set[str] = set()
        for word in words:
            if matches(word, "nokeys"):
                self.nokeys = True
            elif matches(word, "all-nsid") and word != "all":
                continue
            elif (group := next((g for g in _GROUPS if matches(word, g)), None)) is not None:
                kinds.update(_GROUPS[group])
            elif word != "all":
                raise IpRefusal(f'Argument "{word}" is unknown, try "ip xfrm monitor help".')
        said = any(word != "all" and not matches(word, "nokeys") and not matches(word, "all-nsid") for word in words)
        self._kinds = frozenset(kinds) if said else None

    def takes(self, event: Event) -> bool:
        """Whether this kind of message was asked for."""
        return self._kinds is None or event.kind in self._kinds

    def show(self, event: Event, *, stats: bool = False) -> str:
        """One message with its line feeds. Of a kind without a form here only the name is shown."""
        view, kind = event.view, event.kind
        if kind == "EXPIRE" and view is not None:
            return format_expired(view, event.hard, stats=stats)
        if kind in _STATE_TITLES and view is not None:
            return _STATE_TITLES[kind] + format_view(view, stats=stats, nokeys=self.nokeys)
        if kind == "FLUSHSA":
            return f"Flushed state proto {proto_name(int(event.extra.get('proto', 0)))}\n"
        if kind == "FLUSHPOLICY":
            return f"Flushed policy ptype {event.extra.get('ptype', 'main')} \n"
        if kind == "GETDEFAULT":
            return format_defaults(event.extra)
        policy = event.extra.get("policy")
        if kind == "POLEXPIRE" and isinstance(policy, Policy):
            return f"Expired {format_policy(policy, stats=stats)}\thard {event.hard}\n"
        if kind in _POLICY_TITLES and isinstance(policy, Policy):
            return _POLICY_TITLES[kind] + format_policy(policy, stats=stats)
        if kind == "ACQUIRE" and view is not None:
            return _acquire(event, stats)
        return f"{kind}\n"


def _acquire(event: Event, stats: bool) -> str:
    """xfrm_acquire_print(), with the policy if the event has one."""
    view = event.view
    assert view is not None  # noqa: S101 - an ACQUIRE is about a state
    sa = as_shown(view)
    spi = f"spi 0x{sa.spi:08x}" + (f"({sa.spi})" if stats else "") + " " if sa.spi or stats else ""
    text = f"acquire proto {proto_name(sa.proto)} {spi}\n  sel {selector_row(sa.selector, len(sa.dst), stats)}\n"
    policy = event.extra.get("policy")
    if isinstance(policy, Policy):
        text += format_policy(policy, stats=stats, indent="    ", title="  policy ")
    return text + (f"  seq 0x{view.seq:08d} enc-mask ffffffff auth-mask ffffffff comp-mask ffffffff" * stats) + "\n"
