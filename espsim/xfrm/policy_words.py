"""Reads `ip xfrm policy COMMAND ...` as iproute2 6.1 does, and refuses in its sentences (ip/xfrm_policy.c).

The result is a `PolicyCommand` (policy.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from espsim.netlink.spd import Policy, Template
from espsim.sad.association import MODE_BY_NUMBER, NO_MARK, Limits, Mark, Mode, Selector
from espsim.text.id_words import Id, read_flag_bits, read_id, read_limit, read_mode
from espsim.text.iproute import Args, IpRefusal, matches, not_modelled
from espsim.text.selector import SelectorWords, read_selector
from espsim.xfrm.policy import PolicyCommand, Verb

_FLAGS = ("localok", "icmp")
_MAX_TEMPLATES = 16
"""XFRM_TMPLS_BUF_SIZE: 1024 bytes of 64 each."""

_DIRECTIONS = ("in", "out", "fwd")
_THRESHOLDS = {"hthresh4": (2, 32), "hthresh6": (10, 128)}
_NO_DIR = "Not enough information: DIR is required."


@dataclass(slots=True)
class _Draft:
    """The variables of xfrm_policy_modify().

    `netlink`: numbers are taken where `ip` takes only names. `odd_mode`: a template's mode that no kernel has.
    """

    dir: str | None = None
    selector: SelectorWords | None = None
    af: int = 0
    index: int | None = None
    ptype: str | None = None
    action: str | None = None
    priority: int | None = None
    flags: int | None = None
    mark: Mark = NO_MARK
    if_id: int = 0
    limits: dict[str, int | None] = field(default_factory=dict)
    templates: list[Template] = field(default_factory=list)
    context: bool = False
    netlink: bool = False
    odd_mode: int | None = None

    @property
    def family(self) -> int:
        """The selector's family; AF_INET where nothing gives one."""
        return self.af or 2

    def build(self) -> Selector:
        """The selector, also with addresses of prefix length 0. Zeros where none was given."""
        words = self.selector or SelectorWords()
        zeros = bytes(16 if self.family == 10 else 4)
        return replace(words.build(len(zeros)), src=words.src or zeros, dst=words.dst or zeros)


def parse_policy_words(words: list[str], family: int = 0, *, netlink: bool = False) -> PolicyCommand:
    """The command of the words after `xfrm policy`. IpRefusal where `ip` refuses them.

    `netlink`: also takes what a message can say and `ip` can't: `flag 4`, `mode 5` and `mode iptfs`.
    """
    if not words:
        return PolicyCommand("list")
    args = Args(words[1:], family)
    for name, verb in _VERBS:
        if matches(words[0], name):
            return _command(args, verb, family, netlink=netlink)
    if matches(words[0], "help"):
        raise IpRefusal("Usage: ip xfrm policy { add | update | delete | get | deleteall | list | flush | count }")
    raise IpRefusal(f'Command "{args.seen(words[0])}" is unknown, try "ip xfrm policy help".')


def _command(args: Args, verb: Verb, family: int, *, netlink: bool) -> PolicyCommand:
    if verb in ("count", "getdefault"):
        return PolicyCommand(verb)
    if verb == "set":
        return PolicyCommand(verb, thresholds=_thresholds(args))
    if verb == "setdefault":
        return PolicyCommand(verb, defaults=_defaults(args))
    draft = _Draft(af=family, netlink=netlink)
    known = _READERS[verb]
    while args.left:
        reader = known.get(args.word)
        if reader is not None:
            reader(args, draft)
        else:
            _selector(args, draft, verb)
        args.skip()
    if verb in ("add", "update"):
        return PolicyCommand(verb, _policy(draft), odd_mode=draft.odd_mode)
    if verb in ("get", "delete"):
        _check_one(draft)
        if not draft.mark.value & draft.mark.mask:
            draft.mark = NO_MARK
    selector = draft.build() if draft.selector is not None else None
    filtering = verb in ("list", "deleteall")
    af = (draft.af or None) if filtering else draft.family
    return PolicyCommand(
        verb, None, draft.dir, selector, af, draft.index,
        draft.ptype, draft.action, draft.priority, draft.mark, draft.if_id,
        draft.flags if filtering else None,
    )  # fmt: skip


