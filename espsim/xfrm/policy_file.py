"""Reads pasted policies into an SPD, for commands that judge packets by a host's policies.

    `ip xfrm policy add|update|delete|flush|set|setdefault ...`    commands, in their order
    what `ip [-s] xfrm policy [list]` prints                       newest first, so it is installed from its end
    what `ip xfrm policy getdefault` prints                        the defaults

States and other lines are passed over with a note. So are policies of sockets (`socket in`): they are a key manager's
own. A policy that can't be read is an error: without it answers would be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from espsim.core.address import AF_INET, AF_INET6
from espsim.core.errors import InputError, XfrmError
from espsim.netlink.netns import Netns
from espsim.netlink.spd import Spd
from espsim.text.iproute import IpRefusal
from espsim.text.lexer import logical_lines
from espsim.text.notes import Notes
from espsim.text.pieces import file_pieces
from espsim.xfrm.policy import PolicyCommand, apply_policy
from espsim.xfrm.policy_words import parse_policy_words

_COMMAND = re.compile(r"(?:^|[\s#$>])ip((?:\s+-\S+)*)\s+x(?:f(?:rm?)?)?\s+p(?:o(?:l(?:i(?:c(?:y)?)?)?)?)?(?:\s+(.*))?$")
_HEAD = re.compile(r"\s*src\s+\S+/\d+\s+dst\s+\S+/\d+(?:\s|$)")
_ROW = re.compile(r"\s+\S|\t")
_DEFAULT = re.compile(r"\s+(in|fwd|out):\s+(accept|block)\s*$")
_SOCKET = re.compile(r"\s+socket (?:in|out|fwd)\b")
_MARK = re.compile(r"(0x[0-9a-fA-F]+|\d+)/(0x[0-9a-fA-F]+|\d+)")
_DROPPED = {"share": 1, "uid": 1, "enc-mask": 1, "auth-mask": 1, "comp-mask": 1}
"""Words of a dump that don't matter here, and how many words follow each."""
_PASSED = ("lifetime", "limit:", "expire", "crypto offload", "security context", "policy type", "failed")
"""The starts of rows that a dump has and `add` doesn't take."""
_LIMITS = re.compile(r"\d+\(bytes\)|\d+\(packets\)|\d+B|add |use ")


@dataclass(slots=True)
class PolicyText:
    """The SPD of a text, how many policies it has, and notes on what was passed over."""

    spd: Spd
    policies: int
    notes: Notes


@dataclass(slots=True)
class _Found:
    """The rows of one policy that a dump lists, and its first line."""

    line: int
    rows: list[str]
    socket: bool = False


@dataclass(slots=True)
class _Read:
    """What a text holds: commands with their lines, listed policies, defaults and notes."""

    commands: list[tuple[int, PolicyCommand]] = field(default_factory=list)
    listed: list[_Found] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)


def read_policies(path: str) -> PolicyText:
    """The policies of a file, or of standard input for `-`.

    InputError: a policy that can't be read, or that a kernel refuses (both with the line); neither a policy nor a
    default in the file.
    """
    return policies_of("".join(file_pieces(path)), path)


def policies_of(text: str, where: str | None = None) -> PolicyText:
    """As `read_policies`, of a text."""
    read = _read(text, where)
    netns = Netns()
    for found in reversed(read.listed):
        if found.socket:
            read.notes.add("a policy of a socket, passed over", found.line)
        else:
            _apply(netns, _of_dump(found, where), where, found.line)
    if read.defaults:
        netns.set_default(read.defaults)
    for line, command in read.commands:
        _apply(netns, command, where, line)
    count = len(netns.spd)
    if not count and not read.defaults and not read.commands:
        raise InputError("no policy in it; give what `ip xfrm policy` lists, or its commands", where=where)
    return PolicyText(netns.spd, count, read.notes)


def _apply(netns: Netns, command: PolicyCommand, where: str | None, line: int) -> None:
    try:
        apply_policy(netns, command)
    except XfrmError as error:
        raise InputError(f"a kernel refuses this policy: {error}", where=where, line=line) from None


def _read(text: str, where: str | None) -> _Read:
    read = _Read()
    current: _Found | None = None
    state = False
    for line in logical_lines(text, 1):
        row = line.text.rstrip()
        command = _COMMAND.search(row)
        default = _DEFAULT.match(row)
        inside = _ROW.match(row) is not None
        if command is not None:
            current, state = None, False
            _command(read, command, where, line.number, commented=row.lstrip().startswith("#"))
        elif _HEAD.match(row) and not inside:
            current, state = _Found(line.number, [row]), False
            read.listed.append(current)
        elif default is not None:
            read.defaults[default[1]] = default[2]
        elif current is not None and inside:
            current.socket = current.socket or _SOCKET.match(row) is not None
            current.rows.append(row)
        elif re.match(r"src\s+\S+\s+dst\s+\S+\s*$", row):
            current, state = None, True
            read.notes.add("a state, passed over", line.number)
        elif row and not (state and inside) and row != "Default policies:":
            current, state = None, False
            read.notes.add("not a line of `ip xfrm policy`, passed over", line.number)
    return read


def _command(read: _Read, found: re.Match[str], where: str | None, line: int, *, commented: bool) -> None:
    options = found[1].split()
    family = AF_INET6 if "-6" in options else AF_INET if "-4" in options else 0
    words = [word.text for row in logical_lines(found[2] or "", line) for word in row.words()]
    try:
        command = parse_policy_words(words, family)
    except IpRefusal as refusal:
        raise InputError(f"ip refuses this: {refusal.text}", where=where, line=line) from None
    if command.verb in ("list", "get", "count", "getdefault"):
        return
    if commented:
        read.notes.add("after a #: taken for root's prompt, so the command counts", line)
    read.commands.append((line, command))


def _of_dump(found: _Found, where: str | None) -> PolicyCommand:
    """`add` with the words of a listed policy, without those that `add` doesn't take."""
    words = ["add", *_words(found)]
    try:
        return parse_policy_words(words)
    except IpRefusal as refusal:
        raise InputError(f"this policy can't be read: {refusal.text}", where=where, line=found.line) from None


def _words(found: _Found) -> Iterator[str]:
    passing = False
    for row in found.rows:
        text = row.strip()
        starts = text.startswith(_PASSED)
        if starts or (passing and _LIMITS.match(text)):
            passing = passing or starts
            continue
        passing = False
        words = iter(text.split())
        for word in words:
            if word.startswith("("):
                continue
            if word in _DROPPED:
                next(words, None)
            elif word == "flag":  # nothing here asks for flags; they are the last of their row
                break
            elif (mark := _MARK.fullmatch(word)) is not None:
                yield from (mark[1], "mask", mark[2])
            else:
                yield word.split("(")[0]