def _thresholds(args: Args) -> dict[int, tuple[int, int]]:
    """xfrm_spd_setinfo()."""
    found: dict[int, tuple[int, int]] = {}
    while args.left:
        name = args.word
        if name not in _THRESHOLDS:
            raise args.wrong("unknown")
        family, longest = _THRESHOLDS[name]
        if family in found:
            raise args.duplicate(name)
        found[family] = (_length(args, f"{name} LBITS", longest), _length(args, f"{name} RBITS", longest))
        args.skip()
    return found


def _length(args: Args, what: str, longest: int) -> int:
    value = args.number(f"{what} value is invalid", 8)
    if value > longest:
        raise args.wrong(f"{what} value is invalid")
    return value


def _defaults(args: Args) -> dict[str, str]:
    """xfrm_spd_setdefault()."""
    found: dict[str, str] = {}
    while args.left:
        direction = args.word
        if direction not in _DIRECTIONS:
            raise args.wrong("unknown direction")
        if direction in found:
            raise args.duplicate(direction)
        found[direction] = _choice(args, ("block", "accept"), f"{direction} policy value is invalid")
        args.skip()
    return found


def _policy(draft: _Draft) -> Policy:
    if draft.dir is None:
        raise IpRefusal(_NO_DIR)
    return Policy(
        draft.dir, draft.build(), draft.family, draft.action or "allow", draft.priority or 0, draft.index or 0,
        tuple(draft.templates), draft.mark if draft.mark.mask else NO_MARK, draft.if_id, Limits(**draft.limits),
        draft.ptype or "main", draft.flags or 0,
    )  # fmt: skip


def _check_one(draft: _Draft) -> None:
    if draft.dir is None:
        raise IpRefusal(_NO_DIR)
    if draft.selector is None and draft.index is None:
        raise IpRefusal("Not enough information: either SELECTOR or INDEX is required.")
    if draft.selector is not None and draft.index is not None:
        raise IpRefusal('Error: either "SELECTOR" is duplicate, or "INDEX" is a garbage.')


def _selector(args: Args, draft: _Draft, verb: Verb) -> None:
    if draft.selector is not None:
        raise args.duplicate("unknown") if verb in ("add", "update") else args.wrong("unknown")
    if verb == "flush":
        raise args.wrong("unknown")
    args.back()
    draft.selector = read_selector(args)
    if length := len(draft.selector.src or draft.selector.dst):
        draft.af = 2 if length == 4 else 10
    if not args.family:
        args.family = draft.af


def _dir(args: Args, draft: _Draft) -> None:
    if draft.dir is not None:
        raise args.duplicate("dir")
    draft.dir = _choice(args, _DIRECTIONS, "DIR value is invalid")


def _ptype(args: Args, draft: _Draft) -> None:
    if draft.ptype is not None:
        raise args.duplicate("ptype")
    draft.ptype = _choice(args, ("main", "sub"), "PTYPE value is invalid")


def _action(args: Args, draft: _Draft) -> None:
    draft.action = _choice(args, ("allow", "block"), "ACTION value is invalid\n")


def _choice(args: Args, choices: tuple[str, ...], why: str) -> str:
    if args.next() not in choices:
        raise args.wrong(why)
    return args.word


def _index(args: Args, draft: _Draft) -> None:
    draft.index = args.number("INDEX value is invalid")


def _one_index(args: Args, draft: _Draft) -> None:
    if draft.index is not None:
        raise args.duplicate("index")
    _index(args, draft)


def _priority(args: Args, draft: _Draft) -> None:
    draft.priority = args.number("PRIORITY value is invalid")


def _if_id(args: Args, draft: _Draft) -> None:
    draft.if_id = args.number("IF_ID value is invalid")


def _mark(args: Args, draft: _Draft) -> None:
    draft.mark = args.mark()


def _flag(args: Args, draft: _Draft) -> None:
    number = _netlink_number(args, draft)
    draft.flags = read_flag_bits(args, _FLAGS, 8, "FLAG value is invalid") if number is None else number


def _netlink_number(args: Args, draft: _Draft) -> int | None:
    """The decimal octet that follows, in a request that may say more than `ip`. None: there is none."""
    if not (draft.netlink and args.ahead.isdecimal()):
        return None
    return args.number("give a number of one octet", 8)


def _template_mode(args: Args, draft: _Draft) -> str:
    if draft.netlink and args.ahead == Mode.IPTFS.value:
        return args.next()
    number = _netlink_number(args, draft)
    if number is None:
        return read_mode(args)
    if number not in MODE_BY_NUMBER:
        draft.odd_mode = number
    return MODE_BY_NUMBER.get(number, Mode.TRANSPORT).value


def _context(args: Args, draft: _Draft) -> None:
    """A security context. It is read and dropped: nothing here asks an LSM."""
    if draft.context:
        raise args.duplicate("ctx")
    draft.context = True
    args.next()


def _offload(args: Args, draft: _Draft) -> None:
    raise not_modelled("offload of policies")


def _nosock(args: Args, draft: _Draft) -> None:
    """`nosock` leaves out the policies of sockets. There are none here."""


def _any_dir(args: Args, draft: _Draft) -> None:
    draft.dir = None
    _dir(args, draft)


def _any_ptype(args: Args, draft: _Draft) -> None:
    draft.ptype = None
    _ptype(args, draft)


def _limit(args: Args, draft: _Draft) -> None:
    read_limit(args, draft.limits)


def _template(args: Args, draft: _Draft) -> None:
    """xfrm_tmpl_parse(): ID, mode, reqid and level, in any order. Any other word starts the ID."""
    if len(draft.templates) == _MAX_TEMPLATES:
        raise IpRefusal("Too many tmpls: buffer overflow")
    ident = None
    mode, reqid, level = "transport", 0, "required"
    family = args.family or draft.family
    args.next()
    while True:
        if args.word == "mode":
            mode = _template_mode(args, draft)
        elif args.word == "reqid":
            reqid = args.number("REQID value is invalid")
        elif args.word == "level":
            level = _choice(args, ("required", "use"), "LEVEL value is invalid\n")
        elif ident is not None:
            args.back()
            break
        else:
            args.family = 0
            ident = read_id(args)
        if not args.more:
            break
        args.next()
    if ident is None:
        ident = Id()
    length = ident.family_length or (16 if family == 10 else 4)
    args.family = 10 if length == 16 else 2
    draft.templates.append(
        Template(
            ident.src or bytes(length), ident.dst or bytes(length), ident.proto, ident.spi or 0,
            Mode(mode), reqid, level,
        )
    )  # fmt: skip


Reader = Callable[[Args, _Draft], None]

_MEANT: dict[str, Reader] = {
    "dir": _dir, "index": _one_index, "ptype": _ptype, "mark": _mark, "if_id": _if_id, "ctx": _context,
}  # fmt: skip
_MADE = _MEANT | {
    "index": _index,
    "action": _action,
    "priority": _priority,
    "flag": _flag,
    "limit": _limit,
    "tmpl": _template,
    "offload": _offload,
}
_FILTER: dict[str, Reader] = {
    "dir": _any_dir, "index": _index, "ptype": _any_ptype, "action": _action, "priority": _priority, "flag": _flag,
    "nosock": _nosock,
}  # fmt: skip
_READERS: dict[str, dict[str, Reader]] = {
    "add": _MADE, "update": _MADE, "get": _MEANT, "delete": _MEANT, "list": _FILTER, "deleteall": _FILTER,
    "flush": {"ptype": _ptype},
}  # fmt: skip
_VERBS: tuple[tuple[str, Verb], ...] = (
    ("add", "add"), ("update", "update"), ("delete", "delete"), ("deleteall", "deleteall"), ("delall", "deleteall"),
    ("list", "list"), ("show", "list"), ("lst", "list"), ("get", "get"), ("flush", "flush"), ("count", "count"),
    ("set", "set"), ("setdefault", "setdefault"), ("getdefault", "getdefault"),
)  # fmt: skip
